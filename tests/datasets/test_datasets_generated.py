"""The generated pairs: shapes, seeds, and the distributions they say they draw from."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skot.datasets import (
    make_eight_gaussians_pair,
    make_gaussian_pair,
    make_moons_pair,
    make_rotated_moons,
)

PAIRS = [make_gaussian_pair, make_eight_gaussians_pair, make_moons_pair, make_rotated_moons]


@pytest.mark.parametrize("make", PAIRS)
def test_sizes_and_seed(make):
    first = make((31, 20), random_state=3)
    assert [len(array) for array in first] == ([31, 20] if len(first) == 2 else [31, 31, 20, 20])
    for one, two in zip(first, make((31, 20), random_state=3), strict=True):
        assert_array_equal(one, two)
    assert not np.array_equal(first[0], make((31, 20), random_state=4)[0])


@pytest.mark.parametrize("make", PAIRS)
def test_global_generator_is_left_alone(make):
    state = np.random.mtrand._rand.get_state()[1].copy()
    make(10, random_state=0)
    assert_array_equal(np.random.mtrand._rand.get_state()[1], state)


@pytest.mark.parametrize("make", PAIRS)
@pytest.mark.parametrize("n_samples", [0, 2.5, "ten", (10,), (10, 0), (1, 2, 3)])
def test_bad_sizes(make, n_samples):
    with pytest.raises(ValueError, match="n_samples"):
        make(n_samples)


@pytest.mark.parametrize("make", PAIRS)
def test_parameters_are_validated(make):
    for name in set(inspect.signature(make).parameters) - {"n_samples", "return_parameters"}:
        with pytest.raises(ValueError, match=name):
            make(10, **{name: "bad"})


def test_gaussian_pair_has_the_parameters_it_returns():
    X, Y, parameters = make_gaussian_pair(
        40_000, 3, shift=2.0, random_state=0, return_parameters=True
    )
    for sample, side in ((X, "source"), (Y, "target")):
        assert_allclose(sample.mean(axis=0), parameters[f"mean_{side}"], atol=0.03)
        assert_allclose(np.cov(sample.T), parameters[f"covariance_{side}"], atol=0.05)
    assert_allclose(np.linalg.norm(parameters.mean_target - parameters.mean_source), 2.0)
    product = parameters.covariance_source @ parameters.covariance_target
    assert np.abs(product - product.T).max() > 0.05


def test_eight_gaussians_fill_the_circle_evenly():
    _, Y = make_eight_gaussians_pair(800, radius=4.0, noise=0.1, random_state=0)
    assert_allclose(np.linalg.norm(Y, axis=1), 4.0, atol=0.5)
    mode = np.round(np.arctan2(Y[:, 1], Y[:, 0]) / (np.pi / 4)).astype(int) % 8
    assert_array_equal(np.bincount(mode), np.full(8, 100))


def test_moons_without_noise_lie_on_two_half_circles():
    _, Y = make_moons_pair(400, scale=2.0, noise=0.0, random_state=0)
    center = np.array([-1.0, -0.5])
    to_moons = np.abs([np.linalg.norm(Y - c, axis=1) - 2.0 for c in (center, -center)])
    assert_allclose(to_moons.min(axis=0), 0.0, atol=1e-12)
    assert_allclose(Y.mean(axis=0), 0.0, atol=0.2)


def test_rotated_moons_are_the_moons_rotated():
    unturned = make_rotated_moons(50, angle=0.0, random_state=1)
    turned = make_rotated_moons(50, angle=90.0, random_state=1)
    assert_array_equal(turned[0], unturned[0])
    assert_array_equal(turned[3], unturned[3])
    # Anticlockwise by a right angle: (x, y) goes to (-y, x).
    expected = np.column_stack([-unturned[2][:, 1], unturned[2][:, 0]])
    assert_allclose(turned[2], expected, atol=1e-12)
    assert_array_equal(np.bincount(turned[1]), [25, 25])
