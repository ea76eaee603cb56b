import warnings

import numpy as np
import pytest
import sklearn
from _dummies import MeanShift
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skot import DomainAdaptation
from skot.metrics import AdaptationGainScorer, adaptation_gain
from skot.model_selection import DomainKFold
from skot.utils import stack_domains


def on_a_line():
    """Two groups of three rows, and the classes of two predictions."""
    X = np.array([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])[:, None]
    return X, np.repeat([0, 1], 3), np.array([0, 1, 0, 1, 0, 1])


def test_by_hand():
    X, right, mixed = on_a_line()
    gain = adaptation_gain(X, right, mixed, n_neighbors=2)
    # Means 1 and 11 around 6; the classes of the other prediction have means 13/3 +- and 23/3.
    total = 6 * 25 + 4.0
    assert gain.separation == pytest.approx(150 / total)
    means = np.array([(0 + 2 + 11) / 3, (1 + 10 + 12) / 3])
    assert gain.unadapted_separation == pytest.approx(3 * np.sum((means - 6) ** 2) / total)
    # Neighbours of the same group: all agree; else those of the outer rows agree by half.
    assert gain.agreement == pytest.approx(1.0 - 0.5)
    assert gain.unadapted_agreement == pytest.approx((4 * 0.5 + 2 * 0.0) / 6 - 0.5)
    assert gain.agreement_ratio == np.inf
    assert gain.ratio == gain.separation_ratio == gain.separation / gain.unadapted_separation
    assert gain.helps
    assert not gain.is_doubtful
    back = adaptation_gain(X, mixed, right, n_neighbors=2)
    assert back.is_doubtful
    assert not back.helps
    assert back.ratio == 0.0


def test_the_same_predictions_are_neither_help_nor_doubt():
    X, right, _ = on_a_line()
    gain = adaptation_gain(X, right, right + 5, n_neighbors=2)
    assert gain.ratio == 1.0
    assert not gain.helps
    assert not gain.is_doubtful
    assert "about as well" in str(gain)


def test_one_class_has_no_structure():
    X, right, _ = on_a_line()
    gain = adaptation_gain(X, np.zeros(6), right, n_neighbors=2)
    assert gain.separation == gain.agreement == 0.0
    assert "doubtful" in str(gain)
    assert adaptation_gain(X, np.zeros(6), np.ones(6), n_neighbors=2).ratio == 1.0


@pytest.mark.parametrize("names", [np.array(["cat", "dog"]), np.array([3, -1])])
def test_names_of_classes_do_not_matter(names):
    X, right, mixed = on_a_line()
    expected = adaptation_gain(X, right, mixed, n_neighbors=2)
    assert adaptation_gain(X, names[right], names[mixed], n_neighbors=2) == expected


def test_bad_input():
    X, right, mixed = on_a_line()
    with pytest.raises(ValueError, match="more rows than neighbours"):
        adaptation_gain(X[:5], right[:5], mixed[:5])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        adaptation_gain(X, right, mixed[1:], n_neighbors=2)


def shifted_blobs(shift=3.0, n=60):
    rng = np.random.default_rng(0)
    code = np.arange(n) % 2
    X_source = rng.normal(scale=0.5, size=(n, 2)) + 4.0 * code[:, None]
    X_target = rng.normal(scale=0.5, size=(n, 2)) + 4.0 * code[:, None] + shift
    return stack_domains(X_source, X_target, code)


@pytest.mark.parametrize("as_pipeline", [False, True])
def test_a_search_that_may_choose_not_to_adapt(as_pipeline):
    model = DomainAdaptation(LogisticRegression(), fallback="warn")
    name = "transport"
    if as_pipeline:
        model, name = make_pipeline(StandardScaler(), model), f"domainadaptation__{name}"
    found = {}
    with sklearn.config_context(enable_metadata_routing=True):
        for good in (True, False):
            transport = MeanShift() if good else MeanShift(-3.0)
            X, y, sample_domain = shifted_blobs(3.0 if good else 1.0)
            search = GridSearchCV(
                model, {name: ["passthrough", transport]}, cv=DomainKFold(2),
                scoring=AdaptationGainScorer(), error_score="raise", refit=False,
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Adapting is doubtful here")
                search.fit(X, y, sample_domain=sample_domain)
            found[good] = search.cv_results_["mean_test_score"]
    for scores in found.values():
        assert scores[0] == 1.0
    assert found[True][1] > 1.1
    assert found[False][1] < 1.0


def test_the_scorer_needs_a_classifier_and_what_to_compare_with():
    X, y, sample_domain = shifted_blobs()
    scorer = AdaptationGainScorer()
    plain = LogisticRegression().fit(X, y)
    regressor = DomainAdaptation(LinearRegression(), MeanShift())
    regressor.fit(X, y.astype(float), sample_domain=sample_domain)
    for model in (plain, regressor):
        with pytest.raises(ValueError, match="needs a DomainAdaptation of a classifier"):
            scorer(model, X, sample_domain=sample_domain)
    unguarded = DomainAdaptation(LogisticRegression(), MeanShift(), fallback=None)
    unguarded.fit(X, y, sample_domain=sample_domain)
    with pytest.raises(ValueError, match='fallback="warn"'):
        scorer(unguarded, X, sample_domain=sample_domain)


def test_one_class_separates_nothing():
    """To the last digit, or the ratio were that of a rounding error."""
    rows = np.random.default_rng(0).normal(size=(150, 2)) + 50.0
    gain = adaptation_gain(rows, rows[:, 0] > 50.0, np.zeros(150))
    assert gain.unadapted_separation == 0.0
    assert gain.separation_ratio == np.inf


def test_the_score_beside_a_single_class_is_finite():
    ys = np.arange(200) % 2
    Xs, Xt = np.random.default_rng(0).normal(size=(2, 200, 2)) + 4.0 * ys[:, None]
    X, y, sample_domain = stack_domains(Xs, Xt + 50.0, ys)
    model = DomainAdaptation(LogisticRegression()).fit(X, y, sample_domain=sample_domain)
    assert model.adaptation_gain_.ratio == np.inf
    assert AdaptationGainScorer()(model, X, sample_domain=sample_domain) == 100.0
