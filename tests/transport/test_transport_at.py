"""Where rows are on their way: displacement interpolation."""

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import torch
from _problems import numpy_samples
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError

from skot import GaussianTransport, NeuralOT, SinkhornTransport
from skot.costs import Cost, PNorm, SphereGeodesic
from skot.networks import MLPMap, MLPPotential
from skot.utils.validation import stack_domains

X, Y = numpy_samples(60, 45, 3, shift=2.0)


def unit_rows(n, seed):
    rows = np.random.RandomState(seed).standard_normal((n, 3))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def bures_barycenter(A, B, t):
    """Fixed point of Agueh and Carlier (2011), Equation 6.2, for two covariances."""
    S = A
    for _ in range(200):
        root = scipy.linalg.sqrtm(S).real
        S = sum(w * scipy.linalg.sqrtm(root @ C @ root).real for w, C in ((1 - t, A), (t, B)))
    return S


@pytest.mark.parametrize("t", [0.25, 0.5, 0.8])
def test_gaussians_pass_through_their_barycentres(t):
    MIXING = np.array([[2.0, 0.5, 0.0], [0.0, 1.0, -0.7], [0.3, 0.0, 0.5]])
    target = Y @ MIXING
    between = GaussianTransport().fit(X, target).transport_at(X, t)
    assert_allclose(between.mean(0), (1 - t) * X.mean(0) + t * target.mean(0), atol=1e-12)
    expected = bures_barycenter(np.cov(X.T, ddof=0), np.cov(target.T, ddof=0), t)
    assert_allclose(np.cov(between.T, ddof=0), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("cost", ["sqeuclidean", PNorm(p=3.0, power=1.5)])
def test_straight_lines_for_functions_of_the_difference(cost):
    transport = SinkhornTransport(cost=cost).fit(X, Y)
    moved = transport.transform(X)
    assert_allclose(transport.transport_at(X, 0.3), 0.7 * X + 0.3 * moved, rtol=1e-12)
    assert (transport.transport_at(X, 0) == X).all()
    assert (transport.transport_at(X, 1) == moved).all()


def test_great_circles_on_the_sphere():
    start, end = unit_rows(40, 0), unit_rows(30, 1)
    transport = SinkhornTransport(cost="sphere").fit(start, end)
    moved = transport.transform(start)
    angle = np.arccos((start * moved).sum(1))
    for t in (0.0, 0.3, 0.5, 1.0):
        between = transport.transport_at(start, t)
        assert_allclose(np.linalg.norm(between, axis=1), 1.0, rtol=1e-12)
        assert_allclose(np.arccos(np.clip((start * between).sum(1), -1, 1)), t * angle, atol=1e-6)
        assert_allclose(
            np.arccos(np.clip((moved * between).sum(1), -1, 1)), (1 - t) * angle, atol=1e-6
        )


def test_opposite_and_equal_directions():
    x = torch.eye(3, dtype=torch.float64)
    cost = SphereGeodesic()
    assert_allclose(cost.interpolate(x, x, 0.4), x, atol=1e-15)
    middle = cost.interpolate(x, -x, 0.5)
    assert_allclose((middle * x).sum(1), np.zeros(3), atol=1e-12)
    assert_allclose(cost.interpolate(x, -x, 1.0), -x, atol=1e-12)


class Drifting(Cost):
    """Squared distance of points of which the first sees the world twice as large."""

    def pairwise(self, x, y):
        return (2.0 * x[:, None] - y[None]).square().sum(-1)

    def twist(self, x, gradient):
        return 2.0 * x - 0.25 * gradient


def test_a_cost_whose_paths_are_not_known_is_named():
    transport = SinkhornTransport(cost=Drifting()).fit(X, Y)
    assert np.isfinite(transport.transform(X)).all()
    with pytest.raises(
        NotImplementedError, match=r"Drifting does not say .* interpolate\(x, y, t\)"
    ):
        transport.transport_at(X, 0.5)


def test_a_strong_cost_of_a_network_gives_its_paths():
    networks = {"transport_map": MLPMap((8,)), "potential": MLPPotential((8,))}
    start, end = unit_rows(40, 0), unit_rows(30, 1)
    transport = NeuralOT(SphereGeodesic(), **networks, max_iter=2, random_state=0).fit(start, end)
    between = transport.transport_at(start, 0.5)
    assert_allclose(np.linalg.norm(between, axis=1), 1.0, rtol=1e-6)


def test_frames_and_stacked_fits():
    rows, _, sample_domain = stack_domains(X, Y)
    fitted = SinkhornTransport().fit(rows, sample_domain=sample_domain)
    between = fitted.transport_at(X, 0.5)
    assert_allclose(between, SinkhornTransport().fit(X, Y).transport_at(X, 0.5), rtol=1e-6)
    frame = pd.DataFrame(X, columns=["u", "v", "w"])
    fitted = SinkhornTransport().fit(frame, pd.DataFrame(Y, columns=frame.columns))
    assert_allclose(fitted.transport_at(frame, 0.5), between, rtol=1e-6)
    with pytest.raises(ValueError, match="feature names"):
        fitted.transport_at(frame[["w", "v", "u"]], 0.5)


@pytest.mark.parametrize("t", [-1e-9, 1.5, np.nan, [0.5], np.array([0.0, 1.0]), "half", None, True])
def test_times_that_are_none(t):
    transport = GaussianTransport().fit(X, Y)
    with pytest.raises(ValueError, match="t must be one number between 0 and 1. Got"):
        transport.transport_at(X, t)


@pytest.mark.parametrize("t", [np.float32(0.5), np.array(0.5), torch.tensor(0.5)])
def test_numbers_of_any_kind(t):
    transport = GaussianTransport().fit(X, Y)
    assert_allclose(transport.transport_at(X, t), transport.transport_at(X, 0.5))


def test_not_fitted():
    with pytest.raises(NotFittedError):
        GaussianTransport().transport_at(X, 0.5)
