"""Equal numbers of rows with equal weights: linear assignment, with a certificate."""

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from skot.solvers._exact.plan import ExactPlan, duality_gap, reduce_costs, slacks

#: Solves: each starts at the duals of the one before, so that far rows cost no digits.
_MAX_ROUNDS = 3
#: Gap, as a share of the excess, with which no other solve is worth its time.
_GAP = 1e-11
#: A path that improves a dual by less than this share of the excess is rounding.
_ROUNDING = 1e-14


def assignment(cost: np.ndarray) -> ExactPlan:
    """Return the cheapest permutation for finite costs of shape (n, n).

    The vertices of the polytope of plans are permutations (Birkhoff and von Neumann).
    """
    n = len(cost)
    rows, weights = np.arange(n), np.full(n, 1.0 / n)
    reduced, f, g = reduce_costs(cost)
    slack = reduced
    least = np.inf
    for _ in range(_MAX_ROUNDS):
        found = linear_sum_assignment(slack)[1]
        excess = float(reduced[rows, found].mean())
        f_step, g_step = _duals(slack, found, _ROUNDING * excess)
        slack = slacks(slack, f_step, g_step)
        f, g = f + f_step, g + g_step
        gap = duality_gap(slack, weights, slack[rows, found].mean(), excess)
        if gap < least:
            least, columns, relative_gap = gap, found, gap / excess if gap else 0.0
        if gap <= _GAP * excess:
            break
    value = math.fsum(cost[rows, columns]) / n
    return ExactPlan(rows, columns, weights, f, g, value, least, relative_gap)


def _duals(cost: np.ndarray, columns: np.ndarray, rounding: float) -> tuple[np.ndarray, np.ndarray]:
    """Duals (n,), (n,) of a matching: shortest paths by Bellman and Ford, changed columns only."""
    n = len(cost)
    matched = cost[np.arange(n), columns]
    row_of = np.argsort(columns)
    g = np.zeros(n)
    active = np.arange(n)
    # Without a fixed point after n passes a cycle would be cheaper: the gap will tell.
    for _ in range(n):
        paths = cost[active]
        paths += (g[columns[active]] - matched[active])[:, None]
        bound = paths.min(axis=0)
        lower = np.flatnonzero(bound < g - rounding)
        if not len(lower):
            break
        g[lower] = bound[lower]
        active = row_of[lower]
    return (cost - g).min(axis=1), g
