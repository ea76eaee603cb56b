"""Second derivatives of the dual value: finite differences, identities, other libraries."""

import warnings

import numpy as np
import pytest
import torch
from _problems import random_pair, squared_distances
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning

from skot.costs import GridCost, PNorm, PrecomputedCost, SquaredEuclidean, SupportCost
from skot.metrics import probability_transport_loss, sinkhorn_divergence
from skot.solvers import sinkhorn
from skot.solvers._entropic import sinkhorn as sinkhorn_module
from skot.solvers._entropic.derivatives import adjoint, functions, linearization, plan_entries

TIGHT = {"epsilon": 0.5, "tol": 1e-13, "max_iter": 5000}


def leaves(*tensors):
    return tuple(tensor.clone().requires_grad_(True) for tensor in tensors)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(function, at):
    (at,) = leaves(at)
    return torch.autograd.grad(function(at), at)[0]


def product(function, at, direction):
    """Hessian-vector product."""
    (at,) = leaves(at)
    (slope,) = torch.autograd.grad(function(at), at, create_graph=True)
    return torch.autograd.grad(slope, at, direction)[0]


def differences(function, at, direction, step):
    ahead, behind = (gradient(function, at + sign * step * direction) for sign in (1, -1))
    return (ahead - behind) / (2.0 * step)


def gradgradcheck(function, inputs, **options):
    # Random projections: all entries would take seconds.
    return torch.autograd.gradgradcheck(function, inputs, fast_mode=True, **options)


def relative_error(found, expected):
    return float((found - expected).norm() / expected.norm())


# Against finite differences of the gradient, which is exact


@pytest.mark.parametrize("tol", [1e-4, 1e-12])
@pytest.mark.parametrize("share, rtol", [(1.0, 1e-6), (0.1, 1e-6), (0.01, 5e-6)])
@pytest.mark.parametrize("kind", ["points", "weights", "matrix"])
def test_finite_differences(kind, share, rtol, tol):
    x, y, a, b = random_pair(30, 30, 2)
    epsilon = share * SquaredEuclidean().scale(x, y, a, b)
    matrix = squared_distances(x, y)

    def value(at, tol):
        options = {"epsilon": epsilon, "tol": tol, "max_iter": 20_000}
        if kind == "points":
            return sinkhorn(at, y, a, b, **options).dual_value
        if kind == "weights":
            return sinkhorn(x, y, at, b, **options).dual_value
        return sinkhorn(a=a, b=b, cost=PrecomputedCost(at), **options).dual_value

    at = {"points": x, "weights": a, "matrix": matrix}[kind]
    direction = randn(*at.shape, seed=1) * (a if kind == "weights" else 1.0)
    expected = differences(lambda t: value(t, 1e-13), at, direction, 1e-4 * min(1.0, 10 * share))
    # Weights are normalised, which brings the gradient in, and with it the error of the solve. For
    # points and costs potentials are refined first.
    limit = max(rtol, tol) if kind == "weights" else rtol
    assert relative_error(product(lambda t: value(t, tol), at, direction), expected) < limit


@pytest.mark.parametrize(
    "cost", [None, PNorm(p=1.5, power=1.7), "euclidean", "cosine", "sphere"], ids=str
)
def test_every_cost(cost):
    x, y, a, b = random_pair(5, 4, 2)

    def value(*inputs):
        return sinkhorn(*inputs, cost=cost, **TIGHT).dual_value

    assert gradgradcheck(value, leaves(x, y, 3.0 * a, b), atol=1e-6)


def test_batches_of_weights():
    x, y, a, b = random_pair(5, 4, 2)
    matrix, weights = squared_distances(x, y), torch.stack([a, a.flip(0)])

    def of_points(x, y, a, b):
        return sinkhorn(x, y, a, b, **TIGHT).dual_value

    def of_matrix(matrix, a):
        return sinkhorn(a=a, b=b, cost=PrecomputedCost(matrix), **TIGHT).dual_value

    def of_supports(x, y):
        return sinkhorn(a=weights, b=b, cost=SupportCost(x, y), **TIGHT).dual_value

    assert gradgradcheck(of_points, leaves(x, y, weights, b), atol=1e-6)
    assert gradgradcheck(of_matrix, leaves(matrix, weights), atol=1e-6)
    assert gradgradcheck(of_supports, leaves(x, y), atol=1e-6)


@pytest.mark.parametrize("epsilon", [0.5, 0.009])
def test_grids(epsilon):
    """The second one is beyond the range in which the kernel of a grid is a product."""
    a, b = randn(2, 6).square() + 0.1, randn(2, 6, seed=1).square() + 0.1

    def value(a, b):
        options = {**TIGHT, "epsilon": epsilon}
        return sinkhorn(a=a, b=b, cost=GridCost((2, 3)), **options).dual_value

    assert gradgradcheck(value, leaves(a, b), atol=1e-6, rtol=1e-2)


def test_class_costs_are_constants():
    x, y, a, b = random_pair(6, 5, 2)
    classes = torch.tensor([0, 0, 1, 1, 0, 1]), randn(2, 5)

    def value(*inputs):
        return sinkhorn(*inputs, class_cost=classes, **TIGHT).dual_value

    assert gradgradcheck(value, leaves(x, y, a, b), atol=1e-6)


def test_weights_of_zero():
    x, y, a, b = random_pair(7, 6, 2)
    a[[1, 4]], b[2] = 0.0, 0.0

    def of_points(x, y):
        return sinkhorn(x, y, a, b, **TIGHT).dual_value

    assert gradgradcheck(of_points, leaves(x, y), atol=1e-6)

    def slope(b):
        (b,) = leaves(b)
        value = sinkhorn(x, y, a, b, **TIGHT).dual_value
        return torch.autograd.grad(value, b, create_graph=True)[0], b

    weights = randn(6)
    first, leaf = slope(b)
    (found,) = torch.autograd.grad(first @ weights, leaf)
    step = 1e-6 * torch.eye(6, dtype=torch.float64)[2]
    near, far = ((slope(b + k * step)[0] - first).detach() @ weights for k in (0.5, 1.0))
    # One-sided, of the second order.
    assert float(found[2]) == pytest.approx(float((4.0 * near - far) / 1e-6), rel=1e-5)


# Identities


def test_a_common_translation():
    """V(x + v) has the gradient 2 (a x - P y), in which P does not change."""
    x, y, a, b = random_pair(40, 30, 3)
    v = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64).expand_as(x)
    found = product(lambda z: sinkhorn(z, y, a, b, epsilon=0.3).dual_value, x, v)
    torch.testing.assert_close(found, 2.0 * a[:, None] * v, rtol=0, atol=1e-10)


def test_hessian_is_symmetric_and_bounded():
    """The value is a minimum over plans of quadratics whose Hessian is 2 diag(a)."""
    x, y, a, b = random_pair(12, 10, 2)
    hessian = torch.autograd.functional.hessian(
        lambda z: sinkhorn(z, y, a, b, epsilon=0.3, tol=1e-9).dual_value, x
    ).reshape(24, 24)
    torch.testing.assert_close(hessian, hessian.T, rtol=0, atol=1e-10)
    excess = hessian - torch.diag(2.0 * a.repeat_interleave(2))
    assert float(torch.linalg.eigvalsh(excess).max()) < 1e-10
    # An average of the cost's second derivatives under a fixed plan would be 2 diag(a) itself.
    assert float(torch.linalg.eigvalsh(excess).min()) < -1e-2


@pytest.mark.parametrize("shift", [1e3, 1e5])
def test_far_from_the_origin(shift):
    x, y, a, b = random_pair(20, 15, 2)
    v = randn(20, 2)

    def value(z):
        return sinkhorn(z, y, a, b, epsilon=0.3, tol=1e-9).dual_value

    def shifted(z):
        return sinkhorn(z, y + 0.5 * shift, a, b, epsilon=0.3, tol=1e-9).dual_value

    torch.testing.assert_close(
        product(shifted, x + shift, v), product(value, x, v), rtol=0, atol=1e-10 * shift
    )


def test_coincident_points_of_a_divergence():
    x, y, a, b = random_pair(5, 4, 2)
    for cost in ("sqeuclidean", "euclidean"):

        def divergence(x, y, a, b, cost=cost):
            return sinkhorn_divergence(x, y, a=a, b=b, cost=cost, **TIGHT)

        assert gradgradcheck(divergence, leaves(x, y, a, b), atol=1e-6)


@pytest.mark.parametrize("debiased", [False, True])
def test_losses_between_probabilities(debiased):
    a, b = randn(3, 5).square() + 0.05, randn(3, 5, seed=1).square() + 0.05
    matrix = squared_distances(*(2 * [randn(5, 2, seed=2)]))

    def loss(a, b, matrix):
        options = {**TIGHT, "debiased": debiased}
        return probability_transport_loss(a, b, matrix + matrix.T, **options)

    inputs = leaves(a, b, matrix)
    assert torch.autograd.gradcheck(loss, inputs, atol=1e-6, fast_mode=True)
    assert gradgradcheck(loss, inputs, atol=1e-6)


# Small inputs that were wrong once


def test_hessian_of_a_plain_call():
    x, y, _, _ = random_pair(6, 5, 2)

    def value(z):
        return sinkhorn(z, y, epsilon=0.5, tol=1e-11).dual_value

    hessian = torch.autograd.functional.hessian(value, x).reshape(12, 12)
    columns = [
        differences(value, x, unit.reshape(6, 2), 1e-5).flatten()
        for unit in torch.eye(12, dtype=torch.float64)
    ]
    torch.testing.assert_close(hessian, torch.stack(columns, 1), rtol=1e-5, atol=1e-7)


def test_weights_behind_a_softmax():
    x, y, _, _ = random_pair(6, 5, 2)

    def value(t):
        return sinkhorn(x, y, t.softmax(0), epsilon=0.1, tol=1e-12, max_iter=20_000).dual_value

    (t,) = leaves(randn(6))
    (slope,) = torch.autograd.grad(value(t), t, create_graph=True)
    (found,) = torch.autograd.grad(slope.square().sum(), t)
    fixed = t.detach()
    expected = [
        (
            gradient(value, fixed + step).square().sum()
            - gradient(value, fixed - step).square().sum()
        )
        / 2e-5
        for step in 1e-5 * torch.eye(6, dtype=torch.float64)
    ]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-8)


def test_agrees_with_a_differentiated_iteration():
    ot = pytest.importorskip("ot")
    x, y, a, b = random_pair(12, 10, 2)
    v = randn(12, 2)

    def theirs(z):
        options = {"reg": 0.5, "reg_type": "KL", "tol": 1e-12, "max_iter": 20_000}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ot.solve(squared_distances(z, y), a, b, grad="autodiff", **options).value

    def ours(z):
        return sinkhorn(z, y, a, b, epsilon=0.5, tol=1e-10).dual_value

    torch.testing.assert_close(product(ours, x, v), product(theirs, x, v), rtol=1e-6, atol=1e-9)


# How it is computed


def all_products(**options):
    x, y, a, b = leaves(*random_pair(40, 30, 3))
    value = sinkhorn(x, y, a, b, epsilon=0.3, tol=1e-12, **options).dual_value
    slopes = torch.autograd.grad(value, (x, y, a, b), create_graph=True)
    return torch.autograd.grad(sum(slope.square().sum() for slope in slopes), (x, y, a, b))


def test_streamed_is_stored(monkeypatch):
    stored = all_products()
    streamed = all_products(storage="stream")
    with config_context(working_memory=0):
        by_memory = all_products()
    # What would allocate the plan is not called at all.
    monkeypatch.delattr(plan_entries, "_StoredEntries")
    again = all_products(storage="stream")
    for expected, *others in zip(stored, streamed, by_memory, again, strict=True):
        for other in others:
            torch.testing.assert_close(other, expected, rtol=1e-6, atol=1e-8)


def test_a_plan_kept_in_float32(monkeypatch):
    expected = all_products()
    monkeypatch.setattr(plan_entries, "_SMALL", 0)
    for found, one in zip(all_products(), expected, strict=True):
        assert relative_error(found, one) < 1e-5


def test_factorised_where_the_iteration_is_slow(monkeypatch):
    expected = all_products()
    monkeypatch.setattr(linearization, "_PATIENCE", 3)
    for found, one in zip(all_products(), expected, strict=True):
        torch.testing.assert_close(found, one, rtol=1e-7, atol=1e-9)


def test_problems_of_a_batch_are_worked_on_in_parts(monkeypatch):
    x, y, a, b = random_pair(6, 5, 2)
    weights = torch.stack([a, a.flip(0), torch.ones_like(a)])

    def products():
        inputs = leaves(x, y, weights)
        values = sinkhorn(*inputs, b, epsilon=0.5, tol=1e-9).dual_value
        slopes = torch.autograd.grad(values.square().sum(), inputs, create_graph=True)
        return torch.autograd.grad(sum(slope.square().sum() for slope in slopes), inputs)

    expected = products()
    monkeypatch.setattr(adjoint, "_CHUNK_ENTRIES", 60)
    for found, one in zip(products(), expected, strict=True):
        torch.testing.assert_close(found, one)


class OwnCosts:
    """Logits of a matrix for each problem, as a batch of different clouds forms them."""

    def __init__(self, matrices):
        self.matrices, self.shape = matrices, tuple(matrices.shape[1:])
        self.scale = matrices.mean((1, 2))

    def select_problems(self, problems):
        return OwnCosts(self.matrices[problems])

    def logit_tiles(self, h, epsilon, dtype):
        return lambda rows: h[:, None] - self.matrices[:, rows] / epsilon[:, None, None]


@pytest.mark.parametrize("chunk", [2**22, 30])
@pytest.mark.parametrize("cost", [SquaredEuclidean(), PNorm(p=1.5, power=1.7), "matrix"], ids=str)
def test_problems_with_clouds_of_their_own(monkeypatch, cost, chunk):
    monkeypatch.setattr(adjoint, "_CHUNK_ENTRIES", chunk)
    epsilons = [0.5, 0.7, 1.0]
    problems = [random_pair(5, 4, 2, seed=i) for i in range(3)]
    x, y, a, b = (torch.stack(part) for part in zip(*problems, strict=True))
    points = (squared_distances(x[0], y[0])[None] * x.new_tensor([1.0, 2.0, 3.0])[:, None, None],)
    matrices = points[0]
    if cost != "matrix":
        points = x, y
        matrices = torch.stack([cost.pairwise(*pair) for pair in zip(x, y, strict=True)])

    def single(i, a, b, *points):
        options = {**TIGHT, "epsilon": epsilons[i]}
        if cost == "matrix":
            return sinkhorn(a=a[i], b=b[i], cost=PrecomputedCost(points[0][i]), **options)
        return sinkhorn(points[0][i], points[1][i], a[i], b[i], cost=cost, **options)

    def together(a, b, *points):
        solved = [single(i, a.detach(), b, *(p.detach() for p in points)) for i in range(3)]
        f, g = (torch.stack([getattr(one, part).detach() for one in solved]) for part in "fg")
        epsilon = x.new_tensor(epsilons)
        solution = adjoint.Solution(
            costs=OwnCosts(matrices),
            cost=cost,
            points=tuple(p.detach() for p in points),
            a=a.detach(),
            b=b.detach(),
            f=f,
            g=g,
            h=g / epsilon[:, None],
            epsilon=epsilon,
            scaled_epsilon=epsilon,
            moves=True,
        )
        return functions.DualValue.apply(lambda *_: solution, a, b, *points)

    def one_by_one(*inputs):
        return torch.stack([single(i, *inputs).dual_value for i in range(3)])

    found = []
    for values in (together, one_by_one):
        inputs = leaves(a, b, *points)
        slopes = torch.autograd.grad(values(*inputs).square().sum(), inputs, create_graph=True)
        # Constants of the gradients of weights are no part of it.
        slopes = [s - s.mean(1, keepdim=True) if s.ndim == 2 else s for s in slopes]
        second = torch.autograd.grad(sum(s.square().sum() for s in slopes), inputs)
        found.append([s - s.mean(1, keepdim=True) if s.ndim == 2 else s for s in second])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-8)


def test_a_value_without_leaves_builds_nothing(monkeypatch):
    monkeypatch.delattr(sinkhorn_module, "DualValue")
    x, y, a, b = random_pair(6, 5, 2)
    assert sinkhorn(x, y, a, b, epsilon=0.5).converged
    with torch.no_grad():
        assert sinkhorn(*leaves(x, y, a, b), epsilon=0.5).converged


def test_too_loose_a_solve_says_so():
    rng = np.random.RandomState(0)
    x, y = rng.standard_normal((40, 2)), rng.standard_normal((40, 2)) + 3.0
    (points,) = leaves(torch.from_numpy(x))
    value = sinkhorn(points, y, epsilon=1e-3, max_iter=1).dual_value
    (slope,) = torch.autograd.grad(value, points, create_graph=True)
    with pytest.warns(ConvergenceWarning, match="Lower tol") as caught:
        slope.square().sum().backward()
    assert caught[0].filename == __file__  # not a line of autograd, which made the call


# What is not offered raises


def test_third_derivatives():
    x, y, a, b = random_pair(6, 5, 2)
    (points,) = leaves(x)
    result = sinkhorn(points, y, a, b, epsilon=0.5)
    (slope,) = torch.autograd.grad(result.dual_value, points, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), points, create_graph=True)
    with pytest.raises(RuntimeError, match="one derivative more"):
        second.sum().backward()
    for part in (result.f, result.plan.apply(y), result.plan.toarray()):
        (slope,) = torch.autograd.grad(part.square().sum(), points, create_graph=True)
        with pytest.raises(RuntimeError, match="one derivative more"):
            slope.sum().backward()


def test_nested_transforms_of_functions():
    x, y, a, b = random_pair(6, 5, 2)
    v = randn(6, 2)

    def value(z):
        return sinkhorn(z, y, a, b, **TIGHT).dual_value

    found = torch.func.grad(lambda z: (torch.func.grad(value)(z) * v).sum())(x)
    torch.testing.assert_close(found, product(value, x, v))
