"""Entropic transport between many pairs of small histograms."""

import numpy as np
import pytest
import torch
from _problems import plain_sinkhorn
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.exceptions import ConvergenceWarning

from skot.costs import GridCost, PrecomputedCost, SupportCost
from skot.metrics import probability_transport, probability_transport_loss
from skot.solvers import Initializer, ZerosInitializer, sinkhorn
from skot.solvers._entropic import histograms

TIGHT = {"tol": 1e-13, "max_iter": 100_000}


def problems(n_rows=8, n=6, m=None, *, seed=0, sharpness=2.0):
    """Softmax outputs on both sides, and distances of classes that lie in the plane."""
    m = n if m is None else m
    rng = np.random.RandomState(seed)
    a = torch.softmax(torch.as_tensor(sharpness * rng.standard_normal((n_rows, n))), 1)
    b = torch.softmax(torch.as_tensor(sharpness * rng.standard_normal((n_rows, m))), 1)
    classes = torch.as_tensor(rng.uniform(size=(max(n, m), 2)))
    cost = torch.cdist(classes[:n], classes[:m])
    return a, b, cost / cost.max()


def linear_program(a, b, cost):
    n, m = cost.shape
    marginals = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    return linprog(cost.ravel(), A_eq=marginals, b_eq=np.concatenate([a, b])).fun


@pytest.mark.parametrize("epsilon", [0.2, 0.6, 5.0])
def test_two_classes_in_closed_form(epsilon):
    """The plan [[x, s - x], [t - x, 1 - s - t + x]] has the cross ratio exp(2 / epsilon)."""
    s, t = (
        torch.tensor([0.3, 0.5, 0.9, 0.01]).double(),
        torch.tensor([0.6, 0.5, 0.2, 0.98]).double(),
    )
    ratio = np.exp(2.0 / epsilon)
    # (1 - ratio) x^2 + (1 - (1 - ratio) (s + t)) x - ratio s t = 0, and 0 <= x <= min(s, t).
    linear = 1.0 - (1.0 - ratio) * (s + t)
    x = 2.0 * ratio * s * t / (linear + (linear**2 + 4.0 * (1.0 - ratio) * ratio * s * t).sqrt())
    plan = torch.stack([x, s - x, t - x, 1.0 - s - t + x], 1).reshape(-1, 2, 2)
    a, b = torch.stack([s, 1.0 - s], 1), torch.stack([t, 1.0 - t], 1)
    entropy = (plan * (plan / (a[:, :, None] * b[:, None, :])).log()).sum((1, 2))
    expected = plan[:, 0, 1] + plan[:, 1, 0] + epsilon * entropy
    loss = probability_transport_loss(a, b, [[0.0, 1.0], [1.0, 0.0]], epsilon=epsilon, **TIGHT)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("epsilon", [0.1, 1e-4])
def test_between_certain_predictions_it_is_the_cost(epsilon):
    cost = problems()[2]
    one_hot = torch.eye(6, dtype=torch.float64)
    rows, columns = torch.cartesian_prod(torch.arange(6), torch.arange(6)).T
    loss = probability_transport_loss(one_hot[rows], one_hot[columns], cost, epsilon=epsilon)
    torch.testing.assert_close(loss, cost[rows, columns], rtol=0.0, atol=1e-12)


def test_linear_programs_at_a_small_epsilon():
    """The entropy of a plan with these marginals is at most the logarithm of their size."""
    a, b, cost = problems(n=5, m=4)
    epsilon = 0.005
    loss = probability_transport_loss(a, b, cost, epsilon=epsilon, tol=1e-6, max_iter=100_000)
    exact = torch.tensor([linear_program(*row, cost.numpy()) for row in zip(a, b, strict=True)])
    assert bool((loss >= exact - 1e-5).all())
    assert bool((loss <= exact + epsilon * np.log(4) + 1e-5).all())


@pytest.mark.parametrize("epsilon", [0.05, 1.0, 0.003])
def test_rows_are_problems_of_sinkhorn(epsilon):
    a, b, cost = problems(4, 5, 3)
    result = probability_transport(a, b, cost, epsilon=epsilon, tol=1e-11, max_iter=100_000)
    assert bool(result.converged.all())
    for k in range(4):
        one = sinkhorn(a=a[k], b=b[k], cost=PrecomputedCost(cost), epsilon=epsilon, tol=1e-12)
        torch.testing.assert_close(result.value[k], one.dual_value, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(result.f[k], one.f, rtol=0.0, atol=1e-6)
        torch.testing.assert_close(result.g[k], one.g, rtol=0.0, atol=1e-6)


def test_both_domains_do_the_same_passes(monkeypatch):
    a, b, cost = problems(50, 7, 5)
    a[0, :3], b[1, 2:] = 0.0, 0.0
    scalings = probability_transport(a, b, cost, epsilon=0.05, tol=1e-6)
    monkeypatch.setattr(histograms, "_SCALING_RANGE", 0.0)
    monkeypatch.setattr(histograms, "_LOG_ENTRIES", 350)
    logarithms = probability_transport(a, b, cost, epsilon=0.05, tol=1e-6)
    assert torch.equal(scalings.passes, logarithms.passes)
    torch.testing.assert_close(scalings.value, logarithms.value, rtol=0.0, atol=1e-5)
    assert bool(logarithms.converged.all())


def test_costs_with_themselves_in_both_domains(monkeypatch):
    """Where the iteration without averages would take thousands of half steps."""
    a, b, cost = problems(50, 7)
    options = {"epsilon": 0.02, "tol": 1e-9, "debiased": True}
    options["initializer"] = probability_transport(a, b, cost, epsilon=0.02, **TIGHT).g
    scalings = probability_transport_loss(a, b, cost, max_iter=60, **options)
    monkeypatch.setattr(histograms, "_SCALING_RANGE", 0.0)
    logarithms = probability_transport_loss(a, b, cost, max_iter=60, **options)
    torch.testing.assert_close(scalings, logarithms, rtol=0.0, atol=1e-9)
    exact = probability_transport_loss(a, b, cost, max_iter=10_000, **options)
    torch.testing.assert_close(scalings, exact, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-7])
def test_passes_are_those_of_the_published_algorithm(tol):
    """And those after it until classes of little mass, which the error does not see, settle."""
    a, b, cost = problems(30)
    result = probability_transport(a, b, cost, epsilon=0.1, tol=tol)
    assert bool(result.converged.all())
    for k in range(30):
        passes = int(result.passes[k])
        errors, _ = plain_sinkhorn(cost.numpy(), a[k].numpy(), b[k].numpy(), 0.1, passes + 1)
        assert float(result.marginal_error[k]) <= errors[passes - 1] * (1.0 + 1e-6) + 1e-15
        if passes > 1 + int(np.argmax(errors <= tol)):
            one_less = probability_transport(
                a[k : k + 1], b[k : k + 1], cost, epsilon=0.1, tol=1e-15, max_iter=passes - 1
            )
            _, following = soft_transforms(one_less, a[k : k + 1], b[k : k + 1], cost, 0.1)
            assert float((one_less.g - following).abs().max()) > tol * float(cost.max())


# Small epsilons and small weights


def soft_transforms(result, a, b, cost, epsilon):
    """Half steps of the potentials in float64 with all logarithms, of every class."""
    cost = torch.as_tensor(cost).double()
    a, b = (w.double() / w.double().sum(-1, keepdim=True) for w in (a, b))
    of_g = ((result.g / epsilon + b.log())[:, None, :] - cost / epsilon).logsumexp(2)
    of_f = ((result.f / epsilon + a.log())[:, :, None] - cost / epsilon).logsumexp(1)
    return -epsilon * of_g, -epsilon * of_f


def check_optimality(result, a, b, cost, epsilon, tol):
    """Of every problem that counts as converged; that the value is a lower bound, of all."""
    f, g = soft_transforms(result, a, b, cost, epsilon)
    spread = float(cost.max() - cost.min())
    rounding = 1e-12 * spread
    assert bool(torch.isfinite(result.f).all())
    assert bool(torch.isfinite(result.g).all())
    torch.testing.assert_close(result.f, f, rtol=0.0, atol=rounding)
    done = result.converged
    assert bool(((result.g - g)[done].abs() <= tol * spread + rounding).all())
    for potential in (result.f[done], result.g[done]):
        width = potential.amax(1) - potential.amin(1)
        assert bool((width <= (1.0 + 2.0 * tol) * spread + rounding).all())


def test_a_product_plan_at_a_small_epsilon():
    """Every plan between the lower and the upper half of the line costs 2."""
    cost = (torch.arange(4.0)[:, None] - torch.arange(4.0)).abs()
    a, b = torch.tensor([[0.5, 0.5, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    for epsilon in (1.0, 3e-3, 1e-3, 3e-5):
        result = probability_transport(a, b, cost, epsilon=epsilon)
        torch.testing.assert_close(result.value, torch.tensor([2.0]).double(), rtol=0, atol=1e-10)
        assert result.converged.tolist() == [True]
        check_optimality(result, a, b, cost, epsilon, 1e-4)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("share", [1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_classes_at_a_small_epsilon(share, debiased, dtype):
    """No number is lost: what did not arrive says so, and is a bound from below."""
    rng = np.random.RandomState(0)
    s, t = torch.as_tensor(rng.uniform(size=(2, 100)), dtype=dtype)
    s[:10], t[5:15] = 1.0, 0.0
    a, b = torch.stack([s, 1.0 - s], 1), torch.stack([t, 1.0 - t], 1)
    cost = 3.0 * (1.0 - torch.eye(2))
    epsilon = 3.0 * share
    result = probability_transport(a, b, cost, epsilon=epsilon, debiased=debiased)
    assert bool(torch.isfinite(result.value).all())
    assert bool(torch.isfinite(result.marginal_error).all())
    assert bool(result.converged[:15].all())
    check_optimality(result, a, b, cost, epsilon, 1e-4)
    exact = 3.0 * (s - t).abs().double()
    if not debiased:
        assert bool((result.value <= exact + epsilon * np.log(2) + 1e-9).all())
    done = result.converged
    bound = epsilon * np.log(2) + 3e-4
    assert bool(((result.value - exact)[done].abs() <= bound).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [1e-2, 1e-3, 1e-4])
def test_bumps_of_hardly_any_mass_far_away(share, dtype):
    """Most points carry less than rounding leaves of the error."""
    x, y = torch.linspace(-1, 2, 57).double(), torch.linspace(-1, 2, 56).double()
    a = torch.exp(-((x - 0.32186939107594215) ** 2) / (2 * 0.18675822451014268**2))[None]
    b = torch.exp(-((y - 0.5943000301996968) ** 2) / (2 * 0.18783238001056324**2))[None]
    a, b = (a / a.sum()).to(dtype), (b / b.sum()).to(dtype)
    cost = ((x[:, None] - y) ** 2).to(dtype)
    epsilon = 9.0 * share
    # What the iteration needs grows like the inverse of epsilon.
    n_passes = int(2.0 / share)
    result = probability_transport(a, b, cost, epsilon=epsilon, tol=1e-6, max_iter=n_passes)
    check_optimality(result, a, b, cost, epsilon, 1e-6)
    one = sinkhorn(
        a=a[0].double(), b=b[0].double(), cost=PrecomputedCost(cost), epsilon=epsilon,
        tol=1e-9, anderson_memory=0, max_iter=20_000,
    )  # fmt: skip
    assert float(result.value) <= float(one.dual_value) + 1e-9
    if share >= 1e-3:
        assert bool(result.converged)
    if bool(result.converged):
        assert float(result.value) == pytest.approx(float(one.dual_value), abs=1e-6)


def test_potentials_of_classes_that_hardly_carry_mass():
    """The error of the marginal does not see them, but the gradient does."""
    a, b, cost = problems(25)
    b[:, 0] = 1e-12
    start = torch.zeros_like(b)
    start[:, 0] = -0.9
    solved = probability_transport(a, b, cost, epsilon=0.1, tol=1e-10)
    options = {"epsilon": 0.1, "tol": 1e-4, "initializer": solved.g + start}
    warm = probability_transport(a, b, cost, **options)
    torch.testing.assert_close(warm.g, solved.g, rtol=0.0, atol=3e-4)
    b[:, 0] = 0.0
    empty = probability_transport(a, b, cost, **options)
    torch.testing.assert_close(empty.g, solved.g, rtol=0.0, atol=3e-4)


def test_costs_with_themselves_report_convergence():
    a, _, cost = problems(30, 7)
    a[:, :2] = 0.0
    one_hot = torch.eye(7, dtype=torch.float64)[2]
    options = {"epsilon": 0.05, "tol": 1e-9, "max_iter": 5}
    plain = probability_transport(one_hot, a, cost, **options)
    assert bool(plain.converged.all())
    debiased = probability_transport(one_hot, a, cost, debiased=True, **options)
    assert not bool(debiased.converged.any())
    assert float(debiased.marginal_error.min()) > 1e-9
    # Less than the cost of a with itself is taken away.
    exact = probability_transport(
        one_hot, a, cost, debiased=True, epsilon=0.05, tol=1e-12, max_iter=1000
    )
    assert bool(exact.converged.all())
    assert bool((debiased.value >= exact.value - 1e-12).all())


def test_the_smallest_weights_there_are():
    tiny = 5e-324
    a, b = torch.tensor([[tiny, 1.0, 0.0]]).double(), torch.tensor([[1.0, tiny, tiny]]).double()
    cost = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
    for epsilon in (1.0, 1e-2, 1e-4):
        result = probability_transport(a, b, cost, epsilon=epsilon, debiased=True)
        assert result.converged.tolist() == [True]
        assert float(result.value) == pytest.approx(1.0, abs=1e-9)
        check_optimality(result, a, b, cost, epsilon, 1e-4)


def test_one_cost_for_all():
    a, b, _ = problems(5)
    result = probability_transport(a, b, torch.full((6, 6), 2.5), epsilon=0.1, tol=1e-12)
    assert bool(result.converged.all())
    torch.testing.assert_close(result.value, torch.full((5,), 2.5).double())


def test_too_few_passes():
    a, b, cost = problems(30)
    result = probability_transport(a, b, cost, epsilon=0.02, tol=1e-8, max_iter=3)
    assert not bool(result.converged.any())
    assert result.passes.tolist() == [3] * 30
    errors, _ = plain_sinkhorn(cost.numpy(), a[5].numpy(), b[5].numpy(), 0.02, 3)
    assert float(result.marginal_error[5]) == pytest.approx(errors[-1], rel=1e-9)


def test_a_loss_that_did_not_converge_is_one_warning_at_the_line_of_the_user():
    a, b, cost = problems(30)
    options = {"epsilon": 0.02, "tol": 1e-8, "max_iter": 3}
    with pytest.warns(ConvergenceWarning, match="30 of 30 rows.*max_iter") as caught:
        loss = probability_transport_loss(a, b, cost, **options)
    assert [warning.filename for warning in caught] == [__file__]
    result = probability_transport_loss(a, b, cost, return_result=True, **options)
    assert torch.equal(result.value, loss)
    assert f"{float(result.marginal_error.max()):.2g}" in str(caught[0].message)
    assert torch.equal(result.passes, probability_transport(a, b, cost, **options).passes)


# Gradients


@pytest.mark.parametrize("debiased", [False, True])
def test_finite_differences(debiased):
    a, b, cost = problems(3, 5)
    a, b = (2.0 * a).requires_grad_(), b.requires_grad_()

    def loss(a, b):
        return probability_transport_loss(a, b, cost, epsilon=0.3, debiased=debiased, **TIGHT)

    assert torch.autograd.gradcheck(loss, (a, b), atol=1e-6)


def test_finite_differences_through_a_softmax():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, b, cost = problems(3, 5)

    def loss(logits):
        return probability_transport_loss(logits.softmax(1), b, cost, epsilon=0.2, **TIGHT)

    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(),), atol=1e-6)


def test_a_probability_of_zero_has_a_gradient():
    a, b, cost = problems(1, 5)
    a[0, 2] = 0.0
    a = (a / a.sum()).requires_grad_()
    options = {"epsilon": 0.2, **TIGHT}
    (gradient,) = torch.autograd.grad(probability_transport_loss(a, b, cost, **options).sum(), a)
    step = torch.zeros_like(a)
    step[0, 2] = 1e-6
    difference = probability_transport_loss((a + step).detach(), b, cost, **options)
    difference = difference - probability_transport_loss(a.detach(), b, cost, **options)
    assert float(gradient[0, 2]) == pytest.approx(float(difference) / 1e-6, rel=1e-4)


def test_gradients_are_orthogonal_to_the_rows_and_bounded_by_the_cost():
    a, b, cost = problems(200, 10, sharpness=8.0)
    loss = probability_transport_loss(a.requires_grad_(), b, cost, epsilon=0.1).sum()
    (gradient,) = torch.autograd.grad(loss, a)
    assert float((a.detach() * gradient).sum(1).abs().max()) <= 1e-12
    assert float((gradient.amax(1) - gradient.amin(1)).max()) <= float(cost.max()) + 1e-9


def test_equal_rows_are_the_minimum_without_bias():
    a, b, cost = problems(20)
    options = {"epsilon": 0.2, "debiased": True, **TIGHT}
    at = a.clone().requires_grad_()
    loss = probability_transport_loss(at, a, cost, **options)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), torch.zeros(20).double(), rtol=0.0, atol=1e-12)
    torch.testing.assert_close(at.grad, torch.zeros_like(a), rtol=0.0, atol=1e-6)
    assert bool((probability_transport_loss(b, a, cost, **options) > 1e-3).all())


def test_with_its_bias_the_loss_prefers_certain_predictions():
    """Where no class is in the middle; without the bias nothing would change."""
    _, b, _ = problems(20, sharpness=0.3)
    logits = b.log().requires_grad_()
    cost = 1.0 - torch.eye(6).double()
    probability_transport_loss(logits.softmax(1), b, cost, epsilon=0.5).sum().backward()
    stepped = (logits - 0.1 * logits.grad).softmax(1).detach()

    def entropy(p):
        return -(p * p.log()).sum(1)

    assert bool((entropy(stepped) < entropy(b) - 1e-6).all())


def test_descent_moves_mass_to_the_near_class_first():
    cost = GridCost((5,), power=1.0)
    truth = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0]).double()
    a = torch.full((1, 5), 0.2).double().requires_grad_()
    probability_transport_loss(a, truth, cost, epsilon=0.05).sum().backward()
    torch.testing.assert_close(a.grad[0], torch.linspace(-0.5, 0.5, 5).double())


@pytest.mark.parametrize("scale", [30.0, 300.0])
def test_predictions_that_a_softmax_has_emptied(scale):
    generator = torch.Generator().manual_seed(0)
    logits = (scale * torch.randn(300, 10, generator=generator)).requires_grad_()
    b = (scale * torch.randn(300, 10, generator=generator)).softmax(1)
    result = probability_transport(logits.softmax(1), b, problems(n=10)[2], epsilon=0.05)
    assert float((logits.detach().softmax(1) == 0).double().mean()) > 0.01
    assert bool(result.converged.all())
    for part in (result.value, result.f, result.g):
        assert bool(torch.isfinite(part).all())
    result.value.sum().backward()
    assert bool(torch.isfinite(logits.grad).all())


def test_no_graph_without_a_leaf():
    a, b, cost = problems()
    assert not probability_transport_loss(a, b, cost, epsilon=0.1).requires_grad
    result = probability_transport(a.requires_grad_(), b, cost, epsilon=0.1)
    assert all(t.requires_grad for t in (result.value, result.f, result.g))
    assert not result.marginal_error.requires_grad


# Symmetries


@given(seed=st.integers(0, 1000), epsilon=st.sampled_from([0.1, 0.5, 2.0]))
def test_symmetries(seed, epsilon):
    a, b, cost = problems(4, 5, 3, seed=seed)
    options = {"epsilon": epsilon, "tol": 1e-11, "max_iter": 100_000}
    loss = probability_transport_loss(a, b, cost, **options)

    def same(other, expected):
        torch.testing.assert_close(other, expected, rtol=1e-8, atol=1e-9)

    same(probability_transport_loss(b, a, cost.T, **options), loss)
    same(probability_transport_loss(3.0 * a, 0.1 * b, cost, **options), loss)
    same(probability_transport_loss(a, b, cost - 7.0, **options), loss - 7.0)
    rows = torch.linspace(-1.0, 2.0, 5).double()
    same(probability_transport_loss(a, b, cost + rows[:, None], **options), loss + a @ rows)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    same(probability_transport_loss(a[:, order], b, cost[order], **options), loss)
    options["epsilon"] *= 10.0
    same(probability_transport_loss(a, b, 10.0 * cost, **options), 10.0 * loss)


@given(seed=st.integers(0, 1000), epsilon=st.sampled_from([0.1, 0.5, 2.0]))
def test_without_bias_it_is_non_negative(seed, epsilon):
    """Distances in the plane have a positive definite exponential."""
    a, b, cost = problems(6, 5, seed=seed, sharpness=1.0)
    options = {"epsilon": epsilon, "debiased": True, "tol": 1e-9, "max_iter": 100_000}
    loss = probability_transport_loss(a, b, cost, **options)
    assert float(loss.min()) >= -1e-8
    torch.testing.assert_close(loss, probability_transport_loss(b, a, cost, **options))
    torch.testing.assert_close(loss, probability_transport_loss(a, b, cost + 3.0, **options))


def test_rows_do_not_see_each_other():
    a, b, cost = problems(40, sharpness=4.0)
    options = {"epsilon": 0.1, "tol": 1e-12, "max_iter": 100_000}
    together = probability_transport(a, b, cost, **options)
    alone = [probability_transport(*row, cost, **options) for row in zip(a, b, strict=True)]
    torch.testing.assert_close(together.value, torch.stack([one.value for one in alone]))
    assert together.passes.tolist() == [int(one.passes) for one in alone]


# Starts


def test_a_solution_as_the_start():
    a, b, cost = problems(25)
    solved = probability_transport(a, b, cost, epsilon=0.05, tol=1e-10, max_iter=100_000)
    options = {"epsilon": 0.05, "tol": 1e-6}
    cold = probability_transport(a, b, cost, **options)
    warm = probability_transport(a, b, cost, initializer=solved.g + 123.0, **options)
    assert warm.passes.tolist() == [1] * 25
    assert int(cold.passes.min()) > 1
    torch.testing.assert_close(warm.value, solved.value, rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("size", [1.0, 1e6])
def test_a_bad_start_changes_the_passes_only(size):
    a, b, cost = problems(25)
    b[:, 0] = 0.0
    start = size * torch.randn(25, 6, generator=torch.Generator().manual_seed(0))
    options = {"epsilon": 0.02, "tol": 1e-9, "max_iter": 100_000}
    cold = probability_transport(a, b, cost, **options)
    warm = probability_transport(a, b, cost, initializer=start, **options)
    assert bool(warm.converged.all())
    torch.testing.assert_close(warm.value, cold.value, rtol=0.0, atol=1e-8)


def test_what_an_empty_class_starts_from_is_not_seen():
    a, b, cost = problems(25)
    b[:, 0] = 0.0
    b = b / b.sum(1, keepdim=True)
    solved = probability_transport(a, b, cost, epsilon=0.1, tol=1e-10)
    start = solved.g.clone()
    start[:, 0] = 1e5
    warm = probability_transport(a, b, cost, epsilon=0.1, tol=1e-6, initializer=start)
    assert warm.passes.tolist() == [1] * 25


class Recording(Initializer):
    """Remembers what it was asked."""

    def target_potential(self, problem, epsilon):
        self.seen = problem.a.shape, problem.b.shape, epsilon
        return torch.zeros_like(problem.b)


def test_initializers():
    a, b, cost = problems(4, 5, 3)
    options = {"epsilon": 0.1, "tol": 1e-6}
    cold = probability_transport(a, b, cost, **options)
    recording = Recording()
    for initializer in (ZerosInitializer(), recording, torch.zeros(3)):
        same = probability_transport(a, b, cost, initializer=initializer, **options)
        assert torch.equal(same.passes, cold.passes)
    assert recording.seen == ((4, 5), (4, 3), 0.1)


# Interface


@pytest.mark.parametrize("as_cost", [lambda c: c.numpy(), lambda c: c.tolist(), PrecomputedCost])
def test_forms_of_the_cost(as_cost):
    a, b, cost = problems()
    expected = probability_transport_loss(a, b, cost, epsilon=0.1)
    assert torch.equal(probability_transport_loss(a, b, as_cost(cost), epsilon=0.1), expected)


def test_grid_and_support_costs():
    a, b, _ = problems()
    points = torch.as_tensor(np.random.RandomState(0).uniform(size=(6, 2)))
    on_points = SupportCost(points, points, "euclidean")
    loss = probability_transport_loss(a, b, on_points, epsilon=0.1)
    expected = probability_transport_loss(a, b, torch.cdist(points, points), epsilon=0.1)
    torch.testing.assert_close(loss, expected)

    grid = GridCost((2, 3))
    expected = probability_transport_loss(a, b, grid.matrix(), epsilon=0.1, debiased=True)
    loss = probability_transport_loss(a, b, grid, epsilon=0.1, debiased=True)
    assert torch.equal(loss, expected)


def test_dtypes_and_shapes():
    a, b, cost = problems(4)
    assert (
        probability_transport_loss(a.float(), b.float(), cost, epsilon=0.1).dtype == torch.float32
    )
    assert probability_transport_loss(a.float(), b, cost, epsilon=0.1).dtype == torch.float64
    from_arrays = probability_transport_loss(a.numpy(), b.tolist(), cost, epsilon=0.1)
    torch.testing.assert_close(from_arrays, probability_transport_loss(a, b, cost, epsilon=0.1))
    assert probability_transport_loss(a[0], b[0], cost, epsilon=0.1).shape == ()
    assert probability_transport_loss(a[:1], b, cost, epsilon=0.1).shape == (4,)
    assert probability_transport_loss(a[0], b, cost, epsilon=0.1, debiased=True).shape == (4,)
    one = probability_transport(a[0], b[0], cost, epsilon=0.1)
    assert one.passes.shape == one.converged.shape == ()
    assert one.f.shape == (6,)


def test_inputs_stay_as_they_are():
    a, b, cost = problems(4)
    copies = a.clone(), b.clone(), cost.clone()
    probability_transport_loss(5.0 * a, b, cost, epsilon=0.1, debiased=True)
    assert all(torch.equal(*pair) for pair in zip((a, b, cost), copies, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": [[0.5, -0.1]]}, "Negative values"),
        ({"a": [[0.0, 0.0]]}, "at least one non-zero"),
        ({"b": [[np.nan, 1.0]]}, "NaN or infinity"),
        ({"a": [[0.2, 0.3, 0.5]]}, r"a must have shape \(2,\) or \(n_problems, 2\)"),
        ({"a": np.ones((3, 2)), "b": np.ones((4, 2))}, "3 problems, but b holds 4 problems"),
        ({"cost": [[0.0, np.inf], [1.0, 0.0]]}, "infinity"),
        ({"cost": "sqeuclidean"}, "PrecomputedCost"),
        ({"epsilon": 0.0}, "epsilon must be a positive number"),
        ({"tol": -1.0}, "tol must be a positive number"),
        ({"max_iter": 0}, "max_iter must be an integer of at least 1"),
        ({"initializer": torch.zeros(2, 3)}, r"potential of shape \(1, 2\). Got shape \(2, 3\)"),
        ({"initializer": torch.tensor([0.0, np.nan])}, "initial potential contains NaN"),
        ({"cost": [[0.0, 1.0], [0.5, 0.0]], "debiased": True}, "symmetric cost"),
        ({"cost": [[0.0, 1.0]], "a": [1.0], "debiased": True}, "symmetric cost"),
    ],
)
def test_bad_input(change, message):
    arguments = {"a": [[0.5, 0.5]], "b": [[0.1, 0.9]], "cost": [[0.0, 1.0], [1.0, 0.0]]}
    arguments |= {"epsilon": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        probability_transport_loss(**arguments)


@pytest.mark.gpu
def test_on_a_gpu():
    a, b, cost = problems(500, 10)
    expected = probability_transport_loss(a, b, cost, epsilon=0.1)
    at = a.cuda().requires_grad_()
    loss = probability_transport_loss(at, b.cuda(), cost.cuda(), epsilon=0.1)
    loss.sum().backward()
    assert loss.is_cuda
    torch.testing.assert_close(loss.detach().cpu(), expected)
