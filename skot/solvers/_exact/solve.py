"""Which exact solver: by the number of features, the sizes and the weights."""

import numpy as np
from scipy.spatial.distance import cdist

from skot.solvers._exact.assignment import assignment
from skot.solvers._exact.monotone import monotone
from skot.solvers._exact.network_simplex import network_simplex
from skot.solvers._exact.plan import ExactPlan


def solve_exact(
    X: np.ndarray, Y: np.ndarray, a: np.ndarray, b: np.ndarray, p: float
) -> tuple[ExactPlan, float]:
    """Return the optimal plan for ``|x - y|^p`` and the unit of length in which its cost is.

    Samples of shape (n, d), (m, d) with positive weights of shape (n,), (m,) that sum to one.
    """
    if X.shape[1] == 1:
        unit = _power_of_two(max(X.max() - Y.min(), Y.max() - X.min()))
        return monotone(X.ravel() / unit, Y.ravel() / unit, a, b, p), unit
    # Differences of numbers below one do not overflow.
    outer = _power_of_two(max(np.abs(X).max(), np.abs(Y).max()))
    cost = cdist(X / outer, Y / outer)
    inner = _power_of_two(cost.max())
    cost /= inner
    cost **= p
    if len(X) == len(Y) and np.ptp(a) == np.ptp(b) == 0.0:
        return assignment(cost), inner * outer
    return network_simplex(cost, a, b), inner * outer


def _power_of_two(length: float) -> float:
    """Return the power of two from `length` on, by which division rounds nothing; 1 for zero."""
    return float(np.ldexp(1.0, np.frexp(length)[1])) if length > 0.0 else 1.0
