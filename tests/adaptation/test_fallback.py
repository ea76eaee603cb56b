"""What happens where adapting makes things worse, and what no adaptation is."""

import pickle
import warnings

import numpy as np
import pytest
from _dummies import MeanShift
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import check_estimator

from skot import DomainAdaptation, GaussianTransport, SinkhornTransport
from skot.metrics import TransportDivergenceScorer, adaptation_gain
from skot.utils import stack_domains

DIRECTIONS = ["source_to_target", "target_to_source"]
HELPS, HARMS = MeanShift(), MeanShift(-3.0)


@pytest.fixture
def samples():
    """Source rows and labels, target rows and labels; the target is moved along."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X_source = rng.normal(scale=0.5, size=(60, 2)) + 4.0 * y[:, None]
    X_target = rng.normal(scale=0.5, size=(60, 2)) + 4.0 * y[:, None] + 3.0
    return X_source, y, X_target, y


def near(samples):
    """The target nearer by: a plain classifier is right there."""
    X_source, y_source, X_target, y_target = samples
    return X_source, y_source, X_target - 2.0, y_target


def stacked(samples):
    return stack_domains(*samples[:1], samples[2], samples[1])


def fit(samples, transport, **params):
    X, y, sample_domain = stacked(samples)
    model = DomainAdaptation(LogisticRegression(), transport, **params)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Adapting is doubtful here")
        return model.fit(X, y, sample_domain=sample_domain)


@pytest.mark.parametrize("fallback", [None, "warn", "auto"])
@pytest.mark.parametrize("transport", ["passthrough", HELPS, GaussianTransport()], ids=repr)
def test_check_estimator(transport, fallback):
    adaptation = DomainAdaptation(
        LogisticRegression(), transport, domain_scaler=StandardScaler(), fallback=fallback
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="sample_domain was not passed")
        results = check_estimator(adaptation, on_skip=None)
    assert {result["status"] for result in results} == {"passed"}


# --- the guard -------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_warning_where_adapting_is_doubtful(samples, direction):
    X, y, sample_domain = stacked(near(samples))
    harmful = DomainAdaptation(LogisticRegression(), HARMS, direction=direction)
    with pytest.warns(UserWarning, match='Adapting is doubtful here.*fallback="auto"') as caught:
        harmful.fit(X, y, sample_domain=sample_domain)
    assert [warning.filename for warning in caught] == [__file__]
    assert harmful.adapted_
    assert harmful.adaptation_gain_.is_doubtful
    silent = clone(harmful).set_params(fallback=None).fit(X, y, sample_domain=sample_domain)
    assert silent.adaptation_gain_ is None
    assert silent.unadapted_estimator_ is None
    X, y, sample_domain = stacked(samples)
    helpful = DomainAdaptation(LogisticRegression(), HELPS, direction=direction)
    assert helpful.fit(X, y, sample_domain=sample_domain).adaptation_gain_.helps


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_figures_are_those_of_the_two_models(samples, direction):
    model = fit(samples, HELPS, direction=direction)
    X_source, y_source, X_target, _ = samples
    plain = LogisticRegression().fit(X_source, y_source)
    assert_array_equal(model.unadapted_estimator_.coef_, plain.coef_)
    expected = adaptation_gain(X_target, model.predict(X_target), plain.predict(X_target))
    assert model.adaptation_gain_ == expected == model.compare_adaptation(X_target)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("transport, adapts", [(HELPS, True), (HARMS, False)])
def test_auto_keeps_the_better_one(samples, transport, adapts, direction):
    samples = samples if adapts else near(samples)
    X_source, y_source, X_target, y_target = samples
    model = fit(samples, transport, fallback="auto", direction=direction)
    assert model.adapted_ == adapts
    other = transport if adapts else "passthrough"
    reference = fit(samples, other, fallback=None, direction=direction)
    assert_array_equal(model.predict_proba(X_target), reference.predict_proba(X_target))
    assert model.score(X_target, y_target) == reference.score(X_target, y_target)
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict_proba(X_target), model.predict_proba(X_target))


def test_auto_needs_a_classifier_and_rows(samples):
    X, y, sample_domain = stacked(samples)
    with pytest.raises(ValueError, match="needs a classifier. Got LinearRegression"):
        DomainAdaptation(LinearRegression(), HELPS, fallback="auto").fit(
            X, y.astype(float), sample_domain=sample_domain
        )
    few = np.arange(len(X)) < 30
    with pytest.warns(UserWarning, match="keeps the unadapted model: it needs 20 target rows"):
        model = DomainAdaptation(LogisticRegression(), HELPS, fallback="auto").fit(
            X[few], y[few], sample_domain=sample_domain[few]
        )
    assert not model.adapted_
    with pytest.raises(ValueError, match="needs 20 target rows"):
        model.compare_adaptation(X[:10])


def test_regressors_are_not_looked_at(samples):
    X, y, sample_domain = stacked(samples)
    model = DomainAdaptation(LinearRegression(), HARMS)
    model.fit(X, y.astype(float), sample_domain=sample_domain)
    assert model.adapted_
    assert model.adaptation_gain_ is None
    assert not hasattr(model, "compare_adaptation")


def test_the_guard_costs_one_fit_and_looks_at_1000_rows(samples):
    rng = np.random.default_rng(0)
    n_fits = []

    class Counting(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            n_fits.append(len(y))
            return super().fit(X, y, sample_weight)

    X_source, y_source, _, _ = samples
    X_target = np.repeat(X_source, 50, axis=0) + 3.0 + rng.normal(size=(3000, 2))
    X, y, sample_domain = stack_domains(X_source, X_target, y_source)
    model = DomainAdaptation(Counting(), HELPS).fit(X, y, sample_domain=sample_domain)
    assert n_fits == [60, 60]
    assert model.adaptation_gain_.n_rows == 1000


# --- no adaptation ---------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_passthrough_is_no_adaptation(samples, direction):
    X_source, y_source, X_target, _ = samples
    X, _, sample_domain = stacked(samples)
    plain = LogisticRegression().fit(X_source, y_source)
    model = fit(samples, "passthrough", direction=direction)
    assert_array_equal(model.predict_proba(X_target), plain.predict_proba(X_target))
    assert not model.adapted_
    assert model.compare_adaptation(X_target).ratio == 1.0
    # As bad as a shift by nothing.
    score = TransportDivergenceScorer()(model, X, sample_domain=sample_domain)
    identity = GaussianTransport().fit(X_source, X_source)
    swapped = direction == "target_to_source"
    sides = X_target if swapped else X_source, X_source if swapped else X_target
    assert score == pytest.approx(identity.score(*sides), rel=1e-6)
    assert score < -1.0


def test_passthrough_has_no_parameters():
    model = DomainAdaptation(LogisticRegression(), "passthrough")
    with pytest.raises(ValueError, match="'passthrough'.*no parameters to set"):
        model.set_params(transport__epsilon=0.1)
    with pytest.raises(ValueError, match="The 'transport' parameter of DomainAdaptation"):
        model.set_params(transport="none").fit([[0.0]], [0], sample_domain=[1])


def test_a_diagram_of_what_is_not_filled_in():
    assert "DomainAdaptation" in estimator_html_repr(DomainAdaptation(None))


# --- scalers ---------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_each_domain_has_its_own_scaler(samples, direction):
    X_source, y_source, X_target, y_target = samples
    X_target = X_target * [3.0, 0.1]
    samples = X_source, y_source, X_target, y_target
    model = fit(samples, "passthrough", domain_scaler=StandardScaler(), direction=direction)
    of_source, of_target = StandardScaler().fit(X_source), StandardScaler().fit(X_target)
    assert_array_equal(model.source_scaler_.mean_, of_source.mean_)
    assert_array_equal(model.target_scaler_.mean_, of_target.mean_)
    plain = LogisticRegression().fit(of_source.transform(X_source), y_source)
    expected = plain.predict_proba(of_target.transform(X_target))
    assert_array_equal(model.predict_proba(X_target), expected)
    assert model.score(X_target, y_target) == 1.0


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_transport_moves_scaled_rows(samples, direction):
    X, _, sample_domain = stacked(samples)
    model = fit(samples, GaussianTransport(), domain_scaler=StandardScaler(), direction=direction)
    scaled = model.scale_domains(X, sample_domain=sample_domain)
    for side in (sample_domain >= 0, sample_domain < 0):
        np.testing.assert_allclose(scaled[side].std(axis=0), 1.0)
        one = model.scale_domains(X[side], sample_domain=sample_domain[side])
        assert_array_equal(one, scaled[side])
    np.testing.assert_allclose(model.transport_.source_mean_, 0.0, atol=1e-12)
    score = TransportDivergenceScorer()(model, X, sample_domain=sample_domain)
    swapped = -1 if direction == "target_to_source" else 1
    assert score == model.transport_.score(scaled, sample_domain=swapped * sample_domain)
    assert score > -0.5


def test_without_a_target_one_scaler_serves_both(samples):
    X_source, y_source, _, _ = samples
    model = DomainAdaptation(LogisticRegression(), domain_scaler=StandardScaler())
    with pytest.warns(UserWarning, match="sample_domain was not passed"):
        model.fit(X_source, y_source)
    assert model.source_scaler_ is model.target_scaler_
    assert not model.adapted_
    scaled = StandardScaler().fit_transform(X_source)
    expected = LogisticRegression().fit(scaled, y_source).predict_proba(scaled)
    assert_array_equal(model.predict_proba(X_source), expected)


@pytest.mark.parametrize("name", ["domain_scaler", "fallback"])
def test_bad_parameters(samples, name):
    X, y, sample_domain = stacked(samples)
    model = DomainAdaptation(LogisticRegression(), SinkhornTransport()).set_params(**{name: "z"})
    with pytest.raises(ValueError, match=f"The '{name}' parameter of DomainAdaptation"):
        model.fit(X, y, sample_domain=sample_domain)
