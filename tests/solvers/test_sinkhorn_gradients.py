"""The envelope theorem against finite differences."""

import pytest
import torch
from _problems import random_pair

from skot.costs import GridCost, PNorm, PrecomputedCost
from skot.solvers import sinkhorn

OPTIONS = {"epsilon": 0.5, "tol": 1e-13, "max_iter": 5000}


def leaves(*tensors):
    return tuple(tensor.clone().requires_grad_(True) for tensor in tensors)


def value(x, y, a, b, **options):
    return sinkhorn(x, y, a, b, **OPTIONS, **options).dual_value


@pytest.mark.parametrize("cost", [None, PNorm(p=1.5, power=1.7), "cosine", "sphere"])
@pytest.mark.parametrize("shift", [0.0, 20.0])
def test_positions_and_weights(cost, shift):
    x, y, a, b = random_pair(6, 5, 2)
    inputs = leaves(x + shift, y, 3.0 * a, b)
    assert torch.autograd.gradcheck(lambda *args: value(*args, cost=cost), inputs, atol=1e-6)


@pytest.mark.parametrize("which", range(4))
def test_one_input_at_a_time(which):
    inputs = list(random_pair(6, 5, 2))
    inputs[which].requires_grad_(True)
    value(*inputs).backward()
    assert inputs[which].grad.abs().max() > 0
    assert all(t.grad is None for i, t in enumerate(inputs) if i != which)


def test_points_used_on_both_sides():
    x, _, a, _ = random_pair(6, 5, 2)
    (points,) = leaves(x)
    assert torch.autograd.gradcheck(lambda p: value(p, p * p, a, a), (points,), atol=1e-6)


def test_precomputed_matrix():
    matrix = torch.rand(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (matrix,) = leaves(matrix)

    def of_matrix(m):
        return sinkhorn(cost=PrecomputedCost(m), **OPTIONS).dual_value

    assert torch.autograd.gradcheck(of_matrix, (matrix,))
    (gradient,) = torch.autograd.grad(of_matrix(matrix), matrix)
    torch.testing.assert_close(
        gradient, sinkhorn(cost=PrecomputedCost(matrix.detach()), **OPTIONS).plan.toarray()
    )


def test_weights_on_a_grid_in_a_batch():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 6, generator=generator, dtype=torch.float64) + 0.1 for _ in range(2))

    def of_weights(a, b):
        return sinkhorn(a=a, b=b, cost=GridCost((2, 3)), **OPTIONS).dual_value

    assert torch.autograd.gradcheck(of_weights, leaves(a, b), atol=1e-6)


def test_a_weight_of_zero_has_a_gradient():
    x, y, a, b = random_pair(6, 5, 2)
    a[2] = 0.0
    a = (a / a.sum()).requires_grad_(True)
    (gradient,) = torch.autograd.grad(value(x, y, a, b), a)
    step = torch.zeros_like(a)
    step[2] = 1e-6
    difference = value(x, y, (a + step).detach(), b) - value(x, y, a.detach(), b)
    assert float(gradient[2]) == pytest.approx(float(difference) / 1e-6, rel=1e-3)


def test_class_costs_are_constants():
    x, y, a, b = random_pair(6, 5, 2)
    labels = torch.tensor([0, 0, 1, 1, 0, 1])
    table = torch.rand(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = leaves(x, y, a, b)
    assert torch.autograd.gradcheck(
        lambda *args: value(*args, class_cost=(labels, table)), inputs, atol=1e-6
    )


def test_no_graph_without_a_leaf():
    assert not value(*random_pair(6, 5, 2)).requires_grad
    x, y, a, b = random_pair(6, 5, 2)
    with torch.no_grad():
        assert not value(*leaves(x), y, a, b).requires_grad


def test_gradients_have_the_dtype_of_the_input():
    x, y, _, _ = random_pair(6, 5, 2)
    (x,) = leaves(x.float())
    result = sinkhorn(x, y, epsilon=0.5)
    assert result.dual_value.dtype == torch.float64
    result.dual_value.backward()
    assert x.grad.dtype == torch.float32


def test_nothing_else_carries_a_graph():
    x, y, a, b = leaves(*random_pair(6, 5, 2))
    result = sinkhorn(x, y, a, b, epsilon=0.5)
    assert result.dual_value.requires_grad
    for tensor in (result.f, result.g, result.plan.toarray()):
        assert not tensor.requires_grad
