"""Data frames keep the names and types of their columns on every way through."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from _dummies import MeanShift
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skot import DomainAdaptation, GaussianTransport, SinkhornTransport
from skot.utils import stack_domains

DIRECTIONS = ["source_to_target", "target_to_source"]
NUMBERS = ["width", "height"]


@pytest.fixture
def table():
    """A frame with a category that tells the class of every other row."""
    rng = np.random.default_rng(0)
    code = np.arange(80) % 2
    X_source = rng.normal(size=(80, 2)) + 4.0 * code[:, None]
    X_target = rng.normal(size=(80, 2)) + 4.0 * code[:, None] + 2.0
    X, y, sample_domain = stack_domains(X_source, X_target, code, code)
    colour = np.where(np.arange(160) % 3 == 0, "grey", np.where(y == 1, "red", "blue"))
    frame = pd.DataFrame(X, columns=NUMBERS)
    frame.insert(0, "colour", pd.Categorical(colour))
    return frame, y, sample_domain


def of_numbers(transformer):
    return make_column_transformer(
        (transformer, NUMBERS), remainder="passthrough", verbose_feature_names_out=False
    )


class Watching(HistGradientBoostingClassifier):
    """Keeps what it gets."""

    def fit(self, X, y, sample_weight=None):
        self.X_ = X
        return super().fit(X, y, sample_weight)

    def predict(self, X):
        self.seen_ = X
        return super().predict(X)


def watching():
    return Watching(categorical_features="from_dtype", max_iter=5)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("scaled", [False, True])
def test_a_transport_of_some_columns_lets_categories_pass(table, direction, scaled):
    """Also without metadata routing, and also where it orders columns anew."""
    X, y, sample_domain = table
    target = sample_domain < 0
    model = DomainAdaptation(watching(), of_numbers(GaussianTransport()), direction=direction)
    if scaled:
        model.set_params(domain_scaler=of_numbers(StandardScaler()))
    model.fit(X, y, sample_domain=sample_domain)
    assert model.score(X[target], y[target]) > 0.95
    model.predict(X[target])
    for seen, rows in ((model.estimator_.X_, ~target), (model.estimator_.seen_, target)):
        assert seen.columns.tolist() == [*NUMBERS, "colour"]
        assert seen["colour"].dtype == X["colour"].dtype
        assert_array_equal(seen["colour"], X["colour"][rows])
    numbers = DomainAdaptation(watching(), GaussianTransport(), direction=direction)
    if scaled:
        numbers.set_params(domain_scaler=StandardScaler())
    numbers.fit(X[NUMBERS], y, sample_domain=sample_domain)
    np.testing.assert_allclose(model.estimator_.X_[NUMBERS], numbers.estimator_.X_)
    numbers.predict(X.loc[target, NUMBERS])
    np.testing.assert_allclose(model.estimator_.seen_[NUMBERS], numbers.estimator_.seen_)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_nothing_moves_nothing_changes(table, direction):
    X, y, sample_domain = table
    target = sample_domain < 0
    model = DomainAdaptation(watching(), "passthrough", direction=direction)
    model.fit(X, y, sample_domain=sample_domain).predict(X[target])
    pd.testing.assert_frame_equal(model.estimator_.X_, X[~target])
    pd.testing.assert_frame_equal(model.estimator_.seen_, X[target])
    assert model.feature_names_in_.tolist() == ["colour", *NUMBERS]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize(
    "name, transport",
    [("None", None), ("dummy", MeanShift()), ("some", of_numbers(GaussianTransport()))],
)
def test_names_reach_the_estimator(table, direction, library, name, transport):
    X, y, sample_domain = table
    given = library.DataFrame({name: X[name].to_numpy() for name in NUMBERS})
    by_name = make_column_transformer((StandardScaler(), ["height"]), remainder="passthrough")
    model = DomainAdaptation(
        make_pipeline(by_name, LogisticRegression()),
        transport,
        direction=direction,
        domain_scaler=StandardScaler(),
    )
    model.fit(given, y, sample_domain=sample_domain)
    assert model.estimator_.feature_names_in_.tolist() == NUMBERS
    by_place = make_column_transformer((StandardScaler(), [1]), remainder="passthrough")
    expected = DomainAdaptation(
        make_pipeline(by_place, LogisticRegression()),
        {"None": None, "dummy": MeanShift(), "some": GaussianTransport()}[name],
        direction=direction,
        domain_scaler=StandardScaler(),
    ).fit(X[NUMBERS].to_numpy(), y, sample_domain=sample_domain)
    np.testing.assert_allclose(
        model.predict_proba(given), expected.predict_proba(X[NUMBERS].to_numpy()), rtol=1e-6
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_categories_in_the_estimator(table, direction):
    X, y, sample_domain = table
    inside = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = DomainAdaptation(
        make_pipeline(inside, LogisticRegression()),
        of_numbers(SinkhornTransport()),
        direction=direction,
    )
    model.fit(X, y, sample_domain=sample_domain)
    assert model.score(X, y, sample_domain=sample_domain) > 0.95


def test_a_frozen_transport_of_some_columns(table):
    X, y, sample_domain = table
    target = sample_domain < 0
    free = DomainAdaptation(watching(), of_numbers(GaussianTransport()))
    free.fit(X, y, sample_domain=sample_domain)
    frozen = DomainAdaptation(watching(), FrozenEstimator(free.transport_))
    frozen.fit(X, y, sample_domain=sample_domain)
    expected = free.predict_proba(X[target])
    assert_array_equal(frozen.predict_proba(X[target]), expected)


def test_numbers_only_is_said_in_the_words_of_scikit_learn(table):
    X, y, sample_domain = table
    with pytest.raises(ValueError, match="could not convert string to float"):
        DomainAdaptation(watching(), SinkhornTransport()).fit(X, y, sample_domain=sample_domain)


def test_what_else_a_frame_is_checked_for(table):
    X, y, sample_domain = table
    model = DomainAdaptation(watching(), "passthrough")
    with pytest.raises(ValueError, match="only source rows"):
        model.fit(X, y, sample_domain=np.ones(160, int))
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        model.fit(X, y, sample_domain=np.where(np.arange(160) < 1, -1, 1))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[1:], sample_domain=sample_domain[1:])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        model.fit(X, np.where(sample_domain > 0, np.nan, y), sample_domain=sample_domain)
    model.fit(X, y, sample_domain=sample_domain)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X.rename(columns={"colour": "color"}))
    twin = clone(model).fit(X, y, sample_domain=sample_domain)
    assert_array_equal(twin.predict(X), model.predict(X))
