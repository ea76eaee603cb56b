"""`DomainAdaptation` with transports that are fitted already, or have no `fit_transform`."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.callback import ProgressBar
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skot import DomainAdaptation, GaussianTransport, SinkhornTransport, W2GNTransport
from skot.metrics import (
    CircularValidationScorer,
    SupervisedTargetScorer,
    TransportDivergenceScorer,
)
from skot.model_selection import DomainKFold
from skot.networks import MLPMap, MLPPotential
from skot.utils import stack_domains

DIRECTIONS = ["source_to_target", "target_to_source"]


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture
def samples():
    """Source rows, their labels, target rows and theirs."""
    rng = np.random.default_rng(0)
    code = np.arange(40) % 2
    X_source = rng.normal(scale=0.5, size=(40, 2)) + 4.0 * code[:, None]
    X_target = rng.normal(scale=0.5, size=(40, 2)) + 4.0 * code[:, None] + 3.0
    return X_source, code, X_target, code


def small_w2gn():
    networks = {"potential": MLPPotential((16,)), "amortizer": MLPMap((16,))}
    return W2GNTransport(**networks, max_iter=10, random_state=0)


def fitted(transport, samples, direction):
    X_source, _, X_target, _ = samples
    pair = (X_source, X_target) if direction == "source_to_target" else (X_target, X_source)
    return transport.fit(*pair)


def step_by_step(transport, samples, direction):
    """Predictions for the target, without `DomainAdaptation`."""
    X_source, y_source, X_target, _ = samples
    stay = getattr(transport, "smooth_target", np.asarray)
    if direction == "source_to_target":
        X_source, X_target = transport.transform(X_source), stay(X_target)
    else:
        X_source, X_target = stay(X_source), transport.transform(X_target)
    return LogisticRegression().fit(X_source, y_source).predict_proba(X_target)


def stacked(samples):
    X_source, y_source, X_target, _ = samples
    return stack_domains(X_source, X_target, y_source)


# --- frozen transports -----------------------------------------------------------------


@pytest.mark.parametrize("enable", [False, True])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "transport",
    [SinkhornTransport(), GaussianTransport(), small_w2gn()],
    ids=lambda transport: type(transport).__name__,
)
def test_equals_the_steps_one_by_one(transport, direction, enable, samples):
    transport = fitted(clone(transport), samples, direction)
    before, moved = dict(vars(transport)), transport.transform(samples[0])
    X, y, sample_domain = stacked(samples)
    frozen = FrozenEstimator(transport)
    adaptation = DomainAdaptation(LogisticRegression(), frozen, direction=direction)
    with sklearn.config_context(enable_metadata_routing=enable):
        adaptation.fit(X, y, sample_domain=sample_domain)
        found = adaptation.predict_proba(samples[2])
        score = adaptation.score(samples[2], samples[3])
    assert_array_equal(found, step_by_step(transport, samples, direction))
    assert score == np.mean(found.argmax(axis=1) == samples[3])
    assert adaptation.transport_ is frozen
    assert vars(transport).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(transport).items())
    assert_array_equal(transport.transform(samples[0]), moved)


def test_other_rows_than_those_of_the_fit(samples):
    """What moves is moved by the map of then, not by one between the rows of now."""
    X_source, _, X_target, _ = samples
    transport = GaussianTransport().fit(X_source[:20], X_target[20:])
    X, y, sample_domain = stacked(samples)
    adaptation = DomainAdaptation(LogisticRegression(), FrozenEstimator(transport))
    adaptation.fit(X, y, sample_domain=sample_domain)
    expected = step_by_step(transport, samples, "source_to_target")
    assert_array_equal(adaptation.predict_proba(X_target), expected)
    refitted = DomainAdaptation(LogisticRegression(), clone(transport))
    refitted.fit(X, y, sample_domain=sample_domain)
    assert np.abs(refitted.predict_proba(X_target) - expected).max() > 1e-6


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_one_that_was_never_fitted(direction, samples):
    X, y, sample_domain = stacked(samples)
    frozen = FrozenEstimator(SinkhornTransport())
    adaptation = DomainAdaptation(LogisticRegression(), frozen, direction=direction)
    message = "transport of DomainAdaptation is frozen, but its SinkhornTransport is not fitted"
    for rows in (X, X * np.nan):  # nothing is looked at before
        with pytest.raises(NotFittedError, match=message):
            adaptation.fit(rows, y, sample_domain=sample_domain)
    with pytest.raises(NotFittedError):
        adaptation.predict(X)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_class_regularisation_needs_no_labels_any_more(direction, samples):
    X_source, y_source, X_target, y_target = samples
    known, there, to = X_source, X_target, y_source
    if direction == "target_to_source":
        known, there, to = X_target, X_source, y_target
    rows, labels, sides = stack_domains(known, there, to)
    transport = SinkhornTransport(class_reg=1.0).fit(rows, labels, sample_domain=sides)
    X, y, sample_domain = stacked(samples)
    adaptation = DomainAdaptation(
        LogisticRegression(), FrozenEstimator(transport), direction=direction
    )
    adaptation.fit(X, y, sample_domain=sample_domain)
    # As for new rows, whose labels are not looked at.
    expected = step_by_step(transport, samples, direction)
    assert_array_equal(adaptation.predict_proba(X_target), expected)
    if direction == "target_to_source":
        with pytest.raises(ValueError, match="requires y"):
            adaptation.set_params(transport=clone(transport)).fit(X, y, sample_domain=sample_domain)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_known_labels_of_the_target_still_train(direction, samples):
    X_source, y_source, X_target, y_target = samples
    transport = fitted(GaussianTransport(), samples, direction)
    X, y, sample_domain = stack_domains(X_source, X_target, y_source, y_target)
    adaptation = DomainAdaptation(
        LogisticRegression(), FrozenEstimator(transport), direction=direction
    )
    adaptation.set_params(use_target_labels=True).fit(X, y, sample_domain=sample_domain)
    moves = sample_domain >= 0 if direction == "source_to_target" else sample_domain < 0
    moved = transport.transform(X, sample_domain=np.where(moves, 1, -1))
    expected = LogisticRegression().fit(moved, y)
    assert_array_equal(adaptation.estimator_.coef_, expected.coef_)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", [pd.DataFrame, torch.from_numpy, np.float32])
def test_containers(kind, direction, samples):
    """Frames keep their names on the way to a transport that knows them."""

    def wrap(rows):
        return pd.DataFrame(rows, columns=["a", "b"]) if kind is pd.DataFrame else kind(rows)

    X_source, y_source, X_target, y_target = samples
    wrapped = wrap(X_source), y_source, wrap(X_target), y_target
    transport = fitted(GaussianTransport(), wrapped, direction)
    X, y, sample_domain = stacked(samples)
    adaptation = DomainAdaptation(
        LogisticRegression(), FrozenEstimator(transport), direction=direction
    )
    adaptation.fit(wrap(X), y, sample_domain=sample_domain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a transport that knows names gets none here
        expected = step_by_step(transport, samples, direction)
    np.testing.assert_allclose(adaptation.predict_proba(wrapped[2]), expected, rtol=1e-4)
    assert adaptation.score(wrapped[2], np.where(np.arange(40) < 5, -1, y_target)) == 1.0


def test_in_copies(samples):
    X, y, sample_domain = stacked(samples)
    frozen = FrozenEstimator(fitted(GaussianTransport(), samples, "source_to_target"))
    adaptation = DomainAdaptation(LogisticRegression(), frozen)
    twin = clone(adaptation)
    assert twin.transport is frozen
    expected = adaptation.fit(X, y, sample_domain=sample_domain).predict_proba(X)
    assert_array_equal(twin.fit(X, y, sample_domain=sample_domain).predict_proba(X), expected)
    assert_array_equal(pickle.loads(pickle.dumps(adaptation)).predict_proba(X), expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_in_a_search(direction, samples, routing):
    X_source, y_source, X_target, y_target = samples
    X, y, sample_domain = stack_domains(X_source, X_target, y_source, y_target)
    good = FrozenEstimator(fitted(GaussianTransport(), samples, direction))
    away = samples[0] - 50.0, y_source, samples[2] + 50.0, y_target
    bad = FrozenEstimator(fitted(GaussianTransport(), away, direction))
    before = [pickle.dumps(one) for one in (good, bad)]
    search = GridSearchCV(
        DomainAdaptation(LogisticRegression(), good, direction=direction),
        {"transport": [bad, good], "estimator__C": [1e-6, 1.0]},
        scoring=SupervisedTargetScorer(),
        cv=DomainKFold(3),
        error_score="raise",
    ).fit(X, y, sample_domain=sample_domain)
    assert search.best_params_["transport"] is good
    assert search.best_score_ > 0.95
    assert search.best_estimator_.transport_ is good
    assert [pickle.dumps(one) for one in (good, bad)] == before


def test_inside_a_pipeline(samples):
    """A step in front gives the transport the rows that it was fitted to."""
    X, y, sample_domain = stacked(samples)
    scaler = StandardScaler().fit(X)
    scaled = tuple(
        scaler.transform(part) if part.ndim == 2 else part for part in map(np.asarray, samples)
    )
    transport = fitted(GaussianTransport(), scaled, "source_to_target")
    pipeline = make_pipeline(
        StandardScaler(), DomainAdaptation(LogisticRegression(), FrozenEstimator(transport))
    )
    pipeline.fit(X, y, domainadaptation__sample_domain=sample_domain)
    expected = step_by_step(transport, scaled, "source_to_target")
    assert_array_equal(pipeline.predict_proba(samples[2]), expected)


def test_as_a_step_of_a_pipeline(samples, routing):
    """It moves all rows; by what the fitted transport requests, source rows alone."""
    X_source, y_source, X_target, _ = samples
    transport = fitted(GaussianTransport(), samples, "source_to_target")
    pipeline = make_pipeline(FrozenEstimator(transport), LogisticRegression())
    pipeline.fit(X_source, y_source)
    expected = LogisticRegression().fit(transport.transform(X_source), y_source)
    assert_array_equal(pipeline[-1].coef_, expected.coef_)
    X, _, sample_domain = stacked(samples)
    transport.set_transform_request(sample_domain=True)
    pipeline = make_pipeline(FrozenEstimator(transport), StandardScaler())
    moved = pipeline.fit(X, sample_domain=sample_domain).transform(X, sample_domain=sample_domain)
    by_hand = transport.transform(X, sample_domain=sample_domain)
    assert_array_equal(moved, StandardScaler().fit_transform(by_hand))
    assert_array_equal(by_hand[sample_domain < 0], X_target)
    # An adaptation goes by its own sides, whatever the transport requests.
    adaptation = DomainAdaptation(LogisticRegression(), FrozenEstimator(transport))
    adaptation.fit(X, stacked(samples)[1], sample_domain=sample_domain)
    expected = step_by_step(transport, samples, "source_to_target")
    assert_array_equal(adaptation.predict_proba(X_target), expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_frozen_pipeline_brings_the_other_rows_along(direction, samples, routing):
    """Both sides go to where the pipeline leads, also to fewer features."""
    X, y, sample_domain = stacked(samples)
    moves = sample_domain >= 0 if direction == "source_to_target" else sample_domain < 0
    signs = np.where(moves, 1, -1)
    pipeline = make_pipeline(PCA(1), GaussianTransport()).fit(X, sample_domain=signs)
    adaptation = DomainAdaptation(
        LogisticRegression(), FrozenEstimator(pipeline), direction=direction
    )
    adaptation.fit(X, y, sample_domain=sample_domain)
    moved = pipeline.transform(X, sample_domain=signs)
    source = sample_domain >= 0
    expected = LogisticRegression().fit(moved[source], y[source])
    assert_array_equal(adaptation.estimator_.coef_, expected.coef_)


def test_callbacks_pass_it_by(samples):
    pytest.importorskip("rich")
    X, y, sample_domain = stacked(samples)
    transport = fitted(SinkhornTransport(), samples, "source_to_target")
    before = pickle.dumps(transport)

    class Watched(FrozenEstimator):
        def fit(self, X, y, *args, **kwargs):
            assert pickle.dumps(transport) == before
            return super().fit(X, y, *args, **kwargs)

    adaptation = DomainAdaptation(LogisticRegression(), Watched(transport))
    adaptation.set_callbacks(ProgressBar()).fit(X, y, sample_domain=sample_domain)
    assert pickle.dumps(transport) == before


def test_scorers(samples):
    X, y, sample_domain = stacked(samples)
    transport = fitted(GaussianTransport(), samples, "source_to_target")
    adaptation = DomainAdaptation(LogisticRegression(), FrozenEstimator(transport))
    adaptation.fit(X, y, sample_domain=sample_domain)
    found = TransportDivergenceScorer()(adaptation, X, sample_domain=sample_domain)
    assert found == transport.score(X, sample_domain=sample_domain)
    for model in (adaptation, make_pipeline(FunctionTransformer(), adaptation)):
        with pytest.raises(ValueError, match="adapts the way back, and a frozen transport"):
            CircularValidationScorer()(model, X, y, sample_domain=sample_domain)


# --- transports without fit_transform --------------------------------------------------


class Shift(BaseEstimator):
    """Moves means, and has no `fit_transform`; by default it moves all rows that it gets."""

    __metadata_request__fit = {"sample_domain": True}

    def fit(self, X, y=None, *, sample_domain):
        self.labels_ = y
        X, source = np.asarray(X), np.asarray(sample_domain) >= 0
        self.shift_ = X[~source].mean(axis=0) - X[source].mean(axis=0)
        return self

    def transform(self, X):
        return np.asarray(X) + self.shift_


class WatchfulShift(Shift):
    """Leaves rows of the target."""

    __metadata_request__transform = {"sample_domain": True}

    def transform(self, X, *, sample_domain=None):
        moves = np.ones(len(X), bool) if sample_domain is None else sample_domain >= 0
        return np.where(moves[:, None], super().transform(X), X)


class Narrow(Shift):
    def transform(self, X):
        return super().transform(X)[:, :1]


@pytest.mark.parametrize("enable", [False, True])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("transport", [Shift(), WatchfulShift()], ids=repr)
def test_fit_and_transform_are_enough(transport, direction, enable, samples):
    X_source, y_source, X_target, _ = samples
    X, y, sample_domain = stacked(samples)
    adaptation = DomainAdaptation(LogisticRegression(), transport, direction=direction)
    with sklearn.config_context(enable_metadata_routing=enable):
        adaptation.fit(X, y, sample_domain=sample_domain)
    shift = adaptation.transport_.shift_
    sign = 1.0 if direction == "source_to_target" else -1.0
    np.testing.assert_allclose(shift, sign * (X_target.mean(axis=0) - X_source.mean(axis=0)))
    expected = step_by_step(adaptation.transport_, samples, direction)
    assert_array_equal(adaptation.predict_proba(X_target), expected)
    assert not hasattr(transport, "shift_")
    labels = adaptation.transport_.labels_
    assert (labels is None) == (direction == "target_to_source")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_map_that_is_known_needs_no_fit(direction, samples):
    """A frozen function, which knows of no sides."""
    X, y, sample_domain = stacked(samples)
    sign = 1.0 if direction == "source_to_target" else -1.0
    transport = FunctionTransformer(lambda rows: rows + 3.0 * sign)
    adaptation = DomainAdaptation(
        LogisticRegression(), FrozenEstimator(transport), direction=direction
    )
    adaptation.fit(X, y, sample_domain=sample_domain)
    expected = step_by_step(transport, samples, direction)
    assert_array_equal(adaptation.predict_proba(samples[2]), expected)


def test_rows_that_stay_cannot_change_their_width(samples):
    X, y, sample_domain = stacked(samples)
    with pytest.raises(ValueError, match="gives 1 features for 2"):
        DomainAdaptation(LogisticRegression(), Narrow()).fit(X, y, sample_domain=sample_domain)


@pytest.mark.parametrize("enabled", [False, True])
def test_a_frozen_pipeline_that_knows_no_sides_moves_what_it_is_given(samples, enabled):
    X, y, sample_domain = stacked(samples)
    steps = make_pipeline(StandardScaler(), PCA()).fit(samples[0])
    with sklearn.config_context(enable_metadata_routing=enabled):
        adapted = DomainAdaptation(LogisticRegression(), FrozenEstimator(steps))
        found = adapted.fit(X, y, sample_domain=sample_domain).predict_proba(samples[2])
    expected = step_by_step(steps, samples, "source_to_target")
    np.testing.assert_allclose(found, expected)
