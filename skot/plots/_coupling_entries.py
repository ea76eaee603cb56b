"""Entries of a coupling: which are valid, the heaviest, and means over blocks."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.utils import check_array

from skot.plots._style import as_array

#: An ndarray, or a csr_array, of which SciPy tells no types.
Coupling = Any

#: Most cells along a side of the matrix that are drawn; more could not be told apart.
_MOST_CELLS = 512


def as_coupling(coupling: Any) -> Coupling:
    """Take a matrix or a tensor to a matrix in single or double precision, and check it.

    What is sparse stays so, without entries that are stored twice.
    """
    # The sum over half precision would overflow.
    options: dict[str, Any] = {"dtype": [np.float64, np.float32], "input_name": "coupling"}
    if issparse(coupling):
        coupling = csr_array(check_array(coupling, accept_sparse="csr", **options))
        if not coupling.has_canonical_format:
            coupling = coupling.copy()
            coupling.sum_duplicates()
        mass = coupling.data
    else:
        coupling = mass = check_array(as_array(coupling), **options)
    if not mass.any() or mass.min() < 0.0:
        raise ValueError("coupling must have mass, and no negative entries.")
    return coupling


def heaviest(coupling: Coupling, n_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the largest entries that are not zero, ascending, and their mass."""
    mass = coupling.data if issparse(coupling) else coupling.ravel()
    n_pairs = min(n_pairs, int(np.count_nonzero(mass)))
    # A partition is linear in the number of pairs, of which there may be millions.
    first = len(mass) - n_pairs
    entries = np.argpartition(mass, min(first, len(mass) - 1))[first:]
    entries = entries[np.argsort(mass[entries], kind="stable")]
    if issparse(coupling):
        rows = np.searchsorted(coupling.indptr, entries, side="right") - 1
        pairs = np.stack([rows, coupling.indices[entries]], axis=1)
    else:
        pairs = np.stack(np.unravel_index(entries, coupling.shape), axis=1)
    return pairs, mass[entries]


def block_means(coupling: Coupling, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Average a matrix, in another order, over blocks of equal size up to one."""
    if issparse(coupling):
        return _sparse_block_means(coupling, rows, columns)
    cells = coupling[np.ix_(rows, columns)]
    for axis, size in enumerate(cells.shape):
        if size > _MOST_CELLS:
            starts = _block_starts(size)
            counts = np.diff(np.append(starts, size))
            sums = np.add.reduceat(cells, starts, axis=axis)
            cells = sums / np.expand_dims(counts, 1 - axis)
    return cells


def _sparse_block_means(coupling: csr_array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The same without forming the matrix: two products with matrices of ones, of a row each."""
    sides = []
    for order in (rows, columns):
        starts = _block_starts(len(order))
        counts = np.diff(np.append(starts, len(order)))
        shape = (len(starts), len(order))
        ends = np.append(starts, len(order))
        sides.append(csr_array((np.repeat(1.0 / counts, counts), order, ends), shape=shape))
    return (sides[0] @ coupling @ sides[1].T).toarray()


def _block_starts(size: int) -> np.ndarray:
    """Where each cell begins: of one row, or of so many that there are not too many cells."""
    n_cells = min(size, _MOST_CELLS)
    return np.arange(n_cells) * size // n_cells
