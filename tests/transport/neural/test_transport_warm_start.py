"""Training that goes on from a fit: only with what its networks were made for, where they were."""

import copy
import re
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skot import LagrangianOT, MetaOTRegressor, MetaW2GN, NeuralOT, W2GNTransport
from skot.costs import HillObstacle, KineticPotential, PrecomputedCost
from skot.networks import (
    ICNN,
    DeepSets,
    DualMLP,
    HyperNetwork,
    MLPMap,
    MLPPotential,
    SplinePath,
)

RNG = np.random.RandomState(0)
X, Y = RNG.normal(size=(60, 2)), 2.0 * RNG.normal(size=(50, 2)) + 1.0
WEIGHTS = RNG.uniform(0.1, 1.0, size=(12, 9))
CLOUDS = [RNG.normal(size=(40, 2)) ** power for power in (1, 2, 3)]
SMALL = {"max_iter": 2, "random_state": 0, "warm_start": True}
NETWORKS = {"potential": MLPPotential((8,)), "amortizer": MLPMap((8,))}
MAPS = {"potential": MLPPotential((8,)), "transport_map": MLPMap((8,))}


def w2gn(**params):
    return W2GNTransport(**{**NETWORKS, **SMALL, **params})


def neural_ot(**params):
    return NeuralOT(**{**MAPS, "n_map_steps": 1, **SMALL, **params})


def lagrangian(**params):
    return LagrangianOT(**{**NETWORKS, **SMALL, **params})


TRANSPORTS = (w2gn, neural_ot, lagrangian)
CHANGES = [
    (w2gn, {"potential": ICNN((8, 8))}),
    (w2gn, {"potential": MLPPotential((8, 8))}),
    (w2gn, {"amortizer": MLPMap((4,))}),
    (w2gn, {"preconditioning": "identity"}),
    (neural_ot, {"cost": "sqeuclidean"}),
    (neural_ot, {"transport_map": MLPMap((4,))}),
    (lagrangian, {"lagrangian": KineticPotential(HillObstacle())}),
    (lagrangian, {"path": SplinePath(3)}),
    (lagrangian, {"amortizer": MLPMap((4,))}),
]


@pytest.mark.parametrize("make, change", CHANGES)
def test_a_change_of_what_networks_are_made_of_is_named(make, change):
    transport = make().fit(X, Y)
    before, (name,) = transport.transform(X), change
    transport.set_params(**change)
    for train in (transport.fit, transport.partial_fit):
        with pytest.raises(ValueError, match=rf"{name} was .* and is .*warm_start=False"):
            train(X, Y)
        # The fit before is as good as it was.
        assert_array_equal(transport.transform(X), before)
    assert transport.set_params(warm_start=False).fit(X, Y).n_iter_ == 2


def test_several_changes_are_all_named():
    transport = w2gn().fit(X, Y).set_params(potential=ICNN((8, 8)), preconditioning="identity")
    with pytest.raises(ValueError, match=r"potential was MLPPotential.*preconditioning was 'gau"):
        transport.fit(X, Y)


@pytest.mark.parametrize("make", TRANSPORTS)
def test_another_number_of_features(make):
    transport = make().fit(X, Y)
    wide = np.column_stack([X, X[:, 0]]), np.column_stack([Y, Y[:, 0]])
    for train in (transport.fit, transport.partial_fit):
        with pytest.raises(ValueError, match="has 3 features.*expecting 2.*warm_start=False"):
            train(*wide)
    assert transport.n_features_in_ == 2
    assert transport.set_params(warm_start=False).fit(*wide).n_features_in_ == 3


@pytest.mark.parametrize("make", TRANSPORTS)
def test_what_networks_are_not_made_of_may_change(make):
    transport = make().fit(X, Y)
    transport.set_params(max_iter=3, batch_size=16).fit(X, Y)
    # An equal architecture is the same one.
    transport.set_params(potential=MLPPotential((8,))).partial_fit(X, Y)
    assert transport.n_iter_ == len(transport.loss_curve_) > 5


def test_meta_estimators():
    meta = MetaW2GN(n_points=16, code_size=4, **SMALL).fit(CLOUDS)
    for change in ({"code_size": 8}, {"hyper_network": HyperNetwork((4,))}):
        (name,) = change
        other = copy.deepcopy(meta).set_params(**change)
        with pytest.raises(ValueError, match=f"{name} was"):
            other.fit(CLOUDS)
    regressor = MetaOTRegressor(PrecomputedCost(np.ones((5, 4))), **SMALL).fit(WEIGHTS)
    regressor.set_params(cost=PrecomputedCost(np.ones((5, 4)).tolist())).fit(WEIGHTS)
    for change in ({"network": DualMLP((4,))}, {"epsilon": 1.0}):
        (name,) = change
        with pytest.raises(ValueError, match=f"{name} was"):
            copy.deepcopy(regressor).set_params(**change).fit(WEIGHTS)


class Own(BaseEstimator):
    """An architecture that compares by what it holds, as all do."""

    def __init__(self, width=8):
        self.width = width

    def build(self, n_features, *, generator):
        return MLPPotential((self.width,)).build(n_features, generator=generator)


def test_architectures_from_elsewhere():
    transport = w2gn(potential=Own()).fit(X, Y).fit(X, Y)
    with pytest.raises(ValueError, match=r"potential was Own\(\) and is Own\(width=4\)"):
        transport.set_params(potential=Own(4)).fit(X, Y)


class Counting:
    """A Lagrangian, and an architecture, that note how often they were used."""

    def __init__(self):
        self.count = 0

    def __call__(self, x, v, t):
        self.count += 1
        return 0.5 * v.square().sum(-1)

    def build(self, n_features, *, generator):
        self.count += 1
        return MLPPotential((8,)).build(n_features, generator=generator)

    def method(self, x, v, t):
        return 0.5 * v.square().sum(-1)


@pytest.mark.parametrize("own", [Counting(), Counting().method], ids=["object", "method"])
def test_objects_that_change_while_they_are_used(own):
    transport = lagrangian(lagrangian=own).fit(X, Y)
    assert transport.fit(X, Y).partial_fit(X, Y).n_iter_ > 4


def test_architectures_that_change_while_they_are_used():
    assert w2gn(potential=Counting()).fit(X, Y).fit(X, Y).n_iter_ == 4


def half_square(x, v, t):
    return 0.5 * v.square().sum(-1)


def twice_that(x, v, t):
    return v.square().sum(-1)


def test_another_function_is_another_cost():
    transport = lagrangian(lagrangian=half_square).fit(X, Y)
    transport.fit(X, Y)
    with pytest.raises(ValueError, match=r"lagrangian was .*half_square.* and is .*twice_that"):
        transport.set_params(lagrangian=twice_that).fit(X, Y)


def test_none_is_what_it_stands_for():
    meta = MetaW2GN(n_points=16, code_size=4, **SMALL).fit(CLOUDS)
    assert meta.set_params(encoder=DeepSets()).fit(CLOUDS).n_iter_ == 4
    with pytest.raises(ValueError, match=r"encoder was DeepSets\(\) and is DeepSets\(hidden"):
        meta.set_params(encoder=DeepSets(hidden_layer_sizes=(4,))).fit(CLOUDS)


# --- fits that fail, however late ------------------------------------------------------


class Late:
    """A callback that fails when everything is done."""

    max_propagation_depth = None

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "fit":
            raise RuntimeError("late")


@pytest.mark.parametrize("make", TRANSPORTS)
def test_a_fit_that_fails_at_its_end_leaves_the_one_before(make):
    transport = make(warm_start=False).fit(X, Y)
    before, attributes = transport.transform(X), {**vars(transport)}
    transport.set_callbacks(Late())
    with pytest.raises(RuntimeError, match="late"):
        transport.fit(np.column_stack([X, X[:, 0]]), np.column_stack([Y, Y[:, 0]]))
    transport.set_callbacks()
    assert_array_equal(transport.transform(X), before)
    assert transport.n_features_in_ == 2
    assert {key: vars(transport)[key] for key in attributes if key[0] != "_"} == {
        key: value for key, value in attributes.items() if key[0] != "_"
    }
    fresh = make().set_callbacks(Late())
    with pytest.raises(RuntimeError, match="late"):
        fresh.fit(X, Y)
    with pytest.raises(NotFittedError):
        fresh.transform(X)


@pytest.mark.parametrize("make", TRANSPORTS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_that_fails_leaves_what_it_goes_on_from(monkeypatch, make, method):
    transport, twin = make().fit(X, Y), make().fit(X, Y)

    def train(step, state, **options):
        step(state.iteration)
        raise FloatingPointError

    with monkeypatch.context() as patch:
        patch.setattr("skot.transport._neural.fit.train", train)
        with pytest.raises(FloatingPointError):
            getattr(transport, method)(X, Y)
    for each in (transport, twin):
        each.partial_fit(X, Y)
    assert_array_equal(transport.transform(X), twin.transform(X))
    assert transport.loss_curve_ == twin.loss_curve_


def test_a_search_for_proximity_that_is_interrupted(monkeypatch):
    hill = {"lagrangian": KineticPotential(HillObstacle()), "warm_start": False}
    transport = lagrangian(**hill).fit(X, Y)
    before = transport.transform(X)

    def interrupted(learned):
        raise KeyboardInterrupt

    monkeypatch.setattr("skot.transport._lagrangian.estimator.best_proximity", interrupted)
    with pytest.raises(KeyboardInterrupt):
        transport.fit(X + 1.0, Y)
    assert_array_equal(transport.transform(X), before)


# --- coordinates that no longer fit ----------------------------------------------------


@pytest.mark.parametrize("make", TRANSPORTS)
@pytest.mark.parametrize(
    "source, target, named",
    [
        (X + 100.0, Y, "the source rows are"),
        (X, 50.0 * Y, "the target rows are"),
        (X - 100.0, 50.0 * Y, "the source rows are.* and the target rows are"),
    ],
)
def test_rows_far_outside_the_coordinates_are_warned_of(make, source, target, named):
    for method in ("fit", "partial_fit"):
        transport = make().fit(X, Y)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            getattr(transport, method)(source, target)
        # Others may follow: such training goes wrong.
        assert re.search(f"{named} .*warm_start=False", str(caught[0].message))
        assert caught[0].category is UserWarning
        assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("make", TRANSPORTS)
def test_rows_like_those_before_are_not(make):
    transport = make().fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transport.fit(X[:10], Y + 0.5).partial_fit(1.5 * X, Y[:7])
        transport.set_params(warm_start=False).fit(X + 100.0, Y)


@pytest.mark.parametrize("make", TRANSPORTS)
def test_a_few_rows_far_away_are_not_warned_of(make):
    transport = make().fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport.partial_fit(np.concatenate([X, X[:1] + 100.0]), Y)


def test_streams_are_warned_of_once():
    stream = w2gn().partial_fit(X, Y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for k in range(4):
            stream.partial_fit((5.0 + k) * X, Y)
    assert len(caught) == 1


def test_a_sample_that_was_a_point_has_coordinates_too():
    point = np.ones((5, 2))
    transport = w2gn().fit(point, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transport.fit(point, Y)
