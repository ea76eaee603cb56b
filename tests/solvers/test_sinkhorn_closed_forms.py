"""Gaussian densities on quadrature grids, translations, and tiny problems by hand."""

import numpy as np
import pytest
import torch
from _problems import EntropicGaussian, normal_weights, random_pair, up_to_a_constant

from skot.costs import GridCost, SquaredEuclidean
from skot.metrics import sinkhorn_divergence
from skot.potentials import EntropicPotentials
from skot.solvers import GaussianInitializer, sinkhorn


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 5.0])
def test_gaussian_densities_on_the_line(epsilon):
    exact = EntropicGaussian(-0.3, 1.0, 0.5, 0.6, epsilon)
    x = torch.linspace(-8.3, 7.7, 241, dtype=torch.float64)
    y = torch.linspace(-4.3, 5.3, 211, dtype=torch.float64)
    a, b = normal_weights(x, -0.3, 1.0), normal_weights(y, 0.5, 0.6)
    result = sinkhorn(x[:, None], y[:, None], a, b, epsilon=epsilon, tol=1e-12, max_iter=5000)
    assert float(result.dual_value) == pytest.approx(exact.value, rel=1e-6)
    assert result.cost_value == pytest.approx(exact.transport_cost, rel=1e-6)
    inside_x, inside_y = (x + 0.3).abs() < 3.0, (y - 0.5).abs() < 1.8
    f, g = exact.source_potential(x), exact.swapped.source_potential(y)
    for ours, theirs, weights, inside in (
        (result.f, f, a, inside_x),
        (result.g, g, b, inside_y),
    ):
        gap = up_to_a_constant(ours, weights) - up_to_a_constant(theirs, weights)
        assert gap[inside].abs().max() <= 1e-6 * theirs[inside].abs().max()
    # The map, at the points of the problem and between them.
    moved = result.plan.apply(y) / a
    assert (moved - exact.map(x))[inside_x].abs().max() < 1e-6
    potentials = EntropicPotentials(
        x[:, None], y[:, None], a, b, result.f, result.g, SquaredEuclidean(), epsilon
    )
    new = torch.linspace(-2.0, 2.0, 17, dtype=torch.float64)
    assert (potentials.transport(new[:, None])[:, 0] - exact.map(new)).abs().max() < 1e-6
    back = potentials.inverse(new[:, None] / 2)[:, 0]
    assert (back - exact.swapped.map(new / 2)).abs().max() < 1e-6


def test_gaussian_densities_on_a_two_dimensional_grid():
    epsilon, shape = 0.02, (65, 60)
    across = EntropicGaussian(0.45, 0.06, 0.55, 0.07, epsilon)
    down = EntropicGaussian(0.5, 0.07, 0.48, 0.05, epsilon)
    u, v = (torch.linspace(0.0, 1.0, n, dtype=torch.float64) for n in shape)
    a = torch.outer(normal_weights(u, 0.45, 0.06), normal_weights(v, 0.5, 0.07)).flatten()
    b = torch.outer(normal_weights(u, 0.55, 0.07), normal_weights(v, 0.48, 0.05)).flatten()
    result = sinkhorn(a=a, b=b, cost=GridCost(shape), epsilon=epsilon, tol=1e-10)
    assert result.converged
    assert float(result.dual_value) == pytest.approx(across.value + down.value, rel=1e-6)
    f = across.source_potential(u)[:, None] + down.source_potential(v)
    f, ours = up_to_a_constant(f.flatten(), a), up_to_a_constant(result.f, a)
    inside = (((u - 0.45).abs() < 0.15)[:, None] & ((v - 0.5).abs() < 0.15)).flatten()
    assert (ours - f)[inside].abs().max() <= 1e-6 * f[inside].abs().max() + 1e-8


def test_the_gaussian_initializer_starts_at_the_solution_of_a_gaussian_problem():
    exact = EntropicGaussian(0.0, 1.0, 2.0, 0.7, 0.5)
    x = torch.linspace(-8.0, 8.0, 201, dtype=torch.float64)[:, None]
    y = 2.0 + 0.7 * x
    a, b = normal_weights(x[:, 0], 0.0, 1.0), normal_weights(y[:, 0], 2.0, 0.7)
    options = {"epsilon": 0.5, "tol": 1e-8}
    result = sinkhorn(x, y, a, b, initializer=GaussianInitializer(), **options)
    # Where the grid is cut off, the tails of the potential move a little.
    assert result.errors[0] < 1e-12
    assert result.n_iter <= 3
    assert float(result.dual_value) == pytest.approx(exact.value, rel=1e-7)


@pytest.mark.parametrize("shift", [0.5, 100.0])
def test_a_translation_adds_a_linear_function_to_the_potentials(shift):
    x, y, a, b = random_pair(25, 20, 2)
    t = torch.tensor([shift, -2.0 * shift], dtype=torch.float64)
    base = sinkhorn(x, y, a, b, epsilon=0.2, tol=1e-11)
    moved = sinkhorn(x, y + t, a, b, epsilon=0.2, tol=1e-11)
    torch.testing.assert_close(moved.plan.toarray(), base.plan.toarray(), rtol=1e-6, atol=1e-9)
    # |x - y - t|^2 = |x - y|^2 - 2 <x, t> + 2 <y, t> + |t|^2
    f = up_to_a_constant(base.f - 2.0 * x @ t, a)
    g = up_to_a_constant(base.g + 2.0 * y @ t, b)
    torch.testing.assert_close(up_to_a_constant(moved.f, a), f, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(up_to_a_constant(moved.g, b), g, rtol=1e-6, atol=1e-7)
    value = float(base.dual_value - 2.0 * (a @ x) @ t + 2.0 * (b @ y) @ t + t @ t)
    assert float(moved.dual_value) == pytest.approx(value, rel=1e-9)


def test_two_points_by_hand():
    # By symmetry P = [[p, q], [q, p]] / 2 with q / p = exp(-1 / epsilon).
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    result = sinkhorn(x, x, epsilon=0.7, tol=1e-13)
    q = np.exp(-1 / 0.7) / (1.0 + np.exp(-1 / 0.7))
    np.testing.assert_allclose(result.plan.toarray(), [[0.5 - q / 2, q / 2], [q / 2, 0.5 - q / 2]])
    assert result.cost_value == pytest.approx(q, rel=1e-12)


@pytest.mark.parametrize("n, m", [(1, 1), (1, 5), (5, 1)])
def test_one_point_on_a_side(n, m):
    x, y, a, b = random_pair(n, m, 2)
    result = sinkhorn(x, y, a, b, epsilon=0.3)
    torch.testing.assert_close(result.plan.toarray(), a[:, None] * b)
    expected = float(a @ (x[:, None] - y).square().sum(-1) @ b)
    assert result.cost_value == pytest.approx(expected, rel=1e-12)
    assert float(result.dual_value) == pytest.approx(expected, rel=1e-12)


def test_large_epsilon_gives_the_product_and_the_mean_cost():
    x, y, a, b = random_pair()
    result = sinkhorn(x, y, a, b, epsilon=1e6, tol=1e-12)
    torch.testing.assert_close(result.plan.toarray(), a[:, None] * b, rtol=1e-4, atol=0)
    mean = float(a @ (x[:, None] - y).square().sum(-1) @ b)
    assert float(result.dual_value) == pytest.approx(mean, rel=1e-4)


def test_divergence_of_a_translation_is_the_squared_distance():
    x, _, a, _ = random_pair(25, 20, 2)
    t = torch.tensor([3.0, -4.0], dtype=torch.float64)
    value = sinkhorn_divergence(x, x + t, a=a, b=a, epsilon=0.3, tol=1e-10)
    assert value == pytest.approx(25.0, rel=1e-8)
