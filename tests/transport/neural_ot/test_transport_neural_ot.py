"""Neural optimal transport: closed forms, costs, components, units, changes between fits.

What it shares with other neural transports is in test_transport_neural_training.py.
"""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from _neural_transports import (
    Bowls,
    Noisies,
    QuarterTurn,
    X,
    Y,
    forbid_training,
    gaussian_problem,
    same,
    strong,
    weak,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skot import DomainAdaptation, GaussianTransport, NeuralOT
from skot.costs import Cost, Euclidean, PNorm, SphereGeodesic, SquaredEuclidean
from skot.losses import (
    DistanceKernel,
    EnergyAugmentation,
    GaussianKernel,
    GradientPenalty,
    StrongCost,
    WeakCost,
    WeakKernel,
    WeakQuadratic,
)
from skot.measures import Noise
from skot.metrics import l2_uvp
from skot.networks import ConditionalMLP, MLPMap, MLPPotential, ResNetPotential, UNet
from skot.training import Adam, EarlyStopping
from skot.utils import stack_domains

# --- closed forms ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "cost, preconditioning",
    [(None, "gaussian"), (None, "identity"), ("sqeuclidean", "gaussian")],
)
def test_gaussians(cost, preconditioning):
    X, Y, new, pair = gaussian_problem()
    expected = (new - pair.mean_source) @ pair.matrix.T + pair.mean_target
    transport = strong(
        cost, preconditioning=preconditioning, max_iter=150, n_map_steps=4, batch_size=128
    ).fit(X, Y)
    gaussian = GaussianTransport().fit(X, Y)
    sampling_error = l2_uvp(expected, gaussian.transform(new))
    assert sampling_error < 0.5
    assert l2_uvp(expected, transport.transform(new)) < sampling_error + 1.0
    # What would be left if nothing but location and size were learned.
    shrunk = GaussianTransport(shrinkage=1.0).fit(X, Y).transform(new)
    assert l2_uvp(expected, shrunk) > 5.0
    # The cost |x - y|^2 by name, half of it without a name.
    multiple = 1.0 if cost else 0.5
    expected_cost = multiple * gaussian.wasserstein_distance_**2
    assert transport.cost_value_ == pytest.approx(expected_cost, rel=0.05)
    assert transport.dual_value_ == pytest.approx(expected_cost, rel=0.02)
    assert transport.duality_gap_ == pytest.approx(transport.cost_value_ - transport.dual_value_)
    assert transport.converged_
    assert transport.n_iter_ == len(transport.loss_curve_) == 150


def test_the_potential_of_gaussians():
    """Its gradient in y is y - x, at the point x that is sent there."""
    X, Y, new, pair = gaussian_problem()
    transport = strong(max_iter=150, n_map_steps=4, batch_size=128).fit(X, Y)
    images = (new - pair.mean_source) @ pair.matrix.T + pair.mean_target
    gradient = transport.potential_.gradient(torch.from_numpy(images)).numpy()
    assert l2_uvp(new, images - gradient) < 2.0
    assert l2_uvp(new, images - gradient.mean(axis=0)) > 10.0


def test_the_order_of_the_line_is_kept_by_the_distance():
    """Monotone maps are optimal for |x - y| too."""
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((500, 1)), rng.uniform(size=(500, 1)) + 5.0
    transport = strong("euclidean", max_iter=100, n_map_steps=4, batch_size=128).fit(X, Y)
    assert transport.cost_value_ == pytest.approx(Y.mean() - X.mean(), rel=0.02)
    assert transport.dual_value_ == pytest.approx(Y.mean() - X.mean(), rel=0.02)
    moved = transport.transform(X)
    assert_allclose(np.quantile(moved, [0.1, 0.5, 0.9]), [5.1, 5.5, 5.9], atol=0.06)


# --- components ------------------------------------------------------------------------


class NearReflection(WeakCost):
    """A weak cost of a user: the least there is to write."""

    def __init__(self, gamma=0.5):
        self.gamma = gamma

    def evaluate(self, x, y):
        spread = y.var(dim=1).sum(dim=1)
        return 0.5 * (y + x[:, None]).square().sum(dim=2).mean(dim=1) - 0.5 * self.gamma * spread


class Chebyshev(Cost):
    """A strong cost of a user."""

    def pairwise(self, x, y):
        return (x[:, None] - y[None]).abs().amax(-1)


COSTS = [
    None,
    "sqeuclidean",
    "euclidean",
    "cityblock",
    "cosine",
    SquaredEuclidean(),
    PNorm(p=1.5, power=1.7),
    SphereGeodesic(),
    Chebyshev(),
    StrongCost(Euclidean()),
    WeakQuadratic(gamma=0.0),
    WeakQuadratic(gamma=1.0, warmup=10),
    WeakQuadratic(gamma=1.3),
    WeakKernel(gamma=0.5),
    WeakKernel(gamma=0.5, kernel=GaussianKernel(bandwidth=2.0), warmup=5),
    WeakKernel(gamma=0.5, kernel=DistanceKernel(power=1.5)),
    NearReflection(),
]


@pytest.mark.parametrize("cost", COSTS, ids=repr)
def test_costs(cost):
    transport = strong(cost, transport_map=ConditionalMLP((16, 16)), max_iter=10).fit(X, Y)
    assert transport.n_iter_ == 10
    assert len(set(transport.loss_curve_)) == 10
    assert np.isfinite(transport.loss_curve_).all()
    assert_allclose(transport.transform(X).mean(axis=0), Y.mean(axis=0), atol=0.3)
    assert transport.cost_.splits_mass == getattr(cost, "splits_mass", False)
    assert same(transport, clone(transport).fit(X, Y))


def test_components_are_cloned():
    cost, augmentation, noise = WeakQuadratic(), EnergyAugmentation(0.5), Noise("uniform", 8)
    transport = weak(cost=cost, augmentation=augmentation, noise=noise, max_iter=1).fit(X, Y)
    for used, given_ in (
        (transport.cost_, cost),
        (transport.augmentation_, augmentation),
        (transport.noise_, noise),
    ):
        assert used is not given_
        assert repr(used) == repr(given_)
    assert transport.noise_bank_.shape == (8, 2)
    plain = NeuralOT(max_iter=1, random_state=0).fit(X, Y)
    assert repr(plain.cost_) == "WeakQuadratic(gamma=0.0)"
    assert plain.noise_bank_ is None
    assert type(plain._learned.modules["transport_map"]).__name__ == "_ResidualMap"
    default = NeuralOT(WeakQuadratic(), max_iter=1, random_state=0).fit(X, Y)
    assert type(default._learned.modules["transport_map"]).__name__ == "_ConditionalMap"
    assert default.noise_bank_.shape == (64, 2)


@pytest.mark.parametrize(
    "params",
    [
        {"augmentation": EnergyAugmentation(weight=0.0)},
        {"regularization": GradientPenalty(weight=1.0)},
        {"noise": Noise("uniform")},
        {"n_noise_samples": 2},
        {"n_map_steps": 5},
        {"fit_inverse_transform": True},
    ],
    ids=str,
)
def test_other_settings(params):
    transport = weak(**params).fit(X, Y)
    assert transport.score(X) > -0.5
    assert same(transport, weak(**params).fit(X, Y))
    assert np.abs(transport.transform(X) - weak().fit(X, Y).transform(X)).max() > 1e-4


def test_updates_of_each_network():
    transport = strong(n_map_steps=3, max_iter=7, fit_inverse_transform=True).fit(X, Y)
    updates = {name: updater.n_updates for name, updater in transport._state.updaters.items()}
    assert updates == {
        "transport_map": 21,
        "potential": 7,
        "inverse_transport_map": 21,
        "inverse_potential": 7,
    }
    assert transport.n_iter_ == 7


def test_search_over_gamma():
    search = GridSearchCV(weak(), {"cost__gamma": [0.0, 0.5, 0.9]}, cv=2, error_score="raise")
    search.fit(X, Y)
    assert len(set(search.cv_results_["mean_test_score"])) == 3
    assert search.best_estimator_.cost_.gamma == search.best_params_["cost__gamma"]


def test_search_over_components_in_a_pipeline():
    grid = {
        "neuralot__cost": [WeakQuadratic(gamma=0.8), WeakKernel(gamma=0.3)],
        "neuralot__cost__gamma": [0.5, 0.7],
        "neuralot__noise__bank_size": [8],
    }
    pipeline = make_pipeline(StandardScaler(), weak(max_iter=5, noise=Noise()))
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X)
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    assert search.best_estimator_[-1].noise_bank_.shape == (8, 2)
    assert np.isfinite(search.transform(X)).all()


@pytest.mark.parametrize(
    "key, advice",
    [
        ("cost__gamma", r"NeuralOT\(cost=WeakQuadratic\(\)\)"),
        ("transport_map__activation", r"NeuralOT\(transport_map=MLPMap\(\)\)"),
        ("potential__activation", r"NeuralOT\(potential=MLPPotential\(\)\)"),
        ("noise__bank_size", r"NeuralOT\(noise=Noise\(\)\)"),
        ("augmentation__weight", r"NeuralOT\(augmentation=EnergyAugmentation\(\)\)"),
        ("optimizer__lr", r"NeuralOT\(optimizer=Adam\(\)\)"),
    ],
)
def test_setting_what_is_not_there_says_what_to_pass(key, advice):
    with pytest.raises(ValueError, match=advice):
        NeuralOT().set_params(**{key: 3})


@pytest.mark.parametrize(
    "params, name",
    [
        ({"cost": WeakQuadratic}, "cost"),
        ({"cost": 3}, "cost"),
        ({"cost": WeakQuadratic(gamma=-0.5)}, "gamma"),
        ({"cost": WeakKernel(gamma=-0.5)}, "gamma"),
        ({"cost": WeakKernel(kernel=GaussianKernel)}, "kernel"),
        ({"cost": PNorm(p=0.5)}, "p"),
        ({"transport_map": MLPMap}, "transport_map"),
        ({"transport_map": torch.nn.Linear(2, 2)}, "transport_map"),
        ({"transport_map": MLPMap((0,))}, "hidden_layer_sizes"),
        ({"noise": Noise}, "noise"),
        ({"noise": Noise("cauchy")}, "distribution"),
        ({"augmentation": EnergyAugmentation}, "augmentation"),
        ({"augmentation": EnergyAugmentation(weight=-1.0)}, "weight"),
        ({"regularization": 0.1}, "regularization"),
        ({"regularization": GradientPenalty(weight=-1.0)}, "weight"),
        ({"n_map_steps": 0}, "n_map_steps"),
        ({"n_noise_samples": 0}, "n_noise_samples"),
        ({"fit_inverse_transform": "yes"}, "fit_inverse_transform"),
    ],
    ids=str,
)
def test_bad_parameters(monkeypatch, params, name):
    forbid_training(monkeypatch)
    transport = strong(**params)
    for fit in (transport.fit, transport.partial_fit):
        with pytest.raises(ValueError, match=f"The {name!r} parameter"):
            fit(X, Y)
    with pytest.raises(NotFittedError):
        transport.transform(X)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"cost": "manhattan"}, "`cost` must be one of .* Got 'manhattan'"),
        (
            {"cost": WeakQuadratic(), "n_noise_samples": 1},
            "n_noise_samples must be at least 2. Got 1",
        ),
        (
            {"cost": WeakKernel(), "n_noise_samples": 1},
            "n_noise_samples must be at least 2. Got 1",
        ),
        ({"cost": WeakQuadratic(), "transport_map": MLPMap()}, "MLPMap.* has none: pass a map"),
        ({"cost": NearReflection(), "transport_map": UNet((1, 2))}, "UNet.* has none"),
        (
            {
                "cost": WeakQuadratic(gamma=1.1),
                "potential": ResNetPotential((1, 2), quadratic="none"),
            },
            "ResNetPotential has no quadratic term to hold it",
        ),
        (
            {"cost": None, "transport_map": UNet((5, 5))},
            r"UNet\(image_shape=\(5, 5\)\) cannot read rows of 2",
        ),
        ({"transport_map": UNet(noise_channels=1)}, r"UNet\(image_shape=None\) cannot read rows"),
        ({"potential": ResNetPotential((3, 4))}, r"ResNetPotential\(image_shape=\(3, 4\)\) cannot"),
    ],
)
def test_components_that_do_not_fit_together(monkeypatch, params, message):
    forbid_training(monkeypatch)
    transport = weak(**params)
    for fit in (transport.fit, transport.partial_fit):
        with pytest.raises(ValueError, match=message):
            fit(X, Y)
    with pytest.raises(NotFittedError):
        transport.transform(X)


def test_one_noise_sample_is_enough_for_a_strong_cost():
    transport = weak(cost=None, n_noise_samples=1).fit(X, Y)
    assert np.isfinite(transport.transform(X)).all()
    # The start of the warm-up is a strong cost, but what it warms up to is not.
    with pytest.raises(ValueError, match="n_noise_samples must be at least 2"):
        weak(cost=WeakQuadratic(warmup=10**6), n_noise_samples=1).fit(X, Y)


def test_more_than_all_spread_with_a_quadratic_term():
    resnet = ResNetPotential((1, 2), channels=(4,))
    transport = weak(1.1, potential=resnet, max_iter=3).fit(X, Y)
    assert np.isfinite(transport.transform(X)).all()


# --- a user's own networks -------------------------------------------------------------


def test_third_party_networks():
    params = {"potential": Bowls(), "transport_map": Noisies(), "optimizer": Adam(lr=0.03)}
    # A potential of no less than half a square has no use for noise: with a strong cost.
    transport = weak(cost=None, **params, max_iter=50).fit(X, Y)
    state = torch.get_rng_state()
    assert same(transport, clone(transport).fit(X, Y))
    assert torch.equal(torch.get_rng_state(), state)
    assert_allclose(transport.transform(X).mean(axis=0), Y.mean(axis=0), atol=0.15)
    assert transport.noise_bank_.shape == (64, 1)
    assert same(pickle.loads(pickle.dumps(transport)), transport)


def test_a_users_cost_is_minimised():
    """Near a reflection: the transport is x -> 1 - x, and not the translation by 1."""
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((500, 1)), 0.5 - rng.standard_normal((500, 1))
    params = {"optimizer": Adam(lr=2e-2, betas=(0.5, 0.9)), "n_map_steps": 4, "batch_size": 128}
    with warnings.catch_warnings():
        # At this gamma no mass is to be split.
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport = weak(cost=NearReflection(gamma=0.1), max_iter=100, **params).fit(X, Y)
    slope, offset = np.polyfit(X[:, 0], transport.transform(X)[:, 0], 1)
    assert slope == pytest.approx(-1.0, abs=0.1)
    assert offset == pytest.approx(0.5, abs=0.15)


# --- units and origins -----------------------------------------------------------------


ANY_UNIT = [
    None,
    "euclidean",
    WeakQuadratic(gamma=0.9),
    PNorm(p=1.5, power=1.5),
    WeakKernel(gamma=0.5, kernel=DistanceKernel(power=0.5)),
]


@pytest.mark.parametrize(
    "dtype, scale", [("f8", 1e-100), ("f8", 1e100), ("f4", 1e-12), ("f4", 1e12)]
)
@pytest.mark.parametrize("cost", ANY_UNIT, ids=repr)
def test_any_scale(cost, dtype, scale):
    x, y = X.astype(dtype), Y.astype(dtype)
    base = weak(cost=cost).fit(x, y)
    scale = np.dtype(dtype).type(scale)
    transport = weak(cost=cost).fit(scale * x, scale * y)
    assert_allclose(transport.transform(scale * x) / scale, base.transform(x), atol=1e-3)
    variance = transport.conditional_variance((scale * x).astype("f8"))
    assert_allclose(
        np.sqrt(variance) / float(scale), np.sqrt(base.conditional_variance(x)), atol=1e-3
    )


@pytest.mark.parametrize("cost", [None, "euclidean", WeakKernel(gamma=0.5)], ids=repr)
def test_far_from_the_origin(cost):
    offset = 2.0**26
    base = weak(cost=cost).fit(X, Y)
    transport = weak(cost=cost).fit(X + offset, Y + offset)
    assert_allclose(transport.transform(X + offset) - offset, base.transform(X), atol=1e-5)


@pytest.mark.parametrize("cost", ["euclidean", WeakKernel(gamma=0.5), QuarterTurn()], ids=repr)
def test_rows_in_corresponding_order_are_a_target_like_any_other(cost):
    """The unit of a cost is that of rows and targets which have nothing to do with each other."""
    order = np.argsort(X[:, 0])
    units = [
        weak(cost=cost, max_iter=1).fit(source, target)._learned.units[0]
        for source, target in ((X, X), (X, X + 1e-6), (X, X[::-1]), (X[order], X[order]))
    ]
    assert max(units) < 1.7 * min(units)


few = settings(max_examples=5)
shifts = st.lists(st.floats(-100.0, 100.0), min_size=2, max_size=2)


@few
@given(shifts, shifts, st.sampled_from([0.0, 0.7]))
def test_translations_of_either_side_are_followed(s, t, gamma):
    tiny = weak(gamma, max_iter=3)
    base = clone(tiny).fit(X, Y)
    moved = clone(tiny).fit(X + s, Y + t)
    assert_allclose(moved.transform(X + s), base.transform(X) + t, atol=1e-5)
    assert_allclose(moved.conditional_variance(X + s), base.conditional_variance(X), atol=1e-5)


@few
@given(shifts, st.sampled_from(["euclidean", WeakKernel(gamma=0.5), PNorm(p=1.5, power=2.0)]))
def test_translations_of_both_sides_are_followed(s, cost):
    tiny = weak(cost=cost, max_iter=3)
    base = clone(tiny).fit(X, Y)
    moved = clone(tiny).fit(X + s, Y + s)
    assert_allclose(moved.transform(X + s), base.transform(X) + s, atol=1e-5)
    assert moved.cost_value_ == pytest.approx(base.cost_value_, rel=1e-5)


@pytest.mark.parametrize("cost", [None, "euclidean", WeakQuadratic(gamma=0.5)], ids=repr)
def test_points(cost):
    transport = weak(cost=cost, fit_inverse_transform=True)
    transport.fit(np.full((5, 2), 0.1), np.full((4, 2), 0.7))
    assert_allclose(transport.transform(np.full((1, 2), 0.1)), 0.7, atol=0.2)
    assert np.isfinite(transport.inverse_transform(np.full((1, 2), 0.7))).all()


# --- going on --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before, after",
    [
        ({"cost": None}, {"cost": WeakQuadratic(gamma=0.9)}),
        ({"cost": WeakQuadratic(gamma=0.9)}, {"cost": None}),
        ({"cost": None}, {"cost": "euclidean"}),
        ({"cost": WeakQuadratic(gamma=0.9)}, {"cost": WeakKernel()}),
        ({"cost": WeakQuadratic(gamma=0.9)}, {"cost": WeakQuadratic(gamma=0.5)}),
        ({}, {"potential": MLPPotential((8, 8))}),
        ({}, {"transport_map": ConditionalMLP((8, 8))}),
        ({}, {"preconditioning": "identity"}),
        ({}, {"noise": Noise("uniform")}),
        ({}, {"fit_inverse_transform": True}),
        ({"fit_inverse_transform": True}, {"fit_inverse_transform": False}),
    ],
    ids=str,
)
def test_warm_start_with_another_kind_of_problem(before, after):
    transport = weak(**before, warm_start=True).fit(X, Y)
    twin = copy.deepcopy(transport)
    transport.set_params(**after)
    (name,) = after
    for fit in (transport.fit, transport.partial_fit):
        with pytest.raises(ValueError, match=rf"{name} was .* and is .*warm_start=False"):
            fit(X, Y)
        # Nothing has changed, to the components that were used.
        assert same(transport, twin)
        assert repr(transport.cost_) == repr(twin.cost_)
    transport.set_params(warm_start=False).fit(X, Y)
    assert transport.n_iter_ == 20


def test_twice_the_cost():
    """The networks know the cost in its own unit, and do not see a difference."""
    transport, twice = strong(None).fit(X, Y), strong("sqeuclidean").fit(X, Y)
    assert_allclose(twice.transform(X), transport.transform(X), rtol=1e-6)
    assert twice.cost_value_ == pytest.approx(2.0 * transport.cost_value_, rel=1e-6)
    assert twice.duality_gap_ == pytest.approx(2.0 * transport.duality_gap_, rel=1e-4)


# --- stopping, accidents ---------------------------------------------------------------


def test_early_stopping_looks_at_the_divergence_of_held_out_rows():
    stopping = EarlyStopping(patience=50, check_every=5, validation_fraction=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport = strong(stopping=stopping, preconditioning="identity", max_iter=60)
        rng = np.random.RandomState(0)
        transport.fit(rng.standard_normal((300, 2)), rng.standard_normal((300, 2)) * [0.2, 3.0])
    curve = [loss for _, loss in transport._state.validation_curve]
    assert len(curve) == 12
    # The maximin value would have no direction.
    assert 0.0 < curve[-1] < 0.7 * curve[0]


def test_a_learning_rate_that_is_too_high():
    # The map has gone astray before the first loss is known.
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        weak(optimizer=Adam(lr=1e20)).fit(X, Y)


# --- the reference, and other company --------------------------------------------------


@pytest.mark.parametrize(
    "reference, mean, variance", [("normal", 0.0, 1.0), ("uniform", 0.5, 1 / 12)]
)
def test_reference(reference, mean, variance):
    rng = np.random.RandomState(0)
    source = np.abs(rng.standard_normal((500, 2))) * [1.0, 3.0] + 4.0
    transport = strong(reference=reference, max_iter=100, n_map_steps=4, batch_size=128).fit(source)
    moved = transport.transform(source)
    # In standard deviations of the reference.
    assert_allclose((moved.mean(axis=0) - mean) / math.sqrt(variance), 0.0, atol=0.15)
    assert_allclose(moved.var(axis=0), variance, rtol=0.25)


def test_domain_adaptation():
    rng = np.random.RandomState(0)
    labels = rng.randint(2, size=200)
    rows = 0.5 * rng.standard_normal((200, 2)) + 2.0 * labels[:, None] * [1.0, 0.0]
    moved = 0.5 * rng.standard_normal((200, 2)) + 2.0 * labels[:, None] * [1.0, 0.0] + [3.0, 1.0]
    stacked, y, sample_domain = stack_domains(rows, moved, labels, labels)
    adaptation = DomainAdaptation(LogisticRegression(), strong(max_iter=50))
    adaptation.fit(stacked, y, sample_domain=sample_domain)
    assert adaptation.score(stacked, y, sample_domain=sample_domain) > 0.9
    assert LogisticRegression().fit(rows, labels).score(moved, labels) < 0.7
