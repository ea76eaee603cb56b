"""The entries of plans over their source weights: kept, streamed, or a product along axes.

Rows sum to one over the targets that have mass. Potentials can be shifted, which scales columns and
makes the rows sum to one again.
"""

from collections.abc import Iterator

import torch
from sklearn import get_config
from torch import Tensor

from skot.numerics.softmax import softmax_tile
from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.logits import GridLogits

#: Up to this many entries the plan is kept in float64, as the kernel of a solve.
_SMALL = 2**20
#: Weights below it leave the range of float32.
_SMALLEST_WEIGHT = 1e-12
#: Entries of rows that sum to one, below which products get slow for being subnormal.
_NEGLIGIBLE = {torch.float32: 1e-25, torch.float64: 1e-200}
#: Largest cost of a grid, in epsilons, for which products along the axes stay in range.
_SCALING_RANGE = 200.0


def plan_tiles(
    costs, b: Tensor, h: Tensor, epsilon: float | Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of plans over their weights, a few at a time, from potentials as they are.

    Of weights and potentials over epsilon of shape (n_problems, m); tiles have shape (n_problems,
    len(rows), m), rows that sum to one, and zeros at targets without mass.
    """
    carried = b > 0
    entries = _StreamedEntries(costs, torch.where(carried, b, 1.0), carried, h, epsilon)
    for rows, tile in entries.tiles():
        yield rows, tile if entries.has_target is None else tile * carried[:, None]


def plan_entries(costs, a, b, has_target, h, epsilon: float | Tensor, storage: str):
    """Choose how entries over the source weights are kept: objects that `_StreamedEntries` shows.

    Weights, of shape (n_problems, n), (n_problems, m), are one where there is no mass.
    """
    streamed = _StreamedEntries(costs, b, has_target, h, epsilon)
    if isinstance(costs, GridLogits) and costs.largest / float(epsilon) <= _SCALING_RANGE:
        return _GridEntries(streamed, costs, float(epsilon))
    size = len(b) * costs.shape[0] * costs.shape[1]
    lowest = float(torch.minimum(a.min(), b.min()))
    is_small = size <= _SMALL or lowest < _SMALLEST_WEIGHT
    dtype = torch.float64 if is_small else torch.float32
    fits = size * dtype.itemsize <= get_config()["working_memory"] * 2**20
    if storage == "kernel" or (storage == "auto" and fits):
        return _StoredEntries(streamed, dtype)
    return streamed


class _StreamedEntries:
    """Entries over the source weights, formed anew in every pass."""

    dtype = torch.float64

    def __init__(self, costs, b: Tensor, has_target: Tensor, h: Tensor, epsilon: float | Tensor):
        self.shape = (len(b), *costs.shape)
        self._costs, self._epsilon = costs, epsilon
        self.has_target = None if bool(has_target.all()) else has_target
        self.bias = h + b.log()

    def shift(self, step: Tensor) -> None:
        """Move the potentials over epsilon."""
        self.bias = self.bias + step

    def tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Form tiles of shape (n_problems, r, m), whose rows sum to one over the targets."""
        n_problems, n, m = self.shape
        is_own = hasattr(self._costs, "select_problems")
        bias = self.bias if is_own else self.bias[0]
        if n_problems > 1 and not is_own:
            bias = torch.zeros_like(bias)
        logits = self._costs.logit_tiles(bias, self._epsilon, torch.float64)
        for rows in row_tiles(n, n_problems * m):
            tile = logits(rows) if is_own else logits(rows)[None]
            if n_problems > 1 and not is_own:
                tile = tile + self.bias[:, None]
            if self.has_target is None:
                yield rows, softmax_tile(tile.flatten(0, 1))[0].view(tile.shape)
                continue
            carried = tile.masked_fill(~self.has_target[:, None], -torch.inf)
            # Between points that both have no mass an entry may be huge.
            exponents = tile - carried.logsumexp(2, keepdim=True)
            yield rows, exponents.clamp_(-700.0, 700.0).exp_()

    def product(self, values: Tensor) -> Tensor:
        """Rows times values of shape (n_problems, m)."""
        return torch.cat([tile @ values[:, :, None] for _, tile in self.tiles()], 1)[:, :, 0]

    def transposed_product(self, values: Tensor) -> Tensor:
        """Columns times values of shape (n_problems, n)."""
        total = torch.zeros_like(self.bias)
        for rows, tile in self.tiles():
            total += (values[:, None, rows] @ tile)[:, 0]
        return total

    def normal(self, values: Tensor, weights: Tensor, *, precise: bool = False) -> Tensor:
        """Columns times weights times rows times values, in one pass over the tiles."""
        total = torch.zeros_like(values)
        for rows, tile in self.tiles():
            sums = (tile @ values[:, :, None])[:, :, 0] * weights[:, rows]
            total += (sums[:, None] @ tile)[:, 0]
        return total


class _StoredEntries:
    """Entries over the source weights, kept in float64, or in float32 with sums in float64."""

    def __init__(self, streamed: _StreamedEntries, dtype: torch.dtype):
        self.dtype, self._has_target = dtype, streamed.has_target
        self._matrix = torch.empty(streamed.shape, dtype=dtype, device=streamed.bias.device)
        for rows, tile in streamed.tiles():
            self._keep(rows, tile)

    def _keep(self, rows: slice, tile: Tensor) -> None:
        tile = torch.nn.functional.threshold(tile, _NEGLIGIBLE[self.dtype], 0.0, inplace=True)
        self._matrix[:, rows] = tile.clamp_(max=torch.finfo(self.dtype).max)

    def shift(self, step: Tensor) -> None:
        """Move the potentials over epsilon."""
        factor = step.exp()
        kept = factor if self._has_target is None else factor * self._has_target
        sums = self.product(kept)
        for rows in row_tiles(self._matrix.shape[1], factor.numel()):
            tile = self._matrix[:, rows] * factor[:, None]
            self._keep(rows, tile / sums[:, rows, None])

    def tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Tiles of shape (n_problems, r, m) in float64."""
        n_problems, n, m = self._matrix.shape
        for rows in row_tiles(n, n_problems * m):
            yield rows, self._matrix[:, rows].double()

    def product(self, values: Tensor) -> Tensor:
        """Rows times values of shape (n_problems, m)."""
        return torch.cat([tile @ values[:, :, None] for _, tile in self.tiles()], 1)[:, :, 0]

    def transposed_product(self, values: Tensor) -> Tensor:
        """Columns times values of shape (n_problems, n)."""
        return sum((values[:, None, rows] @ tile)[:, 0] for rows, tile in self.tiles())  # type: ignore

    def normal(self, values: Tensor, weights: Tensor, *, precise: bool = False) -> Tensor:
        """Columns times weights times rows times values."""
        if precise and self.dtype != torch.float64:
            return self.transposed_product(weights * self.product(values))
        sums = self._times(values[:, :, None].to(self.dtype))[:, :, 0]
        sums = (weights * sums).to(self.dtype)
        if len(sums) == 1:
            return (self._matrix[0].T @ sums[0]).to(values)[None]
        return (sums[:, None] @ self._matrix)[:, 0].to(values)

    def _times(self, values: Tensor) -> Tensor:
        if len(values) == 1:
            return (self._matrix[0] @ values[0])[None]
        return self._matrix @ values


class _GridEntries:
    """Entries over the source weights on a grid, multiplied along its axes."""

    dtype = torch.float64

    def __init__(self, streamed: _StreamedEntries, costs: GridLogits, epsilon: float):
        self._streamed = streamed
        self._kernels = costs.axis_kernels(epsilon)
        self._grid_shape = tuple(len(kernel) for kernel in self._kernels)
        self.shift(torch.zeros_like(streamed.bias))

    def shift(self, step: Tensor) -> None:
        """Move the potentials over epsilon."""
        self._streamed.shift(step)
        bias = self._streamed.bias
        self._columns = (bias - bias.mean(1, keepdim=True)).exp()
        kept = self._streamed.has_target
        kept = self._columns if kept is None else self._columns * kept
        self._rows = self._kernel_times(kept).reciprocal()

    def tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Tiles of shape (n_problems, r, m)."""
        return self._streamed.tiles()

    def product(self, values: Tensor) -> Tensor:
        """Rows times values of shape (n_problems, m)."""
        return self._rows * self._kernel_times(self._columns * values)

    def transposed_product(self, values: Tensor) -> Tensor:
        """Columns times values of shape (n_problems, n)."""
        return self._columns * self._kernel_times(self._rows * values)

    def normal(self, values: Tensor, weights: Tensor, *, precise: bool = False) -> Tensor:
        """Columns times weights times rows times values."""
        return self.transposed_product(weights * self.product(values))

    def _kernel_times(self, values: Tensor) -> Tensor:
        moved = values.reshape(-1, *self._grid_shape)
        for kernel in self._kernels:
            # The first axis is contracted and goes last: after all axes the order is restored.
            moved = torch.movedim(moved, 1, -1) @ kernel
        return moved.reshape(values.shape)
