"""Elliptical pairs: moments, the affine map, and its distance."""

import pickle

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skot.datasets import LocationScatterPair, make_location_scatter_pair
from skot.metrics import wasserstein_distance

FAMILIES = ["gaussian", "student_t", "uniform"]


def make(n_features=3, family="gaussian", random_state=0):
    return make_location_scatter_pair(
        50, n_features, family=family, random_state=random_state, return_map=True
    )[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_have_the_moments(family):
    pair = make(family=family)
    for sample, side in ((pair.sample_source, "source"), (pair.sample_target, "target")):
        rows = sample(200_000, random_state=1)
        assert_allclose(rows.mean(axis=0), getattr(pair, f"mean_{side}"), atol=0.02)
        # The t law with 5 degrees of freedom has a fourth moment, but not much more.
        assert_allclose(np.cov(rows.T), getattr(pair, f"covariance_{side}"), atol=0.1)
    assert_allclose(rows.var(axis=0).sum(), pair.output_variance, rtol=0.05)
    assert_allclose(pair.input_variance, np.trace(pair.covariance_source))


def test_families_differ_in_their_tails():
    def kurtosis(family):
        z = make(1, family).sample_source(100_000, random_state=0).ravel()
        return np.mean((z - z.mean()) ** 4) / z.var() ** 2

    assert_allclose(kurtosis("gaussian"), 3.0, atol=0.15)
    assert_allclose(kurtosis("uniform"), 1.8, atol=0.05)
    assert kurtosis("student_t") > 4.5


@pytest.mark.parametrize("n_features", [1, 2, 8, 32])
def test_the_map_is_that_of_gaussians(n_features):
    """Bures: A = S^-1/2 (S^1/2 R S^1/2)^1/2 S^-1/2, from the two covariances alone."""
    pair = make(n_features)
    root = scipy.linalg.sqrtm(pair.covariance_source).real
    middle = scipy.linalg.sqrtm(root @ pair.covariance_target @ root).real
    inverse = np.linalg.inv(root)
    assert_allclose(pair.matrix, inverse @ middle @ inverse, atol=1e-8)
    eigenvalues = np.linalg.eigvalsh(pair.matrix)
    assert 0.5 <= eigenvalues.min() <= eigenvalues.max() <= 2.0
    assert_allclose(np.linalg.norm(pair.mean_target - pair.mean_source), 1.0)
    if n_features > 1:
        product = pair.matrix @ pair.covariance_source
        assert np.abs(product - product.T).max() > 1e-3
    bures = pair.input_variance + pair.output_variance - 2.0 * np.trace(middle)
    assert_allclose(pair.wasserstein_distance**2, 1.0 + bures, rtol=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_assignment_is_cheaper_than_the_map(family):
    pair = make(family=family)
    X = pair.sample_source(200, random_state=3)
    Y = pair.map(X)
    cost = np.sqrt(np.square(Y - X).sum(axis=1).mean())
    assert wasserstein_distance(X, Y) == pytest.approx(cost, rel=1e-9)


def test_distance_of_the_samples():
    pair = make(2)
    X = pair.sample_source(100_000, random_state=3)
    cost = np.square(pair.map(X) - X).sum(axis=1).mean()
    assert_allclose(np.sqrt(cost), pair.wasserstein_distance, rtol=0.01)


def test_inverse_map():
    pair = make(8)
    X = pair.sample_source(20, random_state=0)
    assert_allclose(pair.inverse_map(pair.map(X)), X, atol=1e-10)
    assert not np.allclose(pair.map(X), X, atol=0.1)


def test_samples_are_independent_and_seeded():
    X, Y, pair = make_location_scatter_pair(5000, 2, random_state=0, return_map=True)
    assert X.shape == Y.shape == (5000, 2)
    assert abs(np.corrcoef(X[:, 0], Y[:, 0])[0, 1]) < 0.06
    again = make_location_scatter_pair(5000, 2, random_state=0)
    assert len(again) == 2
    assert_array_equal(again[1], Y)
    other = make_location_scatter_pair(5000, 2, random_state=1)
    assert not np.array_equal(other[0], X)
    assert_array_equal(pair.sample_source(5, 7), pair.sample_source(5, 7))
    rng = np.random.RandomState(0)
    assert not np.array_equal(pair.sample_source(5, rng), pair.sample_source(5, rng))


def test_tensors():
    pair = make(4)
    generator = torch.Generator().manual_seed(0)
    x = pair.sample_source_tensor(10, generator)
    y = pair.sample_target_tensor(10, generator)
    assert x.dtype == y.dtype == torch.float32
    assert_allclose(pair.map_tensor(x).numpy(), pair.map(x.numpy()), atol=1e-5)
    assert not torch.allclose(pair.map_tensor(x), y)


def test_pickle():
    pair = make(4)
    pair.sample_source_tensor(3, torch.Generator())
    again = pickle.loads(pickle.dumps(pair))
    assert_array_equal(again.sample_target(5, 0), pair.sample_target(5, 0))
    assert isinstance(again, LocationScatterPair)


@pytest.mark.parametrize("name", ["n_samples", "n_features", "family", "shift", "random_state"])
def test_parameters_are_validated(name):
    with pytest.raises(ValueError, match=name):
        make_location_scatter_pair(**{name: "bad"})


def test_wrong_width():
    with pytest.raises(ValueError, match="X has 3 features, but LocationScatterPair is expecting"):
        make(2).map(np.zeros((4, 3)))
