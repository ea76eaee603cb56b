"""Plain small problems from arrays to a result, without the detour through tensors.

Between two clouds of some dozens of points the solve takes tens of microseconds, less than general
reading and checking do. What is not plain (another cost, gradients, points without mass, bad
input) is left to :mod:`skot.solvers._entropic.problem`, which also words the errors.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from skot.costs import SquaredEuclidean
from skot.solvers._entropic.iteration import Progress
from skot.solvers._entropic.lean.solve import LeanSolution, solve_lean
from skot.solvers._entropic.lean_logits import LeanLogits
from skot.solvers._entropic.logits import PointLogits
from skot.solvers._entropic.plan import EntropicPlan
from skot.solvers._entropic.precision import DOUBLE_WEIGHT
from skot.solvers._entropic.settings import Settings

_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
#: Squared sizes of clouds whose costs need no other unit.
_SMALLEST, _LARGEST = 1e-100, 1e100


class LeanProblem(NamedTuple):
    """Two clouds at the squared Euclidean cost, each centred.

    Attributes
    ----------
    x, y : ndarray of shape (n, d), (m, d)
        Points; the caller's costs are ``|x - y|^2 + row + column``.
    x_squares, y_squares : ndarray of shape (n,), (m,)
        Squared norms.
    a, b : ndarray of shape (n,), (m,)
        Positive weights that sum to one.
    row, column : ndarray of shape (n,), (m,)
        What the distance of the means adds.
    costs : LeanLogits
        For the solve.
    largest_squares : float
        Largest squared norm of x, plus that of y.
    """

    x: np.ndarray
    y: np.ndarray
    x_squares: np.ndarray
    y_squares: np.ndarray
    a: np.ndarray
    b: np.ndarray
    row: np.ndarray
    column: np.ndarray
    costs: LeanLogits
    largest_squares: float

    def scale(self) -> float:
        """Mean cost."""
        return float(self.a @ self.x_squares + self.b @ self.y_squares)

    def largest(self) -> float:
        """Bound on the costs."""
        return self.costs.product_bound + self.largest_squares

    def potentials(self, h: np.ndarray, row_log: np.ndarray, epsilon: float):
        """Potentials for the caller's costs, of shapes (n,) and (m,), at the usual gauge."""
        f = self.x_squares - epsilon * row_log + self.row
        g = epsilon * h + self.column
        gauge = 0.5 * (self.a @ f - self.b @ g)
        return f - gauge, g + gauge

    def plan(self, h: np.ndarray, epsilon: float) -> EntropicPlan:
        """The lazy plan of a potential over epsilon."""
        parts = (self.x, self.y, self.a, self.b, h, self.row, self.column)
        x, y, a, b, potential, row, column = (torch.from_numpy(part) for part in parts)
        costs = PointLogits(SquaredEuclidean(), x, y)
        return EntropicPlan(costs, a, b, potential, epsilon, 1.0, (row, column))


def plain_arrays(
    cost: Any, x: Any, y: Any, a: Any, b: Any, settings: Settings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Points and weights x, y, a, b of a plain problem; None for everything else."""
    if not (cost is None or cost == "sqeuclidean" or type(cost) is SquaredEuclidean):
        return None
    x, y = _as_points(x), _as_points(y)
    if (
        x is None
        or y is None
        or x.shape[1] != y.shape[1]
        or not settings.allow_lean(len(x) * len(y))
    ):
        return None
    a, b = _as_weights(a, len(x)), _as_weights(b, len(y))
    return None if a is None or b is None else (x, y, a, b)


def read_lean(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> LeanProblem | None:
    """Put points of shape (n, d), (m, d) into good coordinates; None where there are none."""
    # As in skot.costs.SquaredEuclidean.standardize, but for the unit. Relative to one row, so that
    # equal points stay equal.
    u = x[0] - y[0]
    x, y = x - x[0], y - y[0]
    mean_x, mean_y = a @ x, b @ y
    x -= mean_x
    y -= mean_y
    u += mean_x - mean_y
    x_squares, y_squares = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
    farthest = float(x_squares.max()), float(y_squares.max())
    # False for what is not a number, or too large or too small to be squared, too.
    if not _SMALLEST < max(farthest) < _LARGEST:
        return None
    row, column = 2.0 * (x @ u) + u @ u, -2.0 * (y @ u)
    costs = LeanLogits(x, y.T, y_squares, 2.0, 2.0 * (farthest[0] * farthest[1]) ** 0.5)
    return LeanProblem(x, y, x_squares, y_squares, a, b, row, column, costs, sum(farthest))


def solve_lean_problem(
    problem: LeanProblem, settings: Settings, progress: Progress
) -> LeanSolution:
    """Solve a plain problem; `settings` has its epsilon."""
    return solve_lean(
        problem.costs,
        problem.a,
        problem.b,
        # Without annealing it starts from zeros in the caller's costs, as published.
        None if settings.annealing else -problem.column,
        epsilon=settings.epsilon,
        tol=settings.tol,
        memory=settings.memory,
        annealing=settings.annealing,
        scale=problem.scale(),
        largest=problem.largest(),
        allow_single=settings.dtype is None,
        progress=progress,
    )


def _as_points(points: Any) -> np.ndarray | None:
    """Points of shape (n, d) in float64, if they are."""
    array = _as_array(points)
    if array is None or array.ndim != 2 or 0 in array.shape:
        return None
    return array if array.dtype == np.float64 else array.astype(np.float64)


def _as_weights(weights: Any, size: int) -> np.ndarray | None:
    """Weights of shape (size,) that sum to one, none of them light, if they are."""
    if weights is None:
        return np.full(size, 1.0 / size)
    array = _as_array(weights)
    if array is None or array.shape != (size,):
        return None
    array = array.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        total = float(array.sum())
    return array / total if float(array.min()) > DOUBLE_WEIGHT * total and total < np.inf else None


def _as_array(values: Any) -> np.ndarray | None:
    """A float array without a copy, of an array or a tensor on the CPU without a graph."""
    if type(values) is torch.Tensor:
        if values.requires_grad or values.device.type != "cpu" or not values.is_contiguous():
            return None
        if values.dtype not in (torch.float64, torch.float32):
            return None
        try:
            return values.numpy()
        except RuntimeError:
            # Under a transform of torch.func, whose tensors have no storage.
            return None
    return values if type(values) is np.ndarray and values.dtype in _FLOATS else None
