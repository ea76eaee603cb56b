"""Entries of a coupling: which are valid, the heaviest, and means over blocks."""

from typing import Any

import numpy as np
from sklearn.utils import check_array

from skot.plots._style import as_array

#: Most cells along a side of the matrix that are drawn; more could not be told apart.
_MOST_CELLS = 512


def as_coupling(coupling: Any) -> np.ndarray:
    """Take a matrix or a tensor to a matrix in single or double precision, and check it."""
    # The sum over half precision would overflow.
    dtypes = [np.float64, np.float32]
    coupling = check_array(as_array(coupling), dtype=dtypes, input_name="coupling")
    if coupling.min() < 0.0 or not coupling.any():
        raise ValueError("coupling must have mass, and no negative entries.")
    return coupling


def heaviest(coupling: np.ndarray, n_pairs: int) -> np.ndarray:
    """Rows and columns of the largest entries that are not zero, in ascending order."""
    mass = coupling.ravel()
    n_pairs = min(n_pairs, int(np.count_nonzero(mass)))
    # A partition is linear in the number of pairs, of which there may be millions.
    first = len(mass) - n_pairs
    entries = np.argpartition(mass, min(first, len(mass) - 1))[first:]
    entries = entries[np.argsort(mass[entries], kind="stable")]
    return np.stack(np.unravel_index(entries, coupling.shape), axis=1)


def block_means(coupling: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Average a matrix, in another order, over blocks of equal size up to one."""
    cells = coupling[np.ix_(rows, columns)]
    for axis, size in enumerate(cells.shape):
        if size > _MOST_CELLS:
            starts = np.arange(_MOST_CELLS) * size // _MOST_CELLS
            counts = np.diff(np.append(starts, size))
            sums = np.add.reduceat(cells, starts, axis=axis)
            cells = sums / np.expand_dims(counts, 1 - axis)
    return cells
