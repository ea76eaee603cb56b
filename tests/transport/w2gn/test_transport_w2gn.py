"""The neural Wasserstein-2 transport: maps with a closed form, components, the flow.

What it shares with other neural transports is in test_transport_neural_training.py.
"""

import pickle

import numpy as np
import pytest
import scipy.linalg
import torch
from _neural_transports import Bowls, X, Y, forbid_training, same, w2gn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skot import GaussianTransport, W2GNTransport
from skot.datasets import make_gaussian_pair
from skot.losses import (
    CycleAmortization,
    ExpectileAmortization,
    ObjectiveAmortization,
    RegressionAmortization,
)
from skot.metrics import l2_uvp
from skot.networks import ICNN, GradientMap, MLPMap, MLPPotential
from skot.solvers.conjugate import (
    AdamConjugate,
    BestSoFar,
    ConjugateResult,
    LBFGSConjugate,
    NoConjugate,
)
from skot.training import Adam
from skot.transport._w2gn import training

# --- closed forms ----------------------------------------------------------------------


def gaussian_problem(n_features, n=2000):
    X, Y, law = make_gaussian_pair(n, n_features, random_state=0, return_parameters=True)
    root = scipy.linalg.sqrtm(law.covariance_source)
    middle = scipy.linalg.sqrtm(root @ law.covariance_target @ root)
    linear = np.linalg.solve(root, np.linalg.solve(root, middle).T)
    new = np.random.RandomState(1).multivariate_normal(law.mean_source, law.covariance_source, n)
    squared = np.square(law.mean_source - law.mean_target).sum()
    squared += np.trace(law.covariance_source + law.covariance_target - 2.0 * middle)
    return X, Y, new, (new - law.mean_source) @ linear + law.mean_target, np.sqrt(squared)


@pytest.mark.parametrize("n_features", [2, 8])
@pytest.mark.parametrize("preconditioning", ["gaussian", "identity"])
def test_gaussians(n_features, preconditioning):
    X, Y, new, expected, distance = gaussian_problem(n_features)
    transport = W2GNTransport(
        MLPPotential((32, 32)),
        amortizer=MLPMap((32, 32)),
        preconditioning=preconditioning,
        max_iter=200,
        batch_size=256,
        random_state=0,
    ).fit(X, Y)
    moved = transport.transform(new)
    gaussian = GaussianTransport().fit(X, Y)
    sampling_error = l2_uvp(expected, gaussian.transform(new))
    assert sampling_error < 0.5
    assert l2_uvp(expected, moved) < sampling_error + 1.0
    # What would be left if nothing but location and size were learned.
    shrunk = GaussianTransport(shrinkage=1.0).fit(X, Y).transform(new)
    assert l2_uvp(expected, shrunk) > 5.0
    assert l2_uvp(new, transport.inverse_transform(moved)) < 1e-3
    assert l2_uvp(new, transport.inverse_transform(expected)) < 2.0
    assert transport.wasserstein_distance_ == pytest.approx(distance, rel=0.03)
    own = gaussian.wasserstein_distance_
    assert transport.wasserstein_distance_ == pytest.approx(own, rel=0.005)
    assert transport.converged_
    assert transport.n_iter_ == len(transport.loss_curve_) == 200


def test_a_map_that_is_not_linear():
    """The map from |x| + x to itself in each feature, T(x) = x + sign(x)."""
    rng = np.random.RandomState(0)
    X, new = rng.standard_normal((1000, 2)), rng.standard_normal((1000, 2))
    Y = rng.standard_normal((1000, 2))
    transport = W2GNTransport(
        MLPPotential((64, 64)),
        amortizer=MLPMap((32, 32)),
        max_iter=200,
        batch_size=256,
        random_state=0,
    ).fit(X, Y + np.sign(Y))
    expected = new + np.sign(new)
    error = l2_uvp(expected, transport.transform(new))
    linear = l2_uvp(expected, GaussianTransport().fit(X, Y + np.sign(Y)).transform(new))
    assert error < 0.5 * linear
    assert linear > 3.0
    back = transport.inverse_transform(transport.transform(new))
    assert l2_uvp(new, back) < 0.1
    assert transport.wasserstein_distance_ == pytest.approx(np.sqrt(2.0), rel=0.05)


def test_the_potential_is_the_antiderivative_of_the_map():
    transport = w2gn().fit(X, Y)
    x = torch.from_numpy(X).requires_grad_()
    (gradient,) = torch.autograd.grad(transport.potential_(x).sum(), x)
    assert_allclose(gradient, transport.transform(X), rtol=1e-9)
    assert_allclose(transport.potential_.gradient(torch.from_numpy(X)), transport.transform(X))


def test_one_feature():
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((500, 1)), rng.uniform(size=(500, 1))
    transport = w2gn(max_iter=200, batch_size=256).fit(X, Y)
    moved = transport.transform(X)[:, 0]
    order = np.argsort(X[:, 0])
    assert np.abs(moved[order] - np.sort(Y[:, 0])).mean() < 0.02
    assert (np.diff(moved[order]) > 0.0).all()
    assert_allclose(transport.inverse_transform(transport.transform(X)), X, atol=0.02)


# --- components ------------------------------------------------------------------------


AMORTIZATIONS = [
    ObjectiveAmortization(),
    CycleAmortization(),
    RegressionAmortization(),
    ExpectileAmortization(),
]
SOLVERS = [LBFGSConjugate(), AdamConjugate(), NoConjugate(), BestSoFar(LBFGSConjugate(max_iter=5))]


@pytest.mark.parametrize("amortization", AMORTIZATIONS, ids=repr)
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_losses_and_solvers(amortization, solver):
    transport = w2gn(amortization=amortization, conjugate_solver=solver, max_iter=10)
    if isinstance(amortization, RegressionAmortization) and not solver.refines:
        with pytest.raises(ValueError, match="RegressionAmortization has no gradient"):
            transport.fit(X, Y)
        return
    transport.fit(X, Y)
    assert transport.n_iter_ == 10
    assert len(set(transport.loss_curve_)) == 10
    assert_allclose(transport.transform(X).mean(axis=0), Y.mean(axis=0), atol=0.2)
    assert repr(transport.conjugate_solver_) == repr(solver)
    assert transport.conjugate_solver_ is not solver


@pytest.mark.parametrize("refines", [True, False])
def test_regression_without_a_solver_is_refused_before_training(monkeypatch, refines):
    built = []
    monkeypatch.setattr(training, "build_modules", lambda **given: built.append(given))
    solver = BestSoFar(NoConjugate())
    with pytest.raises(ValueError, match="has no gradient with BestSoFar"):
        w2gn(conjugate_solver=solver).fit(X, Y)
    with pytest.raises(ValueError, match="has no gradient with BestSoFar"):
        w2gn(conjugate_solver=solver).partial_fit(X, Y)
    assert not built


@pytest.mark.parametrize(
    "params",
    [
        {"potential": ICNN((16, 16))},
        {
            "potential": ICNN((16, 16)),
            "amortizer": GradientMap(ICNN((16, 16))),
            "amortization": CycleAmortization(),
            "conjugate_solver": NoConjugate(),
        },
        {
            "potential": ICNN((16, 16)),
            "amortizer": GradientMap(ICNN((16, 16))),
            "amortization": ObjectiveAmortization(),
            "conjugate_solver": NoConjugate(),
            "n_amortizer_steps": 3,
        },
        {"preconditioning": "identity"},
    ],
    ids=["ICNN", "W2GN", "Makkuva", "identity"],
)
def test_other_settings(params):
    transport = w2gn(**params).fit(X, Y)
    assert transport.score(X) > -0.5
    other = w2gn(**params).fit(X, Y)
    assert same(transport, other)
    assert np.abs(transport.transform(X) - w2gn().fit(X, Y).transform(X)).max() > 1e-4


def test_more_steps_of_the_amortizer():
    transport = w2gn(n_amortizer_steps=3, max_iter=7).fit(X, Y)
    updates = {name: updater.n_updates for name, updater in transport._state.updaters.items()}
    assert updates == {"potential": 7, "amortizer": 21}
    assert transport.n_iter_ == 7


def test_nested_search():
    grid = {"conjugate_solver__max_iter": [1, 20]}
    search = GridSearchCV(w2gn(conjugate_solver=LBFGSConjugate()), grid, cv=2)
    search.fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    assert best.conjugate_solver_.max_iter == search.best_params_["conjugate_solver__max_iter"]


def test_search_over_components_in_a_pipeline():
    grid = {
        "w2gntransport__potential": [ICNN((8, 8)), MLPPotential((8, 8))],
        "w2gntransport__amortization": [ObjectiveAmortization(), RegressionAmortization()],
    }
    pipeline = make_pipeline(StandardScaler(), w2gn(max_iter=5))
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X)
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    assert np.isfinite(search.transform(X)).all()


def test_setting_what_is_not_there_says_what_to_pass():
    with pytest.raises(ValueError, match=r"W2GNTransport\(conjugate_solver=LBFGSConjugate\(\)\)"):
        W2GNTransport().set_params(conjugate_solver__max_iter=3)


@pytest.mark.parametrize(
    "params, name",
    [
        ({"amortizer": torch.nn.Linear(2, 2)}, "amortizer"),
        ({"amortization": "cycle"}, "amortization"),
        ({"conjugate_solver": LBFGSConjugate(max_iter=0)}, "max_iter"),
        ({"n_amortizer_steps": 0}, "n_amortizer_steps"),
    ],
    ids=str,
)
def test_bad_parameters(monkeypatch, params, name):
    forbid_training(monkeypatch)
    transport = w2gn(**params)
    for fit in (transport.fit, transport.partial_fit):
        with pytest.raises(ValueError, match=f"The {name!r} parameter"):
            fit(X, Y)
    with pytest.raises(NotFittedError):
        transport.transform(X)


# --- a user's own components -----------------------------------------------------------


class Wave(torch.nn.Module):
    """A potential of plain torch; its gradient is bounded and goes up and down."""

    def __init__(self, n_features):
        super().__init__()
        self.size = torch.nn.Parameter(torch.ones(n_features))

    def forward(self, x):
        return (self.size * (1.0 - torch.cos(x))).sum(dim=1)


class Waves:
    def build(self, n_features, *, generator):
        return Wave(n_features)


class Linears(BaseEstimator):
    def build(self, n_features, *, generator):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return torch.nn.Linear(n_features, n_features)


class Descent(BaseEstimator):
    """A conjugate solver that is not a ConjugateSolver."""

    def __init__(self, n_steps=50):
        self.n_steps = n_steps

    def solve(self, potential, y, x_init=None):
        x = y if x_init is None else x_init
        for _ in range(self.n_steps):
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                value = potential(x) - (x * y).sum(dim=1)
                (gradient,) = torch.autograd.grad(value.sum(), x)
            x = x - 0.5 * gradient
        counts = torch.full((len(y),), self.n_steps)
        return ConjugateResult(-value.detach(), x.detach(), counts, counts > 0)


def test_third_party_networks():
    params = {"potential": Bowls(), "amortizer": Linears(), "preconditioning": "identity"}
    transport = w2gn(**params, optimizer=Adam(lr=0.03), max_iter=100).fit(X, Y)
    state = torch.get_rng_state()
    assert same(transport, clone(transport).fit(X, Y))
    assert torch.equal(torch.get_rng_state(), state)
    assert_allclose(transport.transform(X).mean(axis=0), Y.mean(axis=0), atol=0.1)
    assert_allclose(transport.inverse_transform(transport.transform(X)), X, atol=0.01)
    assert same(pickle.loads(pickle.dumps(transport)), transport)


def test_third_party_solver():
    expected = w2gn(conjugate_solver=LBFGSConjugate(tol=1e-5)).fit(X, Y)
    transport = w2gn(conjugate_solver=Descent()).fit(X, Y)
    assert_allclose(transport.transform(X), expected.transform(X), atol=1e-2)
    assert_allclose(transport.inverse_transform(transport.transform(X)), X, atol=1e-3)
    transport.set_params(conjugate_solver__n_steps=3).fit(X, Y)
    assert transport.conjugate_solver_.n_steps == 3


def test_an_inverse_that_was_not_found_is_reported():
    transport = w2gn(potential=Waves(), max_iter=1).fit(X, Y)
    reached = transport.transform(X)[:10]
    assert np.isfinite(transport.inverse_transform(reached)).all()
    far = np.concatenate([reached, Y[:3] + 1e3])
    with pytest.warns(
        ConvergenceWarning, match="conjugates of 3 of 13 rows were not found"
    ) as all_:
        back = transport.inverse_transform(far)
    assert len(all_) == 1
    assert back.shape == far.shape


# --- units, points, accidents ----------------------------------------------------------


@pytest.mark.parametrize(
    "dtype, scale", [("f8", 1e-100), ("f8", 1e100), ("f4", 1e-12), ("f4", 1e12)]
)
def test_any_scale(dtype, scale):
    x, y = X.astype(dtype), Y.astype(dtype)
    base = w2gn().fit(x, y)
    scale = np.dtype(dtype).type(scale)
    transport = w2gn().fit(scale * x, scale * y)
    # Rounding of the frame is amplified by the conjugate solver, which stops at a tolerance.
    assert_allclose(transport.transform(scale * x) / scale, base.transform(x), atol=1e-3)
    assert_allclose(
        transport.inverse_transform(scale * y) / scale, base.inverse_transform(y), atol=1e-2
    )
    assert transport.wasserstein_distance_ == pytest.approx(
        float(scale) * base.wasserstein_distance_, rel=1e-3
    )


@pytest.mark.parametrize("preconditioning", ["gaussian", "identity"])
def test_constant_features(preconditioning):
    """Nothing in the data says how steep a potential is off the plane that the data lie in."""
    rng = np.random.RandomState(0)
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]

    def flat(n, constant):
        rows = rng.standard_normal((n, 4))
        rows[:, 2:] = constant
        return rows

    X, new, Y = flat(300, 0.1) @ turn, flat(300, 0.1) @ turn, flat(300, 0.7)
    Y[:, 0] += np.sign(Y[:, 0])
    params = {"preconditioning": preconditioning, "batch_size": 128, "max_iter": 200}
    moved = w2gn(**params).fit(X, Y @ turn).transform(new) @ turn.T
    assert_allclose(moved[:, 2:], 0.7, atol=0.05)
    assert moved[:, 0].std() == pytest.approx(Y[:, 0].std(), rel=0.2)


def test_points():
    transport = w2gn().fit(np.full((5, 2), 0.1), np.full((4, 2), 0.7))
    assert_allclose(transport.transform(np.full((1, 2), 0.1)), 0.7, atol=1e-3)
    assert_allclose(transport.inverse_transform(np.full((1, 2), 0.7)), 0.1, atol=1e-2)
    assert transport.wasserstein_distance_ == pytest.approx(0.6 * np.sqrt(2.0), rel=1e-3)


def test_a_learning_rate_that_is_too_high():
    transport = w2gn(optimizer=Adam(lr=1e20))
    with pytest.warns(ConvergenceWarning, match="loss was not finite at iteration"):
        transport.fit(X, Y)
    assert not transport.converged_
    assert transport.n_iter_ == len(transport.loss_curve_) < 20
    assert np.isfinite(transport.transform(X)).all()
    assert np.isfinite(transport.inverse_transform(Y)).all()
    with pytest.warns(ConvergenceWarning, match="Lower the learning rate"):
        w2gn(optimizer=Adam(lr=1e20), batch_size=16).partial_fit(X, Y)


# --- the flow to a reference -----------------------------------------------------------


def clusters(n, seed=0):
    """Draw from two Gaussians, neither round nor of the same size."""
    rng = np.random.RandomState(seed)
    first = rng.standard_normal((n, 2)) * [0.5, 1.0] - 1.5
    second = rng.standard_normal((n, 2)) * [1.0, 0.6] + 1.0
    return np.where(rng.uniform(size=(n, 1)) < 0.4, first, second)


def grid(lower, upper, n):
    axis = lower + (np.arange(n) + 0.5) * (upper - lower) / n
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2), ((upper - lower) / n) ** 2


@pytest.fixture(scope="module", params=[ICNN((32, 32)), MLPPotential((32, 32))], ids=repr)
def flow(request):
    params = {"max_iter": 150, "batch_size": 256}
    return w2gn(potential=request.param, **params).fit(clusters(1000))


def test_densities_integrate_to_one(flow):
    points, cell = grid(-7.0, 7.0, 100)
    integral = np.exp(flow.score_samples(points)).sum() * cell
    # A potential that is not convex may fold, far from the data, and count some places twice.
    tolerance = 0.02 if isinstance(flow.potential, ICNN) else 0.2
    assert integral == pytest.approx(1.0, abs=tolerance)


def test_densities_are_those_of_the_data(flow):
    new = clusters(1000, seed=1)
    gaussian = np.linalg.slogdet(np.cov(new.T))[1]
    whitened = np.linalg.solve(np.linalg.cholesky(np.cov(new.T)), (new - new.mean(axis=0)).T)
    of_gaussian = -0.5 * np.square(whitened).sum(axis=0) - np.log(2.0 * np.pi) - 0.5 * gaussian
    # The flow starts at the Gaussian fit, so it has learned what it is better at.
    assert flow.score_samples(new).mean() > of_gaussian.mean() + 0.05


def test_kinds_of_densities(flow):
    x = clusters(5)
    expected = flow.score_samples(x)
    assert expected.dtype == np.float64
    assert flow.score_samples(x.astype("f4")).dtype == np.float32
    tensor = flow.score_samples(torch.from_numpy(x))
    assert isinstance(tensor, torch.Tensor)
    assert_allclose(tensor, expected, rtol=1e-9)
    assert_allclose(flow.score_samples(x[:1]), expected[:1], rtol=1e-7)


def test_samples_are_like_the_data(flow):
    data, drawn = clusters(1000), flow.sample(4000, random_state=0)
    assert drawn.shape == (4000, 2)
    assert_allclose(drawn.mean(axis=0), data.mean(axis=0), atol=0.15)
    assert_allclose(np.cov(drawn.T), np.cov(data.T), atol=0.3)
    assert_array_equal(flow.sample(4, random_state=1), flow.sample(4, random_state=1))
    assert np.abs(flow.sample(4, random_state=1) - flow.sample(4, random_state=2)).min() > 0.0
    assert flow.sample().shape == (1, 2)


def test_only_a_flow_has_a_density():
    transport = w2gn(max_iter=1).fit(X, Y)
    with pytest.raises(ValueError, match="score_samples needs a target of known density"):
        transport.score_samples(X)
    with pytest.raises(ValueError, match="sample needs a target of known density"):
        transport.sample(3)
    for method in (w2gn().sample, lambda: w2gn().score_samples(X)):
        with pytest.raises(NotFittedError):
            method()
    assert np.isfinite(transport.fit(X).score_samples(X)).all()


def test_uniform_reference():
    x = clusters(500)
    transport = w2gn(reference="uniform", max_iter=150, batch_size=256).fit(x)
    moved = transport.transform(x)
    assert_allclose(moved.mean(axis=0), 0.5, atol=0.03)
    assert_allclose(moved.var(axis=0), 1 / 12, rtol=0.2)
    inside = ((moved >= 0) & (moved <= 1)).all(axis=1)
    density = transport.score_samples(x)
    assert_array_equal(np.isneginf(density), ~inside)
    assert inside.mean() > 0.8
    drawn = transport.sample(1000, random_state=0)
    assert_allclose(drawn.mean(axis=0), x.mean(axis=0), atol=0.3)
