import numpy as np
import pytest
import scipy.optimize
import torch

from skot.numerics.lbfgs import batched_lbfgs


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


class Quadratics:
    """f_i(x) = x'A_i x / 2 + b_i'x, with curvatures between 1 / condition and 1."""

    def __init__(self, n, d, condition=30.0, dtype=torch.float64):
        basis = torch.linalg.qr(normal(n, d, d))[0]
        curvature = torch.logspace(-np.log10(condition), 0, d, dtype=torch.float64)
        self.matrix = (basis * curvature) @ basis.mT
        self.vector = normal(n, d, seed=1)
        self.solution = -torch.linalg.solve(self.matrix, self.vector).to(dtype)
        self.matrix, self.vector = self.matrix.to(dtype), self.vector.to(dtype)
        self.calls = []

    def __call__(self, x, rows):
        self.calls.append(len(rows))
        product = (self.matrix[rows] @ x[:, :, None])[:, :, 0]
        vector = self.vector[rows]
        return (x * (0.5 * product + vector)).sum(1), product + vector


class LogSumExp:
    """f_i(x) = log sum_k exp(w_ik'x + b_ik) + |x|^2 / 20."""

    def __init__(self, n, d, dtype=torch.float64):
        self.weight = 2.0 * normal(n, 6, d, seed=2, dtype=dtype)
        self.bias = normal(n, 6, seed=3, dtype=dtype)
        self.calls = []

    def __call__(self, x, rows):
        self.calls.append(len(rows))
        weight = self.weight[rows]
        scores = (weight @ x[:, :, None])[:, :, 0] + self.bias[rows]
        gradient = (torch.softmax(scores, 1)[:, None] @ weight)[:, 0] + 0.1 * x
        return torch.logsumexp(scores, 1) + 0.05 * x.square().sum(1), gradient


class Rosenbrock:
    """Not convex, with a curved valley."""

    def __call__(self, x, rows):
        bent = x[:, 1] - x[:, 0] ** 2
        value = 10.0 * bent**2 + (1.0 - x[:, 0]) ** 2
        first = -40.0 * x[:, 0] * bent - 2.0 * (1.0 - x[:, 0])
        return value, torch.stack([first, 20.0 * bent], 1)


def scipy_minima(function, x_init):
    """Minimum of every row by scipy."""
    minima = []
    for i, start in enumerate(x_init):
        rows = torch.tensor([i])

        def one(x, rows=rows):
            value, gradient = function(torch.from_numpy(x)[None], rows)
            return value.item(), gradient[0].numpy()

        options = {"ftol": 0.0, "gtol": 1e-9, "maxiter": 1000}
        found = scipy.optimize.minimize(
            one, start.numpy(), jac=True, method="L-BFGS-B", options=options
        )
        minima.append(found.fun)
    return torch.tensor(minima, dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 2, 16])
def test_quadratics(d):
    function = Quadratics(9, d)
    result = batched_lbfgs(function, normal(9, d, seed=4), max_iter=200, tol=1e-9)
    assert result.converged.all()
    torch.testing.assert_close(result.argument, function.solution, rtol=0, atol=1e-6)
    value, gradient = function(result.argument, torch.arange(9))
    torch.testing.assert_close(result.value, value, rtol=1e-12, atol=1e-12)
    norm = gradient.norm(dim=1) / d**0.5
    torch.testing.assert_close(result.gradient_norm, norm, rtol=1e-3, atol=1e-13)
    assert (norm <= 1e-9).all()


@pytest.mark.parametrize(
    "function, d", [(Quadratics(8, 5), 5), (LogSumExp(8, 3), 3), (Rosenbrock(), 2)]
)
def test_the_minimum_of_scipy_row_by_row(function, d):
    x_init = normal(8, d, seed=5)
    result = batched_lbfgs(function, x_init, max_iter=500, tol=1e-8)
    assert result.converged.all()
    expected = scipy_minima(function, x_init)
    torch.testing.assert_close(result.value, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("curvature", [1e-5, 1e-2, 1.0, 1e3, 1e6])
def test_any_scale_of_curvature(curvature):
    def function(x, rows):
        return 0.5 * curvature * x.square().sum(1), curvature * x

    tol = 1e-8 * curvature
    result = batched_lbfgs(function, normal(4, 3), max_iter=40, tol=tol)
    assert result.converged.all()
    assert result.argument.abs().max() < 1e-7


def test_far_away_starts_of_a_quartic():
    # A full gradient step from 1e3 lands at -1e9.
    def function(x, rows):
        return (0.25 * x**4 - 8.0 * x).sum(1), x**3 - 8.0

    for dtype in (torch.float32, torch.float64):
        x_init = torch.tensor([[0.0], [-30.0], [1e3]], dtype=dtype)
        result = batched_lbfgs(function, x_init, max_iter=60, tol=1e-5)
        assert result.converged.all()
        torch.testing.assert_close(result.argument, torch.full_like(x_init, 2.0))


def test_the_default_dtype_does_not_matter():
    function, x_init = LogSumExp(5, 3, dtype=torch.float32), normal(5, 3, dtype=torch.float32)
    expected = batched_lbfgs(function, 30.0 * x_init, max_iter=30)
    torch.set_default_dtype(torch.float64)
    try:
        result = batched_lbfgs(function, 30.0 * x_init, max_iter=30)
    finally:
        torch.set_default_dtype(torch.float32)
    assert result.argument.dtype == torch.float32
    assert torch.equal(result.argument, expected.argument)


@pytest.mark.parametrize("make", [Quadratics, LogSumExp])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_float32_reaches_a_small_gradient(make, offset):
    # Values differ by less than their rounding there; with the offset long before.
    inner = make(300, 16, dtype=torch.float32)

    def function(x, rows):
        value, gradient = inner(x, rows)
        return value + offset, gradient

    x_init = normal(300, 16, dtype=torch.float32)
    result = batched_lbfgs(function, x_init, max_iter=300, tol=1e-5)
    assert result.argument.dtype == result.value.dtype == torch.float32
    assert result.converged.all()
    assert result.gradient_norm.max() <= 1e-5


def test_an_accepted_first_trial_costs_one_evaluation():
    calls = []

    def function(x, rows):
        calls.append(len(rows))
        return 0.5 * (x - 1.0).square().sum(1), x - 1.0

    result = batched_lbfgs(function, normal(6, 2), tol=1e-10)
    assert calls == [6, 6]
    assert result.n_iter.tolist() == [1] * 6
    assert result.converged.all()


def test_a_solution_as_a_start_is_returned_untouched():
    function = Quadratics(6, 4)
    result = batched_lbfgs(function, function.solution, tol=1e-8)
    assert torch.equal(result.argument, function.solution)
    assert result.n_iter.tolist() == [0] * 6
    assert function.calls == [6]


def test_a_better_start_needs_fewer_iterations():
    function = LogSumExp(50, 4)
    solution = batched_lbfgs(function, normal(50, 4), max_iter=200, tol=1e-12).argument
    counts = [
        batched_lbfgs(function, solution + size * normal(50, 4, seed=6), tol=1e-6).n_iter
        for size in (1.0, 1e-2, 1e-5)
    ]
    means = [count.double().mean() for count in counts]
    assert means[0] > means[1] > means[2]
    assert means[2] <= 6


def test_rows_leave_the_batch_when_they_converge():
    function = Quadratics(100, 4)
    x_init = function.solution.clone()
    x_init[:7] += 1.0
    result = batched_lbfgs(function, x_init, tol=1e-8, max_iter=100)
    assert function.calls[0] == 100
    assert set(function.calls[1:]) == {16}  # the smallest size of a batch
    assert result.converged.all()
    assert (result.n_iter[:7] > 0).all()
    assert (result.n_iter[7:] == 0).all()
    torch.testing.assert_close(result.argument, function.solution, rtol=0, atol=1e-6)


def test_batches_have_few_sizes():
    function = LogSumExp(1000, 4)
    batched_lbfgs(function, normal(1000, 4), tol=1e-12, max_iter=200)
    sizes = set(function.calls[1:])
    assert len(sizes) > 5
    units = {size: 16 if size <= 128 else 2 ** (size - 1).bit_length() // 16 for size in sizes}
    assert all(size % unit == 0 for size, unit in units.items() if size < 1000)


@pytest.mark.parametrize("make", [Quadratics, LogSumExp])
def test_a_row_does_not_depend_on_the_others(make):
    function = make(40, 5)
    x_init = normal(40, 5, seed=7)
    together = batched_lbfgs(function, x_init, max_iter=25, tol=1e-7)
    assert len(set(together.n_iter.tolist())) > 1
    order = torch.tensor([31, 4, 17, 0, 25])
    for chosen in (order, order[:1]):
        alone = batched_lbfgs(
            lambda x, rows, chosen=chosen: function(x, chosen[rows]),
            x_init[chosen],
            max_iter=25,
            tol=1e-7,
        )
        torch.testing.assert_close(alone.argument, together.argument[chosen], rtol=0, atol=1e-8)
        assert torch.equal(alone.n_iter, together.n_iter[chosen])
        assert torch.equal(alone.converged, together.converged[chosen])


def test_convergence_is_told_row_by_row():
    curvature = torch.tensor([[1.0, 1.0], [1.0, 900.0]], dtype=torch.float64)

    def function(x, rows):
        gradient = curvature[rows] * (x - 1.0)
        return 0.5 * ((x - 1.0) * gradient).sum(1), gradient

    result = batched_lbfgs(function, torch.zeros(2, 2, dtype=torch.float64), max_iter=2, tol=1e-6)
    assert result.converged.tolist() == [True, False]
    assert result.n_iter.tolist() == [1, 2]
    assert result.gradient_norm[1] > 1e-6


def test_iterates_never_get_worse():
    function, x_init = LogSumExp(30, 4), 10.0 * normal(30, 4, seed=8)
    values = [batched_lbfgs(function, x_init, max_iter=k, tol=0.0).value for k in range(1, 15)]
    for before, after in zip(values, values[1:], strict=False):
        assert (after <= before + 1e-12 * before.abs()).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_points_that_are_not_finite_are_rejected(bad):
    # The first full step, from 2 to -18, leaves the domain.
    def function(x, rows):
        outside = (x < -1.0).any(1)
        value = 10.0 * (x - 0.5).square().sum(1)
        gradient = 20.0 * (x - 0.5)
        return torch.where(outside, bad, value), torch.where(outside[:, None], bad, gradient)

    x_init = torch.full((3, 2), 2.0, dtype=torch.float64)
    result = batched_lbfgs(function, x_init, max_iter=50, tol=1e-8)
    assert result.converged.all()
    torch.testing.assert_close(result.argument, torch.full_like(x_init, 0.5))


def test_a_start_that_is_not_finite_stops_its_row_only():
    def function(x, rows):
        return x.square().sum(1), 2.0 * x

    x_init = torch.tensor([[1.0, 2.0], [float("nan"), 0.0], [3.0, 4.0]])
    result = batched_lbfgs(function, x_init, tol=1e-4)
    assert result.converged.tolist() == [True, False, True]
    assert result.n_iter[1] == 0
    assert result.argument[[0, 2]].abs().max() < 1e-4


def test_a_line_search_that_fails_stops_its_row():
    # Row 1 is |x|, the others are |x|^2: next to the kink no step helps.
    def function(x, rows):
        kink = rows == 1
        value = torch.where(kink[:, None], x.abs(), x.square()).sum(1)
        return value, torch.where(kink[:, None], 1.0 - 2.0 * (x < 0), 2.0 * x)

    x_init = torch.full((3, 1), 0.3, dtype=torch.float64)
    result = batched_lbfgs(function, x_init, max_iter=1000, tol=1e-8)
    assert result.converged.tolist() == [True, False, True]
    assert result.n_iter[1] < 200
    assert (result.value <= 0.3).all()
    assert result.gradient_norm[1] == 1.0


def test_unbounded_and_concave_functions_do_not_raise():
    def function(x, rows):
        return -x.square().sum(1), -2.0 * x

    result = batched_lbfgs(function, normal(3, 2), max_iter=300, tol=1e-8)
    assert not result.converged.any()
    assert torch.isfinite(result.argument).all()
    assert torch.isfinite(result.value).all()


def test_a_short_memory_still_converges():
    function = Quadratics(5, 12, condition=100.0)
    x_init = normal(5, 12)
    short = batched_lbfgs(function, x_init, max_iter=1000, tol=1e-8, memory_size=1)
    long = batched_lbfgs(function, x_init, max_iter=1000, tol=1e-8, memory_size=20)
    assert short.converged.all()
    assert long.converged.all()
    assert long.n_iter.sum() < short.n_iter.sum()


def test_a_value_that_is_not_finite_is_not_converged():
    def function(x, rows):
        return torch.full((len(x),), float("nan")), torch.zeros_like(x)

    assert not batched_lbfgs(function, torch.zeros(2, 3)).converged.any()


def test_an_empty_batch():
    result = batched_lbfgs(lambda x, rows: (x.sum(1), x), torch.empty(0, 3))
    assert result.argument.shape == (0, 3)
    assert result.converged.shape == (0,)


def test_neither_start_nor_graph_is_touched():
    function = Quadratics(4, 3)
    x_init = normal(4, 3).requires_grad_()
    before = x_init.detach().clone()
    result = batched_lbfgs(function, x_init)
    assert torch.equal(x_init, before)
    assert not result.argument.requires_grad
    assert not result.value.requires_grad


def test_the_functions_own_tensors_are_not_written_to():
    # Handed out as the gradient, and kept.
    handed = []

    def function(x, rows):
        gradient = 30.0 * x
        handed.append((gradient, gradient.clone()))
        return 15.0 * x.square().sum(1), gradient

    batched_lbfgs(function, normal(5, 2), tol=1e-9)
    assert len(handed) > 2
    for gradient, copy in handed:
        assert torch.equal(gradient, copy)
