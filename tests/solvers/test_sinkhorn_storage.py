"""Kernels, precisions, batches and weights of zero: one answer on every path."""

import numpy as np
import pytest
import sklearn
import torch
from _problems import random_pair, up_to_a_constant

from skot.costs import GridCost, PNorm, PrecomputedCost, SquaredEuclidean
from skot.solvers import ZerosInitializer, sinkhorn
from skot.solvers._entropic import batches, pairwise


def true_error(result, b):
    return float((result.plan.marginals()[1] - b).abs().sum())


def assert_same_potentials(first, second, a, b, atol):
    for one, two, weights in ((first.f, second.f, a), (first.g, second.g, b)):
        gap = up_to_a_constant(one, weights) - up_to_a_constant(two, weights)
        assert gap.abs().max() <= atol


def random_weights(*shape, seed=0, zeros=0.0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.1
    weights[torch.rand(*shape, generator=generator) < zeros] = 0.0
    return weights / weights.sum(-1, keepdim=True)


# Storage


@pytest.mark.parametrize("cost", [None, PNorm(p=1.5, power=1.7), "cosine"])
@pytest.mark.parametrize("epsilon", [0.5, 0.01])
def test_kernel_and_stream_agree(cost, epsilon):
    x, y, a, b = random_pair(40, 35)
    options = {"cost": cost, "epsilon": epsilon, "tol": 1e-10, "max_iter": 20_000}
    kept, streamed = (
        sinkhorn(x, y, a, b, storage=storage, **options) for storage in ("kernel", "stream")
    )
    assert kept.converged
    assert streamed.converged
    assert_same_potentials(kept, streamed, a, b, 1e-6)


def test_auto_streams_what_does_not_fit_the_working_memory(monkeypatch):
    made = []
    for name in ("StoredKernel", "StreamedKernel"):
        kind = getattr(pairwise, name)
        monkeypatch.setattr(
            pairwise,
            name,
            lambda *args, kind=kind: made.append(kind.__name__) or kind(*args),
        )
    problem = random_pair(1100, 1000)  # 4.2 MiB in float32
    for mebibytes in (5, 4):
        with sklearn.config_context(working_memory=mebibytes):
            sinkhorn(*problem, epsilon=0.5)
    assert made == ["StoredKernel", "StreamedKernel"]


def test_matrices_stream_too():
    x, y, a, b = random_pair(40, 35)
    cost = PrecomputedCost(SquaredEuclidean().pairwise(x, y))
    points = sinkhorn(x, y, a, b, epsilon=0.1, tol=1e-10)
    for storage in ("kernel", "stream"):
        matrix = sinkhorn(a=a, b=b, cost=cost, epsilon=0.1, tol=1e-10, storage=storage)
        assert_same_potentials(matrix, points, a, b, 1e-8)
        assert matrix.cost_value == pytest.approx(points.cost_value, rel=1e-9)


# Grids


@pytest.mark.parametrize("shape, power", [((9,), 2.0), ((5, 6), 2.0), ((3, 4, 2), 1.0)])
@pytest.mark.parametrize("epsilon", [0.5, 0.02, 0.002])
def test_grid_agrees_with_its_matrix(shape, power, epsilon):
    cost = GridCost(shape, power=power)
    a, b = random_weights(cost.size), random_weights(cost.size, seed=1)
    options = {"epsilon": epsilon, "tol": 1e-9, "max_iter": 20_000}
    grid = sinkhorn(a=a, b=b, cost=cost, **options)
    dense = sinkhorn(a=a, b=b, cost=PrecomputedCost(cost.matrix()), **options)
    assert grid.converged
    assert dense.converged
    assert_same_potentials(grid, dense, a, b, 1e-6)
    torch.testing.assert_close(grid.plan.toarray(), dense.plan.toarray(), rtol=1e-4, atol=1e-9)
    assert grid.cost_value == pytest.approx(dense.cost_value, rel=1e-6)


@pytest.mark.parametrize("epsilon", [0.3, 0.01, 0.002])
def test_grid_batch_equals_a_loop_with_weights_of_zero(epsilon):
    cost = GridCost((5, 6))
    a, b = random_weights(7, 30, zeros=0.3), random_weights(7, 30, seed=1, zeros=0.3)
    options = {"cost": cost, "epsilon": epsilon, "tol": 1e-9, "max_iter": 20_000}
    batch = sinkhorn(a=a, b=b, **options)
    assert batch.converged.all()
    assert len(batch.plan) == 7
    for i in range(7):
        single = sinkhorn(a=a[i], b=b[i], **options)
        np.testing.assert_allclose(batch.dual_value[i], single.dual_value, rtol=1e-7)
        np.testing.assert_allclose(batch.cost_value[i], single.cost_value, rtol=1e-6)
        torch.testing.assert_close(
            batch.plan[i].toarray(), single.plan.toarray(), rtol=1e-4, atol=1e-8
        )
        assert torch.isfinite(batch.f[i]).all()
        assert torch.isfinite(batch.g[i]).all()


def test_many_problems_on_a_grid_are_cut_into_parts(monkeypatch):
    monkeypatch.setattr(batches, "_BATCH_ENTRIES", 60)
    cost = GridCost((5, 6))
    a, b = random_weights(5, 30), random_weights(5, 30, seed=1)
    cut = sinkhorn(a=a, b=b, cost=cost, epsilon=0.1, tol=1e-9)
    monkeypatch.undo()
    whole = sinkhorn(a=a, b=b, cost=cost, epsilon=0.1, tol=1e-9)
    torch.testing.assert_close(cut.dual_value, whole.dual_value, rtol=1e-9, atol=0)
    assert cut.converged.all()


# Batches


@pytest.mark.parametrize("epsilon", [2.0, 0.2, 0.02])
@pytest.mark.parametrize(
    "options", [{}, {"storage": "stream"}, {"initializer": ZerosInitializer()}]
)
@pytest.mark.parametrize("zeros", [0.0, 0.3])
def test_batch_equals_a_loop(epsilon, options, zeros):
    x, y, _, _ = random_pair(18, 15, 2)
    a, b = random_weights(4, 18, zeros=zeros), random_weights(4, 15, seed=1, zeros=zeros)
    options = {"epsilon": epsilon, "tol": 1e-9, "max_iter": 20_000, **options}
    batch = sinkhorn(x, y, a, b, **options)
    assert batch.converged.all()
    assert batch.f.shape == (4, 18)
    assert batch.dual_value.shape == batch.marginal_error.shape == (4,)
    for i in range(4):
        # The error is recomputed from the plan: what a solver reports could be of another problem.
        assert float((batch.plan[i].marginals()[1] - b[i]).abs().sum()) <= 1.1e-9
        single = sinkhorn(x, y, a[i], b[i], **options)
        np.testing.assert_allclose(batch.dual_value[i], single.dual_value, rtol=1e-7)
        np.testing.assert_allclose(batch.primal_value[i], single.primal_value, rtol=1e-7)
        assert (batch.f[i] - single.f).abs().max() < 1e-5
        assert (batch.g[i] - single.g).abs().max() < 1e-5


def test_batch_that_arrives_one_problem_at_a_time():
    # The last problem standing is not the first one of the batch.
    x, y, _, _ = random_pair(30, 25, 2)
    a, b = random_weights(4, 30), random_weights(4, 25, seed=1)
    for hard in range(4):
        easy_a, easy_b = a.clone(), b.clone()
        easy_a[hard], easy_b[hard] = 0.0, 0.0
        easy_a[hard, :2], easy_b[hard, :3] = 0.5, 1 / 3
        batch = sinkhorn(x, y, easy_a, easy_b, epsilon=0.3, tol=1e-9, max_iter=20_000)
        for i in range(4):
            error = (batch.plan[i].marginals()[1] - easy_b[i]).abs().sum()
            assert float(error) <= 1.1e-9


def test_one_side_of_a_batch_may_be_shared():
    x, y, a, _ = random_pair(18, 15, 2)
    b = random_weights(3, 15)
    shared = sinkhorn(x, y, a, b, epsilon=0.3, tol=1e-9)
    spelled = sinkhorn(x, y, a.expand(3, -1), b, epsilon=0.3, tol=1e-9)
    torch.testing.assert_close(shared.dual_value, spelled.dual_value)
    default = sinkhorn(x, y, None, b, epsilon=0.3, tol=1e-9)
    assert default.f.shape == (3, 18)


def test_batch_in_float32():
    x, y, _, _ = random_pair(18, 15, 2)
    a, b = random_weights(3, 18), random_weights(3, 15, seed=1)
    single = sinkhorn(x, y, a, b, epsilon=0.5, tol=1e-4, dtype=torch.float32)
    double = sinkhorn(x, y, a, b, epsilon=0.5, tol=1e-9)
    torch.testing.assert_close(single.dual_value, double.dual_value, rtol=1e-4, atol=0)


def test_batch_with_a_column_out_of_reach():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.rand(12, 10, generator=generator, dtype=torch.float64)
    matrix[:, 0] += 5.0
    a, b = random_weights(3, 12, zeros=0.2), random_weights(3, 10, seed=1)
    options = {"cost": PrecomputedCost(matrix), "annealing": False, "tol": 1e-9}
    for max_iter in (1, 2, 2000):
        batch = sinkhorn(a=a, b=b, epsilon=0.05, max_iter=max_iter, **options)
        assert batch.g.shape == (3, 10)
        for i in range(3):
            error = float((batch.plan[i].marginals()[1] - b[i]).abs().sum())
            assert error == pytest.approx(float(batch.marginal_error[i]), abs=1e-10)
    assert batch.converged.all()


# Weights of zero


@pytest.mark.parametrize("epsilon", [0.5, 0.02])
def test_points_without_mass(epsilon):
    x, y, a, b = random_pair(20, 16, 2)
    a[[0, 7]], b[[2, 3, 15]] = 0.0, 0.0
    a, b = a / a.sum(), b / b.sum()
    rows, columns = a > 0, b > 0
    options = {"epsilon": epsilon, "tol": 1e-10, "max_iter": 20_000}
    result = sinkhorn(x, y, a, b, **options)
    reduced = sinkhorn(x[rows], y[columns], a[rows], b[columns], **options)
    assert float(result.dual_value) == pytest.approx(float(reduced.dual_value), rel=1e-9)
    assert (result.f[rows] - reduced.f).abs().max() < 1e-7
    plan = result.plan.toarray()
    assert (plan[~rows] == 0).all()
    assert (plan[:, ~columns] == 0).all()
    assert np.isfinite([result.cost_value, result.primal_value]).all()
    # Potentials are finite without mass, where they extend their optimality conditions.
    cost = SquaredEuclidean().pairwise(x, y)
    f = -epsilon * torch.logsumexp((result.g - cost) / epsilon + b.log(), 1)
    g = -epsilon * torch.logsumexp((result.f[:, None] - cost) / epsilon + a.log()[:, None], 0)
    torch.testing.assert_close(result.f, f, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(result.g, g, rtol=1e-6, atol=1e-6)


def test_tiny_weights():
    x, y, a, b = random_pair(20, 16, 2)
    a[3], b[5], b[6] = 1e-300, 1e-200, 1e-320
    result = sinkhorn(x, y, a, b, epsilon=0.1, tol=1e-8)
    assert result.converged
    assert torch.isfinite(result.f).all()
    assert torch.isfinite(result.g).all()
    assert true_error(result, b / b.sum()) <= 1.1e-8


# Precision, beyond 2**20 entries

LARGE = random_pair(1100, 1000, 2, seed=7)


@pytest.fixture(scope="module")
def double_solution():
    return sinkhorn(*LARGE, epsilon=0.05, tol=1e-9, dtype=torch.float64)


@pytest.mark.parametrize("storage", ["kernel", "stream"])
@pytest.mark.parametrize("tol", [1e-3, 1e-5, 1e-8])
def test_every_precision_meets_its_tolerance_in_float64(double_solution, storage, tol):
    result = sinkhorn(*LARGE, epsilon=0.05, tol=tol, storage=storage)
    assert result.converged
    error = true_error(result, LARGE.b)
    assert error <= tol
    # The error that is reported is the one of the plan.
    assert result.marginal_error == pytest.approx(error, rel=0.05, abs=1e-6)
    gap = float(result.dual_value - double_solution.dual_value)
    assert abs(gap) <= 10 * tol * float(double_solution.dual_value)
    assert result.f.dtype == result.g.dtype == torch.float64


def test_float32_that_stalls_is_finished_in_float64(monkeypatch):
    used = []
    make = pairwise.PairwiseSolve._make_kernel

    def spy(self, precision):
        used.append(precision.kernel)
        return make(self, precision)

    monkeypatch.setattr(pairwise.PairwiseSolve, "_make_kernel", spy)
    monkeypatch.setattr(pairwise, "_STALL_PASSES", 10)
    monkeypatch.setattr(pairwise, "_FLOAT32_TOL", 1e-9)
    monkeypatch.setattr(pairwise, "_MIXED_TOL", 1e-9)
    monkeypatch.setattr(pairwise, "FLOAT32_NOISE", 0.0)
    monkeypatch.setattr(pairwise.PairwiseSolve, "_noise", lambda self, precision: 0.0)
    monkeypatch.setattr(pairwise, "_SPARSE_DENSITY", 0.0)
    result = sinkhorn(*LARGE, epsilon=0.05, tol=1e-9)
    assert used == [torch.float32, torch.float64]
    assert result.converged
    assert true_error(result, LARGE.b) <= 1.1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_dtype_that_is_asked_for_is_used(dtype, monkeypatch):
    used = []
    make = pairwise.PairwiseSolve._make_kernel

    def spy(self, precision):
        used.append(precision)
        return make(self, precision)

    monkeypatch.setattr(pairwise.PairwiseSolve, "_make_kernel", spy)
    assert sinkhorn(*LARGE, epsilon=0.5, dtype=dtype).converged
    assert used == [(dtype, dtype)]


# The finish on few entries


@pytest.fixture(scope="module")
def sharp():
    problem = random_pair(1200, 1200, 2, seed=8, uniform=True)
    return problem, 1e-3 * SquaredEuclidean().scale(*problem)


def test_the_sparse_finish_meets_the_tolerance_with_all_entries(sharp, monkeypatch):
    finished = []

    class Watched(pairwise.SparseKernel):
        def __init__(self, *args):
            finished.append(True)
            super().__init__(*args)

    monkeypatch.setattr(pairwise, "SparseKernel", Watched)
    problem, epsilon = sharp
    result = sinkhorn(*problem, epsilon=epsilon, tol=1e-6)
    assert finished == [True]
    assert result.converged
    error = true_error(result, problem.b)
    assert error <= 1e-6
    assert result.marginal_error == pytest.approx(error, rel=1e-3)
    monkeypatch.setattr(pairwise, "_SPARSE_DENSITY", 0.0)
    dense = sinkhorn(*problem, epsilon=epsilon, tol=1e-6)
    assert finished == [True]
    assert float(result.dual_value) == pytest.approx(float(dense.dual_value), rel=1e-6)
    assert result.cost_value == pytest.approx(dense.cost_value, rel=1e-5)
    gap = up_to_a_constant(result.g, problem.b) - up_to_a_constant(dense.g, problem.b)
    assert float(gap.abs() @ problem.b) <= 1e-4


@pytest.mark.parametrize("max_iter", [1, 40, 60])
def test_the_sparse_finish_stays_within_max_iter(sharp, max_iter):
    problem, epsilon = sharp
    result = sinkhorn(*problem, epsilon=epsilon, tol=1e-6, max_iter=max_iter)
    assert not result.converged
    assert result.n_iter == len(result.errors) <= max_iter
    assert result.marginal_error == pytest.approx(true_error(result, problem.b), rel=1e-2)


def test_entries_that_matter_after_all_are_taken_back(sharp, monkeypatch):
    problem, epsilon = sharp
    monkeypatch.setattr(pairwise, "_SPARSE_SHARE", 1.0)  # far too few at first
    result = sinkhorn(*problem, epsilon=epsilon, tol=1e-5)
    assert result.converged
    assert true_error(result, problem.b) <= 1e-5
