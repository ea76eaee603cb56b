import pytest
import torch

from skot.numerics.value_and_gradient import value_and_gradient


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


class Softplus(torch.nn.Module):
    """f(x) = sum_k softplus(w_k'x + b_k) + |x|^2 / 2."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(normal(3, 5))
        self.bias = torch.nn.Parameter(normal(5, seed=1))

    def forward(self, x):
        units = torch.nn.functional.softplus(x @ self.weight + self.bias)
        return units.sum(1) + 0.5 * x.square().sum(1)


class HandWritten(Softplus):
    def value_and_gradient(self, x):
        sigmoid = torch.sigmoid(x @ self.weight + self.bias)
        return self(x), sigmoid @ self.weight.T + x


def test_value_and_gradient_of_a_closed_form():
    potential, x = Softplus(), normal(7, 3, seed=2)
    values, gradients = value_and_gradient(potential, x)
    torch.testing.assert_close(values, potential(x))
    expected = torch.sigmoid(x @ potential.weight + potential.bias) @ potential.weight.T + x
    torch.testing.assert_close(gradients, expected)


def test_without_gradients_nothing_carries_a_graph():
    potential, x = Softplus(), normal(7, 3, seed=2).requires_grad_()
    with torch.no_grad():
        values, gradients = value_and_gradient(potential, x)
        assert not torch.is_grad_enabled()
    assert not values.requires_grad
    assert not gradients.requires_grad
    assert potential.weight.grad is None
    assert x.grad is None
    torch.testing.assert_close(values, potential(x).detach())


def test_the_input_is_left_as_it_is():
    x = normal(7, 3)
    before = x.clone()
    value_and_gradient(Softplus(), x)
    assert not x.requires_grad
    assert torch.equal(x, before)


@pytest.mark.parametrize("point_requires_grad", [False, True])
def test_differentiable_with_respect_to_parameters_and_points(point_requires_grad):
    potentials, results = [Softplus(), HandWritten()], []
    for potential in potentials:
        x = normal(7, 3, seed=2).requires_grad_(point_requires_grad)
        values, gradients = value_and_gradient(potential, x)
        (values.mean() + gradients.square().mean()).backward()
        results.append((potential.weight.grad, potential.bias.grad, x.grad))
    for automatic, by_hand in zip(*results, strict=True):
        if by_hand is None:
            assert automatic is None
        else:
            assert by_hand.abs().max() > 1e-3
            torch.testing.assert_close(automatic, by_hand)


def test_the_potentials_own_method_is_asked():
    class Own:
        def value_and_gradient(self, x):
            return torch.full((len(x),), 3.0), torch.ones_like(x)

    values, gradients = value_and_gradient(Own(), torch.zeros(2, 4))
    assert values.tolist() == [3.0, 3.0]
    assert gradients.tolist() == [[1.0] * 4] * 2


def test_a_constant_potential_has_gradient_zero():
    values, gradients = value_and_gradient(lambda x: torch.ones(len(x)), torch.zeros(2, 3))
    assert values.tolist() == [1.0, 1.0]
    assert torch.equal(gradients, torch.zeros(2, 3))
    # Depends on a parameter, but not on the point.
    offset = torch.nn.Parameter(torch.ones(()))
    _, gradients = value_and_gradient(lambda x: offset.expand(len(x)), torch.zeros(2, 3))
    assert torch.equal(gradients, torch.zeros(2, 3))


def test_a_potential_that_returns_a_column_is_an_error():
    with pytest.raises(ValueError, match=r"of shape \(2,\). Got shape \(2, 1\)"):
        value_and_gradient(lambda x: x.sum(1, keepdim=True), torch.zeros(2, 3))
