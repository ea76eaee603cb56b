import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, check_cv, cross_validate
from sklearn.utils.metadata_routing import get_routing_for_object

from skot.model_selection import DomainKFold
from skot.utils import stack_domains

SAMPLE_DOMAIN = np.array([1] * 13 + [-1] * 8 + [2, 0, -3, 1])


def split(cv, sample_domain=SAMPLE_DOMAIN):
    return list(cv.split(np.zeros((len(sample_domain), 2)), sample_domain=sample_domain))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("n_splits", [2, 3, 5, 9])
def test_folds_partition_the_rows_of_each_side(n_splits, shuffle):
    folds = split(DomainKFold(n_splits, shuffle=shuffle, random_state=0 if shuffle else None))
    assert len(folds) == n_splits
    rows = np.arange(len(SAMPLE_DOMAIN))
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), rows)
    for train, test in folds:
        np.testing.assert_array_equal(np.union1d(train, test), rows)
        assert np.intersect1d(train, test).size == 0
        for side in (SAMPLE_DOMAIN >= 0, SAMPLE_DOMAIN < 0):
            in_test = side[test].sum()
            assert in_test in (side.sum() // n_splits, -(-side.sum() // n_splits))
            assert in_test >= 1


def test_unshuffled_folds_keep_the_order():
    (train, test), _ = split(DomainKFold(2), [1, -1, 1, -1, 1, 1])
    assert test.tolist() == [0, 1, 2]
    assert train.tolist() == [3, 4, 5]


def test_random_state():
    def first_test(random_state):
        return split(DomainKFold(3, shuffle=True, random_state=random_state))[0][1].tolist()

    assert first_test(0) == first_test(0) != first_test(1)
    shared = np.random.RandomState(0)
    assert first_test(shared) != first_test(shared)
    before = np.random.get_state()[1].tolist()
    first_test(0)
    assert np.random.get_state()[1].tolist() == before


def test_the_sides_are_shuffled_independently():
    (_, test), *_ = split(DomainKFold(2, shuffle=True, random_state=0), [1] * 40 + [-1] * 40)
    assert test[test < 40].tolist() != (test[test >= 40] - 40).tolist()


def test_requests_sample_domain():
    cv = DomainKFold(4)
    assert get_routing_for_object(cv).split.requests == {"sample_domain": True}
    assert check_cv(cv) is cv
    assert repr(cv) == "DomainKFold(n_splits=4, random_state=None, shuffle=False)"
    with sklearn.config_context(enable_metadata_routing=True):
        renamed = DomainKFold().set_split_request(sample_domain="domain")
    assert get_routing_for_object(renamed).split.requests == {"sample_domain": "domain"}


def test_in_searches_with_routing():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20)
    X_source = rng.normal(size=(40, 2)) + 5.0 * y[:, None]
    X, y, sample_domain = stack_domains(X_source, X_source + 1.0, y, y)
    with sklearn.config_context(enable_metadata_routing=True):
        params = {"sample_domain": sample_domain}
        model, cv = LogisticRegression(), DomainKFold(4, shuffle=True, random_state=0)
        results = cross_validate(model, X, y, cv=cv, params=params)
        search = GridSearchCV(model, {"C": [0.1, 1.0]}, cv=cv)
        clone(search).fit(X, y, **params)
    assert results["test_score"].shape == (4,)
    assert results["test_score"].min() > 0.9


def test_missing_sample_domain_names_the_switch():
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        next(DomainKFold().split(np.zeros((10, 1))))
    with pytest.raises(ValueError, match="DomainKFold needs sample_domain"):
        cross_validate(LogisticRegression(), np.zeros((10, 1)), np.arange(10), cv=DomainKFold())


@pytest.mark.parametrize(
    "sample_domain, message",
    [
        ([1] * 4 + [-1] * 6, "number of source rows in sample_domain: 4"),
        ([1] * 6 + [-1] * 4, "number of target rows in sample_domain: 4"),
        ([1] * 10, "only source rows"),
        ([-1] * 10, "only target rows"),
        ([True] * 5 + [False] * 5, "booleans"),
        (["s"] * 5 + ["t"] * 5, "strings"),
        ([1] * 5 + [-1] * 4, "inconsistent numbers of samples"),
    ],
)
def test_bad_sample_domain(sample_domain, message):
    with pytest.raises(ValueError, match=message):
        next(DomainKFold(5).split(np.zeros((10, 1)), sample_domain=sample_domain))


def test_bad_parameters_raise_when_made():
    with pytest.raises(ValueError, match="n_splits=1"):
        DomainKFold(1)
    with pytest.raises(TypeError, match="shuffle must be True or False"):
        DomainKFold(shuffle="yes")
    with pytest.raises(ValueError, match="set shuffle=True"):
        DomainKFold(random_state=0)


def test_groups_are_ignored_with_a_warning():
    with pytest.warns(UserWarning, match="groups parameter is ignored") as caught:
        next(DomainKFold(2).split(np.zeros((4, 1)), groups=[0] * 4, sample_domain=[1, 1, -1, -1]))
    assert caught[0].filename == __file__
    assert DomainKFold(7).get_n_splits() == 7
