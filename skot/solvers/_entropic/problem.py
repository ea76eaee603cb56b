"""What a caller passes, read and put in well-scaled coordinates."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skot.costs import Cost, PrecomputedCost
from skot.measures import normalize_weights
from skot.solvers._entropic.logits import GridLogits, MatrixLogits, PointLogits
from skot.solvers.initializers import Initializer
from skot.utils.tensors import to_tensor
from skot.utils.validation import check_points


@dataclass(frozen=True)
class Problem:
    """Entropic problems that share their cost.

    Attributes
    ----------
    cost : Cost, PrecomputedCost or GridCost
        Ground cost.
    points : tuple of Tensor
        The caller's points ``(x, y)``, or its matrix, or nothing; they may require gradients.
    costs : PointLogits, MatrixLogits or GridLogits
        Costs in scaled units: the caller's are ``unit * costs + row[:, None] + column``.
    unit : float
        The scale.
    row, column : Tensor of shape (n,), (m,)
        The additive terms.
    a, b : Tensor of shape (n_problems, n), (n_problems, m)
        Weights that sum to one; they may require gradients.
    batched : bool
        Whether the caller passed a batch.
    class_cost : tuple or None
        Class indices of the sources and cost table of the classes, in the caller's units.
    """

    cost: Any
    points: tuple[Tensor, ...]
    costs: Any
    unit: float
    row: Tensor
    column: Tensor
    a: Tensor
    b: Tensor
    batched: bool
    class_cost: tuple[Tensor, Tensor] | None = None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What derivatives are taken with respect to: weights and points ``(a, b, *points)``."""
        return self.a, self.b, *self.points

    def plain(self, a: Tensor, b: Tensor, *points: Tensor) -> "Problem":
        """Read the problem from its inputs without the wrappers of a transform of `torch.func`.

        Returns this one where there were none.
        """
        if a is self.a:
            return self
        cost = PrecomputedCost(points[0]) if len(points) == 1 else self.cost
        x, y = points if len(points) == 2 else (None, None)
        return read_problem(cost, x, y, a, b, self.class_cost)


def read_problem(cost, x, y, a, b, class_cost=None) -> Problem:
    """Read a problem from what the caller passed, with a cost that is validated.

    Class costs are indices of the sources and a table, in the caller's units. Raises a ValueError
    for shapes that do not fit together, or values that are not finite.
    """
    if isinstance(cost, Cost):
        return _read_points(cost, x, y, a, b, class_cost)
    if x is not None or y is not None or class_cost is not None:
        raise ValueError(f"{type(cost).__name__} has its own supports: pass weights only.")
    ground_cost = cost.ground_cost
    if ground_cost is not None:
        # The component's own copies of its points would leave their graph.
        return _read_points(ground_cost, cost.x, cost.y, a, b, None)
    if cost.is_separable:
        like = next((w for w in (a, b) if isinstance(w, Tensor)), torch.empty(0))
        a, b, batched = _read_weights(a, b, cost.size, cost.size, like.device)
        grid_costs = GridLogits(cost, a.device)
        return Problem(cost, (), grid_costs, 1.0, *_zeros(grid_costs), a, b, batched)
    matrix = _as_float64(cost.matrix, "cost matrix")
    n, m = matrix.shape
    a, b, batched = _read_weights(a, b, n, m, matrix.device)
    scaled = matrix.detach()
    offset = float(scaled.min())
    unit = float((scaled - offset).max()) or 1.0
    _check_size(unit)
    costs = MatrixLogits((scaled - offset) / unit)
    row, column = _zeros(costs)
    return Problem(cost, (matrix,), costs, unit, row + offset, column, a, b, batched)


def _read_points(cost: Cost, x, y, a, b, class_cost) -> Problem:
    if x is None or y is None:
        raise ValueError(f"{type(cost).__name__} needs the points: pass x and y.")
    x, y = _as_float64(x, "x"), _as_float64(y, "y")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x has {x.shape[1]} features, but y has {y.shape[1]} features.")
    a, b, batched = _read_weights(a, b, len(x), len(y), x.device)
    with torch.no_grad():
        pair = cost.standardize(x.detach(), y.detach(), a.detach().mean(0), b.detach().mean(0))
        _check_size(pair.scale + float(pair.row.abs().max()) + float(pair.column.abs().max()))
        scaled_class_cost = None
        if class_cost is not None:
            labels, table = class_cost
            if table.requires_grad:
                raise ValueError(
                    "The costs of classes are constants: a table that requires a gradient would "
                    "get none. Detach it."
                )
            scaled_class_cost = labels.to(x.device), table.to(x) / pair.scale
        costs = PointLogits(cost, pair.x, pair.y, scaled_class_cost)
    scale = pair.scale, pair.row, pair.column
    return Problem(cost, (x, y), costs, *scale, a, b, batched, class_cost)


def read_potential(initializer, problem: Problem, epsilon: float) -> Tensor:
    """Initial target potential in the caller's units, shape (n_problems, m)."""
    if isinstance(initializer, Initializer):
        g = initializer.target_potential(problem, epsilon).to(problem.b)
    elif isinstance(initializer, (str, type)):
        raise ValueError(
            f"initializer must be an instance of Initializer or a potential. Got {initializer!r}."
        )
    else:
        g = to_tensor(initializer, dtype=torch.float64, device=problem.b.device)
    n_problems, m = problem.b.shape
    if g.ndim not in (1, 2) or g.shape[-1] != m or (g.ndim == 2 and len(g) not in (1, n_problems)):
        expected = (n_problems, m) if problem.batched else (m,)
        raise ValueError(
            f"initializer must be an Initializer or a potential of shape {expected}. "
            f"Got shape {tuple(g.shape)}."
        )
    if not bool(torch.isfinite(g).all()):
        raise ValueError("The initial potential contains NaN or infinity.")
    return g.expand_as(problem.b)


def _check_size(size: float) -> None:
    if not math.isfinite(size):
        raise ValueError(
            "The costs are too large for float64. Put the points or the costs in another unit."
        )


def _as_float64(values, name: str) -> Tensor:
    """Matrix in float64; a tensor that requires a gradient stays in its graph."""
    checked = check_points(values, name=name)
    # A tensor is only read, and one that requires a gradient stays in its graph.
    return (
        values.double() if isinstance(values, Tensor) else to_tensor(checked, dtype=torch.float64)
    )


def _read_weights(a, b, n: int, m: int, device) -> tuple[Tensor, Tensor, bool]:
    """Weights of shape (n_problems, n) and (n_problems, m), and whether they came in a batch."""
    a, b = (_one_side(w, size, name, device) for w, size, name in ((a, n, "a"), (b, m, "b")))
    batched = a.ndim == 2 or b.ndim == 2
    a, b = torch.atleast_2d(a), torch.atleast_2d(b)
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise ValueError(f"a holds {len(a)} problems, but b holds {len(b)} problems.")
    n_problems = max(len(a), len(b))
    a, b = a.expand(n_problems, n), b.expand(n_problems, m)
    return a, b, batched


def _one_side(weights, size: int, name: str, device) -> Tensor:
    if weights is None:
        return torch.full((size,), 1.0 / size, dtype=torch.float64, device=device)
    is_complex = weights.is_complex() if isinstance(weights, Tensor) else np.iscomplexobj(weights)
    if is_complex:
        raise ValueError("Complex data not supported in weights.")
    keeps_graph = isinstance(weights, Tensor) and weights.requires_grad
    if not keeps_graph:
        weights = to_tensor(weights, dtype=torch.float64, device=device)
    if weights.ndim not in (1, 2) or weights.shape[-1] != size or 0 in weights.shape:
        raise ValueError(
            f"{name} must have shape ({size},) or (n_problems, {size}). Got {tuple(weights.shape)}."
        )
    return normalize_weights(weights.double())


def _zeros(costs) -> tuple[Tensor, Tensor]:
    n, m = costs.shape
    options = {"dtype": torch.float64, "device": costs.device}
    return torch.zeros(n, **options), torch.zeros(m, **options)
