"""First derivatives of values, potentials and plans against finite differences."""

import pytest
import torch
from _problems import random_pair

from skot.costs import GridCost, PNorm, PrecomputedCost, SupportCost
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


def test_numbers_without_a_gradient_are_plain():
    x, y, a, b = leaves(*random_pair(6, 5, 2))
    result = sinkhorn(x, y, a, torch.stack([b, b.flip(0)]), epsilon=0.5)
    assert result.dual_value.requires_grad
    for tensor in (result.cost_value, result.primal_value, *result.plan[0].marginals()):
        assert not tensor.requires_grad


@pytest.mark.parametrize("cost", [None, PNorm(p=1.5, power=1.7)])
def test_a_batch_sums_over_its_problems(cost):
    x, y, a, b = random_pair(6, 5, 2)
    x, y, a = leaves(x, y, torch.stack([a, a.flip(0), torch.ones_like(a)]))
    values = value(x, y, a, b, cost=cost)
    factors = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    gradients = torch.autograd.grad(factors @ values, (x, y, a))
    single = sum(k * value(x, y, row, b, cost=cost) for k, row in zip(factors, a, strict=True))
    for one, other in zip(gradients, torch.autograd.grad(single, (x, y, a)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_a_matrix_with_a_batch_of_weights():
    _, _, a, b = random_pair(6, 5, 2)
    matrix = torch.rand(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = leaves(matrix, torch.stack([a, a.flip(0)]), b)
    assert torch.autograd.gradcheck(
        lambda matrix, a, b: sinkhorn(a=a, b=b, cost=PrecomputedCost(matrix), **OPTIONS).dual_value,
        inputs,
        atol=1e-6,
    )


@pytest.mark.parametrize("n_problems", [1, 2])
def test_supports_keep_their_graph(n_problems):
    x, y, a, _ = random_pair(6, 5, 2)
    x, y = leaves(x, y)
    weights = torch.stack([a, a.flip(0)])[:n_problems]

    def of_supports(x, y):
        # Not leaves: a copy of the component would refuse them.
        return sinkhorn(a=weights, cost=SupportCost(x * 1.0, y * 1.0), **OPTIONS).dual_value.sum()

    assert torch.autograd.gradcheck(of_supports, (x, y), atol=1e-6)


def test_a_class_table_gets_no_gradient():
    x, y, _, _ = random_pair(6, 5, 2)
    table = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="class"):
        sinkhorn(x, y, epsilon=0.5, class_cost=(torch.zeros(6, dtype=torch.long), table))


@pytest.mark.parametrize("part", ["f", "g", "array"])
@pytest.mark.parametrize("cost", [None, PNorm(p=1.5, power=1.7)])
def test_potentials_and_plan(part, cost):
    def of_inputs(x, y, a, b):
        result = sinkhorn(x, y, a, b, cost=cost, **OPTIONS)
        return result.plan.toarray() if part == "array" else getattr(result, part)

    x, y, a, b = random_pair(5, 4, 2)
    assert torch.autograd.gradcheck(of_inputs, leaves(x, y, 3.0 * a, b), atol=1e-6)


@pytest.mark.parametrize("problem", [None, 1])
@pytest.mark.parametrize("transposed", [False, True])
def test_plan_products(problem, transposed):
    x, y, a, b = random_pair(5, 4, 2)
    values = torch.randn(len(x) if transposed else len(y), 2, dtype=torch.float64)
    if problem is not None:
        a = torch.stack([a, a.flip(0)])

    def product(values, x, y, a, b):
        plan = sinkhorn(x, y, a, b, **OPTIONS).plan
        plan = plan if problem is None else plan[problem]
        return plan.apply_transpose(values) if transposed else plan.apply(values)

    assert torch.autograd.gradcheck(product, leaves(values, x, y, a, b), atol=1e-6)


def test_values_get_a_gradient_from_a_plan_that_is_constant():
    plan = sinkhorn(*random_pair(5, 4, 2), epsilon=0.5).plan
    values = torch.ones(4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(plan.apply(values).sum(), values)
    torch.testing.assert_close(gradient, plan.toarray().sum(0))
    assert not plan.apply(values.detach()).requires_grad


def test_potentials_where_there_is_no_mass():
    x, y, a, b = random_pair(7, 6, 2)
    a[[1, 4]], b[2] = 0.0, 0.0
    x, y = leaves(x, y)

    def potentials(x, y):
        result = sinkhorn(x, y, a, b, **OPTIONS)
        return torch.cat([result.f, result.g])

    assert torch.autograd.gradcheck(potentials, (x, y), atol=1e-6)


# PyTorch compiles decompositions of its own when forward mode is first asked for.
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_transforms_of_functions():
    x, y, a, b = random_pair(6, 5, 2)

    def of_points(x):
        return value(x, y, a, b)

    expected = torch.autograd.functional.jacobian(of_points, x)
    torch.testing.assert_close(torch.func.grad(of_points)(x), expected)
    for transform in (torch.func.hessian, torch.func.jacfwd, torch.func.jacrev):
        nested = torch.func.grad(of_points) if transform is torch.func.jacrev else of_points
        with pytest.raises(RuntimeError, match="torch.func.grad"):
            transform(nested)(x)
    with pytest.raises(RuntimeError, match="Forward-mode"):
        torch.func.jvp(of_points, (x,), (x,))
    with pytest.raises(RuntimeError):
        torch.func.vmap(of_points)(x[None])
