"""Problems on which accelerated iterations go in circles, stall, or crawl."""

import numpy as np
import pytest
import torch
from _problems import random_pair, squared_distances

from skot.costs import GridCost, SquaredEuclidean
from skot.solvers import sinkhorn
from skot.solvers._entropic.acceleration import SafeguardedAcceleration
from skot.solvers._entropic.lean import solve as lean_module

# Six points a side, some of them twice, on which Anderson's steps returned to where they had been.
CIRCLE = (
    np.array([[-0.00156], [0.38313], [0.00014], [0.00014], [0.53881], [-0.00156]]),
    np.array([[-0.1326], [-0.1326], [-0.14895], [-0.1326], [-0.14895], [0.26175]]),
    np.array([0.50064, 0.22164, 0.03492, 0.06949, 0.07326, 0.10005]),
    np.array([0.03229, 0.33587, 0.09596, 0.3231, 0.0054, 0.20738]),
)
CIRCLE_UNIT = 0.0767


@pytest.fixture
def no_newton(monkeypatch):
    monkeypatch.setattr(lean_module, "_NEWTON_PASSES", ())


def duplicated_points(seed, scale):
    """Few points, drawn with replacement, with weights of all sizes."""
    rng = np.random.RandomState(seed)
    n, m, d = rng.randint(2, 9), rng.randint(2, 9), rng.randint(1, 4)
    x, y = rng.standard_normal((n, d)), scale * rng.standard_normal((m, d))
    x, y = x[rng.randint(n, size=n)], y[rng.randint(m, size=m)]
    a, b = rng.exponential(size=n) + 1e-3, rng.exponential(size=m) + 1e-3
    unit = x.var(0).sum() + y.var(0).sum() + 1e-3
    return (x, y, a / a.sum(), b / b.sum()), unit


def clusters(exponent):
    """Pairs of clusters that exchange exp(-exponent) of mass at epsilon one."""
    problem = random_pair(12, 12, 2, uniform=True, shift=0.0, scale=1.0)
    x, y = problem.x.clone(), problem.y.clone()
    distance = exponent**0.5
    x[:6, 0] += distance
    y[:7, 0] += distance  # one more than its partner: the clusters have to exchange mass
    return x, y, problem.a, problem.b


def target_error(result, b):
    return float((result.plan.marginals()[1] - torch.as_tensor(b)).abs().sum())


@pytest.mark.parametrize("share", [0.1, 0.05, 0.02, 0.01])
@pytest.mark.parametrize("annealing", [True, False])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_acceleration_does_not_go_in_circles(share, annealing, swapped, no_newton):
    x, y, a, b = CIRCLE
    problem = (y, x, b, a) if swapped else CIRCLE
    result = sinkhorn(*problem, epsilon=share * CIRCLE_UNIT, tol=1e-9, annealing=annealing)
    assert result.converged
    assert target_error(result, problem[3]) <= 1.1e-9


@pytest.mark.parametrize("share", [0.1, 0.03, 0.01, 0.001])
def test_duplicated_points_converge(share):
    for seed in range(30):
        problem, unit = duplicated_points(seed, [0.2, 1.0, 2.0][seed % 3])
        result = sinkhorn(*problem, epsilon=share * unit, tol=1e-6)
        assert result.converged, seed
        assert target_error(result, problem[3]) <= 1.1e-6


@pytest.mark.parametrize("share", [0.1, 0.03])
def test_duplicated_points_converge_without_newton(share, no_newton):
    for seed in range(30):
        problem, unit = duplicated_points(seed, [0.2, 1.0, 2.0][seed % 3])
        assert sinkhorn(*problem, epsilon=share * unit, tol=1e-6).converged, seed


@pytest.mark.parametrize("offset", [0.1, 3.7, 1e6, -1e30])
@pytest.mark.parametrize("share", [0.001, 0.1])
def test_constant_clouds_far_away_are_no_problem(offset, share):
    # What rounding left of the centred cloud was taken for its size.
    for seed in range(40):
        rng = np.random.RandomState(seed)
        x = rng.choice([0.0, 1e-30, 1.0]) * rng.standard_normal((3, 2)) + rng.choice([0.0, offset])
        y = np.full((4, 2), offset)
        a, b = rng.exponential(size=3), rng.exponential(size=4)
        a, b = a / a.sum(), b / b.sum()
        unit = SquaredEuclidean().scale(*(torch.from_numpy(part) for part in (x, y, a, b))) or 1.0
        result = sinkhorn(x, y, a, b, epsilon=share * unit, tol=1e-6)
        assert result.converged, seed
        assert target_error(result, b) <= 1.1e-6, seed


@pytest.mark.parametrize("exponent", [10.0, 30.0, 100.0, 400.0])
def test_clusters_that_exchange_next_to_no_mass(exponent):
    x, y, a, b = clusters(exponent)
    result = sinkhorn(x, y, a, b, epsilon=1.0, tol=1e-8)
    assert result.converged
    assert target_error(result, b) <= 1.1e-8
    plan = a[:, None] * b * torch.exp(result.f[:, None] + result.g - squared_distances(x, y))
    torch.testing.assert_close(plan, result.plan.toarray(), rtol=1e-6, atol=1e-12)


def test_newton_agrees_with_the_iteration(monkeypatch):
    # Tight enough that the iteration is handed over, and finishes by itself when it is not.
    problem = random_pair(40, 35, 2, seed=3)
    solved = []
    newton = lean_module.newton

    def spy(*args):
        solved.append(True)
        return newton(*args)

    monkeypatch.setattr(lean_module, "newton", spy)
    options = {"epsilon": 0.002, "tol": 1e-10, "max_iter": 50_000}
    handed_over = sinkhorn(*problem, **options)
    assert solved
    monkeypatch.setattr(lean_module, "_NEWTON_PASSES", ())
    count = len(solved)
    alone = sinkhorn(*problem, **options)
    assert len(solved) == count
    assert alone.converged
    assert handed_over.converged
    assert handed_over.n_iter < alone.n_iter
    assert float(handed_over.dual_value) == pytest.approx(float(alone.dual_value), rel=1e-10)
    torch.testing.assert_close(
        handed_over.plan.toarray(), alone.plan.toarray(), rtol=1e-5, atol=1e-11
    )


@pytest.mark.parametrize("max_iter", [61, 62, 65, 70])
def test_newton_stays_within_max_iter(max_iter):
    x, y, a, b = clusters(100.0)
    result = sinkhorn(x, y, a, b, epsilon=0.3, tol=1e-14, max_iter=max_iter)
    assert len(result.errors) <= result.n_iter <= max_iter
    assert result.marginal_error == pytest.approx(target_error(result, b), abs=1e-13)


def test_a_tolerance_below_rounding_ends():
    x, y, a, b = random_pair(40, 35, 2, seed=3)
    result = sinkhorn(x, y, a, b, epsilon=0.01, tol=1e-18, max_iter=300)
    assert result.n_iter <= 300
    assert not result.converged
    assert target_error(result, b) <= 1e-12


def slow_map(h):
    """A contraction that moves by nearly the same amount everywhere: a plateau, then a drop."""
    return -torch.tanh(1e3 * h) * 1e-3


def test_steps_that_lead_away_are_taken_back():
    weights = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    acceleration = SafeguardedAcceleration(weights, 5)
    start = torch.tensor([[0.4, 0.4, 0.4], [0.02, 0.02, 0.01]], dtype=torch.float64)
    h = start.clone()
    largest = []
    for _ in range(1500):
        h = acceleration.step(h, slow_map(h))
        largest.append(float(h.abs().max()))
    # The plain iteration needs 400 steps; wild steps must not keep it from arriving.
    assert largest[-1] < 1e-2


def test_memory_zero_is_never_taken_back():
    h = torch.full((1, 3), 0.3, dtype=torch.float64)
    acceleration = SafeguardedAcceleration(torch.full_like(h, 1 / 3), 0)
    for i in range(50):
        residual = torch.full_like(h, (-2.0) ** i)
        following = acceleration.step(h, residual)
        torch.testing.assert_close(following, h + residual)
        h = following


def test_accelerated_steps_that_overflow_are_undone():
    """Where a pixel has no mass, an accelerated step may go far: its exponential overflows."""
    rng, line = np.random.RandomState(1), np.linspace(0.0, 1.0, 12)
    centres, widths = rng.uniform(size=(200, 1)), rng.uniform(0.1, 0.3, size=(200, 1))
    weights = np.maximum(1.0 - np.abs(line - centres) / widths, 0.0)
    weights[np.arange(200), rng.randint(12, size=200)] += 0.2
    a, b = weights.reshape(100, 2, 12).transpose(1, 0, 2)
    result = sinkhorn(a=a, b=b, cost=GridCost((12,)), epsilon=0.02, tol=1e-9)
    assert torch.isfinite(result.f).all()
    assert int(result.passes.max()) <= 500  # it took twice as many, or never arrived
