"""Epsilons, weights and costs at the ends of their ranges: right, or not converged, or an error."""

import numpy as np
import pytest
import torch
from _problems import random_pair, squared_distances

from skot.costs import GridCost, PrecomputedCost
from skot.metrics import probability_transport, sinkhorn_divergence
from skot.solvers import ZerosInitializer, sinkhorn

LARGE = random_pair(1100, 1000, 2, seed=3, uniform=True)
PAIR = random_pair(50, 40, 2, seed=4, uniform=True)


def mean_cost(x, y, a, b):
    """Cost of the plan a b', which is above the value at every epsilon, and its limit."""
    return float(a @ squared_distances(x, y) @ b)


@pytest.mark.parametrize("epsilon", [1e3, 1e5, 1e8])
@pytest.mark.parametrize(
    "problem, options",
    [(LARGE, {}), (PAIR, {}), (PAIR, {"storage": "stream", "tol": 1e-3})],
)
def test_epsilon_far_above_the_costs(epsilon, problem, options):
    # Rounding of a half step counts epsilon times: float32 is no choice here.
    result = sinkhorn(*problem, epsilon=epsilon, **options)
    assert result.converged
    assert float(result.dual_value) == pytest.approx(mean_cost(*problem), rel=50.0 / epsilon)


@pytest.mark.parametrize("epsilon", [1e3, 1e5, 1e7])
def test_epsilon_far_above_the_costs_in_batches(epsilon):
    x, y, a, b = PAIR
    cost, grid = squared_distances(x, y), GridCost((len(a),))
    weights = torch.stack([a, a.flip(0)]), torch.stack([b, b])
    options = {"epsilon": epsilon, "tol": 1e-3}
    limit = [float(w @ cost @ v) for w, v in zip(*weights, strict=True)]
    on_grid = [float(w @ grid.matrix() @ w.flip(0)) for w in weights[0]]
    ways = {
        "weights": (sinkhorn(x, y, *weights, **options), limit),
        "matrices": (
            sinkhorn(a=weights[0], b=weights[1], cost=PrecomputedCost(cost), **options),
            limit,
        ),
        "grid": (sinkhorn(a=weights[0], b=weights[0].flip(1), cost=grid, **options), on_grid),
        "clouds": (sinkhorn(x.expand(2, -1, -1), y.expand(2, -1, -1), *weights, **options), limit),
    }
    for way, (result, expected) in ways.items():
        assert result.converged.all(), way
        np.testing.assert_allclose(result.dual_value, expected, rtol=50.0 / epsilon, err_msg=way)
    histograms = probability_transport(*weights, PrecomputedCost(cost), **options)
    assert histograms.converged.all()
    np.testing.assert_allclose(histograms.value, limit, rtol=50.0 / epsilon)


def test_float32_that_is_asked_for_does_not_claim_what_it_cannot():
    result = sinkhorn(*PAIR, epsilon=1e7, tol=1e-3, dtype=torch.float32, max_iter=30)
    assert not result.converged


@pytest.mark.parametrize("light", [1e-30, 1e-40, 1e-140, 1e-290])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"storage": "stream"},
        {"dtype": torch.float32},
        {"annealing": False},
        {"anderson_memory": 0},
        {"initializer": ZerosInitializer()},
        {"max_iter": 2},
    ],
)
@pytest.mark.parametrize("epsilon", [1e-4, 1e-6])
def test_a_light_target_beside_the_source(light, options, epsilon):
    # All mass has to go to the far target: what a kernel cuts off must not weigh more than the
    # near one does.
    x, y, b = np.array([[0.0]]), np.array([[0.0], [1.0]]), np.array([light, 1.0])
    ways = [
        sinkhorn(x, y, None, b, epsilon=epsilon, tol=1e-3, **options),
        sinkhorn(
            a=[1.0], b=b, cost=PrecomputedCost([[0.0, 1.0]]), epsilon=epsilon, tol=1e-3, **options
        ),
    ]
    for result in ways:
        assert not result.converged or float(result.dual_value) == pytest.approx(1.0, rel=1e-3)
    assert "max_iter" in options or all(result.converged for result in ways)


def test_light_targets_of_a_large_problem():
    x, y = np.zeros((1100, 1)), np.linspace(0.0, 1.0, 1000)[:, None]
    for light, epsilon in ((1e-200, 1e-6), (1e-40, 1e-4)):
        b = np.full(1000, light)
        b[-1] = 1.0
        result = sinkhorn(x, y, None, b, epsilon=epsilon, annealing=False, tol=1e-3)
        assert result.converged
        assert float(result.dual_value) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("light", [1e-70, 1e-200, 1e-290])
@pytest.mark.parametrize("options", [{}, {"storage": "stream"}, {"anderson_memory": 0}])
def test_potentials_of_points_that_are_light_on_both_sides(light, options):
    x, w, epsilon = np.array([[0.0], [1.0]]), np.array([1.0, light]), 1 / 300
    result = sinkhorn(x, x, w, w, epsilon=epsilon, tol=1e-6, **options)
    cost, log_w = squared_distances(*(torch.from_numpy(x),) * 2), torch.from_numpy(w).log()
    f = -epsilon * torch.logsumexp((result.g - cost) / epsilon + log_w, 1)
    g = -epsilon * torch.logsumexp((result.f[:, None] - cost) / epsilon + log_w[:, None], 0)
    assert abs(float(result.dual_value)) < 1e-9
    torch.testing.assert_close(result.f, f, rtol=0, atol=1e-9)
    if result.converged:
        torch.testing.assert_close(result.g, g, rtol=0, atol=1.1e-6)
    assert result.converged or light > 1e-290  # half steps may crawl: it is said


def test_costs_that_overflow_are_an_error():
    points = np.array([[1e160], [0.0]])
    for options in ({}, {"storage": "stream"}):
        with pytest.raises(ValueError, match="too large for float64|too small for costs"):
            sinkhorn(points, points[::-1] + 1.0, epsilon=0.1, **options)
    with pytest.raises(ValueError, match="too small for costs|too large for float64"):
        sinkhorn(points / 1e10, points, epsilon=5e-324)
    with pytest.raises(ValueError):  # noqa: PT011, the cost is named or the default epsilon is
        sinkhorn_divergence(points, points + 1.0)


def test_complex_weights_are_an_error():
    x, y, a, b = PAIR
    for weights in (a.numpy() + 0j, a + 0j):
        with pytest.raises(ValueError, match="Complex data not supported"):
            sinkhorn(x, y, weights, b, epsilon=1.0)


@pytest.mark.parametrize("epsilon, max_iter", [(1e-50, 2000), (1e-61, 2000), (1e-61, 50)])
def test_epsilon_below_the_rounding_of_the_costs_gives_numbers(epsilon, max_iter):
    """No potential holds these digits: nothing converges, and nothing is lost either."""
    x = torch.tensor([[0.38, -0.91], [-0.38, 0.9]], dtype=torch.float64)
    y = 1e-30 * torch.tensor([[1.87, -0.98], [0.95, -0.15], [-0.1, 0.41]], dtype=torch.float64)
    result = sinkhorn(x, y, epsilon=epsilon, max_iter=max_iter)
    assert float(result.dual_value) == pytest.approx(0.5 * float(x.square().sum()), rel=1e-6)
    assert torch.isfinite(result.f).all()
    assert torch.isfinite(result.g).all()


@pytest.mark.parametrize("seed", range(8))
def test_blocks_that_leave_the_range_of_floats(seed):
    """Few passes, tiny weights and tiny epsilon: the way there is wild."""
    rng = np.random.RandomState(seed)
    x, y = rng.standard_normal((2, 1)), rng.standard_normal((8, 1))
    a, b = (np.exp(-30.0 * rng.rand(k)) for k in (2, 8))
    for epsilon in 10.0 ** np.arange(-60.0, -4.0, 5.0):
        result = sinkhorn(x, y, a / a.sum(), b / b.sum(), epsilon=epsilon, max_iter=50)
        assert torch.isfinite(result.f).all()
        assert torch.isfinite(result.g).all()
        assert torch.isfinite(result.dual_value)
