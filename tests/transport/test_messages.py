"""What is said where something is not used, not there, or not what it should be."""

import re
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from _problems import numpy_samples
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skot import (
    DomainAdaptation,
    GaussianTransport,
    LagrangianOT,
    MetaOTRegressor,
    NeuralOT,
    SinkhornTransport,
    W2GNTransport,
)
from skot.costs import Kinetic, PrecomputedCost, SquaredEuclidean
from skot.networks import MLPMap, MLPPotential
from skot.solvers import sinkhorn
from skot.solvers.conjugate import BestSoFar, ConjugateResult, ConjugateSolver
from skot.utils import stack_domains

X, Y = numpy_samples(40, 30)
STACKED, _, DOMAIN = stack_domains(X, Y)
LABELS = np.arange(len(X)) % 2
SMALL = {"potential": MLPPotential((8,)), "amortizer": MLPMap((8,)), "max_iter": 2}

# --- labels in the place of a target ---------------------------------------------------


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(float), [str(k) for k in LABELS]])
@pytest.mark.parametrize(
    "transport", [SinkhornTransport(), GaussianTransport(), W2GNTransport(**SMALL)]
)
def test_labels_are_no_target(transport, labels):
    message = (
        rf"y is one-dimensional, so {type(transport).__name__} takes it for labels, .* no target: "
        r"rows go to the reference distribution 'normal'.* two-dimensional y .*"
        r"sample_domain.*y=None"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        clone(transport).fit(X, labels)
    assert [one.filename for one in caught] == [__file__]
    with pytest.warns(UserWarning, match=message):
        clone(transport).fit_transform(X, labels)


@pytest.mark.parametrize(
    "call",
    [
        lambda: SinkhornTransport().fit(X),
        lambda: SinkhornTransport().fit(X, Y),
        lambda: SinkhornTransport().fit(STACKED, np.zeros(len(STACKED)), sample_domain=DOMAIN),
        lambda: SinkhornTransport(class_reg=0.1).fit(X, LABELS),
        # Pipelines and searches hand labels to all steps: the user cannot pass y=None there.
        lambda: make_pipeline(SinkhornTransport(), LogisticRegression()).fit(X, LABELS),
        lambda: make_pipeline(SinkhornTransport(), GaussianTransport()).fit_transform(X, LABELS),
        lambda: GridSearchCV(SinkhornTransport(), {"epsilon": [0.1]}, cv=2).fit(X, LABELS),
    ],
)
def test_labels_that_are_of_use_or_handed_on(call):
    call()


# --- few rows for the features ---------------------------------------------------------


def rows(n, d, seed=0):
    return np.random.RandomState(seed).standard_normal((n, d))


@pytest.mark.parametrize(
    "n, figure, remedy",
    [
        (2, "several times the variance of the target, or next to none", "Pass shrinkage=0.8"),
        (4, "several times the variance of the target, or next to none", "Pass shrinkage=0.5"),
        (8, "off by about 50 %", "Pass shrinkage=0.3"),
        (12, "off by about 25 %", "Pass shrinkage=0.1"),
        (28, "off by about 8 %", "Shrinkage gains little here: reduce the features"),
    ],
)
def test_few_rows_for_a_gaussian(n, figure, remedy):
    message = f"covariances of 4 features from {n} rows, .*{figure}.* {remedy}.*fit on 40 rows"
    with pytest.warns(UserWarning, match=message):
        GaussianTransport().fit(rows(n, 4), rows(100, 4))
    with pytest.warns(UserWarning, match=message):
        GaussianTransport().fit(rows(100, 4), rows(n, 4))


def test_rows_without_weight_are_none():
    weights = np.where(np.arange(100) < 20, 1.0, 0.0)
    with pytest.warns(UserWarning, match="from 20 rows"):
        GaussianTransport().fit(rows(100, 4), rows(100, 4), weights)


@pytest.mark.parametrize(
    "call",
    [
        lambda: GaussianTransport(shrinkage=0.01).fit(rows(20, 4), rows(20, 4)),
        lambda: GaussianTransport().fit(rows(40, 4), rows(40, 4)),
        # The reference is known, whatever the number of its points.
        lambda: GaussianTransport().fit(rows(1100, 110)),
    ],
)
def test_enough_rows_for_a_gaussian(call):
    call()


def test_the_figure_in_the_warning_is_near_the_error():
    """Seeds other than those from which the table in the source was made."""
    errors = []
    for seed in range(8):
        rng = np.random.default_rng(100 + seed)
        A, B = (rng.normal(size=(20, 20)) / np.sqrt(20) + np.eye(20) for _ in "AB")
        Z = rng.normal(size=(1000, 20)) @ A
        exact = GaussianTransport().fit(
            rng.normal(size=(20000, 20)) @ A, rng.normal(size=(20000, 20)) @ B
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = GaussianTransport().fit(
                rng.normal(size=(60, 20)) @ A, rng.normal(size=(60, 20)) @ B
            )
        error = np.square(found.transform(Z) - exact.transform(Z)).sum(1).mean()
        errors.append(error / np.trace(B.T @ B))
    assert 0.125 < np.median(errors) < 0.5  # 25 % by the formula


# --- y that is no sample ---------------------------------------------------------------


@pytest.mark.parametrize(
    "y, what",
    [
        (("day 0", "day 1"), "a tuple of 2 values for 40 rows: names of tasks"),
        ("day", "the string 'day': names of columns or tasks are not looked up"),
        ({"target": Y}, "Got a dict"),
        ({"a", "b"}, "Got a set"),
        ((Y, LABELS), "a tuple of 2 arrays: samples are not told apart"),
        ([Y, Y], "a list of 2 arrays"),
        ([Y, Y[:3]], "a list of 2 arrays"),
        (3, "one int, 3"),
    ],
)
def test_y_that_is_no_sample(y, what):
    message = r"y must be the target sample, an array of shape \(n_target, 2\), or one label"
    with pytest.raises(ValueError, match=message) as caught:
        SinkhornTransport().fit(X, y)
    assert what in str(caught.value)
    assert "sample_domain, one integer per row: source >= 0, target < 0" in str(caught.value)


@pytest.mark.parametrize("y", [tuple(LABELS.tolist()), LABELS.tolist(), pd.Series(LABELS)])
def test_labels_of_any_kind_are_taken(y):
    SinkhornTransport(class_reg=0.1).fit(X, y)


# --- sample_domain ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "domain, message",
    [
        (1, "Got one int for all rows, 1"),
        (np.int64(-1), "Got one int64 for all rows"),
        (np.array(1), "Got one ndarray for all rows"),
        ("source", "Got one str for all rows, 'source'"),
        ({0: 1}, "Got one dict for all rows"),
        (np.ones(70, int), r"only source .*, its values are 1, .*np.where\(is_target, -1, 1\)"),
        ((DOMAIN > 0).astype(int), r"only source rows \(>= 0\), its values are 0, 1, but"),
        (-np.arange(1, 71), r"only target rows \(< 0\), its values are -70, -69, .*-66, \.\.\."),
        (DOMAIN.astype(float), r"floating point numbers: convert them by .astype\(int\)"),
        (np.where(DOMAIN > 0, 0.5, -1.0), "Got floating point numbers."),
        (np.where(DOMAIN > 0, np.nan, -1.0), "floating point numbers, NaN among them"),
        ([None, *DOMAIN[1:].tolist()], "Got missing values among them"),
        (pd.array([pd.NA, *DOMAIN[1:].tolist()], dtype="Int64"), "among them"),
        (DOMAIN + 0j, "Got complex numbers"),
        (DOMAIN.astype("M8[D]"), "Got dates"),
    ],
)  # fmt: skip
def test_sample_domain_that_is_none(domain, message):
    with pytest.raises(ValueError, match=message):
        SinkhornTransport().fit(STACKED, sample_domain=domain)


# --- values that are not finite --------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, pd.DataFrame])
@pytest.mark.parametrize("value, word", [(np.nan, "NaN"), (np.inf, "infinity")])
def test_bad_values_say_on_which_side_they_are(kind, value, word):
    target = Y.copy()
    target[3, 1] = value
    with pytest.raises(ValueError, match=rf"Input y \(the target sample\) contains {word}"):
        SinkhornTransport().fit(kind(X), kind(target))
    fitted = SinkhornTransport().fit(X, Y)
    with pytest.raises(ValueError, match=rf"Input y \(the target sample\) contains {word}"):
        fitted.score(kind(X), kind(target))
    for sides, where in (
        ([-1], r"1 target rows \(sample_domain < 0\)"),
        ([1], r"1 source rows \(sample_domain >= 0\)"),
        ([1, -1], r"1 source rows \(sample_domain >= 0\) and 1 target rows"),
    ):
        spoilt = STACKED.copy()
        for side in sides:
            spoilt[np.flatnonzero(side == DOMAIN)[2], 0] = value
        with pytest.raises(ValueError, match=rf"Input X contains {word}.*, in {where}"):
            SinkhornTransport().fit(kind(spoilt), sample_domain=DOMAIN)


# --- parameters ------------------------------------------------------------------------


def squared(x, y):
    return ((x[:, None] - y[None]) ** 2).sum(-1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: SinkhornTransport(cost=squared).fit(X, Y),
        lambda: NeuralOT(squared).fit(X, Y),
        lambda: sinkhorn(torch.from_numpy(X), torch.from_numpy(Y), cost=squared, epsilon=1.0),
        lambda: SinkhornTransport(cost=np.zeros((40, 30))).fit(X, Y),
        lambda: SinkhornTransport(cost=PrecomputedCost(np.zeros((40, 30)))).fit(X, Y),
    ],
)
def test_a_function_or_a_matrix_as_cost(call):
    with pytest.raises(ValueError, match=r"a subclass of skot.costs.Cost whose method pairwise"):
        call()


def test_a_function_as_cost_between_fixed_supports():
    with pytest.raises(
        ValueError, match=r"pass PrecomputedCost\(matrix\) .* SupportCost\(x, y, cost\)"
    ):
        MetaOTRegressor(squared).fit(np.full((3, 4), 0.5))


def test_a_class_as_cost():
    with pytest.raises(
        ValueError,
        match=r"Got <class 'skot.costs.SquaredEuclidean'> instead. Pass an "
        r"instance: SquaredEuclidean\(\)",
    ):
        SinkhornTransport(cost=SquaredEuclidean).fit(X, Y)


@pytest.mark.parametrize(
    "estimator, public",
    [
        (SinkhornTransport(cost=Kinetic()), "'skot.costs.Cost'"),
        (SinkhornTransport(initializer=3), "'skot.solvers.initializers.Initializer'"),
        (W2GNTransport(optimizer="adam"), "'skot.training.Optimizer'"),
        (W2GNTransport(amortization=3), "'skot.losses.Amortization'"),
        (NeuralOT(cost=3), "'skot.losses.WeakCost'"),
        (LagrangianOT(geodesic_solver=3), "'skot.solvers.geodesic.GeodesicSolver'"),
        (BestSoFar(3), "an object implementing 'solve'"),
    ],
)
def test_messages_name_what_can_be_imported(estimator, public):
    with pytest.raises(ValueError, match=re.escape(public)) as caught:
        estimator.fit(X, Y) if hasattr(estimator, "fit") else estimator.validate()
    assert not re.search(r"\bskot\.(\w+\.)*_", str(caught.value))


# --- solvers of others -----------------------------------------------------------------


class Pair:
    def get_params(self, deep=True):
        return {}

    def solve(self, potential, y, x_init):
        return x_init, True


class Point(Pair):
    def solve(self, potential, y, x_init):
        return x_init


class Turned(Pair):
    def solve(self, potential, y, x_init):
        every = torch.ones(len(y), dtype=torch.bool)
        return ConjugateResult(y[:, 0], x_init.T, every.long(), every)


class PairOfMinimize(ConjugateSolver):
    def minimize(self, objective, x_init):
        return x_init, True


@pytest.mark.parametrize(
    "solver, kind, message",
    [
        (Pair(), TypeError, r"Pair.solve must return a .*ConjugateResult\(value, arg"
         r".*Got \(<tensor \(30, 2\), float32>, True\)"),
        (Point(), TypeError, r"Point.solve must return .*Got <tensor \(30, 2\), float32>"),
        (BestSoFar(Pair()), TypeError, "Pair.solve must return"),
        (PairOfMinimize(), TypeError, "PairOfMinimize.minimize must return"),
        (Turned(), ValueError, r"Turned.solve .* shape \(30, 2\). Got <tensor \(2, 30\)"),
    ],
)  # fmt: skip
def test_a_conjugate_solver_that_returns_something_else(solver, kind, message):
    with pytest.raises(kind, match=message):
        W2GNTransport(conjugate_solver=solver, random_state=0, **SMALL).fit(X, Y)


# --- warnings and copies ---------------------------------------------------------------


def test_a_warning_in_a_search_names_the_candidate():
    with pytest.warns(ConvergenceWarning) as caught:
        GridSearchCV(
            SinkhornTransport(max_iter=3, tol=1e-9), {"epsilon": [1e-3, 10.0]}, cv=2, refit=False
        ).fit(X[:30], Y)
    named = {str(one.message).partition(" did not")[0] for one in caught}
    assert "SinkhornTransport(epsilon=0.001, max_iter=3, tol=1e-09)" in named


def test_a_warning_names_the_default_epsilon_too():
    with pytest.warns(
        ConvergenceWarning, match=r"SinkhornTransport\(epsilon=0.05, max_iter=1\) did"
    ):
        SinkhornTransport(max_iter=1).fit(X, Y)


@pytest.mark.parametrize(
    "transport", [SinkhornTransport(), SinkhornTransport(class_reg=0.1), GaussianTransport()]
)
def test_equal_fits_have_the_same_hash(transport):
    labels = np.where(DOMAIN > 0, np.arange(70) % 2, -1)

    def fit(rows):
        return clone(transport).fit(rows, labels, sample_domain=DOMAIN)

    fitted = fit(STACKED)
    assert joblib.hash(fitted) == joblib.hash(fit(STACKED.copy()))
    assert joblib.hash(fitted) == joblib.hash(fit(torch.from_numpy(STACKED)))
    assert joblib.hash(fitted) != joblib.hash(fit(STACKED + 1e-9))
    fitted.transform(X)
    assert joblib.hash(fitted) == joblib.hash(fit(STACKED))


def test_a_search_has_something_to_show_before_it_has_an_estimator():
    assert "DomainAdaptation" in DomainAdaptation(None)._repr_html_()
    with pytest.raises(ValueError, match="'estimator' parameter of DomainAdaptation .* Got None"):
        DomainAdaptation(None).fit(STACKED, np.zeros(70), sample_domain=DOMAIN)
