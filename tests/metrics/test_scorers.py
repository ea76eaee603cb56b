import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from _dummies import MeanShift
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import balanced_accuracy_score, get_scorer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.metadata_routing import get_routing_for_object

from skot import DomainAdaptation, SinkhornTransport
from skot.metrics import (
    CircularValidationScorer,
    PredictionEntropyScorer,
    SupervisedTargetScorer,
    TransportDivergenceScorer,
)
from skot.metrics._scorers import _share_weights
from skot.model_selection import DomainKFold
from skot.utils import stack_domains

SCORERS = [
    CircularValidationScorer(),
    PredictionEntropyScorer(),
    SupervisedTargetScorer(),
    TransportDivergenceScorer(),
]


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


@pytest.mark.parametrize("scorer", SCORERS)
def test_scorers_are_components_that_request_sample_domain(scorer):
    assert repr(clone(scorer)) == repr(scorer)
    assert get_scorer(scorer) is scorer
    assert get_routing_for_object(scorer).score.requests == {"sample_domain": True}


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("as_pipeline", [False, True])
def test_the_better_transport_scores_higher(scorer, as_pipeline, routing):
    X, y, sample_domain = shifted_blobs()
    model = DomainAdaptation(KNeighborsClassifier(5), MeanShift())
    name = "transport__strength"
    if as_pipeline:
        model, name = make_pipeline(StandardScaler(), model), f"domainadaptation__{name}"
    search = GridSearchCV(model, {name: [0.5, 1.0]}, scoring=scorer, cv=DomainKFold(4))
    search.fit(X, y, sample_domain=sample_domain)
    assert search.best_params_ == {name: 1.0}
    worse, better = search.cv_results_["mean_test_score"]
    assert worse < better


@pytest.mark.parametrize("scorer", [SCORERS[0], SCORERS[1], SCORERS[3]])
def test_labels_of_the_target_change_nothing(scorer):
    X, y, sample_domain = shifted_blobs()
    model = DomainAdaptation(LogisticRegression(), MeanShift(0.7))
    model.fit(X, y, sample_domain=sample_domain)
    noise = np.where(sample_domain < 0, 1 - y, y)
    scores = [scorer(model, X, labels, sample_domain=sample_domain) for labels in (y, noise)]
    assert scores[0] == scores[1]


def test_several_scorers_in_one_search(routing):
    X, y, sample_domain = shifted_blobs()
    scoring = {type(scorer).__name__: scorer for scorer in SCORERS}
    results = cross_validate(
        DomainAdaptation(LogisticRegression(), MeanShift()),
        X,
        y,
        scoring=scoring,
        cv=DomainKFold(2),
        params={"sample_domain": sample_domain},
        error_score="raise",
    )
    for name in scoring:
        assert np.isfinite(results[f"test_{name}"]).all()


def test_data_frames_stay_data_frames(routing):
    X, y, sample_domain = shifted_blobs()
    X = pd.DataFrame(X, columns=["width", "height"])
    model = make_pipeline(StandardScaler(), DomainAdaptation(LogisticRegression(), MeanShift()))
    model.fit(X, y, sample_domain=sample_domain)
    for scorer in SCORERS:
        assert np.isfinite(scorer(model, X, y, sample_domain=sample_domain))


def test_entropy_by_hand():
    X, sample_domain = np.zeros((4, 1)), [1, 1, -1, -1]
    guess = DummyClassifier(strategy="prior").fit(X, [0, 0, 0, 1])
    expected = 0.75 * np.log(0.75) + 0.25 * np.log(0.25)
    score = PredictionEntropyScorer()(guess, X, sample_domain=sample_domain)
    assert score == pytest.approx(expected)
    sure = DummyClassifier(strategy="most_frequent").fit(X, [0, 0, 0, 1])
    assert PredictionEntropyScorer()(sure, X, sample_domain=sample_domain) == 0.0
    with pytest.raises(AttributeError, match="needs predict_proba, which LinearSVC"):
        PredictionEntropyScorer()(LinearSVC(), X, sample_domain=sample_domain)


class TestCircularValidation:
    def test_by_hand(self):
        """The way back is a fit on the predictions, with the roles swapped."""
        X, y, sample_domain = shifted_blobs()
        y[::7] = 1 - y[::7]
        source = sample_domain >= 0
        model = DomainAdaptation(KNeighborsClassifier(3), MeanShift(0.5))
        model.fit(X, y, sample_domain=sample_domain)
        predicted = model.predict(X[~source])
        X_back, y_back, domain_back = stack_domains(X[~source], X[source], predicted)
        back = clone(model).fit(X_back, y_back, sample_domain=domain_back)
        expected = back.score(X[source], y[source])
        score = CircularValidationScorer()(model, X, y, sample_domain=sample_domain)
        assert score == expected < 1.0
        balanced = CircularValidationScorer(balanced_accuracy_score)
        assert balanced(model, X, y, sample_domain=sample_domain) == pytest.approx(
            balanced_accuracy_score(y[source], back.predict(X[source]))
        )

    @pytest.mark.parametrize("labels", [(-1, 1), ("cat", "dog"), (0.0, 1.0), (False, True)])
    @pytest.mark.parametrize("use_target_labels", [False, True])
    def test_kinds_of_labels(self, labels, use_target_labels):
        X, y, sample_domain = shifted_blobs(labels=labels)
        model = DomainAdaptation(
            LogisticRegression(), MeanShift(), use_target_labels=use_target_labels
        )
        model.fit(X, y, sample_domain=sample_domain)
        assert CircularValidationScorer()(model, X, y, sample_domain=sample_domain) == 1.0

    def test_labels_of_the_source_do_not_help_on_the_way_back(self):
        """Random labels stay at chance, also where target labels may be used."""
        X, y, sample_domain = shifted_blobs(n=200)
        y = np.random.default_rng(0).integers(0, 2, size=len(y))
        model = DomainAdaptation(
            KNeighborsClassifier(1), MeanShift(), use_target_labels=True, fallback=None
        )
        model.fit(X, np.where(sample_domain < 0, -1, y), sample_domain=sample_domain)
        score = CircularValidationScorer()(model, X, y, sample_domain=sample_domain)
        assert 0.3 < score < 0.8

    def test_one_predicted_class(self):
        X, y, sample_domain = shifted_blobs()
        model = DomainAdaptation(DummyClassifier(strategy="most_frequent"), MeanShift())
        model.fit(X, np.where(np.arange(len(y)) < 2, 1, 0), sample_domain=sample_domain)
        assert CircularValidationScorer()(model, X, y, sample_domain=sample_domain) == 0.5

    def test_regressors(self):
        rng = np.random.default_rng(0)
        X_source = rng.normal(size=(50, 2))
        y_source = X_source @ [1.0, 2.0]
        X, y, sample_domain = stack_domains(X_source, X_source + 3.0, y_source)
        model = DomainAdaptation(LinearRegression(), MeanShift())
        model.fit(X, y, sample_domain=sample_domain)
        score = CircularValidationScorer()(model, X, y, sample_domain=sample_domain)
        assert score == pytest.approx(1.0)
        constant = DomainAdaptation(DummyRegressor(), MeanShift())
        constant.fit(X, y, sample_domain=sample_domain)
        score = CircularValidationScorer()(constant, X, y, sample_domain=sample_domain)
        assert score == pytest.approx(0.0)

    def test_needs_source_rows_and_labels(self):
        X, y, sample_domain = shifted_blobs()
        model = DomainAdaptation(LogisticRegression(), MeanShift())
        model.fit(X, y, sample_domain=sample_domain)
        with pytest.raises(ValueError, match="needs source rows"):
            CircularValidationScorer()(model, X, y, sample_domain=-np.ones(len(y), int))
        with pytest.raises(ValueError, match="requires y"):
            CircularValidationScorer()(model, X, sample_domain=sample_domain)


class TestTransportDivergence:
    @pytest.mark.parametrize("direction", ["source_to_target", "target_to_source"])
    def test_is_the_score_of_the_transport(self, direction):
        X, y, sample_domain = shifted_blobs()
        model = DomainAdaptation(LogisticRegression(), MeanShift(0.5), direction=direction)
        model.fit(X, y, sample_domain=sample_domain)
        gap = X[sample_domain >= 0].mean(axis=0) - X[sample_domain < 0].mean(axis=0)
        score = TransportDivergenceScorer()(model, X, sample_domain=sample_domain)
        assert score == pytest.approx(-((0.5 * gap) @ (0.5 * gap)))

    def test_needs_a_transport(self):
        X, y, sample_domain = shifted_blobs()
        plain = LogisticRegression().fit(X, y)
        with pytest.raises(ValueError, match="needs a DomainAdaptation"):
            TransportDivergenceScorer()(plain, X, y, sample_domain=sample_domain)


class TestSupervisedTarget:
    def test_counts_known_target_rows_only(self):
        X, y, sample_domain = shifted_blobs()
        model = LogisticRegression().fit(X, y)
        target = np.flatnonzero(sample_domain < 0)
        y = np.where(sample_domain < 0, 1 - y, y)
        assert SupervisedTargetScorer()(model, X, y, sample_domain=sample_domain) < 0.5
        known = target[:3]
        y[np.setdiff1d(target, known)] = -1
        expected = model.score(X[known], y[known])
        assert SupervisedTargetScorer()(model, X, y, sample_domain=sample_domain) == expected
        y[target] = -1
        with pytest.raises(ValueError, match="known label"):
            SupervisedTargetScorer()(model, X, y, sample_domain=sample_domain)

    def test_any_scoring(self):
        X, y, sample_domain = shifted_blobs(shift=1.5)
        target = sample_domain < 0
        model = LogisticRegression().fit(X[~target], y[~target])
        for scoring in ("roc_auc", "neg_log_loss", get_scorer("balanced_accuracy")):
            expected = sklearn.metrics.check_scoring(model, scoring)(model, X[target], y[target])
            found = SupervisedTargetScorer(scoring)(model, X, y, sample_domain=sample_domain)
            assert found == expected

    def test_rows_of_any_container(self):
        X, y, sample_domain = shifted_blobs()
        model = DomainAdaptation(LogisticRegression(), MeanShift())
        model.fit(X, y, sample_domain=sample_domain)
        expected = model.score(X, y, sample_domain=sample_domain)
        for container in (X.tolist(), torch.from_numpy(X)):
            scorer = SupervisedTargetScorer()
            assert scorer(model, container, y, sample_domain=sample_domain) == expected


@pytest.mark.parametrize("scorer", SCORERS)
def test_bad_sample_domain(scorer):
    X, y, sample_domain = shifted_blobs()
    model = DomainAdaptation(LogisticRegression(), MeanShift())
    model.fit(X, y, sample_domain=sample_domain)
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        scorer(model, X, y)
    with pytest.raises(ValueError, match="scores target rows"):
        scorer(model, X, y, sample_domain=np.ones(len(y), int))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        scorer(model, X, y, sample_domain=sample_domain[1:])


def test_bad_parameters():
    X, y, sample_domain = shifted_blobs()
    with pytest.raises(ValueError, match="The 'metric' parameter of CircularValidationScorer"):
        CircularValidationScorer(metric="accuracy")(None, X, y, sample_domain=sample_domain)
    with pytest.raises(ValueError, match="The 'scoring' parameter of SupervisedTargetScorer"):
        SupervisedTargetScorer(scoring=3)(None, X, y, sample_domain=sample_domain)


def test_transport_divergence_counts_classes_as_the_fit_did():
    """With half of the source in a class of a tenth of the target, equal rows would miss it."""
    rng = np.random.default_rng(0)
    y_source, y_target = np.repeat([0, 1], 150), np.repeat([0, 1], [270, 30])
    X_source, X_target = (
        rng.normal(size=(len(y), 2)) + 6.0 * y[:, None] for y in (y_source, y_target)
    )
    X, y, sample_domain = stack_domains(X_source, X_target, y_source)
    adaptation = DomainAdaptation(
        LogisticRegression(), SinkhornTransport(), target_shares=[0.9, 0.1]
    )
    adaptation.fit(X, y, sample_domain=sample_domain)
    weighted = TransportDivergenceScorer()(adaptation, X, y, sample_domain=sample_domain)
    with pytest.warns(UserWarning, match="labels to a scorer where .* target_shares"):
        equal = TransportDivergenceScorer()(adaptation, X, sample_domain=sample_domain)
    assert weighted > -0.05
    assert equal < weighted - 0.1


def test_shares_count_in_folds_that_lack_a_class():
    """The weights of the others are as they were to each other, not equal."""
    shares, classes = np.array([0.6, 0.3, 0.1]), np.array(["a", "b", "c"])
    y, is_source = np.array(["a", "a", "a", "b", "b", "?"]), np.arange(6) < 5
    weights = _share_weights(shares, classes, y, is_source)
    assert_allclose(weights, [10 / 9, 10 / 9, 10 / 9, 5 / 6, 5 / 6, 1.0])
