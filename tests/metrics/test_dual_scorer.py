"""The dual value on held-out rows, a scorer of epsilon."""

import numpy as np
import pytest
import sklearn
import torch
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.metadata_routing import get_routing_for_object

from skot import GaussianTransport, SinkhornTransport
from skot.metrics import HeldOutDualScorer, wasserstein_distance
from skot.model_selection import DomainKFold
from skot.utils import stack_domains

RNG = np.random.default_rng(0)
X, Y, X_NEW, Y_NEW = (RNG.normal(size=(60, 2)) for _ in range(4))
Y, Y_NEW = 1.5 * Y + 1.0, 1.5 * Y_NEW[:45] + 1.0


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0, 100.0])
def test_below_the_exact_cost_for_any_epsilon(epsilon):
    transport = SinkhornTransport(epsilon).fit(X, Y)
    score = HeldOutDualScorer()(transport, X_NEW, Y_NEW)
    exact = wasserstein_distance(X_NEW, Y_NEW) ** 2
    assert score <= exact + 1e-9
    assert score > -exact


def test_by_hand():
    transport = SinkhornTransport(0.1, tol=1e-10).fit(X, Y)
    potentials = transport.potentials_
    eps, f = potentials.epsilon, potentials.f.numpy()

    def g(points):
        logits = (f[:, None] - cdist(X, points, "sqeuclidean")) / eps
        return -eps * np.log(np.exp(logits).mean(axis=0))

    np.testing.assert_allclose(g(Y), potentials.g.numpy(), atol=1e-6)
    rows = np.concatenate([Y, Y_NEW])
    worth = (cdist(X_NEW, rows, "sqeuclidean") - g(rows)).min(axis=1)
    expected = worth.mean() + g(Y_NEW).mean()
    assert HeldOutDualScorer()(transport, X_NEW, Y_NEW) == pytest.approx(expected, rel=1e-8)


def test_a_search_finds_the_middle_in_both_forms():
    grid = {"epsilon": [1e-3, 0.1, 30.0]}
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(2, 300, 2))
    target = target @ np.diag([2.0, 0.5]) + 3.0
    search = GridSearchCV(SinkhornTransport(), grid, scoring=HeldOutDualScorer(), cv=2)
    search.fit(source, target)
    assert search.best_params_ == {"epsilon": 0.1}
    rows, _, sample_domain = stack_domains(source, target)
    search.set_params(cv=DomainKFold(2))
    with sklearn.config_context(enable_metadata_routing=True):
        search.fit(rows, sample_domain=sample_domain)
    assert search.best_params_ == {"epsilon": 0.1}


def test_stacked_rows_and_tensors_give_the_same():
    scorer = HeldOutDualScorer()
    transport = SinkhornTransport().fit(X, Y)
    expected = scorer(transport, X_NEW, Y_NEW)
    rows, _, sample_domain = stack_domains(X_NEW, Y_NEW)
    assert scorer(transport, rows, sample_domain=sample_domain) == pytest.approx(expected)
    assert scorer(transport, torch.from_numpy(X_NEW), torch.from_numpy(Y_NEW)) == expected


def test_what_it_cannot_score_raises():
    scorer = HeldOutDualScorer()
    with pytest.raises(ValueError, match="GaussianTransport does not have"):
        scorer(GaussianTransport().fit(X, Y), X_NEW, Y_NEW)
    transport = SinkhornTransport().fit(X, Y)
    for call in (
        lambda: scorer(transport, X_NEW),
        lambda: scorer(transport, X_NEW, np.zeros(len(X_NEW))),
        lambda: scorer(transport, X_NEW, sample_domain=-np.ones(len(X_NEW), dtype=int)),
    ):
        with pytest.raises(ValueError, match="held-out rows of both samples"):
            call()


def test_it_is_a_component_that_requests_sample_domain():
    scorer = HeldOutDualScorer()
    assert repr(clone(scorer)) == repr(scorer)
    assert get_routing_for_object(scorer).score.requests == {"sample_domain": True}
