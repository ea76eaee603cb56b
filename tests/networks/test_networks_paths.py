"""Networks of least-action transport: paths, and networks that start from a solution."""

import pytest
import torch

from skot.networks import (
    ICNN,
    MLPMap,
    MLPPotential,
    SplinePath,
    StartedMap,
    StartedPotential,
)
from skot.numerics.value_and_gradient import value_and_gradient


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n=6, d=3, seed=1):
    return torch.randn(n, d, generator=generator(seed))


def symmetric(d=3):
    matrix = torch.randn(d, d, generator=generator(2))
    return 0.5 * (matrix + matrix.T)


def test_paths_start_nearly_straight_and_differ_from_row_to_row():
    path = SplinePath(5, hidden_layer_sizes=(32,)).build(3, generator=generator())
    z = path(rows(), rows(seed=3))
    assert z.shape == (6, 3, 5)
    assert 0.0 < z.abs().max() < 0.1
    assert z.std(0).min() > 0.0


def test_paths_depend_on_the_order_of_their_ends():
    path = SplinePath(2).build(3, generator=generator())
    assert not torch.allclose(path(rows(), rows(seed=3)), path(rows(seed=3), rows()))


def test_a_basis_has_the_knots_and_nodes_asked_for():
    basis = SplinePath(7, n_nodes=3).basis()
    assert basis.n_knots == 7
    assert len(basis.times) == 8 * 3


def test_paths_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    one, other = (SplinePath(2).build(2, generator=generator()) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one.output.weight, other.output.weight)


@pytest.mark.parametrize("params", [{"n_knots": 0}, {"n_nodes": 0}, {"activation": "relu"},
                                    {"hidden_layer_sizes": ()}])  # fmt: skip
def test_bad_parameters(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        SplinePath(**params).build(2, generator=generator())


@pytest.mark.parametrize("architecture", [MLPPotential((16, 16)), ICNN((16, 16))])
def test_potentials_start_near_the_quadratic_function(architecture):
    hessian, slope = symmetric(), rows(1)[0]
    learned = architecture.build(3, generator=generator())
    potential = StartedPotential(learned, hessian, slope)
    x = rows()
    start = 0.5 * ((x @ hessian) * x).sum(1) + x @ slope
    expected = start + 0.5 * x.square().sum(1) - learned(x)
    torch.testing.assert_close(potential(x), expected)


def test_gradients_by_hand_are_those_of_autograd():
    learned = MLPPotential((16, 16)).build(3, generator=generator())
    potential = StartedPotential(learned, symmetric(), rows(1)[0])
    x = rows().requires_grad_()
    values, gradients = potential.value_and_gradient(x)
    (expected,) = torch.autograd.grad(potential(x).sum(), x)
    torch.testing.assert_close(gradients, expected)
    torch.testing.assert_close(values, potential(x))
    with torch.no_grad():
        assert not value_and_gradient(potential, rows())[1].requires_grad


def test_potentials_project_what_they_hold():
    learned = ICNN((16, 16)).build(3, generator=generator())
    for parameter in learned.parameters():
        parameter.data.sub_(1.0)
    StartedPotential(learned, symmetric(), rows(1)[0]).project_()
    twin = ICNN((16, 16)).build(3, generator=generator())
    for parameter in twin.parameters():
        parameter.data.sub_(1.0)
    twin.project_()
    for one, other in zip(learned.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)


def test_maps_start_near_the_affine_map():
    matrix, shift = symmetric(), rows(1)[0]
    learned = MLPMap((16, 16)).build(3, generator=generator())
    started = StartedMap(learned, matrix, shift)
    x = rows()
    torch.testing.assert_close(started(x), learned(x @ matrix + shift))
    assert (started(x) - (x @ matrix + shift)).abs().max() < 0.5


def test_modules_move_to_another_precision_whole():
    learned = MLPMap((8,)).build(3, generator=generator())
    started = StartedMap(learned, symmetric(), rows(1)[0]).double()
    assert started(rows().double()).dtype == torch.float64
    path = SplinePath(2).build(3, generator=generator()).double()
    assert path(rows().double(), rows().double()).dtype == torch.float64
