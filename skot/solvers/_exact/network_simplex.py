"""Any weights: the network simplex, with masses in exact integers.

A basis is a tree of `n + m - 1` entries. Its masses are sums and differences of weights: in
floating point they would lose the digits of small weights, so they are carried as integers, which
Python makes as long as it takes. Every plan on the way keeps the marginals to the last bit, and
"infeasible" does not exist. Costs and duals are floating-point numbers; once no entry improves the
plan, the same is asked of the slacks, which are small where the plan is, and this is the precision
of the result.
"""

import math
from typing import NamedTuple

import numpy as np

from skot.solvers._exact.plan import ExactPlan, duality_gap, reduce_costs, slacks
from skot.solvers._exact.spanning_tree import SpanningTree

#: Times that the problem is posed anew in the slacks.
_MAX_ROUNDS = 4
#: Gap, as a share of the excess, with which another round is not worth its time.
_GAP = 1e-12
#: A slack above this share of the excess, below zero, is zero: all masses sum to one.
_NEGLIGIBLE = 1e-14
#: Rounding of a reduced cost, as a share of what it is the sum of.
_ROUNDING = 8 * np.finfo(np.float64).eps


class _Masses(NamedTuple):
    """Weights as integers: rows and columns have one sum, and no two subsets of them do.

    `supply` and `demand` are the weights times `denominator`, times `factor`, plus what makes every
    basis non-degenerate: 1 for each row, all of it in one column (the perturbation of Orden, 1956,
    The transhipment problem, Management Science 2(3)).
    """

    supply: list[int]
    demand: list[int]
    factor: int
    denominator: int


def network_simplex(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, *, max_pivots: int | None = None
) -> ExactPlan:
    r"""Solve the transportation problem.

    .. math::

        \min_{P \geq 0} \sum_{ij} P_{ij} C_{ij} \;\text{ with }\; P 1 = a / \sum_i a_i,\;
        P^\top 1 = b / \sum_j b_j.

    Costs of shape (n, m) are finite. Weights of shape (n,), (m,) are not negative, not all zero and
    of any sizes: those of the plan equal them to the last bits, relative to each. The plan has at
    most n + m - 1 entries. It is not optimal where more than `max_pivots` were needed (None is a
    number that only rounding could exceed), and its gap says by how much.

    The first tree takes the cheapest entries first. Prices are looked up for all entries at once,
    then the best entry of each row enters, if it still improves the plan: 10 to 20 pivots per row
    at 500 rows. See Section 3.5 of Peyre and Cuturi (2019), Computational optimal transport,
    Foundations and Trends in Machine Learning 11(5-6).
    """
    reduced, f, g = reduce_costs(cost)
    masses = _integer_masses(a, b)
    tree = SpanningTree(reduced, masses.supply, masses.demand)
    left = 1000 * sum(cost.shape) if max_pivots is None else max_pivots
    slack, n_pivots = reduced, 0
    for _ in range(_MAX_ROUNDS):
        rows, columns, mass = _entries(tree, masses)
        floor = _NEGLIGIBLE * float(mass @ reduced[rows, columns])
        f_step, g_step, pivots = _improve(tree, slack, floor, left - n_pivots)
        n_pivots += pivots
        slack = slacks(slack, f_step, g_step)
        f, g = f + f_step, g + g_step
        rows, columns, mass = _entries(tree, masses)
        excess = float(mass @ reduced[rows, columns])
        gap = duality_gap(slack, a / a.sum(), float(mass @ slack[rows, columns]), excess)
        if gap <= _GAP * excess or n_pivots >= left:
            break
    value = math.fsum(mass * cost[rows, columns])
    relative_gap = gap / excess if gap else 0.0
    return ExactPlan(rows, columns, mass, f, g, value, gap, relative_gap, n_pivots)


def _integer_masses(a: np.ndarray, b: np.ndarray) -> _Masses:
    supply, demand = _integers(a), _integers(b)
    total, other = sum(supply), sum(demand)
    # More than twice what the perturbation can sum up to.
    factor = 2 * len(supply) + 1
    supply = [weight * other * factor + 1 for weight in supply]
    demand = [weight * total * factor for weight in demand]
    demand[-1] += len(supply)
    return _Masses(supply, demand, factor, total * other)


def _integers(weights: np.ndarray) -> list[int]:
    """Return integers in the very proportions of floating-point numbers, which are fractions."""
    fractions = [weight.as_integer_ratio() for weight in weights.tolist()]
    denominator = max(below for _, below in fractions)
    return [above * (denominator // below) for above, below in fractions]


def _entries(tree: SpanningTree, masses: _Masses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and masses, each (n_entries,), of the positive entries of the plan."""
    rows, columns, flows = tree.entries()
    # The perturbation is at most n in size, and the factor is 2 n + 1: this rounds it off.
    n = (masses.factor - 1) // 2
    exact = [(flow + n) // masses.factor for flow in flows]
    # Division of integers is rounded once.
    mass = np.array([flow / masses.denominator for flow in exact])
    positive = mass > 0.0
    return np.array(rows)[positive], np.array(columns)[positive], mass[positive]


def _improve(
    tree: SpanningTree, cost: np.ndarray, floor: float, max_pivots: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Pivot until no reduced cost is below zero by more than its rounding and `floor`.

    Returns the duals (n,), (m,) of the last tree and the number of pivots.
    """
    f, g = tree.duals(cost)
    n_pivots, is_fresh, is_strict = 0, True, False
    while n_pivots < max_pivots:
        prices = _prices(cost, f[:, None], g, is_strict).min(axis=1)
        rows = np.flatnonzero(prices < -floor)
        before = n_pivots
        for i in rows[np.argsort(prices[rows])].tolist():
            row = _prices(cost[i], f[i], g, is_strict)
            j = int(row.argmin())
            price = float(cost[i, j] - (f[i] + g[j]))
            rounding = _ROUNDING * float(abs(cost[i, j]) + abs(f[i]) + abs(g[j]))
            if price < -floor - rounding and n_pivots < max_pivots:
                moved_rows, moved_columns, sign = tree.pivot(i, j)
                f[moved_rows] += sign * price
                g[moved_columns] -= sign * price
                n_pivots += 1
                is_fresh = False
        if n_pivots > before:
            is_strict = False
        elif not is_fresh:
            # Many additions are behind these duals: they are summed anew along the tree.
            f, g = tree.duals(cost)
            is_fresh = True
        elif not is_strict and len(rows):
            # The best entry of a row may be best by rounding only, and hide another.
            is_strict = True
        else:
            break
    if not is_fresh:
        f, g = tree.duals(cost)
    return f, g, n_pivots


def _prices(cost: np.ndarray, f: np.ndarray, g: np.ndarray, is_strict: bool) -> np.ndarray:
    """Reduced costs, of the shape of `cost`; if strict, their rounding is added."""
    prices = cost - (f + g)
    if is_strict:
        prices += _ROUNDING * (np.abs(cost) + (np.abs(f) + np.abs(g)))
    return prices
