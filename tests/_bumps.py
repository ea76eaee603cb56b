"""Two bumps on a line, at small epsilon: problems, their solution without skot, and a judge.

Tails of the bumps carry masses down to 1e-39 (zero in float32), which is where potentials of a
scaling algorithm run away. The reference is a damped Newton method on the semi-dual, in the log
domain, at regularisations that decrease; it stops where its value is certain.
"""

from typing import NamedTuple

import numpy as np


class Bumps(NamedTuple):
    """One problem: normalised weights, costs and what is asked, as they are given to a solver."""

    a: np.ndarray
    b: np.ndarray
    cost: np.ndarray
    epsilon: float
    tol: float

    @property
    def range(self) -> float:
        """Largest minus smallest cost."""
        return float(self.cost.max()) - float(self.cost.min())


def bumps(sizes, means, deviations, epsilon, tol, *, weights="float64", costs="float64") -> Bumps:
    """Gaussian densities on equally spaced points of [-1, 2], squared distances."""
    x, y = (np.linspace(-1.0, 2.0, size) for size in sizes)
    a, b = (
        np.exp(-((t - m) ** 2) / (2.0 * s**2))
        for t, m, s in zip((x, y), means, deviations, strict=True)
    )
    a, b = ((w / w.sum()).astype(weights) for w in (a, b))
    return Bumps(a, b, ((x[:, None] - y) ** 2).astype(costs), epsilon, tol)


#: Seen with a dual value of -4.08, and called converged.
RUNAWAY = bumps(
    (57, 56),
    (0.32186939107594215, 0.5943000301996968),
    (0.18675822451014268, 0.18783238001056324),
    1e-4,
    1e-7,
    weights="float32",
    costs="float32",
)
RUNAWAY_VALUE = 0.075134


def draw(seed: int) -> Bumps:
    """A random problem."""
    rng = np.random.default_rng([8, seed])
    return bumps(
        rng.integers(40, 81, size=2),
        rng.uniform(0.0, 1.0, size=2),
        rng.uniform(0.15, 0.25, size=2),
        float(10.0 ** rng.uniform(-4.0, -2.0)),
        float(10.0 ** rng.uniform(-9.0, -3.0)),
        weights=rng.choice(["float32", "float64"]),
        costs=rng.choice(["float32", "float64"]),
    )


# --- the reference -----------------------------------------------------------------------


def soft_transform(potential, weights, cost, epsilon):
    """Row potential of a column potential: -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon)."""
    with np.errstate(divide="ignore"):
        exponent = np.log(weights) + (potential - cost) / epsilon
    top = exponent.max(1)
    return -epsilon * (top + np.log(np.exp(exponent - top[:, None]).sum(1)))


class _State(NamedTuple):
    """A column potential, its transform, the rows of the plan and what the columns lack."""

    g: np.ndarray
    f: np.ndarray
    rows: np.ndarray
    column: np.ndarray
    gradient: np.ndarray


#: Longest Newton step, in units of epsilon.
FARTHEST = 5.0


def _look(g, a, b, cost, epsilon) -> _State:
    f = soft_transform(g, b, cost, epsilon)
    rows = b * np.exp((f[:, None] + g - cost) / epsilon)
    column = a @ rows
    return _State(g, f, rows, column, b - column)


def _newton_direction(state: _State, a, epsilon):
    """Ascent direction of the semi-dual, from a Hessian that was scaled to a unit diagonal."""
    rows, gradient = state.rows.astype(np.float64), state.gradient.astype(np.float64)
    laplacian = (rows.T * a.astype(np.float64)) @ rows
    np.fill_diagonal(laplacian, 0.0)
    # Rows of the plan sum to one, so this is its diagonal, without a difference.
    degree = laplacian.sum(1)
    scale = np.sqrt(np.maximum(degree, 1e-300))
    scaled = -laplacian / scale[:, None] / scale
    np.fill_diagonal(scaled, 1.0 + 1e-14)
    # Constants change nothing.
    constant = scale / np.linalg.norm(scale)
    scaled += np.outer(constant, constant)
    return epsilon * np.linalg.solve(scaled, gradient / scale) / scale


def _stage(g, a, b, cost, epsilon, tol, max_iter):
    """A Sinkhorn step and a Newton step by turns, until the columns are right up to `tol`."""
    state = _look(g, a, b, cost, epsilon)
    for _ in range(max_iter):
        if np.abs(state.gradient).sum() <= tol:
            break
        g = soft_transform(state.f, a, cost.T, epsilon)
        state = _look(g, a, b, cost, epsilon)
        direction = _newton_direction(state, a, epsilon)
        slope = state.gradient @ direction
        # Where hardly any mass is exchanged the model knows nothing of what is further away.
        step = min(1.0, FARTHEST * epsilon / np.abs(direction).max())
        while slope > 0.0 and step > 1e-3:
            ahead = _look(state.g + step * direction, a, b, cost, epsilon)
            # The semi-dual is concave: short of its top along the line, or hardly past it.
            if ahead.gradient @ direction >= -0.1 * slope:
                state = ahead
                break
            step *= 0.5
    return state


class Solution(NamedTuple):
    """Dual value, potentials and a bound of what the value may be short of the best one."""

    value: float
    f: np.ndarray
    g: np.ndarray
    gap: float


def reference(problem: Bumps, *, share=1e-12) -> Solution:
    """Solve a problem until its value is right up to a share of the range of costs.

    The bound: the optimal g and this one are transforms of potentials, hence vary by the range of
    costs at most, so the semi-dual can grow by the L1 norm of its gradient times that at most.
    """
    a, b, cost = (v.astype(np.float64) for v in problem[:3])
    a, b = a / a.sum(), b / b.sum()
    rows, columns = a > 0, b > 0
    a, b, cost = a[rows], b[columns], cost[np.ix_(rows, columns)]
    g, epsilon = np.zeros(len(b)), problem.range
    while epsilon > problem.epsilon:
        g = _stage(g, a, b, cost, epsilon, 1e-3, 30).g
        epsilon *= 0.5
    # Exponents of 1e5 leave eleven digits of a plan in float64.
    exact = [v.astype(np.longdouble) for v in (g, a, b, cost)]
    state = _stage(*exact, problem.epsilon, share, 200)
    gap = float(np.abs(state.gradient).sum()) * problem.range
    f, g = (v.astype(np.float64) for v in (state.f, state.g))
    return Solution(float(exact[1] @ state.f + exact[2] @ state.g), f, g, gap)


def log_domain_sinkhorn(problem: Bumps, n_iter: int) -> float:
    """Dual value after many plain steps in the log domain."""
    a, b, cost = (v.astype(np.float64) for v in problem[:3])
    a, b = a / a.sum(), b / b.sum()
    g = np.zeros(len(b))
    for _ in range(n_iter):
        f = soft_transform(g, b, cost, problem.epsilon)
        g = soft_transform(f, a, cost.T, problem.epsilon)
    f = soft_transform(g, b, cost, problem.epsilon)
    return float(a @ f + b @ g)


# --- the judge ---------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What is wrong with a result; lengths are shares of the range of costs."""

    converged: bool
    value_error: float
    spread: float
    transform_error: float
    transform_error_worst: float
    tol: float

    @property
    def wrong_value(self) -> bool:
        """Converged, and off by more than the tolerance."""
        return self.converged and not self.value_error <= self.tol

    @property
    def wild(self) -> bool:
        """Potentials that vary by more than the costs, or are not finite."""
        return not self.spread <= 1.0 + 1e-6

    @property
    def not_transforms(self) -> bool:
        """Converged, but f and g are not what the optimality conditions say of each other."""
        return self.converged and not self.transform_error <= self.tol


def judge(problem: Bumps, result, solution: Solution | None = None) -> Verdict:
    """Compare a `SinkhornResult` with the reference."""
    solution = reference(problem) if solution is None else solution
    f, g = (v.detach().double().numpy() for v in (result.f, result.g))
    a, b, cost = (v.astype(np.float64) for v in problem[:3])
    a, b = a / a.sum(), b / b.sum()
    with np.errstate(all="ignore"):
        rows = np.abs(f - soft_transform(g, b, cost, problem.epsilon))
        columns = np.abs(g - soft_transform(f, a, cost.T, problem.epsilon))
    # Rows are exact; in columns of mass 1e-30 an L1 error says nothing, so their mean counts.
    return Verdict(
        bool(result.converged),
        abs(float(result.dual_value) - solution.value) / problem.range,
        float(max(np.ptp(f), np.ptp(g))) / problem.range,
        float(max(rows.max(), b @ columns)) / problem.range,
        float(max(rows.max(), columns.max())) / problem.range,
        problem.tol,
    )


def solve(problem: Bumps, **options):
    """Let skot solve a problem, with its defaults."""
    import torch

    from skot.costs import PrecomputedCost
    from skot.solvers import sinkhorn

    cost = PrecomputedCost(torch.from_numpy(problem.cost))
    a, b = torch.from_numpy(problem.a), torch.from_numpy(problem.b)
    return sinkhorn(a=a, b=b, cost=cost, epsilon=problem.epsilon, tol=problem.tol, **options)
