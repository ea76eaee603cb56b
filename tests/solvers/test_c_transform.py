"""c-transforms against closed forms."""

import pytest
import torch

from skot.costs import ConstantMetric, HarmonicWell, Kinetic, KineticPotential, RiemannianKinetic
from skot.numerics.splines import path_basis
from skot.solvers.c_transform import AdamCTransform, CTransformSolver, LBFGSCTransform

BASIS = path_basis(10)
SOLVERS = [LBFGSCTransform(tol=1e-4), AdamCTransform(lr=0.1, max_iter=1000, tol=1e-3)]
each_solver = pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)


def concave(y):
    return -0.5 * (y - 1.0).square().sum(1)


def problem(n=20, d=2, n_knots=10):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, torch.zeros_like(x), torch.zeros(n, d, n_knots, dtype=torch.float64)


@each_solver
def test_quadratic_potentials_under_kinetic_energy(solver):
    x, y, z = problem()
    result = solver.solve(Kinetic(), concave, x, y, z, BASIS)
    assert result.converged.all()
    torch.testing.assert_close(result.argument, 0.5 * (x + 1.0), rtol=0, atol=5e-3)
    expected = 0.25 * (x - 1.0).square().sum(1)
    torch.testing.assert_close(result.value, expected, rtol=0, atol=1e-3)
    assert result.path.abs().max() < 5e-3


@each_solver
def test_quadratic_potentials_in_a_well(solver):
    x, y, z = problem()
    k = torch.tensor(2.0, dtype=torch.float64)  # strength 2
    result = solver.solve(KineticPotential(HarmonicWell(2.0)), concave, x, y, z, BASIS)
    # The gradient of the cost in y, k (y cosh k - x) / sinh k, is that of the potential.
    slope = k / torch.sinh(k)
    expected = (1.0 + slope * x) / (1.0 + slope * torch.cosh(k))
    torch.testing.assert_close(result.argument, expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("matrix", [((2.0, 0.6), (0.6, 0.5))])
def test_constant_metrics_in_both_directions(matrix):
    metric = torch.tensor(matrix, dtype=torch.float64)
    x, y, z = problem()
    lagrangian = RiemannianKinetic(ConstantMetric(matrix))
    for backward in (False, True):
        result = LBFGSCTransform(tol=1e-6).solve(
            lagrangian, concave, x, y, z, BASIS, backward=backward
        )
        identity = torch.eye(2, dtype=torch.float64)
        expected = torch.linalg.solve(metric + identity, (x @ metric + 1.0).T).T
        torch.testing.assert_close(result.argument, expected, rtol=0, atol=1e-4)


def test_time_runs_backwards_for_the_other_direction():
    def late(x, v, t):
        return (1.0 + t) * v.square().sum(-1) / 2 + t * x.square().sum(-1)

    x, y, z = problem()

    def reversed_in_time(x, v, t):
        return late(x, v, 1.0 - t)

    one = LBFGSCTransform(tol=1e-6).solve(late, concave, x, y, z, BASIS, backward=True)
    other = LBFGSCTransform(tol=1e-6).solve(reversed_in_time, concave, x, y, z, BASIS)
    torch.testing.assert_close(one.argument, other.argument, rtol=0, atol=1e-4)
    torch.testing.assert_close(one.value, other.value, rtol=0, atol=1e-4)


def test_bounds_are_kept():
    x, y, z = problem()
    bounds = torch.zeros(2, dtype=torch.float64), torch.full((2,), 0.6, dtype=torch.float64)

    def steep(y):
        return 100.0 * y.sum(1)

    result = LBFGSCTransform().solve(Kinetic(), steep, x, y, z, BASIS, bounds=bounds)
    torch.testing.assert_close(result.argument, bounds[1].expand(20, 2))


@each_solver
def test_proximity_keeps_what_the_potential_leaves_open(solver):
    x, y, z = problem()

    def flat(y):  # cancels the cost of the second coordinate for x = 0
        return 0.5 * y[:, 1] ** 2 - 0.5 * y[:, 0] ** 2

    start = torch.full_like(x, 0.7)
    near = solver.__class__(**{**solver.get_params(), "proximity": 1.0})
    result = near.solve(Kinetic(), flat, torch.zeros_like(x), start, z, BASIS)
    torch.testing.assert_close(result.argument[:, 1], start[:, 1], rtol=0, atol=2e-3)
    # The value is that of the c-transform, without what proximity adds.
    moved = result.argument
    expected = 0.5 * moved.square().sum(1) - flat(moved) + 0.5 * result.path.square().sum((1, 2))
    torch.testing.assert_close(result.value, expected)


def test_starts_are_not_written_to():
    x, y, z = problem()
    copies = [tensor.clone() for tensor in (x, y, z)]
    LBFGSCTransform().solve(Kinetic(), concave, x, y, z, BASIS)
    for tensor, copy in zip((x, y, z), copies, strict=True):
        assert torch.equal(tensor, copy)


def test_no_knots():
    x, y, _ = problem()
    z = torch.zeros(20, 2, 0, dtype=torch.float64)
    result = LBFGSCTransform(tol=1e-6).solve(Kinetic(), concave, x, y, z, path_basis(0))
    torch.testing.assert_close(result.argument, 0.5 * (x + 1.0), rtol=0, atol=1e-5)
    assert result.path.shape == (20, 2, 0)


@pytest.mark.parametrize("proximity", [0.0, 10.0])
def test_values_are_those_of_what_is_returned(proximity):
    x, _, z = problem()
    bounds = torch.full((2,), -1.0, dtype=torch.float64), torch.ones(2, dtype=torch.float64)

    def steep(y):
        return 3.0 * y.sum(1)

    start = torch.full_like(x, 3.0)
    solver = LBFGSCTransform(proximity=proximity)
    result = solver.solve(Kinetic(), steep, x, start, z, BASIS, bounds=bounds)
    kinetic = 0.5 * (result.argument - x).square().sum(1) + 0.5 * result.path.square().sum((1, 2))
    torch.testing.assert_close(result.value, kinetic - steep(result.argument))


class FixedSteps(CTransformSolver):
    """A solver of a third party: plain descent."""

    def __init__(self, n_steps=200):
        self.n_steps = n_steps

    def minimize(self, objective, u_init):
        from skot.numerics.lbfgs import RowMinima

        u, rows = u_init, torch.arange(len(u_init))
        for _ in range(self.n_steps):
            values, gradients = objective(u, rows)
            u = u - 0.2 * gradients
        norm = gradients.square().mean(1).sqrt()
        return RowMinima(u, values, norm, rows, norm < 1e-3)


def test_a_solver_of_ones_own():
    x, y, z = problem()
    result = FixedSteps().solve(Kinetic(), concave, x, y, z, BASIS)
    torch.testing.assert_close(result.argument, 0.5 * (x + 1.0), rtol=0, atol=1e-3)
