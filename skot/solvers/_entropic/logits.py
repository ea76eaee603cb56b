"""The cost matrix of one problem, seen only through tiles of logits.

A solver never asks for the cost matrix: it asks for tiles of ``h_j - C_ij / epsilon``, up to a
constant per row that cancels in every softmax over j.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from skot.costs import Cost, FactorizedCost, GridCost, SquaredEuclidean
from skot.numerics.linalg import gaussian_potential, weighted_covariance
from skot.numerics.softmax import softmax_tile
from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.lean_logits import LeanLogits

#: Points of each side in the estimate of the cost's scale, which only starts the annealing.
_SCALE_POINTS = 128
#: The Gaussian guess takes eigendecompositions, about this many operations times d^3, for a few
#: passes of n m operations each.
_EIGENVALUE_WORK = 20


class PointLogits:
    """Costs between two standardised clouds, (n, d) and (m, d), optionally plus a cost by class.

    Those are a class index of each source row, (n,), and a table of classes and targets, (k, m).
    """

    def __init__(self, cost: Cost, x: Tensor, y: Tensor, class_cost=None):
        self.shape = (len(x), len(y))
        self.device = x.device
        self.x, self.y = x, y
        self._cost = cost
        self._class_cost = class_cost

    @cached_property
    def _factors(self) -> FactorizedCost | None:
        return self._cost.factorize(self.x, self.y)

    @property
    def has_class_cost(self) -> bool:
        """Whether there is an extra cost by class."""
        return self._class_cost is not None

    @property
    def row_constant(self) -> Tensor:
        """What the tiles leave out of each row of the cost, shape (n,)."""
        if self._factors is None:
            return self.x.new_zeros(len(self.x))
        return self._factors.row

    def logit_tiles(self, h: Tensor, epsilon: float, dtype: torch.dtype) -> Callable[..., Tensor]:
        """Return a function from a slice of rows to a new tile of logits, shape (len(rows), m).

        `h`, of shape (m,), is the target potential over epsilon, plus whatever belongs to the
        columns. ``tile(rows, out=None)`` may be written to; it is `out` where one is given.
        """
        if self._factors is None:
            return self._evaluated_tiles(h, epsilon, dtype)
        left, right, _, column = self._factors
        left, right, bias = left / epsilon, right, h - column / epsilon
        if self._class_cost is not None:
            # A cost by class is an inner product too: one more coordinate per class.
            labels, table = self._class_cost
            left = torch.cat([left, torch.nn.functional.one_hot(labels, len(table))], 1)
            right = torch.cat([right, -table.T / epsilon], 1)
        left, right, bias = left.to(dtype), right.to(dtype).T, bias.to(dtype)
        return lambda rows, out=None: torch.addmm(bias, left[rows], right, out=out)

    def _evaluated_tiles(self, h, epsilon, dtype):
        def tile(rows: slice, out: Tensor | None = None) -> Tensor:
            cost = self._cost.pairwise(self.x[rows], self.y)
            if self._class_cost is not None:
                labels, table = self._class_cost
                cost = cost + table[labels[rows]]
            return _write((h - cost / epsilon).to(dtype), out)

        return tile

    def lean(self) -> LeanLogits:
        """The same for the core in NumPy; without factors a matrix, of a small problem."""
        if self._factors is None:
            cost = self._cost.pairwise(self.x, self.y)
            if self._class_cost is not None:
                labels, table = self._class_cost
                cost = cost + table[labels]
            return LeanLogits.of_matrix(cost.numpy(force=True))
        left, right, _, column = self._factors
        if self._class_cost is not None:
            labels, table = self._class_cost
            left = torch.cat([left, torch.nn.functional.one_hot(labels, len(table))], 1)
            right = torch.cat([right, -table.T], 1)
        return LeanLogits.of_factors(*(part.numpy(force=True) for part in (left, right, column)))

    def select(self, rows: Tensor, columns: Tensor) -> "PointLogits":
        """Costs between some of the points, chosen by bool of shape (n,), (m,)."""
        class_cost = self._class_cost
        if class_cost is not None:
            class_cost = class_cost[0][rows], class_cost[1][:, columns]
        return PointLogits(self._cost, self.x[rows], self.y[columns], class_cost)

    def guess(self, a: Tensor, b: Tensor, epsilon: float) -> Tensor:
        """Guess the target potential, shaped as b: of the Gaussian problem if cheap, else zero."""
        n, m = self.shape
        is_cheap = _EIGENVALUE_WORK * self.x.shape[1] ** 3 <= n * m
        if not (isinstance(self._cost, SquaredEuclidean) and is_cheap and len(a) == 1):
            return torch.zeros_like(b)
        covariances = weighted_covariance(self.x, a[0]), weighted_covariance(self.y, b[0])
        return gaussian_potential(self.y, *covariances, epsilon)[None]

    @cached_property
    def scale(self) -> float:
        """Mean cost; for a cost that is no inner product, over a few points of each side."""
        if self._factors is None:
            x, y = _evenly(self.x, _SCALE_POINTS), _evenly(self.y, _SCALE_POINTS)
            return float(self._cost.pairwise(x, y).mean())
        left, right, row, column = self._factors
        return float(row.mean() + column.mean() - left.mean(0) @ right.mean(0))

    @cached_property
    def range(self) -> float:
        """Bound on the range of the costs, up to row constants."""
        return self.magnitude()

    def magnitude(self) -> float:
        """Bound on the size of the terms that are added up in a logit times epsilon."""
        if self._factors is None:
            return 2.0 * self.scale
        left, right, row, column = self._factors
        product = float(left.norm(dim=1).max() * right.norm(dim=1).max())
        return product + float(row.abs().max()) + float(column.abs().max())


class MatrixLogits:
    """Costs given as a matrix of shape (n, m)."""

    def __init__(self, matrix: Tensor):
        self.shape = tuple(matrix.shape)
        self.device = matrix.device
        self._matrix = matrix

    @property
    def row_constant(self) -> Tensor:
        """Nothing is left out of the rows, shape (n,)."""
        return self._matrix.new_zeros(self.shape[0])

    def logit_tiles(self, h: Tensor, epsilon: float, dtype: torch.dtype) -> Callable[..., Tensor]:
        """See :meth:`PointLogits.logit_tiles`."""
        return lambda rows, out=None: _write((h - self._matrix[rows] / epsilon).to(dtype), out)

    def guess(self, a: Tensor, b: Tensor, epsilon: float) -> Tensor:
        """Nothing is known: zero."""
        return torch.zeros_like(b)

    def lean(self) -> LeanLogits:
        """See :meth:`PointLogits.lean`."""
        return LeanLogits.of_matrix(self._matrix.numpy(force=True))

    def select(self, rows: Tensor, columns: Tensor) -> "MatrixLogits":
        """See :meth:`PointLogits.select`."""
        return MatrixLogits(self._matrix[rows][:, columns])

    @cached_property
    def scale(self) -> float:
        """Typical cost."""
        return float((self._matrix - self._matrix.min()).mean())

    @cached_property
    def range(self) -> float:
        """Range of the costs."""
        return float(self._matrix.max() - self._matrix.min())

    def magnitude(self) -> float:
        """Bound on the size of the terms that are added up in a logit times epsilon."""
        return 2.0 * float(self._matrix.abs().max())


class GridLogits:
    """Costs between the points of one grid; only what the lazy plan needs."""

    def __init__(self, cost: GridCost, device: torch.device):
        self.shape = (cost.size, cost.size)
        self.device = device
        self._grid_shape = tuple(cost.shape)
        self._axis_costs = cost.axis_costs(device=device)

    @property
    def row_constant(self) -> Tensor:
        """Nothing is left out of the rows, shape (n,)."""
        return torch.zeros(self.shape[0], dtype=torch.float64, device=self.device)

    @property
    def largest(self) -> float:
        """The cost between opposite corners."""
        return sum(float(cost.max()) for cost in self._axis_costs)

    @property
    def scale(self) -> float:
        """Mean cost between two points of the grid."""
        return sum(float(cost.mean()) for cost in self._axis_costs)

    def axis_kernels(self, epsilon: float) -> list[Tensor]:
        """Return the kernel of each axis, shape (n_k, n_k): their product is that of the grid."""
        return [(-cost / epsilon).exp() for cost in self._axis_costs]

    def logit_tiles(self, h: Tensor, epsilon: float, dtype: torch.dtype) -> Callable[..., Tensor]:
        """See :meth:`PointLogits.logit_tiles`."""

        def tile(rows: slice, out: Tensor | None = None) -> Tensor:
            flat = torch.arange(rows.start, rows.stop, device=self.device)
            indices = torch.unravel_index(flat, self._grid_shape)
            total = torch.zeros(len(flat), 1, dtype=torch.float64, device=self.device)
            for axis_cost, index in zip(self._axis_costs, indices, strict=True):
                lines = axis_cost[index]
                total = (total[:, :, None] + lines[:, None, :]).flatten(1)
            return _write((h - total / epsilon).to(dtype), out)

        return tile


def column_logsumexp(costs, row_bias: Tensor, epsilon: float) -> Tensor:
    """Exact ``log sum_i exp(row_bias_i - C_ij / epsilon)``, (m,), in one streamed pass.

    The row bias, (n,), is in the tiles' convention: their row constants are left out.
    """
    n, m = costs.shape
    tile = costs.logit_tiles(row_bias.new_zeros(m), epsilon, torch.float64)
    largest = row_bias.new_full((m,), -torch.inf)
    total = row_bias.new_zeros(m)
    for rows in row_tiles(n, m):
        logits = tile(rows) + row_bias[rows, None]
        new_largest = torch.maximum(largest, logits.amax(0))
        total *= torch.exp((largest - new_largest).clamp_min(-700.0))
        logits -= new_largest
        total += logits.clamp_(min=-700.0).exp_().sum(0)
        largest = new_largest
    return largest + total.log()


def row_logsumexp(costs, h: Tensor, epsilon: float) -> Tensor:
    """Exact ``log sum_j exp(h_j - C_ij / epsilon)``, (n,), in the tiles' convention."""
    n, m = costs.shape
    tile = costs.logit_tiles(h, epsilon, torch.float64)
    parts = [softmax_tile(tile(rows))[1] for rows in row_tiles(n, m)]
    return torch.cat(parts)


def _write(values: Tensor, out: Tensor | None) -> Tensor:
    return values if out is None else out.copy_(values)


def _evenly(points: Tensor, n: int) -> Tensor:
    """At most n rows, evenly spaced through the sample."""
    return points if len(points) <= n else points[:: len(points) // n + 1]
