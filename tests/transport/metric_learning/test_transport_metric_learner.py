"""LagrangianMetricLearner: closed forms, predictions, the contract of estimators, bad input."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skot import LagrangianMetricLearner
from skot.costs import ConstantMetric, RiemannianKinetic
from skot.metrics import alignment_score
from skot.networks import NeuralMetric
from skot.solvers.geodesic import LBFGSGeodesic
from skot.training import Adam, TimeBudget
from skot.transport._metric_learning import populations
from skot.transport._metric_learning.populations import (
    draw_targets,
    solve_transport,
    straight_costs,
)
from skot.transport._metric_learning.training import MetricMethod
from skot.utils._sklearn import InvalidParameterError


def small(**params):
    """Return a learner that is fitted in a quarter of a second."""
    options = {
        "metric": NeuralMetric((16, 16)),
        "max_iter": 60,
        "n_alternations": 2,
        "n_knots": 2,
        "batch_size": 64,
        "random_state": 0,
    }
    return LagrangianMetricLearner(**{**options, **params})


def drift(direction, n=40, n_times=4, seed=0, scale=0.3):
    """Return populations that move along a line, and their times."""
    rng = np.random.RandomState(seed)
    time = np.repeat(np.arange(n_times), n)
    return scale * rng.normal(size=(n * n_times, len(direction))) + np.outer(time, direction), time


def cheap_along(direction):
    """Return the metric whose cheap direction is given."""
    unit = np.asarray(direction) / np.linalg.norm(direction)
    matrix = np.eye(len(unit)) - 0.9 * np.outer(unit, unit)
    return ConstantMetric(tuple(map(tuple, matrix)))


def arc(angle, n, seed):
    """Return a population at an angle of the unit circle."""
    around = angle + 0.05 * np.random.RandomState(seed).normal(size=n)
    radius = 1.0 + 0.05 * np.random.RandomState(seed + 1).normal(size=n)
    return radius[:, None] * np.column_stack([np.cos(around), np.sin(around)])


@pytest.fixture(scope="module")
def fitted():
    """Return a learner, and what it was fitted to."""
    X, time = drift([1.0, 0.5])
    return small().fit(X, time), X, time


@parametrize_with_checks([small(max_iter=4)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_checks([small(max_iter=4)])
def test_scikit_learn_checks_with_metadata_routing(estimator, check):
    with sklearn.config_context(enable_metadata_routing=True):
        check(estimator)


# Closed forms


@pytest.mark.parametrize("direction", [(1.0, 0.0), (1.0, 1.0), (-1.0, 2.0)])
def test_the_direction_of_a_drift_becomes_cheap(direction):
    X, time = drift(direction)
    learner = small(max_iter=100).fit(X, time)
    assert alignment_score(learner.metric_, cheap_along(direction), X) > 0.98


def test_the_direction_of_a_drift_becomes_cheap_in_three_dimensions():
    X, time = drift((1.0, 1.0, -1.0), n=60)
    learner = small(max_iter=200).fit(X, time)
    matrices = learner.metric_(torch.from_numpy(X)).detach()
    cheap = torch.linalg.eigh(matrices)[1][:, :, 0].numpy()
    assert np.abs(cheap @ [1.0, 1.0, -1.0]).mean() / np.sqrt(3.0) > 0.97


def test_rows_arrive_where_the_last_population_is(fitted):
    learner, X, time = fitted
    moved = learner.transform(X[time == 0])
    assert_allclose(moved.mean(0), X[time == 3].mean(0), atol=0.05)
    assert_allclose(moved.std(0), X[time == 3].std(0), atol=0.1)


def test_paths_of_a_constant_metric_are_straight(fitted):
    _, X, time = fitted
    euclidean = small(metric=NeuralMetric((4,), eigenvalues=(1.0, 1.0)), max_iter=1).fit(X, time)
    rows = X[time == 0]
    ends = euclidean.predict_trajectories(rows, times=[0.0, 1.0])
    assert_allclose(ends[:, 0], rows)
    halves = euclidean.predict_trajectories(rows, times=[0.25, 0.5])
    assert_allclose(halves[:, 0], 0.75 * rows + 0.25 * ends[:, 1], atol=1e-6)
    assert_allclose(halves[:, 1], 0.5 * rows + 0.5 * ends[:, 1], atol=1e-6)


def test_plan_of_few_points_is_the_assignment():
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    y = torch.tensor([[0.2, 1.0], [0.2, 0.0]])
    metric = ConstantMetric(((1.0, 0.0), (0.0, 1.0)))
    transport, plan = solve_transport(metric, x, y, 0.01)
    assert_allclose(plan, [[0.0, 1.0], [1.0, 0.0]], atol=1e-6)
    assert_allclose(transport.transport(metric, x), y[[1, 0]], atol=1e-6)
    targets = draw_targets(plan, 3, torch.Generator().manual_seed(0))
    assert_array_equal(targets, [[1, 1, 1], [0, 0, 0]])


def test_costs_along_straight_lines_of_a_constant_metric():
    rng = np.random.RandomState(0)
    x, y = torch.from_numpy(rng.normal(size=(5, 2))), torch.from_numpy(rng.normal(size=(4, 2)))
    matrix = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double()
    line = y[None] - x[:, None]
    expected = 0.5 * torch.einsum("nmi,ij,nmj->nm", line, matrix, line)
    metric = ConstantMetric(tuple(map(tuple, matrix.tolist())))
    assert_allclose(straight_costs(metric, x, y), expected)


def test_plans_do_not_depend_on_a_common_drift():
    """The unit of epsilon leaves out what all pairs have in common."""
    X, time = drift([0.0, 0.0], n_times=2)
    metric = ConstantMetric(((1.0, 0.0), (0.0, 1.0)))
    x, y = torch.from_numpy(X[time == 0]), torch.from_numpy(X[time == 1])
    plans = [solve_transport(metric, x, y + shift, 0.1)[1] for shift in (0.0, 100.0)]
    assert_allclose(plans[0], plans[1], atol=5e-3)  # they are solved to 1e-3


def test_a_held_out_population_is_predicted_on_the_circle():
    """Half-way along an arc; straight lines cut the corner."""
    angles = np.linspace(0.0, np.pi, 7)
    X = np.concatenate([arc(angle, 60, k) for k, angle in enumerate(angles)])
    time = np.repeat(np.arange(7), 60)
    seen = time % 2 == 0
    held_out = X[~seen], time[~seen]
    learner = small(max_iter=300, n_knots=4).fit(X[seen], time[seen])
    euclidean = clone(learner).set_params(metric__eigenvalues=(1.0, 1.0)).fit(X[seen], time[seen])
    score, straight = learner.score(*held_out), euclidean.score(*held_out)
    assert straight < score <= 0.0
    radius, chord = (
        np.linalg.norm(estimator.predict_population(1.0), axis=1).mean()
        for estimator in (learner, euclidean)
    )
    assert chord < radius < 1.0


# Predictions


def test_times_of_trajectories(fitted):
    learner, X, time = fitted
    rows = X[time == 0]
    trajectories = learner.predict_trajectories(rows, n_times=7)
    assert trajectories.shape == (40, 7, 2)
    assert_allclose(trajectories[:, 0], rows)
    assert_allclose(trajectories[:, -1], learner.transform(rows))
    chosen = learner.predict_trajectories(rows, times=[1.5, 0.0])  # in any order
    assert_allclose(chosen[:, 0], trajectories[:, 3], atol=1e-6)
    assert_allclose(chosen[:, 1], rows)
    with pytest.raises(ValueError, match="within the fitted range, 0 to 3. Got 4"):
        learner.predict_trajectories(rows, times=[1.0, 4.0])
    for n_times in (0, 2.5):
        with pytest.raises(ValueError, match=f"n_times must be a positive integer. Got {n_times}"):
            learner.predict_trajectories(rows, n_times)


def test_populations_of_other_times(fitted):
    learner, X, time = fitted
    assert_allclose(learner.predict_population(0.0), X[time == 0])
    assert_allclose(learner.predict_population(2.5).mean(0), [2.5, 1.25], atol=0.2)
    with pytest.raises(ValueError, match="within the fitted range"):
        learner.predict_population(-1.0)


def test_score_counts_times_in_the_range(fitted):
    learner, X, time = fitted
    score = learner.score(X, time)
    assert -0.05 < score < 0.0
    beyond = np.concatenate([X, X + 50.0]), np.concatenate([time, time + 50])
    assert_allclose(learner.score(*beyond), score)
    assert_allclose(learner.score(X, time, sample_weight=np.full(len(X), 3.0)), score, atol=1e-6)
    assert learner.score(X + 1.0, time) < score - 0.5
    with pytest.raises(ValueError, match="No time in y is within the fitted range"):
        learner.score(X, time + 50)
    with pytest.raises(ValueError, match="requires y"):
        learner.score(X, None)


def test_fitted_metric_makes_a_lagrangian(fitted):
    learner, X, _ = fitted
    x = torch.from_numpy(X)
    value = RiemannianKinetic(learner.metric_)(x, torch.ones_like(x), torch.zeros(len(x)))
    assert value.shape == (160,)
    assert bool((value >= 0.1 - 1e-6).all())


# The contract


def test_attributes(fitted):
    learner, _, _ = fitted
    assert_array_equal(learner.times_, [0, 1, 2, 3])
    assert learner.n_iter_ == len(learner.loss_curve_) == 60
    assert learner.converged_
    assert isinstance(learner.network_, NeuralMetric)


def test_order_of_rows_and_gaps_of_times_do_not_count(fitted):
    learner, X, time = fitted
    order = np.argsort(np.random.RandomState(0).permutation(len(X)) + 1000 * (3 - time))
    other = small().fit(X[order], time[order])
    assert_array_equal(other.times_, learner.times_)
    same_order = small().fit(X, np.array([0.0, 0.1, 7.0, 100.0])[time])
    assert_allclose(same_order.transform(X), learner.transform(X))


def test_same_seed_same_result(fitted):
    learner, X, time = fitted
    assert_array_equal(small().fit(X, time).transform(X), learner.transform(X))
    other = small(random_state=1).fit(X, time)
    assert np.abs(other.transform(X) - learner.transform(X)).max() > 0.0


def test_global_state_stays(fitted):
    _, X, time = fitted
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    small().fit(X, time)
    assert torch.equal(torch.get_rng_state(), state)
    assert_array_equal(np.random.get_state()[1], numpy_state)


@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
def test_copies_predict_alike(fitted, copied):
    learner, X, time = fitted
    twin = copied(learner)
    assert_array_equal(twin.transform(X), learner.transform(X))
    assert twin.score(X, time) == learner.score(X, time)


def test_tensors_in_tensors_out(fitted):
    learner, X, time = fitted
    x = torch.from_numpy(X)
    twin = small().fit(x, torch.from_numpy(time))
    moved = twin.transform(x)
    assert isinstance(moved, torch.Tensor)
    assert_array_equal(moved.numpy(), learner.transform(X))
    assert isinstance(twin.predict_trajectories(x, n_times=3), torch.Tensor)
    assert twin.score(x, torch.from_numpy(time)) == learner.score(X, time)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        small().fit(x, time[:3])


def test_precision_of_the_input_is_kept(fitted):
    learner, X, time = fitted
    single = small().fit(X.astype(np.float32), time)
    assert single.transform(X.astype(np.float32)).dtype == np.float32
    assert next(single.metric_.parameters()).dtype == torch.float32
    assert_allclose(single.transform(X.astype(np.float32)), learner.transform(X), atol=1e-2)


def test_large_populations_are_drawn_from(fitted):
    _, X, time = fitted
    learner = small(transport_size=15).fit(X, time)
    assert learner.predict_population(0.0).shape == (15, 2)
    assert_allclose(learner.transform(X[:40]).mean(0), [3.0, 1.5], atol=0.3)


def test_populations_may_differ_in_size():
    X, time = drift([1.0, 0.0])
    kept = (time != 1) | (np.arange(len(X)) % 40 == 0)  # a single row at one time
    learner = small(max_iter=10).fit(X[kept], time[kept])
    assert learner.transform(X[:40]).shape == (40, 2)


def test_in_a_pipeline_and_a_grid_search():
    X, time = drift([1.0, 0.0])
    pipeline = make_pipeline(MaxAbsScaler(), small(max_iter=4))
    search = GridSearchCV(
        pipeline,
        {
            "lagrangianmetriclearner__metric__hidden_layer_sizes": [(4,), (8, 8)],
            "lagrangianmetriclearner__epsilon": [0.1],
        },
        cv=2,
        error_score="raise",
    ).fit(X[np.argsort(np.arange(160) % 40)], time[np.argsort(np.arange(160) % 40)])
    assert search.best_score_ < 0.0


def test_components_are_used():
    X, time = drift([1.0, 0.0])
    learner = small(
        geodesic_solver=LBFGSGeodesic(n_starts=1, max_iter=5),
        optimizer=Adam(lr=1e-3),
        stopping=TimeBudget(seconds=1e-6),
    ).fit(X, time)
    assert learner.n_iter_ < 60
    with pytest.raises(ValueError, match="NeuralMetric"):
        LagrangianMetricLearner().set_params(metric__gauge=1.0)


class Anisotropic:
    """A metric of the user's own: a diagonal one, which need not be positive definite."""

    def __init__(self, offset=0.1):
        self.offset = offset

    def build(self, n_features, *, generator):
        module = torch.nn.Module()
        module.raw = torch.nn.Parameter(torch.zeros(n_features))

        def forward(x):
            # Costs share a budget: what one direction saves another one pays.
            share = torch.softmax(module.raw, 0) + self.offset
            return torch.diag(share.to(x)).expand(*x.shape, x.shape[-1])

        module.forward = forward
        return module


def test_a_metric_of_the_users_own():
    X, time = drift([1.0, 0.0])
    learner = small(metric=Anisotropic(), optimizer=Adam(lr=0.1)).fit(X, time)
    matrix = learner.metric_(torch.zeros(1, 2))[0].detach()
    assert matrix[0, 0] < matrix[1, 1]


def test_callbacks_see_the_iterations(fitted):
    from sklearn.callback import ProgressBar

    _, X, time = fitted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner = small(max_iter=3).set_callbacks(ProgressBar())
    assert learner.fit(X, time).n_iter_ == 3


# Bad input


def test_bad_input_raises():
    X, time = drift([1.0, 0.0])
    with pytest.raises(ValueError, match="y holds one time only, 3"):
        small().fit(X, np.full(len(X), 3))
    with pytest.raises(ValueError, match="requires y"):
        small().fit(X, None)
    with pytest.raises(ValueError, match="NaN"):
        small().fit(X, np.where(time == 1, np.nan, time))
    with pytest.raises(ValueError, match="NaN"):
        small().fit(np.where(time[:, None] == 1, np.nan, X), time)
    with pytest.raises(NotFittedError):
        small().predict_trajectories(X)


def test_metrics_that_are_not_positive_definite_raise_with_the_place():
    X, time = drift([1.0, 0.0])
    with pytest.raises(ValueError, match=r"not positive definite at row 0, x = "):
        small(metric=Anisotropic(-1.0)).fit(X, time)
    with pytest.raises(InvalidParameterError, match="positive numbers"):
        small(metric=NeuralMetric(eigenvalues=(-1.0, 1.0))).fit(X, time)


@pytest.mark.parametrize(
    "params", [{"epsilon": 0.0}, {"n_knots": -1}, {"n_alternations": 0}, {"metric": 3}]
)
def test_bad_parameters_raise(params):
    with pytest.raises(InvalidParameterError, match=next(iter(params))):
        small(**params).fit(*drift([1.0, 0.0]))


def test_divergence_keeps_the_last_finite_state():
    X, time = drift([1.0, 0.0])
    with pytest.warns(ConvergenceWarning, match="not finite"):
        learner = small(optimizer=Adam(lr=1e30), max_iter=20, n_alternations=1).fit(X, time)
    assert not learner.converged_
    assert np.isfinite(learner.transform(X)).all()


def interrupted_fit(monkeypatch, at=5, **params):
    """Fit until a step is interrupted by the keyboard."""
    loss = MetricMethod._loss

    def interrupted(self, solver, state, paths):
        if state.iteration == at:
            raise KeyboardInterrupt
        return loss(self, solver, state, paths)

    with monkeypatch.context() as patch:
        patch.setattr(MetricMethod, "_loss", interrupted)
        return small(**params).fit(*drift([1.0, 0.0]))


def test_the_keyboard_leaves_a_usable_learner_that_has_not_converged(monkeypatch):
    learner = interrupted_fit(monkeypatch)
    assert learner.n_iter_ == len(learner.loss_curve_) == 5
    assert not learner.converged_
    assert np.isfinite(learner.transform(drift([1.0, 0.0])[0])).all()


def test_transports_that_were_not_solved(monkeypatch):
    monkeypatch.setattr(populations, "_MAX_ITER", 1)
    with pytest.warns(ConvergenceWarning, match="3 of 3 transports") as caught:
        learner = small(epsilon=1e-3, max_iter=4).fit(*drift([1.0, 0.0]))
    assert len(caught) == 1
    assert not learner.converged_
    with pytest.warns(ConvergenceWarning, match="3 of 3 transports"):
        learner = interrupted_fit(monkeypatch, epsilon=1e-3)
    assert not learner.converged_


def test_a_failed_fit_leaves_the_one_before():
    X, time = drift([1.0, 0.0])
    learner = small(max_iter=4).fit(X, time)
    before = learner.transform(X)
    with pytest.raises(ValueError, match="one time only"):
        learner.fit(X, np.zeros(len(X)))
    assert_array_equal(learner.transform(X), before)


# --- populations without a spread, and far from the origin -----------------------------


@pytest.mark.parametrize("n", [1, 20])
def test_equal_points_go_to_the_mean(n):
    y = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.full((n, 2), 3.0, dtype=torch.float64)
    transport, plan = solve_transport(cheap_along([1.0, 0.0]), x, y, 0.005)
    assert_allclose(plan, 1.0 / 30, rtol=1e-6)
    assert_allclose(transport.transport(cheap_along([1.0, 0.0]), x[:1])[0], y.mean(0), atol=1e-6)


@pytest.mark.parametrize("shift, scale", [(1e8, 1.0), (0.0, 1e-25), (0.0, 1e25)])
def test_units_and_origins_do_not_matter(shift, scale):
    X, time = drift([1.0, 0.0])
    plain = small().fit(X, time).transform(X[:40])
    moved = small().fit(scale * X + shift, time).transform(scale * X[:40] + shift)
    assert_allclose((moved - shift) / scale, plain, atol=0.3)


def test_populations_without_weight_do_not_count():
    X, time = drift([1.0, 0.0])
    learner = small().fit(X, time)
    weights = (time > 0).astype(float)
    kept = time > 0
    assert learner.score(X, time, weights) == pytest.approx(learner.score(X[kept], time[kept]))
    with pytest.raises(ValueError, match="No time"):
        learner.score(X[~kept], time[~kept] - 10.0)
