"""Dual values and potentials where the tails of the measures carry next to nothing."""

import numpy as np
import pytest
from _bumps import (
    RUNAWAY,
    RUNAWAY_VALUE,
    bumps,
    draw,
    judge,
    log_domain_sinkhorn,
    reference,
    soft_transform,
    solve,
)


@pytest.mark.parametrize("seed", range(3))
def test_reference_is_the_limit_of_plain_steps(seed):
    problem = draw(seed)._replace(epsilon=1e-2)
    solution = reference(problem)
    assert solution.gap <= 1e-11 * problem.range
    assert log_domain_sinkhorn(problem, 2000) == pytest.approx(solution.value, rel=1e-12)


def test_reference_at_small_epsilon_lies_between_plain_steps_and_its_own_bound():
    problem = bumps((40, 45), (0.3, 0.6), (0.2, 0.18), 1e-3, 1e-9)
    solution = reference(problem)
    reached = [log_domain_sinkhorn(problem, n_iter) for n_iter in (100, 1000, 10_000)]
    assert reached == sorted(reached)
    assert reached[-1] <= solution.value + solution.gap + 1e-15
    assert solution.value - reached[-1] <= 1e-7
    plan = problem.a[:, None] * problem.b
    plan = plan * np.exp((solution.f[:, None] + solution.g - problem.cost) / problem.epsilon)
    np.testing.assert_allclose(plan.sum(1), problem.a, rtol=1e-10)
    assert np.abs(plan.sum(0) - problem.b).sum() <= 1e-11
    back = soft_transform(solution.f, problem.a, problem.cost.T, problem.epsilon)
    assert problem.b @ np.abs(back - solution.g) <= 1e-12


def test_runaway_potentials():
    result = solve(RUNAWAY)
    assert result.converged
    assert float(result.dual_value) == pytest.approx(RUNAWAY_VALUE, abs=1e-6)
    assert result.primal_value == pytest.approx(RUNAWAY_VALUE, abs=1e-6)
    verdict = judge(RUNAWAY, result)
    assert not verdict.wrong_value
    assert not verdict.wild
    assert not verdict.not_transforms


def check(seeds):
    verdicts = {seed: judge(problem, solve(problem)) for seed in seeds if (problem := draw(seed))}
    for kind in ("wrong_value", "wild", "not_transforms"):
        assert [seed for seed, verdict in verdicts.items() if getattr(verdict, kind)] == [], kind
    share = np.mean([verdict.converged for verdict in verdicts.values()])
    assert share >= 0.99


def test_bumps():
    check(range(20))


@pytest.mark.slow
def test_many_bumps():
    check(range(1000, 1200))
