import copy
import pickle
from functools import partial

import numpy as np
import ot
import pandas as pd
import pytest
import scipy.sparse
import torch
from _problems import numpy_samples
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skot import GaussianTransport, SinkhornTransport
from skot.metrics import _divergence_to
from skot.utils import stack_domains
from skot.utils._sklearn import InvalidParameterError

X, Y = numpy_samples(60, 45, 3, shift=2.0)
MIXING = np.array([[2.0, 0.5, 0.0], [0.0, 1.0, -0.7], [0.3, 0.0, 0.5]])


def test_an_affine_map_is_found():
    transport = GaussianTransport().fit(X, 2.0 * X + 1.0)
    assert_allclose(transport.transform(X), 2.0 * X + 1.0, rtol=1e-9)
    assert_allclose(transport.inverse_transform(X), (X - 1.0) / 2.0, rtol=1e-9)
    assert_allclose(transport.linear_, 2.0 * np.eye(3), atol=1e-9)


def test_moments_are_matched_by_a_symmetric_positive_map():
    target = X @ MIXING + [5.0, 0.0, -1.0]
    transport = GaussianTransport().fit(X, target)
    moved = transport.transform(X)
    assert_allclose(moved.mean(axis=0), target.mean(axis=0), rtol=1e-9)
    assert_allclose(np.cov(moved.T), np.cov(target.T), rtol=1e-7)
    assert_allclose(transport.linear_, transport.linear_.T)
    assert np.linalg.eigvalsh(transport.linear_).min() > 0
    assert_allclose(transport.inverse_linear_, np.linalg.inv(transport.linear_), rtol=1e-6)
    assert_allclose(transport.inverse_transform(moved), X, rtol=1e-6, atol=1e-8)
    # It is optimal between the two, so it costs less than the map that mixes.
    assert np.square(moved - X).mean() < np.square(target - X).mean()


def test_agrees_with_pot():
    transport = GaussianTransport().fit(X, Y)
    linear, offset = ot.gaussian.empirical_bures_wasserstein_mapping(X, Y, reg=1e-12)
    assert_allclose(transport.transform(X), X @ linear + offset, rtol=1e-6, atol=1e-6)
    distance = ot.gaussian.empirical_bures_wasserstein_distance(X, Y, reg=1e-12)
    assert transport.wasserstein_distance_ == pytest.approx(float(distance), rel=1e-6)


def test_the_distance_is_that_of_the_moments():
    shift = np.array([3.0, 4.0, 0.0])
    assert GaussianTransport().fit(X, X + shift).wasserstein_distance_ == pytest.approx(5.0)
    assert GaussianTransport().fit(X, X).wasserstein_distance_ == pytest.approx(0.0, abs=1e-6)
    spread = np.sqrt(X.var(axis=0).sum())
    centred = X - X.mean(axis=0)
    scaled = GaussianTransport().fit(centred, 3.0 * centred)
    assert scaled.wasserstein_distance_ == pytest.approx(2.0 * spread)


def test_weights_are_repeated_rows():
    repeats = np.random.RandomState(0).randint(0, 4, size=60)
    weighted = GaussianTransport().fit(X, Y, sample_weight=repeats)
    repeated = GaussianTransport().fit(np.repeat(X, repeats, axis=0), Y)
    assert_allclose(weighted.transform(X), repeated.transform(X), rtol=1e-9)
    stacked, _, domain = stack_domains(X, Y)
    weights = np.where(domain > 0, 2.0, 7.0)
    both = GaussianTransport().fit(stacked, sample_weight=weights, sample_domain=domain)
    assert_allclose(both.transform(X), GaussianTransport().fit(X, Y).transform(X), rtol=1e-9)


def test_shrinkage():
    full = GaussianTransport(shrinkage=1.0).fit(X, Y)
    ratio = np.sqrt(Y.var(axis=0).sum() / X.var(axis=0).sum())
    assert_allclose(full.linear_, ratio * np.eye(3), atol=1e-9)
    few = numpy_samples(5, 6, 10)
    transport = GaussianTransport(shrinkage=0.1).fit(*few)
    assert_allclose(transport.inverse_transform(transport.transform(few[0])), few[0], rtol=1e-6)


@pytest.mark.parametrize("flat", ["source", "target", "both", "one row repeated"])
def test_degenerate_samples(flat):
    source, target = X.copy(), Y.copy()
    if flat in ("source", "both"):
        source[:, 1] = 0.1
    if flat in ("target", "both"):
        target[:, 1] = 0.7
    if flat == "one row repeated":
        source[:], target[:] = 0.1, 0.7
    transport = GaussianTransport().fit(source, target)
    moved = transport.transform(source)
    assert np.isfinite(moved).all()
    assert np.isfinite(transport.inverse_transform(target)).all()
    assert np.isfinite([transport.wasserstein_distance_, transport.score(source)]).all()
    assert_allclose(moved.mean(axis=0), target.mean(axis=0), rtol=1e-9)
    if flat == "both":
        assert_allclose(moved[:, 1], 0.7)


@pytest.mark.parametrize("scale", [1e-100, 1e-30, 1e30, 1e100, 1e150])
def test_any_scale(scale):
    base = GaussianTransport().fit(X, Y)
    transport = GaussianTransport().fit(scale * X, scale * Y)
    assert_allclose(transport.transform(scale * X), scale * base.transform(X), rtol=1e-7)
    assert transport.wasserstein_distance_ == pytest.approx(
        scale * base.wasserstein_distance_, rel=1e-7
    )
    assert np.isfinite(transport.score(scale * X))


def test_far_rows_and_large_offsets():
    transport = GaussianTransport().fit(X, Y)
    assert np.isfinite(transport.transform(np.full((1, 3), 1e200))).all()
    far = GaussianTransport().fit(X + 1e8, Y - 1e8)
    assert_allclose(far.transform(X + 1e8) + 1e8, transport.transform(X), atol=1e-5)


def test_attributes_and_copies():
    transport = GaussianTransport().fit(X, Y)
    assert_allclose(transport.source_mean_, X.mean(axis=0))
    assert_allclose(transport.target_mean_, Y.mean(axis=0))
    assert transport.n_features_in_ == 3
    for twin in (pickle.loads(pickle.dumps(transport)), copy.deepcopy(transport)):
        assert_array_equal(twin.transform(X), transport.transform(X))
        assert twin.score(X) == transport.score(X)
    with pytest.raises(NotFittedError):
        GaussianTransport().transform(X)


@pytest.mark.parametrize(
    "reference, mean, variance", [("normal", 0.0, 1.0), ("uniform", 0.5, 1 / 12)]
)
def test_references(reference, mean, variance):
    moved = GaussianTransport(reference=reference, random_state=0).fit_transform(5.0 * X + 2.0)
    assert_allclose(moved.mean(axis=0), mean, atol=0.01)
    assert_allclose(moved.var(axis=0), variance, rtol=0.02)


def test_kinds_and_dtypes():
    expected = GaussianTransport().fit(X, Y).transform(X)
    single = GaussianTransport().fit(X.astype("f4"), Y.astype("f4")).transform(X.astype("f4"))
    assert single.dtype == np.float32
    assert_allclose(single, expected, rtol=1e-4, atol=1e-5)
    tensor = GaussianTransport().fit(torch.from_numpy(X), torch.from_numpy(Y))
    assert_allclose(tensor.transform(torch.from_numpy(X)), expected, rtol=1e-12)
    frame = pd.DataFrame(X, columns=["u", "v", "w"])
    moved = GaussianTransport().set_output(transform="pandas").fit(frame, Y).transform(frame)
    assert list(moved.columns) == ["u", "v", "w"]


def test_in_a_search():
    rows, target = numpy_samples(120, 120, 6)
    grid = {"gaussiantransport__shrinkage": [0.0, 1.0]}
    pipeline = make_pipeline(StandardScaler(with_std=False), GaussianTransport())
    search = GridSearchCV(pipeline, grid, cv=2).fit(rows, target)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_sinkhorn_matches_more_than_two_moments():
    # A sample with two clusters: the Gaussian map cannot make them.
    target = np.r_[X[:30] * 0.2 - 3.0, X[30:] * 0.2 + 3.0]
    gaussian, sinkhorn = GaussianTransport().fit(X, target), SinkhornTransport(0.01).fit(X, target)
    assert gaussian.score(X) < sinkhorn.score(X)
    stacked, _, domain = stack_domains(X, target)
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        GaussianTransport().fit(stacked, sample_domain=domain).score(stacked)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((X, Y[:, :1]), "y has 1 features, but GaussianTransport is expecting 3"),
        ((X * np.nan, Y), "Input X contains NaN"),
        ((X + 1j, Y), "Complex data not supported"),
        ((X[:1], Y), "minimum of 2"),
        ((X[:0], Y), "0 sample"),
        ((X, Y, -np.ones(60)), "Negative values"),
        ((X, Y, np.zeros(60)), "at least one non-zero"),
    ],
)
def test_bad_samples(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianTransport().fit(*arguments)


@pytest.mark.parametrize(
    "name, value",
    [
        ("shrinkage", -0.1),
        ("shrinkage", 1.1),
        ("shrinkage", None),
        ("reference", "cauchy"),
        ("device", 3),
    ],
)
def test_bad_parameters(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        GaussianTransport(**{name: value}).fit(X, Y)


def test_bad_new_rows_and_sparse_samples():
    transport = GaussianTransport().fit(X, Y)
    with pytest.raises(ValueError, match="X has 1 features, but GaussianTransport is expecting 3"):
        transport.transform(X[:, :1])
    with pytest.raises(TypeError, match="Sparse data was passed"):
        GaussianTransport().fit(scipy.sparse.csr_array(X), Y)


def test_a_score_that_was_not_solved_is_one_warning_at_the_line_of_the_user(monkeypatch):
    X, Y = np.random.RandomState(0).standard_normal((2, 60, 2))
    transport = GaussianTransport().fit(X, Y)
    hasty = partial(_divergence_to.split_sinkhorn_divergence, max_iter=1)
    monkeypatch.setattr(_divergence_to, "split_sinkhorn_divergence", hasty)
    with pytest.warns(ConvergenceWarning, match="score of GaussianTransport") as caught:
        transport.score(X)
    assert [warning.filename for warning in caught] == [__file__]
