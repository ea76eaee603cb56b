import numpy as np
import pytest
import scipy.linalg
import torch
from _problems import EntropicGaussian, normal_weights, plain_sinkhorn

from skot.numerics.linalg import (
    bures_squared_distance,
    gaussian_map,
    gaussian_potential,
    symmetric_power,
    weighted_covariance,
    weighted_mean,
)


def covariance(d, seed, spread=4.0):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]
    return (vectors * torch.linspace(1.0, spread, d, dtype=torch.float64)) @ vectors.T


A, B = covariance(4, 0), covariance(4, 1, 9.0)
IDENTITY = torch.eye(4, dtype=torch.float64)


def test_weighted_moments_agree_with_numpy():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(20, generator=generator, dtype=torch.float64)
    weights /= weights.sum()
    expected = np.cov(x.numpy().T, aweights=weights.numpy(), ddof=0)
    np.testing.assert_allclose(weighted_covariance(x, weights), expected, rtol=1e-12)
    np.testing.assert_allclose(
        weighted_mean(x, weights), np.average(x, axis=0, weights=weights), rtol=1e-12
    )


def test_the_mean_of_equal_rows_is_exact():
    # What rounding leaves of a centred constant cloud would become its scale.
    weights = torch.tensor([0.188673744, 0.542108881, 0.269217375], dtype=torch.float64)
    for value in (0.1, -1e30, 3.7e6):
        rows = torch.full((3, 2), value, dtype=torch.float64)
        assert (weighted_mean(rows, weights / weights.sum()) == rows[0]).all()


def test_symmetric_power_agrees_with_scipy():
    np.testing.assert_allclose(symmetric_power(A, 0.5), scipy.linalg.sqrtm(A.numpy()), rtol=1e-10)
    torch.testing.assert_close(symmetric_power(A, -1.0) @ A, IDENTITY)
    torch.testing.assert_close(symmetric_power(A, 0.5) @ symmetric_power(A, -0.5), IDENTITY)


def test_negative_powers_act_on_the_range_only():
    singular = torch.diag(torch.tensor([4.0, 0.0, 1e-30], dtype=torch.float64))
    expected = torch.diag(torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(symmetric_power(singular, -0.5), expected)
    assert (symmetric_power(torch.zeros(2, 2, dtype=torch.float64), -0.5) == 0).all()


def test_gaussian_map_is_the_symmetric_positive_map_of_the_covariances():
    linear = gaussian_map(A, B)
    torch.testing.assert_close(linear @ A @ linear, B)
    torch.testing.assert_close(linear, linear.T)
    # Brenier: the gradient of a convex function.
    assert torch.linalg.eigvalsh(linear).min() > 0
    torch.testing.assert_close(gaussian_map(B, A), torch.linalg.inv(linear))


def test_gaussian_map_of_a_dilation():
    torch.testing.assert_close(gaussian_map(A, 9.0 * A), 3.0 * IDENTITY)


def test_bures_distance_is_the_cost_of_the_gaussian_map():
    linear = gaussian_map(A, B)
    moved = torch.trace((IDENTITY - linear) @ A @ (IDENTITY - linear).T)
    torch.testing.assert_close(bures_squared_distance(A, B), moved)
    torch.testing.assert_close(bures_squared_distance(B, A), moved)
    assert 0.0 <= bures_squared_distance(A, A) < 1e-13


@pytest.mark.parametrize("epsilon", [1e-3, 0.5, 10.0, 1e8])
def test_entropic_map_is_stationary(epsilon):
    # A plan N(0, [[A, C'], [C, B]]) with density a b exp((f + g - |x - y|^2) / epsilon) has the
    # term 2 <x, y> / epsilon: its precision is -2 / epsilon times the identity off the diagonal.
    cross = gaussian_map(A, B, epsilon) @ A
    joint = torch.cat([torch.cat([A, cross.T], 1), torch.cat([cross, B], 1)])
    coupling = torch.linalg.inv(joint)[:4, 4:]
    torch.testing.assert_close(coupling * epsilon, -2.0 * IDENTITY, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-140, 1e-30, 1.0, 1e30, 1e140])
def test_closed_forms_hold_at_any_scale(scale):
    # The products of two covariances leave the range of floats long before they do.
    linear = gaussian_map(scale * A, scale * B, 0.5 * scale)
    torch.testing.assert_close(linear, gaussian_map(A, B, 0.5), rtol=1e-9, atol=1e-12)
    distance = bures_squared_distance(scale * A, scale * B) / scale
    torch.testing.assert_close(distance, bures_squared_distance(A, B), rtol=1e-9, atol=0)


def test_very_different_scales():
    torch.testing.assert_close(gaussian_map(1e-60 * A, A, 1.0), 2.0 * A, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        gaussian_map(1e100 * A, 1e-100 * A), 1e-100 * IDENTITY, rtol=1e-9, atol=1e-110
    )


def test_degenerate_covariances_give_finite_maps():
    zero = torch.zeros(4, 4, dtype=torch.float64)
    flat = torch.diag(torch.tensor([1.0, 0.0, 2.0, 0.0], dtype=torch.float64))
    for source, target in ((zero, A), (A, zero), (flat, A), (A, flat), (zero, zero)):
        for epsilon in (0.0, 0.3):
            assert torch.isfinite(gaussian_map(source, target, epsilon)).all()
            assert torch.isfinite(bures_squared_distance(source, target))
    assert (gaussian_map(flat, A)[1] == 0).all()


def test_entropic_map_against_a_quadrature_grid():
    problem = EntropicGaussian(0.0, 1.0, 0.0, 0.7, 0.8)
    points = np.linspace(-6.0, 6.0, 121)
    a = normal_weights(torch.from_numpy(points), 0.0, 1.0).numpy()
    b = normal_weights(torch.from_numpy(points), 0.0, 0.7).numpy()
    _, plan = plain_sinkhorn((points[:, None] - points) ** 2, a, b, problem.epsilon, 200)
    inner = slice(40, 81)
    slope = np.polyfit(points[inner], (plan @ points / plan.sum(1))[inner], 1)[0]
    linear = gaussian_map(torch.eye(1).double(), 0.49 * torch.eye(1).double(), problem.epsilon)
    np.testing.assert_allclose(linear.item(), slope, rtol=1e-7)
    np.testing.assert_allclose(linear.item(), problem.slope, rtol=1e-12)


def test_gaussian_potential_is_twice_the_mean_displacement():
    y = torch.randn(7, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y.requires_grad_(True)
    (gradient,) = torch.autograd.grad(gaussian_potential(y, A, B, 0.3).sum(), y)
    torch.testing.assert_close(gradient, 2.0 * (y - y @ gaussian_map(B, A, 0.3)).detach())
