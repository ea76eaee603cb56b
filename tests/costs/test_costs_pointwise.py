import numpy as np
import pytest
import torch
from _problems import random_pair, squared_distances
from scipy.spatial.distance import cdist

from skot import SinkhornTransport
from skot.costs import Cosine, Cost, Euclidean, PNorm, SphereGeodesic, SquaredEuclidean
from skot.solvers import sinkhorn
from skot.utils._sklearn import InvalidParameterError

# Random rows are no directions, which few of these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:The cost 'sphere' takes rows:UserWarning")

COSTS = [
    SquaredEuclidean(),
    Euclidean(),
    PNorm(p=1.0),
    PNorm(p=1.5, power=1.7),
    PNorm(p=3.0, power=2.0),
    Cosine(),
    SphereGeodesic(),
    SphereGeodesic(power=1.0),
]
WITH_TWIST = [
    SquaredEuclidean(),
    PNorm(p=1.5, power=1.7),
    PNorm(p=2.0, power=2.0),
    PNorm(p=3.0, power=1.2),
    SphereGeodesic(margin=1e-12),
]
WITHOUT_TWIST = [
    Euclidean(),
    PNorm(p=1.0, power=2.0),
    PNorm(p=2.0, power=0.5),
    Cosine(),
    SphereGeodesic(power=1.0),
]


class Chebyshev(Cost):
    """A cost that a user writes: one method, no twist."""

    def pairwise(self, x, y):
        return (x[:, None] - y[None]).abs().amax(-1)


class Logistic(Cost):
    """Strictly convex in every coordinate, with a twist: sum of log cosh."""

    def __init__(self, stiffness=1.0):
        self.stiffness = stiffness

    def pairwise(self, x, y):
        return torch.log(torch.cosh(self.stiffness * (x[:, None] - y[None]))).sum(-1)

    def twist(self, x, gradient):
        return x - torch.atanh((gradient / self.stiffness).clamp(-1, 1)) / self.stiffness


@pytest.mark.parametrize(
    "cost, metric, options",
    [
        (SquaredEuclidean(), "sqeuclidean", {}),
        (Euclidean(), "euclidean", {}),
        (PNorm(p=1.0), "cityblock", {}),
        (PNorm(p=3.0), "minkowski", {"p": 3.0}),
        (Cosine(), "cosine", {}),
    ],
)
def test_pairwise_agrees_with_scipy(cost, metric, options):
    x, y, _, _ = random_pair()
    expected = cdist(x.numpy(), y.numpy(), metric, **options)
    np.testing.assert_allclose(cost.pairwise(x, y), expected, rtol=1e-12, atol=1e-12)


def test_powers_of_norms_and_of_angles():
    x, y, _, _ = random_pair()
    distance = cdist(x.numpy(), y.numpy(), "minkowski", p=1.5)
    np.testing.assert_allclose(PNorm(p=1.5, power=1.7).pairwise(x, y), distance**1.7, rtol=1e-12)
    angle = np.arccos(1.0 - cdist(x.numpy(), y.numpy(), "cosine"))
    for power in (1.0, 2.0):
        cost = SphereGeodesic(power=power, margin=0.0).pairwise(x, y)
        np.testing.assert_allclose(cost, angle**power, rtol=1e-9)


@pytest.mark.parametrize("cost", COSTS, ids=repr)
def test_factors_multiply_to_the_pairwise_cost(cost):
    x, y, _, _ = random_pair()
    factors = cost.factorize(x, y)
    if factors is None:
        assert type(cost) in (Euclidean, PNorm, SphereGeodesic)
        return
    left, right, row, column = factors
    product = row[:, None] + column[None] - left @ right.T
    torch.testing.assert_close(product, cost.pairwise(x, y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cost", COSTS, ids=repr)
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_standardised_points_give_the_cost_back(cost, offset):
    x, y, a, b = random_pair()
    x = x + offset
    pair = cost.standardize(x, y, a, b)
    back = pair.scale * cost.pairwise(pair.x, pair.y) + pair.row[:, None] + pair.column[None]
    expected = squared_distances(x, y) if type(cost) is SquaredEuclidean else cost.pairwise(x, y)
    torch.testing.assert_close(back, expected, rtol=1e-9, atol=1e-9)
    if cost.translation_invariant:
        assert max(pair.x.abs().max(), pair.y.abs().max()) <= 1.0


@pytest.mark.parametrize("cost", [*COSTS, Chebyshev()], ids=repr)
def test_scale_counts_a_repeated_row_by_its_weight(cost):
    x, y, _, b = random_pair(8, 6)
    repeats = torch.tensor([1, 2, 1, 3, 1, 1, 4, 1])
    repeated = torch.repeat_interleave(x, repeats, dim=0)
    equal = torch.full((len(repeated),), 1.0 / len(repeated), dtype=torch.float64)
    weighted = cost.scale(x, y, repeats / repeats.sum().double(), b)
    assert weighted == pytest.approx(cost.scale(repeated, y, equal, b), rel=1e-12)
    assert weighted > 0


@pytest.mark.parametrize("cost", [c for c in COSTS if type(c) is not SquaredEuclidean], ids=repr)
def test_scale_is_the_weighted_mean_cost(cost):
    x, y, a, b = random_pair()
    assert cost.scale(x, y, a, b) == pytest.approx(float(a @ cost.pairwise(x, y) @ b), rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 10.0, 1e6])
def test_scale_of_the_squared_euclidean_cost_is_blind_to_a_shift(shift):
    x, y, a, b = random_pair()
    centred = squared_distances(x - a @ x, y - b @ y)
    scale = SquaredEuclidean().scale(x + shift, y, a, b)
    assert scale == pytest.approx(float(a @ centred @ b), rel=1e-8)


def test_scale_does_not_depend_on_the_tiles():
    x, y, a, b = random_pair(700, 900)
    cost = PNorm(p=1.0)
    assert cost.scale(x, y, a, b) == pytest.approx(float(a @ cost.pairwise(x, y) @ b), rel=1e-12)


@pytest.mark.parametrize("cost", [*WITH_TWIST, Logistic(0.3)], ids=repr)
def test_twist_inverts_the_gradient(cost):
    x, y, _, _ = random_pair(8, 8)
    if isinstance(cost, SphereGeodesic):
        y = y / y.norm(dim=1, keepdim=True)  # the map of a sphere ends on the sphere
    points = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cost.pairwise(points, y).diagonal().sum(), points)
    torch.testing.assert_close(cost.twist(x, gradient), y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cost", WITH_TWIST, ids=repr)
def test_a_point_whose_weights_are_on_one_target_goes_there(cost):
    x, y, _, _ = random_pair(5, 4)
    if isinstance(cost, SphereGeodesic):
        y = y / y.norm(dim=1, keepdim=True)
    weights = torch.eye(4, dtype=torch.float64)[[0, 3, 1, 1, 2]]
    mapped = cost.barycenter(x, y, weights)
    torch.testing.assert_close(mapped, y[[0, 3, 1, 1, 2]], rtol=1e-6, atol=1e-6)
    stays = cost.barycenter(y, y, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(stays, y, rtol=1e-5, atol=1e-5)


def test_the_map_of_a_sphere_stays_on_the_sphere():
    x, y, _, _ = random_pair(6, 9)
    weights = torch.randn(6, 9, generator=torch.Generator().manual_seed(0)).double().softmax(1)
    mapped = SphereGeodesic().barycenter(5.0 * x, y, weights)
    torch.testing.assert_close(mapped.norm(dim=1), torch.ones(6, dtype=torch.float64))
    for length in (1e-200, 1e200):
        torch.testing.assert_close(SphereGeodesic().barycenter(length * x, y, weights), mapped)


@pytest.mark.parametrize("cost", [*WITHOUT_TWIST, Chebyshev()], ids=repr)
def test_a_cost_without_a_map_says_so_by_name(cost):
    x, y, _, _ = random_pair(4, 4)
    with pytest.raises(NotImplementedError, match=f"{type(cost).__name__} has no twist"):
        cost.twist(x, x)
    transport = SinkhornTransport(cost=cost).fit(x.numpy(), y.numpy())
    assert transport.coupling_.shape == (4, 4)
    with pytest.raises(NotImplementedError, match=type(cost).__name__):
        transport.transform(x.numpy())


def test_a_cost_without_pairwise_says_so():
    class Empty(Cost):
        pass

    with pytest.raises(NotImplementedError, match="Empty does not implement pairwise"):
        Empty().pairwise(torch.zeros(1, 1), torch.zeros(1, 1))


def test_a_users_cost_in_the_solver():
    x, y, a, b = random_pair()
    result = sinkhorn(x, y, a, b, cost=Chebyshev(), epsilon=0.2, tol=1e-10)
    cost = torch.from_numpy(cdist(x.numpy(), y.numpy(), "chebyshev"))
    plan = a[:, None] * b * torch.exp((result.f[:, None] + result.g - cost) / 0.2)
    torch.testing.assert_close(plan.sum(1), a, rtol=1e-8, atol=0)
    torch.testing.assert_close(plan.sum(0), b, rtol=1e-8, atol=1e-9)
    assert result.cost_value == pytest.approx(float((plan * cost).sum()), rel=1e-9)


def test_a_users_cost_in_the_estimator():
    x, y, _, _ = (part.numpy() for part in random_pair(60, 50))
    transport = SinkhornTransport(cost=Logistic(0.5), epsilon=0.01).fit(x, y)
    moved = transport.transform(x)
    assert np.abs(moved.mean(axis=0) - y.mean(axis=0)).max() < 0.1
    assert transport.get_params()["cost__stiffness"] == 0.5
    assert transport.set_params(cost__stiffness=2.0).cost.stiffness == 2.0
    assert transport.cost_.stiffness == 0.5


@pytest.mark.parametrize("cost", COSTS, ids=repr)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_costs_at_extreme_scales_are_finite(cost, scale):
    x, y, a, b = random_pair(6, 5)
    x, y = scale * x, scale * y
    assert torch.isfinite(cost.pairwise(x, y)).all()
    pair = cost.standardize(x, y, a, b)
    assert torch.isfinite(pair.x).all()
    assert 0 < cost.scale(x, y, a, b) < np.inf


def test_squared_distances_far_from_the_origin_keep_their_digits():
    x, y, _, _ = random_pair(6, 5)
    offset = 2.0**26  # a power of two, so that the moved points are the same up to 1e-8
    far = SquaredEuclidean().pairwise(x + offset, y + offset)
    torch.testing.assert_close(far, squared_distances(x, y), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cost", [*COSTS, Chebyshev(), Logistic(0.5)], ids=repr)
def test_paired_is_the_diagonal_of_pairwise(cost):
    x, y, _, _ = random_pair(9, 9)
    torch.testing.assert_close(cost.paired(x, y), cost.pairwise(x, y).diagonal())
    one = cost.paired(x[:1], y[:1])
    assert one.shape == (1,)
    torch.testing.assert_close(one, cost.paired(x, y)[:1])
    assert cost.paired(x[:0], y[:0]).shape == (0,)


@pytest.mark.parametrize("cost", [*COSTS, Chebyshev(), Logistic(0.5)], ids=repr)
def test_gradients_of_paired(cost):
    x, y, _, _ = random_pair(9, 9)
    x, y = x.requires_grad_(), y.requires_grad_()
    paired = torch.autograd.grad(cost.paired(x, y).sum(), (x, y))
    pairwise = torch.autograd.grad(cost.pairwise(x, y).diagonal().sum(), (x, y))
    for gradient, expected in zip(paired, pairwise, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-9)
        assert expected.abs().max() > 1e-2


@pytest.mark.parametrize("cost", COSTS, ids=repr)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_paired_at_extreme_scales_is_that_of_pairwise(cost, scale):
    x, y, _, _ = random_pair(6, 6)
    expected = cost.pairwise(scale * x, scale * y).diagonal()
    torch.testing.assert_close(cost.paired(scale * x, scale * y), expected, rtol=1e-9, atol=0.0)


def test_paired_squared_distances_far_from_the_origin_keep_their_digits():
    x, y, _, _ = random_pair(6, 6)
    offset = 2.0**26
    far = SquaredEuclidean().paired(x + offset, y + offset)
    torch.testing.assert_close(far, squared_distances(x, y).diagonal(), rtol=1e-6, atol=1e-6)


def test_paired_of_a_users_cost_asks_for_one_pair_at_a_time():
    shapes = []

    class Watched(Chebyshev):
        def pairwise(self, x, y):
            shapes.append((x.shape, y.shape))
            return super().pairwise(x, y)

    x, y, _, _ = random_pair(50, 50)
    Watched().paired(x, y)
    # One call for all pairs, which sees one of them: no square matrix is formed.
    assert shapes == [((1, 3), (1, 3))]


@pytest.mark.parametrize("cost", COSTS, ids=repr)
def test_paired_of_zero_rows_and_equal_points_is_finite_with_its_gradient(cost):
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    total = cost.paired(x, x.detach())
    (gradient,) = torch.autograd.grad(total.sum(), x)
    assert torch.isfinite(total).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("cost", COSTS, ids=repr)
def test_zero_rows_and_equal_points_are_finite_with_their_gradients(cost):
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    total = cost.pairwise(x, x.detach())
    (gradient,) = torch.autograd.grad(total.sum(), x)
    assert torch.isfinite(total).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    "cost, name",
    [
        (PNorm(p=0.5), "p"),
        (PNorm(p="2"), "p"),
        (PNorm(power=0.0), "power"),
        (SphereGeodesic(power=-1.0), "power"),
        (SphereGeodesic(margin=1.0), "margin"),
    ],
)
def test_bad_parameters(cost, name):
    x, y, _, _ = random_pair(5, 4)
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        cost.validate()
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        sinkhorn(x, y, cost=cost, epsilon=1.0)
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        SinkhornTransport(cost=cost).fit(x.numpy(), y.numpy())


@pytest.mark.parametrize("size", [1e-152, 1e-300, 1e150])
def test_twist_of_tiny_and_huge_gradients(size):
    cost, x = PNorm(p=1.5, power=1.7), torch.zeros(1, 2, dtype=torch.float64)
    direction = torch.tensor([[-1.0, 0.5]], dtype=torch.float64)
    moved = cost.twist(x, size * direction)
    # A homogeneous function: the gradient of degree q - 1 is inverted by one of degree 1 / (q - 1).
    expected = size ** (1.0 / 0.7) * cost.twist(x, direction)
    torch.testing.assert_close(moved, expected, rtol=1e-10, atol=0.0)
    assert (cost.twist(x, 0.0 * direction) == x).all()


def test_latitude_and_longitude_are_no_directions():
    rng = np.random.default_rng(0)
    degrees = [np.column_stack([rng.uniform(-60, 60, 30), rng.uniform(-90, 90, 30)]) for _ in "xy"]
    message = "rows of 2 features have lengths from .*Turn latitude and longitude into unit vectors"
    for scale_cost in ("mean", "median"):
        with pytest.warns(UserWarning, match=message):
            SinkhornTransport(cost="sphere", scale_cost=scale_cost).fit(*degrees)
    units = []
    for latitude, longitude in (np.deg2rad(rows).T for rows in degrees):
        flat = np.cos(latitude)
        units.append(
            np.column_stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)])
        )
    SinkhornTransport(cost="sphere").fit(*units)
    SinkhornTransport(cost="sphere").fit(*(1000.0 * rows for rows in units))
    # Embeddings of any length are often meant by their direction.
    SinkhornTransport(cost="sphere").fit(rng.normal(size=(30, 8)), rng.normal(size=(30, 8)))
