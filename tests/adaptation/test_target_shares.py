"""Class shares of the target as a parameter of DomainAdaptation."""

import pickle

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skot import DomainAdaptation, GaussianTransport, SinkhornTransport
from skot.utils import stack_domains

DIRECTIONS = ["source_to_target", "target_to_source"]


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps the weights it is fitted with."""

    def fit(self, X, y, sample_weight=None):
        self.y_, self.sample_weight_ = y, sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class RecordingTransport(BaseEstimator):
    """Keeps the weights it is fitted with, moves nothing."""

    def fit(self, X, y=None, sample_weight=None, *, sample_domain=None):
        self.sample_domain_, self.sample_weight_ = sample_domain, sample_weight
        return self

    def transform(self, X, *, sample_domain=None):
        return X


class Unweighted(BaseEstimator):
    """Takes no weights, moves nothing."""

    def fit(self, X, y=None, *, sample_domain=None):
        return self

    def transform(self, X, *, sample_domain=None):
        return X


def two_classes(share, n=300, d=2, seed=0, separation=3.0, angle=0.0, shift=(0.0, 0.0)):
    """Stacked samples: unit Gaussians, half and half in the source, then turned and shifted."""
    rng = np.random.default_rng(seed)
    sides = []
    for second in (0.5, share):
        y = (np.arange(n) < round(second * n)).astype(int)
        X = rng.normal(size=(n, d))
        X[:, 0] += separation * (y - 0.5)
        sides += [X, y]
    X_source, y_source, X_target, y_target = sides
    cos, sin = np.cos(angle), np.sin(angle)
    X_target[:, :2] = X_target[:, :2] @ np.array([[cos, sin], [-sin, cos]]) + shift
    return stack_domains(X_source, X_target, y_source, y_target)


def fit(data, target_shares=None, estimator=None, transport=None, **params):
    X, y, sample_domain = data
    model = DomainAdaptation(
        LogisticRegression() if estimator is None else estimator,
        SinkhornTransport() if transport is None else transport,
        target_shares=target_shares,
        fallback=None,
    )
    return model.set_params(**params).fit(X, y, sample_domain=sample_domain)


def score(model, data):
    return model.score(data[0], data[1], sample_domain=data[2])


# --- shares that are given -------------------------------------------------------------


def test_ten_percent_in_the_target_and_half_in_the_source():
    # 0.817, 0.630 and 0.978 in a draw that is not known in more detail.
    data = two_classes(0.1, shift=(0.7, 0.7))
    X, y, sample_domain = data
    source = sample_domain >= 0
    plain = LogisticRegression().fit(X[source], y[source])
    assert plain.score(X[~source], y[~source]) == pytest.approx(0.817, abs=0.02)
    transport = SinkhornTransport(residual=0.0)
    with pytest.warns(UserWarning, match="other shares in the target"):
        adapted = fit(data, transport=transport)
    assert score(adapted, data) == pytest.approx(0.63, abs=0.04)
    weighted = fit(data, [0.9, 0.1], transport=transport)
    assert score(weighted, data) == pytest.approx(0.978, abs=0.02)
    with pytest.warns(UserWarning, match="other shares in the target"):
        regularised = fit(data, transport=transport.set_params(class_reg=1.0))
    assert score(regularised, data) < 0.7


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_weights_of_both_parts(direction):
    data = two_classes(0.1, n=40)
    X, y, sample_domain = data
    source = sample_domain >= 0
    model = fit(data, [0.9, 0.1], Recorder(), RecordingTransport(), direction=direction)
    weights = model.transport_.sample_weight_
    assert_allclose(weights[source], np.where(y[source] == 1, 0.2, 1.8))
    assert_allclose(weights[~source], 1.0)
    assert_allclose(model.estimator_.sample_weight_, weights[source])
    assert_allclose(model.target_shares_, [0.9, 0.1])
    assert_array_equal(model.target_shares_std_, [0.0, 0.0])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("transport", [SinkhornTransport(), GaussianTransport()])
def test_same_as_weights_by_hand(transport, direction):
    data = X, y, sample_domain = two_classes(0.2, n=100, angle=0.5)
    source = sample_domain >= 0
    model = fit(data, [0.8, 0.2], transport=transport, direction=direction)
    weights = np.where(source & (y == 1), 0.4, np.where(source, 1.6, 1.0))
    sides = sample_domain if direction == "source_to_target" else -1 - sample_domain
    by_hand = sklearn.clone(transport).fit(X, sample_weight=weights, sample_domain=sides)
    assert_allclose(model.transport_.transform(X), by_hand.transform(X))


def test_weights_of_the_user_stay_within_classes():
    X, y, sample_domain = two_classes(0.1, n=40)
    source = sample_domain >= 0
    own = np.where(source, np.random.default_rng(0).random(len(y)), 1.0)
    model = DomainAdaptation(Recorder(), RecordingTransport(), target_shares=[0.25, 0.75])
    model.fit(X, y, sample_domain=sample_domain, sample_weight=own)
    weights = model.estimator_.sample_weight_
    for label, share in ((0, 0.25), (1, 0.75)):
        of_class = y[source] == label
        assert_allclose(weights[of_class].sum() / weights.sum(), share)
        ratio = weights[of_class] / own[source][of_class]
        assert_allclose(ratio, ratio[0])
    assert_allclose(weights.sum(), own[source].sum())
    # Without routing weights are for the estimator alone.
    assert_allclose(model.transport_.sample_weight_[source], np.where(y[source] == 1, 1.5, 0.5))


def test_weights_that_are_routed_to_both():
    X, y, sample_domain = two_classes(0.1, n=40)
    source = sample_domain >= 0
    own = np.random.default_rng(0).random(len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        request = {"sample_weight": True}
        model = DomainAdaptation(
            Recorder().set_fit_request(**request),
            SinkhornTransport().set_fit_request(sample_domain=True, **request),
            target_shares=[0.25, 0.75],
        ).fit(X, y, sample_domain=sample_domain, sample_weight=own)
    a = model.transport_.potentials_.a.numpy()
    codes = y[source]
    assert_allclose(a[codes == 1].sum(), 0.75)
    assert_allclose(a, model.estimator_.sample_weight_ / model.estimator_.sample_weight_.sum())
    b = model.transport_.potentials_.b.numpy()
    assert_allclose(b, own[~source] / own[~source].sum())


def test_labelled_target_rows_keep_their_weight():
    data = X, y, sample_domain = two_classes(0.5, n=40)
    model = fit(data, [0.9, 0.1], Recorder(), RecordingTransport(), use_target_labels=True)
    assert_allclose(model.estimator_.sample_weight_[sample_domain < 0], 1.0)


def test_mapping_and_the_order_of_classes():
    X, codes, sample_domain = two_classes(0.1, n=40)
    y = np.array(["yes", "no"])[codes]
    data = X, y, sample_domain
    by_name = fit(data, {"yes": 0.9, "no": 0.1})
    in_order = fit(data, [0.1, 0.9])
    assert_array_equal(by_name.target_shares_, [0.1, 0.9])
    assert_array_equal(by_name.predict(X), in_order.predict(X))
    again = pickle.loads(pickle.dumps(by_name))
    assert_array_equal(again.target_shares_, by_name.target_shares_)


def test_class_that_the_target_does_not_have():
    data = two_classes(0.0, n=60)
    model = fit(data, [1.0, 0.0])
    assert score(model, data) == 1.0


@pytest.mark.parametrize(
    ("target_shares", "message"),
    [
        ([0.2, 0.3, 0.5], "2 classes: 0, 1"),
        ([[0.5, 0.5]], "shape"),
        ([0.5, 0.6], "sum to 1, but their sum is 1.1"),
        ([-0.1, 1.1], "not negative"),
        ([np.nan, 1.0], "finite"),
        ({0: 0.5, 2: 0.5}, "Unknown: 2; missing: 1"),
        ({0: 1.0}, "Unknown: none; missing: 1"),
        ("guess", "target_shares"),
    ],
)
def test_shares_that_are_none(target_shares, message):
    with pytest.raises(ValueError, match=message):
        fit(two_classes(0.5, n=20), target_shares)


def test_class_without_weight():
    X, y, sample_domain = two_classes(0.5, n=20)
    model = DomainAdaptation(LogisticRegression(), target_shares=[0.5, 0.5])
    weights = np.where(sample_domain >= 0, y == 0, 1.0)
    with pytest.raises(ValueError, match=r"class 1 a share .* sample_weight of zero"):
        model.fit(X, y, sample_domain=sample_domain, sample_weight=weights)


def test_regressor_has_no_classes():
    with pytest.raises(ValueError, match="Ridge is no classifier"):
        fit(two_classes(0.5, n=20), [0.5, 0.5], Ridge())


# --- parts that take no weights --------------------------------------------------------


def test_neighbours_gain_through_the_transport_alone():
    data = two_classes(0.1, separation=6.0)
    with pytest.warns(UserWarning, match="KNeighborsClassifier takes no sample_weight.*transport"):
        model = fit(data, [0.9, 0.1], KNeighborsClassifier(1))
    with pytest.warns(UserWarning, match="other shares"):
        without = fit(data, None, KNeighborsClassifier(1))
    assert score(model, data) > score(without, data) + 0.2


def test_transport_that_takes_no_weights():
    data = two_classes(0.1, n=40)
    with pytest.warns(UserWarning, match="Unweighted takes no sample_weight: rows are moved as if"):
        model = fit(data, [0.9, 0.1], Recorder(), Unweighted())
    assert_allclose(np.unique(model.estimator_.sample_weight_), [0.2, 1.8])


def test_frozen_transport_is_said_to_take_none():
    X, y, sample_domain = data = two_classes(0.1, n=40)
    fitted = GaussianTransport().fit(X, sample_domain=sample_domain)
    with pytest.warns(UserWarning, match="FrozenEstimator takes no sample_weight"):
        fit(data, [0.9, 0.1], transport=FrozenEstimator(fitted))


def test_nobody_takes_weights():
    with pytest.raises(ValueError, match="Unweighted and KNeighborsClassifier take no"):
        fit(two_classes(0.1, n=40), [0.9, 0.1], KNeighborsClassifier(), Unweighted())


def test_last_step_of_a_pipeline():
    data = X, y, sample_domain = two_classes(0.1, n=40)
    source = sample_domain >= 0
    expected = np.where(y[source] == 1, 0.2, 1.8)
    model = fit(data, [0.9, 0.1], make_pipeline(StandardScaler(), Recorder()))
    assert_allclose(model.estimator_[-1].sample_weight_, expected)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = make_pipeline(StandardScaler(), Recorder().set_fit_request(sample_weight=True))
        asking[0].set_fit_request(sample_weight=False)
        model = fit(data, [0.9, 0.1], asking)
        assert_allclose(model.estimator_[-1].sample_weight_, expected)
        with pytest.warns(UserWarning, match="Pipeline takes no sample_weight"):
            fit(data, [0.9, 0.1], make_pipeline(StandardScaler(), Recorder()))


def test_step_of_a_transport_that_asks_for_weights():
    data = X, y, sample_domain = two_classes(0.1, n=40)
    source = sample_domain >= 0
    with sklearn.config_context(enable_metadata_routing=True):
        inner = SinkhornTransport().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = fit(data, [0.9, 0.1], Recorder(), make_pipeline(scaler, inner))
    a = model.transport_[-1].potentials_.a.numpy()
    assert_allclose(a[y[source] == 1].sum(), 0.1)
    with pytest.warns(UserWarning, match="Pipeline takes no sample_weight: rows are moved as if"):
        fit(data, [0.9, 0.1], Recorder(), make_pipeline(StandardScaler(), SinkhornTransport()))


def test_passthrough_leaves_the_weights_to_the_estimator():
    data = X, y, sample_domain = two_classes(0.1)
    model = fit(data, [0.9, 0.1], transport="passthrough")
    source = sample_domain >= 0
    weights = np.where(y == 1, 0.2, 1.8)[source]
    by_hand = LogisticRegression().fit(X[source], y[source], sample_weight=weights)
    assert_allclose(model.predict_proba(X), by_hand.predict_proba(X))
    fit(data, transport="passthrough")  # no plan mixes classes, so nothing is warned of
    with pytest.raises(ValueError, match="but KNeighborsClassifier takes no sample_weight"):
        fit(data, [0.9, 0.1], KNeighborsClassifier(), "passthrough")


# --- the estimate ----------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 20])
@pytest.mark.parametrize("share", [0.1, 0.8])
def test_estimate_closes_the_gap(d, share):
    data = two_classes(share, d=d, angle=0.5, shift=(2.0, 0.0), seed=3)
    model = fit(data, "estimate")
    given = fit(data, [1.0 - share, share])
    with pytest.warns(UserWarning, match='class 1 0.* for 0.50.*target_shares="estimate"'):
        without = fit(data)
    assert_allclose(model.target_shares_, [1.0 - share, share], atol=0.1)
    assert ((model.target_shares_std_ > 0.01) & (model.target_shares_std_ < 0.1)).all()
    gap = score(given, data) - score(without, data)
    assert gap > 0.1
    assert score(model, data) - score(without, data) > 0.8 * gap
    assert without.target_shares_ is None
    assert without.target_shares_std_ is None


@pytest.mark.parametrize("d", [2, 20])
def test_equal_shares_stay(d):
    for seed in range(3):
        data = two_classes(0.5, d=d, angle=0.5, shift=(2.0, 0.0), seed=seed)
        with pytest.warns(UserWarning, match="keeps the shares of the source: no change"):
            model = fit(data, "estimate")
        assert_allclose(model.target_shares_, [0.5, 0.5])
        # Nothing is warned of without the estimate, and the rows move as they do with it.
        assert_array_equal(model.predict(data[0]), fit(data).predict(data[0]))


def test_estimates_that_disagree_are_not_used():
    # The target has no classes: a mixture finds halves of it, the source explains one end.
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 150)
    X_source = np.where(
        y[:, None] == 1, rng.normal(4.0, 1.0, (300, 1)), rng.exponential(0.3, (300, 1))
    )
    data = stack_domains(X_source, rng.exponential(1.0, (300, 1)), y)
    with pytest.warns(UserWarning, match="keeps the shares of the source: (two|the estimate)"):
        model = fit(data, "estimate")
    assert_allclose(model.target_shares_, [0.5, 0.5])
    assert np.isfinite(model.target_shares_std_).all()


def test_few_rows_are_not_judged():
    data = two_classes(0.1, n=38)
    fit(data)
    with pytest.warns(UserWarning, match="20 source rows of each"):
        model = fit(data, "estimate")
    assert_array_equal(model.target_shares_, [0.5, 0.5])
    assert np.isnan(model.target_shares_std_).all()


def test_regressors_and_other_transports_are_left_in_peace():
    data = two_classes(0.1)
    fit(data, None, Ridge())


def test_without_a_target_there_are_no_shares():
    X, y, _ = two_classes(0.1, n=40)
    model = DomainAdaptation(LogisticRegression(), target_shares=[0.9, 0.1])
    with pytest.warns(UserWarning, match="sample_domain was not passed"):
        model.fit(X, y)
    assert model.target_shares_ is None
