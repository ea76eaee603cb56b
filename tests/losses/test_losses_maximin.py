"""The losses of maximin training, what is added to them, and which gradients they have."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from skot.losses import (
    EnergyAugmentation,
    GradientPenalty,
    WeakKernel,
    WeakQuadratic,
    maximin_dual,
    maximin_map_loss,
    potential_values,
)
from skot.metrics import energy_distance
from skot.networks import ICNN, ConditionalMLP, MLPPotential, ResNetPotential
from skot.utils._sklearn import InvalidParameterError

N_FEATURES = 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def built(architecture):
    return architecture.build(N_FEATURES, generator=seeded(3)).double()


def cubic(y):
    return (y**3).sum(dim=1) / 3.0


POTENTIALS = {
    "mlp": built(MLPPotential((8, 8))),
    "icnn": built(ICNN((8, 8))),
    "by autograd": built(ResNetPotential((2, 2), channels=(4, 4))),
    "a function": cubic,
}


@pytest.fixture(params=POTENTIALS)
def potential(request):
    return POTENTIALS[request.param]


def test_values_of_the_potential(potential):
    y = normal(5, N_FEATURES)
    values = potential_values(potential, y, coefficient=0.3)
    torch.testing.assert_close(values, 0.15 * y.square().sum(dim=1) - potential(y))


# --- the map ---------------------------------------------------------------------------

COSTS = [WeakQuadratic(gamma=0.6), WeakQuadratic(gamma=0.0), WeakKernel(gamma=0.5)]


def plain_map_loss(cost, potential, x, images, coefficient):
    """E[C(x, T) - g(T)], by evaluating the potential."""
    points = images.reshape(-1, N_FEATURES)
    values = potential_values(potential, points, coefficient=coefficient)
    return cost.evaluate(x, images).mean() - values.mean()


@pytest.mark.parametrize("cost", COSTS, ids=repr)
@pytest.mark.parametrize("coefficient", [0.0, 0.4])
def test_the_gradient_of_the_map_loss_is_that_of_the_plain_formula(potential, cost, coefficient):
    transport_map = built(ConditionalMLP((8,)))
    x, z = normal(6, N_FEATURES), normal(6, 3, transport_map.n_noise_features, seed=1)
    parameters = list(transport_map.parameters())
    loss = maximin_map_loss(
        cost.evaluate, potential, x, transport_map(x, z), coefficient=coefficient
    )
    got = torch.autograd.grad(loss, parameters)
    plain = plain_map_loss(cost, potential, x, transport_map(x, z), coefficient)
    for gradient, expected in zip(got, torch.autograd.grad(plain, parameters), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)
        assert expected.abs().max() > 1e-6


def test_the_map_loss_has_no_gradient_in_the_potential():
    module = POTENTIALS["mlp"]
    x, images = normal(6, N_FEATURES), normal(6, 2, N_FEATURES, seed=1).requires_grad_()
    loss = maximin_map_loss(WeakQuadratic().evaluate, module, x, images)
    parameters = list(module.parameters())
    assert set(torch.autograd.grad(loss, parameters, allow_unused=True)) == {None}


def test_the_map_loss_by_the_optimal_potential_is_stationary_at_the_optimal_map():
    """x -> 2 x + 1, the gradient of psi*, where psi(y) = (|y - 1|^2) / 4."""

    def psi(y):
        return 0.25 * (y - 1.0).square().sum(dim=1)

    x, cost = normal(50, 2), WeakQuadratic(gamma=0.0).evaluate
    for factor, is_optimal in ((2.0, True), (1.9, False)):
        images = (factor * x + 1.0)[:, None].requires_grad_()
        loss = maximin_map_loss(cost, psi, x, images, coefficient=1.0)
        (gradient,) = torch.autograd.grad(loss, images)
        assert (float(gradient.abs().max()) < 1e-12) == is_optimal


# --- the potential ---------------------------------------------------------------------


def test_the_dual(potential):
    y, images = normal(5, N_FEATURES), normal(4, 3, N_FEATURES, seed=1)
    got = maximin_dual(potential, y, images, coefficient=0.3)
    expected = potential_values(potential, y, coefficient=0.3).mean()
    points = images.reshape(-1, N_FEATURES)
    expected = expected - potential_values(potential, points, coefficient=0.3).mean()
    torch.testing.assert_close(got, expected)
    same = maximin_dual(potential, y, y[:, None], coefficient=0.3)
    assert float(same.detach()) == pytest.approx(0.0, abs=1e-12)


def test_the_dual_evaluates_the_potential_once():
    calls = []

    def potential(y):
        calls.append(len(y))
        return y.sum(dim=1)

    maximin_dual(potential, torch.zeros(5, 2), torch.zeros(4, 3, 2))
    assert calls == [17]


# --- the augmentation ------------------------------------------------------------------


@pytest.mark.parametrize("n, m", [(40, 30), (10, 60)])
def test_augmentation_is_the_energy_distance_up_to_what_is_fixed(n, m):
    images, y = normal(n, 3), 0.5 * normal(m, 3, seed=1) + 1.0
    own, fixed = cdist(images, images).mean(), cdist(y, y).mean()
    # The metric is a root, and averages over all pairs, those of a row with itself included.
    squared = energy_distance(images.numpy(), y.numpy()) ** 2
    expected = squared + fixed - own / (n - 1)
    got = EnergyAugmentation(weight=0.7).evaluate(images, y)
    assert float(got) == pytest.approx(0.7 * expected, rel=1e-9)


def small_batches(n_batches=4000, size=4):
    return normal(n_batches, size, 1), normal(n_batches, size, 1, seed=1)


def test_augmentation_is_unbiased():
    """Of standard normals on the line: 2 E|X - Y| - E|X - X'| = 2 / sqrt(pi)."""
    augmentation = EnergyAugmentation()
    values = [float(augmentation.evaluate(*pair)) for pair in zip(*small_batches(), strict=True)]
    standard_error = np.std(values) / math.sqrt(len(values))
    assert abs(np.mean(values) - 2.0 / math.sqrt(math.pi)) < 4.0 * standard_error
    # A mean over all pairs would be too large by a quarter of E|X - X'|.
    assert standard_error < 0.1 * (0.25 * 2.0 / math.sqrt(math.pi))


@pytest.mark.parametrize("size, is_law_of_the_target", [(1.0, True), (1.4, False), (0.7, False)])
def test_augmentation_pulls_nowhere_where_images_have_the_law_of_the_target(
    size, is_law_of_the_target
):
    augmentation, slopes = EnergyAugmentation(), []
    for z, y in zip(*small_batches(2000), strict=True):
        parameters = torch.tensor([0.0, size], dtype=torch.float64, requires_grad=True)
        loss = augmentation.evaluate(parameters[0] + parameters[1] * z, y)
        slopes.append(torch.autograd.grad(loss, parameters)[0].numpy())
    in_errors = np.mean(slopes, axis=0) / (np.std(slopes, axis=0) / math.sqrt(len(slopes)))
    assert abs(in_errors[0]) < 4.0
    if is_law_of_the_target:
        assert abs(in_errors[1]) < 4.0
    else:
        assert np.sign(size - 1.0) * in_errors[1] > 6.0


def test_augmentation_looks_at_128_rows():
    images, y = normal(300, 2), normal(400, 2, seed=1)
    augmentation = EnergyAugmentation()
    assert torch.equal(augmentation.evaluate(images, y), augmentation.evaluate(images[:128], y))
    assert torch.equal(augmentation.evaluate(images, y), augmentation.evaluate(images, y[:128]))
    fewer = augmentation.evaluate(images[:127], y)
    assert not torch.equal(augmentation.evaluate(images, y), fewer)


def test_augmentation_of_images_that_coincide():
    for n in (1, 2, 40):
        images = torch.ones(n, 2, requires_grad=True)
        loss = EnergyAugmentation().evaluate(images, torch.ones(5, 2))
        assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
        assert torch.isfinite(torch.autograd.grad(loss, images)[0]).all()


# --- the penalty -----------------------------------------------------------------------


def test_penalty_of_a_linear_potential():
    slope = torch.tensor([1.0, -2.0, 2.0], requires_grad=True)
    penalty = GradientPenalty(weight=0.5).evaluate(lambda y: y @ slope, torch.zeros(7, 3))
    assert float(penalty.detach()) == pytest.approx(0.5 * 9.0)
    (gradient,) = torch.autograd.grad(penalty, slope)
    torch.testing.assert_close(gradient, slope.detach())


def test_penalty_is_the_mean_square_of_the_slope(potential):
    y = normal(5, N_FEATURES).requires_grad_()
    (slopes,) = torch.autograd.grad(potential(y).sum(), y)
    expected = 0.2 * slopes.square().sum(dim=1).mean()
    penalty = GradientPenalty(weight=0.2).evaluate(potential, y.detach())
    torch.testing.assert_close(penalty.detach(), expected)
    assert float(GradientPenalty(weight=0.0).evaluate(potential, y.detach()).detach()) == 0.0
    if isinstance(potential, torch.nn.Module):
        gradients = torch.autograd.grad(penalty, list(potential.parameters()), allow_unused=True)
        assert max(g.abs().max() for g in gradients if g is not None) > 1e-3


@pytest.mark.parametrize("kind", [EnergyAugmentation, GradientPenalty])
def test_weights_are_not_negative(kind):
    with pytest.raises(InvalidParameterError, match="The 'weight' parameter"):
        kind(weight=-1.0).validate()
