"""Properties that hold for every problem."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skot.costs import PNorm, SquaredEuclidean
from skot.metrics import sinkhorn_divergence
from skot.potentials import EntropicPotentials
from skot.solvers import sinkhorn

SIZES = st.integers(1, 7)
FEW = settings(max_examples=25)
EPSILONS = st.sampled_from([1e-4, 1e-2, 0.1, 1.0, 10.0])


@st.composite
def clouds(draw, scales=(1e-30, 1.0, 1e30), offsets=(0.0, 1.0, 1e6, -1e30)):
    """Two clouds with everything that upsets a solver, and positive weights."""
    rng = np.random.RandomState(draw(st.integers(0, 2**31 - 1)))
    n, m, d = draw(SIZES), draw(SIZES), draw(st.integers(1, 3))
    x, y = rng.standard_normal((n, d)), rng.standard_normal((m, d))
    if draw(st.booleans()):  # duplicates
        x, y = x[rng.randint(n, size=n)], y[rng.randint(m, size=m)]
    if draw(st.booleans()):  # a constant column
        x[:, 0], y[:, 0] = 0.3, draw(st.sampled_from([0.3, -2.0]))
    x = draw(st.sampled_from(scales)) * x + draw(st.sampled_from(offsets))
    y = draw(st.sampled_from(scales)) * y + draw(st.sampled_from(offsets))
    a, b = rng.exponential(size=n) + 1e-3, rng.exponential(size=m) + 1e-3
    if draw(st.booleans()):  # points without mass
        a[: n // 2], b[: m // 2] = 0.0, 0.0
    return x, y, a / a.sum(), b / b.sum()


ORDINARY = clouds(scales=(0.5, 1.0, 2.0), offsets=(0.0, 3.0))


def solve(problem, share=0.1, **options):
    """Solve at a regularisation relative to the mean cost."""
    x, y, a, b = (torch.from_numpy(part) for part in problem)
    unit = SquaredEuclidean().scale(x, y, a, b) or 1.0
    return sinkhorn(x, y, a, b, epsilon=share * unit, **options)


@FEW
@given(clouds(), EPSILONS, st.sampled_from([None, PNorm(p=1.5, power=1.7), "cosine", "sphere"]))
def test_every_finite_input_gives_finite_output(problem, share, cost):
    result = solve(problem, share, cost=cost, max_iter=300)
    for tensor in (result.f, result.g, result.dual_value, result.plan.toarray()):
        assert torch.isfinite(tensor).all()
    numbers = [result.marginal_error, result.cost_value, result.primal_value, *result.errors]
    assert np.isfinite(numbers).all()


@FEW
@given(clouds(), st.sampled_from([1e-2, 0.1, 1.0]), st.sampled_from([1e-3, 1e-6, 1e-9]))
def test_marginals_hold_to_the_tolerance(problem, share, tol):
    result = solve(problem, share, tol=tol, max_iter=20_000)
    source, target = (part.numpy() for part in result.plan.marginals())
    assert result.converged
    assert np.abs(source - problem[2]).sum() <= 1e-12
    assert np.abs(target - problem[3]).sum() <= tol + 1e-12
    assert (result.plan.toarray() >= 0).all()


@FEW
@given(ORDINARY, st.randoms(use_true_random=False))
def test_permutations_of_the_points_permute_the_plan(problem, random):
    x, y, a, b = problem
    rows, columns = list(range(len(x))), list(range(len(y)))
    random.shuffle(rows)
    random.shuffle(columns)
    plan = solve(problem, tol=1e-10, max_iter=20_000).plan.toarray()
    moved = solve((x[rows], y[columns], a[rows], b[columns]), tol=1e-10, max_iter=20_000)
    torch.testing.assert_close(moved.plan.toarray(), plan[rows][:, columns], atol=1e-7, rtol=0)


@FEW
@given(ORDINARY, st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.sampled_from([1e-3, 1.0, 1e5]))
def test_translations_and_a_common_scale_leave_the_plan(problem, s, t, scale):
    x, y, a, b = problem
    plan = solve(problem, tol=1e-10, max_iter=20_000).plan.toarray()
    moved = solve((scale * (x + s), scale * (y + t), a, b), tol=1e-10, max_iter=20_000)
    torch.testing.assert_close(moved.plan.toarray(), plan, atol=1e-6, rtol=0)


@FEW
@given(ORDINARY)
def test_swapping_the_sides_transposes_the_plan(problem):
    x, y, a, b = problem
    forth = solve(problem, tol=1e-10, max_iter=20_000)
    back = solve((y, x, b, a), tol=1e-10, max_iter=20_000)
    torch.testing.assert_close(back.plan.toarray(), forth.plan.toarray().T, atol=1e-7, rtol=0)
    size = max(1.0, abs(float(forth.dual_value)))
    assert abs(float(forth.dual_value - back.dual_value)) <= 1e-8 * size


@FEW
@given(ORDINARY, EPSILONS, st.integers(1, 60))
def test_dual_is_at_most_primal(problem, share, max_iter):
    result = solve(problem, share, max_iter=max_iter)
    spread = float(result.g.max() - result.g.min())
    # The plan misses its target marginal by the error, which the range of g turns into value.
    slack = result.marginal_error * spread + 1e-9 * max(1.0, abs(result.primal_value))
    assert float(result.dual_value) <= result.primal_value + slack


@FEW
@given(ORDINARY, st.sampled_from([0.02, 0.1, 1.0]))
def test_the_entropic_map_is_monotone(problem, share):
    x, y, a, b = (torch.from_numpy(part) for part in problem)
    result = solve(problem, share, tol=1e-8, max_iter=20_000)
    potentials = EntropicPotentials(
        x, y, a, b, result.f, result.g, SquaredEuclidean(), result.epsilon
    )
    new = torch.cat([x, 2.0 * x + 0.1, x.flip(0) - 1.0])
    moved = potentials.transport(new)
    products = (new[:, None] - new) * (moved[:, None] - moved)
    assert products.sum(-1).min() >= -1e-9


@FEW
@given(ORDINARY)
def test_the_divergence_is_positive_and_zero_on_itself(problem):
    x, y, a, b = problem
    options = {"epsilon": 0.3, "tol": 1e-9, "max_iter": 20_000}
    assert sinkhorn_divergence(x, x, a=a, b=a, **options) == 0.0
    divergence = sinkhorn_divergence(x, y, a=a, b=b, **options)
    assert divergence >= -1e-8
    # Apart by more than their spread, the means alone force a positive value (Feydy et al.).
    means = np.square(a @ x - b @ y).sum()
    assert divergence >= means - 1e-7 * max(1.0, means)
    order = np.arange(len(x))[::-1]
    assert abs(sinkhorn_divergence(x, x[order], a=a, b=a[order], **options)) <= 1e-8
    back = sinkhorn_divergence(y, x, a=b, b=a, **options)
    assert back == pytest.approx(divergence, abs=1e-7, rel=1e-7)
