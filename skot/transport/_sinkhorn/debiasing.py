"""The transport of a sample to itself, and the map that it corrects."""

import torch
from torch import Tensor

from skot.costs import Cost
from skot.measures import EmpiricalMeasure
from skot.potentials import EntropicPotentials, SelfTransport
from skot.solvers import SinkhornResult, sinkhorn

#: Up to this many pairs of rows the kernel is in float64, whatever the tolerance.
_DOUBLE_PAIRS = 2**20


def dtype_for(x: Tensor, y: Tensor) -> torch.dtype | None:
    """Float64 for small problems, where it costs little and repeats to the last digits."""
    return torch.float64 if len(x) * len(y) <= _DOUBLE_PAIRS else None


def has_twist(cost: Cost, x: Tensor) -> bool:
    """Whether a map follows from potentials for the cost."""
    try:
        cost.twist(x[:1], torch.zeros_like(x[:1]))
    except NotImplementedError:
        return False
    return True


def solve_to_itself(
    points: Tensor, weights: Tensor, *, epsilon: float, cost: Cost, max_iter: int, tol: float
) -> tuple[SelfTransport, SinkhornResult]:
    """Transport a sample (n, d) with weights (n,) to itself."""
    # Repeated rows are one row of more weight, as everywhere: it leaves itself out as a whole.
    sample = EmpiricalMeasure(points, weights).with_merged_rows()
    x, a = sample.points, sample.weights
    result = sinkhorn(
        x, x, a, a, epsilon=epsilon, cost=cost, max_iter=max_iter, tol=tol, dtype=dtype_for(x, x)
    )
    # The two potentials are equal at the solution.
    h = 0.5 * (result.f + result.g)
    potentials = EntropicPotentials(x, x, a, a, h, h, cost, epsilon)
    return SelfTransport(potentials, cost.scale(x, x, a, a)), result
