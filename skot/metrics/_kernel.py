"""Distances of two samples that are averages over pairs: no plan, no iterations."""

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from torch import Tensor

from skot.metrics._first_order import Gradients, any_requires_grad, with_gradient
from skot.metrics._samples import (
    check_samples,
    mean_over_pairs,
    normalised_gradient,
    total_weight,
)
from skot.numerics.tiles import row_tiles
from skot.utils._sklearn import Interval, StrOptions, validate_params

__all__ = ["energy_distance", "maximum_mean_discrepancy"]

#: A tile of a kernel, and one of its gradient in x divided by x - y.
Profile = tuple[np.ndarray, np.ndarray]

#: Rows from which the bandwidth is chosen: the median hardly moves past that.
_MEDIAN_ROWS = 1000


@validate_params(
    {
        "kernel": [StrOptions({"rbf"}), callable],
        "gamma": [Interval(Real, 0, None, closed="neither"), None],
        "unbiased": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def maximum_mean_discrepancy(
    X: Any,
    Y: Any,
    *,
    kernel: str | Callable[[np.ndarray, np.ndarray], np.ndarray] = "rbf",
    gamma: float | None = None,
    unbiased: bool = False,
    a: Any = None,
    b: Any = None,
) -> float | Tensor:
    r"""Squared maximum mean discrepancy between two samples.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, n_features)
        First sample.
    Y : array-like or Tensor of shape (m, n_features)
        Second sample.
    kernel : "rbf" or callable, default="rbf"
        :math:`k(x, y) = \exp(-\gamma \lVert x - y \rVert^2)`, or a function of two matrices
        such as `sklearn.metrics.pairwise.polynomial_kernel`.
    gamma : float, default=None
        Of "rbf". None takes :math:`1 / (2 \operatorname{median} \lVert z - z' \rVert^2)` over
        pairs of rows of both samples (at most 1000 rows, evenly spaced), which is a constant in
        gradients.
    unbiased : bool, default=False
        Whether to leave out the pairs of a row with itself. The result then has the right mean,
        and can be negative.
    a : array-like or Tensor of shape (n,), default=None
        Weights of the rows of `X`, normalised here. None means equal weights.
    b : array-like or Tensor of shape (m,), default=None
        Weights of the rows of `Y`.

    Returns
    -------
    discrepancy : float or Tensor of shape ()
        Zero for two equal samples, unless `unbiased`. A tensor in float64 that carries the
        gradient if an input is a tensor that requires one.

    Raises
    ------
    ValueError
        For bad input, worded as scikit-learn does; with `unbiased`, for a sample of one row; with
        a function as `kernel`, for a tensor that requires a gradient.
    RuntimeError
        For a second derivative.

    See Also
    --------
    energy_distance : The same idea without a bandwidth.
    wasserstein_distance : In the unit of the data.

    Notes
    -----
    .. math::

        \mathrm{MMD}^2 = \sum_{ij} a_i a_j k(x_i, x_j) + \sum_{ij} b_i b_j k(y_i, y_j)
        - 2 \sum_{ij} a_i b_j k(x_i, y_j).

    With `unbiased`, the first two sums run over :math:`i \neq j` and are divided by
    :math:`1 - \sum_i a_i^2` and :math:`1 - \sum_i b_i^2` (with equal weights, Lemma 6 of [1]_).
    The sums, and those of the gradient, are taken a few rows at a time: a few MiB of memory for
    any number of rows, and time proportional to the number of pairs.

    References
    ----------
    .. [1] Gretton, A., Borgwardt, K., Rasch, M., Schoelkopf, B., Smola, A. (2012). A Kernel
       Two-Sample Test. Journal of Machine Learning Research 13.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics.pairwise import linear_kernel
    >>> from skot.metrics import maximum_mean_discrepancy
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> maximum_mean_discrepancy(X, X + 3.0)
    0.96...
    >>> maximum_mean_discrepancy(X, X + 3.0, kernel=linear_kernel)  # distance of the means
    9.0
    """
    inputs = (X, Y, a, b)
    if callable(kernel) and any_requires_grad(inputs):
        raise ValueError(
            "There is no gradient with a function as kernel, which is called with NumPy arrays: "
            "take kernel='rbf', or detach the tensors."
        )
    X, Y, a, b = check_samples(*inputs)
    _check_unbiased(unbiased, X, Y)
    rate = 1.0
    if not callable(kernel):
        rate = _median_gamma(X, Y) if gamma is None else gamma
        kernel = partial(_gaussian, gamma=rate)
    within = _mean_within(kernel, X, a, unbiased) + _mean_within(kernel, Y, b, unbiased)
    value = within - 2.0 * mean_over_pairs(kernel, X, Y, a, b)
    if not any_requires_grad(inputs):
        return value
    profile = partial(_gaussian_profile, gamma=rate)
    diagonal = 1.0 if unbiased else None
    gradients = _discrepancy_gradients(profile, inputs, diagonal)
    return with_gradient(value, inputs, gradients)


def _check_unbiased(unbiased: bool, X: np.ndarray, Y: np.ndarray) -> None:
    """Raise where there are no pairs of different rows to take a mean over."""
    if unbiased and min(len(X), len(Y)) < 2:
        raise ValueError("unbiased=True needs at least 2 rows of positive weight in X and in Y.")


def _gaussian(X: np.ndarray, Y: np.ndarray, gamma: float) -> np.ndarray:
    """Gaussian kernel of rows (n, d), (m, d), of shape (n, m)."""
    return np.exp(-gamma * cdist(X, Y, "sqeuclidean"))


def _gaussian_profile(X: np.ndarray, Y: np.ndarray, gamma: float) -> Profile:
    """The kernel and its gradients over x - y, of shape (n, m)."""
    kernel = _gaussian(X, Y, gamma)
    return kernel, -2.0 * gamma * kernel


def _distance_profile(X: np.ndarray, Y: np.ndarray) -> Profile:
    """Distances and their gradients over x - y, of shape (n, m): zero where points coincide."""
    distances = cdist(X, Y)
    slopes = np.divide(1.0, distances, where=distances > 0.0, out=np.zeros_like(distances))
    return distances, slopes


def _discrepancy_gradients(
    profile: Callable[[np.ndarray, np.ndarray], Profile],
    inputs: tuple[Any, Any, Any, Any],
    diagonal: float | None = None,
    scale: float = 1.0,
) -> Gradients:
    r"""Gradients of :math:`E k(x, x') + E k(y, y') - 2 E k(x, y)`, times `scale`, in X, Y, a and b.

    `profile` returns a tile of the kernel and one of what its gradient is divided by x - y;
    `diagonal` is the kernel of a row and itself where such pairs are left out, None where they are
    not. The inputs are copied now.
    """
    X, Y, a, b = check_samples(*inputs, keep_zeros=True)
    totals = [total_weight(weights) for weights in inputs[2:]]

    def gradients(wanted: Sequence[bool]) -> list[np.ndarray | None]:
        found: list[np.ndarray | None] = [None] * 4
        for side, Z, other, weights, others in ((0, X, Y, a, b), (1, Y, X, b, a)):
            if wanted[side] or wanted[side + 2]:
                in_points, in_weights = _side_gradients(
                    profile, Z, other, weights, others, diagonal
                )
                in_weights = normalised_gradient(in_weights, weights, totals[side])
                found[side], found[side + 2] = scale * in_points, scale * in_weights
        return found

    return gradients


def _side_gradients(
    profile: Callable[[np.ndarray, np.ndarray], Profile],
    X: np.ndarray,
    Y: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    diagonal: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the discrepancy in X, of shape (n, n_features), and in a, of shape (n,)."""
    within, pull = _means_and_slopes(profile, X, X, a)
    between, push = _means_and_slopes(profile, X, Y, b)
    if diagonal is None:
        return 2.0 * a[:, None] * (pull - push), 2.0 * (within - between)
    # Without the diagonal the mean within is (K - k a.a) / (1 - a.a).
    repeated = a @ a
    rest = 1.0 - repeated
    mean = (a @ within - diagonal * repeated) / rest
    within = (within - (diagonal - mean) * a) / rest
    return 2.0 * a[:, None] * (pull / rest - push), 2.0 * (within - between)


def _means_and_slopes(
    profile: Callable[[np.ndarray, np.ndarray], Profile],
    X: np.ndarray,
    Y: np.ndarray,
    b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n,) over Y of the kernel at every row of X, and its gradient (n, n_features)."""
    means, slopes = np.empty(len(X)), np.empty_like(X)
    for rows in row_tiles(len(X), len(Y)):
        kernel, slope = profile(X[rows], Y)
        means[rows] = kernel @ b
        for k in range(X.shape[1]):  # differences first: x - y keeps its digits far from zero
            slopes[rows, k] = (slope * (X[rows, k, None] - Y[:, k])) @ b
    return means, slopes


def _mean_within(kernel: Callable, X: np.ndarray, a: np.ndarray, unbiased: bool) -> float:
    """Mean kernel of two rows (n, d) drawn with weights (n,), different ones if `unbiased`."""
    mean = mean_over_pairs(kernel, X, X, a, a)
    if not unbiased:
        return mean
    diagonal = np.array([kernel(x[None], x[None]).item() for x in X])
    return float((mean - a**2 @ diagonal) / (1.0 - a @ a))


def _median_gamma(X: np.ndarray, Y: np.ndarray) -> float:
    """One over twice the median squared distance of rows (n, d), (m, d), a few of many."""
    Z = np.concatenate([X, Y])
    Z = Z[:: -(-len(Z) // _MEDIAN_ROWS)]
    squared = cdist(Z, Z, "sqeuclidean")[np.triu_indices(len(Z), 1)]
    # More than half of the pairs may coincide.
    scale = np.median(squared) or squared.mean()
    return 0.5 / scale if scale > 0.0 else 1.0


@validate_params({"unbiased": ["boolean"]}, prefer_skip_nested_validation=True)
def energy_distance(
    X: Any, Y: Any, *, unbiased: bool = False, a: Any = None, b: Any = None
) -> float | Tensor:
    r"""Energy distance between two samples.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, n_features)
        First sample.
    Y : array-like or Tensor of shape (m, n_features)
        Second sample.
    unbiased : bool, default=False
        Whether to leave out the pairs of a row with itself, and to return the square: it has the
        right mean, zero for two samples of one law, which its root would not, and can be negative.
    a : array-like or Tensor of shape (n,), default=None
        Weights of the rows of `X`, normalised here. None means equal weights.
    b : array-like or Tensor of shape (m,), default=None
        Weights of the rows of `Y`.

    Returns
    -------
    distance : float or Tensor of shape ()
        Zero for two equal samples; with `unbiased` its square, in the unit of the data. In one
        dimension, `scipy.stats.energy_distance`. A tensor in float64 that carries the gradient if
        an input is a tensor that requires one.

    Raises
    ------
    ValueError
        For bad input, worded as scikit-learn does; with `unbiased`, for a sample of one row.
    RuntimeError
        For a second derivative.

    See Also
    --------
    maximum_mean_discrepancy : The same idea with a kernel, which sees one scale.
    split_sinkhorn_divergence : What `score` of a transport is made of. It orders maps better; where
        the two disagree, the unbiased energy distance has no regularisation to blame.
    wasserstein_distance : In the unit of the data.

    Notes
    -----
    .. math::

        D(X, Y) = \sqrt{2 E \lVert x - y \rVert - E \lVert x - x' \rVert
        - E \lVert y - y' \rVert},

    with independent rows drawn with the weights. With `unbiased` the last two means are over pairs
    of different rows, as in :func:`maximum_mean_discrepancy`. The unit of the distance is the
    square root of that of the data. Memory is a few MiB for any number of rows, and time
    proportional to the number of pairs. The distance has a kink where it is zero, and where two
    rows of different samples meet: a gradient leaves out pairs of rows that coincide, and is zero
    where the distance is.

    References
    ----------
    .. [1] Szekely, G. J., Rizzo, M. L. (2013). Energy statistics: A class of statistics based on
       distances. Journal of Statistical Planning and Inference 143(8).

    Examples
    --------
    >>> from skot.metrics import energy_distance
    >>> energy_distance([[0.0, 0.0]], [[3.0, 4.0]])  # sqrt(2 * 5)
    3.16...
    >>> energy_distance([[0.0], [1.0]], [[0.0], [1.0]], unbiased=True)
    -1.0
    """
    inputs = (X, Y, a, b)
    X, Y, a, b = check_samples(*inputs)
    _check_unbiased(unbiased, X, Y)
    between = mean_over_pairs(cdist, X, Y, a, b)
    within = _mean_within(cdist, X, a, unbiased) + _mean_within(cdist, Y, b, unbiased)
    if unbiased:
        value = 2.0 * between - within
        if not any_requires_grad(inputs):
            return value
        gradients = _discrepancy_gradients(_distance_profile, inputs, diagonal=0.0, scale=-1.0)
        return with_gradient(value, inputs, gradients)
    # Rounding can leave a tiny negative number for equal samples.
    distance = float(np.sqrt(max(0.0, 2.0 * between - within)))
    if not any_requires_grad(inputs):
        return distance
    # The square is minus a discrepancy. In a minimum, zero is a subgradient.
    scale = -0.5 / distance if distance > 0.0 else 0.0
    return with_gradient(
        distance, inputs, _discrepancy_gradients(_distance_profile, inputs, scale=scale)
    )
