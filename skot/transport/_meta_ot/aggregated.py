"""A transport problem whose many targets are gathered into groups, which is cheap to solve."""

import warnings
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skot.costs import PrecomputedCost
from skot.solvers import SinkhornResult, sinkhorn

#: Marginal error to which the small problem is solved, and passes at most.
_TOL, _MAX_PASSES = 1e-2, 200
#: Of the search for groups: beyond, they hardly change.
_SEARCH_PASSES = 20


class AggregatedTargets(NamedTuple):
    """Targets in groups: costs `matrix` (n, n_groups), and the group of each, `groups` (m,)."""

    matrix: Tensor
    groups: Tensor


def aggregate_targets(matrix: Tensor, b: Tensor, n_groups: int) -> AggregatedTargets:
    """Gather targets of nearly the same costs (n, m), at the mean cost of their group.

    The source potential sees a target j only through its costs :math:`C_{ij}`, up to a constant
    that the target potential takes up. The groups, `n_groups` at most, are therefore clusters of
    the columns of the cost less their means, by k-means (Lloyd, 1982, Least squares quantization in
    PCM, IEEE Transactions on Information Theory, 28(2)) weighted with a typical target measure b
    (m,). That leaves ``n_groups / m`` of the entries, and of the time of a pass.
    """
    from sklearn.cluster import KMeans  # slow to import, and seldom needed

    columns = (matrix - matrix.mean(0)).T.float().cpu().numpy()
    # A group of targets that are typically without weight has a mean cost all the same.
    weights = b + 1e-3 * b.mean()
    search = KMeans(n_groups, init="random", n_init=1, max_iter=_SEARCH_PASSES, random_state=0)
    with warnings.catch_warnings():
        # Targets of equal costs make fewer groups, which is welcome.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = search.fit(columns, sample_weight=weights.cpu().numpy()).labels_
    groups = torch.from_numpy(labels).long().unique(return_inverse=True)[1].to(matrix.device)
    means = _gather(matrix * weights, groups) / _gather(weights[None], groups)
    return AggregatedTargets(means, groups)


def solve_aggregated(
    aggregated: AggregatedTargets, a: Tensor, b: Tensor, epsilon: float
) -> SinkhornResult:
    """Solve problems with their targets in groups, to a marginal error of one per cent.

    Weights (n_problems, n), (n_problems, m) sum to one. The source potentials of the result are
    close to those of the whole problems.
    """
    return sinkhorn(
        a=a,
        b=_gather(b, aggregated.groups),
        cost=PrecomputedCost(aggregated.matrix),
        epsilon=epsilon,
        tol=_TOL,
        max_iter=_MAX_PASSES,
    )


def _gather(rows: Tensor, groups: Tensor) -> Tensor:
    """Sum the columns of each group."""
    sums = rows.new_zeros(len(rows), int(groups.max()) + 1)
    return sums.index_add_(1, groups, rows)
