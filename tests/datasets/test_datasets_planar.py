"""The distributions in the plane: that samples, densities and entropies tell one story."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skot.datasets import (
    make_planar_pair,
    make_planar_sample,
    planar_entropy,
    planar_log_density,
)

WITH_NOISE = [
    "eight_gaussians",
    "square_corners",
    "square_corners_center",
    "square_sides",
    "circles",
    "rings",
    "moons",
    "s_curve",
    "swiss_roll",
]
WITHOUT_NOISE = ["gaussian", "checkerboard", "five_squares", "four_squares", "maf_moon"]
NAMES = WITH_NOISE + WITHOUT_NOISE


@pytest.mark.parametrize("name", NAMES)
def test_samples(name):
    X = make_planar_sample(name, 20_000, random_state=0)
    assert X.shape == (20_000, 2)
    assert X.dtype == np.float64
    assert 0.7 < np.sqrt(X.var(axis=0).mean()) < 1.2
    assert_array_equal(X, make_planar_sample(name, 20_000, random_state=0))
    assert not np.array_equal(X, make_planar_sample(name, 20_000, random_state=1))


@pytest.mark.parametrize("name", NAMES)
def test_density_integrates_to_one(name):
    # Midpoints of cells that fill the unit squares. One distribution has a long arm.
    step, low, high = (0.1, -6.0, 14.0) if name == "maf_moon" else (0.05, -4.0, 4.0)
    axis = np.arange(low, high, step) + step / 2.0
    grid = np.column_stack([a.ravel() for a in np.meshgrid(axis, axis)])
    noise = None if name in WITHOUT_NOISE else 0.15
    total = np.exp(planar_log_density(name, grid, noise=noise)).sum() * step**2
    # A normal law leaves 1e-4 outside of the grid.
    assert_allclose(total, 1.0, atol=3e-4)


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_the_density(name):
    """The mean log-density of a sample is minus the entropy, and so are its parts by region."""
    X = make_planar_sample(name, 4000, random_state=1)
    log_density = planar_log_density(name, X)
    assert np.isfinite(log_density).all()
    error = log_density.std() / np.sqrt(len(X))
    assert abs(log_density.mean() + planar_entropy(name)) < 4.0 * error + 1e-9
    # Importance sampling of a moment: E_p |x|^2 by uniform points.
    rng = np.random.default_rng(0)
    Z = rng.uniform(-5.0, 5.0, (8000, 2))
    weights = 100.0 * np.exp(planar_log_density(name, Z))
    inside = np.square(X).sum(axis=1) * (np.abs(X) < 5.0).all(axis=1)
    products = weights * np.square(Z).sum(axis=1)
    error = np.hypot(products.std() / np.sqrt(len(Z)), inside.std() / np.sqrt(len(X)))
    assert abs(products.mean() - inside.mean()) < 4.5 * error


@pytest.mark.parametrize(
    "name, expected",
    [
        ("checkerboard", np.log(8.0)),
        ("five_squares", np.log(5.0)),
        ("four_squares", np.log(4.0)),
        ("gaussian", 1.0 + np.log(2.0 * np.pi)),
        ("maf_moon", 1.0 + np.log(np.pi)),
        # Components so far apart that they do not meet.
        ("square_sides", np.log(4.0) + 1.0 + np.log(2.0 * np.pi * 0.15**2)),
        ("square_corners_center", np.log(5.0) + 1.0 + np.log(2.0 * np.pi * 0.15**2)),
    ],
)
def test_known_entropies(name, expected):
    assert_allclose(planar_entropy(name), expected, atol=2e-5)


def test_entropy_of_noise_that_hides_the_shape():
    """Widely blurred, a curve of variance v is nearly Gaussian of variance v + noise^2."""
    X = make_planar_sample("moons", 200_000, noise=4.0, random_state=0)
    gaussian = 1.0 + np.log(2.0 * np.pi) + 0.5 * np.linalg.slogdet(np.cov(X.T))[1]
    assert_allclose(planar_entropy("moons", noise=4.0), gaussian, atol=5e-3)


def test_entropy_grows_by_the_logarithm_of_a_small_noise():
    """Around a curve that is straight on the scale of the noise."""
    fine, coarse = (planar_entropy("circles", noise=noise) for noise in (0.04, 0.08))
    assert_allclose(coarse - fine, np.log(2.0), atol=5e-3)


def test_noise_spreads_around_the_curve():
    for noise in (0.0, 0.02):
        X = make_planar_sample("circles", 5000, noise=noise, random_state=0)
        radius = np.linalg.norm(X, axis=1)
        off = np.minimum(np.abs(radius - 1.7), np.abs(radius - 0.85))
        assert_allclose(np.sqrt(np.mean(off**2)), noise, rtol=0.05, atol=1e-12)


def test_checkerboard_is_a_checkerboard():
    X = make_planar_sample("checkerboard", 5000, random_state=0)
    column, row = np.floor(X).astype(int).T
    assert_array_equal((column + row) % 2, 0)
    assert len(set(zip(column, row, strict=True))) == 8


def test_squares_do_not_overlap():
    X = make_planar_sample("five_squares", 1000, random_state=0)
    assert_array_equal(planar_log_density("four_squares", X), -np.inf)


def test_pair():
    X, Y = make_planar_pair("maf_moon", "rings", (40, 30), random_state=0)
    assert X.shape == (40, 2)
    assert Y.shape == (30, 2)
    assert_array_equal(Y, make_planar_pair("maf_moon", "rings", (40, 30), random_state=0)[1])
    # Independent, also where source and target are the same law.
    same = make_planar_pair("gaussian", "gaussian", 2000, random_state=0)
    assert abs(np.corrcoef(same[0][:, 0], same[1][:, 0])[0, 1]) < 0.1
    assert not np.array_equal(*same)


def test_global_generator_is_left_alone():
    state = np.random.mtrand._rand.get_state()[1].copy()
    make_planar_pair(random_state=0)
    assert_array_equal(np.random.mtrand._rand.get_state()[1], state)


def test_bad_parameters():
    with pytest.raises(ValueError, match="name"):
        make_planar_sample("spiral")
    with pytest.raises(ValueError, match="n_samples"):
        make_planar_sample("moons", 0)
    with pytest.raises(ValueError, match="noise"):
        make_planar_sample("moons", noise=-0.1)
    with pytest.raises(ValueError, match="'checkerboard' has no noise"):
        make_planar_sample("checkerboard", noise=0.1)
    with pytest.raises(ValueError, match="target"):
        make_planar_pair("moons", "spiral")
    with pytest.raises(ValueError, match="n_samples"):
        make_planar_pair(n_samples=(10,))
    with pytest.raises(ValueError, match=r"noise must be at least 0\.04"):
        planar_entropy("moons", noise=0.0)
    with pytest.raises(ValueError, match=r"noise must be at least 0\.04"):
        planar_log_density("moons", [[0.0, 0.0]], noise=0.01)
    with pytest.raises(ValueError, match="X has 3 features, but 2 are expected"):
        planar_log_density("moons", np.zeros((4, 3)))
