"""Agreement with POT and with a ten-line implementation."""

import numpy as np
import ot
import pytest
import torch
from _problems import plain_sinkhorn, random_pair, squared_distances, up_to_a_constant

from skot.costs import PrecomputedCost, check_cost
from skot.solvers import ZerosInitializer, sinkhorn

PROBLEMS = {
    "balanced": random_pair(25, 25, 2, uniform=True),
    "weighted": random_pair(25, 25, 2, seed=1),
    "unequal sizes": random_pair(31, 17, 4, seed=2),
    "far apart": random_pair(20, 15, 3, seed=3, shift=30.0),
}


def pot_solution(problem, cost, epsilon):
    """Plan and potentials of POT; its potentials are ours plus epsilon times the log weights."""
    a, b = problem.a.numpy(), problem.b.numpy()
    options = {"method": "sinkhorn_log", "stopThr": 1e-11, "numItermax": 100_000, "log": True}
    with np.errstate(over="ignore"):  # its log also holds the scalings, which overflow
        plan, log = ot.sinkhorn(a, b, cost, epsilon, **options)
    f = epsilon * (torch.from_numpy(log["log_u"]) - problem.a.log())
    g = epsilon * (torch.from_numpy(log["log_v"]) - problem.b.log())
    return torch.from_numpy(plan), f, g


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
@pytest.mark.parametrize("name", PROBLEMS)
def test_agrees_with_pot(name, epsilon):
    problem = PROBLEMS[name]
    cost = squared_distances(problem.x, problem.y)
    plan, f, g = pot_solution(problem, cost.numpy(), epsilon)
    result = sinkhorn(*problem, epsilon=epsilon, tol=1e-10, max_iter=5000)
    assert result.converged
    size = float(up_to_a_constant(f, problem.a).abs().max())
    for ours, theirs, weights in ((result.f, f, problem.a), (result.g, g, problem.b)):
        gap = up_to_a_constant(ours, weights) - up_to_a_constant(theirs, weights)
        assert gap.abs().max() <= 1e-6 * size
    torch.testing.assert_close(result.plan.toarray(), plan, rtol=1e-6, atol=1e-9)
    product = problem.a[:, None] * problem.b
    transport_cost = float((plan * cost).sum())
    value = transport_cost + epsilon * float(torch.special.xlogy(plan, plan / product).sum())
    assert result.cost_value == pytest.approx(transport_cost, rel=1e-6)
    assert float(result.dual_value) == pytest.approx(value, rel=1e-6)
    assert result.primal_value == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", ["euclidean", "cityblock", "cosine", "sphere"])
def test_other_costs_agree_with_pot(name):
    problem = PROBLEMS["unequal sizes"]
    matrix = check_cost(name).pairwise(problem.x, problem.y)
    plan, _, _ = pot_solution(problem, matrix.numpy(), 0.1)
    for result in (
        sinkhorn(*problem, cost=name, epsilon=0.1, tol=1e-10),
        sinkhorn(None, None, *problem[2:], cost=PrecomputedCost(matrix), epsilon=0.1, tol=1e-10),
    ):
        torch.testing.assert_close(result.plan.toarray(), plan, rtol=1e-6, atol=1e-10)
        assert result.cost_value == pytest.approx(float((plan * matrix).sum()), rel=1e-7)


@pytest.mark.parametrize("options", [{}, {"initializer": ZerosInitializer()}])
def test_without_acceleration_it_is_the_published_algorithm_pass_by_pass(options):
    problem = PROBLEMS["unequal sizes"]
    cost = squared_distances(problem.x, problem.y).numpy()
    result = sinkhorn(
        *problem, epsilon=2.0, tol=1e-7, anderson_memory=0, annealing=False, **options
    )
    arrays = problem.a.numpy(), problem.b.numpy()
    errors, _ = plain_sinkhorn(cost, *arrays, 2.0, result.n_iter)
    assert result.n_iter > 5
    np.testing.assert_allclose(result.errors, errors, rtol=1e-6, atol=1e-13)
    _, plan = plain_sinkhorn(cost, *arrays, 2.0, 2000)
    np.testing.assert_allclose(result.plan.toarray(), plan, atol=1e-7)


@pytest.mark.parametrize("epsilon", [0.05, 0.005])
def test_acceleration_and_annealing_take_fewer_passes_to_the_same_plan(epsilon):
    problem = random_pair(60, 50, 2, seed=4)
    fast = sinkhorn(*problem, epsilon=epsilon, tol=1e-6)
    options = {"anderson_memory": 0, "annealing": False, "max_iter": 20 * fast.n_iter}
    plain = sinkhorn(*problem, epsilon=epsilon, tol=1e-6, **options)
    assert fast.converged
    assert plain.n_iter > 3 * fast.n_iter
    if plain.converged:
        torch.testing.assert_close(fast.plan.toarray(), plain.plan.toarray(), atol=1e-5, rtol=0)


def test_small_epsilon_reaches_the_exact_plan():
    problem = random_pair(30, 30, 2, seed=5, uniform=True)
    cost = squared_distances(problem.x, problem.y)
    exact = ot.emd2(problem.a.numpy(), problem.b.numpy(), cost.numpy())
    epsilon = 1e-4
    result = sinkhorn(*problem, epsilon=epsilon, tol=1e-6, max_iter=20_000)
    assert result.converged
    # The gap is at most epsilon times the entropy of the exact plan, log 30, from above.
    gap = float(result.dual_value) - exact
    assert -1e-4 < gap < epsilon * np.log(30) + 1e-4
    # POT's plain iteration returns a finite plan that misses its marginal altogether.
    _, column = result.plan.marginals()
    assert float((column - problem.b).abs().sum()) <= 1e-6
