"""Potential energies: the formulas, their gradients, annealing and parameters."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import expit
from sklearn.base import clone

from skot.costs import (
    BoxObstacle,
    DiskObstacles,
    HarmonicWell,
    HillObstacle,
    Maze,
    PotentialEnergy,
    SlitObstacle,
    STunnel,
    VNeck,
)


def box(x, M=3.6, T=0.01):
    sides = [expit((x[:, k] + 0.5) / T) - expit((x[:, k] - 0.5) / T) for k in (0, 1)]
    return -M * sides[0] * sides[1]


def slit(x, M=361.0, T=0.01):
    wall = expit((x[:, 0] + 0.1) / T) - expit((x[:, 0] - 0.1) / T)
    opening = expit((x[:, 1] + 0.25) / T) - expit((x[:, 1] - 0.25) / T)
    return M * wall * (opening - 1)


def hill(x, M=18.0):
    return -M * np.exp(-(x**2).sum(1))


def well(x, M=3.6):
    return -M * (x**2).sum(1)


def disks(x, M=36.0, T=0.1):
    centers = np.array([[6, 6], [6, -6], [-6, -6]])
    distance = np.linalg.norm(x[:, None, :2] - centers, axis=2)
    return -M * expit((1.5 - distance) / T).sum(1)


def v_neck(x, M=36.0, T=0.1):
    return -M * expit((-0.36 - 5 * x[:, 0] ** 2 + x[:, 1] ** 2) / T)


def s_tunnel(x, M=36.0, T=0.1):
    total = 0.0
    for a, b in ((5, 6), (-5, -6)):
        total = total + expit((90 - 20 * (x[:, 0] - a) ** 2 - (x[:, 1] - b) ** 2) / T)
    return -M * total


def maze(x, M=3610.0, T=0.01):
    total = 0.0
    for low, high, bottom, top in ((-0.5, -0.3, -1.99, -0.15), (0.3, 0.5, 0.15, 1.99)):
        wall = expit((x[:, 0] - low) / T) - expit((x[:, 0] - high) / T)
        opening = expit((x[:, 1] - bottom) / T) - expit((x[:, 1] - top) / T)
        total = total + wall * (1 - opening)
    return -M * total


# The potential, the formula, and how far out it has anything to say.
CASES = [
    (BoxObstacle(), box, 1.0),
    (SlitObstacle(), slit, 1.0),
    (HillObstacle(), hill, 2.0),
    (HarmonicWell(), well, 2.0),
    (DiskObstacles(), disks, 9.0),
    (VNeck(), v_neck, 3.0),
    (STunnel(), s_tunnel, 12.0),
    (Maze(), maze, 2.5),
]
IDS = [type(potential).__name__ for potential, _, _ in CASES]


def points(extent, n=4000):
    return np.random.default_rng(0).uniform(-extent, extent, (n, 2))


@pytest.mark.parametrize(("potential", "formula", "extent"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_formula(potential, formula, extent, dtype):
    x = torch.tensor(points(extent), dtype=dtype)
    value = potential(x)
    expected = formula(x.double().numpy())
    assert value.dtype == dtype
    strength = potential.strength
    # A step of width T amplifies the rounding of x by 1 / T.
    tolerance = 1e-12 if dtype == torch.float64 else 2e-4
    assert_allclose(value, expected, rtol=tolerance, atol=tolerance * strength)
    assert expected.min() < -0.9 * strength
    assert (value <= 0).all()


@pytest.mark.parametrize(("potential", "formula", "extent"), CASES, ids=IDS)
def test_gradient_agrees_with_differences(potential, formula, extent):
    x = points(extent, 500)
    point = torch.tensor(x, requires_grad=True)
    (gradient,) = torch.autograd.grad(potential(point).sum(), point)
    step = 1e-6
    for k in range(2):
        shift = step * np.eye(2)[k]
        difference = (formula(x + shift) - formula(x - shift)) / (2 * step)
        assert_allclose(gradient[:, k], difference, rtol=1e-3, atol=2e-4 * potential.strength)


@pytest.mark.parametrize(("potential", "formula", "extent"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_derivatives_are_finite_far_away_and_at_special_places(potential, formula, extent, dtype):
    special = [[0.0, 0.0], [6.0, 6.0], [0.5, 0.5], [-0.1, 0.25], [30.0, -40.0], [1e3, 1e3]]
    x = torch.tensor(special, dtype=dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(potential(x).sum(), x, create_graph=True)
    assert torch.isfinite(potential(x)).all()
    assert torch.isfinite(gradient).all()
    (second,) = torch.autograd.grad(gradient.sum(), x)
    assert torch.isfinite(second).all()


def test_force_is_kept_where_a_difference_of_steps_would_round_it_away():
    # s((x + .5) / T) and s((x - .5) / T) both round to 1 at x = .7, though not their difference.
    x = torch.tensor([[0.7, 0.0]], requires_grad=True)
    value = BoxObstacle()(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert value.item() == pytest.approx(-3.6 * np.exp(-20.0), rel=1e-4)
    assert gradient[0, 0].item() == pytest.approx(3.6 * np.exp(-20.0) / 0.01, rel=1e-4)


@pytest.mark.parametrize(("potential", "formula", "extent"), CASES, ids=IDS)
def test_leading_dimensions(potential, formula, extent):
    x = torch.tensor(points(extent, 24))
    flat = potential(x)
    torch.testing.assert_close(potential(x.reshape(2, 3, 4, 2)), flat.reshape(2, 3, 4))
    torch.testing.assert_close(potential(x[0]), flat[0])


@pytest.mark.parametrize(("potential", "formula", "extent"), CASES, ids=IDS)
def test_annealing(potential, formula, extent):
    if isinstance(potential, HarmonicWell):  # it has no wall
        assert potential.annealed(0.5, 4.0) is potential
        return
    x = torch.tensor(points(extent, 300))
    same = potential.annealed(1.0, 1.0)
    assert same.get_params() == potential.get_params()
    assert same is not potential
    torch.testing.assert_close(
        potential.annealed(0.0, 1.0)(x).abs().max(), torch.tensor(0.0).double()
    )
    other = potential.annealed(0.5, 4.0)
    assert other.strength == 0.5 * potential.strength
    params = {"M": other.strength}
    if hasattr(potential, "sharpness"):
        assert other.sharpness == 4.0 * potential.sharpness
        params["T"] = other.sharpness
    assert_allclose(other(x), formula(x.numpy(), **params), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("potential", "formula", "extent"), CASES, ids=IDS)
def test_copies(potential, formula, extent):
    x = torch.tensor(points(extent, 50))
    for copied in (clone(potential), pickle.loads(pickle.dumps(potential))):
        assert repr(copied) == repr(potential)
        torch.testing.assert_close(copied(x), potential(x))


@pytest.mark.parametrize(("potential", "formula", "extent"), CASES, ids=IDS)
def test_parameters_are_validated(potential, formula, extent):
    potential.validate()
    for name in potential.get_params():
        with pytest.raises(ValueError, match=name):
            clone(potential).set_params(**{name: -1.0}).validate()


@pytest.mark.parametrize("centers", [((0.0, 1.0), (2.0,)), ((np.nan, 0.0),), (1.0, 2.0), ((),)])
def test_centers_are_points(centers):
    with pytest.raises(ValueError, match="centers"):
        DiskObstacles(centers=centers).validate()


def test_disks_are_balls_in_any_dimension():
    potential = DiskObstacles(centers=((1.0, 2.0, 3.0),), radius=2.0, strength=5.0)
    x = torch.tensor([[1.0, 2.0, 3.0], [1.0, 4.0, 3.0], [9.0, 9.0, 9.0]]).double()
    assert_allclose(potential(x), [-5.0, -2.5, 0.0], atol=1e-6)
    with pytest.raises(ValueError, match="3 coordinates.* 2 features"):
        potential(torch.zeros(4, 2))


@pytest.mark.parametrize("potential", [BoxObstacle(), SlitObstacle(), VNeck(), STunnel(), Maze()])
def test_obstacles_of_the_plane_look_at_two_features(potential):
    x = torch.tensor(points(1.0, 40))
    torch.testing.assert_close(potential(torch.cat([x, 7 + x], 1)), potential(x))
    with pytest.raises(ValueError, match=f"{type(potential).__name__} needs points.*Got 1"):
        potential(x[:, :1])


def test_potential_of_a_user_is_annealed_by_name():
    class Ramp(PotentialEnergy):
        def __init__(self, strength=2.0, tilt=1.0):
            self.strength = strength
            self.tilt = tilt

        def __call__(self, x):
            return -self.strength * self.tilt * x[..., 0]

    assert Ramp().annealed(0.5, 3.0).get_params() == {"strength": 1.0, "tilt": 1.0}
    with pytest.raises(NotImplementedError, match="PotentialEnergy does not implement"):
        PotentialEnergy()(torch.zeros(1, 2))
