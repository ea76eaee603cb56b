"""What scikit-learn's tools drop or take for something else is said."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from _dummies import MeanShift
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skot import DomainAdaptation, SinkhornTransport
from skot.adaptation._misuse import hash_rows
from skot.metrics import CircularValidationScorer, SupervisedTargetScorer
from skot.model_selection import DomainKFold
from skot.utils import stack_domains

NO_TARGET = "scores DomainAdaptation without sample_domain"


def blobs(labels=(0, 1), shift=2.0, n=60):
    """Two classes; the truth about the target too."""
    rng = np.random.default_rng(0)
    code = np.arange(n) % 2
    X_source = rng.normal(size=(n, 2)) + 4.0 * code[:, None]
    X_target = rng.normal(size=(n, 2)) + 4.0 * code[:, None] + shift
    y = np.asarray(labels)[code]
    return stack_domains(X_source, X_target, y, y)


def without_labels(y, sample_domain):
    return np.where(sample_domain < 0, -1, y)


def adaptation():
    return DomainAdaptation(LogisticRegression(), SinkhornTransport())


def routing():
    return sklearn.config_context(enable_metadata_routing=True)


# --- searches --------------------------------------------------------------------------


@pytest.mark.parametrize("as_pipeline", [False, True])
def test_a_search_without_routing(as_pipeline):
    X, y, sample_domain = blobs()
    model, prefix = adaptation(), ""
    if as_pipeline:
        model, prefix = make_pipeline(StandardScaler(), model), "domainadaptation__"
    search = GridSearchCV(model, {f"{prefix}transport__epsilon": [0.05, 0.5]}, cv=3)
    with pytest.warns(UserWarning, match=NO_TARGET) as caught:
        search.fit(X, y, **{f"{prefix}sample_domain": sample_domain})
    assert {warning.filename for warning in caught} == {__file__}
    assert "enable_metadata_routing=True" in str(caught[0].message)


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc", get_scorer("neg_log_loss")])
def test_scorers_that_know_no_sides(scoring):
    X, y, sample_domain = blobs()
    with routing(), pytest.warns(UserWarning, match=NO_TARGET):
        cross_val_score(
            adaptation(), X, y, cv=DomainKFold(3), scoring=scoring,
            params={"sample_domain": sample_domain},
        )  # fmt: skip


@pytest.mark.parametrize(
    "scoring",
    [
        None,
        SupervisedTargetScorer("accuracy"),
        CircularValidationScorer(),
        lambda model, X, y: np.mean(model.predict(X) == y),
    ],
)
def test_scorers_that_know_them(scoring):
    """One of the user's own may know what it does."""
    X, y, sample_domain = blobs()
    with routing():
        scores = cross_val_score(
            adaptation(), X, y, cv=DomainKFold(3), scoring=scoring,
            params={"sample_domain": sample_domain}, error_score="raise",
        )  # fmt: skip
    assert scores.min() > 0.5


def test_what_a_search_counted(recwarn):
    """Source rows are right by half where target rows are by all, and marks are never right."""
    X, y, sample_domain = blobs()
    y = without_labels(y, sample_domain)
    with routing():
        search = GridSearchCV(
            adaptation(), {"transport__epsilon": [0.05]}, cv=DomainKFold(3), scoring="accuracy"
        ).fit(X, y, sample_domain=sample_domain)
    assert search.best_score_ < 0.5
    assert any(NO_TARGET in str(warning.message) for warning in recwarn)


def test_no_known_label_in_a_search():
    X, y, sample_domain = blobs()
    search = GridSearchCV(adaptation(), {"transport__epsilon": [0.05, 0.5]}, cv=DomainKFold(3))
    y = without_labels(y, sample_domain)
    with routing(), pytest.warns(UserWarning, match="Scoring failed|non-finite") as caught:
        search.fit(X, y, sample_domain=sample_domain)
    failures = [str(one.message) for one in caught if "Scoring failed" in str(one.message)]
    assert len(failures) == 6
    for message in failures:
        assert "every score would be NaN, and the first candidate the best" in message
        assert "CircularValidationScorer()" in message
    with routing(), pytest.raises(ValueError, match="needs target rows with a known label"):
        search.set_params(error_score="raise").fit(X, y, sample_domain=sample_domain)


# --- rows of the source in score -------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, pd.DataFrame])
def test_rows_of_the_source_are_known_again(kind):
    X, y, sample_domain = blobs()
    model = adaptation().fit(kind(X), y, sample_domain=sample_domain)
    with pytest.warns(UserWarning, match="60 of 120 rows are source rows of fit"):
        model.score(kind(X), y)
    target = sample_domain < 0
    model.score(kind(X[target]), y[target])
    model.score(kind(X), y, sample_domain=sample_domain)
    model.score(kind(X + 1e-9), y)  # others


def test_rows_that_are_in_both_domains_say_nothing():
    X, y, sample_domain = blobs()
    X = np.round(X / 4.0)
    model = DomainAdaptation(LogisticRegression(), MeanShift(), fallback=None)
    model.fit(X, y, sample_domain=sample_domain)
    twice = np.isin(hash_rows(X), hash_rows(X[sample_domain < 0]))
    assert (twice & (sample_domain >= 0)).any()
    model.score(X[twice], y[twice])


def test_hashes():
    X = np.random.default_rng(0).normal(size=(2000, 3))
    assert len(np.unique(hash_rows(X))) == 2000
    # In integers and in another order of the columns the rows are others.
    assert len(np.unique(hash_rows(np.indices((10, 10, 10)).reshape(3, -1).T))) == 1000
    assert hash_rows(np.array([[0.0]])) == hash_rows(np.array([[-0.0]]))
    assert hash_rows(pd.DataFrame({"a": ["x"]})) is None


# --- ensembles and calibration ---------------------------------------------------------


def accuracy(model, X, y, sample_domain, labels):
    with routing():
        model.fit(X, labels, sample_domain=sample_domain)
        target = sample_domain < 0
        return np.mean(model.predict(X[target]) == y[target])


def test_soft_votes():
    X, y, sample_domain = blobs()
    marked, filled = without_labels(y, sample_domain), np.where(sample_domain < 0, 1, y)
    voting = VotingClassifier([("a", adaptation()), ("b", adaptation())], voting="soft")
    with pytest.warns(UserWarning, match="inside an ensemble.*any label of the source instead"):
        assert accuracy(voting, X, y, sample_domain, marked) < 0.1
    assert accuracy(voting, X, y, sample_domain, filled) > 0.95


def test_calibration():
    X, y, sample_domain = blobs()
    marked = without_labels(y, sample_domain)
    around = CalibratedClassifierCV(adaptation(), cv=3)
    with pytest.warns(UserWarning, match="calibrates DomainAdaptation on source rows"):
        accuracy(around, X, y, sample_domain, marked)
    inside = DomainAdaptation(CalibratedClassifierCV(LogisticRegression(), cv=3))
    assert accuracy(inside, X, y, sample_domain, marked) > 0.95


# --- what is given to fit --------------------------------------------------------------


def test_several_domains_are_named():
    X, y, sample_domain = blobs()
    source = sample_domain >= 0
    several = np.where(source, np.arange(len(y)) % 3, -1)
    with pytest.warns(
        UserWarning, match=r"3 source domains \(0, 1, 2\), which are pooled"
    ) as found:
        adaptation().fit(X, y, sample_domain=several)
    assert len(found) == 1
    with pytest.warns(UserWarning, match=r"2 target domains \(-5, -1\)"):
        adaptation().fit(X, y, sample_domain=np.where(source, 1, [-1, -1, -5, -5] * 30))


def test_minus_one_as_a_class_and_as_a_mark():
    X, y, sample_domain = blobs(labels=(-1, 1))
    with pytest.warns(UserWarning, match="All target rows have the label -1, which is a class"):
        adaptation().fit(X, without_labels(y, sample_domain), sample_domain=sample_domain)
    adaptation().fit(X, y, sample_domain=sample_domain)  # the truth
    unknown = np.where(sample_domain < 0, np.nan, y)
    adaptation().fit(X, unknown, sample_domain=sample_domain)


def test_weights_of_target_rows():
    X, y, sample_domain = blobs()
    source = sample_domain >= 0
    weight = np.random.default_rng(0).random(len(y))
    with pytest.warns(UserWarning, match="reach nobody.*the same method of the estimator"):
        adaptation().fit(X, y, sample_domain=sample_domain, sample_weight=weight)
    adaptation().fit(X, y, sample_domain=sample_domain, sample_weight=np.where(source, weight, 1.0))
    with routing():
        DomainAdaptation(
            LogisticRegression().set_fit_request(sample_weight=True),
            SinkhornTransport().set_fit_request(sample_weight=True),
        ).fit(X, y, sample_domain=sample_domain, sample_weight=weight)


@pytest.mark.parametrize("shares", [None, [0.5, 0.5]])
def test_weights_of_other_lengths(shares):
    """One number counts for all rows, as in scikit-learn, and a length that is wrong is said."""
    X, y, sample_domain = blobs()
    model = adaptation().set_params(target_shares=shares)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y, sample_domain=sample_domain, sample_weight=np.ones(10))
    one = model.fit(X, y, sample_domain=sample_domain, sample_weight=2.0).predict(X)
    as_list = model.fit(X, y, sample_domain=sample_domain, sample_weight=[2.0] * len(y)).predict(X)
    assert (one == as_list).all()


def test_a_search_says_one_thing():
    """Also of training rows: not how many of each fold are source rows."""
    X, y, sample_domain = blobs()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cross_validate(
            adaptation(), X, y, cv=2, params={"sample_domain": sample_domain},
            return_train_score=True,
        )  # fmt: skip
    assert {str(one.message)[:18] for one in caught} == {"A search or cross-"}


def test_values_of_a_regression_are_no_marks():
    X, y, sample_domain = blobs()
    values = y + np.random.default_rng(0).normal(size=len(y))
    model = DomainAdaptation(LinearRegression(), MeanShift())
    with routing(), warnings.catch_warnings():
        warnings.simplefilter("error")
        VotingRegressor([("one", model)]).fit(X, values, sample_domain=sample_domain)


def test_rows_of_few_values_coincide_by_chance():
    rng = np.random.default_rng(0)
    source, target, new = rng.integers(0, 16, size=(3, 180, 2)).astype(float)
    X, y, sample_domain = stack_domains(source, target, source[:, 0] > 7)
    model = adaptation().fit(X, y, sample_domain=sample_domain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.score(new, new[:, 0] > 7)


def test_nothing_is_said_without_a_reason():
    X, y, sample_domain = blobs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = adaptation().fit(X, without_labels(y, sample_domain), sample_domain=sample_domain)
        model.predict(X)
        model.predict_proba(X[sample_domain < 0])
