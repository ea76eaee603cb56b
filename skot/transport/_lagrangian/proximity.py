"""How near to their predictions end points stay: chosen on training rows."""

from dataclasses import replace

import torch
from sklearn.base import clone
from torch import Tensor, nn

from skot.measures import EmpiricalMeasure
from skot.transport._lagrangian.model import LagrangianProblem
from skot.transport._neural.two_sample_training import some_rows
from skot.transport._score import divergence_to

#: Proximity in training, and those that are compared after it.
TRAINING_PROXIMITY = 1.0
_PROXIMITIES = (0.0, 1.0, 10.0, 100.0)
#: Rows a side of the comparison.
_ROWS = 512
#: The smallest proximity counts whose divergence is at most this many times the least one.
_SLACK = 1.25


def best_proximity(
    problem: LagrangianProblem, modules: dict[str, nn.Module], source: Tensor, target: Tensor
) -> float:
    """Return the proximity with which images are distributed most like the target.

    Where the cost settles end points, the nearer to the minimum the better. Where it does not,
    minimisers pile up at the slightest bumps of the potential, and predictions are better.

    Parameters
    ----------
    problem : LagrangianProblem
        What is solved; its solver has the parameter ``proximity``.
    modules : dict of str to Module
        The fitted networks.
    source, target : Tensor of shape (n, n_features), (m, n_features)
        Rows in the frame.

    Returns
    -------
    proximity : float
        By the Sinkhorn divergence on at most 512 rows a side.
    """
    source, rows = some_rows(source, _ROWS), some_rows(target, _ROWS)
    sample = EmpiricalMeasure.from_points(rows, dtype=torch.float64)
    divergences = []
    for proximity in _PROXIMITIES:
        solver = clone(problem.solver).set_params(proximity=proximity)
        images = replace(problem, solver=solver).transport(modules, source).argument
        divergences.append(float(divergence_to(sample, images.double()).value))
    limit = _SLACK * max(min(divergences), 0.0)
    near = [divergence <= limit or divergence == min(divergences) for divergence in divergences]
    return _PROXIMITIES[near.index(True)]
