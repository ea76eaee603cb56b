"""The divergence by which transports are judged, at a scale that the target alone fixes."""

import numpy as np
import torch
from torch import Tensor

from skot.costs import SquaredEuclidean
from skot.measures import EmpiricalMeasure
from skot.metrics import sinkhorn_divergence

#: Scores compare at most this many rows a side.
SCORE_ROWS = 2000
#: Regularisation, as a share of the mean cost between rows of the target.
_SHARE = 0.05


def divergence_to(target: EmpiricalMeasure, moved: Tensor, weights: Tensor | None = None) -> float:
    """Return the debiased Sinkhorn divergence of weighted rows to the target.

    It is taken for the squared Euclidean cost at 0.05 times the mean cost within the target, so
    that values of different estimators and parameters compare.
    """
    points, b = target.points, target.weights
    spread = SquaredEuclidean().scale(points, points, b, b)
    return float(sinkhorn_divergence(moved, points, a=weights, b=b, epsilon=_SHARE * spread or 1.0))


def at_most(measure: EmpiricalMeasure, n: int = SCORE_ROWS) -> EmpiricalMeasure:
    """Return a fixed subsample of a large measure."""
    measure = measure.without_zero_weights()
    size = len(measure.points)
    if size <= n:
        return measure
    chosen = np.random.RandomState(0).permutation(size)[:n]
    rows = torch.from_numpy(chosen).to(measure.points.device)
    return EmpiricalMeasure.from_points(measure.points[rows], measure.weights[rows])
