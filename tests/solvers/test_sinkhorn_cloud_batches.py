"""Batches of different clouds: the same solutions as one at a time, and what is refused."""

import copy
import pickle

import numpy as np
import pytest
import torch

from skot.costs import Cost, GridCost, PNorm, PrecomputedCost, SquaredEuclidean
from skot.metrics import sinkhorn_divergence
from skot.solvers import (
    GaussianInitializer,
    ZerosInitializer,
    sinkhorn,
)
from skot.solvers._entropic.clouds import batches as cloud_batches
from skot.solvers._entropic.clouds import kernel as cloud_kernel
from skot.solvers._entropic.derivatives import adjoint

N_FEATURES = 2
SIZES = ([7, 12, 1, 20, 9], [9, 3, 6, 17, 1])
TIGHT = 1e-10


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def weights(*shape, seed=0):
    values = normal(*shape, seed=seed).exp()
    return values / values.sum(-1, keepdim=True)


X, Y = normal(6, 12, N_FEATURES), 1.5 * normal(6, 10, N_FEATURES, seed=1) + 3.0
A, B = weights(6, 12, seed=2), weights(6, 10, seed=3)


def ragged():
    """Lists of clouds and of their weights, some of them zero."""
    x = [normal(n, N_FEATURES, seed=n) for n in SIZES[0]]
    y = [1.0 + normal(m, N_FEATURES, seed=50 + m) for m in SIZES[1]]
    a = [weights(n, seed=n) for n in SIZES[0]]
    b = [weights(m, seed=m) for m in SIZES[1]]
    a[1][3], a[3][0], b[0][:2] = 0.0, 0.0, 0.0
    return x, y, a, b


def assert_same_problem(batch, i, single, atol=1e-8):
    """Problem i of a batch is solved as `single` is."""
    n, m = single.plan.shape
    assert bool(batch.converged[i])
    assert batch.plan[i].shape == (n, m)
    assert float(batch.dual_value[i]) == pytest.approx(float(single.dual_value), abs=atol)
    torch.testing.assert_close(batch.f[i, :n], single.f, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(batch.g[i, :m], single.g, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(batch.plan[i].toarray(), single.plan.toarray(), atol=atol, rtol=0)


def assert_honest(result):
    """Errors are those of the plans, whose source marginals are exact."""
    for i, plan in enumerate(result.plan):
        source, target = plan.marginals()
        n, m = plan.shape
        torch.testing.assert_close(source, plan._a, atol=1e-12, rtol=0)
        error = float((target - plan._b).abs().sum())
        assert error == pytest.approx(float(result.marginal_error[i]), rel=1e-3, abs=1e-12)


# The same solutions


@pytest.mark.parametrize("epsilon", [5.0, 0.5, 0.05, 0.005])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_as_one_at_a_time(epsilon, shift):
    x = X + shift
    batch = sinkhorn(x, Y, A, B, epsilon=epsilon, tol=TIGHT)
    assert batch.f.shape == (6, 12)
    assert batch.g.shape == (6, 10)
    assert batch.epsilon == epsilon
    assert batch.n_iter >= max(len(batch.errors), int(batch.passes.max()))
    for i in range(6):
        single = sinkhorn(x[i], Y[i], A[i], B[i], epsilon=epsilon, tol=TIGHT)
        value = float(single.dual_value)
        assert float(batch.dual_value[i]) == pytest.approx(value, rel=1e-12, abs=1e-8)
        plan = single.plan.toarray()
        torch.testing.assert_close(batch.plan[i].toarray(), plan, atol=1e-8, rtol=0)
    torch.testing.assert_close((batch.f * A).sum(1), (batch.g * B).sum(1), rtol=1e-9, atol=1e-8)
    assert_honest(batch)


def test_values_of_plans():
    batch = sinkhorn(X, Y, A, B, epsilon=0.5, tol=TIGHT)
    for i in range(6):
        single = sinkhorn(X[i], Y[i], A[i], B[i], epsilon=0.5, tol=TIGHT)
        assert float(batch.cost_value[i]) == pytest.approx(single.cost_value, abs=1e-8)
        assert float(batch.primal_value[i]) == pytest.approx(single.primal_value, abs=1e-8)


@pytest.mark.parametrize("kind", [list, tuple, "numpy"])
def test_lists_of_clouds(kind):
    x, y, a, b = ragged()
    epsilon = [0.1, 0.5, 0.2, 1.0, 0.02]
    if kind == "numpy":
        convert = lambda parts: [part.numpy() for part in parts]  # noqa: E731
    else:
        convert = kind
    options = {"epsilon": epsilon, "tol": TIGHT}
    batch = sinkhorn(convert(x), convert(y), convert(a), convert(b), **options)
    assert batch.f.shape == (5, 20)
    assert batch.g.shape == (5, 17)
    torch.testing.assert_close(batch.epsilon, torch.tensor(epsilon, dtype=torch.float64))
    for i in range(5):
        single = sinkhorn(x[i], y[i], a[i], b[i], epsilon=epsilon[i], tol=TIGHT)
        assert_same_problem(batch, i, single)
        assert not batch.f[i, SIZES[0][i] :].any()
        assert not batch.g[i, SIZES[1][i] :].any()
    cost = torch.tensor([plan.cost for plan in batch.plan], dtype=torch.float64)
    torch.testing.assert_close(batch.cost_value, cost)
    assert torch.isfinite(batch.primal_value).all()
    assert_honest(batch)


def test_clouds_of_very_different_sizes_are_not_padded_to_one():
    sizes = [3, 300, 5, 4, 280, 3]
    x = [normal(n, 2, seed=n) for n in sizes]
    y = [normal(n + 1, 2, seed=2 * n) for n in sizes]
    batch = sinkhorn(x, y, epsilon=0.5, tol=1e-8)
    for i in range(6):
        assert_same_problem(batch, i, sinkhorn(x[i], y[i], epsilon=0.5, tol=1e-8), atol=1e-7)


def test_padding_with_weights_of_zero():
    x, y, a, b = ragged()
    # What is in the place of padding does not matter, however far away.
    padded_x, padded_y = (
        torch.full((5, 20, N_FEATURES), 1e3),
        torch.full((5, 17, N_FEATURES), -50.0),
    )
    padded_x, padded_y = padded_x.double(), padded_y.double()
    padded_a, padded_b = torch.zeros(5, 20), torch.zeros(5, 17)
    padded_a, padded_b = padded_a.double(), padded_b.double()
    for i, (n, m) in enumerate(zip(*SIZES, strict=True)):
        padded_x[i, :n], padded_a[i, :n] = x[i], a[i]
        padded_y[i, -m:], padded_b[i, -m:] = y[i], b[i]
    batch = sinkhorn(padded_x, padded_y, padded_a, padded_b, epsilon=0.3, tol=TIGHT)
    lists = sinkhorn(x, y, a, b, epsilon=0.3, tol=TIGHT)
    torch.testing.assert_close(batch.dual_value, lists.dual_value, atol=1e-8, rtol=1e-9)
    for i in range(5):
        problem = padded_x[i], padded_y[i], padded_a[i], padded_b[i]
        # Padded points have potentials: those of an ordinary c-transform.
        assert_same_problem(batch, i, sinkhorn(*problem, epsilon=0.3, tol=TIGHT))


def test_a_regularisation_for_each_problem():
    epsilon = torch.logspace(-1, 1, 6, dtype=torch.float64)
    batch = sinkhorn(X, Y, epsilon=epsilon, tol=TIGHT)
    for i in range(6):
        single = sinkhorn(X[i], Y[i], epsilon=float(epsilon[i]), tol=TIGHT)
        assert_same_problem(batch, i, single)


def test_weights_shared_by_all_problems():
    batch = sinkhorn(X, Y, A[0], epsilon=0.5, tol=TIGHT)
    expanded = sinkhorn(X, Y, A[:1].expand(6, 12), epsilon=0.5, tol=TIGHT)
    torch.testing.assert_close(batch.f, expanded.f, rtol=0, atol=0)


class Bumpy(Cost):
    """A cost of one's own, which looks at values and so cannot be vectorised."""

    def pairwise(self, x, y):
        distance = (x[:, None] - y[None]).abs().sum(-1)
        if float(distance.detach().max()) < 0.0:
            raise AssertionError
        return torch.log1p(distance) + 100.0


class Doubled(SquaredEuclidean):
    """A cost that computes something else than its parent."""

    def pairwise(self, x, y):
        return 2.0 * super().pairwise(x, y)

    def factorize(self, x, y):
        return None

    def standardize(self, x, y, a, b):
        return Cost.standardize(self, x, y, a, b)


@pytest.mark.parametrize(
    "cost", ["euclidean", "cityblock", "cosine", "sphere", PNorm(3.0, 1.5), Bumpy(), Doubled()]
)
@pytest.mark.parametrize("epsilon", [0.2, 0.002])
def test_other_costs(cost, epsilon):
    x, y, a, b = ragged()
    batch = sinkhorn(x, y, a, b, epsilon=epsilon, cost=cost, tol=1e-9)
    for i in range(5):
        single = sinkhorn(x[i], y[i], a[i], b[i], epsilon=epsilon, cost=cost, tol=1e-9)
        assert float(batch.dual_value[i]) == pytest.approx(float(single.dual_value), abs=1e-8)
        plan = single.plan.toarray()
        torch.testing.assert_close(batch.plan[i].toarray(), plan, atol=1e-7, rtol=0)


def test_a_matrix_for_each_problem():
    matrices = 50.0 + 10.0 * normal(6, 12, 10).abs()
    b = B.clone()
    b[2, 4] = 0.0
    batch = sinkhorn(cost=PrecomputedCost(matrices), a=A, b=b, epsilon=1.0, tol=TIGHT)
    for i in range(6):
        cost = PrecomputedCost(matrices[i])
        single = sinkhorn(cost=cost, a=A[i], b=b[i], epsilon=1.0, tol=TIGHT)
        assert_same_problem(batch, i, single)


# Hard problems


def far_clusters():
    x, y = normal(4, 30, 2), normal(4, 30, 2, seed=1)
    x[:, :15] += 20.0
    y[:, :9] += 20.0
    return x, y, None, None


def outlier():
    x, y = normal(4, 30, 2), normal(4, 30, 2, seed=1)
    x[:, 0] = 100.0
    return x, y, None, None


def tiny_weights():
    a, b = (3.0 * normal(4, 30)).exp(), (-25.0 * normal(4, 30, seed=1).abs()).exp()
    return normal(4, 30, 2), normal(4, 30, 2, seed=1), a, b


def bumps_on_a_grid():
    grid = torch.linspace(0.0, 1.0, 40, dtype=torch.float64)
    points = grid[None, :, None].expand(4, 40, 1)
    centres = torch.tensor([0.2, 0.4, 0.6, 0.75], dtype=torch.float64)[:, None]
    a = torch.exp(-0.5 * ((grid - centres) / 0.02) ** 2)
    b = torch.exp(-0.5 * ((grid - 1.0 + centres) / 0.03) ** 2) + 1e-12
    return points, points, a, b


def one_point_many_times():
    return normal(4, 1, 2).expand(4, 30, 2), normal(4, 30, 2, seed=1), None, None


@pytest.mark.parametrize(
    "problem", [far_clusters, outlier, tiny_weights, bumps_on_a_grid, one_point_many_times]
)
@pytest.mark.parametrize("share", [0.5, 0.02, 0.003])
def test_hard_problems_are_solved_or_admitted(problem, share):
    x, y, a, b = problem()
    spread = (x.var(1) + y.var(1)).sum(1)
    tol = 1e-5
    result = sinkhorn(x, y, a, b, epsilon=share * spread, tol=tol)
    assert_honest(result)
    assert torch.isfinite(result.f).all()
    assert torch.isfinite(result.g).all()
    assert int(result.converged.sum()) >= 3
    for i in range(0, 4, 3):
        epsilon = share * float(spread[i])
        own = (None if w is None else w[i] for w in (a, b))
        single = sinkhorn(x[i], y[i], *own, epsilon=epsilon, tol=1e-9, max_iter=20000)
        largest = float(torch.cdist(x[i], y[i]).square().max())
        value = float(single.dual_value)
        assert float(result.dual_value[i]) == pytest.approx(value, abs=tol * largest)
        if result.converged[i]:
            columns = result.plan[i]._b > 0
            share_of_mass = (result.plan[i].marginals()[1] / result.plan[i]._b)[columns]
            # Columns of hardly any mass are right too.
            assert float(share_of_mass.log().abs().max()) <= 4 * tol * largest / epsilon


@pytest.mark.parametrize("epsilon", [5.0, 0.5])
def test_an_error_of_the_marginal_alone_is_not_the_end(epsilon):
    # One column of next to no mass: its potential moves no marginal.
    b = torch.full((3, 10), 1.0, dtype=torch.float64)
    b[:, 0] = 1e-30
    solved = sinkhorn(X[:3], Y[:3], None, b, epsilon=epsilon, tol=TIGHT)
    start = solved.g + torch.where(b < 1e-20, 30.0 * epsilon, 0.0)
    options = {"epsilon": epsilon, "tol": 1e-4, "initializer": start}
    # With a hook every pass could be the last.
    result = sinkhorn(X[:3], Y[:3], None, b, **options, on_iteration=lambda i, state: False)
    assert result.converged.all()
    torch.testing.assert_close(result.g, solved.g, atol=1e-2, rtol=0)


# Start, hooks, and when it ends


def test_the_solution_as_a_start():
    solution = sinkhorn(X + 40.0, Y, A, B, epsilon=0.1, tol=TIGHT)
    again = sinkhorn(X + 40.0, Y, A, B, epsilon=0.1, tol=1e-6, initializer=solution.g)
    assert again.passes.tolist() == [1] * 6
    torch.testing.assert_close(again.dual_value, solution.dual_value)


def test_the_published_algorithm_pass_by_pass():
    options = {"epsilon": 0.5, "tol": 1e-6, "annealing": False, "anderson_memory": 0}
    batch = sinkhorn(X, Y, A, B, **options)
    singles = [sinkhorn(X[i], Y[i], A[i], B[i], **options) for i in range(6)]
    assert batch.passes.tolist() == [single.n_iter for single in singles]
    longest = max(singles, key=lambda single: single.n_iter)
    assert batch.errors[: longest.n_iter] == pytest.approx(
        [max(s.errors[k] for s in singles if s.n_iter > k) for k in range(longest.n_iter)],
        rel=1e-6,
        abs=1e-6,
    )


@pytest.mark.parametrize("initializer", [ZerosInitializer(), np.zeros((6, 10))])
def test_starts_from_zeros(initializer):
    result = sinkhorn(X, Y, epsilon=0.5, tol=TIGHT, initializer=initializer)
    expected = sinkhorn(X, Y, epsilon=0.5, tol=TIGHT)
    torch.testing.assert_close(result.f, expected.f, atol=1e-7, rtol=0)


@pytest.mark.parametrize("epsilon", [0.05, 1e-3])
@pytest.mark.parametrize("max_iter", [1, 2, 5, 30])
def test_max_iter_is_kept_and_errors_are_those_of_the_plans(epsilon, max_iter):
    result = sinkhorn(X, Y, A, B, epsilon=epsilon, tol=1e-12, max_iter=max_iter)
    assert result.n_iter == max_iter >= len(result.errors)
    assert max_iter == 30 or not result.converged.any()
    assert_honest(result)


@pytest.mark.parametrize("epsilon", [0.05, 1e-3])
def test_the_hook_sees_every_pass_and_stops(epsilon):
    calls = []

    def stop(i, state):
        calls.append((i, state["marginal_error"], state["epsilon"]))
        return len(calls) == 3

    result = sinkhorn(X, Y, epsilon=epsilon, tol=1e-12, on_iteration=stop)
    assert [i for i, _, _ in calls] == [0, 1, 2]
    assert not result.converged.any()
    assert torch.isfinite(result.f).all()
    assert_honest(result)


def test_float32_and_large_problems_go_one_by_one():
    x, y = normal(2, 300, 2), normal(2, 280, 2, seed=1)
    batch = sinkhorn(x, y, epsilon=0.5, tol=1e-9)
    single = sinkhorn(x[1], y[1], epsilon=0.5, tol=1e-9)
    assert_same_problem(batch, 1, single)
    result = sinkhorn(X.float(), Y.float(), epsilon=0.5, tol=1e-3, dtype=torch.float32)
    assert result.converged.all()
    assert result.f.dtype == torch.float64


@pytest.mark.parametrize("epsilon", [0.5, 0.02])
def test_products_by_torch(epsilon, monkeypatch):
    expected = sinkhorn(X, Y, A, B, epsilon=epsilon, tol=TIGHT)
    monkeypatch.setattr(cloud_kernel, "_array_module", lambda tensor: torch)
    result = sinkhorn(X, Y, A, B, epsilon=epsilon, tol=TIGHT)
    torch.testing.assert_close(result.f, expected.f, atol=1e-7, rtol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("epsilon", [0.5, 0.02, 0.001])
def test_batches_on_cuda(epsilon):
    x, y, a, b = ragged()
    expected = sinkhorn(x, y, a, b, epsilon=epsilon, tol=TIGHT)
    x, y, a, b = ([part.cuda() for part in side] for side in (x, y, a, b))
    result = sinkhorn(x, y, a, b, epsilon=epsilon, tol=TIGHT)
    assert result.converged.all()
    assert result.f.is_cuda
    torch.testing.assert_close(result.dual_value.cpu(), expected.dual_value, atol=1e-8, rtol=0)
    with pytest.raises(ValueError, match="x is on device cuda:0, but y is on device cpu"):
        sinkhorn(x, [part.cpu() for part in y], epsilon=epsilon)


def test_plans_can_be_copied_and_pickled():
    result = sinkhorn(X, Y, epsilon=0.5)
    expected = result.plan[2].toarray()
    for plan in sinkhorn(X, Y, epsilon=0.5).plan[2], result.plan[2]:
        for again in copy.deepcopy(plan), pickle.loads(pickle.dumps(plan)):
            torch.testing.assert_close(again.toarray(), expected, rtol=0, atol=0)
    with pytest.raises(AttributeError, match="nothing"):
        result.plan[2].nothing  # noqa: B018


# Gradients

EPSILONS = [1.0, 1.5, 3.0]
EXACT = {"tol": 1e-12, "max_iter": 5000}


def leaves(*tensors):
    return [tensor.detach().clone().requires_grad_(True) for tensor in tensors]


def tiny():
    """Three problems of five by four points, for checks by finite differences."""
    return X[:3, :5], Y[:3, :4] - 2.0, 3.0 * A[:3, :5], B[:3, :4]


def check_gradients(function, inputs, *, twice):
    inputs = leaves(*inputs)
    # Random projections: all entries would take seconds.
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True, atol=1e-6)
    if twice:
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True, atol=1e-6)


def first_and_second(values, inputs):
    """Gradient of a function of values, and its product with itself under the Hessian."""
    slopes = torch.autograd.grad(values.square().sum(), inputs, create_graph=True)
    return slopes, torch.autograd.grad(sum(s.square().sum() for s in slopes), inputs)


def assert_same_gradients(found, expected, atol=1e-7):
    for derivatives in zip(found, expected, strict=True):
        for one, other in zip(*derivatives, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=atol)


@pytest.mark.parametrize("cost", [None, PNorm(1.5, 1.7), "cosine", Bumpy()], ids=str)
def test_derivatives_of_values(cost):
    def values(*inputs):
        return sinkhorn(*inputs, epsilon=EPSILONS, cost=cost, **EXACT).dual_value

    check_gradients(values, tiny(), twice=True)


@pytest.mark.parametrize("cost", [None, "euclidean"])
def test_derivatives_of_potentials_and_plans(cost):
    def parts(x, y, a, b, values):
        result = sinkhorn(x, y, a, b, epsilon=EPSILONS, cost=cost, **EXACT)
        last = result.plan[2]
        products = result.plan[1].apply(values), last.apply_transpose(x[2])
        return result.f, result.g, last.toarray(), *products

    check_gradients(parts, [*tiny(), normal(4, 2)], twice=False)


def test_derivatives_of_matrices():
    _, _, a, b = tiny()

    def solve(matrices, a, b):
        return sinkhorn(cost=PrecomputedCost(matrices), a=a, b=b, epsilon=EPSILONS, **EXACT)

    def plans(*inputs):
        return torch.stack([plan.toarray() for plan in solve(*inputs).plan])

    inputs = normal(3, 5, 4).abs(), a, b
    check_gradients(lambda *inputs: solve(*inputs).dual_value, inputs, twice=True)
    check_gradients(plans, inputs, twice=False)


@pytest.mark.parametrize("shift", [0.0, 1e3])
@pytest.mark.parametrize("chunk", [2**18, 60])
def test_derivatives_of_lists_are_those_of_each_problem(chunk, shift, monkeypatch):
    monkeypatch.setattr(adjoint, "_OWN_CHUNK_ENTRIES", chunk)
    x, y, a, b = ragged()
    x = [points + shift for points in x]
    epsilon = [0.5, 0.3, 1.0, 0.8, 0.4]
    inputs = leaves(*x, *y, *a, *b)
    batch = sinkhorn(*(inputs[i : i + 5] for i in range(0, 20, 5)), epsilon=epsilon, tol=1e-11)
    of_plans = torch.autograd.grad(
        sum(plan.apply(y[i]).square().sum() for i, plan in enumerate(batch.plan)),
        inputs,
        retain_graph=True,
    )
    of_potentials = torch.autograd.grad(
        (batch.f.sum(1) - batch.g.sum(1)).sum(), inputs, retain_graph=True
    )
    found = first_and_second(batch.dual_value, inputs)
    for i in range(5):
        alone = leaves(x[i], y[i], a[i], b[i])
        single = sinkhorn(*alone, epsilon=epsilon[i], tol=1e-11)
        product = single.plan.apply(y[i]).square().sum()
        expected = [
            torch.autograd.grad(value, alone, retain_graph=True)
            for value in (product, single.f.sum() - single.g.sum())
        ]
        found_i = of_plans[i::5], of_potentials[i::5]
        assert_same_gradients(found_i, expected, atol=1e-6 * max(1.0, shift))
        expected = first_and_second(single.dual_value, alone)
        assert_same_gradients([d[i::5] for d in found], expected, atol=1e-7 * max(1.0, shift))


def test_points_without_mass_are_padding():
    x, y, a, b = ragged()
    wide = torch.nn.utils.rnn.pad_sequence
    far = [wide(side, batch_first=True, padding_value=50.0) for side in (x, y)]
    padded = leaves(*far)
    weighted = [wide(side, batch_first=True) for side in (a, b)]
    inputs = leaves(*x, *y)
    options = {"epsilon": 0.5, "tol": 1e-11}
    found = first_and_second(sinkhorn(*padded, *weighted, **options).dual_value, padded)
    values = sinkhorn(inputs[:5], inputs[5:], a, b, **options).dual_value
    expected = [
        [wide(side, batch_first=True) for side in (slopes[:5], slopes[5:])]
        for slopes in first_and_second(values, inputs)
    ]
    assert_same_gradients(found, expected)


def test_derivatives_of_divergences():
    x, y, a, b = tiny()

    def divergences(*inputs):
        x, y, a, b = inputs
        return sinkhorn_divergence(x, y, a=a, b=b, epsilon=EPSILONS, **EXACT)

    check_gradients(divergences, (x, y, a, b), twice=True)
    inputs = leaves(*ragged()[0], *ragged()[1])
    sinkhorn_divergence(inputs[:5], inputs[5:]).sum().backward()
    for one, other in zip(inputs[:5], inputs[5:], strict=True):
        alone = leaves(one, other)
        sinkhorn_divergence(*alone).backward()
        for found, expected in zip((one, other), alone, strict=True):
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-3)


def test_derivatives_of_what_goes_one_by_one():
    inputs = leaves(normal(2, 100, 2), normal(2, 90, 2, seed=1))
    options = {"epsilon": 0.5, "tol": 1e-8}
    found = first_and_second(sinkhorn(*inputs, **options).dual_value, inputs)
    singles = [sinkhorn(*pair, **options).dual_value for pair in zip(*inputs, strict=True)]
    assert_same_gradients(found, first_and_second(torch.stack(singles), inputs))


def test_second_derivatives_do_not_depend_on_the_other_problems():
    # Some problems have arrived far below the tolerance, others just so.
    epsilon = [50.0, 0.3, 0.5, 50.0, 0.2, 1.0]
    errors = []
    for tol in (3e-2, 1e-12):
        inputs = leaves(X, Y - 3.0)
        result = sinkhorn(*inputs, A, B, epsilon=epsilon, tol=tol)
        errors.append(result.marginal_error)
        slopes = torch.autograd.grad(result.dual_value.sum(), inputs, create_graph=True)
        along = sum((s * direction).sum() for s, direction in zip(slopes, (X, Y), strict=True))
        second = torch.autograd.grad(along, inputs)
        if tol == 3e-2:
            loose = second
    # The test would show nothing otherwise.
    assert float(errors[0].min()) < 1e-6 < 1e-2 < float(errors[0].max())
    for one, other in zip(loose, second, strict=True):
        errors = (one - other).flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)
        assert float(errors.max()) < 1e-4


def test_gradients_have_the_dtype_of_the_points_and_those_of_the_solve():
    x, y = X.float().requires_grad_(True), list(Y.float().unbind())
    y[1].requires_grad_(True)
    values = sinkhorn(x, y, epsilon=0.5).dual_value
    assert values.dtype == torch.float64
    expected = torch.autograd.grad(values.sum(), (x, y[1]), retain_graph=True)
    with torch.no_grad():
        x.mul_(2.0)
    found = torch.autograd.grad(values.sum(), (x, y[1]))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


# PyTorch compiles decompositions of its own when forward mode is first asked for.
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_transforms_of_functions():
    x, y, a, b = tiny()

    def value(x):
        return sinkhorn_divergence(x, y, a=a, b=b, **EXACT).square().sum()

    def of_lists(x):
        return sinkhorn([x[0], x[1, :2]], [y[0], y[1]], epsilon=[0.5, 1.0], **EXACT).f.sum()

    def slope(x):
        return torch.func.grad(value)(x).square().sum()

    for function in (value, of_lists):
        (at,) = leaves(x)
        (expected,) = torch.autograd.grad(function(at), at)
        torch.testing.assert_close(torch.func.grad(function)(x), expected)
    (at,) = leaves(x)
    expected = first_and_second(sinkhorn_divergence(at, y, a=a, b=b, **EXACT), [at])[1][0]
    torch.testing.assert_close(torch.func.grad(slope)(x), expected)
    for function in (value, of_lists):
        with pytest.raises(RuntimeError, match="Forward-mode derivatives"):
            torch.func.jvp(function, (x,), (x,))


def test_third_derivatives_are_refused():
    (x,) = leaves(X)
    result = sinkhorn(x, Y, epsilon=0.5)
    (slope,) = torch.autograd.grad(result.dual_value.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), x, create_graph=True)
    (once,) = torch.autograd.grad(result.plan[0].toarray().square().sum(), x, create_graph=True)
    for last in (second, once):
        with pytest.raises(RuntimeError, match="one derivative more"):
            last.sum().backward()


def test_without_leaves_nothing_is_built(monkeypatch):
    monkeypatch.delattr(cloud_batches, "DualValue")
    inputs = leaves(X, Y, A, B)
    for result in (sinkhorn(X, Y, A, B, epsilon=0.5), sinkhorn(list(X), list(Y), epsilon=0.5)):
        assert not result.dual_value.requires_grad
    with torch.no_grad():
        for points in (inputs[:2], [list(side) for side in inputs[:2]]):
            result = sinkhorn(*points, *inputs[2:], epsilon=0.5)
            assert result.converged.all()
            assert not result.f.requires_grad
            assert not result.plan[0].toarray().requires_grad


# Bad input

FIVE = [normal(n, 2) for n in SIZES[0]]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"x": X, "y": Y[0]}, "x and y must both be batches of clouds"),
        ({"x": FIVE, "y": Y[0]}, "x and y must both be batches of clouds"),
        ({"x": X[0], "y": Y}, "x and y must both be batches of clouds"),
        ({"x": X, "y": None}, "SquaredEuclidean needs the points: pass x and y"),
        ({"x": X, "y": Y[:5]}, "x holds 6 problems, but y holds 5 problems"),
        ({"x": FIVE, "y": FIVE[:4]}, "x holds 5 problems, but y holds 4 problems"),
        ({"x": X, "y": Y[:, :, :1]}, "x has 2 features, but y has 1 features"),
        (
            {"x": [FIVE[0], FIVE[1][:, :1]], "y": FIVE[:2]},
            r"x\[0\] has 2 features, but x\[1\] has 1 features",
        ),
        ({"x": X[:, :0], "y": Y}, r"Found array with 0 sample\(s\) \(shape=\(6, 0, 2\)\)"),
        ({"x": X[:0], "y": Y}, r"Found array with 0 sample\(s\) \(shape=\(0, 12, 2\)\)"),
        ({"x": X[:, :, :0], "y": Y}, r"Found array with 0 feature\(s\)"),
        ({"x": [FIVE[0], FIVE[1][:0]], "y": FIVE[:2]}, r"Found array with 0 sample\(s\)"),
        ({"x": [FIVE[0], FIVE[1][0]], "y": FIVE[:2]}, "Expected 2D array, got 1D array instead"),
        (
            {"x": [FIVE[0], FIVE[1].float()], "y": FIVE[:2]},
            r"All clouds of x must have one dtype. Got \['torch.float32', 'torch.float64'\]",
        ),
        ({"x": X.float(), "y": Y}, "x has dtype torch.float32, but y has dtype torch.float64"),
        (
            {"x": [FIVE[0], torch.zeros(3, 2, device="meta")], "y": FIVE[:2]},
            "All clouds of x must have one d",
        ),
        ({"x": torch.full_like(X, torch.nan), "y": Y}, "Input x contains NaN"),
        ({"x": np.full((6, 12, 2), np.inf), "y": Y}, "Input x contains infinity"),
        ({"x": [FIVE[0], FIVE[1] * torch.nan], "y": FIVE[:2]}, r"Input x\[1\] contains NaN"),
        ({"x": X.to(torch.complex128), "y": Y}, "Complex data not supported"),
        ({"a": A[:5]}, r"a must have shape \(12,\) or \(6, 12\). Got \(5, 12\)"),
        ({"a": A[:, :5]}, r"a must have shape \(12,\) or \(6, 12\). Got \(6, 5\)"),
        ({"b": A[0]}, r"b must have shape \(10,\) or \(6, 10\). Got \(12,\)"),
        ({"x": FIVE, "y": FIVE, "a": A[0]}, "The clouds have different sizes: a must be a list"),
        ({"a": [A[0], A[1]]}, "a must hold weights of 6 problems. Got 2"),
        ({"a": [A[0]] * 5 + [A[5, :3]]}, r"a\[5\] must have shape \(12,\). Got \(3,\)"),
        ({"a": -A}, "Negative values in data passed to weights"),
        ({"a": A * torch.nan}, "Weights contain NaN or infinity"),
        ({"a": A * (A[:1] < A)}, "Weights must contain at least one non-zero number"),
        ({"a": "uniform"}, "a must be an array of numbers"),
        ({"epsilon": 0.0}, "epsilon must be a positive number. Got 0.0"),
        ({"epsilon": [0.1] * 5}, "epsilon must be a positive number, or 6 of them"),
        ({"epsilon": [0.1] * 5 + [-1.0]}, "epsilon must be a positive number"),
        ({"epsilon": "small"}, "epsilon must be a positive number, or 6 of them"),
        ({"epsilon": torch.ones(6, requires_grad=True)}, "epsilon requires a gradient"),
        ({"class_cost": (torch.zeros(12), torch.zeros(1, 10))}, "class_cost is not available"),
        ({"storage": "stream"}, "storage must be 'auto' or 'kernel' for a batch of clouds"),
        ({"tol": 0.0}, "tol must be a positive number"),
        ({"max_iter": 0}, "max_iter must be an integer"),
        ({"initializer": torch.zeros(10)}, r"initializer must hold potentials of shape \(6, 10\)"),
        ({"initializer": torch.full((6, 10), torch.nan)}, "initial potential contains NaN"),
        ({"initializer": GaussianInitializer()}, "initializer must be None, ZerosInitializer"),
        ({"initializer": "zeros"}, "initializer must be None, ZerosInitializer"),
        ({"cost": GridCost((3, 4))}, "GridCost has its own supports"),
        ({"cost": PrecomputedCost(normal(6, 12, 10))}, "PrecomputedCost has its own supports"),
    ],
)
def test_bad_input(arguments, message):
    arguments = {"x": X, "y": Y, "epsilon": 0.5} | arguments
    calls = []
    with pytest.raises(ValueError, match=message):
        sinkhorn(**arguments, on_iteration=lambda i, state: calls.append(i))
    assert not calls


def test_arrays_of_objects_are_refused():
    objects = np.empty(2, dtype=object)
    objects[:] = [FIVE[0].numpy(), FIVE[1].numpy()]
    with pytest.raises(ValueError, match="x is an array of objects. Pass a list"):
        sinkhorn(objects, objects, epsilon=1.0)


def test_one_regularisation_per_problem_is_for_different_clouds_only():
    with pytest.raises(ValueError, match="epsilon must be a positive number"):
        sinkhorn(X[0], Y[0], A, epsilon=[0.1] * 6)


def test_arrays_of_the_caller_are_not_written_to():
    x, y, a = X.clone(), Y.numpy().copy(), A.clone()
    sinkhorn(x, y, a, epsilon=0.1)
    assert torch.equal(x, X)
    assert np.array_equal(y, Y.numpy())
    assert torch.equal(a, A)


def test_matrices_in_a_list():
    matrices = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    expected = sinkhorn(cost=PrecomputedCost(matrices), epsilon=0.1, tol=1e-9)
    leaves = [matrix.clone().requires_grad_() for matrix in matrices]
    for given in (list(matrices), [m.numpy() for m in matrices], matrices.tolist(), leaves):
        result = sinkhorn(cost=PrecomputedCost(given), epsilon=0.1, tol=1e-9)
        torch.testing.assert_close(result.dual_value.detach(), expected.dual_value)
    result.dual_value.sum().backward()
    for leaf, plan in zip(leaves, expected.plan, strict=True):
        torch.testing.assert_close(leaf.grad, plan.toarray(), atol=1e-8, rtol=0)
    with pytest.raises(ValueError, match="must have one shape"):
        sinkhorn(cost=PrecomputedCost([matrices[0], matrices[1][:3]]), epsilon=0.1)
