"""Over how many targets an entropic map averages: what its regularisation means in rows."""

import torch
from torch import Tensor

from skot.numerics.subsample import spread_rows
from skot.potentials import EntropicPotentials
from skot.transport._diagnostics import Conditioning

#: Rows that are looked at: the median hardly moves past that.
_ROWS = 200
#: Below this many targets an image is one of them, above this share of all it is nearly their mean.
_FEW, _MOST = 1.5, 0.5


def averaging(potentials: EntropicPotentials, x: Tensor) -> Conditioning:
    r"""Median over rows of :math:`1 / \sum_j p_j^2`, with the shares p of targets in an image."""
    x = spread_rows(x, _ROWS).to(potentials.y)
    logits = potentials.g - potentials.cost.pairwise(x, potentials.y)
    shares = torch.softmax(logits / potentials.epsilon + potentials.b.log(), dim=1)
    number = float((1.0 / shares.square().sum(1)).median())
    # As many rows of equal weight as the target's are worth.
    most = float(1.0 / potentials.b.square().sum())
    verdict = "between single targets and their mean"
    if number > _MOST * most:
        verdict = "nearly all targets in every average: lower epsilon"
    elif number < _FEW:
        verdict = "averages of single targets, whose noise the map follows: raise epsilon"
    return Conditioning(number, f"of {most:.0f} targets in an average", verdict)
