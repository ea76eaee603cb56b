"""The divergences by which transports are judged, at a scale that the target alone fixes.

Training looks at the plain one, which is the smoother function of the rows; users are told the
split one, which does not prefer rows in the middle of the target.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from skot.costs import SquaredEuclidean
from skot.measures import EmpiricalMeasure
from skot.metrics._sinkhorn import SinkhornDivergence, sinkhorn_divergence
from skot.metrics._split_divergence import SplitSinkhornDivergence, split_sinkhorn_divergence
from skot.numerics.linalg import equal_weights, weighted_mean
from skot.utils._warnings import warn_not_converged

#: Scores compare at most this many rows a side.
SCORE_ROWS = 2000
#: Regularisation, as a share of the mean cost between rows of the target.
_SHARE = 0.05
#: The same for the split divergence, chosen on problems with a known map: a smaller one orders maps
#: hardly better and takes longer, a larger one misses differences in many dimensions.
_SPLIT_SHARE = 0.02


def divergence_epsilon(y: Tensor, weights: Tensor | None = None, share: float = _SHARE) -> float:
    """Regularisation of divergences to a target of shape (m, n_features)."""
    weights = equal_weights(y) if weights is None else weights
    # A target without a spread fixes no scale, and any will do.
    return share * SquaredEuclidean().scale(y, y, weights, weights) or 1.0


def divergence_to(
    y: Tensor,
    moved: Tensor,
    *,
    weights: Tensor | None = None,
    moved_weights: Tensor | None = None,
    epsilon: float | None = None,
) -> SinkhornDivergence:
    """Return the debiased Sinkhorn divergence of rows to a target, with its solves.

    It is taken for the squared Euclidean cost at 0.05 times the mean cost within the target, so
    that values of different estimators and parameters compare.
    """
    epsilon = divergence_epsilon(y, weights) if epsilon is None else epsilon
    return sinkhorn_divergence(
        moved, y, a=moved_weights, b=weights, epsilon=epsilon, return_result=True
    )


def judge_by(target: EmpiricalMeasure, moved: EmpiricalMeasure) -> SplitSinkhornDivergence:
    """Return the split Sinkhorn divergence of moved rows to a target, in units of the data.

    The target alone fixes the regularisation, and the halves are the same ones in every call, so
    that values of different estimators and parameters compare.
    """
    return split_sinkhorn_divergence(
        moved.points,
        target.points,
        a=moved.weights,
        b=target.weights,
        epsilon=divergence_epsilon(target.points, target.weights, _SPLIT_SHARE),
        return_result=True,
    )


def total_variance(measure: EmpiricalMeasure) -> float:
    """Variance of the rows of a measure, summed over features."""
    centred = measure.points - weighted_mean(measure.points, measure.weights)
    return float(measure.weights @ centred.square().sum(1))


def warn_if_not_solved(
    what: str, divergences: Sequence[SinkhornDivergence | SplitSinkhornDivergence]
) -> None:
    """Warn once if a divergence on which something rests was not solved to its tolerance."""
    failed = [divergence for divergence in divergences if not divergence.converged]
    if not failed:
        return
    error = max(divergence.marginal_error for divergence in failed)
    warn_not_converged(
        f"{what} rests on a Sinkhorn divergence that did not converge: the L1 marginal error of "
        f"its solves is up to {error:.2g}. Rows that are far away, of either side, make it hard; "
        "skot.metrics.split_sinkhorn_divergence has max_iter, epsilon and tol to compute it with."
    )


def at_most(measure: EmpiricalMeasure, n: int = SCORE_ROWS) -> EmpiricalMeasure:
    """Return a fixed subsample of a large measure."""
    measure = measure.without_zero_weights()
    size = len(measure.points)
    if size <= n:
        return measure
    chosen = np.random.RandomState(0).permutation(size)[:n]
    rows = torch.from_numpy(chosen).to(measure.points.device)
    return EmpiricalMeasure.from_points(measure.points[rows], measure.weights[rows])
