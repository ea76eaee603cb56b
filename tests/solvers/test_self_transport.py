"""The transport of a sample to itself in which no row stays where it is."""

import numpy as np
import pytest
import torch

from skot.costs import PNorm, SquaredEuclidean
from skot.solvers import transport_to_others


def sample(n, d, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)))


def equal(x):
    return torch.full((len(x),), 1.0 / len(x), dtype=torch.float64)


def row_sums(x, a, h, epsilon, cost):
    plan = torch.exp((h[:, None] + h - cost.pairwise(x, x)) / epsilon) * a
    return plan.fill_diagonal_(0.0).sum(1)


@pytest.mark.parametrize("cost", [SquaredEuclidean(), PNorm(power=1.5)])
@pytest.mark.parametrize(("n", "d"), [(40, 1), (200, 3), (150, 100), (600, 5)])
@pytest.mark.parametrize("share", [0.05, 0.2, 2.0])
def test_rows_sum_to_one_without_the_diagonal(n, d, share, cost):
    x = sample(n, d)
    a = torch.from_numpy(np.random.default_rng(1).random(n) + 0.2)
    a /= a.sum()
    epsilon = share * cost.scale(x, x, a, a)
    h = transport_to_others(x, a, epsilon=epsilon, cost=cost, tol=1e-4)
    assert float(a @ (row_sums(x, a, h, epsilon, cost) - 1.0).abs()) <= 1.1e-4


def test_two_points_change_places():
    x, epsilon = torch.tensor([[0.0], [3.0]], dtype=torch.float64), 0.7
    h = transport_to_others(x, equal(x), epsilon=epsilon, cost=SquaredEuclidean(), tol=1e-4)
    # With more than a third of the mass each may stay, as in the plan with a diagonal.
    plan = torch.exp((h[:, None] + h - SquaredEuclidean().pairwise(x, x)) / epsilon) / 2.0
    assert plan.sum(1).numpy() == pytest.approx([1.0, 1.0], abs=1e-3)


def test_costs_far_beyond_the_range_of_the_exponential():
    x = sample(60, 5)
    h = transport_to_others(x, equal(x), epsilon=1e-3, cost=SquaredEuclidean(), tol=1e-4)
    assert torch.isfinite(h).all()


def test_a_row_far_away_leaves_the_others_alone():
    x = sample(101, 4)
    x[0] += 1e4
    epsilon, cost = 1.0, SquaredEuclidean()
    h = transport_to_others(x, equal(x), epsilon=epsilon, cost=cost, tol=1e-4)
    assert torch.isfinite(h).all()
    sums = row_sums(x, equal(x), h, epsilon, cost)[1:]
    assert float((sums - 1.0).abs().mean()) < 0.02


def test_single_precision_far_from_the_origin():
    x = sample(600, 4)
    near, far = (
        transport_to_others(points, equal(x), epsilon=0.5, cost=SquaredEuclidean(), tol=1e-4)
        for points in (x, x + 1e6)
    )
    torch.testing.assert_close(near, far, rtol=0, atol=1e-3)


def test_tiles_give_what_a_kept_kernel_gives():
    import sklearn

    x = sample(300, 3)
    kept = transport_to_others(x, equal(x), epsilon=0.5, cost=SquaredEuclidean(), tol=1e-4)
    with sklearn.config_context(working_memory=0.1):
        tiled = transport_to_others(x, equal(x), epsilon=0.5, cost=SquaredEuclidean(), tol=1e-4)
    torch.testing.assert_close(kept, tiled, rtol=0, atol=2e-4)
