"""Distances of two samples that are averages over pairs: no plan, no iterations."""

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from skot.metrics._samples import check_samples, mean_over_pairs
from skot.utils._sklearn import Interval, StrOptions, validate_params

__all__ = ["energy_distance", "maximum_mean_discrepancy"]

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
) -> float:
    r"""Squared maximum mean discrepancy between two samples.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        First sample.
    Y : array-like of shape (m, n_features)
        Second sample.
    kernel : "rbf" or callable, default="rbf"
        :math:`k(x, y) = \exp(-\gamma \lVert x - y \rVert^2)`, or a function of two matrices
        such as `sklearn.metrics.pairwise.polynomial_kernel`.
    gamma : float, default=None
        Of "rbf". None takes :math:`1 / (2 \operatorname{median} \lVert z - z' \rVert^2)` over
        pairs of rows of both samples (at most 1000 rows, evenly spaced).
    unbiased : bool, default=False
        Whether to leave out the pairs of a row with itself. The result then has the right mean,
        and can be negative.
    a : array-like of shape (n,), default=None
        Weights of the rows of `X`, normalised here. None means equal weights.
    b : array-like of shape (m,), default=None
        Weights of the rows of `Y`.

    Returns
    -------
    discrepancy : float
        Zero for two equal samples, unless `unbiased`.

    Raises
    ------
    ValueError
        For bad input, worded as scikit-learn does; with `unbiased`, for a sample of one row.

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
    The sums are taken a few rows at a time: a few MiB of memory for any number of rows, and time
    proportional to the number of pairs.

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
    X, Y, a, b = check_samples(X, Y, a, b)
    if unbiased and min(len(X), len(Y)) < 2:
        raise ValueError("unbiased=True needs at least 2 rows of positive weight in X and in Y.")
    if not callable(kernel):
        gamma = _median_gamma(X, Y) if gamma is None else gamma
        kernel = partial(_gaussian, gamma=gamma)
    within = _mean_within(kernel, X, a, unbiased) + _mean_within(kernel, Y, b, unbiased)
    return within - 2.0 * mean_over_pairs(kernel, X, Y, a, b)


def _gaussian(X: np.ndarray, Y: np.ndarray, gamma: float) -> np.ndarray:
    return np.exp(-gamma * cdist(X, Y, "sqeuclidean"))


def _mean_within(kernel: Callable, X: np.ndarray, a: np.ndarray, unbiased: bool) -> float:
    mean = mean_over_pairs(kernel, X, X, a, a)
    if not unbiased:
        return mean
    diagonal = np.array([kernel(x[None], x[None]).item() for x in X])
    return float((mean - a**2 @ diagonal) / (1.0 - a @ a))


def _median_gamma(X: np.ndarray, Y: np.ndarray) -> float:
    Z = np.concatenate([X, Y])
    Z = Z[:: -(-len(Z) // _MEDIAN_ROWS)]
    squared = cdist(Z, Z, "sqeuclidean")[np.triu_indices(len(Z), 1)]
    # More than half of the pairs may coincide.
    scale = np.median(squared) or squared.mean()
    return 0.5 / scale if scale > 0.0 else 1.0


def energy_distance(X: Any, Y: Any, *, a: Any = None, b: Any = None) -> float:
    r"""Energy distance between two samples.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        First sample.
    Y : array-like of shape (m, n_features)
        Second sample.
    a : array-like of shape (n,), default=None
        Weights of the rows of `X`, normalised here. None means equal weights.
    b : array-like of shape (m,), default=None
        Weights of the rows of `Y`.

    Returns
    -------
    distance : float
        Zero for two equal samples. In one dimension, `scipy.stats.energy_distance`.

    Raises
    ------
    ValueError
        For bad input, worded as scikit-learn does.

    See Also
    --------
    maximum_mean_discrepancy : The same idea with a kernel, which sees one scale.
    wasserstein_distance : In the unit of the data.

    Notes
    -----
    .. math::

        D(X, Y) = \sqrt{2 E \lVert x - y \rVert - E \lVert x - x' \rVert
        - E \lVert y - y' \rVert},

    with independent rows drawn with the weights. Its unit is the square root of that of the
    data. Memory is a few MiB for any number of rows, and time proportional to the number of
    pairs.

    References
    ----------
    .. [1] Szekely, G. J., Rizzo, M. L. (2013). Energy statistics: A class of statistics based on
       distances. Journal of Statistical Planning and Inference 143(8).

    Examples
    --------
    >>> from skot.metrics import energy_distance
    >>> energy_distance([[0.0, 0.0]], [[3.0, 4.0]])  # sqrt(2 * 5)
    3.16...
    """
    X, Y, a, b = check_samples(X, Y, a, b)
    between = mean_over_pairs(cdist, X, Y, a, b)
    within = mean_over_pairs(cdist, X, X, a, a) + mean_over_pairs(cdist, Y, Y, b, b)
    # Rounding can leave a tiny negative number for equal samples.
    return float(np.sqrt(max(0.0, 2.0 * between - within)))
