"""Estimates of the class shares of a target, on rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skot.adaptation._share_estimates import (
    Sample,
    ShareEstimate,
    _fit_mixture,
    _map_derivative,
    _Misfit,
    _Mixture,
    _project,
    estimate_shares,
)


def gaussian_classes(shares, n=300, d=5, seed=0, separation=3.0):
    """Unit Gaussians around the vertices of a simplex."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(
        np.repeat(np.arange(len(shares)), np.round(n * np.array(shares)).astype(int))
    )
    means = separation / np.sqrt(2.0) * np.eye(d)[: len(shares)]
    return means[codes] + rng.normal(size=(len(codes), d)), codes


def equal(rows):
    return np.full(len(rows), 1.0 / len(rows))


def three_classes(seed=1000):
    X, codes = gaussian_classes((0.3, 0.3, 0.4), seed=seed)
    Y, _ = gaussian_classes((0.2, 0.5, 0.3), seed=seed + 1)
    return X, codes, Y


def test_gradient_of_the_misfit():
    X, codes, Y = three_classes()
    misfit = _Misfit(_project(X, equal(X), codes, Y, np.random.default_rng(0)), tol=1e-10)
    shares = np.array([0.2, 0.5, 0.3])
    gradient = misfit.value_and_gradient(shares)[1]
    for k in range(2):
        step = 1e-5 * (np.eye(3)[k] - np.eye(3)[2])
        ahead, behind = (misfit.value_and_gradient(shares + s)[0] for s in (step, -step))
        assert_allclose(gradient[k] - gradient[2], (ahead - behind) / 2e-5, rtol=1e-5)


def test_derivative_of_the_gaussian_map_in_one_dimension():
    # K = sqrt(B / A), so dK / dA = -K / (2 A).
    derivative = _map_derivative(np.array([[1.5]]), np.array([[4.0]]), np.array([[1.0]]))
    assert_allclose(derivative, [[-1.5 / 8.0]])


def test_misfit_vanishes_for_an_affine_copy_of_the_reweighted_source():
    X, codes, _ = three_classes()
    start = _project(X, equal(X), codes, X, np.random.default_rng(0))
    # To double the rows of a class is to double its weight.
    y = 2.0 * np.concatenate([start.x, start.x[start.codes == 0]]) + 7.0
    sample = Sample(start.x, start.weights, start.codes, y)
    shares = sample.shares * [2.0, 1.0, 1.0]
    shares /= shares.sum()
    misfit = _Misfit(sample)
    assert misfit.value_and_gradient(shares)[0] < 1e-6
    assert misfit.value_and_gradient(sample.shares)[0] > 1e-3
    assert_allclose(misfit.descend(sample.shares)[0], shares, atol=0.02)


@pytest.mark.parametrize("shares", [(0.1, 0.9), (0.3, 0.7), (0.8, 0.2)])
@pytest.mark.parametrize("d", [2, 20])
def test_gaussian_classes_that_are_turned_and_shifted(shares, d):
    X, codes = gaussian_classes((0.5, 0.5), d=d, seed=0)
    Y, _ = gaussian_classes(shares, d=d, seed=1)
    turn = np.eye(d)
    turn[:2, :2] = [[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]]
    found = estimate_shares(X, equal(X), codes, Y @ turn + 5.0, n_resamples=10)
    assert found.is_reliable
    assert_allclose(found.by_shape, shares, atol=0.1)
    assert_allclose(found.by_mixture, shares, atol=0.1)
    # Ten resamples know a standard error to a quarter.
    assert (np.abs(found.shares - shares) < 4.0 * found.std).all()
    assert ((found.std > 0.01) & (found.std < 0.1)).all()


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.2, 0.8), (0.2, 0.3, 0.5)])
def test_no_change_among_equal_shares(shares):
    for seed in range(4):
        X, codes = gaussian_classes(shares, seed=2 * seed)
        Y, _ = gaussian_classes(shares, seed=2 * seed + 1)
        assert not estimate_shares(X, equal(X), codes, 1.5 * Y + 3.0).is_reliable


def test_weights_are_the_shares_of_the_source():
    X, codes = gaussian_classes((0.5, 0.5), seed=0)
    weights = np.where(codes == 0, 0.2, 0.8) / (0.5 * len(X))
    Y, _ = gaussian_classes((0.2, 0.8), seed=1)
    found = estimate_shares(X, weights, codes, Y)
    assert_allclose(found.source, [0.2, 0.8])
    assert not found.is_change
    assert estimate_shares(X, equal(X), codes, Y).is_reliable


def test_more_rows_than_are_used_and_a_seed():
    X, codes = gaussian_classes((0.5, 0.5), n=2000, seed=0)
    Y, _ = gaussian_classes((0.2, 0.8), n=1000, seed=1)
    state = np.random.get_state()[1].copy()
    first, again = (estimate_shares(X, equal(X), codes, Y, n_resamples=2) for _ in range(2))
    assert_array_equal(np.random.get_state()[1], state)
    assert first.n_rows == 300
    assert_array_equal(first.shares, again.shares)
    assert_array_equal(first.std, again.std)
    assert_allclose(first.shares, [0.2, 0.8], atol=0.1)


def test_classes_in_line_span_one_dimension():
    X, codes = gaussian_classes((0.3, 0.3, 0.4), seed=0)
    X[:] = 0.2 * X
    X[:, 0] += 10.0 * codes
    X[:, 1:] -= np.stack([X[codes == k].mean(0) for k in range(3)])[codes][:, 1:]
    sample = _project(X, equal(X), codes, X + 1.0, np.random.default_rng(0))
    assert sample.x.shape[1] == sample.y.shape[1] == 1
    assert not estimate_shares(X, equal(X), codes, X + 1.0).is_change


def test_resampling_keeps_the_mass_of_classes():
    X, codes, Y = three_classes()
    weights = np.random.default_rng(0).random(len(X))
    sample = _project(X, weights / weights.sum(), codes, Y, np.random.default_rng(0))
    drawn = sample.resample(np.random.default_rng(1))
    assert_allclose(drawn.shares, sample.shares)
    assert len(np.unique(drawn.x[:, 0])) < len(np.unique(sample.x[:, 0]))


def test_mixture_of_clusters_far_apart_counts_them():
    y = np.random.default_rng(0).normal(size=(100, 1))
    y[:30] += 100.0
    start = _Mixture(np.array([0.5, 0.5]), np.array([[-20.0], [110.0]]), np.array([[100.0]]))
    found = _fit_mixture(y, start)
    assert_allclose(found.shares, [0.7, 0.3])
    assert_allclose(found.means, [[y[30:].mean()], [y[:30].mean()]])
    within = y - np.where(np.arange(100)[:, None] < 30, found.means[1], found.means[0])
    assert_allclose(found.covariance, [[np.mean(within**2)]], rtol=1e-6)


@pytest.mark.parametrize(
    ("by_shape", "by_mixture", "gain", "n_rows", "reliable", "alarming"),
    [
        ((0.2, 0.8), (0.25, 0.75), 0.9, 300, True, True),
        ((0.35, 0.65), (0.35, 0.65), 0.9, 300, True, False),  # clear, but no alarm
        ((0.2, 0.8), (0.4, 0.6), 0.9, 300, False, False),  # they disagree
        ((0.2, 0.8), (0.25, 0.75), 0.3, 300, False, False),  # it explains little
        ((0.45, 0.55), (0.45, 0.55), 0.9, 300, False, False),  # a small change
        ((0.35, 0.65), (0.35, 0.65), 0.9, 50, False, False),  # of few rows
        ((0.5, 0.5), (0.5, 0.5), 0.9, 300, False, False),
    ],
)
def test_when_an_estimate_is_believed(by_shape, by_mixture, gain, n_rows, reliable, alarming):
    shares = (np.array([0.5, 0.5]), np.array(by_shape), np.array(by_mixture))
    found = ShareEstimate(*shares, gain, n_rows, np.zeros(2))
    assert (found.is_reliable, found.is_alarming) == (reliable, alarming)
