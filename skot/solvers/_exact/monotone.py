"""One feature: the plan that keeps the order is optimal for every convex cost."""

import math

import numpy as np

from skot.solvers._exact.plan import ExactPlan


def monotone(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, p: float) -> ExactPlan:
    """Return the plan between sorted samples, (n,) and (m,), for the cost :math:`|x - y|^p`.

    Weights are positive and sum to 1. One of 1e-14 keeps its digits: sums are carried in twice the
    precision. The plan has n + m - 1 entries, and memory is linear.
    """
    order_x, order_y = np.argsort(x), np.argsort(y)
    x, y, a, b = x[order_x], y[order_y], a[order_x], b[order_y]
    # The sums differ by rounding. The largest weight takes the difference.
    rest = math.fsum(np.concatenate([a, -b]))
    high, low = (
        np.concatenate(parts)
        for parts in zip(_cumulative(a, 0.0), _cumulative(b, rest), strict=True)
    )
    is_x = np.arange(len(high)) < len(x)
    order = np.lexsort((low, high))
    high, low, is_x = high[order], low[order], is_x[order]
    # Both samples end at the last two levels, which are one but for rounding.
    i = np.concatenate([[0], np.cumsum(is_x)[:-2]])
    j = np.arange(len(i)) - i
    i, j = np.minimum(i, len(x) - 1), np.minimum(j, len(y) - 1)
    mass = np.diff(high[:-1], prepend=0.0) + np.diff(low[:-1], prepend=0.0)
    cost = np.abs(x[i] - y[j]) ** p
    f, g = _duals(len(x), len(y), i, j, cost)
    f, g = _unsorted(f, order_x), _unsorted(g, order_y)
    value = math.fsum(mass * cost)
    return ExactPlan(order_x[i], order_y[j], mass, f, g, value, gap=0.0, relative_gap=0.0)


def _cumulative(weights: np.ndarray, rest: float) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative sums as pairs (n,), (n,) of double numbers, `rest` added to the largest weight."""
    high = np.cumsum(weights)
    before = np.concatenate([[0.0], high[:-1]])
    # Knuth's two-sum: what each addition rounded off.
    added = high - before
    lost = (before - (high - added)) + (weights - added)
    lost[weights.argmax()] += rest
    low = np.cumsum(lost)
    total = high + low
    return total, low - (total - high)


def _duals(
    n: int, m: int, i: np.ndarray, j: np.ndarray, cost: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Duals (n,), (m,) along the staircase of the plan: one of them moves at every step."""
    f, g = np.zeros(n), np.zeros(m)
    steps = np.diff(cost)
    x_moves, y_moves = np.diff(i) > 0, np.diff(j) > 0
    f[i[1:][x_moves]] = steps[x_moves]
    g[j[1:][y_moves]] = steps[y_moves]
    g[0] = cost[0]
    return np.cumsum(f), np.cumsum(g)


def _unsorted(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    result = np.empty_like(values)
    result[order] = values
    return result
