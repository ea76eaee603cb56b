"""Aggregated problems: targets in groups, and what a Meta OT regressor knows from them."""

import numpy as np
import pytest
import torch

from skot import MetaOTRegressor
from skot.costs import PrecomputedCost, SupportCost
from skot.networks import DualMLP
from skot.solvers import SemiDual, sinkhorn
from skot.transport._meta_ot.aggregated import aggregate_targets, solve_aggregated
from skot.transport._meta_ot.coordinates import DualCoordinates, centred

N_SOURCE, N_TARGET, EPSILON = 5, 400, 0.02


def squared_distances(seed=0):
    rng = np.random.RandomState(seed)
    x, y = rng.uniform(size=(N_SOURCE, 2)), rng.uniform(size=(N_TARGET, 2))
    return torch.from_numpy(((x[:, None] - y) ** 2).sum(2))


def weights(n_problems, seed=1):
    generator = torch.Generator().manual_seed(seed)
    a, b = (
        torch.rand(n_problems, n, generator=generator, dtype=torch.float64)
        for n in (N_SOURCE, N_TARGET)
    )
    return a / a.sum(1, keepdim=True), b / b.sum(1, keepdim=True)


def marginal_error(matrix, f, a, b):
    marginal = SemiDual(PrecomputedCost(matrix), EPSILON).step(f, a, b).source_marginal
    return (marginal - a).abs().sum(1)


def test_groups_have_the_mean_costs_of_their_members():
    matrix, b = squared_distances(), weights(1)[1][0]
    aggregated = aggregate_targets(matrix, b, 20)
    assert 10 <= aggregated.matrix.shape[1] <= 20
    for k in range(aggregated.matrix.shape[1]):
        members = aggregated.groups == k
        share = b[members] + 1e-3 / N_TARGET
        expected = matrix[:, members] @ share / share.sum()
        torch.testing.assert_close(aggregated.matrix[:, k], expected)


def test_every_target_its_own_group_gives_the_whole_problem():
    matrix, (a, b) = squared_distances(), weights(3)
    small = solve_aggregated(aggregate_targets(matrix, b[0], N_TARGET), a, b, EPSILON)
    whole = sinkhorn(a=a, b=b, cost=PrecomputedCost(matrix), epsilon=EPSILON, tol=1e-2)
    torch.testing.assert_close(small.dual_value, whole.dual_value)
    torch.testing.assert_close(centred(small.f, a), centred(whole.f, a), rtol=0, atol=EPSILON)


def test_columns_that_differ_by_constants_are_one_group():
    # Numbers whose means are exact, so that rounding tells no two columns apart.
    column = torch.tensor([0.0, 5.0, 10.0, 20.0, 40.0], dtype=torch.float64)
    matrix = column[:, None] + torch.arange(N_TARGET)
    b = torch.full((N_TARGET,), 1 / N_TARGET, dtype=torch.float64)
    aggregated = aggregate_targets(matrix, b, 50)
    expected = column + (N_TARGET - 1) / 2
    torch.testing.assert_close(aggregated.matrix, expected[:, None])


def test_potentials_of_the_groups_nearly_solve_the_whole_problem():
    matrix, (a, b) = squared_distances(), weights(20)
    f = solve_aggregated(aggregate_targets(matrix, b.mean(0), 50), a, b, EPSILON).f
    error = marginal_error(matrix, f, a, b)
    assert float(error.max()) < 0.1
    assert float(error.median()) < 0.1 * float(marginal_error(matrix, 0 * f, a, b).median())


@pytest.mark.parametrize("n_target, is_aggregated", [(N_TARGET, True), (N_TARGET - 1, False)])
def test_targets_are_gathered_from_eighty_a_source_on(n_target, is_aggregated):
    a, b = weights(4)
    cost = PrecomputedCost(squared_distances()[:, :n_target])
    coordinates = DualCoordinates.of(cost, EPSILON, a, b[:, :n_target])
    assert (coordinates.aggregated is not None) == is_aggregated
    assert coordinates.known(a, b[:, :n_target]).any() == is_aggregated


def test_points_of_a_squared_euclidean_cost_give_way_to_groups():
    rng = np.random.RandomState(0)
    cost = SupportCost(rng.uniform(size=(N_SOURCE, 2)), rng.uniform(size=(N_TARGET, 2)))
    coordinates = DualCoordinates.of(cost, EPSILON, *weights(4))
    assert coordinates.points is None
    assert coordinates.n_inputs == len(coordinates.mean)


def test_regressor_starts_near_the_solution_and_is_read_back(tmp_path):
    matrix, (a, b) = squared_distances(), weights(40)
    X = torch.cat([a, b], 1).numpy()
    X[:5, 0] = 0.0  # no weight at a source
    regressor = MetaOTRegressor(
        PrecomputedCost(matrix),
        epsilon=EPSILON,
        network=DualMLP((16,)),
        max_iter=5,
        random_state=0,
    ).fit(X)
    solved = regressor.solve(X, tol=1e-2)
    zeros = sinkhorn(
        a=X[:, :N_SOURCE], b=b, cost=PrecomputedCost(matrix), epsilon=EPSILON, tol=1e-2
    )
    assert float(solved.passes.median()) <= 0.5 * float(zeros.passes.median())
    path = tmp_path / "model.pt"
    regressor.save(path)
    other = MetaOTRegressor(PrecomputedCost(matrix), epsilon=EPSILON, network=DualMLP((16,)))
    np.testing.assert_array_equal(other.load(path).predict(X), regressor.predict(X))
