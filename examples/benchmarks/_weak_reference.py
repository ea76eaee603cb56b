"""Discrete solutions of weak optimal transport, to judge the learned ones by.

Between n points x and m points y, both with equal weights, a plan P gives every row x_i the law
mu_i with the weights n P_ij. Weak transport minimises the mean over the rows of

    C(x, mu) = E rho(x, Y) / 2 - gamma E rho(Y, Y') / 4,    Y and Y' independent, from mu.

With rho(x, y) = |x - y|^2 this is the weak quadratic cost E |x - Y|^2 / 2 - gamma Var(Y) / 2. The
problem is convex when -rho is conditionally positive definite, since then
rho(y, y') = |F(y) - F(y')|^2 for features F, and all but |E F(Y)|^2 is linear in the plan.

Each answer comes with a bound on its error that trusts nothing but the values of rho: the value
of a plan, minus the value at another plan of the linearisation, is largest at the solution of a
linear transport problem, and by convexity no plan is better by more.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import ot
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

SquaredDistance = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class WeakSolution:
    """A plan that satisfies both marginals, and what is compared with a learned one."""

    value: float  # mean cost of a row
    gap: float  # no plan has a value below `value - gap`
    plan: np.ndarray  # (n, m), sums to one
    means: np.ndarray  # (n, n_features): E[Y | x_i]
    variances: np.ndarray  # (n,): E[|Y - E[Y | x_i]|^2 | x_i]
    n_iter: int


def weak_quadratic(
    x: np.ndarray, y: np.ndarray, gamma: float, *, tol: float = 1e-4, max_iter: int = 100
) -> WeakSolution:
    """Return the solution for the weak quadratic cost, to a gap of `tol` times the value.

    A quadratic program in which the plan of a row enters through its mean alone: an interior
    point method, whose Newton systems come down to one with m unknowns.
    """
    problem = WeakProblem(x, y, gamma, squared_power(2.0))
    features = np.sqrt(gamma) * (y - y.mean(0))
    return problem.solve(InteriorPoint(problem.linear, features), tol, max_iter)


def weak_kernel(
    x: np.ndarray,
    y: np.ndarray,
    gamma: float,
    squared_distance: SquaredDistance,
    *,
    tol: float = 1e-3,
    max_iter: int = 5000,
) -> WeakSolution:
    """Return the solution for a kernel cost, to a gap of `tol` times the value."""
    problem = WeakProblem(x, y, gamma, squared_distance)
    # The length of a step, tried on the problems of _weak_problems.py.
    penalty = 1.5 * squared_distance(y, y).mean()
    method = AlternatingDirections(problem.linear, problem.quadratic, penalty)
    return problem.solve(method, tol, max_iter)


def squared_power(power: float) -> SquaredDistance:
    """Return rho of the distance kernel: |x - y|^power, with a power in (0, 2]."""
    return lambda x, y: cdist(x, y) ** power


def squared_gaussian(width: float) -> SquaredDistance:
    """Return rho of the Gaussian kernel."""
    return lambda x, y: 2.0 - 2.0 * np.exp(-cdist(x, y, "sqeuclidean") / (2.0 * width**2))


def squared_laplace(width: float) -> SquaredDistance:
    """Return rho of the Laplace kernel."""
    return lambda x, y: 2.0 - 2.0 * np.exp(-cdist(x, y) / width)


class WeakProblem:
    """The problem in the conditional laws M = n P: every row sums to 1, every column to n / m.

    The value is the mean over the rows of <linear_i, M_i> + <M_i, quadratic M_i> / 2.
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, gamma: float, squared_distance: SquaredDistance
    ) -> None:
        self.y = y
        between = squared_distance(y, y)
        gram = -0.5 * gamma * (between - between.mean(0))
        self.quadratic = gram - gram.mean(1, keepdims=True)
        self.linear = 0.5 * (squared_distance(x, y) - np.diag(self.quadratic))

    def solve(self, method, tol: float, max_iter: int) -> WeakSolution:
        """Iterate the method until its rounded plan is good enough, or `max_iter` times."""
        for i in range(1, max_iter + 1):
            laws = method.step()
            if i % method.check_every == 0 or i == max_iter:
                laws = rounded(laws)
                value, gap = self.value(laws), self.gap(laws)
                if gap <= tol * abs(value):
                    break
        means = laws @ self.y
        variances = laws @ (self.y**2).sum(1) - (means**2).sum(1)
        return WeakSolution(value, gap, laws / len(laws), means, variances, i)

    def value(self, laws: np.ndarray) -> float:
        """Return the mean cost of a row."""
        slope = self.linear + 0.5 * laws @ self.quadratic
        return float(np.vdot(slope, laws)) / len(laws)

    def gap(self, laws: np.ndarray) -> float:
        """Return a bound on what a better plan could save."""
        n, m = laws.shape
        slope = self.linear + laws @ self.quadratic
        a, b = np.full(n, 1.0 / n), np.full(m, 1.0 / m)
        return float(np.vdot(slope, laws)) / n - ot.emd2(a, b, slope, numItermax=10**7)


def rounded(laws: np.ndarray) -> np.ndarray:
    """Return laws close by that satisfy both marginals [Altschuler et al., 2017, algorithm 2]."""
    n, m = laws.shape
    laws = laws / np.maximum(laws.sum(1, keepdims=True), 1.0)
    laws = laws / np.maximum(laws.sum(0) * m / n, 1.0)
    rows, columns = 1.0 - laws.sum(1), n / m - laws.sum(0)
    return laws + np.outer(rows, columns) / max(rows.sum(), np.finfo(float).tiny)


class AlternatingDirections:
    """The alternating direction method: equations on one side, signs on the other.

    The equations have the same matrix for every row, so that a step costs one product of
    matrices. Good where the quadratic term has full rank.
    """

    check_every = 100
    relaxation = 1.6

    def __init__(self, linear: np.ndarray, quadratic: np.ndarray, penalty: float) -> None:
        n, m = linear.shape
        self.laws, self.dual = np.full((n, m), 1.0 / m), np.zeros((n, m))
        eigenvalues, vectors = np.linalg.eigh(quadratic)
        self.penalty = penalty
        self.inverse = vectors / (np.maximum(eigenvalues, 0.0) + penalty) @ vectors.T
        self.shift = linear @ self.inverse

    def step(self) -> np.ndarray:
        """Return the next iterate: no entry is negative, marginals hold in the limit."""
        n, m = self.laws.shape
        balanced = self.penalty * (self.laws - self.dual) @ self.inverse - self.shift
        # The quadratic term is centred and vanishes on constants: the multipliers of the
        # marginals amount to this projection.
        balanced += ((1.0 - balanced.sum(1)) / m)[:, None]
        balanced += (n / m - balanced.sum(0)) / n
        relaxed = self.relaxation * balanced + (1.0 - self.relaxation) * self.laws + self.dual
        self.laws = np.maximum(relaxed, 0.0)
        self.dual = relaxed - self.laws
        return self.laws


class InteriorPoint:
    """Mehrotra's predictor-corrector method for a quadratic term of low rank.

    The stationarity of a row of the laws M, with the multipliers f, g and Z >= 0, is
    linear_i + features (features^T M_i) - f_i - g - Z_i = 0. A Newton step eliminates M_i, f_i
    and features^T M_i, which leaves a positive semidefinite system for g. Its entries cancel where
    a law is close to a single point; so a step also pays for its length, in M and in g. That
    changes the way to the solution, not the solution.
    """

    check_every = 1

    def __init__(self, linear: np.ndarray, features: np.ndarray) -> None:
        n, m = linear.shape
        self.linear, self.features = linear, features
        self.laws, self.slack = np.full((n, m), 1.0 / m), np.full((n, m), np.ptp(linear))
        self.f, self.g = np.zeros(n), np.zeros(m)
        self.proximal = 3e-5 * np.ptp(linear)
        self.border = np.column_stack([-features, np.ones(m)])

    def step(self) -> np.ndarray:
        """Return the next iterate: all entries are positive, marginals hold in the limit."""
        product = self.laws * self.slack
        complementarity = product.mean()
        system = self._factorised()
        laws, slack, *_ = self._newton(system, -product)
        primal, dual = longest(self.laws, laws), longest(self.slack, slack)
        predicted = ((self.laws + primal * laws) * (self.slack + dual * slack)).mean()
        target = (predicted / complementarity) ** 3 * complementarity
        laws, slack, f, g = self._newton(system, target - product - laws * slack)
        # One length for both sides: stationarity is linear in laws and multipliers together.
        length = 0.99 * min(longest(self.laws, laws), longest(self.slack, slack))
        self.laws, self.slack = self.laws + length * laws, self.slack + length * slack
        self.f, self.g = self.f + length * f, self.g + length * g
        return self.laws

    def _factorised(self) -> tuple:
        """Return the parts of the Newton matrix that do not depend on the right-hand side."""
        n, m = self.laws.shape
        width = self.border.shape[1]
        weights = 1.0 / (self.slack / self.laws + self.proximal)
        squares = (self.border[:, :, None] * self.border[:, None, :]).reshape(m, -1)
        small = (weights @ squares).reshape(n, width, width)
        small += np.diag(np.r_[np.ones(width - 1), 0.0])
        schur = np.diag(weights.sum(0) + 3e-11 / self.proximal)
        roots = np.linalg.solve(np.linalg.cholesky(small), self.border.T)
        for root in np.moveaxis(roots, 1, 0):
            scaled = weights * root
            schur -= scaled.T @ scaled
        return weights, small, cho_factor(schur)

    def _newton(self, system: tuple, complementarity: np.ndarray) -> tuple:
        """Return the step to stationarity, both marginals and the given complementarity."""
        weights, small, schur = system
        n, m = self.laws.shape
        slope = self.linear + (self.laws @ self.features) @ self.features.T
        right = complementarity / self.laws - slope + self.f[:, None] + self.g + self.slack
        rows = np.zeros((n, self.border.shape[1]))
        rows[:, -1] = 1.0 - self.laws.sum(1)
        laws, _ = self._laws_step(weights, small, rows, right)
        g = cho_solve(schur, n / m - self.laws.sum(0) - laws.sum(0))
        laws, f = self._laws_step(weights, small, rows, right + g)
        return laws, (complementarity - self.slack * laws) / self.laws, f, g

    def _laws_step(self, weights, small, rows, right) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps of the laws and of f when that of g is part of `right`."""
        rest = rows - (weights * right) @ self.border
        border = np.linalg.solve(small, rest[:, :, None])[:, :, 0]
        return weights * (right + border @ self.border.T), border[:, -1]


def longest(point: np.ndarray, step: np.ndarray) -> float:
    """Return the length, at most 1, at which the step leaves the positive numbers."""
    return 1.0 / max(1.0, float((-step / point).max()))
