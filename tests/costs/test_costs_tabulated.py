import numpy as np
import pytest
import torch
from sklearn.base import clone

from skot import SinkhornTransport
from skot.costs import (
    Cosine,
    Cost,
    Euclidean,
    GridCost,
    PNorm,
    PrecomputedCost,
    SphereGeodesic,
    SquaredEuclidean,
    SupportCost,
    check_cost,
    cost_matrix,
)
from skot.solvers import sinkhorn
from skot.utils._sklearn import InvalidParameterError


@pytest.mark.parametrize(
    "shape, power", [((4,), 2.0), ((3, 5), 2.0), ((2, 3, 4), 1.3), ((1, 4), 2)]
)
def test_grid_matrix_is_the_cost_between_the_points(shape, power):
    axes = [np.linspace(0.0, 1.0, n) if n > 1 else np.zeros(1) for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))
    expected = (np.abs(points[:, None] - points) ** power).sum(-1)
    cost = GridCost(shape, power=power)
    assert cost.size == len(points)
    np.testing.assert_allclose(cost.matrix(), expected, rtol=1e-12, atol=1e-15)
    for axis, axis_cost in zip(axes, cost.axis_costs(), strict=True):
        np.testing.assert_allclose(axis_cost, np.abs(axis[:, None] - axis) ** power, atol=1e-15)


@pytest.mark.parametrize("shape", [(), (3, 0), (2.0, 3), (-1,), ("a",)])
def test_bad_grid_shapes(shape):
    with pytest.raises(ValueError, match="`shape` must hold positive integers"):
        sinkhorn(cost=GridCost(shape), epsilon=1.0)


def test_bad_grid_parameters():
    with pytest.raises(InvalidParameterError, match="The 'power' parameter of GridCost"):
        sinkhorn(cost=GridCost((3,), power=0.0), epsilon=1.0)
    with pytest.raises(InvalidParameterError, match="The 'shape' parameter of GridCost"):
        sinkhorn(cost=GridCost(9), epsilon=1.0)


@pytest.mark.parametrize(
    "name, kind",
    [
        (None, SquaredEuclidean),
        ("sqeuclidean", SquaredEuclidean),
        ("euclidean", Euclidean),
        ("cosine", Cosine),
        ("sphere", SphereGeodesic),
    ],
)
def test_costs_by_name(name, kind):
    assert type(check_cost(name)) is kind


def test_cityblock_is_the_one_norm():
    assert check_cost("cityblock").get_params() == {"p": 1.0, "power": 1.0}


def test_a_component_is_cloned():
    cost = PNorm(p=3.0)
    checked = check_cost(cost)
    assert checked is not cost
    assert checked.p == 3.0


@pytest.mark.parametrize(
    "cost, message",
    [
        ("manhattan", r"`cost` must be one of \['cityblock', .*'sqeuclidean'\].*'manhattan'"),
        (3, "The 'cost' parameter must be an instance of skot.costs.Cost"),
        (SquaredEuclidean, "must be an instance, not a class"),
        (np.zeros((2, 2)), "The 'cost' parameter must be an instance of skot.costs.Cost"),
        (GridCost((2, 2)), "The 'cost' parameter must be an instance of skot.costs.Cost"),
    ],
)
def test_what_is_not_a_cost(cost, message):
    with pytest.raises(ValueError, match=message):
        check_cost(cost)


def test_costs_with_supports_of_their_own_are_for_functions_only():
    X = np.random.RandomState(0).standard_normal((4, 2))
    for cost in (PrecomputedCost(np.zeros((4, 4))), GridCost((2, 2))):
        assert not isinstance(cost, Cost)
        with pytest.raises(
            InvalidParameterError, match="The 'cost' parameter of SinkhornTransport"
        ):
            SinkhornTransport(cost=cost).fit(X, X)
        with pytest.raises(ValueError, match="has its own supports: pass weights only"):
            sinkhorn(torch.zeros(4, 1), torch.zeros(4, 1), cost=cost, epsilon=1.0)


def test_a_precomputed_cost_can_be_cloned_and_takes_arrays():
    matrix = np.array([[0.0, 1.0], [1.0, 0.5]])
    cost = clone(PrecomputedCost(matrix))
    np.testing.assert_array_equal(cost.matrix, matrix)
    from_array = sinkhorn(cost=cost, epsilon=0.5, tol=1e-9)
    from_list = sinkhorn(cost=PrecomputedCost(matrix.tolist()), epsilon=0.5, tol=1e-9)
    torch.testing.assert_close(from_array.f, from_list.f)
    with pytest.raises(InvalidParameterError, match="The 'matrix' parameter of PrecomputedCost"):
        sinkhorn(cost=PrecomputedCost(1.0), epsilon=0.5)


@pytest.mark.parametrize("offset", [-1e6, 0.0, 1e6])
def test_a_constant_added_to_a_matrix_is_a_constant_of_the_value(offset):
    generator = torch.Generator().manual_seed(0)
    matrix = torch.rand(5, 4, generator=generator, dtype=torch.float64)
    base = sinkhorn(cost=PrecomputedCost(matrix), epsilon=0.1, tol=1e-11)
    moved = sinkhorn(cost=PrecomputedCost(matrix + offset), epsilon=0.1, tol=1e-11)
    torch.testing.assert_close(moved.plan.toarray(), base.plan.toarray(), rtol=1e-7, atol=1e-10)
    assert float(moved.dual_value) == pytest.approx(float(base.dual_value) + offset, rel=1e-9)


def test_the_points_of_a_grid_have_its_matrix():
    grid = GridCost((3, 4))
    torch.testing.assert_close(SupportCost(grid.points(), grid.points()).matrix(), grid.matrix())
    assert torch.equal(cost_matrix(grid), grid.matrix())


def test_what_costs_know_of_themselves():
    x, y = np.zeros((3, 2)), np.ones((4, 2))
    matrix, points, grid = PrecomputedCost(np.ones((3, 4))), SupportCost(x, y), GridCost((2, 3))
    costs = (matrix, points, grid)
    assert [cost.support_sizes for cost in costs] == [(3, 4), (3, 4), (6, 6)]
    assert [cost.is_separable for cost in costs] == [False, False, True]
    assert [type(cost.ground_cost) for cost in costs] == [type(None), SquaredEuclidean, type(None)]
    assert [cost.is_batch for cost in (*costs, PrecomputedCost([[[1.0]]]))] == [False] * 3 + [True]
    assert matrix.squared_euclidean_points() is None
    assert SupportCost(x, y, "euclidean").squared_euclidean_points() is None
    assert GridCost((2, 3), power=1.0).squared_euclidean_points() is None
    for cost in (points, grid):
        pair = cost.squared_euclidean_points()
        torch.testing.assert_close(SquaredEuclidean().pairwise(*pair), cost.matrix())


@pytest.mark.parametrize(
    "cost", [SupportCost([[0.0], [2.0]], [[1.0], [2.0], [5.0]]), GridCost((2, 3), power=1.3)]
)
def test_the_scale_is_the_mean_cost_from_the_smallest_on(cost):
    n, m = cost.support_sizes
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(k, generator=generator, dtype=torch.float64) for k in (n, m))
    a, b = a / a.sum(), b / b.sum()
    matrix = cost_matrix(cost)
    expected = a @ (matrix - matrix.min()) @ b
    torch.testing.assert_close(cost.scale(a, b), expected)
    torch.testing.assert_close(PrecomputedCost(matrix + 7.0).scale(a, b), expected)


def test_digests_tell_costs_apart_and_are_those_in_saved_files():
    x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])
    grid = GridCost([2], power=2)
    points, matrix = SupportCost(x, y), PrecomputedCost(grid.matrix())
    others = [
        SupportCost(y, x),
        SupportCost(x, y, "euclidean"),
        GridCost((2,), 1),
        GridCost((2, 1)),
    ]
    assert len({cost.digest() for cost in (grid, points, matrix, *others)}) == 7
    assert (
        points.digest() == SupportCost(x.tolist(), torch.from_numpy(y), SquaredEuclidean()).digest()
    )
    assert grid.digest() == GridCost((np.int64(2),)).digest()
    # A file of a regressor names the cost by its digest, which therefore never changes.
    assert grid.digest().startswith("ed5bf1a2a1d3")
    assert points.digest().startswith("a7ee512a5815")
    assert matrix.digest().startswith("360975246dd9")


@pytest.mark.parametrize(
    ("x", "y", "cost", "message"),
    [
        ([[0.0]], [[0.0, 1.0]], "sqeuclidean", "x has 1 features, but y has 2 features"),
        ([[np.nan]], [[0.0]], "sqeuclidean", "x contains NaN"),
        ([0.0], [[0.0]], "sqeuclidean", "2D array"),
        ([[0.0]], [[0.0]], "taxi", "`cost` must be one of"),
        ([[0.0]], [[0.0]], 3, "'cost' parameter of SupportCost"),
    ],
)
def test_bad_supports(x, y, cost, message):
    with pytest.raises(ValueError, match=message):
        sinkhorn(epsilon=1.0, cost=SupportCost(x, y, cost))
