"""MetaOTRegressor: predictions, objective and regression, solves, files, bad input."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skot import MetaOTRegressor, SinkhornTransport
from skot.costs import GridCost, PNorm, PrecomputedCost, SupportCost
from skot.networks import DualMLP, DualUNet
from skot.solvers import MetaInitializer, sinkhorn
from skot.training import Adam, CosineSchedule, EarlyStopping, ExponentialMovingAverage
from skot.utils import stack_domains
from skot.utils._sklearn import InvalidParameterError

N = 12
GRID = GridCost((N,))
EPSILON = 0.02
POINTS = np.random.RandomState(0).normal(size=(N, 2))


def bumps(n_problems, seed=0):
    """Return rows [a, b] of smooth histograms on a line, with empty bins."""
    rng = np.random.RandomState(seed)
    line = np.linspace(0.0, 1.0, N)
    centres, widths = (
        rng.uniform(size=(2 * n_problems, 1)),
        rng.uniform(0.1, 0.3, (2 * n_problems, 1)),
    )
    weights = np.maximum(1.0 - np.abs(line - centres) / widths, 0.0)
    weights[np.arange(2 * n_problems), rng.randint(N, size=2 * n_problems)] += 0.2
    return weights.reshape(n_problems, 2 * N) * rng.uniform(0.5, 20.0, size=(n_problems, 1))


def small(cost=GRID, **params):
    """Return a regressor that is fitted in a quarter of a second."""
    options = {
        "epsilon": EPSILON,
        "network": DualMLP((64, 64)),
        "optimizer": Adam(lr=5e-3, max_grad_norm=1.0, schedule=CosineSchedule()),
        "max_iter": 150,
        "batch_size": 64,
        "random_state": 0,
    }
    return MetaOTRegressor(cost, **{**options, **params})


@pytest.fixture(scope="module")
def fitted():
    return small(network=DualMLP((128, 128)), max_iter=1000).fit(bumps(5000))


def solved(rows, cost=GRID, epsilon=EPSILON, **options):
    """Return the solution of problems, without any prediction."""
    return sinkhorn(a=rows[:, :N], b=rows[:, N:], cost=cost, epsilon=epsilon, **options)


def plain_passes(rows):
    start = torch.zeros(len(rows), N, dtype=torch.float64)
    options = {"anderson_memory": 0, "annealing": False, "tol": 1e-2}
    return solved(rows, initializer=start, **options).passes


# Predictions


def test_predictions_save_passes(fitted):
    rows = bumps(200, seed=1)
    result = fitted.solve(rows, tol=1e-2, anderson_memory=0, annealing=False)
    passes, plain = result.passes.double(), plain_passes(rows).double()
    assert result.converged.all()
    assert passes.median() <= 0.4 * plain.median()
    assert passes.mean() < 0.7 * plain.mean()


def test_predicted_potentials_are_near_the_solution_where_there_is_mass(fitted):
    rows = bumps(100, seed=1)
    a = rows[:, :N] / rows[:, :N].sum(1, keepdims=True)
    f = solved(rows, tol=1e-9).f.numpy()
    f -= (a * f).sum(1, keepdims=True)
    predicted = fitted.predict(rows)
    assert_allclose((a * predicted).sum(1), 0.0, atol=1e-12)
    error = (a * (predicted - f) ** 2).sum(1).mean()
    assert error < 0.1 * (a * f**2).sum(1).mean()


def test_the_score_is_below_the_optimum_and_near_it(fitted):
    rows = bumps(100, seed=1)
    optimum = float(solved(rows, tol=1e-9).dual_value.mean())
    untrained = small(max_iter=1).fit(bumps(100))
    assert untrained.score(rows) < fitted.score(rows) <= optimum + 1e-9
    assert optimum - fitted.score(rows) < 0.5 * EPSILON
    weights = np.zeros(100)
    weights[3] = 2.0
    alone = fitted.score(rows[3:4])
    assert fitted.score(rows, sample_weight=weights) == pytest.approx(alone)


def test_couplings_have_the_target_marginal(fitted):
    rows = bumps(5, seed=2)
    couplings = fitted.predict_coupling(rows)
    assert couplings.shape == (5, N, N)
    b = rows[:, N:] / rows[:, N:].sum(1, keepdims=True)
    assert_allclose(couplings.sum(1), b, atol=1e-12)
    f, g = fitted.predict(rows), fitted.predict_target_potential(rows)
    a = rows[:, :N] / rows[:, :N].sum(1, keepdims=True)
    logits = (f[:, :, None] + g[:, None, :] - GRID.matrix().numpy()) / EPSILON
    assert_allclose(
        couplings, a[:, :, None] * b[:, None, :] * np.exp(logits), rtol=1e-9, atol=1e-15
    )


def test_solutions_are_those_without_predictions(fitted):
    rows = bumps(10, seed=3)
    result, expected = fitted.solve(rows, tol=1e-9), solved(rows, tol=1e-9)
    torch.testing.assert_close(result.dual_value, expected.dual_value)
    for plan, other in zip(result.plan, expected.plan, strict=True):
        torch.testing.assert_close(plan.toarray(), other.toarray(), rtol=0, atol=1e-8)


def test_the_weights_of_a_row_are_normalised_side_by_side(fitted):
    rows = bumps(4)
    scaled = rows * np.where(np.arange(2 * N) < N, 3.0, 0.01)
    assert_allclose(fitted.predict(scaled), fitted.predict(rows), rtol=1e-9, atol=1e-12)


@settings(max_examples=30)
@given(
    rows=arrays(np.float64, (3, 2 * N), elements=st.sampled_from([0.0, 1e-12, 0.3, 1.0, 1e6])),
    scale=st.floats(1e-6, 1e6),
)
def test_properties_of_any_histograms(fitted, rows, scale):
    """Whatever the weights: finite, centred, invariant to scale, with the target marginal."""
    rows = rows.copy()
    rows[:, [0, N]] += 0.1
    f, couplings = fitted.predict(rows), fitted.predict_coupling(rows)
    a = rows[:, :N] / rows[:, :N].sum(1, keepdims=True)
    b = rows[:, N:] / rows[:, N:].sum(1, keepdims=True)
    assert np.isfinite(f).all()
    assert_allclose((a * f).sum(1), 0.0, atol=1e-9)
    assert_allclose(fitted.predict(scale * rows), f, rtol=1e-6, atol=1e-9)
    assert_allclose(couplings.sum(1), b, rtol=1e-6, atol=1e-9)
    assert (couplings >= 0.0).all()


# Predictions that cannot be trusted


def strange(n_problems=30):
    """Return problems that are unlike the bumps of training: single bins far apart."""
    rng = np.random.RandomState(5)
    rows = np.zeros((n_problems, 2 * N))
    for side in (0, N):
        first = rng.randint(N, size=n_problems)
        for bins in (first, (first + rng.randint(3, N - 3, size=n_problems)) % N):
            rows[np.arange(n_problems), side + bins] = rng.uniform(0.2, 1.0, size=n_problems)
    return rows


def test_dropped_predictions_leave_the_plain_start():
    untrained = small(max_iter=1).fit(bumps(100))
    rows = strange()
    result = untrained.solve(
        rows, tol=1e-2, anderson_memory=0, annealing=False, max_start_error=0.0
    )
    assert_array_equal(result.passes, plain_passes(rows))


def test_trusted_and_dropped_problems_keep_their_order(fitted):
    rows = np.concatenate([strange(20), bumps(20, seed=7)])[
        np.random.RandomState(0).permutation(40)
    ]
    result, expected = fitted.solve(rows, tol=1e-8), solved(rows, tol=1e-8)
    torch.testing.assert_close(result.dual_value, expected.dual_value)
    torch.testing.assert_close(
        result.plan[5].toarray(), expected.plan[5].toarray(), atol=1e-7, rtol=0
    )
    assert result.passes.shape == (40,)
    assert int(result.passes.max()) <= result.n_iter == len(result.errors)


def test_a_solve_that_is_cut_short_warns(fitted):
    with pytest.warns(ConvergenceWarning, match="of 5 problems did not converge.*max_iter"):
        fitted.solve(bumps(5, seed=8), tol=1e-12, max_iter=2)


# Regression


def test_regression_on_known_potentials():
    rows, fresh = bumps(1500), bumps(200, seed=1)
    y = solved(rows, tol=1e-6).f.numpy()
    regressor = small(max_iter=600).fit(rows, y)
    assert regressor.score(fresh, solved(fresh, tol=1e-6).f.numpy()) > 0.8
    # Potentials are known up to constants.
    shifted = small(max_iter=600).fit(rows, y + np.arange(1500)[:, None])
    assert_allclose(shifted.predict(fresh), regressor.predict(fresh), atol=1e-3)
    result = regressor.solve(fresh, tol=1e-2, anderson_memory=0, annealing=False)
    assert result.passes.double().mean() < 0.8 * plain_passes(fresh).double().mean()


def test_regression_and_objective_go_on_from_each_other():
    rows = bumps(500)
    regressor = small().fit(rows, solved(rows, tol=1e-6).f.numpy())
    before = regressor.score(rows)
    regressor.set_params(warm_start=True).fit(rows)
    assert regressor.score(rows) > before
    assert regressor.n_iter_ == 300


@pytest.mark.parametrize("shape", [(200,), (200, 3)])
def test_without_a_cost_it_is_a_regressor(shape):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(200, 4)) * [1.0, 100.0, 0.01, 1.0] + 5.0
    y = X @ rng.normal(size=(4, *shape[1:])) * 1000.0
    regressor = small(None, max_iter=400).fit(X, y)
    assert regressor.predict(X).shape == shape
    assert regressor.score(X, y) > 0.95
    for call in (regressor.solve, regressor.predict_coupling, regressor.score):
        with pytest.raises(ValueError, match="needs a cost"):
            call(X)


# The estimator


def test_streams_learn_as_a_fit_does():
    regressor = small()
    for seed in range(12):
        regressor.partial_fit(bumps(640, seed=seed))
    assert regressor.n_iter_ == 120
    rows = bumps(200, seed=99)
    assert regressor.score(rows) > small(max_iter=1).fit(bumps(100)).score(rows)
    assert regressor.solve(rows[:3]).converged.all()


@pytest.mark.parametrize(
    "changed",
    [
        {"epsilon": 0.05},
        {"cost": GridCost((N,), power=1.0)},
        {"cost": SupportCost(POINTS, POINTS)},
        {"cost": None},
    ],
)
def test_training_goes_on_for_the_same_problem_only(changed):
    rows, y = bumps(50), np.ones((50, N))
    regressor = small(max_iter=2, warm_start=True).fit(rows)
    before = regressor.predict(rows)
    regressor.set_params(**changed)
    (name,) = changed
    for fit in (regressor.fit, regressor.partial_fit):
        with pytest.raises(ValueError, match=rf"{name} was .*(0.02|GridCost).* and is "):
            fit(rows, y)
    assert_array_equal(regressor.predict(rows), before)
    assert regressor.set_params(warm_start=False).fit(rows, y).n_iter_ == 2


def test_a_fitted_regressor_keeps_its_epsilon():
    rows = bumps(50)
    regressor = small(max_iter=5).fit(rows)
    score, coupling = regressor.score(rows), regressor.predict_coupling(rows[:1])
    regressor.set_params(epsilon=1.0)
    assert regressor.epsilon_ == EPSILON
    assert regressor.score(rows) == score
    assert_array_equal(regressor.predict_coupling(rows[:1]), coupling)
    assert regressor.solve(rows[:2]).epsilon == EPSILON
    meta = MetaInitializer(FrozenEstimator(regressor))
    with pytest.raises(ValueError, match="trained for epsilon=0.02"):
        sinkhorn(a=rows[0, :N], b=rows[0, N:], cost=GRID, epsilon=1.0, initializer=meta)


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_weights_of_any_size_are_learned_from(scale):
    rows = bumps(50)
    expected = small(max_iter=5).fit(rows).predict(rows)
    assert_allclose(
        small(max_iter=5).fit(scale * rows).predict(rows), expected, rtol=1e-4, atol=1e-6
    )


def test_a_constant_cost_is_no_trouble():
    rows = np.random.RandomState(0).uniform(size=(40, 20))
    regressor = small(PrecomputedCost(np.full((3, 17), 2.0)), max_iter=3).fit(rows)
    assert np.isfinite(regressor.predict(rows)).all()


def test_seeds():
    rows = bumps(100)
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second, other = (small(max_iter=20, random_state=k).fit(rows) for k in (0, 0, 1))
    assert_array_equal(first.predict(rows), second.predict(rows))
    assert (first.predict(rows) != other.predict(rows)).any()
    assert torch.equal(torch.get_rng_state(), state)
    assert_array_equal(np.random.get_state()[1], legacy)


def test_copies(fitted, tmp_path):
    rows = bumps(5, seed=4)
    for twin in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert_array_equal(twin.predict(rows), fitted.predict(rows))
        twin.partial_fit(bumps(64))  # a copy goes on learning


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_and_tensors(dtype):
    rows = bumps(100).astype(dtype)
    regressor = small(max_iter=20).fit(rows)
    assert regressor.predict(rows).dtype == dtype
    tensor = torch.from_numpy(rows)
    twin = small(max_iter=20).fit(tensor)
    assert isinstance(twin.predict(tensor), torch.Tensor)
    assert_allclose(twin.predict(tensor).numpy(), regressor.predict(rows), rtol=1e-6)
    assert twin.predict_target_potential(tensor).dtype == tensor.dtype


def test_averages_early_stopping_and_default_networks():
    rows = bumps(300)
    regressor = small(
        averaging=ExponentialMovingAverage(0.9),
        stopping=EarlyStopping(patience=1, check_every=10, tol=10.0),
        max_iter=200,
    ).fit(rows)
    assert regressor.converged_
    assert regressor.n_iter_ < 200
    square = MetaOTRegressor(GridCost((8, 8)), epsilon=0.05, max_iter=2, random_state=0)
    assert isinstance(square.fit(np.random.rand(4, 128)).network_, DualUNet)
    line = MetaOTRegressor(GRID, max_iter=1, network=None, random_state=0).fit(rows[:4])
    assert isinstance(line.network_, DualMLP)


def test_early_stopping_that_does_not_come_warns():
    stopping = EarlyStopping(patience=100, check_every=10)
    with pytest.warns(
        ConvergenceWarning, match=r"MetaOTRegressor\(.*max_iter=20.*\) did not converge"
    ):
        small(stopping=stopping, max_iter=20).fit(bumps(100))


def test_a_search_needs_no_labels():
    rows = bumps(200)
    pipeline = make_pipeline(MaxAbsScaler(), small(max_iter=30))
    grid = {"metaotregressor__network__hidden_layer_sizes": [(8,), (32, 32)]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(rows)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    "cost",
    [
        PrecomputedCost(np.abs(POINTS[:, :1] - POINTS[:5, 1])),
        SupportCost(POINTS, POINTS[:5], "euclidean"),
        SupportCost(POINTS, POINTS[:5]),
        SupportCost(POINTS[:2], np.random.RandomState(1).normal(size=(15, 2))),
        GridCost((3, 2, 2)),
        GridCost((3, 4), power=1.0),
    ],
)
@pytest.mark.parametrize("epsilon", [0.5, 1e-3])
def test_every_cost(cost, epsilon):
    n, m = (cost.size, cost.size) if isinstance(cost, GridCost) else SIZES[type(cost), len_of(cost)]
    rng = np.random.RandomState(0)
    rows = rng.uniform(size=(60, n + m)) * rng.binomial(1, 0.8, size=(60, n + m)) + 1e-3
    regressor = small(cost, epsilon=epsilon, max_iter=20).fit(rows)
    assert regressor.predict(rows).shape == (60, n)
    assert regressor.predict_coupling(rows[:2]).shape == (2, n, m)
    assert np.isfinite(regressor.loss_curve_).all()
    if epsilon > 0.1:
        assert regressor.solve(rows[:4], tol=1e-3).converged.all()


SIZES = {
    (PrecomputedCost, 12): (12, 5),
    (SupportCost, 12): (12, 5),
    (SupportCost, 2): (2, 15),
}


def len_of(cost):
    return len(cost.matrix) if isinstance(cost, PrecomputedCost) else len(cost.x)


# Starting the solver


def test_the_initializer_on_a_grid(fitted):
    row = bumps(1, seed=11)[0]
    meta = MetaInitializer(FrozenEstimator(fitted))
    options = {"a": row[:N], "b": row[N:], "cost": GRID, "tol": 1e-2, "anderson_memory": 0}
    result = sinkhorn(epsilon=EPSILON, initializer=meta, **options)
    solved_by_it = fitted.solve(row[None], tol=1e-2, anderson_memory=0, max_start_error=None)
    meta = MetaInitializer(FrozenEstimator(fitted), max_start_error=None)
    result = sinkhorn(epsilon=EPSILON, initializer=meta, **options)
    assert result.passes == int(solved_by_it.passes[0])
    with pytest.raises(ValueError, match=r"trained for epsilon=0.02, but .* epsilon=0.1"):
        sinkhorn(epsilon=0.1, initializer=meta, **options)
    with pytest.raises(ValueError, match="another cost"):
        sinkhorn(epsilon=EPSILON, initializer=meta, **{**options, "cost": GridCost((3, 4))})
    other = PrecomputedCost(GRID.matrix() * 2.0)
    with pytest.raises(ValueError, match="another cost"):
        sinkhorn(epsilon=EPSILON, initializer=meta, **{**options, "cost": other})


def test_the_initializer_in_a_transport_with_weights():
    X, Y = POINTS, POINTS[::-1] + 1.0
    rng = np.random.RandomState(0)
    rows = rng.uniform(size=(300, 2 * N))
    regressor = small(SupportCost(X, Y), epsilon=0.5, max_iter=300).fit(rows)
    meta = MetaInitializer(FrozenEstimator(regressor))
    transport = SinkhornTransport(epsilon=0.5, scale_cost=None, tol=1e-8)
    started = clone(transport).set_params(initializer=meta)
    weights = rng.uniform(size=N)
    weights[3] = 0.0
    for sample_weight in (None, weights):
        expected = clone(transport).fit(X, Y, sample_weight=sample_weight)
        result = clone(started).fit(X, Y, sample_weight=sample_weight)
        assert_allclose(result.transform(X), expected.transform(X), rtol=1e-6)
    with pytest.raises(ValueError, match="points that are not in its supports"):
        clone(started).fit(X + 0.1, Y)
    with pytest.raises(ValueError, match="the cost Euclidean"):
        clone(started).set_params(cost="euclidean").fit(X, Y)


def test_repeated_points_keep_their_mass():
    X, Y = POINTS.copy(), POINTS[::-1] + 1.0
    X[3] = X[2]
    regressor = small(SupportCost(X, Y), epsilon=0.5, max_iter=5).fit(bumps(50))
    meta = MetaInitializer(FrozenEstimator(regressor))
    options = {"epsilon": 0.5, "tol": 1e-8, "initializer": meta}
    for x, y in ((X, Y), (X[[0, 2, 5, 5]], Y[[1, 1, 4]])):
        seen = []

        class Spy(MetaInitializer):
            def target_potential(self, problem, epsilon, seen=seen):
                seen.append(self.estimator.problem_weights(problem, epsilon))
                return super().target_potential(problem, epsilon)

        result = sinkhorn(x, y, **{**options, "initializer": Spy(FrozenEstimator(regressor))})
        a, b, _ = seen[0]
        assert_allclose([float(a.sum()), float(b.sum())], 1.0)
        expected = sinkhorn(x, y, epsilon=0.5, tol=1e-8)
        torch.testing.assert_close(result.dual_value, expected.dual_value)


def test_other_problems_and_other_estimators_are_refused(fitted):
    meta = MetaInitializer(FrozenEstimator(small(None, max_iter=2).fit(np.eye(5), np.eye(5))))
    weights = np.ones(N)
    with pytest.raises(ValueError, match="cost=None predicts no potentials"):
        sinkhorn(a=weights, b=weights, cost=GRID, epsilon=EPSILON, initializer=meta)
    with pytest.raises(InvalidParameterError, match="estimator"):
        SinkhornTransport(initializer=MetaInitializer(MaxAbsScaler())).fit(POINTS, POINTS)
    regressor = small(SupportCost(POINTS, POINTS), epsilon=0.5, max_iter=2).fit(bumps(10))
    transport = SinkhornTransport(
        0.5,
        scale_cost=None,
        class_reg=1.0,
        initializer=MetaInitializer(FrozenEstimator(regressor)),
    )
    rows, labels, domain = stack_domains(POINTS, POINTS, np.arange(N) % 2, np.arange(N) % 2)
    with pytest.raises(ValueError, match="a class cost"):
        transport.fit(rows, labels, sample_domain=domain)


def test_a_regressor_that_is_not_frozen_is_unfitted_by_cloning(fitted):
    transport = SinkhornTransport(epsilon=EPSILON, initializer=MetaInitializer(fitted))
    with pytest.raises(ValueError, match="FrozenEstimator"):
        transport.fit(POINTS, POINTS)
    with pytest.raises(InvalidParameterError, match="estimator"):
        SinkhornTransport(initializer=MetaInitializer(3)).fit(POINTS, POINTS)


# Files


def test_files(fitted, tmp_path):
    path = tmp_path / "model.pt"
    fitted.save(path)
    rows = bumps(5, seed=6)
    loaded = small(network=DualMLP((128, 128))).load(path)
    assert_array_equal(loaded.predict(rows), fitted.predict(rows))
    assert loaded.n_features_in_ == 2 * N
    loaded.partial_fit(bumps(64))
    for cost in (GridCost((N,), power=1.0), GridCost((3, 4)), PrecomputedCost(GRID.matrix())):
        with pytest.raises(ValueError, match="trained for another cost"):
            small(cost).load(path)
    with pytest.raises(ValueError, match=r"trained for epsilon=0.02, not for epsilon=0.1"):
        small(epsilon=0.1).load(path)
    with pytest.raises(ValueError, match="another network"):
        small(network=DualMLP((7,))).load(path)
    with pytest.raises(FileNotFoundError):
        small().load(tmp_path / "nothing.pt")
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="cannot be read"):
        small().load(path)


def test_a_file_is_loaded_on_the_class(fitted, tmp_path):
    path = tmp_path / "model.pt"
    fitted.save(path)
    loaded = MetaOTRegressor.load(path)
    assert isinstance(loaded, MetaOTRegressor)
    assert_array_equal(loaded.predict(bumps(5, seed=6)), fitted.predict(bumps(5, seed=6)))
    assert repr(loaded) == repr(fitted)
    loaded.partial_fit(bumps(64))


@pytest.mark.parametrize(
    "cost",
    [
        PrecomputedCost(GRID.matrix()),
        PrecomputedCost(GRID.matrix().numpy()),
        PrecomputedCost(GRID.matrix().tolist()),
        SupportCost(POINTS, POINTS, PNorm(power=1.5)),
        SupportCost(POINTS, torch.from_numpy(POINTS), "euclidean"),
    ],
    ids=["tensor", "array", "list", "component", "name"],
)
def test_costs_come_back_from_a_file(cost, tmp_path):
    path = tmp_path / "model.pt"
    params = {"network": DualMLP((8,)), "optimizer": Adam(lr=1e-3, betas=(0.5, 0.9))}
    fitted = MetaOTRegressor(cost, max_iter=1, random_state=np.int64(3), **params).fit(bumps(4))
    fitted.save(path)
    loaded = MetaOTRegressor.load(path)
    assert_array_equal(loaded.predict(bumps(5)), fitted.predict(bumps(5)))
    assert loaded.optimizer.betas == (0.5, 0.9)
    assert loaded.random_state == 3


class OwnNetwork(DualMLP):
    """An architecture that a file of numbers cannot make."""


def test_classes_of_others_are_not_made_from_a_file(tmp_path):
    path = tmp_path / "model.pt"
    fitted = small(network=OwnNetwork((8,)), max_iter=1).fit(bumps(4))
    fitted.save(path)
    with pytest.raises(ValueError, match=r"does not hold the network .*network=...\).load\(path\)"):
        MetaOTRegressor.load(path)
    loaded = small(network=OwnNetwork((8,))).load(path)
    assert_array_equal(loaded.predict(bumps(5)), fitted.predict(bumps(5)))


@pytest.mark.parametrize("kind", ["os.system", "skot.costs.check_cost", "skot.networks.torch", ""])
def test_a_file_names_nothing_else(kind, fitted, tmp_path):
    path = tmp_path / "model.pt"
    fitted.save(path)
    content = torch.load(path, weights_only=True)
    content["params"]["network"] = {"kind": kind, "params": {}}
    torch.save(content, path)
    with pytest.raises(ValueError, match="cannot be read as a model"):
        MetaOTRegressor.load(path)


def test_files_of_the_first_version(fitted, tmp_path):
    path = tmp_path / "model.pt"
    fitted.save(path)
    content = torch.load(path, weights_only=True)
    del content["params"]
    torch.save(content, path)
    with pytest.raises(ValueError, match="does not hold the cost and epsilon and network"):
        MetaOTRegressor.load(path)
    loaded = small(network=DualMLP((128, 128))).load(path)
    assert_array_equal(loaded.predict(bumps(5)), fitted.predict(bumps(5)))
    with pytest.raises(FileNotFoundError):
        MetaOTRegressor.load(tmp_path / "nothing.pt")


def test_nothing_is_unpickled_from_a_file(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"format": "skot meta optimal transport 1", "cost": GRID}, path)
    with pytest.raises(ValueError, match="cannot be read"):
        small().load(path)


def test_a_failed_load_leaves_the_fit(fitted, tmp_path):
    twin = copy.deepcopy(fitted)
    with pytest.raises(FileNotFoundError):
        twin.load(tmp_path / "nothing.pt")
    rows = bumps(3)
    assert_array_equal(twin.predict(rows), fitted.predict(rows))


def test_a_plain_regressor_has_no_file(tmp_path):
    regressor = small(None, max_iter=2).fit(np.eye(5), np.eye(5))
    with pytest.raises(ValueError, match="save needs a cost"):
        regressor.save(tmp_path / "model.pt")


# Bad input


def spoilt(row, column, value):
    rows = bumps(6)
    rows[row, column] = value
    return rows


def emptied(row, side):
    rows = bumps(6)
    rows[row, slice(None, N) if side == "source" else slice(N, None)] = 0.0
    return rows


BAD_ROWS = {
    "negative": (spoilt(2, N, -0.1), "row 2 has negative target weights"),
    "no source": (emptied(3, "source"), "Row 3 .* source weights are zero"),
    "no target": (emptied(1, "target"), "Row 1 .* target weights are zero"),
    "NaN": (spoilt(0, 0, np.nan), "NaN"),
    "infinity": (spoilt(0, 0, np.inf), "infinity"),
    "width": (bumps(6)[:, :-1], f"X has 23 features, but MetaOTRegressor is expecting {2 * N}"),
    "dimensions": (bumps(6)[0], "Expected 2D array"),
}


@pytest.mark.parametrize("fault", BAD_ROWS)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_bad_rows(fitted, fault, kind):
    rows, message = BAD_ROWS[fault]
    rows = kind(rows)
    with pytest.raises(ValueError, match=message):
        small().fit(rows)
    for method in (fitted.predict, fitted.solve, fitted.score, fitted.partial_fit):
        with pytest.raises(ValueError, match=message.replace("MetaOTRegressor is", ".* is")):
            method(rows)


def test_bad_scores(fitted):
    rows = bumps(6)
    with pytest.raises(ValueError, match="sample_weight"):
        fitted.score(rows, sample_weight=np.ones(5))
    with pytest.raises(ValueError, match=r"y must have shape \(6, 12\)"):
        fitted.score(rows, np.ones((6, 1)))


@pytest.mark.parametrize("as_list", [False, True])
def test_one_output_of_tensors(as_list):
    X = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    y = X[:, 0].tolist() if as_list else X[:, 0]
    assert small(None, max_iter=2).fit(X, y).predict(X).shape == (30,)


def test_bad_labels():
    with pytest.raises(ValueError, match=f"y has 3 outputs, but .* {N}"):
        small().fit(bumps(6), np.zeros((6, 3)))
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        small(None).fit(bumps(6))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"cost": "sqeuclidean"}, "cost"),
        ({"cost": PrecomputedCost([[0.0, np.nan]])}, "cost matrix contains NaN"),
        ({"epsilon": 0.0}, "'epsilon' parameter"),
        ({"network": "unet"}, "'network' parameter"),
        ({"network": DualUNet((3, 3))}, "DualUNet"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"optimizer": Adam(lr=-1.0)}, "'lr' parameter"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        small().set_params(**params).fit(bumps(6))


def test_not_fitted():
    for method in ("predict", "solve", "score", "predict_coupling"):
        with pytest.raises(NotFittedError):
            getattr(small(), method)(bumps(2))
    with pytest.raises(NotFittedError):
        small().save("model.pt")


def test_a_failed_fit_leaves_the_one_before(fitted):
    twin, rows = copy.deepcopy(fitted), bumps(3)
    with pytest.raises(ValueError, match="negative"):
        twin.fit(BAD_ROWS["negative"][0])
    assert_array_equal(twin.predict(rows), fitted.predict(rows))
