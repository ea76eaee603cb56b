"""Sparse plans: the fewest entries of each row, what they hold, and what is lost."""

import numpy as np
import pytest
import torch
from _problems import random_pair
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from skot.costs import GridCost, PNorm, PrecomputedCost
from skot.solvers import sinkhorn, sinkhorn_class_regularized, sparse_plan
from skot.solvers._entropic import sparse_plan as module

SHARES = (1e-20, 0.3, 0.9, 0.99, 1.0 - 1e-9, 1.0)


def thresholded(dense, mass, max_per_row=None):
    """Row by row, straight from the definition; equal entries from the left."""
    kept = np.zeros_like(dense)
    for i, row in enumerate(dense):
        order = np.argsort(-row, kind="stable")
        n_kept = 0
        while n_kept < len(row) and row[order[n_kept:]].sum() > (1.0 - mass) * row.sum():
            n_kept += 1
        n_kept = max(n_kept, 1) if row.any() else 0
        chosen = order[: min(n_kept, max_per_row or len(row))]
        kept[i, chosen] = row[chosen]
    return kept


def solved(epsilon=0.1, n=40, m=33, **options):
    return sinkhorn(*random_pair(n, m), epsilon=epsilon, tol=1e-9, **options)


@pytest.mark.parametrize("mass", SHARES)
@pytest.mark.parametrize("max_per_row", [None, 1, 5, 33, 1000])
@pytest.mark.parametrize("epsilon", [5.0, 0.1, 0.003])
def test_is_the_dense_plan_without_the_light_entries_of_each_row(epsilon, mass, max_per_row):
    plan = solved(epsilon, max_iter=50_000).plan
    dense = plan.toarray().numpy()
    sparse = plan.tosparse(mass, max_per_row)
    assert isinstance(sparse.plan, csr_array)
    assert sparse.plan.dtype == np.float64
    assert sparse.plan.shape == plan.shape
    assert sparse.plan.has_canonical_format
    assert_array_equal(sparse.plan.toarray(), thresholded(dense, mass, max_per_row))
    assert sparse.plan.sum() + sparse.lost_mass == pytest.approx(dense.sum(), abs=1e-12)
    assert sparse.lost_mass == pytest.approx((dense - sparse.plan.toarray()).sum(), abs=1e-12)
    counts = np.diff(sparse.plan.indptr)
    assert counts.min() >= 1
    if max_per_row is None:
        share = sparse.plan.sum(axis=1) / dense.sum(axis=1)
        assert share.min() >= mass - 1e-15
        assert sparse.lost_mass <= (1.0 - mass) * dense.sum() + 1e-15
    else:
        assert counts.max() <= max_per_row


def test_a_cap_says_what_it_costs():
    plan = solved(0.5).plan
    capped, free = plan.tosparse(0.99, max_per_row=3), plan.tosparse(0.99)
    assert 0.0 < free.lost_mass < 0.01 < 0.1 < capped.lost_mass
    assert_array_equal(np.diff(capped.plan.indptr), 3)


def test_marginals_of_what_is_kept():
    pair = random_pair(40, 33)
    plan = sinkhorn(*pair, epsilon=0.05, tol=1e-9, max_iter=10_000).plan
    sparse = plan.tosparse(0.999)
    a, b = pair.a.numpy(), pair.b.numpy()
    rows, columns = sparse.plan.sum(axis=1), sparse.plan.sum(axis=0)
    assert (rows <= a + 1e-15).all()
    assert (rows >= 0.999 * a - 1e-15).all()
    assert (columns <= b + 1e-8).all()
    assert b.sum() - columns.sum() == pytest.approx(sparse.lost_mass, abs=1e-12)
    # What rows are averaged to is right for each: off by the share times the spread at most.
    y = pair.y.numpy()
    off = (sparse.plan @ y) / rows[:, None] - plan.toarray().numpy() @ y / a[:, None]
    assert np.abs(off).max() <= 0.001 / 0.999 * np.ptp(y, axis=0).max()


def test_rows_and_columns_without_weight_are_empty():
    x, y, a, b = random_pair(20, 15)
    a, b = a.clone(), b.clone()
    a[[0, 7]], b[[3, 14]] = 0.0, 0.0
    plan = sinkhorn(x, y, a / a.sum(), b / b.sum(), epsilon=0.5).plan
    for mass in (0.9, 1.0):
        sparse = plan.tosparse(mass)
        assert_array_equal(np.diff(sparse.plan.indptr)[[0, 7]], 0)
        assert (sparse.plan.data > 0.0).all()
        assert not sparse.plan.sum(axis=0)[[3, 14]].any()
    assert sparse.plan.nnz == 18 * 13
    assert sparse.lost_mass == 0.0


def test_a_row_of_little_weight_keeps_its_share_too():
    x, y, a, b = random_pair(20, 15)
    a = a.clone()
    a[4] = 1e-30
    plan = sinkhorn(x, y, a / a.sum(), b, epsilon=0.5).plan
    sparse, dense = plan.tosparse(0.95), plan.toarray().numpy()
    share = sparse.plan.sum(axis=1)[4] / dense.sum(axis=1)[4]
    assert 0.95 <= share < 1.0


@pytest.mark.parametrize("storage", ["kernel", "stream"])
@pytest.mark.parametrize("cost", [None, PNorm(p=1.5, power=1.7), "cosine"])
def test_storages_and_costs(storage, cost):
    plan = solved(0.1, storage=storage, cost=cost).plan
    dense = plan.toarray().numpy()
    assert_array_equal(plan.tosparse(0.9).plan.toarray(), thresholded(dense, 0.9))


def test_matrices_grids_and_batches():
    generator = torch.Generator().manual_seed(0)
    costs = torch.rand(30, 20, generator=generator, dtype=torch.float64)
    weights = torch.rand(3, 25, generator=generator, dtype=torch.float64) + 0.1
    weights = weights / weights.sum(1, keepdim=True)
    plans = [
        sinkhorn(cost=PrecomputedCost(costs), epsilon=0.05).plan,
        *sinkhorn(a=weights, b=weights.flip(0), cost=GridCost((5, 5)), epsilon=0.05).plan,
    ]
    for plan in plans:
        dense, sparse = plan.toarray().numpy(), plan.tosparse(0.9)
        assert_array_equal(sparse.plan.toarray(), thresholded(dense, 0.9))
        assert sparse.plan.sum() + sparse.lost_mass == pytest.approx(1.0, abs=1e-12)


def test_class_regularised_plans():
    pair = random_pair(30, 22)
    labels = np.arange(30) % 2
    plan = sinkhorn_class_regularized(*pair[:2], labels, epsilon=0.5, class_reg=1.0).sinkhorn.plan
    sparse, dense = plan.tosparse(0.9), plan.toarray().numpy()
    assert_array_equal(sparse.plan.toarray(), thresholded(dense, 0.9))
    # Classes that are kept apart leave fewer partners.
    assert sparse.plan.nnz < sinkhorn(*pair[:2], epsilon=0.5).plan.tosparse(0.9).plan.nnz


def test_of_equal_entries_the_first_are_kept():
    plan = sinkhorn(torch.zeros(4, 1).double(), torch.zeros(10, 1).double(), epsilon=1.0).plan
    sparse = plan.tosparse(0.55)
    assert_array_equal(sparse.plan.indices.reshape(4, 6), np.tile(np.arange(6), (4, 1)))
    assert sparse.lost_mass == pytest.approx(0.4, abs=1e-12)
    assert_array_equal(plan.tosparse(1.0, 2).plan.indices.reshape(4, 2), [[0, 1]] * 4)


def test_plain_numbers_where_inputs_require_a_gradient():
    x, y, a, b = random_pair()
    plan = sinkhorn(x.requires_grad_(), y, a, b, epsilon=0.5).plan
    assert plan.tosparse(0.9).plan.sum() >= 0.9


@pytest.mark.parametrize("block", [8, 64, 1 << 12])
def test_many_tiles_and_blocks(monkeypatch, block):
    dense = np.random.default_rng(0).exponential(size=(50, 30)) ** 6
    expected = thresholded(dense, 0.97)
    monkeypatch.setattr(module, "_BLOCK_BYTES", block)
    tiles = [
        (slice(i, min(i + 7, 50)), torch.from_numpy(dense[i : i + 7])) for i in range(0, 50, 7)
    ]
    sparse = sparse_plan(tiles, dense.shape, mass=0.97)
    assert_array_equal(sparse.plan.toarray(), expected)
    assert sparse.lost_mass == pytest.approx(dense.sum() - expected.sum(), rel=1e-12)


def test_single_precision_tiles_give_double():
    dense = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) / 16
    sparse = sparse_plan([(slice(0, 6), dense)], (6, 5), mass=1.0)
    assert sparse.plan.dtype == np.float64
    assert_allclose(sparse.plan.toarray(), dense.double().numpy(), rtol=0)


def test_nothing_as_large_as_the_plan_is_formed(monkeypatch):
    plan = solved(0.01, n=700, m=900).plan
    sizes = []

    def watched(tile, *args):
        sizes.append(tile.size)
        return heaviest(tile, *args)

    heaviest = module.heaviest_of_rows
    monkeypatch.setattr(module, "heaviest_of_rows", watched)
    plan.tosparse()
    assert sum(sizes) == 700 * 900
    assert max(sizes) <= 2**18


@pytest.mark.parametrize("mass", [0.0, -0.5, 1.0 + 1e-9, 99, float("nan"), float("inf")])
def test_bad_shares(mass):
    with pytest.raises(ValueError, match="mass == .*must be"):
        solved().plan.tosparse(mass)


@pytest.mark.parametrize("max_per_row", [0, -3])
def test_bad_caps(max_per_row):
    with pytest.raises(ValueError, match="max_per_row"):
        solved().plan.tosparse(max_per_row=max_per_row)


@pytest.mark.parametrize("options", [{"mass": "0.9"}, {"mass": None}, {"max_per_row": 2.5}])
def test_bad_types(options):
    with pytest.raises(TypeError, match=next(iter(options))):
        solved().plan.tosparse(**options)


def test_what_is_not_a_number_is_refused():
    tile = torch.full((3, 4), 0.25, dtype=torch.float64)
    tile[1, 2] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        sparse_plan([(slice(0, 3), tile)], (3, 4))
