"""Geodesics against closed forms."""

import pytest
import torch

from skot.costs import (
    BoxObstacle,
    CircleMetric,
    ConstantMetric,
    HarmonicWell,
    HyperbolicHalfPlane,
    Kinetic,
    KineticPotential,
    Lagrangian,
    PowerKinetic,
    RiemannianKinetic,
    StereographicSphere,
)
from skot.numerics.action import curve
from skot.numerics.splines import path_basis
from skot.solvers.geodesic import GeodesicSolver, LBFGSGeodesic

BASIS = path_basis(20)
MATRIX = ((2.0, 0.6), (0.6, 0.5))


class Roundabout(Lagrangian):
    """Wraps a Lagrangian, so that nobody knows that its geodesics are straight."""

    def __init__(self, lagrangian=None):
        self.lagrangian = lagrangian

    def __call__(self, x, v, t):
        return self.lagrangian(x, v, t)


def pairs(n=40, d=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(2))


def half_plane_pairs():
    x, y = pairs()
    lift = torch.tensor([1.0, 0.2], dtype=torch.float64)
    return (lift * rows.abs() + torch.tensor([0.0, 0.6]) for rows in (x, y))


def euclidean(x, y):
    return 0.5 * (x - y).square().sum(1)


def constant(x, y):
    matrix = torch.tensor(MATRIX, dtype=x.dtype)
    return 0.5 * (((x - y) @ matrix) * (x - y)).sum(1)


def cubic(x, y):
    return (x - y).norm(dim=1) ** 3 / 3


def well(x, y, strength=1.5):
    k = torch.tensor((2 * strength) ** 0.5, dtype=x.dtype)
    squares = (x.square() + y.square()).sum(1) * torch.cosh(k)
    return k / (2 * torch.sinh(k)) * (squares - 2 * (x * y).sum(1))


def half_plane(x, y):
    ratio = (x - y).square().sum(1) / (2 * x[:, 1] * y[:, 1])
    return 0.5 * torch.arccosh(1 + ratio) ** 2


def sphere(x, y):
    def lifted(p):
        squared = p.square().sum(1, keepdim=True)
        return torch.cat([2 * p, squared - 1], dim=1) / (1 + squared)

    return 0.5 * torch.arccos((lifted(x) * lifted(y)).sum(1).clamp(-1, 1)) ** 2


CLOSED_FORMS = {
    "euclidean": (Roundabout(Kinetic()), euclidean),
    "constant": (Roundabout(RiemannianKinetic(ConstantMetric(MATRIX))), constant),
    "cubic": (Roundabout(PowerKinetic(p=3.0)), cubic),
    "well": (KineticPotential(HarmonicWell(1.5)), well),
    "half plane": (RiemannianKinetic(HyperbolicHalfPlane()), half_plane),
    "sphere": (RiemannianKinetic(StereographicSphere()), sphere),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_costs_are_those_of_the_closed_form(name):
    lagrangian, closed_form = CLOSED_FORMS[name]
    x, y = half_plane_pairs() if name == "half plane" else pairs()
    result = LBFGSGeodesic(n_starts=3, tol=1e-4).solve(lagrangian, x, y, BASIS)
    assert result.converged.all()
    torch.testing.assert_close(result.cost, closed_form(x, y), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("d", [1, 3, 5])
def test_any_dimension(d):
    x, y = pairs(d=d)
    result = LBFGSGeodesic().solve(KineticPotential(HarmonicWell(1.5)), x, y, BASIS)
    torch.testing.assert_close(result.cost, well(x, y), rtol=1e-2, atol=1e-4)


def test_geodesics_of_the_half_plane_are_circles_about_its_edge():
    x, y = half_plane_pairs()
    result = LBFGSGeodesic(tol=1e-5).solve(RiemannianKinetic(HyperbolicHalfPlane()), x, y, BASIS)
    times = torch.linspace(0, 1, 20, dtype=torch.float64)
    paths = curve(x, y, result.path, BASIS.at(times))[0]
    far = (x[:, 0] - y[:, 0]).abs() > 0.3
    centre = (y.square().sum(1) - x.square().sum(1)) / (2 * (y[:, 0] - x[:, 0]))
    from_centre = paths[far] - torch.stack([centre, torch.zeros_like(centre)], 1)[far][:, None]
    radius = from_centre.norm(dim=2)
    assert (radius / radius[:, :1] - 1).abs().max() < 0.01


def test_several_starts_find_the_way_around_a_box():
    lagrangian = KineticPotential(BoxObstacle())
    ends = torch.tensor([[-1.1, 0.0], [1.1, 0.0]], dtype=torch.float64)
    basis = path_basis(30)
    straight = LBFGSGeodesic(n_starts=1).solve(lagrangian, ends[:1], ends[1:], basis)
    around = LBFGSGeodesic(n_starts=3).solve(lagrangian, ends[:1], ends[1:], basis)
    # The values of an independent solver.
    assert float(straight.cost) > 3.7
    assert float(around.cost) == pytest.approx(3.379, rel=0.02)


def test_the_suggestion_counts():
    lagrangian = KineticPotential(BoxObstacle())
    ends = torch.tensor([[-1.1, 0.0], [1.1, 0.0]], dtype=torch.float64)
    basis = path_basis(30)
    around = LBFGSGeodesic(n_starts=3).solve(lagrangian, ends[:1], ends[1:], basis)
    again = LBFGSGeodesic(n_starts=0).solve(lagrangian, ends[:1], ends[1:], basis, around.path)
    assert float(again.cost) == pytest.approx(float(around.cost), rel=1e-3)


def test_circle_metric_has_its_closed_form():
    angle = torch.tensor([0.5, 2.0], dtype=torch.float64)
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    y = 1.1 * torch.stack([angle.cos(), angle.sin()], 1)
    result = LBFGSGeodesic(max_iter=2000, tol=1e-6).solve(
        RiemannianKinetic(CircleMetric()), x, y, path_basis(30)
    )
    expected = (1.0 + 1.21 - 2.2 * torch.cos(1e-3**0.5 * angle)) / 2
    torch.testing.assert_close(result.cost, expected, rtol=0.05, atol=0.0)


def test_rows_do_not_depend_on_each_other():
    x, y = pairs(6)
    solver = LBFGSGeodesic(tol=1e-6)
    lagrangian = RiemannianKinetic(StereographicSphere())
    together = solver.solve(lagrangian, x, y, BASIS).cost
    alone = torch.cat(
        [solver.solve(lagrangian, x[i : i + 1], y[i : i + 1], BASIS).cost for i in range(6)]
    )
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)


def test_results_carry_no_graph_and_say_what_did_not_converge():
    x, y = pairs(3)
    result = LBFGSGeodesic(max_iter=1, tol=1e-12).solve(
        RiemannianKinetic(StereographicSphere()), x.requires_grad_(), y, BASIS
    )
    assert not result.cost.requires_grad
    assert not result.converged.any()


def test_a_lagrangian_of_time():
    def late(x, v, t):  # slow at first: dear velocities early
        return (2.0 - t) * v.square().sum(-1) / 2

    x, y = pairs(3)
    result = LBFGSGeodesic(tol=1e-5).solve(late, x, y, BASIS)
    # min int w v^2 / 2 with int v = 1 is 1 / (2 int 1 / w), and int_0^1 1 / (2 - t) = log 2.
    expected = euclidean(x, y) / torch.log(torch.tensor(2.0, dtype=torch.float64))
    torch.testing.assert_close(result.cost, expected, rtol=1e-4, atol=1e-6)


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="n_starts"):
        LBFGSGeodesic(n_starts=-1).validate()
    assert issubclass(LBFGSGeodesic, GeodesicSolver)
