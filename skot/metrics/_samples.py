"""What every comparison of two samples starts with."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skot.numerics.tiles import row_tiles
from skot.utils._sklearn import check_weights
from skot.utils.tensors import to_numpy
from skot.utils.validation import check_points


class SamplePair(NamedTuple):
    """Two weighted samples in float64."""

    X: np.ndarray
    Y: np.ndarray
    a: np.ndarray
    b: np.ndarray


def check_samples(
    X: Any, Y: Any, a: Any = None, b: Any = None, *, keep_zeros: bool = False
) -> SamplePair:
    """Validate samples (n, d), (m, d), copy them, and normalise their weights (n,), (m,)."""
    X, Y = (to_numpy(check_points(Z, name=name)) for Z, name in ((X, "X"), (Y, "Y")))
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            "Incompatible dimension for X and Y matrices: "
            f"X.shape[1] == {X.shape[1]} while Y.shape[1] == {Y.shape[1]}"
        )
    X, a = _weigh(X, a, keep_zeros)
    Y, b = _weigh(Y, b, keep_zeros)
    return SamplePair(X, Y, a, b)


def _weigh(X: np.ndarray, weights: Any, keep_zeros: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, d) and weights (n,) that sum to one, in float64."""
    X = X.astype(np.float64)
    if weights is None:
        return X, np.full(len(X), 1.0 / len(X))
    weights = check_weights(to_numpy(weights), len(X))
    # Dividing by the largest first keeps the sum of huge weights finite.
    weights = weights / weights.max()
    if not keep_zeros:
        X, weights = X[weights > 0], weights[weights > 0]
    # In any order of the rows the sum is the same, and so are the shares.
    return X, weights / math.fsum(weights)


def total_weight(weights: Any) -> float:
    """Sum of weights (n,) as they were given; 1 for None."""
    return 1.0 if weights is None else float(to_numpy(weights).sum(dtype=np.float64))


def normalised_gradient(gradient: np.ndarray, shares: np.ndarray, total: float) -> np.ndarray:
    """Gradient (n,) in weights that sum to `total`, from the one in their shares (n,) of it."""
    return (gradient - shares @ gradient) / total


def mean_over_pairs(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    X: np.ndarray,
    Y: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
) -> float:
    r"""Return :math:`\sum_{ij} a_i b_j k(x_i, y_j)`, a tile of rows of `X` at a time."""
    return float(sum(a[rows] @ (function(X[rows], Y) @ b) for rows in row_tiles(len(X), len(Y))))
