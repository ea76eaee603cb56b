"""Splines between two points, in coordinates of kinetic energy, and actions along them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.interpolate import CubicSpline

from skot.numerics.action import action, curve
from skot.numerics.splines import path_basis


def some_paths(n_knots, n=4, d=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((n, d), (n, d), (n, d, n_knots))
    return tuple(torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes)


def kinetic(x, v, t):
    return 0.5 * v.square().sum(-1)


@pytest.mark.parametrize("n_knots", [1, 2, 5, 30])
def test_deviations_vanish_at_both_ends(n_knots):
    ends = path_basis(n_knots).at(torch.tensor([0.0, 1.0]))
    assert ends.position.abs().max() < 1e-12


@pytest.mark.parametrize("n_knots", [1, 2, 5, 30])
def test_deviations_are_natural_splines_through_their_knots(n_knots):
    knots = np.linspace(0.0, 1.0, n_knots + 2)
    times = np.linspace(0.0, 1.0, 57)
    basis = path_basis(n_knots)
    at_knots = basis.at(torch.from_numpy(knots)).position.numpy()
    found = basis.at(torch.from_numpy(times))
    spline = CubicSpline(knots, at_knots, bc_type="natural")
    np.testing.assert_allclose(found.position.numpy(), spline(times), atol=1e-12)
    np.testing.assert_allclose(found.velocity.numpy(), spline(times, 1), atol=1e-10)


@given(n_knots=st.integers(0, 12), n_nodes=st.integers(3, 6), seed=st.integers(0, 9))
def test_kinetic_energy_is_that_of_the_coordinates(n_knots, n_nodes, seed):
    x, y, z = some_paths(n_knots, seed=seed)
    found = action(kinetic, x, y, z, path_basis(n_knots, n_nodes))
    expected = 0.5 * ((y - x).square().sum(1) + z.square().sum((1, 2)))
    torch.testing.assert_close(found, expected)


def test_the_first_coordinates_are_the_smoothest():
    basis = path_basis(20)
    times = torch.linspace(0, 1, 101, dtype=torch.float64)
    shapes = basis.at(times).position
    sines = torch.stack(
        [2**0.5 * torch.sin(k * torch.pi * times) / (k * torch.pi) for k in (1, 2, 3)], dim=1
    )
    assert (shapes[:, :3] - sines).abs().max() < 2e-3
    spread = shapes.square().mean(0)
    assert (spread.diff() < 0).all()


def test_weights_integrate_smooth_functions():
    basis = path_basis(3)
    assert basis.weights.sum() == pytest.approx(1.0)
    assert float(basis.weights @ torch.cos(basis.times)) == pytest.approx(np.sin(1.0), rel=1e-9)


def test_action_depends_on_time_and_place():
    x, y, z = some_paths(3, n=1, d=1)
    basis = path_basis(3, 6)

    def lagrangian(x, v, t):
        return x[..., 0] * t + (v[..., 0] / 4).sin()

    def integrand(t):
        position, velocity = curve(x, y, z, basis.at(torch.tensor([t], dtype=torch.float64)))
        return float(position * t + (velocity / 4).sin())

    pieces = [quad(integrand, k / 4, (k + 1) / 4)[0] for k in range(4)]
    assert float(action(lagrangian, x, y, z, basis)) == pytest.approx(sum(pieces), rel=1e-6)


def test_velocities_are_derivatives_of_positions():
    x, y, z = some_paths(5)
    basis, step = path_basis(5), 1e-6
    times = torch.tensor([0.3, 0.7], dtype=torch.float64)
    ahead, behind = (curve(x, y, z, basis.at(times + s))[0] for s in (step, -step))
    velocities = curve(x, y, z, basis.at(times))[1]
    torch.testing.assert_close((ahead - behind) / (2 * step), velocities, rtol=1e-6, atol=1e-6)


def test_straight_lines_need_no_knots():
    x, y, z = some_paths(0)
    positions, velocities = curve(x, y, z, path_basis(0))
    middle = path_basis(0).at(torch.tensor([0.5]))
    torch.testing.assert_close(curve(x, y, z, middle)[0][:, 0], 0.5 * (x + y))
    assert positions.shape == velocities.shape == (4, 4, 3)
