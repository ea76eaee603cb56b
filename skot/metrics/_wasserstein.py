"""The exact Wasserstein distance of two small samples."""

from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist

from skot.metrics._samples import check_samples
from skot.utils._sklearn import Interval, validate_params

__all__ = ["wasserstein_distance"]


@validate_params(
    {"p": [Interval(Real, 1, None, closed="left")]}, prefer_skip_nested_validation=True
)
def wasserstein_distance(X: Any, Y: Any, *, p: float = 2, a: Any = None, b: Any = None) -> float:
    r"""Exact Wasserstein distance of order `p` between two samples.

    .. note::
       The default is :math:`W_2`, not squared. `scipy.stats.wasserstein_distance` is
       :math:`W_1`: pass ``p=1`` for that.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        First sample.
    Y : array-like of shape (m, n_features)
        Second sample.
    p : float, default=2
        Order of the distance, finite and at least 1.
    a : array-like of shape (n,), default=None
        Weights of the rows of `X`, normalised here. None means equal weights.
    b : array-like of shape (m,), default=None
        Weights of the rows of `Y`.

    Returns
    -------
    distance : float
        In the unit of the data.

    Raises
    ------
    ValueError
        For bad input, worded as scikit-learn does.

    See Also
    --------
    sinkhorn_divergence : For larger samples, and where a gradient is needed.
    energy_distance : Exact and cheap for any size.

    Notes
    -----
    .. math::

        W_p(X, Y) = \Bigl(\min_{P \geq 0} \sum_{ij} P_{ij} \lVert x_i - y_j \rVert_2^p
        \;\text{ with }\; P 1 = a,\; P^\top 1 = b \Bigr)^{1/p}.

    ============================  ====================================  =====================
    case                          method                                memory, time
    ============================  ====================================  =====================
    one feature                   quantile functions                    linear, two sorts
    equal sizes, equal weights    linear assignment                     8 bytes per pair, 2 s
                                                                        for 2000 rows
    else                          linear program, dual simplex (HiGHS)  1 kB per pair, 1 to
                                                                        5 s for 300 rows
    ============================  ====================================  =====================

    The assignment is that of [2]_.

    References
    ----------
    .. [1] Peyre, G., Cuturi, M. (2019). Computational Optimal Transport. Foundations and Trends
       in Machine Learning 11(5-6), section 2.
    .. [2] Crouse, D. F. (2016). On implementing 2D rectangular assignment algorithms. IEEE
       Transactions on Aerospace and Electronic Systems 52(4).

    Examples
    --------
    >>> from skot.metrics import wasserstein_distance
    >>> X = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]
    >>> Y = [[4.0, 3.0], [3.0, 3.0], [3.0, 5.0]]  # X moved by (3, 3)
    >>> wasserstein_distance(X, Y)
    4.24...
    """
    X, Y, a, b = check_samples(X, Y, a, b)
    # In coordinates of order one nothing overflows, and HiGHS's absolute tolerances are small.
    X, Y = X - X[0], Y - X[0]
    scale = max(np.abs(X).max(), np.abs(Y).max())
    if scale == 0.0:
        return 0.0
    X, Y = X / scale, Y / scale
    if X.shape[1] == 1:
        total = _quantile_cost(X.ravel(), Y.ravel(), a, b, p)
    else:
        total = _plan_cost(cdist(X, Y) ** p, a, b)
    return float(scale * total ** (1.0 / p))


def _quantile_cost(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, p: float) -> float:
    """Integrate the distance of the two quantile functions, which are step functions."""
    order_x, order_y = np.argsort(x), np.argsort(y)
    steps_x, steps_y = np.cumsum(a[order_x]), np.cumsum(b[order_y])
    levels = np.sort(np.concatenate([[0.0], steps_x, steps_y]))
    middles = (levels[1:] + levels[:-1]) / 2
    # Rounding can leave the last step below a level.
    i = np.minimum(np.searchsorted(steps_x, middles), len(x) - 1)
    j = np.minimum(np.searchsorted(steps_y, middles), len(y) - 1)
    return np.diff(levels) @ np.abs(x[order_x[i]] - y[order_y[j]]) ** p


def _plan_cost(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    n, m = cost.shape
    if n == m and np.ptp(a) == np.ptp(b) == 0.0:
        # The vertices of the polytope are permutations (Birkhoff and von Neumann).
        return cost[linear_sum_assignment(cost)].mean()
    marginals = scipy.sparse.vstack(
        [
            scipy.sparse.kron(scipy.sparse.eye_array(n), np.ones((1, m))),
            scipy.sparse.kron(np.ones((1, n)), scipy.sparse.eye_array(m)),
        ],
        format="csc",
    )
    solution = linprog(cost.ravel(), A_eq=marginals, b_eq=np.concatenate([a, b]), method="highs-ds")
    if solution.x is None:
        raise RuntimeError(f"The linear program was not solved: {solution.message}")
    return cost.ravel() @ solution.x
