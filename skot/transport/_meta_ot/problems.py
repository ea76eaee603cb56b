"""Rows of two histograms: checked, parted, normalised."""

import math
from typing import Any

import torch
from torch import Tensor

from skot.costs import Cost, GridCost, PrecomputedCost, SupportCost, check_cost, cost_matrix
from skot.training import fingerprint
from skot.utils.validation import check_points

#: Costs between fixed supports.
SUPPORTED_COSTS = (PrecomputedCost, SupportCost, GridCost)


def check_supported_cost(cost: Any) -> Any:
    """Return a validated clone of a cost between fixed supports; None stays None."""
    if cost is None:
        return None
    if isinstance(cost, str):
        raise ValueError(
            f"cost must be a PrecomputedCost, a SupportCost or a GridCost. Got {cost!r}, which has "
            "no supports: pass SupportCost(x, y, cost)."
        )
    cost = check_cost(cost, kind=SUPPORTED_COSTS)
    if isinstance(cost, PrecomputedCost):
        check_points(cost.matrix, name="cost matrix")
    return cost


def support_sizes(cost: Any) -> tuple[int, int]:
    """Return the numbers of source and target points."""
    if isinstance(cost, GridCost):
        return cost.size, cost.size
    if isinstance(cost, SupportCost):
        return len(cost.x), len(cost.y)
    n, m = cost_matrix(cost).shape
    return n, m


def check_width(cost: Any, n_columns: int, owner: str) -> None:
    """Raise unless rows are as wide as the two supports together."""
    n, m = support_sizes(cost)
    if n_columns != n + m:
        raise ValueError(
            f"X has {n_columns} features, but {owner} is expecting {n + m} features as input: "
            f"{n} source weights and {m} target weights, the sizes of the supports of its cost."
        )


def part_histograms(rows: Tensor, n_source: int) -> tuple[Tensor, Tensor]:
    """Part rows into source and target weights, and normalise each to one, in float64."""
    rows = rows.double()
    a, b = _normalized(rows[:, :n_source]), _normalized(rows[:, n_source:])
    return a, b


def check_histograms(rows: Tensor, n_source: int) -> None:
    """Raise for rows that hold no two measures, and say which row it is."""
    for side, weights in (("source", rows[:, :n_source]), ("target", rows[:, n_source:])):
        negative = (weights < 0).any(1)
        if bool(negative.any()):
            row = int(negative.nonzero()[0])
            raise ValueError(
                "Negative values in data passed to MetaOTRegressor: rows of X are histograms, and "
                f"row {row} has negative {side} weights."
            )
        empty = ~(weights > 0).any(1)
        if bool(empty.any()):
            row = int(empty.nonzero()[0])
            raise ValueError(
                f"Row {row} of X cannot be normalised: all of its {side} weights are zero."
            )


def _normalized(weights: Tensor) -> Tensor:
    # Dividing by the largest first keeps the sum of huge weights finite.
    weights = weights / weights.amax(1, keepdim=True)
    return weights / weights.sum(1, keepdim=True)


def cost_fingerprint(cost: Any) -> str:
    """Return a digest of a cost and its supports, whatever the kind of array they came in."""
    if isinstance(cost, GridCost):
        return fingerprint("grid", [int(n) for n in cost.shape], float(cost.power))
    if isinstance(cost, SupportCost):
        return fingerprint("points", check_cost(cost.cost), *cost.points())
    return fingerprint("matrix", cost_matrix(cost))


def same_ground_cost(cost: SupportCost, other: Cost) -> bool:
    """Whether the cost between the points of a support is another one."""
    return fingerprint(check_cost(cost.cost)) == fingerprint(other)


def positions(points: Tensor, support: Tensor) -> Tensor | None:
    """Return where the points are in the support; None if one of them is not.

    Parameters
    ----------
    points : Tensor of shape (k, d)
        Points.
    support : Tensor of shape (n, d)
        Points. Of those that are equal one stands for all, unless `points` is the whole support.

    Returns
    -------
    positions : Tensor of shape (k,) or None
        ``support[positions] == points``.
    """
    if points.shape[1] != support.shape[1]:
        return None
    if torch.equal(points, support):
        return torch.arange(len(points), device=points.device)
    _, inverse = torch.unique(torch.cat([support, points]), dim=0, return_inverse=True)
    where = torch.full((len(inverse),), -1, device=inverse.device)
    where[inverse[: len(support)]] = torch.arange(len(support), device=inverse.device)
    found = where[inverse[len(support) :]]
    return found if bool((found >= 0).all()) else None


def check_same_problem(
    cost: Any, epsilon: float, problem: Any, problem_epsilon: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the weights of a problem on the supports of a cost, or raise if it is another one.

    Transports leave out points without mass: they come back with the weight zero. The third item
    says which target points the problem has, or is None for all.
    """
    if not math.isclose(epsilon, problem_epsilon, rel_tol=1e-6):
        raise ValueError(
            f"The MetaOTRegressor was trained for epsilon={epsilon:g}, but the problem has "
            f"epsilon={problem_epsilon:g} in the units of its cost. SinkhornTransport multiplies "
            "its epsilon by the mean cost, unless scale_cost=None."
        )
    if getattr(problem.costs, "has_class_cost", False):
        raise ValueError(_other_problem("a class cost"))
    a, b = problem.a.detach(), problem.b.detach()
    if isinstance(problem.cost, Cost) and isinstance(cost, SupportCost):
        if not same_ground_cost(cost, problem.cost):
            raise ValueError(_other_problem(f"the cost {problem.cost!r}"))
        x, y = cost.points()
        rows = positions(problem.points[0].detach().to(x), x)
        columns = positions(problem.points[1].detach().to(y), y)
        if rows is None or columns is None:
            raise ValueError(_other_problem("points that are not in its supports"))
        full_a, full_b = a.new_zeros(len(a), len(x)), b.new_zeros(len(b), len(y))
        # Added up, not written: a problem may hold a point several times.
        full_a.index_add_(1, rows, a)
        full_b.index_add_(1, columns, b)
        return full_a, full_b, columns
    if isinstance(problem.cost, Cost) or cost_fingerprint(cost) != cost_fingerprint(problem.cost):
        raise ValueError(_other_problem("another cost"))
    return a, b, None


def _other_problem(what: str) -> str:
    return (
        f"The problem has {what}, but the MetaOTRegressor was trained for one cost on fixed "
        "supports: its potentials mean nothing here."
    )
