"""Costs of a batch of different clouds, in scaled units, a chunk of problems at a time.

As for one problem (:mod:`skot.solvers._entropic.problem`), the caller's costs are ``unit * costs +
row[:, None] + column``, here with a leading axis. What the iteration sees has a copy of some point
with mass in the place of every point without: such copies have no mass either, but bounds and
maxima over all pairs are then bounds and maxima over those that matter.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from skot.costs import Cost, PNorm, SquaredEuclidean
from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.clouds.input import CloudBatch
from skot.solvers._entropic.logits import MatrixLogits, PointLogits

_ALL = slice(None)


class SingleCosts(NamedTuple):
    """One problem of a batch, padding cut off.

    Attributes
    ----------
    costs : PointLogits or MatrixLogits
        In the same scaled units as the batch.
    unit : float
        The scale.
    row, column : Tensor of shape (n_i,), (m_i,)
        The additive terms.
    """

    costs: Any
    unit: float
    row: Tensor
    column: Tensor


class SquaredEuclideanClouds:
    """Squared distances: every problem is centred and scaled, and formed by one product."""

    def __init__(self, batch: CloudBatch):
        self._cost, self._sizes = batch.cost, batch.sizes
        a, b = batch.a.detach(), batch.b.detach()
        x, y = batch.points
        seen_x, seen_y = _fill(x, a), _fill(y, b)
        mean_x, mean_y = _means(seen_x, a), _means(seen_y, b)
        is_full = seen_x is x and seen_y is y
        x, y = x - mean_x, y - mean_y
        if is_full:
            seen_x, seen_y = x, y
        else:
            seen_x, seen_y = seen_x - mean_x, seen_y - mean_y
        size = torch.maximum(*(points.flatten(1).abs().amax(1) for points in (seen_x, seen_y)))
        # The square of less is no ordinary number to divide by.
        size = torch.where(size > 1e-150, size, 1.0)
        self.unit = size * size
        # |x + u|^2 with u = mean_x - mean_y added between the centred clouds.
        u = mean_x - mean_y
        self.row = (2.0 * x @ u.mT)[:, :, 0] + _square_norms(u)
        self.column = (-2.0 * y @ u.mT)[:, :, 0]
        size = size[:, None, None]
        self._given = x / size, y / size
        self._seen = self._given if is_full else (seen_x / size, seen_y / size)
        #: Terms of the rows that :meth:`exponents` leaves out.
        self.row_constant = _square_norms(self._given[0])
        radii = [_square_norms(points).amax(1).sqrt() for points in self._seen]
        self.range = (radii[0] + radii[1]).square()

    def exponents(
        self,
        index: Tensor,
        epsilon: Tensor,
        h: Tensor,
        given: bool = False,
        rows: slice = _ALL,
    ) -> Tensor:
        """Form ``h_j - C_ij / epsilon`` up to a constant per row, shape (k, len(rows), m).

        Of k problems with regularisations (k,) and terms of the columns (k, m). `given` leaves
        points without mass where the caller put them, so that their potentials can be read off.
        """
        x, y = self._given if given else self._seen
        x, y = x[index, rows], y[index]
        scale = epsilon[:, None, None]
        bias = h[:, None, :] - _square_norms(y)[:, None, :] / scale
        return torch.baddbmm(bias, (2.0 / scale) * x, y.mT)

    def single(self, i: int) -> SingleCosts:
        """Return one problem."""
        return _single(self, i)


class PointClouds:
    """Any cost between points."""

    def __init__(self, batch: CloudBatch):
        self._cost, self._sizes = batch.cost, batch.sizes
        self._is_vectorised = True
        (x, y), a, b = batch.points, batch.a.detach(), batch.b.detach()
        self.unit = x.new_ones(len(x))
        self.row, self.column = torch.zeros_like(a), torch.zeros_like(b)
        if type(batch.cost).standardize is not Cost.standardize:
            pairs = [batch.cost.standardize(*problem) for problem in zip(x, y, a, b, strict=True)]
            x, y = torch.stack([pair.x for pair in pairs]), torch.stack([pair.y for pair in pairs])
            self.unit = x.new_tensor([pair.scale for pair in pairs])
            self.row = torch.stack([pair.row for pair in pairs])
            self.column = torch.stack([pair.column for pair in pairs])
        self._given, self._seen = (x, y), (_fill(x, a), _fill(y, b))
        tiles = row_tiles(len(x), a.shape[1] * b.shape[1])
        parts = (self._pairwise(torch.arange(tile.start, tile.stop)) for tile in tiles)
        bounds = [torch.stack([part.amin((1, 2)), part.amax((1, 2))]) for part in parts]
        self._lowest, largest = torch.cat(bounds, 1)
        self.range = largest - self._lowest
        self.row_constant = self._lowest[:, None].expand_as(a)

    def exponents(
        self,
        index: Tensor,
        epsilon: Tensor,
        h: Tensor,
        given: bool = False,
        rows: slice = _ALL,
    ) -> Tensor:
        """See :meth:`SquaredEuclideanClouds.exponents`."""
        excess = self._pairwise(index, given, rows) - self._lowest[index, None, None]
        return excess.div_(-epsilon[:, None, None]).add_(h[:, None, :])

    def single(self, i: int) -> SingleCosts:
        """See :meth:`SquaredEuclideanClouds.single`."""
        return _single(self, i)

    def _pairwise(self, index: Tensor, given: bool = False, rows: slice = _ALL) -> Tensor:
        x, y = self._given if given else self._seen
        x, y = x[index, rows], y[index]
        if type(self._cost).pairwise is PNorm.pairwise:
            return self._cost.pairwise(x, y)  # takes a leading axis as it is
        if self._is_vectorised:
            try:
                return torch.vmap(self._cost.pairwise)(x, y)
            except RuntimeError:
                # A cost may look at values, or write in place.
                self._is_vectorised = False
        return torch.stack([self._cost.pairwise(*pair) for pair in zip(x, y, strict=True)])


class MatrixClouds:
    """Costs given as one matrix for each problem."""

    def __init__(self, batch: CloudBatch):
        a, b = batch.a.detach(), batch.b.detach()
        (matrices,) = batch.points
        seen = _fill(_fill(matrices, a).mT, b).mT
        offset = seen.amin((1, 2))
        spread = seen.amax((1, 2)) - offset
        self.unit = torch.where(spread > 0, spread, 1.0)
        offset, unit = offset[:, None, None], self.unit[:, None, None]
        self._seen, self._given = (seen - offset) / unit, (matrices - offset) / unit
        self.row = offset[:, 0].expand_as(a)
        self.column = torch.zeros_like(b)
        self.row_constant = torch.zeros_like(a)
        self.range = spread / self.unit

    def exponents(
        self,
        index: Tensor,
        epsilon: Tensor,
        h: Tensor,
        given: bool = False,
        rows: slice = _ALL,
    ) -> Tensor:
        """See :meth:`SquaredEuclideanClouds.exponents`."""
        costs = (self._given if given else self._seen)[index, rows]
        return costs.div_(-epsilon[:, None, None]).add_(h[:, None, :])

    def single(self, i: int) -> SingleCosts:
        """See :meth:`SquaredEuclideanClouds.single`."""
        return SingleCosts(
            MatrixLogits(self._given[i]), float(self.unit[i]), self.row[i], self.column[i]
        )


def cloud_costs(batch: CloudBatch) -> "SquaredEuclideanClouds | PointClouds | MatrixClouds":
    """Costs of a batch, detached: chunks for the iteration, single problems for all else."""
    if len(batch.points) == 1:
        return MatrixClouds(batch)
    # A subclass may have changed what is computed.
    return (SquaredEuclideanClouds if type(batch.cost) is SquaredEuclidean else PointClouds)(batch)


def _single(clouds: "SquaredEuclideanClouds | PointClouds", i: int) -> SingleCosts:
    """One problem, in the coordinates of the batch: its potentials are those of the batch."""
    n, m = (sizes[i] for sizes in clouds._sizes)
    x, y = clouds._given
    costs = PointLogits(clouds._cost, x[i, :n], y[i, :m])
    return SingleCosts(costs, float(clouds.unit[i]), clouds.row[i, :n], clouds.column[i, :m])


def _means(points: Tensor, weights: Tensor) -> Tensor:
    """Weighted means of shape (n_problems, 1, d), relative to one point to keep digits."""
    return points[:, :1] + weights[:, None, :] @ (points - points[:, :1])


def _square_norms(points: Tensor) -> Tensor:
    """Squared norms over the last axis; by a product, as sums over few entries are slow."""
    return points.square() @ points.new_ones(points.shape[-1])


def _fill(rows: Tensor, weights: Tensor) -> Tensor:
    """Rows of shape (n_problems, n, k), those without mass replaced by the first one with."""
    empty = weights == 0
    if not bool(empty.any()):
        return rows
    first = (~empty).to(torch.uint8).argmax(1)
    problems = torch.arange(len(rows), device=rows.device)
    return torch.where(empty[:, :, None], rows[problems, first][:, None], rows)
