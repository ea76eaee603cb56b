"""The transport that the documentation shows."""

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from skot import DomainAdaptation, GaussianTransport
from skot.transport import BaseTransport
from skot.utils import stack_domains
from skot.utils.estimator_checks import check_transport

FILE = Path(__file__).parents[2] / "docs" / "extending" / "distribution_transfer.py"


@pytest.fixture(scope="module")
def transport_class():
    name = "distribution_transfer"
    spec = importlib.util.spec_from_file_location(name, FILE)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    yield sys.modules[name].DistributionTransfer
    del sys.modules[name]


def ring(n_rows, seed):
    """Rows around a hole, which no linear map makes."""
    rng = np.random.default_rng(seed)
    angle, radius = 2.0 * np.pi * rng.random(n_rows), 2.0 + 0.2 * rng.normal(size=n_rows)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


# --- what it computes ------------------------------------------------------------------


def test_shifts(transport_class):
    """Quantiles move along, in any axes, and beyond the last ones too."""
    X = np.random.default_rng(0).normal(size=(50, 3))
    transport = transport_class(random_state=0).fit(X, X + [1.0, -2.0, 5.0])
    assert_allclose(transport.transform(10.0 * X), 10.0 * X + [1.0, -2.0, 5.0], atol=1e-10)


def test_one_feature(transport_class):
    """The increasing map, which is optimal: quantiles to quantiles."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(101, 1)), rng.exponential(size=(201, 1))
    transport = transport_class(1, n_quantiles=11, random_state=0).fit(X, Y)
    levels = np.linspace(0.0, 1.0, 11)
    before, after = (np.quantile(rows, levels)[:, None] for rows in (X, Y))
    assert_allclose(transport.transform(before), after, atol=1e-12)
    halfway = (before[1:] + before[:-1]) / 2
    assert_allclose(transport.transform(halfway), (after[1:] + after[:-1]) / 2, atol=1e-12)
    beyond = np.array([[-10.0], [10.0]])
    assert_allclose(transport.transform(beyond) - beyond, (after - before)[[0, -1]], atol=1e-12)


def test_there_and_back(transport_class):
    X = np.random.default_rng(0).normal(size=(300, 2))
    transport = transport_class(random_state=0).fit(X, ring(200, 1))
    far = np.concatenate([X, 5.0 * X])
    assert_allclose(transport.inverse_transform(transport.transform(far)), far, atol=1e-9)
    assert np.abs(transport.transform(X) - X).mean() > 0.1


def test_rounds_bring_it_nearer(transport_class):
    """More than two moments do, on rows that were not seen."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2000, 2)), ring(2000, 1)
    new = rng.normal(size=(1000, 2)), ring(1000, 2)
    scores = [
        transport_class(n_rounds, random_state=0).fit(X, Y).score(*new) for n_rounds in (1, 3, 20)
    ]
    assert scores[0] < scores[1] < scores[2] < 0.0
    assert scores[2] > 0.1 * GaussianTransport().fit(X, Y).score(*new)


def test_without_a_target_it_goes_to_the_normal_distribution(transport_class):
    X = ring(1000, 0)
    moved = transport_class(random_state=0).fit(X).transform(X)
    assert_allclose(moved.mean(axis=0), 0.0, atol=0.05)
    assert_allclose(np.cov(moved.T), np.eye(2), atol=0.1)


# --- a transport like any other --------------------------------------------------------


@pytest.mark.parametrize("enable", [False, True])
def test_checks_of_scikit_learn(transport_class, enable):
    with sklearn.config_context(enable_metadata_routing=enable):
        results = check_estimator(transport_class(), on_skip=None)
    assert len(results) > 40
    assert {result["status"] for result in results} == {"passed"}


def test_checks_of_transports(transport_class):
    results = check_transport(transport_class())
    skipped = {name for name, result in results.items() if result != "passed"}
    assert skipped == {"check_dual_below_primal", "check_reference"}
    assert issubclass(transport_class, BaseTransport)


@pytest.mark.parametrize(
    "params, message",
    [({"n_rounds": 0}, "n_rounds == 0"), ({"n_quantiles": 1}, "n_quantiles == 1")],
)
def test_bad_parameters(transport_class, params, message):
    with pytest.raises(ValueError, match=message):
        transport_class(**params).fit(ring(30, 0), ring(30, 1))


def test_copies_and_searches(transport_class):
    X, Y = np.random.default_rng(0).normal(size=(300, 2)), ring(300, 1)
    search = GridSearchCV(transport_class(random_state=0), {"n_rounds": [1, 10]}, cv=3).fit(X, Y)
    assert search.best_params_ == {"n_rounds": 10}
    fitted = search.best_estimator_
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X), fitted.transform(X))
    assert clone(fitted).get_params() == fitted.get_params()


@pytest.mark.parametrize("direction", ["source_to_target", "target_to_source"])
def test_adaptation(transport_class, direction):
    X_source = np.random.default_rng(0).normal(size=(200, 2))
    y_source = (X_source[:, 0] > 0.0).astype(int)
    X_target = X_source[::-1] * [1.0, 2.0] + 4.0
    X, y, sample_domain = stack_domains(X_source, X_target, y_source)
    adaptation = DomainAdaptation(
        LogisticRegression(), transport_class(random_state=0), direction=direction
    ).fit(X, y, sample_domain=sample_domain)
    assert adaptation.score(X_target, y_source[::-1]) > 0.9
    frozen = clone(adaptation).set_params(transport=FrozenEstimator(adaptation.transport_))
    frozen.fit(X, y, sample_domain=sample_domain)
    assert_array_equal(frozen.predict_proba(X), adaptation.predict_proba(X))


def test_is_short():
    code = [line for line in FILE.read_text().splitlines() if line.strip()]
    assert len(code) <= 62
