import copy
import pickle

import numpy as np
import pytest
import torch
from _problems import random_pair, squared_distances

from skot.costs import Cosine, PNorm, SphereGeodesic, SquaredEuclidean
from skot.numerics import tiles
from skot.potentials import EntropicPotentials
from skot.solvers import sinkhorn

EPSILON = 0.2


def potentials(problem=None, cost=None, **options):
    problem = random_pair(30, 22, 2) if problem is None else problem
    cost = SquaredEuclidean() if cost is None else cost
    result = sinkhorn(*problem, cost=cost, epsilon=EPSILON, tol=1e-11, max_iter=20_000, **options)
    return EntropicPotentials(*problem, result.f, result.g, cost, EPSILON), result


@pytest.mark.parametrize("cost", [SquaredEuclidean(), PNorm(p=1.5, power=1.7), Cosine()], ids=repr)
@pytest.mark.parametrize("shift", [0.0, 40.0])
def test_extensions_agree_with_the_potentials_on_the_points(cost, shift):
    x, y, a, b = random_pair(30, 22, 2)
    both, result = potentials((x + shift, y, a, b), cost)
    torch.testing.assert_close(both.source_potential(both.x), result.f, rtol=1e-8, atol=1e-7)
    torch.testing.assert_close(both.target_potential(both.y), result.g, rtol=1e-8, atol=1e-7)
    assert both.dual_value == pytest.approx(float(result.dual_value), rel=1e-12)


def test_the_extension_is_the_documented_softmin():
    both, _ = potentials()
    new = torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    logits = (both.g - squared_distances(new, both.y)) / EPSILON + both.b.log()
    expected = -EPSILON * torch.logsumexp(logits, 1)
    torch.testing.assert_close(both.source_potential(new), expected)
    torch.testing.assert_close(both.transport(new), torch.softmax(logits, 1) @ both.y)
    logits = (both.f - squared_distances(new, both.x)) / EPSILON + both.a.log()
    torch.testing.assert_close(both.inverse(new), torch.softmax(logits, 1) @ both.x)


def test_the_map_is_the_gradient_of_the_potential():
    both, _ = potentials()
    new = torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = 1e-5
    for axis in range(2):
        shift = torch.zeros(2, dtype=torch.float64)
        shift[axis] = step
        slope = (both.source_potential(new + shift) - both.source_potential(new - shift)) / step
        # grad f = 2 (x - T(x)), and the difference quotient spans two steps.
        torch.testing.assert_close(0.5 * slope, 2.0 * (new - both.transport(new))[:, axis])


@pytest.mark.parametrize("cost", [SquaredEuclidean(), PNorm(p=1.5, power=1.7)], ids=repr)
def test_plan_tiles_are_the_plan(cost, monkeypatch):
    both, result = potentials(cost=cost)
    for entries in (tiles.TILE_ENTRIES, 50):
        monkeypatch.setattr("skot.potentials.row_tiles", lambda n, m, e=entries: tiles.row_tiles(n, m, e))
        parts = list(both.plan_tiles())
        rows = [i for part, _ in parts for i in range(part.start, part.stop)]
        assert rows == list(range(30))
        plan = torch.cat([tile for _, tile in parts])
        torch.testing.assert_close(plan, result.plan.toarray(), rtol=1e-7, atol=1e-14)


def test_class_costs_shift_the_weights_of_a_row():
    both, _ = potentials()
    labels = torch.arange(30) % 3
    table = torch.rand(3, 22, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cost = squared_distances(both.x, both.y) + table[labels]
    weights = torch.softmax((both.g - cost) / EPSILON + both.b.log(), 1)
    torch.testing.assert_close(both.transport(both.x, (labels, table)), weights @ both.y)
    plan = torch.cat([tile for _, tile in both.plan_tiles((labels, table))])
    torch.testing.assert_close(plan, both.a[:, None] * weights)
    # Row by row the same, whatever the tiles.
    torch.testing.assert_close(
        both.transport(both.x[:1], (labels[:1], table)), (weights @ both.y)[:1]
    )


@pytest.mark.parametrize("cost", [SquaredEuclidean(), PNorm(p=1.5, power=1.7)], ids=repr)
@pytest.mark.parametrize("size", [1e10, 1e100, 1e200, 1.7e308])
def test_rows_far_away_go_to_the_target_in_their_direction(cost, size):
    both, _ = potentials(cost=cost)
    far = torch.tensor([[size, 0.0], [-size, 0.5 * size], [0.0, -size]], dtype=torch.float64)
    moved = both.transport(far)
    assert torch.isfinite(moved).all()
    if isinstance(cost, SquaredEuclidean):
        # All the mass is on the support point farthest along the ray.
        directions = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]], dtype=torch.float64)
        torch.testing.assert_close(moved, both.y[(directions @ both.y.T).argmax(1)])
    assert torch.isfinite(both.inverse(far)).all()


def test_sphere_maps_stay_on_the_sphere():
    both, _ = potentials(random_pair(30, 22, 3), SphereGeodesic())
    moved = both.transport(both.x)
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(30, dtype=torch.float64))


def test_points_without_mass_are_never_a_goal():
    x, y, a, b = random_pair(30, 22, 2)
    b[:5] = 0.0
    y[:5] = 1e3  # they would show in any average
    both, _ = potentials((x, y, a, b / b.sum()))
    assert both.transport(x).max() < 10.0
    assert torch.isfinite(both.source_potential(x)).all()


def test_any_dtype_and_no_rows():
    both, _ = potentials()
    assert both.transport(both.x.float()).dtype == torch.float64
    assert both.transport(both.x[:0]).shape == (0, 2)
    assert both.source_potential(both.x[:0]).shape == (0,)


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_copies_map_identically(twin):
    both, _ = potentials()
    np.testing.assert_array_equal(twin(both).transport(both.x), both.transport(both.x))
    with pytest.raises(AttributeError):
        twin(both).f = None


@pytest.mark.gpu
def test_moves_to_a_device_and_back():
    both, _ = potentials()
    there = both.to("cuda")
    assert there.f.device.type == "cuda"
    moved = there.transport(both.x.cuda())
    torch.testing.assert_close(moved.cpu(), both.transport(both.x), rtol=1e-9, atol=1e-9)
    assert pickle.loads(pickle.dumps(there)).f.device.type == "cpu"
