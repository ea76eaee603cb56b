"""The entropic dual as a function of the source potential."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skot.costs import GridCost, PrecomputedCost, SupportCost, cost_matrix
from skot.solvers import SemiDual, sinkhorn

GRID = GridCost((4, 5))
#: In and out of the range of scalings.
EPSILONS = (0.05, 0.001)


def random_weights(n_problems, size, seed=0, share=0.6):
    """Return normalised weights, some of them zero."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(n_problems, size, generator=generator, dtype=torch.float64)
    weights *= torch.rand(n_problems, size, generator=generator) < share
    weights[:, 0] += 0.1
    return weights / weights.sum(1, keepdim=True)


A, B = random_weights(3, 20, 0), random_weights(3, 20, 1)
F = 0.1 * torch.randn(3, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_a_grid_and_its_matrix_agree(epsilon):
    grid = SemiDual(GRID, epsilon)
    dense = SemiDual(PrecomputedCost(GRID.matrix()), epsilon)
    points = SemiDual(SupportCost(GRID.points(), GRID.points()), epsilon)
    for other in (dense, points):
        for one, two in zip(grid.step(F, A, B), other.step(F, A, B), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_half_step_is_the_softmin(epsilon):
    logits = (F[:, :, None] - cost_matrix(PrecomputedCost(GRID.matrix()))) / epsilon
    expected = -epsilon * torch.logsumexp(A.log()[:, :, None] + logits, dim=1)
    step = SemiDual(GRID, epsilon).step(F, A, B)
    torch.testing.assert_close(step.target_potential, expected, rtol=1e-9, atol=1e-12)
    plan = (logits + step.target_potential[:, None, :] / epsilon).exp()
    plan = A[:, :, None] * plan * B[:, None, :]
    torch.testing.assert_close(plan.sum(1), B, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(step.source_marginal, plan.sum(2), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cost", [GRID, PrecomputedCost(GRID.matrix())])
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_gradient_is_that_of_finite_differences(cost, epsilon):
    semi_dual = SemiDual(cost, epsilon)
    f = F.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(semi_dual.value(f, A, B).sum(), f)
    step = 1e-3 * epsilon
    shifts = step * torch.eye(20, dtype=torch.float64)
    differences = torch.stack(
        [semi_dual.value(F + s, A, B) - semi_dual.value(F - s, A, B) for s in shifts], dim=1
    )
    torch.testing.assert_close(gradient, differences / (2 * step), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("epsilon", [0.05, 0.008])
def test_the_maximum_is_the_dual_value(epsilon):
    solved = sinkhorn(a=A, b=B, cost=GRID, epsilon=epsilon, tol=1e-9, max_iter=5000)
    assert solved.converged.all()
    semi_dual = SemiDual(GRID, epsilon)
    values = semi_dual.value(solved.f, A, B)
    torch.testing.assert_close(values, solved.dual_value, rtol=1e-8, atol=1e-10)
    step = semi_dual.step(solved.f, A, B)
    torch.testing.assert_close(step.source_marginal, A, rtol=0, atol=1e-8)
    assert (semi_dual.value(F, A, B) < values).all()


def test_single_precision_is_close_where_it_is_used():
    cost = PrecomputedCost(GRID.matrix())
    double = SemiDual(cost, 0.001).step(F, A, B)
    single = SemiDual(cost, 0.001, dtype=torch.float32).step(F, A, B)
    for one, two in zip(double, single, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


@given(
    constant=st.floats(-5, 5),
    scale=st.floats(0, 2),
    seed=st.integers(0, 100),
    epsilon=st.sampled_from(EPSILONS),
)
def test_properties(constant, scale, seed, epsilon):
    """Constants change nothing, mass is conserved, and all is finite for any finite potential."""
    a, b = random_weights(2, 20, seed), random_weights(2, 20, seed + 1)
    f = scale * torch.randn(2, 20, generator=torch.Generator().manual_seed(seed)).double()
    semi_dual = SemiDual(GRID, epsilon)
    value, step = semi_dual.value(f, a, b), semi_dual.step(f, a, b)
    shifted = semi_dual.value(f + constant, a, b)
    torch.testing.assert_close(shifted, value, rtol=1e-9, atol=1e-9)
    if scale <= 0.5:  # beyond, exponents are cut, and mass with them
        total = torch.ones(2, dtype=torch.float64)
        torch.testing.assert_close(step.source_marginal.sum(1), total, rtol=1e-9, atol=1e-9)
    assert torch.isfinite(step.target_potential).all()
    assert (step.source_marginal[a == 0] == 0).all()
