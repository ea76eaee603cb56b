import math

import pytest
import torch
import torch.nn.functional as F

from skot.networks._activations import ACTIVATIONS, CONVEX_ACTIVATIONS

REFERENCES = {
    "softplus": F.softplus,
    "celu": F.celu,
    "elu": F.elu,
    "silu": F.silu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.2),
}


def grid(dtype=torch.float64):
    # Half a step off zero: there the derivative of a leaky ReLU jumps.
    return torch.linspace(-40, 40, 4001, dtype=dtype)[1:].reshape(8, -1) - 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_derivative(name, recorded, dtype):
    activation, tol = ACTIVATIONS[name], 1e-6 if dtype == torch.float32 else 1e-13
    z = grid(dtype).requires_grad_()
    expected = REFERENCES[name](z)
    (slope,) = torch.autograd.grad(expected.sum(), z)
    gradient = torch.randn(z.shape[1], generator=torch.Generator().manual_seed(0), dtype=dtype)
    with torch.set_grad_enabled(recorded):
        value, saved = activation.evaluate(z.detach().clone())
        pulled = activation.pull_back(gradient, saved)
        torch.testing.assert_close(activation.value(z.detach()), expected.detach())
        consumed = activation.consume(z.detach().clone())
        torch.testing.assert_close(consumed, expected.detach())
    torch.testing.assert_close(value, expected.detach(), rtol=tol, atol=tol)
    torch.testing.assert_close(pulled, gradient * slope, rtol=10 * tol, atol=tol)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_second_derivative(name):
    activation = ACTIVATIONS[name]
    z, gradient = grid().requires_grad_(), grid().flip(0).requires_grad_()
    ours = activation.pull_back(gradient, activation.evaluate(z)[1])
    (slope,) = torch.autograd.grad(REFERENCES[name](z).sum(), z, create_graph=True)
    theirs = gradient * slope
    for one, other in zip(
        torch.autograd.grad(ours.sin().sum(), (z, gradient), materialize_grads=True),
        torch.autograd.grad(theirs.sin().sum(), (z, gradient), materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_moments_under_a_standard_normal(name):
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    value = ACTIVATIONS[name].value(z)
    assert ACTIVATIONS[name].mean == pytest.approx(float(value @ density), abs=1e-6)
    assert ACTIVATIONS[name].mean_square == pytest.approx(float(value**2 @ density), abs=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_which_are_convex_and_non_decreasing(name):
    value = ACTIVATIONS[name].value(torch.linspace(-10, 10, 1000, dtype=torch.float64))
    first, second = value.diff(), value.diff().diff()
    convex = bool((first >= 0).all() and (second >= -1e-12).all())
    assert convex is (name in CONVEX_ACTIVATIONS)
