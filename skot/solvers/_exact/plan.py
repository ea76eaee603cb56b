"""What an exact solver returns, and the certificate that it is exact."""

from dataclasses import dataclass

import numpy as np

from skot.numerics.tiles import row_tiles
from skot.utils._brief import brief_repr


@dataclass(frozen=True)
class ExactPlan:
    """A plan between two weighted samples, by its few entries, with duals that bound its error.

    Attributes
    ----------
    rows, columns : ndarray of int, shape (n_entries,)
        Where the entries are.
    mass : ndarray of shape (n_entries,)
        The entries; they sum to 1, and over a row to its weight.
    f, g : ndarray of shape (n,), (m,)
        Dual potentials.
    value : float
        Cost of the plan.
    gap : float
        At most by so much the cost exceeds the optimum.
    relative_gap : float
        The gap as a share of what the plan costs above the minima of the rows, and then of the
        columns: a shift of the costs, or a row that is far from everything, does not hide it.
    n_pivots : int
        Iterations, where there are some.
    """

    rows: np.ndarray
    columns: np.ndarray
    mass: np.ndarray
    f: np.ndarray
    g: np.ndarray
    value: float
    gap: float
    relative_gap: float
    n_pivots: int = 0

    __repr__ = brief_repr


def reduce_costs(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take the minima of the rows, then of the columns, off an (n, m) matrix; return them too."""
    f = cost.min(axis=1)
    reduced = cost - f[:, None]
    g = reduced.min(axis=0)
    reduced -= g
    return reduced, f, g


def slacks(cost: np.ndarray, f: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return ``cost - f - g``, of shape (n, m), each entry right to the last digits of its own.

    Potentials of rows that are far away are huge and cancel: the rounding of their sum is kept
    apart (Knuth's two-sum) and taken off in the end.
    """
    result = np.empty_like(cost)
    for rows in row_tiles(*cost.shape):
        left = f[rows, None]
        total = left + g
        left_part = total - g
        rounding = (left - left_part) + (g - (total - left_part))
        result[rows] = (cost[rows] - total) - rounding
    return result


def duality_gap(slack: np.ndarray, a: np.ndarray, on_support: float, excess: float) -> float:
    """Bound how far a plan is from the optimum, by slacks (n, m) and weights of the rows (n,).

    Where slacks are negative the duals are lowered. `on_support` is the sum of the slacks under the
    plan; `excess`, its cost where all costs are made non-negative by duals, is a bound too.
    """
    violation = np.maximum(0.0, -slack.min(axis=1))
    return float(max(0.0, min(excess, on_support + a @ violation)))
