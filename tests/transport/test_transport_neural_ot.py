"""Neural optimal transport: closed forms, components, training, plans that split mass."""

import copy
import io
import math
import pickle
import sys
import warnings

import joblib
import numpy as np
import pytest
import torch
from _problems import numpy_samples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.callback import ProgressBar
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skot import DomainAdaptation, GaussianTransport, NeuralOT
from skot.costs import Cost, Euclidean, PNorm, SphereGeodesic, SquaredEuclidean
from skot.datasets import make_location_scatter_pair
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
from skot.potentials import TranslationFrame
from skot.training import (
    Adam,
    Checkpoint,
    EarlyStopping,
    ExponentialMovingAverage,
    TimeBudget,
)
from skot.transport import TransportDiagnostics, _two_sample_training
from skot.transport._maximin_training import MaximinDirection
from skot.utils import stack_domains

X, Y = numpy_samples(64, 64)
SMALL = {
    "potential": MLPPotential((16, 16)),
    "transport_map": MLPMap((16, 16)),
    "max_iter": 20,
    "n_map_steps": 2,
    "batch_size": 32,
    "random_state": 0,
}


def small(cost=None, **params):
    """Return a transport that is fitted in no time."""
    return NeuralOT(cost, **{**SMALL, **params})


def weak(gamma=0.9, **params):
    """Return one that splits mass."""
    cost = params.pop("cost", WeakQuadratic(gamma=gamma))
    return small(cost, **{"transport_map": ConditionalMLP((16, 16)), **params})


def same(one, other):
    """Whether two transports give the same numbers, bit by bit."""
    return (
        np.array_equal(one.transform(X), other.transform(X))
        and np.array_equal(
            one.sample_transform(X, 2, random_state=0), other.sample_transform(X, 2, random_state=0)
        )
        and np.array_equal(one.conditional_variance(X), other.conditional_variance(X))
        and one.loss_curve_ == other.loss_curve_
        and one.cost_value_ == other.cost_value_
        and one.duality_gap_ == other.duality_gap_
    )


def interrupt_at(monkeypatch, iteration, error):
    """Make one step of training raise."""
    step = MaximinDirection.step

    def interrupted(self, i, draw_x, draw_y):
        if i == iteration:
            raise error
        return step(self, i, draw_x, draw_y)

    monkeypatch.setattr(MaximinDirection, "step", interrupted)


def standardized(rows):
    """Rows with exactly the mean and the covariance of the standard normal."""
    centred = rows - rows.mean(axis=0)
    factor = np.linalg.cholesky(np.cov(centred.T, bias=True).reshape(2 * rows.shape[1:]))
    return np.linalg.solve(factor, centred.T).T


# --- closed forms ----------------------------------------------------------------------


def gaussian_problem(n=2000):
    X, Y, pair = make_location_scatter_pair(n, 2, random_state=0, return_map=True)
    rng = np.random.RandomState(1)
    new = rng.multivariate_normal(pair.mean_source, pair.covariance_source, n)
    return X, Y, new, pair


@pytest.mark.parametrize(
    "cost, preconditioning",
    [(None, "gaussian"), (None, "identity"), ("sqeuclidean", "gaussian")],
)
def test_gaussians(cost, preconditioning):
    X, Y, new, pair = gaussian_problem()
    expected = (new - pair.mean_source) @ pair.matrix.T + pair.mean_target
    transport = small(
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
    transport = small(max_iter=150, n_map_steps=4, batch_size=128).fit(X, Y)
    images = (new - pair.mean_source) @ pair.matrix.T + pair.mean_target
    gradient = transport.potential_.gradient(torch.from_numpy(images)).numpy()
    assert l2_uvp(new, images - gradient) < 2.0
    assert l2_uvp(new, images - gradient.mean(axis=0)) > 10.0


GAMMAS = (0.6, 0.75, 0.9)


@pytest.fixture(scope="module")
def weak_fits():
    """N(0, 1) to N(1, 4) on the line, for the weak quadratic cost."""
    rng = np.random.RandomState(0)
    X = standardized(rng.standard_normal((2000, 1)))
    Y = 2.0 * standardized(rng.standard_normal((2000, 1))) + 1.0
    params = {"max_iter": 200, "n_map_steps": 4, "batch_size": 128}
    return X, {gamma: weak(gamma, **params).fit(X, Y) for gamma in GAMMAS}


@pytest.mark.parametrize("gamma", GAMMAS)
def test_weak_quadratic_on_the_line(weak_fits, gamma):
    """Conditional means are x / gamma + 1, and the rest of the variance is split."""
    X, fits = weak_fits
    transport = fits[gamma]
    slope, offset = np.polyfit(X[:, 0], transport.transform(X)[:, 0], 1)
    assert slope == pytest.approx(1.0 / gamma, rel=0.04)
    assert offset == pytest.approx(1.0, abs=0.08)
    variance = 4.0 - 1.0 / gamma**2
    # 6 % and 8 % of the variance of the target: it takes 1000 iterations to be more accurate.
    assert transport.conditional_variance(X).mean() == pytest.approx(variance, abs=0.25)
    draws = transport.sample_transform(X, 20, random_state=0)
    assert draws.var(axis=1, ddof=1).mean() == pytest.approx(variance, abs=0.32)
    assert draws.std() == pytest.approx(2.0, rel=0.05)
    cost = 0.5 + 0.5 * (1.0 - gamma) * 4.0 + 0.5 * (1.0 - 1.0 / gamma)
    assert transport.dual_value_ == pytest.approx(cost, abs=0.12)


def test_more_mass_is_split_the_larger_gamma(weak_fits):
    X, fits = weak_fits
    variances = [fits[gamma].conditional_variance(X).mean() for gamma in GAMMAS]
    assert_array_equal(np.sort(variances), variances)
    assert variances[-1] > 1.5 * variances[0]
    # Between gamma 1/2, where mass begins to be split, and the whole variance of the target.
    assert 0.0 < variances[0] < variances[-1] < 4.0


def test_weak_quadratic_of_small_gamma_splits_nothing():
    rng = np.random.RandomState(0)
    X = standardized(rng.standard_normal((1000, 1)))
    Y = 2.0 * standardized(rng.standard_normal((1000, 1)))
    with warnings.catch_warnings():
        # It may be found out, and is what is wanted here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport = weak(0.25, max_iter=150, n_map_steps=4, batch_size=128).fit(X, Y)
    assert transport.conditional_variance(X).mean() < 0.08 * 4.0
    assert np.polyfit(X[:, 0], transport.transform(X)[:, 0], 1)[0] == pytest.approx(2.0, rel=0.06)


def test_the_order_of_the_line_is_kept_by_the_distance():
    """Monotone maps are optimal for |x - y| too."""
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((500, 1)), rng.uniform(size=(500, 1)) + 5.0
    transport = small("euclidean", max_iter=100, n_map_steps=4, batch_size=128).fit(X, Y)
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
    transport = small(cost, transport_map=ConditionalMLP((16, 16)), max_iter=10).fit(X, Y)
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
    assert type(plain._modules["transport_map"]).__name__ == "_ResidualMap"
    default = NeuralOT(WeakQuadratic(), max_iter=1, random_state=0).fit(X, Y)
    assert type(default._modules["transport_map"]).__name__ == "_ConditionalMap"
    assert default.noise_bank_.shape == (64, 2)


@pytest.mark.parametrize(
    "params",
    [
        {"augmentation": EnergyAugmentation(weight=0.0)},
        {"regularization": GradientPenalty(weight=1.0)},
        {"averaging": ExponentialMovingAverage(0.9)},
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
    transport = small(n_map_steps=3, max_iter=7, fit_inverse_transform=True).fit(X, Y)
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


@pytest.fixture
def no_training(monkeypatch):
    """Whatever is wrong must be found before training."""
    monkeypatch.setattr(
        _two_sample_training, "train", lambda *args, **options: pytest.fail("trained")
    )


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
        ({"potential": MLPPotential}, "potential"),
        ({"potential": "mlp"}, "potential"),
        ({"noise": Noise}, "noise"),
        ({"noise": Noise("cauchy")}, "distribution"),
        ({"augmentation": EnergyAugmentation}, "augmentation"),
        ({"augmentation": EnergyAugmentation(weight=-1.0)}, "weight"),
        ({"regularization": 0.1}, "regularization"),
        ({"regularization": GradientPenalty(weight=-1.0)}, "weight"),
        ({"optimizer": Adam}, "optimizer"),
        ({"optimizer": Adam(lr=-1.0)}, "lr"),
        ({"stopping": EarlyStopping(patience=0)}, "patience"),
        ({"averaging": 0.9}, "averaging"),
        ({"checkpoint": "file"}, "checkpoint"),
        ({"n_map_steps": 0}, "n_map_steps"),
        ({"n_noise_samples": 0}, "n_noise_samples"),
        ({"fit_inverse_transform": "yes"}, "fit_inverse_transform"),
        ({"preconditioning": "pca"}, "preconditioning"),
        ({"reference": "cauchy"}, "reference"),
        ({"max_iter": 0}, "max_iter"),
        ({"batch_size": 0}, "batch_size"),
        ({"warm_start": 1.5}, "warm_start"),
    ],
    ids=str,
)
def test_bad_parameters(no_training, params, name):
    transport = small(**params)
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
def test_components_that_do_not_fit_together(no_training, params, message):
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


@pytest.mark.parametrize("noise_channels", [0, 1])
def test_images(noise_channels):
    rng = np.random.RandomState(0)
    X, Y = rng.uniform(size=(40, 18)), rng.uniform(size=(40, 18)) ** 2
    networks = {
        "transport_map": UNet((2, 3, 3), channels=(4, 4), noise_channels=noise_channels),
        "potential": ResNetPotential((2, 3, 3), channels=(4, 4)),
    }
    cost = WeakQuadratic() if noise_channels else None
    transport = small(cost, **networks, max_iter=5).fit(X, Y)
    assert_allclose(transport.transform(X).mean(axis=0), Y.mean(axis=0), atol=0.3)
    # A linear change of coordinates would mix pixels, and not fit into memory.
    assert isinstance(transport._frame, TranslationFrame)
    if noise_channels:
        assert transport.noise_bank_.shape == (64, 9)


# --- a user's own networks -------------------------------------------------------------


class Bowl(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.weights = torch.nn.Parameter(weights)

    def forward(self, x):
        return torch.logsumexp(x @ self.weights, dim=1) + 0.5 * x.square().sum(dim=1)


class Bowls(BaseEstimator):
    def __init__(self, width=8):
        self.width = width

    def build(self, n_features, *, generator):
        return Bowl(0.1 * torch.randn(n_features, self.width, generator=generator))


class Noisy(torch.nn.Module):
    """Linear in the row and in noise of one feature."""

    n_noise_features = 1

    def __init__(self, n_features, hears=True):
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.eye(n_features))
        self.noise = torch.nn.Parameter(torch.full((1, n_features), 0.3 if hears else 0.0))
        self.noise.requires_grad_(hears)

    def forward(self, x, z):
        return (x @ self.matrix)[:, None] + z @ self.noise


class Noisies:
    takes_noise = True

    def __init__(self, hears=True):
        self.hears = hears

    def build(self, n_features, *, generator):
        return Noisy(n_features, self.hears)


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


# --- plans that split mass -------------------------------------------------------------


@pytest.fixture(scope="module")
def split_plan():
    """Of a target that is more spread than the source: there mass is split."""
    return weak(max_iter=80, n_map_steps=4).fit(Y, X)


def test_draws(split_plan):
    draws = split_plan.sample_transform(X, 5, random_state=0)
    assert draws.shape == (64, 5, 2)
    assert draws.dtype == np.float64
    assert_array_equal(split_plan.sample_transform(X, 5, random_state=0), draws)
    other = split_plan.sample_transform(X, 5, random_state=1)
    assert np.abs(other - draws).min() > 0.0
    assert np.abs(draws[:, 0] - draws[:, 1]).min() > 0.0
    assert split_plan.sample_transform(X).shape == (64, 1, 2)
    # Without a seed the noise is fresh.
    assert np.abs(split_plan.sample_transform(X) - split_plan.sample_transform(X)).max() > 0.0


def test_kinds_of_draws(split_plan):
    expected = split_plan.sample_transform(X, 3, random_state=0)
    single = split_plan.sample_transform(X.astype("f4"), 3, random_state=0)
    assert single.dtype == np.float32
    assert_allclose(single, expected, atol=1e-5)
    tensor = split_plan.sample_transform(torch.from_numpy(X).float(), 3, random_state=0)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.float32
    assert_allclose(tensor, expected, atol=1e-5)
    variance = split_plan.conditional_variance(torch.from_numpy(X))
    assert isinstance(variance, torch.Tensor)
    assert_allclose(variance, split_plan.conditional_variance(X))
    assert split_plan.conditional_variance(X.astype("f4")).dtype == np.float32


@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "two", None])
def test_bad_numbers_of_draws(split_plan, n_samples):
    with pytest.raises(ValueError, match="n_samples must be a positive integer"):
        split_plan.sample_transform(X, n_samples)


def test_moments_are_those_of_the_bank(split_plan):
    module, frame = split_plan._modules["transport_map"], split_plan._frame
    bank = split_plan.noise_bank_
    assert bank.shape == (64, 2)
    with torch.no_grad():
        drawn = module(frame.source_rows(torch.from_numpy(X)), bank.expand(len(X), -1, -1))
    images = frame.target_rows_back(drawn).numpy()
    assert_allclose(split_plan.transform(X), images.mean(axis=1), rtol=1e-10)
    variance = images.var(axis=1, ddof=1)
    assert_allclose(split_plan.conditional_variance(X), variance, rtol=1e-9)
    assert variance.min() > 0.0


def test_moments_agree_with_many_draws(split_plan):
    draws = split_plan.sample_transform(X[:5], 20_000, random_state=0)
    error = 4.0 * draws.std(axis=1) / math.sqrt(20_000)
    # The bank is a sample too, if a good one.
    assert (np.abs(split_plan.transform(X[:5]) - draws.mean(axis=1)) < 3.0 * error).all()
    assert_allclose(split_plan.conditional_variance(X[:5]), draws.var(axis=1), rtol=0.15)


def test_moments_do_not_depend_on_the_tiles(split_plan):
    rng = np.random.RandomState(3)
    rows = rng.standard_normal((500, 2))  # of which 64 fit into a tile
    assert_allclose(split_plan.transform(rows)[170:180], split_plan.transform(rows[170:180]))
    variance = split_plan.conditional_variance(rows)
    assert_allclose(variance[170:180], split_plan.conditional_variance(rows[170:180]))


def test_a_deterministic_map():
    transport = small().fit(X, Y)
    assert_array_equal(transport.conditional_variance(X), np.zeros_like(X))
    draws = transport.sample_transform(X, 4, random_state=0)
    for j in range(4):
        assert_array_equal(draws[:, j], transport.transform(X))


def test_the_score_looks_at_draws(split_plan):
    # Conditional means are less spread than the target, which the images follow.
    assert split_plan.score(Y) == split_plan.score(Y)
    means, draws = split_plan.transform(Y), split_plan.sample_transform(Y, 1, random_state=0)[:, 0]
    assert means.var(axis=0).sum() < 0.9 * draws.var(axis=0).sum()
    drawn = GaussianTransport().fit(X, X)
    assert drawn.score(draws) == pytest.approx(split_plan.score(Y), abs=1e-3)
    assert drawn.score(means) < split_plan.score(Y)


def test_values_are_those_of_the_plan(split_plan):
    images = split_plan.sample_transform(Y, 16, random_state=0)
    cost = split_plan.cost_.evaluate(torch.from_numpy(Y), torch.from_numpy(images)).mean()
    assert split_plan.cost_value_ == pytest.approx(float(cost))
    g = split_plan.potential_
    gap = g(torch.from_numpy(images).flatten(0, 1)).mean() - g(torch.from_numpy(X)).mean()
    assert split_plan.duality_gap_ == pytest.approx(float(gap))
    assert split_plan.dual_value_ == pytest.approx(float(cost - gap))


# --- diagnostics -----------------------------------------------------------------------


def test_diagnose(split_plan):
    other, new = numpy_samples(150, 200, seed=1)
    result = split_plan.diagnose(new, other)
    assert isinstance(result, TransportDiagnostics)
    assert result.dual_value == pytest.approx(result.cost_value - result.duality_gap)
    assert result.target_variance == pytest.approx(other.var(axis=0).sum())
    draws = split_plan.sample_transform(new, 16, random_state=0)
    variance = draws.var(axis=1).sum(axis=1).mean()
    assert result.conditional_variance == pytest.approx(variance, rel=1e-6)
    assert 0.0 < result.divergence_floor < 0.3
    assert result.divergence < 0.05 * result.divergence_before
    assert result.divergence_before == pytest.approx(18.0, rel=0.15)
    assert split_plan.diagnose(new, other) == result
    assert split_plan.diagnose(new, other, random_state=1) != result
    lines = str(result).splitlines()
    assert len(lines) == 8
    assert lines[0].split() == ["cost_value", f"{result.cost_value:.4g}"]
    tensors = split_plan.diagnose(torch.from_numpy(new), torch.from_numpy(other))
    assert tensors == result
    with pytest.raises(ValueError, match="diagnose needs target rows"):
        split_plan.diagnose(new, np.zeros(200))
    with pytest.raises(NotFittedError):
        small().diagnose(new, other)


def test_diagnose_does_not_depend_on_the_order_of_the_target(split_plan):
    """A sorted target has halves that differ: each has to be a sample of the whole."""
    other, new = numpy_samples(150, 200, seed=1)
    ordered = other[np.argsort(other[:, 0])]
    floor = split_plan.diagnose(new, ordered).divergence_floor
    # Halves by the first feature would be more than a standard deviation apart, here 1.
    assert floor < 0.3


def test_diagnose_of_a_deterministic_map():
    result = small().fit(X, Y).diagnose(X, Y)
    assert result.conditional_variance == 0.0


def test_a_map_that_does_not_use_its_noise_is_reported():
    deaf = {"transport_map": Noisies(hears=False), "max_iter": 100}
    with pytest.warns(ConvergenceWarning, match="the map does not use its noise") as caught:
        transport = weak(**deaf).fit(X, Y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "increase gamma" in str(caught[0].message)
    with pytest.warns(ConvergenceWarning, match="does not use its noise") as caught:
        transport.partial_fit(X, Y)
    assert caught[0].filename == __file__
    weak(**{**deaf, "max_iter": 99}).fit(X, Y)  # without a warning: it may just have begun
    assert_array_equal(transport.conditional_variance(X), np.zeros_like(X))
    weak(**deaf, cost=None).fit(X, Y)  # without a warning: nothing is to be split


class Steep(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, y):
        return 200.0 * self.weight * y.square().sum(dim=1).sqrt()


class Steeps:
    def build(self, n_features, *, generator):
        return Steep()


def test_a_potential_that_ran_away_is_reported():
    with pytest.warns(ConvergenceWarning, match="the potential ran away") as caught:
        transport = small(potential=Steeps()).fit(X, Y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "GradientPenalty" in str(caught[0].message)
    assert transport.converged_
    # One iteration of the same is not reported where training was interrupted on purpose.
    small(potential=Steeps()).set_callbacks(Watch(stop_after=2)).fit(X, Y)


@pytest.mark.parametrize("shift", [1e2, 1e4, 1e7])
@pytest.mark.parametrize("cost", [None, "sqeuclidean"])
def test_samples_that_are_far_apart_are_nothing_to_report(cost, shift):
    """The slightest difference of means is worth a lot then, whatever the potential."""
    base = small(cost).fit(X, Y)
    transport = small(cost).fit(X, Y + shift)  # without a warning
    assert_allclose(transport.transform(X) - shift, base.transform(X), atol=1e-6)
    assert abs(transport.duality_gap_) < 1e-2 * transport.cost_value_


# --- the way back ----------------------------------------------------------------------


def test_no_inverse_unless_it_is_asked_for():
    transport = small().fit(X, Y)
    assert not hasattr(transport, "inverse_transform")
    assert hasattr(small(fit_inverse_transform=True), "inverse_transform")
    with pytest.raises(NotFittedError, match="instance is not fitted"):
        small(fit_inverse_transform=True).inverse_transform(Y)
    transport.set_params(fit_inverse_transform=True)
    with pytest.raises(NotFittedError, match="fitted with fit_inverse_transform=False"):
        transport.inverse_transform(Y)
    pipeline = make_pipeline(StandardScaler(), small())
    assert not hasattr(pipeline, "inverse_transform")


def test_the_way_back():
    X, Y, _, _ = gaussian_problem(1000)
    transport = small(fit_inverse_transform=True, max_iter=100, n_map_steps=4, batch_size=128).fit(
        X, Y
    )
    assert l2_uvp(X, transport.inverse_transform(transport.transform(X))) < 1.0
    # It is a map of its own, and not the way there.
    assert l2_uvp(X, transport.transform(transport.transform(X))) > 50.0


def test_the_way_back_does_not_change_the_way_there_in_kind():
    both = weak(fit_inverse_transform=True).fit(X, Y)
    assert_allclose(both.transform(X).mean(axis=0), Y.mean(axis=0), atol=0.2)
    assert_allclose(both.inverse_transform(Y).mean(axis=0), X.mean(axis=0), atol=0.3)
    single = both.inverse_transform(Y.astype("f4"))
    assert single.dtype == np.float32
    assert_allclose(single, both.inverse_transform(Y), atol=1e-5)


class QuarterTurn(Cost):
    """Squared distance to the row turned by a right angle: asymmetric."""

    def pairwise(self, x, y):
        turned = torch.stack([-x[:, 1], x[:, 0]], dim=1)
        return (turned[:, None] - y[None]).square().sum(-1)


def test_the_way_back_has_the_reversed_cost():
    """The cost taken as it is would turn on, to -x, instead of back."""
    rng = np.random.RandomState(0)
    X, again = rng.standard_normal((2, 500, 2)) * [2.0, 1.0]
    Y = np.stack([-again[:, 1], again[:, 0]], axis=1)
    transport = small(
        QuarterTurn(),
        fit_inverse_transform=True,
        optimizer=Adam(lr=2e-2, betas=(0.5, 0.9)),
        max_iter=120,
        n_map_steps=3,
        batch_size=128,
    ).fit(X, Y)
    turned = np.stack([-X[:, 1], X[:, 0]], axis=1)
    assert l2_uvp(turned, transport.transform(X)) < 10.0
    assert l2_uvp(X, transport.inverse_transform(turned)) < 10.0
    assert l2_uvp(-X, transport.inverse_transform(turned)) > 100.0


# --- repeatability ---------------------------------------------------------------------


@pytest.mark.parametrize("make", [small, weak])
def test_seeds(make):
    assert same(make().fit(X, Y), make().fit(X, Y))
    moved = make().fit(X, Y).transform(X)
    assert np.abs(make(random_state=1).fit(X, Y).transform(X) - moved).max() > 1e-4
    assert_array_equal(make(random_state=np.random.RandomState(0)).fit(X, Y).transform(X), moved)


def test_global_state_is_left_alone():
    def state():
        return (
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            np.random.get_state()[2],
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )

    before = state()
    transport = weak(fit_inverse_transform=True).fit(X)
    transport.partial_fit(X)
    transport.sample_transform(X, 3, random_state=0)
    transport.diagnose(X, Y)
    transport.inverse_transform(Y)
    transport.score(X)
    assert state() == before
    with torch.no_grad():
        assert same(weak().fit(X, Y), weak().fit(X, Y))
        assert len(set(weak().fit(X, Y).loss_curve_)) > 1


@pytest.mark.parametrize("make", [small, weak])
def test_copies(make):
    fitted = make(fit_inverse_transform=True).fit(X, Y)
    buffer = io.BytesIO()
    joblib.dump(fitted, buffer)
    buffer.seek(0)
    for twin in (joblib.load(buffer), pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert same(twin, fitted)
        assert_array_equal(twin.inverse_transform(Y), fitted.inverse_transform(Y))
        assert twin.diagnose(X, Y) == fitted.diagnose(X, Y)
        # A copy is independent, and trains on as the original does.
        moved = fitted.transform(X)
        twin.partial_fit(X, Y)
        assert_array_equal(fitted.transform(X), moved)
        assert same(twin, copy.deepcopy(fitted).partial_fit(X, Y))


def test_a_large_sample_is_not_in_the_pickle():
    rng = np.random.RandomState(0)
    small_one = small(max_iter=1).fit(X, Y)
    big = small(max_iter=1).fit(rng.standard_normal((50_000, 2)), Y)
    # The rows that values are computed on are kept, and no more.
    assert len(pickle.dumps(big)) - len(pickle.dumps(small_one)) < 2 * 4096 * 2 * 8


def test_dtypes_and_tensors():
    expected = weak().fit(X, Y)
    single = weak().fit(X.astype("f4"), Y.astype("f4"))
    assert single.transform(X.astype("f4")).dtype == np.float32
    assert single.transform(X).dtype == np.float64
    assert_allclose(single.transform(X), expected.transform(X), atol=1e-4)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    tensors = weak().fit(x, y)
    assert isinstance(tensors.transform(x), torch.Tensor)
    assert tensors.transform(x.float()).dtype == torch.float32
    assert same(tensors, expected)
    assert {p.dtype for m in expected._modules.values() for p in m.parameters()} == {torch.float64}
    assert {p.dtype for m in single._modules.values() for p in m.parameters()} == {torch.float32}


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


def test_sides_of_different_units():
    base = small().fit(X, Y)
    transport = small().fit(X, 1e6 * Y)
    assert_allclose(transport.transform(X) / 1e6, base.transform(X), atol=1e-3)


@pytest.mark.parametrize("cost", ["euclidean", WeakKernel(gamma=0.5), QuarterTurn()], ids=repr)
def test_rows_in_corresponding_order_are_a_target_like_any_other(cost):
    """The unit of a cost is that of rows and targets which have nothing to do with each other."""
    order = np.argsort(X[:, 0])
    units = [
        weak(cost=cost, max_iter=1).fit(source, target)._units[0]
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


# --- small samples ---------------------------------------------------------------------


def test_batches_larger_than_a_sample():
    transport = weak(batch_size=1000).fit(X[:50], Y[:7])
    assert transport.n_iter_ == 20
    assert np.isfinite(transport.transform(X)).all()


@pytest.mark.parametrize("arguments", [(X[:1], Y), (X, Y[:1]), (X[:0], Y), (X[:1],)])
def test_too_few_rows(arguments):
    for fit in (small().fit, small().partial_fit):
        with pytest.raises(ValueError, match="minimum of 2 is required|0 sample"):
            fit(*arguments)


@pytest.mark.parametrize("stopping", [None, EarlyStopping(patience=10, check_every=5)])
def test_two_rows(stopping):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport = weak(stopping=stopping).fit(X[:2], Y[:2])
    assert np.isfinite(transport.transform(X)).all()


@pytest.mark.parametrize("n_rows", [2, 3, 20])
def test_fewer_rows_than_features(n_rows):
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((n_rows, 30)), rng.standard_normal((n_rows, 30)) + 2.0
    transport = small(fit_inverse_transform=True).fit(X, Y)
    assert_allclose(transport.transform(X).mean(axis=0), Y.mean(axis=0), atol=0.3)
    new = rng.standard_normal((10, 30))
    assert np.isfinite(transport.transform(new)).all()
    assert np.isfinite(transport.inverse_transform(new)).all()


@pytest.mark.parametrize("cost", [None, "euclidean", WeakQuadratic(gamma=0.5)], ids=repr)
def test_points(cost):
    transport = weak(cost=cost, fit_inverse_transform=True)
    transport.fit(np.full((5, 2), 0.1), np.full((4, 2), 0.7))
    assert_allclose(transport.transform(np.full((1, 2), 0.1)), 0.7, atol=0.2)
    assert np.isfinite(transport.inverse_transform(np.full((1, 2), 0.7))).all()


# --- streams and warm starts -----------------------------------------------------------


def batches(n=6, size=32):
    rng = np.random.RandomState(5)
    return [
        (rng.standard_normal((size, 2)), 0.6 * rng.standard_normal((size, 2)) + 3.0)
        for _ in range(n)
    ]


@pytest.mark.parametrize("make", [small, weak])
def test_the_first_partial_fit_is_one_epoch_of_fit(make):
    streamed = make(optimizer=Adam(lr=1e-3)).partial_fit(X, Y)
    assert streamed.n_iter_ == 2
    assert same(streamed, make(optimizer=Adam(lr=1e-3), max_iter=2).fit(X, Y))


def test_streams_count_on():
    transport = weak()
    for i, (x, y) in enumerate(batches()):
        assert transport.partial_fit(x, y) is transport
        assert transport.n_iter_ == len(transport.loss_curve_) == i + 1
    transport.partial_fit(X, Y[:10])
    assert transport.n_iter_ == 8


@pytest.mark.parametrize("averaging", [None, ExponentialMovingAverage(0.9)])
def test_a_pickle_goes_on_where_the_stream_was(averaging):
    whole = weak(averaging=averaging)
    parts = weak(averaging=averaging)
    for x, y in batches():
        whole.partial_fit(x, y)
        parts = pickle.loads(pickle.dumps(parts)).partial_fit(x, y)
    assert same(whole, parts)


def test_streams_learn():
    rng = np.random.RandomState(0)
    transport = small(preconditioning="identity", optimizer=Adam(lr=1e-2, betas=(0.5, 0.9)))
    for _ in range(8):
        x = rng.standard_normal((512, 2))
        transport.partial_fit(x, rng.standard_normal((512, 2)) * [0.2, 1.0] + 1.0)
    new = rng.standard_normal((500, 2))
    assert l2_uvp(new * [0.2, 1.0] + 1.0, transport.transform(new)) < 8.0


def test_streams_of_stacked_samples_and_of_the_source_alone():
    rows, _, sample_domain = stack_domains(X, Y)
    stacked = weak().partial_fit(rows, sample_domain=sample_domain)
    assert same(stacked, weak().partial_fit(X, Y))
    flow = weak().partial_fit(X).partial_fit(X[:40])
    assert np.isfinite(flow.transform(X)).all()
    with pytest.raises(ValueError, match="expecting 2 features"):
        flow.partial_fit(X[:, :1])


def test_a_stream_after_a_fit_still_learns():
    transport = weak().fit(X, Y)
    moved = transport.transform(X)
    transport.partial_fit(X, Y)
    # The schedule of the fit had come to its end, where the learning rate is zero.
    assert np.abs(transport.transform(X) - moved).max() > 1e-4


def test_warm_start():
    transport = weak(warm_start=True).fit(X, Y)
    moved, curve, bank = transport.transform(X), transport.loss_curve_, transport.noise_bank_
    transport.set_params(max_iter=10).fit(X, Y)
    assert transport.n_iter_ == 30
    assert transport.loss_curve_[:20] == curve
    assert transport.noise_bank_ is bank
    assert 1e-4 < np.abs(transport.transform(X) - moved).max() < 0.5
    # A warm start takes a new optimizer, at the start of its schedule.
    moved = transport.transform(X)
    transport.set_params(optimizer=Adam(lr=1e-10)).fit(X, Y)
    assert 0.0 < np.abs(transport.transform(X) - moved).max() < 1e-6
    cold = clone(transport).set_params(warm_start=False, optimizer=None, max_iter=20)
    assert same(cold.fit(X, Y).fit(X, Y), weak().fit(X, Y))


def test_warm_start_schedules_count_the_updates_of_each_network():
    transport = small(warm_start=True, n_map_steps=3)
    for _ in range(2):
        transport.fit(X, Y)
        planned = {name: updater.max_iter for name, updater in transport._state.updaters.items()}
        assert planned == {"transport_map": 60, "potential": 20}


@pytest.mark.parametrize(
    "before, after",
    [
        ({"cost": None}, {"cost": WeakQuadratic(gamma=0.9)}),
        ({"cost": WeakQuadratic(gamma=0.9)}, {"cost": None}),
        ({"cost": None}, {"cost": "euclidean"}),
        ({"cost": WeakQuadratic(gamma=0.9)}, {"cost": WeakKernel()}),
        ({}, {"fit_inverse_transform": True}),
        ({"fit_inverse_transform": True}, {"fit_inverse_transform": False}),
    ],
    ids=str,
)
def test_warm_start_with_another_kind_of_problem(before, after):
    transport = weak(**before, warm_start=True).fit(X, Y)
    twin = copy.deepcopy(transport)
    transport.set_params(**after)
    for fit in (transport.fit, transport.partial_fit):
        with pytest.raises(ValueError, match="set warm_start=False after a change"):
            fit(X, Y)
        # Nothing has changed, to the components that were used.
        assert same(transport, twin)
        assert repr(transport.cost_) == repr(twin.cost_)
    transport.set_params(warm_start=False).fit(X, Y)
    assert transport.n_iter_ == 20


def test_warm_start_with_another_gamma_goes_on():
    transport = weak(0.75, warm_start=True, max_iter=80, n_map_steps=4).fit(Y, X)
    variance = transport.conditional_variance(Y).mean()
    transport.set_params(cost__gamma=0.95, max_iter=40).fit(Y, X)
    assert transport.n_iter_ == 120
    assert transport.cost_.gamma == 0.95
    assert transport.conditional_variance(Y).mean() > 1.1 * variance


def test_warm_start_with_twice_the_cost():
    """The networks know the cost in its own unit, and do not see a difference."""
    transport = small(None, warm_start=True).fit(X, Y)
    twice = copy.deepcopy(transport).set_params(cost="sqeuclidean").fit(X, Y)
    transport.fit(X, Y)
    assert_allclose(twice.transform(X), transport.transform(X), rtol=1e-6)
    assert twice.cost_value_ == pytest.approx(2.0 * transport.cost_value_, rel=1e-6)
    assert twice.duality_gap_ == pytest.approx(2.0 * transport.duality_gap_, rel=1e-4)


def test_warm_start_with_another_width():
    transport = small(warm_start=True).fit(X, Y)
    moved = transport.transform(X)
    with pytest.raises(ValueError, match="X has 4 features, but NeuralOT is expecting 2"):
        transport.fit(np.hstack([X, X]), np.hstack([Y, Y]))
    assert_array_equal(transport.transform(X), moved)
    wide = transport.set_params(warm_start=False).fit(np.hstack([X, X]), np.hstack([Y, Y]))
    assert wide.transform(np.hstack([X, X])).shape == (64, 4)


# --- stopping, checkpoints, accidents --------------------------------------------------


@pytest.mark.parametrize("make", [small, weak])
def test_early_stopping(make):
    stopping = EarlyStopping(patience=2, tol=10.0, check_every=5)
    transport = make(stopping=stopping, max_iter=100).fit(X, Y)
    assert transport.converged_
    # The first check improves on nothing, the two after it do not improve enough.
    assert transport.n_iter_ == 15
    assert np.isfinite(transport.transform(X)).all()


def test_early_stopping_looks_at_the_divergence_of_held_out_rows():
    stopping = EarlyStopping(patience=50, check_every=5, validation_fraction=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport = small(stopping=stopping, preconditioning="identity", max_iter=60)
        rng = np.random.RandomState(0)
        transport.fit(rng.standard_normal((300, 2)), rng.standard_normal((300, 2)) * [0.2, 3.0])
    curve = [loss for _, loss in transport._state.validation_curve]
    assert len(curve) == 12
    # The maximin value would have no direction.
    assert 0.0 < curve[-1] < 0.7 * curve[0]


def test_a_fit_that_did_not_converge_warns_once():
    transport = weak(stopping=EarlyStopping(patience=50, check_every=5))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transport.fit(X, Y)
    (warning,) = caught
    assert warning.category is ConvergenceWarning
    assert "Increase max_iter" in str(warning.message)
    assert warning.filename == __file__
    assert not transport.converged_
    assert transport.n_iter_ == 20


def test_the_weights_of_the_best_check_are_kept():
    stopping = EarlyStopping(patience=3, check_every=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport = weak(stopping=stopping, optimizer=Adam(lr=0.1), max_iter=40).fit(X, Y)
    assert transport._state.best["iteration"] < transport.n_iter_
    best = transport._state.best["weights"]["transport_map"]
    for name, value in transport._modules["transport_map"].state_dict().items():
        assert_allclose(value, best[name])


def test_time_budget():
    transport = weak(stopping=TimeBudget(seconds=1e-6), max_iter=10**6).fit(X, Y)
    assert transport.n_iter_ == 1
    assert transport.converged_


@pytest.mark.parametrize("averaging", [None, ExponentialMovingAverage(0.9)])
def test_a_crash_changes_nothing_with_a_checkpoint(monkeypatch, tmp_path, averaging):
    def fit(**params):
        return weak(averaging=averaging, **params).fit(X, Y)

    expected = fit()
    checkpoint = Checkpoint(tmp_path / "fit.pt", every=7)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 16, RuntimeError("crash"))
        with pytest.raises(RuntimeError, match="crash"):
            fit(checkpoint=checkpoint)
    steps = []
    step = MaximinDirection.step
    monkeypatch.setattr(
        MaximinDirection, "step", lambda self, i, *draws: steps.append(i) or step(self, i, *draws)
    )
    assert same(fit(checkpoint=checkpoint), expected)
    assert steps == list(range(14, 20))
    # A finished fit is there at once, and other data is not taken for the same fit.
    assert same(fit(checkpoint=checkpoint), expected)
    assert len(steps) == 6
    with pytest.warns(UserWarning, match="other parameters or other data"):
        weak(checkpoint=checkpoint, max_iter=3).fit(X + 1.0, Y)


def test_a_loss_that_is_not_finite_keeps_the_last_good_state(monkeypatch):
    good = weak(max_iter=7).fit(X, Y)
    step = MaximinDirection.step

    def goes_wrong(self, i, draw_x, draw_y):
        value = step(self, i, draw_x, draw_y)
        return value if i < 7 else torch.full_like(value, torch.nan)

    monkeypatch.setattr(MaximinDirection, "step", goes_wrong)
    transport = weak()
    with pytest.warns(ConvergenceWarning, match="loss was not finite at iteration 7") as caught:
        transport.fit(X, Y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "GradientPenalty" in str(caught[0].message)
    assert not transport.converged_
    assert transport.n_iter_ == len(transport.loss_curve_) <= 7
    assert np.isfinite(transport.transform(X)).all()
    assert np.isfinite([transport.cost_value_, transport.duality_gap_]).all()
    with pytest.warns(ConvergenceWarning, match="Lower the learning rate") as caught:
        weak(batch_size=8).partial_fit(X, Y)
    assert caught[0].filename == __file__
    assert good.n_iter_ == 7


def test_a_learning_rate_that_is_too_high():
    # The map has gone astray before the first loss is known.
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        weak(optimizer=Adam(lr=1e20)).fit(X, Y)


class Broken(BaseEstimator):
    """A potential that overflows."""

    def build(self, n_features, *, generator):
        module = Bowl(torch.ones(n_features, 1))
        module.weights.data.fill_(torch.inf)
        return module


def test_nothing_finite_at_all():
    transport = small(potential=Broken())
    with pytest.raises(FloatingPointError, match="iteration 0"):
        transport.fit(X, Y)
    with pytest.raises(NotFittedError):
        transport.transform(X)


@pytest.mark.parametrize("iteration", [0, 7])
def test_the_keyboard_leaves_a_usable_transport(monkeypatch, iteration):
    with monkeypatch.context() as patch:
        interrupt_at(patch, iteration, KeyboardInterrupt)
        transport = weak(fit_inverse_transform=True).fit(X, Y)
    assert transport.n_iter_ == len(transport.loss_curve_) == iteration
    assert np.isfinite(transport.transform(X)).all()
    assert np.isfinite(transport.cost_value_)
    assert np.isfinite(transport.inverse_transform(Y)).all()
    transport.partial_fit(X, Y)
    assert transport.n_iter_ == iteration + 2


@pytest.mark.parametrize("make", [small, weak])
def test_a_failed_refit_leaves_the_fit_before(make):
    transport = make().fit(X, Y)
    twin, score = copy.deepcopy(transport), transport.score(X)
    transport.set_params(potential=Broken())
    for source, target in ((X + 7.0, Y), (X.astype("f4"), Y - 5.0), (X.repeat(2, axis=1),) * 2):
        with pytest.raises(FloatingPointError):
            transport.fit(source, target)
        assert same(transport, twin)
        assert transport.score(X) == score
    # What training goes on from is that fit too.
    transport.set_params(potential=SMALL["potential"])
    assert same(transport.partial_fit(X, Y), twin.partial_fit(X, Y))


# --- callbacks -------------------------------------------------------------------------


class Watch:
    """A callback that scores the transport as it stands, and stops it after some steps."""

    def __init__(self, stop_after=sys.maxsize):
        self.stop_after = stop_after
        self.scores = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **data):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, **data):
        if context.task_name != "iteration":
            return False
        self.scores.append(fitted_estimator.score(X))
        return len(self.scores) >= self.stop_after

    def teardown(self, estimator, context):
        pass


def test_callbacks_see_the_transport_as_it_stands():
    watch = Watch()
    transport = weak(max_iter=5).set_callbacks(watch).fit(X, Y)
    assert len(set(watch.scores)) == 5
    assert watch.scores[-1] == transport.score(X)
    assert same(transport, weak(max_iter=5).fit(X, Y))


def test_a_callback_stops_training():
    transport = weak(stopping=EarlyStopping(patience=50)).set_callbacks(Watch(stop_after=3))
    transport.fit(X, Y)  # without a warning: it was asked to stop
    assert transport.n_iter_ == 3
    assert not transport.converged_
    assert np.isfinite(transport.transform(X)).all()
    assert weak().set_callbacks(Watch(stop_after=3)).fit(X, Y).n_iter_ == 3


def test_a_callback_that_fails():
    class Faulty(Watch):
        def on_fit_task_end(self, estimator, context, **data):
            raise RuntimeError("faulty")

    transport = weak().fit(X, Y)
    twin = copy.deepcopy(transport)
    with pytest.raises(RuntimeError, match="faulty"):
        transport.set_callbacks(Faulty()).fit(X + 3.0, Y)
    assert same(transport, twin)
    assert same(transport.set_callbacks(Watch()).fit(X, Y), twin)


def test_progress_bar(capsys):
    expected = weak().fit(X, Y)
    assert capsys.readouterr().out == ""
    weak().set_callbacks(ProgressBar()).fit(X, Y)
    assert "NeuralOT - fit" in capsys.readouterr().out
    verbose = weak(verbose=True).fit(X, Y)
    assert "NeuralOT - fit" in capsys.readouterr().out
    assert same(verbose, expected)
    pickle.dumps(verbose)


# --- the reference, and other company --------------------------------------------------


@pytest.mark.parametrize(
    "reference, mean, variance", [("normal", 0.0, 1.0), ("uniform", 0.5, 1 / 12)]
)
def test_reference(reference, mean, variance):
    rng = np.random.RandomState(0)
    source = np.abs(rng.standard_normal((500, 2))) * [1.0, 3.0] + 4.0
    transport = small(reference=reference, max_iter=100, n_map_steps=4, batch_size=128).fit(source)
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
    adaptation = DomainAdaptation(LogisticRegression(), small(max_iter=50))
    adaptation.fit(stacked, y, sample_domain=sample_domain)
    assert adaptation.score(stacked, y, sample_domain=sample_domain) > 0.9
    assert LogisticRegression().fit(rows, labels).score(moved, labels) < 0.7


# --- devices ---------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("images", [False, True])
def test_cuda(images):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(64, 16)), 2.0 * rng.normal(size=(64, 16))
    networks = {}
    if images:
        networks = {
            "transport_map": UNet((4, 4), channels=(4, 8), noise_channels=1),
            "potential": ResNetPotential((4, 4), channels=(4, 8)),
        }
    transport = weak(**networks, device="cuda", fit_inverse_transform=True).fit(X, Y)
    moved = transport.transform(X)
    assert isinstance(moved, np.ndarray)
    loaded = pickle.loads(pickle.dumps(transport))
    assert loaded.potential_.frame.source_mean.device.type == "cpu"
    assert_allclose(loaded.transform(X), moved, rtol=1e-5, atol=1e-5)
    assert_allclose(loaded.inverse_transform(Y), transport.inverse_transform(Y), atol=1e-5)
    assert_allclose(loaded.conditional_variance(X), transport.conditional_variance(X), atol=1e-5)
