"""Lagrangians: values, what plugs into them, and the check of where they are defined."""

import pickle
import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone

from skot.base import check_component
from skot.costs import (
    BoxObstacle,
    CircleMetric,
    ConstantMetric,
    HarmonicWell,
    Kinetic,
    KineticPotential,
    Lagrangian,
    Maze,
    PowerKinetic,
    RiemannianKinetic,
    SlitObstacle,
    check_lagrangian,
)


def valley(x):
    """Potential of a user."""
    return -(x[..., 0] ** 2)


class Tide:
    """Potential of a user that depends on time."""

    time_dependent = True

    def __call__(self, x, t):
        return -t * (x * x).sum(-1)


class Headwind(Lagrangian):
    """Lagrangian of a user."""

    def __init__(self, wind=1.0):
        self.wind = wind

    def __call__(self, x, v, t):
        return 0.5 * (v[..., 0] + self.wind * t) ** 2 + 0.5 * (v[..., 1:] ** 2).sum(-1)


def rows(n=50, n_features=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": dtype}
    return (
        torch.randn(n, n_features, **draw),
        torch.randn(n, n_features, **draw),
        torch.rand(n, **draw),
    )


LAGRANGIANS = [
    Kinetic(),
    PowerKinetic(p=3.0, norm=1.0),
    KineticPotential(BoxObstacle()),
    KineticPotential(valley),
    KineticPotential(Tide()),
    RiemannianKinetic(CircleMetric()),
    RiemannianKinetic(ConstantMetric(((2.0, 1.0), (1.0, 2.0)))),
    Headwind(),
]


def test_values():
    x, v, t = rows()
    half = 0.5 * (v.numpy() ** 2).sum(1)
    x_, t_ = x.numpy(), t.numpy()
    assert_allclose(Kinetic()(x, v, t), half)
    well = KineticPotential(HarmonicWell(strength=2.0))
    assert_allclose(well(x, v, t), half + 2.0 * (x_**2).sum(1))
    assert_allclose(KineticPotential(valley)(x, v, t), half + x_[:, 0] ** 2)
    assert_allclose(KineticPotential(Tide())(x, v, t), half + t_ * (x_**2).sum(1))
    matrix = np.array([[2.0, 1.0], [1.0, 2.0]])
    constant = RiemannianKinetic(ConstantMetric(tuple(map(tuple, matrix))))
    assert_allclose(constant(x, v, t), 0.5 * np.einsum("ni,ij,nj->n", v, matrix, v))


def without_address(lagrangian):
    """Name a case the same in every process that collects it."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(lagrangian))


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, 3.0, np.inf])
def test_powers_of_norms(p, norm):
    x, v, t = rows(n_features=3)
    expected = np.array([np.linalg.norm(row, ord=norm) ** p / p for row in v.numpy()])
    lagrangian = PowerKinetic(p=p, norm=norm)
    assert_allclose(lagrangian(x, v, t), expected, rtol=1e-12)
    lagrangian.validate()


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, 3.0, np.inf])
def test_gradient_of_powers_is_finite_at_rest(p, norm):
    v = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], requires_grad=True)
    value = PowerKinetic(p=p, norm=norm)(torch.zeros(3, 2), v, torch.zeros(3))
    (gradient,) = torch.autograd.grad(value.sum(), v)
    assert torch.isfinite(gradient).all()
    if p > 1:
        assert_allclose(gradient[0], 0.0)


@pytest.mark.parametrize("lagrangian", LAGRANGIANS, ids=without_address)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_leading_dimensions_and_times_that_broadcast(lagrangian, dtype):
    x, v, t = rows(12, dtype=dtype)
    flat = lagrangian(x, v, t)
    assert flat.shape == (12,)
    assert flat.dtype == dtype
    shaped = lagrangian(x.reshape(3, 4, 2), v.reshape(3, 4, 2), t.reshape(3, 4))
    torch.testing.assert_close(shaped, flat.reshape(3, 4))
    same = lagrangian(x.reshape(3, 4, 2), v.reshape(3, 4, 2), t[:4])
    again = lagrangian(x.reshape(3, 4, 2), v.reshape(3, 4, 2), t[:4].expand(3, 4))
    torch.testing.assert_close(same, again)


@pytest.mark.parametrize("lagrangian", LAGRANGIANS, ids=without_address)
def test_copies(lagrangian):
    x, v, t = rows()
    for copied in (
        clone(lagrangian),
        pickle.loads(pickle.dumps(lagrangian)),
        check_component(lagrangian, default=Kinetic, kind="__call__", name="lagrangian"),
    ):
        torch.testing.assert_close(copied(x, v, t), lagrangian(x, v, t))


def test_nested_parameters():
    lagrangian = KineticPotential(SlitObstacle())
    assert lagrangian.get_params()["potential__strength"] == 361.0
    lagrangian.set_params(potential__strength=7.0, potential__sharpness=0.5)
    assert lagrangian.potential.get_params() == {"strength": 7.0, "sharpness": 0.5}
    copied = clone(lagrangian).set_params(potential=Maze())
    assert copied.get_params()["potential__strength"] == 3610.0
    assert lagrangian.potential.strength == 7.0
    metric = RiemannianKinetic(CircleMetric()).set_params(metric__cheap=0.1)
    assert metric.metric.cheap == 0.1
    with pytest.raises(ValueError, match="strength"):
        clone(lagrangian).set_params(potential__strength=-1.0).validate()
    with pytest.raises(ValueError, match="cheap"):
        clone(metric).set_params(metric__cheap=0.0).validate()


def test_straight_geodesics():
    straight = [Kinetic(), PowerKinetic(3.0), RiemannianKinetic(ConstantMetric(((1.0,),)))]
    bent = [KineticPotential(valley), RiemannianKinetic(CircleMetric()), Headwind()]
    assert all(lagrangian.has_straight_geodesics for lagrangian in straight)
    assert not any(lagrangian.has_straight_geodesics for lagrangian in bent)


def test_annealing_reaches_the_potential():
    lagrangian = KineticPotential(BoxObstacle(strength=2.0, sharpness=0.1))
    weak = lagrangian.annealed(0.25, 3.0)
    assert weak.potential.strength == 0.5
    assert weak.potential.sharpness == pytest.approx(0.3)
    assert lagrangian.potential.strength == 2.0
    x, v, t = rows()
    torch.testing.assert_close(lagrangian.annealed(0.0, 1.0)(x, v, t), Kinetic()(x, v, t))
    wells = KineticPotential(valley), KineticPotential(HarmonicWell())
    for other in (Kinetic(), *wells, RiemannianKinetic(CircleMetric())):
        assert other.annealed(0.5, 2.0) is other


@pytest.mark.parametrize(
    ("lagrangian", "message"),
    [
        (KineticPotential(None), "'potential' parameter of KineticPotential must be a callable"),
        (KineticPotential(BoxObstacle), r"not a class. Got BoxObstacle; pass BoxObstacle\(\)"),
        (RiemannianKinetic(3), "'metric' parameter of RiemannianKinetic must be a callable"),
        (RiemannianKinetic(CircleMetric), r"not a class. Got CircleMetric; pass CircleMetric\(\)"),
        (PowerKinetic(p=0.5), "'p' parameter"),
        (PowerKinetic(norm=0.5), "'norm' parameter"),
    ],
)
def test_parameters_are_validated(lagrangian, message):
    with pytest.raises(ValueError, match=message):
        lagrangian.validate()


@pytest.mark.parametrize("lagrangian", LAGRANGIANS, ids=without_address)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_good_lagrangians_pass_the_check(lagrangian, dtype):
    x, v, t = rows(12, dtype=dtype)
    before = x.clone(), v.clone(), t.clone()
    check_lagrangian(lagrangian, x, v, t)
    with torch.no_grad():
        check_lagrangian(lagrangian, x.reshape(3, 4, 2), v.reshape(3, 4, 2), t[:4])
    for tensor, old in zip((x, v, t), before, strict=True):
        torch.testing.assert_close(tensor, old)
        assert not tensor.requires_grad


def logarithmic(x):
    return torch.log(x[..., 0])


class Late:
    """Not finite after a time."""

    time_dependent = True

    def __call__(self, x, t):
        return -torch.sqrt(0.5 - t) * x[..., 0]


def sqrt_at_rest(x, v, t):
    return torch.sqrt((v * v).sum(-1)) + (v * v).sum(-1)


X = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-0.5, 0.25], [1.0, 1.0]], dtype=torch.float64)
V = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
T = torch.tensor([0.0, 0.75, 0.25, 0.25], dtype=torch.float64)


@pytest.mark.parametrize(
    ("lagrangian", "message"),
    [
        (
            KineticPotential(logarithmic),
            r"The potential logarithmic returned nan at row 2, x = \[-0\.5, 0\.25\], t = 0\.25\.",
        ),
        (
            KineticPotential(Late()),
            r"The potential Late returned nan at row 1, x = \[2\.0, 0\.0\], t = 0\.75",
        ),
        (
            lambda x, v, t: 1.0 / v[..., 0],
            r"The Lagrangian <lambda> returned inf at row 2.*v = \[0\.0, 0\.0\]",
        ),
        (
            sqrt_at_rest,
            r"gradient of the Lagrangian sqrt_at_rest with respect to v is not finite at row 2",
        ),
        (
            KineticPotential(lambda x: -torch.sqrt(x[..., 1])),
            r"gradient of the Lagrangian KineticPotential with respect to x is not finite at row 0",
        ),
        (lambda x, v, t: v, r"one value for each point, shape \(4,\).*Got shape \(4, 2\)"),
        (KineticPotential(lambda x: x), r"The potential <lambda> must return one value.*\(4, 2\)"),
        (lambda x, v, t: 1.0, "must return a tensor. Got float"),
        (lambda x, v, t: v[..., 0].detach(), "has no gradient with respect to x and v"),
    ],
)
def test_bad_places_are_named(lagrangian, message):
    with pytest.raises(ValueError, match=message):
        check_lagrangian(lagrangian, X, V, T)


def test_place_in_a_batch_of_curves():
    with pytest.raises(ValueError, match=r"at row \(1, 0\), x = \[-0\.5, 0\.25\]"):
        check_lagrangian(
            KineticPotential(logarithmic), X.reshape(2, 2, 2), V.reshape(2, 2, 2), T[:2]
        )


def test_base_class_is_abstract():
    with pytest.raises(NotImplementedError, match="Lagrangian does not implement"):
        Lagrangian()(X, V, T)
