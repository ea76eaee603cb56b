import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from _dummies import MeanShift
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from skot import DomainAdaptation, GaussianTransport, SinkhornTransport
from skot.model_selection import DomainKFold
from skot.utils import stack_domains

DIRECTIONS = ["source_to_target", "target_to_source"]


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps what it is fitted on, predicts the first class."""

    def fit(self, X, y, sample_weight=None):
        self.X_, self.y_, self.sample_weight_ = X, y, sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        self.seen_ = X
        return np.full(len(X), self.classes_[0])


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def shifted_blobs(shift=3.0, labels=(0, 1), n=40, seed=0):
    """Two classes four apart; the target is moved along, so that a plain classifier errs."""
    rng = np.random.default_rng(seed)
    code = np.arange(n) % 2
    X_source = rng.normal(scale=0.5, size=(n, 2)) + 4.0 * code[:, None]
    X_target = rng.normal(scale=0.5, size=(n, 2)) + 4.0 * code[:, None] + shift
    y = np.asarray(labels)[code]
    return stack_domains(X_source, X_target, y, y)


# --- scikit-learn's own checks ---------------------------------------------------------


@pytest.mark.parametrize("enable", [False, True])
@pytest.mark.parametrize(
    "adaptation",
    [
        DomainAdaptation(LogisticRegression()),
        DomainAdaptation(Ridge(), GaussianTransport(), direction="target_to_source"),
        DomainAdaptation(KNeighborsClassifier(), MeanShift(), use_target_labels=True),
    ],
    ids=["classifier", "regressor", "neighbours"],
)
def test_check_estimator(adaptation, enable):
    with sklearn.config_context(enable_metadata_routing=enable), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="sample_domain was not passed")
        results = check_estimator(adaptation, on_skip=None)
    assert len(results) > 50
    assert {result["status"] for result in results} == {"passed"}


@pytest.mark.parametrize("estimator", [LogisticRegression(), Ridge(), LinearSVC()])
def test_kind_and_methods_are_those_of_the_estimator(estimator):
    adaptation = DomainAdaptation(estimator)
    assert is_classifier(adaptation) == is_classifier(estimator)
    assert is_regressor(adaptation) == is_regressor(estimator)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function", "score"):
        assert hasattr(adaptation, method) == hasattr(estimator, method)
    assert not hasattr(adaptation, "classes_")
    with pytest.raises(AttributeError, match="has no attribute 'transform'"):
        adaptation.transform  # noqa: B018


def test_tags_do_not_promise_what_one_label_per_row_rules_out():
    tags = get_tags(DomainAdaptation(KNeighborsClassifier()))
    assert not tags.classifier_tags.multi_label
    assert not tags.target_tags.multi_output
    assert get_tags(KNeighborsClassifier()).classifier_tags.multi_label


# --- what moves, and what is seen ------------------------------------------------------


def test_source_to_target_trains_on_moved_rows():
    X, y, sample_domain = shifted_blobs()
    source = sample_domain >= 0
    adaptation = DomainAdaptation(Recorder(), MeanShift()).fit(X, y, sample_domain=sample_domain)
    moved = MeanShift().fit(X[source], X[~source]).transform(X[source])
    assert_allclose(adaptation.estimator_.X_, moved)
    assert_array_equal(adaptation.estimator_.y_, y[source])
    adaptation.predict(X)
    assert_allclose(adaptation.estimator_.seen_, X)


def test_target_to_source_moves_rows_at_predict():
    X, y, sample_domain = shifted_blobs()
    source = sample_domain >= 0
    adaptation = DomainAdaptation(Recorder(), MeanShift(), direction="target_to_source")
    adaptation.fit(X, y, sample_domain=sample_domain)
    assert_allclose(adaptation.estimator_.X_, X[source])
    adaptation.predict(X[~source])
    back = MeanShift().fit(X[~source], X[source]).transform(X[~source])
    assert_allclose(adaptation.estimator_.seen_, back)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("transport", [None, GaussianTransport(), MeanShift()], ids=repr)
def test_adaptation_recovers_the_accuracy(transport, direction):
    X, y, sample_domain = shifted_blobs()
    target = sample_domain < 0
    plain = LogisticRegression().fit(X[~target], y[~target])
    assert plain.score(X[target], y[target]) < 0.75
    adaptation = DomainAdaptation(LogisticRegression(), transport, direction=direction)
    adaptation.fit(X, np.where(target, -1, y), sample_domain=sample_domain)
    assert adaptation.score(X[target], y[target]) > 0.95
    assert_allclose(adaptation.predict_proba(X).sum(axis=1), 1.0)
    assert adaptation.decision_function(X).shape == (len(X),)
    assert_allclose(adaptation.predict_log_proba(X), np.log(adaptation.predict_proba(X)))


def test_the_default_transport_is_sinkhorn():
    X, y, sample_domain = shifted_blobs()
    transports = None, SinkhornTransport(epsilon=0.1, residual=0.2)
    models = [DomainAdaptation(LogisticRegression(), transport) for transport in transports]
    first, second = (
        model.fit(X, y, sample_domain=sample_domain).predict_proba(X) for model in models
    )
    assert_array_equal(first, second)
    assert models[0].transport is None


@pytest.mark.parametrize("residual", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_rows_that_stay_are_smoothed_as_much_as_those_that_move(direction, residual):
    X, y, sample_domain = shifted_blobs()
    source = sample_domain >= 0
    transport = SinkhornTransport(0.2, residual=residual)
    model = DomainAdaptation(Recorder(), transport, direction=direction)
    model.fit(X, y, sample_domain=sample_domain).predict(X[~source])
    trained, seen = model.estimator_.X_, model.estimator_.seen_
    moves, stays, moved, stayed = X[source], X[~source], trained, seen
    if direction == "target_to_source":
        moves, stays, moved, stayed = stays, moves, stayed, moved
    transport = clone(transport).fit(moves, stays)
    assert_allclose(moved, transport.transform(moves))
    # The plain map of other libraries leaves them.
    expected = stays if residual == 0.0 else transport.smooth_target(stays)
    assert_allclose(stayed, expected)
    if residual == 0.4:
        assert np.abs(stayed - stays).max() > 0.1
        with_labels = clone(model).set_params(use_target_labels=True)
        trained = with_labels.fit(X, y, sample_domain=sample_domain).estimator_.X_
        both = {True: moved, False: stayed}
        assert_allclose(trained[source], both[direction == "source_to_target"])
        assert_allclose(trained[~source], both[direction == "target_to_source"])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", ["list", "pandas", "tensor", "float32"])
def test_containers(shape, direction):
    X, y, sample_domain = shifted_blobs()
    given = {
        "list": X.tolist(),
        "pandas": pd.DataFrame(X, columns=["a", "b"]),
        "tensor": torch.from_numpy(X),
        "float32": X.astype(np.float32),
    }[shape]
    adaptation = DomainAdaptation(LogisticRegression(), direction=direction)
    expected = clone(adaptation).fit(X, y, sample_domain=sample_domain).predict(X)
    adaptation.fit(given, pd.Series(y), sample_domain=pd.Series(sample_domain))
    found = adaptation.predict(given)
    assert isinstance(found, np.ndarray)
    assert_array_equal(found, expected)
    assert adaptation.score(given, y, sample_domain=list(sample_domain)) > 0.95
    if shape == "pandas":
        assert_array_equal(adaptation.feature_names_in_, ["a", "b"])
        with pytest.raises(ValueError, match="feature names should match"):
            adaptation.predict(given.rename(columns={"a": "c"}))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_output_of_the_transport_may_be_a_data_frame(direction):
    X, y, sample_domain = shifted_blobs()
    adaptation = DomainAdaptation(LogisticRegression(), MeanShift(), direction=direction)
    expected = adaptation.fit(X, y, sample_domain=sample_domain).predict(X)
    with sklearn.config_context(transform_output="pandas"):
        found = clone(adaptation).fit(X, y, sample_domain=sample_domain).predict(X)
    assert_array_equal(found, expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_regressors(direction):
    rng = np.random.default_rng(0)
    X_source = rng.normal(size=(60, 2))
    y_source = X_source @ [1.0, -2.0] + 0.5
    X, y, sample_domain = stack_domains(X_source, X_source + 5.0, y_source)
    assert np.isnan(y[sample_domain < 0]).all()
    adaptation = DomainAdaptation(LinearRegression(), GaussianTransport(), direction=direction)
    adaptation.fit(X, y, sample_domain=sample_domain)
    assert_allclose(adaptation.predict(X_source + 5.0), y_source, atol=1e-6)
    truth = np.where(sample_domain < 0, np.repeat(y_source, 2), y)
    assert adaptation.score(X, truth, sample_domain=sample_domain) == pytest.approx(1.0)
    assert not hasattr(adaptation, "classes_")


# --- labels of the target --------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("class_reg", [0.0, 0.1])
def test_labels_of_the_target_do_not_leak(direction, class_reg):
    X, y, sample_domain = shifted_blobs()
    target = sample_domain < 0
    if direction == "target_to_source" and class_reg:
        pytest.skip("class_reg needs labels of the rows that move")
    transport = SinkhornTransport(class_reg=class_reg)
    predictions = [
        DomainAdaptation(LogisticRegression(), transport, direction=direction)
        .fit(X, np.where(target, labels, y), sample_domain=sample_domain)
        .predict_proba(X)
        for labels in (y, 1 - y, -1, 7)
    ]
    for other in predictions[1:]:
        assert_array_equal(predictions[0], other)


@pytest.mark.parametrize(
    "labels, mark", [((0, 1), -1), ((-1, 1), np.nan), ((0.0, 1.0), np.nan), (("a", "b"), None)]
)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("use_target_labels", [False, True])
def test_masked_labels_never_reach_the_estimator(labels, mark, direction, use_target_labels):
    X, y, sample_domain = shifted_blobs(labels=labels)
    y = y.astype(float if isinstance(mark, float) else object if mark is None else int)
    target = np.flatnonzero(sample_domain < 0)
    y[target[5:]] = mark
    adaptation = DomainAdaptation(
        Recorder(), MeanShift(), direction=direction, use_target_labels=use_target_labels
    )
    adaptation.fit(X, y, sample_domain=sample_domain)
    rows = sample_domain >= 0
    rows[target[:5]] = use_target_labels
    assert_array_equal(adaptation.estimator_.y_, y[rows])
    assert adaptation.classes_.tolist() == list(labels)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_known_labels_of_the_target_are_further_training_rows(direction):
    X, y, sample_domain = shifted_blobs()
    target = np.flatnonzero(sample_domain < 0)
    y[target[3:]] = -1
    adaptation = DomainAdaptation(
        Recorder(), MeanShift(), direction=direction, use_target_labels=True
    ).fit(X, y, sample_domain=sample_domain)
    shift = adaptation.transport_.shift_
    moves = sample_domain >= 0 if direction == "source_to_target" else sample_domain < 0
    rows = y != -1
    assert_allclose(adaptation.estimator_.X_, (X + shift * moves[:, None])[rows])


@pytest.mark.parametrize("use_target_labels", [False, True])
def test_labels_that_the_transport_gets(use_target_labels):
    X, y, sample_domain = shifted_blobs()
    target = np.flatnonzero(sample_domain < 0)
    y[target[3:]] = -1
    known = y.copy() if use_target_labels else np.where(sample_domain < 0, -1, y)
    adaptation = DomainAdaptation(Recorder(), MeanShift(), use_target_labels=use_target_labels)
    adaptation.fit(X, y, sample_domain=sample_domain)
    assert_array_equal(adaptation.transport_.labels_, known)
    # With the roles swapped an unknown label would pass for a class.
    swapped = clone(adaptation).set_params(direction="target_to_source")
    assert swapped.fit(X, y, sample_domain=sample_domain).transport_.labels_ is None
    _, truth, _ = shifted_blobs()
    swapped.fit(X, truth, sample_domain=sample_domain)
    if use_target_labels:
        assert_array_equal(swapped.transport_.labels_, truth)
    else:
        assert swapped.transport_.labels_ is None


def test_minus_one_as_a_class_is_masked_in_another_way():
    X, y, sample_domain = shifted_blobs(labels=(-1, 1))
    adaptation = DomainAdaptation(Recorder(), MeanShift()).fit(X, y, sample_domain=sample_domain)
    labels = adaptation.transport_.labels_
    assert_array_equal(np.isnan(labels), sample_domain < 0)
    assert_array_equal(labels[sample_domain >= 0], y[sample_domain >= 0])
    assert adaptation.estimator_.y_.dtype.kind == "i"


def test_class_regularisation_uses_the_labels_of_the_training_rows():
    X, y, sample_domain = shifted_blobs()
    transport = SinkhornTransport(epsilon=0.5, class_reg=1.0)
    adaptation = DomainAdaptation(Recorder(), transport).fit(X, y, sample_domain=sample_domain)
    masked = np.where(sample_domain < 0, -1, y)
    moved = clone(transport).fit_transform(X, masked, sample_domain=sample_domain)
    assert_allclose(adaptation.estimator_.X_, moved[sample_domain >= 0])
    without_labels = adaptation.transport_.transform(X[sample_domain >= 0])
    assert np.abs(adaptation.estimator_.X_ - without_labels).max() > 1e-3


def test_nothing_is_written_to_what_the_caller_owns():
    X, y, sample_domain = shifted_blobs()
    copies = X.copy(), y.copy(), sample_domain.copy()
    for array in (X, y, sample_domain):
        array.setflags(write=False)
    adaptation = DomainAdaptation(LogisticRegression(), SinkhornTransport())
    before = str(adaptation.get_params())
    adaptation.fit(X, y, sample_domain=sample_domain).score(X, y, sample_domain=sample_domain)
    for array, copy in zip((X, y, sample_domain), copies, strict=True):
        assert_array_equal(array, copy)
    assert str(adaptation.get_params()) == before
    assert not hasattr(adaptation.estimator, "coef_")
    assert not hasattr(adaptation.transport, "potentials_")


# --- score -----------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_score_counts_target_rows_with_a_known_label(direction):
    X, y, sample_domain = shifted_blobs(shift=4.0)
    adaptation = DomainAdaptation(LogisticRegression(), MeanShift(0.5), direction=direction)
    adaptation.fit(X, y, sample_domain=sample_domain)
    target = np.flatnonzero(sample_domain < 0)
    known = target[: len(target) // 2]
    labels = y.copy()
    labels[np.setdiff1d(target, known)] = -1
    expected = np.mean(adaptation.predict(X[known]) == y[known])
    assert adaptation.score(X, labels, sample_domain=sample_domain) == expected
    assert adaptation.score(X[known], y[known]) == expected
    weight = np.random.default_rng(0).random(len(y))
    expected = np.average(adaptation.predict(X[known]) == y[known], weights=weight[known])
    score = adaptation.score(X, labels, weight, sample_domain=sample_domain)
    assert score == pytest.approx(expected)
    assert expected < 1.0


@pytest.mark.parametrize("labels", [(0, 1), ("a", "b")])
def test_score_without_labels_names_the_scorers(labels):
    X, y, sample_domain = shifted_blobs(labels=labels)
    adaptation = DomainAdaptation(LogisticRegression(), MeanShift())
    adaptation.fit(X, y, sample_domain=sample_domain)
    unknown = np.full(len(y), -1 if labels == (0, 1) else None)
    for X_, y_, d in [
        (X, np.where(sample_domain < 0, unknown, y), sample_domain),
        (X, unknown, None),
        (X, y, np.ones(len(y), dtype=int)),
    ]:
        with pytest.raises(ValueError, match="CircularValidationScorer"):
            adaptation.score(X_, y_, sample_domain=d)


def test_score_with_minus_one_as_a_class():
    X, y, sample_domain = shifted_blobs(labels=(-1, 1))
    adaptation = DomainAdaptation(LogisticRegression(), MeanShift())
    adaptation.fit(X, y, sample_domain=sample_domain)
    assert adaptation.score(X, np.full(len(y), -1), sample_domain=sample_domain) == 0.5


# --- metadata --------------------------------------------------------------------------


def test_weights_without_routing_go_to_the_estimator():
    X, y, sample_domain = shifted_blobs()
    weight = np.where(sample_domain >= 0, np.arange(len(y)) + 1.0, 1.0)
    adaptation = DomainAdaptation(Recorder(), MeanShift())
    adaptation.fit(X, y, sample_domain=sample_domain, sample_weight=weight.tolist())
    assert_array_equal(adaptation.estimator_.sample_weight_, weight[sample_domain >= 0])
    assert adaptation.transport_.weights_ is None


@pytest.mark.parametrize("to_estimator, to_transport", [(True, False), (False, True), (True, True)])
def test_weights_with_routing_go_where_they_are_requested(to_estimator, to_transport, routing):
    X, y, sample_domain = shifted_blobs()
    weight = np.where(sample_domain >= 0, np.arange(len(y)) + 1.0, 1.0)
    adaptation = DomainAdaptation(
        Recorder().set_fit_request(sample_weight=to_estimator),
        MeanShift().set_fit_request(sample_weight=to_transport),
    )
    adaptation.fit(X, y, sample_domain=sample_domain, sample_weight=weight)
    assert (adaptation.estimator_.sample_weight_ is not None) == to_estimator
    assert (adaptation.transport_.weights_ is not None) == to_transport
    if to_estimator:
        assert_array_equal(adaptation.estimator_.sample_weight_, weight[sample_domain >= 0])
    if to_transport:
        assert_array_equal(adaptation.transport_.weights_, weight)


def test_weights_that_nobody_decided_on(routing):
    X, y, sample_domain = shifted_blobs()
    weight = np.ones(len(y))
    adaptation = DomainAdaptation(Recorder(), MeanShift())
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        adaptation.fit(X, y, sample_domain=sample_domain, sample_weight=weight)
    # The default transport leaves weights to the estimator.
    adaptation = DomainAdaptation(LogisticRegression().set_fit_request(sample_weight=True))
    adaptation.fit(X, y, sample_domain=sample_domain, sample_weight=weight)


def test_weights_of_score_in_a_pipeline(routing):
    X, y, sample_domain = shifted_blobs(shift=4.0)
    model = LogisticRegression().set_score_request(sample_weight=True)
    pipeline = make_pipeline(StandardScaler(), DomainAdaptation(model, MeanShift(0.5)))
    pipeline.fit(X, y, sample_domain=sample_domain)
    weight = np.random.default_rng(0).random(len(y))
    target = sample_domain < 0
    hits = pipeline.predict(X[target]) == y[target]
    score = pipeline.score(X, y, sample_weight=weight, sample_domain=sample_domain)
    assert score == pytest.approx(np.average(hits, weights=weight[target]))
    assert not hits.all()


def test_metadata_of_predict_goes_to_the_estimator():
    X, y, sample_domain = shifted_blobs()
    adaptation = DomainAdaptation(GaussianProcessRegressor(optimizer=None), MeanShift())
    adaptation.fit(X, y.astype(float), sample_domain=sample_domain)
    mean, std = adaptation.predict(X, return_std=True)
    assert mean.shape == std.shape == (len(X),)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_grid_search(direction, routing):
    X, y, sample_domain = shifted_blobs()
    search = GridSearchCV(
        DomainAdaptation(LogisticRegression(), SinkhornTransport(), direction=direction),
        {"transport__epsilon": [0.05, 50.0], "estimator__C": [1e-6, 1.0]},
        cv=DomainKFold(3),
        n_jobs=2,
    )
    search.fit(X, y, sample_domain=sample_domain)
    assert search.best_params_["estimator__C"] == 1.0
    assert search.best_score_ > 0.95
    assert search.score(X, y, sample_domain=sample_domain) > 0.95
    assert search.predict(X).shape == y.shape


def test_stacked_rows_are_fine_for_plain_folds(routing):
    X, y, sample_domain = shifted_blobs()
    adaptation = DomainAdaptation(LogisticRegression(), MeanShift())
    scores = cross_val_score(adaptation, X, y, cv=4, params={"sample_domain": sample_domain})
    assert scores.min() > 0.9


def test_in_a_pipeline_without_routing():
    X, y, sample_domain = shifted_blobs()
    pipeline = make_pipeline(StandardScaler(), DomainAdaptation(LogisticRegression()))
    pipeline.fit(X, y, domainadaptation__sample_domain=sample_domain)
    assert pipeline.score(X[sample_domain < 0], y[sample_domain < 0]) > 0.95


# --- without a target ------------------------------------------------------------------


def test_the_warning_of_no_target_points_to_the_line_of_the_caller_of_a_pipeline():
    X, y, _ = shifted_blobs()
    pipeline = make_pipeline(StandardScaler(), DomainAdaptation(LogisticRegression()))
    with pytest.warns(UserWarning, match="sample_domain was not passed") as caught:
        pipeline.fit(X, y)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("enable", [False, True])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_without_sample_domain_the_estimator_is_fitted_as_it_is(direction, enable):
    X, y, _ = shifted_blobs()
    adaptation = DomainAdaptation(LogisticRegression(), direction=direction)
    with sklearn.config_context(enable_metadata_routing=enable):
        with pytest.warns(UserWarning, match="sample_domain was not passed") as record:
            adaptation.fit(X, y)
        assert len(record) == 1
        assert record[0].filename == __file__
        plain = LogisticRegression().fit(X, y)
        assert_array_equal(adaptation.predict_proba(X), plain.predict_proba(X))
        assert adaptation.score(X, y) == plain.score(X, y)
    assert adaptation.transport_ is None


# --- state and parameters --------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_pickle(direction):
    X, y, sample_domain = shifted_blobs()
    adaptation = DomainAdaptation(LogisticRegression(), direction=direction)
    adaptation.fit(X, y, sample_domain=sample_domain)
    loaded = pickle.loads(pickle.dumps(adaptation))
    assert_array_equal(loaded.predict_proba(X), adaptation.predict_proba(X))
    expected = adaptation.score(X, y, sample_domain=sample_domain)
    assert loaded.score(X, y, sample_domain=sample_domain) == expected


def test_parameters_of_a_transport_that_is_none():
    with pytest.raises(ValueError, match=r"transport=SinkhornTransport\(\)"):
        DomainAdaptation(LogisticRegression()).set_params(transport__epsilon=0.1)
    adaptation = DomainAdaptation(LogisticRegression(), SinkhornTransport())
    assert adaptation.set_params(transport__epsilon=0.1).transport.epsilon == 0.1


@pytest.mark.parametrize(
    "change, message",
    [
        ({"direction": "back"}, "The 'direction' parameter of DomainAdaptation"),
        ({"transport": LogisticRegression()}, "The 'transport' parameter of DomainAdaptation"),
        ({"transport": MeanShift}, "must be an instance, not a class"),
        ({"estimator": "svc"}, "The 'estimator' parameter of DomainAdaptation"),
        ({"use_target_labels": "yes"}, "The 'use_target_labels' parameter"),
        ({"transport": SinkhornTransport(epsilon=-1.0)}, "The 'epsilon' parameter"),
    ],
)
def test_bad_parameters(change, message):
    X, y, sample_domain = shifted_blobs()
    adaptation = DomainAdaptation(Recorder(), MeanShift()).set_params(**change)
    with pytest.raises(ValueError, match=message):
        adaptation.fit(X, y, sample_domain=sample_domain)


def nan_in_X(X, y, sample_domain):
    X[3, 0] = np.nan


def one_side(X, y, sample_domain):
    sample_domain[:] = 1


def one_target_row(X, y, sample_domain):
    sample_domain[1:] = 1


def missing_source_label(X, y, sample_domain):
    y[np.flatnonzero(sample_domain >= 0)[0]] = np.nan


@pytest.mark.parametrize(
    "spoil, message",
    [
        (nan_in_X, "Input X contains NaN"),
        (one_side, "only source rows"),
        (one_target_row, "minimum of 2 is required"),
        (missing_source_label, "Input y contains NaN"),
    ],
)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_bad_input(spoil, message, direction):
    X, y, sample_domain = shifted_blobs(labels=(0.0, 1.0))
    sample_domain[0] = -1
    spoil(X, y, sample_domain)
    with pytest.raises(ValueError, match=message):
        DomainAdaptation(Recorder(), direction=direction).fit(X, y, sample_domain=sample_domain)


def test_more_bad_input():
    X, y, sample_domain = shifted_blobs()
    adaptation = DomainAdaptation(Recorder(), MeanShift())
    with pytest.raises(NotFittedError):
        adaptation.predict(X)
    with pytest.raises(ValueError, match="requires y to be passed"):
        adaptation.fit(X, None, sample_domain=sample_domain)
    with pytest.raises(ValueError, match="1d array"):
        adaptation.fit(X, X, sample_domain=sample_domain)
    with pytest.raises(ValueError, match="booleans"):
        adaptation.fit(X, y, sample_domain=sample_domain > 0)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        adaptation.fit(X, y, sample_domain=sample_domain[1:])
    adaptation.fit(X, y, sample_domain=sample_domain)
    with pytest.raises(ValueError, match="expecting 2 features"):
        adaptation.predict(X[:, :1])
