"""Start, hooks, results and bad input of the solver."""

import dataclasses

import numpy as np
import ot
import pytest
import scipy.sparse
import torch
from _problems import random_pair, squared_distances

from skot.costs import GridCost, PrecomputedCost, SupportCost
from skot.solvers import GaussianInitializer, Initializer, ZerosInitializer, sinkhorn
from skot.utils._sklearn import InvalidParameterError

X, Y, A, B = random_pair(24, 20, 2)

# Start


@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_the_solution_as_a_start_converges_at_once(shift):
    solution = sinkhorn(X + shift, Y, A, B, epsilon=0.1, tol=1e-9)
    again = sinkhorn(X + shift, Y, A, B, epsilon=0.1, tol=1e-6, initializer=solution.g)
    assert again.n_iter == 1
    from_array = sinkhorn(
        X + shift, Y, A, B, epsilon=0.1, tol=1e-6, initializer=solution.g.numpy() + 7.0
    )
    assert from_array.n_iter == 1
    assert float(again.dual_value) == pytest.approx(float(solution.dual_value), rel=1e-9)


def test_the_solution_of_every_problem_as_a_start():
    b = torch.stack([B, B.flip(0), torch.ones_like(B) / len(B)])
    solution = sinkhorn(X, Y, A, b, epsilon=0.5, tol=1e-9)
    again = sinkhorn(X, Y, A, b, epsilon=0.5, tol=1e-6, initializer=solution.g)
    assert again.n_iter == 1


@pytest.mark.parametrize(
    "initializer", [None, ZerosInitializer(), GaussianInitializer(), torch.zeros(20)]
)
def test_every_start_leads_to_the_same_solution(initializer):
    result = sinkhorn(X, Y, A, B, epsilon=0.1, tol=1e-10, initializer=initializer)
    expected = sinkhorn(X, Y, A, B, epsilon=0.1, tol=1e-10, annealing=False)
    assert result.converged
    torch.testing.assert_close(result.plan.toarray(), expected.plan.toarray(), atol=1e-8, rtol=1e-6)


def test_a_users_initializer_speaks_the_callers_units():
    seen = []

    class Known(Initializer):
        def __init__(self, g):
            self.g = g

        def target_potential(self, problem, epsilon):
            seen.append((epsilon, problem.a.shape, problem.b.shape, len(problem.points)))
            return self.g[None]

    solution = sinkhorn(100.0 * X + 7.0, Y, A, B, epsilon=3.0, tol=1e-9)
    again = sinkhorn(100.0 * X + 7.0, Y, A, B, epsilon=3.0, tol=1e-6, initializer=Known(solution.g))
    assert seen == [(3.0, (1, 24), (1, 20), 2)]
    assert again.n_iter == 1


def test_the_gaussian_initializer_needs_the_squared_euclidean_cost():
    for options in ({"x": X, "y": Y, "cost": "euclidean"}, {"cost": GridCost((4,), power=1.0)}):
        with pytest.raises(ValueError, match="GaussianInitializer needs the squared Euclidean"):
            sinkhorn(**options, epsilon=1.0, initializer=GaussianInitializer())


@pytest.mark.parametrize(
    "initializer, message",
    [
        (torch.zeros(7), r"a potential of shape \(20,\). Got shape \(7,\)"),
        (torch.zeros(1, 1, 20), "a potential of shape"),
        (torch.full((20,), torch.nan), "The initial potential contains NaN or infinity"),
        ("zeros", "initializer must be an instance of Initializer"),
        (ZerosInitializer, "initializer must be an instance of Initializer"),
    ],
)
def test_bad_initializers(initializer, message):
    with pytest.raises(ValueError, match=message):
        sinkhorn(X, Y, A, B, epsilon=1.0, initializer=initializer)


# Hooks, and when it ends


def test_the_hook_sees_every_check_in_the_callers_units():
    states = []
    result = sinkhorn(
        10.0 * X, Y, A, B, epsilon=0.5, on_iteration=lambda i, state: states.append((i, state))
    )
    assert [i for i, _ in states] == list(range(len(result.errors)))
    assert states[-1][1]["n_iter"] == result.n_iter
    assert [state["marginal_error"] for _, state in states] == list(result.errors)
    epsilons = [state["epsilon"] for _, state in states]
    assert epsilons[-1] == pytest.approx(0.5)
    assert epsilons == sorted(epsilons, reverse=True)
    assert epsilons[0] > 1.0


def test_the_hook_stops_the_iteration():
    calls = []

    def stop(i, state):
        calls.append(i)
        return i == 4

    result = sinkhorn(X, Y, A, B, epsilon=0.01, tol=1e-9, on_iteration=stop)
    assert calls == [0, 1, 2, 3, 4]
    assert not result.converged
    assert result.epsilon == 0.01
    error = float((result.plan.marginals()[1] - B).abs().sum())
    assert result.marginal_error == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("epsilon", [0.5, 1e-3])
def test_the_hook_stops_a_whole_batch(epsilon):
    calls = []

    def stop(i, state):
        calls.append(i)
        return len(calls) == 3

    b = torch.stack([B, B.flip(0), torch.ones_like(B) / len(B)])
    result = sinkhorn(X, Y, A, b, epsilon=epsilon, tol=1e-12, on_iteration=stop)
    assert len(calls) == 3
    assert not result.converged.any()
    assert torch.isfinite(result.f).all()


@pytest.mark.parametrize("max_iter", [1, 2, 3, 7])
@pytest.mark.parametrize("storage", ["kernel", "stream"])
def test_max_iter_is_kept_and_the_error_is_that_of_the_plan(max_iter, storage):
    result = sinkhorn(X, Y, A, B, epsilon=0.01, tol=1e-9, max_iter=max_iter, storage=storage)
    assert len(result.errors) <= result.n_iter == max_iter
    assert not result.converged
    source, target = result.plan.marginals()
    torch.testing.assert_close(source, A, rtol=1e-12, atol=0)
    assert result.marginal_error == pytest.approx(float((target - B).abs().sum()), rel=1e-6)
    assert result.errors[-1] == pytest.approx(result.marginal_error)


def test_it_never_converges_by_itself_only_by_its_error():
    for tol in (1e-2, 1e-5, 1e-9):
        result = sinkhorn(X, Y, A, B, epsilon=0.1, tol=tol)
        assert result.converged
        assert result.marginal_error <= tol
        assert float((result.plan.marginals()[1] - B).abs().sum()) <= tol * (1 + 1e-6)


# The result


def test_the_plan_is_lazy_and_consistent():
    result = sinkhorn(X, Y, A, B, epsilon=0.3, tol=1e-10)
    plan = result.plan.toarray()
    assert result.plan.shape == plan.shape == (24, 20)
    formula = (
        A[:, None] * B * torch.exp((result.f[:, None] + result.g - squared_distances(X, Y)) / 0.3)
    )
    torch.testing.assert_close(plan, formula, rtol=1e-8, atol=0)
    torch.testing.assert_close(result.plan.apply(Y), plan @ Y)
    torch.testing.assert_close(result.plan.apply(Y[:, 0]), plan @ Y[:, 0])
    torch.testing.assert_close(result.plan.apply_transpose(X), plan.T @ X)
    torch.testing.assert_close(result.plan.apply_transpose(X[:, 1]), plan.T @ X[:, 1])
    for ours, expected in zip(result.plan.marginals(), (plan.sum(1), plan.sum(0)), strict=True):
        torch.testing.assert_close(ours, expected)
    assert float(A @ result.f) == pytest.approx(float(B @ result.g), rel=1e-9)
    assert float(result.dual_value) == pytest.approx(float(A @ result.f + B @ result.g))


def test_the_result_is_frozen():
    result = sinkhorn(X, Y, epsilon=0.3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.f = None


def test_arrays_lists_and_layouts_are_accepted():
    expected = sinkhorn(X, Y, A, B, epsilon=0.3).dual_value
    read_only = X.numpy().copy()
    read_only.flags.writeable = False
    for x in (X.numpy(), X.tolist(), read_only, X.numpy()[::-1][::-1], X.numpy().astype(">f8")):
        value = sinkhorn(x, Y.numpy(), A.numpy(), B.tolist(), epsilon=0.3).dual_value
        torch.testing.assert_close(value, expected)
    assert sinkhorn(X.float(), Y.float(), epsilon=np.float32(0.3)).f.dtype == torch.float64


def test_weights_need_not_be_normalised_and_nothing_is_written():
    arrays = [part.numpy().copy() for part in (X, Y, 5.0 * A, 0.1 * B)]
    before = [array.tobytes() for array in arrays]
    value = sinkhorn(*arrays, epsilon=0.3, tol=1e-9).dual_value
    assert [array.tobytes() for array in arrays] == before
    torch.testing.assert_close(value, sinkhorn(X, Y, A, B, epsilon=0.3, tol=1e-9).dual_value)


def test_no_weights_are_equal_weights():
    equal = torch.full((24,), 1 / 24), torch.full((20,), 0.5)
    ours, theirs = sinkhorn(X, Y, epsilon=0.3), sinkhorn(X, Y, *equal, epsilon=0.3)
    torch.testing.assert_close(ours.dual_value, theirs.dual_value)


def random_feasible_plan(a, b, seed):
    """A coupling that is neither optimal nor the product, by scaling a random matrix."""
    plan = np.random.RandomState(seed).exponential(size=(len(a), len(b))) ** 3
    for _ in range(3000):
        plan *= (a / plan.sum(1))[:, None]
        plan *= b / plan.sum(0)
    return plan


@pytest.mark.parametrize("epsilon", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("max_iter", [3, 2000])
def test_the_dual_value_is_below_every_feasible_plan(epsilon, max_iter):
    result = sinkhorn(X, Y, A, B, epsilon=epsilon, tol=1e-9, max_iter=max_iter)
    cost = squared_distances(X, Y).numpy()
    a, b = A.numpy(), B.numpy()
    plans = [random_feasible_plan(a, b, seed) for seed in range(3)]
    plans += [np.outer(a, b), ot.emd(a, b, cost)]
    for plan in plans:
        ratio = np.where(plan > 0, plan / np.outer(a, b), 1.0)
        primal = (plan * cost).sum() + epsilon * (plan * np.log(ratio)).sum()
        assert float(result.dual_value) <= primal + 1e-9 * primal
    if result.converged:
        assert result.primal_value == pytest.approx(float(result.dual_value), abs=1e-7)


# Bad input

BAD_CALLS = {
    "x missing": ({"y": Y}, "SquaredEuclidean needs the points: pass x and y"),
    "nothing": ({}, "SquaredEuclidean needs the points: pass x and y"),
    "widths": ({"x": X, "y": Y[:, :1]}, "x has 2 features, but y has 1 features"),
    "one dimension": ({"x": X[:, 0], "y": Y}, "Expected 2D array, got 1D array"),
    "no rows": ({"x": X[:0], "y": Y}, "Found array with 0 sample"),
    "no columns": ({"x": X[:, :0], "y": Y[:, :0]}, "Found array with 0 feature"),
    "NaN": ({"x": X * torch.nan, "y": Y}, "Input x contains NaN"),
    "infinity": ({"x": X, "y": [[0.0, np.inf]]}, "Input y contains infinity"),
    "complex": ({"x": X.numpy() + 1j, "y": Y}, "Complex data not supported"),
    "complex tensor": ({"x": X, "y": Y + 1j}, "Complex data not supported"),
    "strings": ({"x": [["a", "b"]], "y": Y}, "could not convert string to float"),
    "negative a": ({"x": X, "y": Y, "a": -A}, "Negative values in data passed to weights"),
    "zero b": ({"x": X, "y": Y, "b": 0 * B}, "Weights must contain at least one non-zero"),
    "NaN in a": ({"x": X, "y": Y, "a": A * torch.nan}, "Weights contain NaN or infinity"),
    "length of a": ({"x": X, "y": Y, "a": A[1:]}, r"a must have shape \(24,\) or"),
    "batches": (
        {"x": X, "y": Y, "a": A.expand(2, -1), "b": B.expand(3, -1)},
        "a holds 2 problems, but b holds 3 problems",
    ),
    "zero problem in a batch": (
        {"x": X, "y": Y, "a": torch.stack([A, 0 * A])},
        "Weights must contain at least one non-zero",
    ),
    "epsilon zero": ({"x": X, "y": Y, "epsilon": 0.0}, "epsilon must be a positive number"),
    "epsilon negative": ({"x": X, "y": Y, "epsilon": -1}, "epsilon must be a positive number"),
    "epsilon infinite": ({"x": X, "y": Y, "epsilon": np.inf}, "epsilon must be a positive"),
    "epsilon NaN": ({"x": X, "y": Y, "epsilon": np.nan}, "epsilon must be a positive"),
    "epsilon text": ({"x": X, "y": Y, "epsilon": "auto"}, "epsilon must be a positive"),
    "tol": ({"x": X, "y": Y, "tol": 0.0}, "tol must be a positive number"),
    "max_iter zero": ({"x": X, "y": Y, "max_iter": 0}, "max_iter must be an integer of at least 1"),
    "max_iter float": ({"x": X, "y": Y, "max_iter": 3.0}, "max_iter must be an integer"),
    "memory": ({"x": X, "y": Y, "anderson_memory": -1}, "anderson_memory must be an integer"),
    "storage": ({"x": X, "y": Y, "storage": "disk"}, "storage must be 'auto', 'kernel'"),
    "dtype": ({"x": X, "y": Y, "dtype": torch.float16}, "dtype must be torch.float32 or"),
    "cost": ({"x": X, "y": Y, "cost": "taxi"}, "`cost` must be one of"),
    "matrix": ({"cost": PrecomputedCost(A)}, "Expected 2D array, got 1D array"),
    "NaN matrix": (
        {"cost": PrecomputedCost(torch.full((2, 2), torch.nan))},
        "Input cost matrix contains NaN",
    ),
    "matrix and points": (
        {"x": X, "y": Y, "cost": PrecomputedCost(squared_distances(X, Y))},
        "PrecomputedCost has its own supports: pass weights only",
    ),
    "grid weights": ({"a": A, "cost": GridCost((4, 5))}, r"a must have shape \(20,\)"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_input_is_refused_before_any_pass(name):
    arguments, message = BAD_CALLS[name]
    passes = []
    with pytest.raises(ValueError, match=message):
        sinkhorn(**{"epsilon": 1.0, **arguments}, on_iteration=lambda i, state: passes.append(i))
    assert not passes


def test_sparse_input_is_refused_as_scikit_learn_does():
    with pytest.raises(TypeError, match="Sparse data was passed"):
        sinkhorn(scipy.sparse.csr_array(X.numpy()), Y, epsilon=1.0)


def test_a_cost_of_another_kind():
    with pytest.raises(InvalidParameterError, match="The 'cost' parameter must be an instance"):
        sinkhorn(X, Y, cost=3, epsilon=1.0)


# Batches on fixed supports


def random_histograms(n_problems, size):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, n_problems, size, generator=generator, dtype=torch.float64) ** 3


@pytest.mark.parametrize("cost", [GridCost((4, 5)), PrecomputedCost(GridCost((4, 5)).matrix())])
def test_each_problem_has_its_own_number_of_passes(cost):
    a, b = random_histograms(7, 20)
    b[0] = a[0]
    plain = {"anderson_memory": 0, "annealing": False, "epsilon": 0.02, "cost": cost, "tol": 1e-3}
    together = sinkhorn(a=a, b=b, **plain)
    alone = [sinkhorn(a=a[k], b=b[k], **plain) for k in range(7)]
    assert together.passes.tolist() == [result.passes for result in alone]
    assert [result.passes for result in alone] == [result.n_iter for result in alone]
    assert int(together.passes.max()) == together.n_iter
    assert len(set(together.passes.tolist())) > 1


def test_passes_of_problems_that_do_not_converge_are_all_of_them():
    a, b = random_histograms(3, 20)
    result = sinkhorn(a=a, b=b, cost=GridCost((4, 5)), epsilon=0.01, tol=1e-12, max_iter=4)
    assert result.passes.tolist() == [4, 4, 4]


def test_a_cost_on_supports_is_the_cost_between_its_points():
    expected = sinkhorn(X, Y, A, B, epsilon=0.1, tol=1e-9, cost="euclidean")
    result = sinkhorn(a=A, b=B, epsilon=0.1, tol=1e-9, cost=SupportCost(X, Y, "euclidean"))
    torch.testing.assert_close(result.f, expected.f)
    with pytest.raises(ValueError, match="has its own supports"):
        sinkhorn(X, Y, epsilon=0.1, cost=SupportCost(X, Y))


def test_the_gaussian_initializer_on_a_grid_is_that_of_its_points():
    a, b = random_histograms(2, 20)
    grid = GridCost((4, 5))
    start = GaussianInitializer()
    options = {"epsilon": 0.05, "tol": 1e-3, "anderson_memory": 0, "initializer": start}
    on_grid = sinkhorn(a=a, b=b, cost=grid, **options)
    points = grid.points()
    on_points = sinkhorn(points, points, a, b, **options)
    assert on_grid.passes.tolist() == on_points.passes.tolist()
    torch.testing.assert_close(on_grid.f, on_points.f, rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match="squared Euclidean"):
        sinkhorn(a=a, b=b, cost=GridCost((4, 5), power=1.0), **options)
