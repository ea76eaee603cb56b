"""Properties of the transports on everything that upsets a solver."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from skot import GaussianTransport, LagrangianOT, SinkhornTransport, W2GNTransport
from skot.costs import PNorm
from skot.networks import MLPMap, MLPPotential, SplinePath

FEW = settings(max_examples=20)


@st.composite
def samples(draw, scales=(1e-30, 1.0, 1e30), offsets=(0.0, 1e6, -1e30)):
    rng = np.random.RandomState(draw(st.integers(0, 2**31 - 1)))
    n, m, d = draw(st.integers(2, 9)), draw(st.integers(2, 9)), draw(st.integers(1, 3))
    X, Y = rng.standard_normal((n, d)), rng.standard_normal((m, d))
    if draw(st.booleans()):  # duplicates
        X, Y = X[rng.randint(n, size=n)], Y[rng.randint(m, size=m)]
    if draw(st.booleans()):  # a constant column
        X[:, 0], Y[:, 0] = 0.1, draw(st.sampled_from([0.1, -2.0]))
    X = draw(st.sampled_from(scales)) * X + draw(st.sampled_from(offsets))
    Y = draw(st.sampled_from(scales)) * Y + draw(st.sampled_from(offsets))
    return X, Y


def assert_no_nan(transport, X, Y):
    far = np.concatenate([X, Y, 1e3 * X, np.full_like(X[:1], 1e200)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport.fit(X, Y)
        for array in (transport.transform(far), transport.inverse_transform(far)):
            assert np.isfinite(array).all()
        assert np.isfinite([transport.score(X), transport.score(X, Y)]).all()


@pytest.mark.filterwarnings("ignore:The cost 'sphere' takes rows:UserWarning")
@FEW
@given(
    samples(),
    st.sampled_from([1e-4, 1e-2, 0.1, 10.0]),
    st.sampled_from(["sqeuclidean", PNorm(p=1.5, power=1.7), "sphere"]),
)
def test_sinkhorn_has_no_nan(pair, epsilon, cost):
    X, Y = pair
    transport = SinkhornTransport(epsilon, cost=cost, max_iter=200)
    assert_no_nan(transport, X, Y)
    assert np.isfinite(transport.coupling_).all()
    numbers = [transport.cost_value_, transport.dual_value_, transport.epsilon_]
    assert np.isfinite([*numbers, *transport.loss_curve_]).all()


@pytest.mark.filterwarnings("ignore:GaussianTransport estimates:UserWarning")
@FEW
@given(samples())
def test_gaussian_has_no_nan(pair):
    transport = GaussianTransport()
    assert_no_nan(transport, *pair)
    assert np.isfinite(transport.wasserstein_distance_)


@FEW
@given(samples(), st.sampled_from(["gaussian", "identity"]))
def test_w2gn_has_no_nan(pair, preconditioning):
    transport = W2GNTransport(
        MLPPotential((8, 8)),
        amortizer=MLPMap((8, 8)),
        preconditioning=preconditioning,
        max_iter=3,
        random_state=0,
    )
    assert_no_nan(transport, *pair)
    assert np.isfinite([transport.wasserstein_distance_, *transport.loss_curve_]).all()


def bumpy(x, v, t):
    """A Lagrangian that is defined everywhere and has no straight geodesics."""
    return (0.5 + 0.4 * torch.tanh(x).mean(-1)) * v.square().sum(-1)


@settings(max_examples=10)
@given(samples(), st.sampled_from([None, bumpy]))
def test_lagrangian_ot_has_no_nan(pair, lagrangian):
    transport = LagrangianOT(
        lagrangian,
        potential=MLPPotential((8, 8)),
        amortizer=MLPMap((8, 8)),
        path=SplinePath(3, hidden_layer_sizes=(8,)),
        max_iter=3,
        random_state=0,
    )
    assert_no_nan(transport, *pair)
    assert np.isfinite([transport.cost_value_, transport.dual_value_]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert np.isfinite(transport.transport_paths(pair[0], 4)).all()


@FEW
@given(samples(scales=(1.0,), offsets=(0.0,)), st.floats(-100, 100), st.floats(-100, 100))
def test_translations_are_followed(pair, s, t):
    X, Y = pair
    options = {"tol": 1e-10, "max_iter": 20_000, "epsilon": 0.1}
    # A few rows may have no plan to the others that 100 passes find: rounding shows in the path.
    for residual, atol in ((0.0, 1e-5), ("auto", 0.02)):
        base = SinkhornTransport(residual=residual, **options).fit(X, Y)
        moved = SinkhornTransport(residual=residual, **options).fit(X + s, Y + t)
        assert_allclose(moved.transform(X + s), base.transform(X) + t, atol=atol)


@FEW
@given(samples(scales=(1.0,), offsets=(0.0,)), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(pair, random):
    X, Y = pair
    order = list(range(len(Y)))
    random.shuffle(order)
    options = {"tol": 1e-10, "max_iter": 20_000, "epsilon": 0.1}
    base = SinkhornTransport(**options).fit(X, Y)
    shuffled = SinkhornTransport(**options).fit(X[::-1], Y[order])
    assert_allclose(shuffled.transform(X), base.transform(X), atol=1e-6)
    assert_allclose(shuffled.coupling_, base.coupling_[::-1][:, order], atol=1e-7)


@pytest.mark.filterwarnings("ignore:GaussianTransport estimates:UserWarning")
@FEW
@given(samples(scales=(0.5, 1.0), offsets=(0.0, 3.0)), st.sampled_from([0.02, 0.1, 1.0]))
def test_maps_are_monotone(pair, epsilon):
    X, Y = pair
    rows = np.concatenate([X, Y, 2.0 * X + 0.1])
    plain = SinkhornTransport(epsilon, residual=0, tol=1e-8, max_iter=20_000)
    for transport in (plain, GaussianTransport()):
        moved = transport.fit(X, Y).transform(rows)
        products = (rows[:, None] - rows) * (moved[:, None] - moved)
        assert products.sum(-1).min() >= -1e-9
