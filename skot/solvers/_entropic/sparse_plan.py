"""The heaviest entries of every row of a plan as a sparse array, from its tiles."""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy.sparse import csr_array
from sklearn.utils import check_scalar
from torch import Tensor

from skot.utils._brief import brief_repr

#: Size of a block: of 32 MiB on, glibc gives memory back to the system at once when it is freed.
_BLOCK_BYTES = 2**25


@dataclass(frozen=True)
class SparsePlan:
    """The heaviest entries of a plan, and how much mass the others have.

    Attributes
    ----------
    plan : scipy.sparse.csr_array of shape (n, m)
        The entries that are kept, as they are in the plan, in float64; columns ascend in each row.
    lost_mass : float
        The sum of the entries that are left out, so that ``plan.sum() + lost_mass`` is the mass of
        the whole plan.
    """

    plan: csr_array
    lost_mass: float

    __repr__ = brief_repr


def sparse_plan(
    tiles: Iterable[tuple[slice, Tensor]],
    shape: tuple[int, int],
    *,
    mass: float = 0.99,
    max_per_row: int | None = None,
) -> SparsePlan:
    """Keep, of every row, the fewest entries that hold a share of its mass.

    `tiles` are (rows, Tensor of shape (len(rows), m)) of a plan of some shape; arguments and errors
    are those of `EntropicPlan.tosparse`.
    """
    check_scalar(mass, "mass", Real, min_val=0, max_val=1, include_boundaries="right")
    mass = float(mass)
    if np.isnan(mass):  # which passes comparisons
        raise ValueError("mass == nan, must be > 0 and <= 1.")
    if max_per_row is not None:
        check_scalar(max_per_row, "max_per_row", Integral, min_val=1)
    values, columns = _Blocks(np.float64), _Blocks(np.int32)
    ends = np.zeros(shape[0] + 1, dtype=np.int64)
    lost_mass = 0.0
    for rows, tile in tiles:
        entries = tile.detach().cpu().numpy()
        kept, lost = heaviest_of_rows(entries, mass, max_per_row)
        lost_mass += float(lost.sum())
        ends[1:][rows] = kept.sum(axis=1)
        values.extend(entries[kept])
        columns.extend(np.nonzero(kept)[1])
    np.cumsum(ends, out=ends)
    # SciPy would copy columns in another integer type than that of the ends of the rows.
    if ends[-1] <= np.iinfo(np.int32).max:
        ends = ends.astype(np.int32)
    return SparsePlan(csr_array((values.join(), columns.join(), ends), shape=shape), lost_mass)


class _Blocks:
    """An array that grows, and is hardly ever held twice.

    Large blocks, because what outlives a tile may not lie between tiles in memory: where small
    pieces fill the gaps that tiles leave, no later tile fits there.
    """

    def __init__(self, dtype: type):
        self._dtype = np.dtype(dtype)
        self._length = _BLOCK_BYTES // self._dtype.itemsize
        self._blocks: list[np.ndarray] = []
        self._n_free = 0

    def extend(self, piece: np.ndarray) -> None:
        """Add numbers of shape (k,)."""
        while len(piece):
            if self._n_free == 0:
                self._blocks.append(np.empty(self._length, self._dtype))
                self._n_free = self._length
            part = piece[: self._n_free]
            start = self._length - self._n_free
            self._blocks[-1][start : start + len(part)] = part
            self._n_free -= len(part)
            piece = piece[len(part) :]

    def join(self) -> np.ndarray:
        """Return all of it, and forget it."""
        whole = np.empty(len(self._blocks) * self._length - self._n_free, self._dtype)
        while self._blocks:
            start = (len(self._blocks) - 1) * self._length
            rest = whole[start : start + self._length]
            rest[:] = self._blocks.pop()[: len(rest)]
        return whole


def heaviest_of_rows(
    tile: np.ndarray, mass: float, max_per_row: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the fewest entries of each row of a tile (r, m) that hold a share of it, or a number.

    Returns which, bool of shape (r, m), and the sum of the others of each row, (r,). Of equal
    entries the first are kept; zeros never are.
    """
    # From the lightest on, so that small sums are not lost in large ones.
    ascending = np.sort(tile, axis=1)
    sums = np.cumsum(ascending, axis=1, dtype=np.float64)
    total = sums[:, -1]
    if not np.isfinite(total).all():
        raise ValueError("The plan has entries that are not finite numbers: the solve has failed.")
    n_columns = tile.shape[1]
    n_dropped = (sums <= (1.0 - mass) * total[:, None]).sum(axis=1)
    # Beside the smallest shares, 1 - mass is 1.
    n_dropped[(n_dropped == n_columns) & (total > 0.0)] -= 1
    if max_per_row is not None:
        np.maximum(n_dropped, n_columns - max_per_row, out=n_dropped)
    each = np.arange(len(tile))
    lost = np.where(n_dropped > 0, sums[each, n_dropped - 1], 0.0)
    lightest = np.where(
        n_dropped < n_columns, ascending[each, np.minimum(n_dropped, n_columns - 1)], np.inf
    )
    kept = tile >= lightest[:, None]
    surplus = kept.sum(axis=1) - (n_columns - n_dropped)
    for row in np.flatnonzero(surplus):
        kept[row, np.flatnonzero(tile[row] == lightest[row])[-surplus[row] :]] = False
    return kept, lost
