import dataclasses
import pickle

import numpy as np
import pytest
import scipy.optimize
import torch
from sklearn.base import clone

from skot.base import check_component
from skot.solvers.conjugate import (
    AdamConjugate,
    BestSoFar,
    ConjugateObjective,
    ConjugateResult,
    ConjugateSolver,
    LBFGSConjugate,
    NoConjugate,
)
from skot.utils._sklearn import InvalidParameterError

ALL = [LBFGSConjugate(), AdamConjugate(), NoConjugate(), BestSoFar(), BestSoFar(AdamConjugate())]
#: Solvers that reach a solution, with a tolerance for float64.
EXACT = [
    LBFGSConjugate(max_iter=200, tol=1e-9),
    BestSoFar(LBFGSConjugate(max_iter=200, tol=1e-9)),
    AdamConjugate(max_iter=4000, tol=1e-7),
]


def ids(solver):
    return str(solver).replace(" ", "")


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


class Quadratic(torch.nn.Module):
    """f(x) = x'Ax / 2 + b'x, so f*(y) = (y - b)'A^-1 (y - b) / 2."""

    def __init__(self, d=4, dtype=torch.float64):
        super().__init__()
        root = normal(d, d, seed=1)
        self.matrix = torch.nn.Parameter((root @ root.T / d + 0.2 * torch.eye(d)).to(dtype))
        self.vector = torch.nn.Parameter(normal(d, seed=2, dtype=dtype))

    def forward(self, x):
        return 0.5 * ((x @ self.matrix) * x).sum(1) + x @ self.vector

    def conjugate(self, y):
        argument = torch.linalg.solve(self.matrix, (y - self.vector).T).T
        return 0.5 * ((y - self.vector) * argument).sum(1).detach(), argument.detach()


class LogSumExp(torch.nn.Module):
    """f(x) = log sum_k exp(w_k'x) + |x|^2 / 8, with its gradient written by hand."""

    def __init__(self, d=4, dtype=torch.float64):
        super().__init__()
        self.weight = torch.nn.Parameter(2.0 * normal(d, 6, seed=3, dtype=dtype))

    def forward(self, x):
        return torch.logsumexp(x @ self.weight, 1) + 0.125 * x.square().sum(1)

    def value_and_gradient(self, x):
        scores = x @ self.weight
        gradient = torch.softmax(scores, 1) @ self.weight.T + 0.25 * x
        return torch.logsumexp(scores, 1) + 0.125 * x.square().sum(1), gradient


class Network(torch.nn.Module):
    """A small potential that is not convex everywhere."""

    def __init__(self, d=4, dtype=torch.float64):
        super().__init__()
        self.first = torch.nn.Parameter(normal(d, 32, seed=4, dtype=dtype))
        self.last = torch.nn.Parameter(0.3 * normal(32, seed=5, dtype=dtype))

    def forward(self, x):
        hidden = torch.nn.functional.softplus(x @ self.first)
        return hidden @ self.last + 0.5 * x.square().sum(1)


# Against what is known


@pytest.mark.parametrize("solver", EXACT, ids=ids)
def test_a_quadratic(solver):
    potential, y = Quadratic(), normal(20, 4)
    result = solver.solve(potential, y)
    value, argument = potential.conjugate(y)
    assert result.converged.all()
    torch.testing.assert_close(result.argument, argument, rtol=0, atol=2e-6)
    torch.testing.assert_close(result.value, value, rtol=0, atol=1e-9)


@pytest.mark.parametrize("solver", EXACT, ids=ids)
def test_scipy_row_by_row(solver):
    potential, y = LogSumExp(), normal(10, 4)
    result = solver.solve(potential, y)
    assert result.converged.all()
    for row, value in zip(y, result.value, strict=True):
        objective = ConjugateObjective(potential, row[None])

        def one(x, objective=objective):
            with torch.no_grad():
                found, gradient = objective(torch.from_numpy(x)[None])
            return found.item(), gradient[0].numpy()

        options = {"ftol": 0.0, "gtol": 1e-10, "maxiter": 1000}
        expected = scipy.optimize.minimize(
            one, np.zeros(4), jac=True, method="L-BFGS-B", options=options
        )
        assert value.item() == pytest.approx(-expected.fun, abs=1e-6)


@pytest.mark.parametrize(
    "solver", [LBFGSConjugate(tol=1e-4), AdamConjugate(max_iter=1000, tol=1e-2)], ids=ids
)
@pytest.mark.parametrize("make", [Quadratic, LogSumExp, Network])
def test_the_gradient_is_within_the_tolerance_in_float32(solver, make):
    potential = make(dtype=torch.float32)
    y = normal(200, 4, dtype=torch.float32)
    result = solver.solve(potential, y)
    assert result.converged.all()
    point = result.argument.requires_grad_()
    (gradient,) = torch.autograd.grad(potential(point).sum(), point)
    assert ((gradient - y).square().mean(1).sqrt() <= 1.05 * solver.tol).all()
    value = (point * y).sum(1) - potential(point)
    torch.testing.assert_close(result.value, value.detach(), rtol=1e-5, atol=1e-5)


def test_fenchel_young():
    potential, y, x = LogSumExp(), normal(30, 4), normal(30, 4, seed=9)
    value = LBFGSConjugate(tol=1e-9).solve(potential, y).value
    with torch.no_grad():
        assert (value + potential(x) >= (x * y).sum(1)).all()
        # With equality where y is the gradient at x.
        _, gradient = potential.value_and_gradient(x)
        value = LBFGSConjugate(tol=1e-9, max_iter=200).solve(potential, gradient).value
        torch.testing.assert_close(value + potential(x), (x * gradient).sum(1), rtol=0, atol=1e-9)


# Starts and counts


@pytest.mark.parametrize("solver", [LBFGSConjugate(tol=1e-6), AdamConjugate(max_iter=500)], ids=ids)
def test_a_better_start_needs_fewer_iterations(solver):
    potential, y = LogSumExp(), normal(50, 4)
    solution = LBFGSConjugate(max_iter=200, tol=1e-12).solve(potential, y).argument
    noise = normal(50, 4, seed=6)
    means = [
        solver.solve(potential, y, solution + size * noise).n_iter.double().mean()
        for size in (2.0, 2e-2, 0.0)
    ]
    assert means[0] > means[1] > means[2]
    assert means[2] == 0


@pytest.mark.parametrize("solver", ALL, ids=ids)
def test_without_a_start_it_is_y(solver):
    potential, y = LogSumExp(), normal(6, 4)
    default, explicit = solver.solve(potential, y), solver.solve(potential, y, y.clone())
    assert torch.equal(default.argument, explicit.argument)
    assert torch.equal(default.value, explicit.value)


@pytest.mark.parametrize("solver", [LBFGSConjugate(max_iter=3), AdamConjugate(max_iter=3)], ids=ids)
def test_convergence_is_told_row_by_row(solver):
    potential, y = LogSumExp(), normal(6, 4)
    start = LBFGSConjugate(max_iter=200, tol=1e-9).solve(potential, y).argument
    start[[1, 4]] += 3.0
    result = solver.solve(potential, y, start)
    expected = [True, False, True, True, False, True]
    assert result.converged.tolist() == expected
    assert result.n_iter.tolist() == [0 if done else 3 for done in expected]
    done = torch.tensor(expected)
    assert torch.equal(result.argument[done], start[done])


@pytest.mark.parametrize(
    "solver",
    [LBFGSConjugate(max_iter=12, tol=1e-5), AdamConjugate(max_iter=150, tol=1e-3), BestSoFar()],
    ids=ids,
)
def test_a_row_does_not_depend_on_the_others(solver):
    potential, y = LogSumExp(), normal(40, 4)
    together = solver.solve(potential, y)
    assert len(set(together.n_iter.tolist())) > 1
    chosen = torch.tensor([31, 4, 17])
    alone = solver.solve(potential, y[chosen])
    torch.testing.assert_close(alone.argument, together.argument[chosen], rtol=0, atol=1e-8)
    torch.testing.assert_close(alone.value, together.value[chosen], rtol=0, atol=1e-10)
    assert torch.equal(alone.n_iter, together.n_iter[chosen])
    assert torch.equal(alone.converged, together.converged[chosen])


def test_adam_ends_with_small_steps():
    # |x| has no gradient that gets small: only the schedule brings it to rest.
    def kink(x):
        return x.abs().sum(1)

    y = torch.zeros(1, 1, dtype=torch.float64)
    x_init = torch.full_like(y, 1.23)
    reached = AdamConjugate(lr=0.1, max_iter=300).solve(kink, y, x_init)
    assert not reached.converged
    assert reached.argument.abs() < 5e-3


# Wrappers


def test_no_conjugate_returns_the_start():
    potential, y, start = LogSumExp(), normal(6, 4), normal(6, 4, seed=1)
    result = NoConjugate().solve(potential, y, start)
    assert torch.equal(result.argument, start)
    assert result.converged.all()
    assert result.n_iter.tolist() == [0] * 6
    with torch.no_grad():
        torch.testing.assert_close(result.value, (start * y).sum(1) - potential(start))


@pytest.mark.parametrize("solver", ALL, ids=ids)
def test_a_value_that_is_not_finite_has_not_converged(solver):
    def potential(x):
        return torch.where(x[:, 0] > 3.0, torch.nan, 0.5 * x.square().sum(1))

    start = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    result = solver.solve(potential, start, start)
    assert result.converged.tolist() == [True, False]


def test_which_solvers_refine():
    assert [solver.refines for solver in ALL] == [True, True, False, True, True]
    assert not BestSoFar(NoConjugate()).refines


@pytest.mark.parametrize(
    "inner",
    [AdamConjugate(lr=30.0, max_iter=3), AdamConjugate(max_iter=5), LBFGSConjugate(max_iter=2)],
    ids=ids,
)
def test_best_so_far_is_never_worse_than_the_start_or_the_result(inner):
    potential, y = Network(), normal(60, 4)
    start = LBFGSConjugate().solve(potential, y).argument
    start = start + torch.where(torch.arange(60) % 2 == 0, 0.0, 2.0)[:, None]
    result, found = (solver.solve(potential, y, start) for solver in (BestSoFar(inner), inner))
    at_start = NoConjugate().solve(potential, y, start).value
    assert (result.value >= at_start).all()
    assert (result.value >= found.value).all()
    torch.testing.assert_close(
        NoConjugate().solve(potential, y, result.argument).value, result.value
    )
    assert not result.converged[result.value > found.value].any()


def test_best_so_far_changes_what_adam_alone_gives():
    potential, y = Quadratic(), normal(20, 4)
    _, start = potential.conjugate(y)
    start = start + 1e-2
    wild = AdamConjugate(lr=10.0, max_iter=2)
    at_start = NoConjugate().solve(potential, y, start).value
    assert (wild.solve(potential, y, start).value < at_start).all()
    result = BestSoFar(wild).solve(potential, y, start)
    assert torch.equal(result.argument, start)
    assert not result.converged.any()


def test_best_so_far_survives_a_solver_that_breaks():
    class Breaks(ConjugateSolver):
        def minimize(self, objective, x_init):
            result = NoConjugate().minimize(objective, x_init)
            nothing = torch.full_like(x_init, float("nan"))
            return dataclasses.replace(result, argument=nothing, value=nothing[:, 0])

    y = normal(5, 3)
    result = BestSoFar(Breaks()).solve(lambda x: x.square().sum(1), y, 0.4 * y)
    assert torch.equal(result.argument, 0.4 * y)
    assert not result.converged.any()
    assert torch.isfinite(result.value).all()


def test_best_so_far_takes_any_object_that_solves():
    class Exact:
        def solve(self, potential, y, x_init=None):
            value, argument = potential.conjugate(y)
            n_iter = torch.zeros(len(y), dtype=torch.int64)
            return ConjugateResult(value, argument, n_iter, n_iter == 0)

    potential, y = Quadratic(), normal(5, 4)
    result = BestSoFar(Exact()).solve(potential, y)
    assert torch.equal(result.argument, potential.conjugate(y)[1])
    assert result.converged.all()


# The contract


@pytest.mark.parametrize("solver", ALL, ids=ids)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_graph_and_nothing_touched(solver, dtype):
    potential = LogSumExp(dtype=dtype)
    y = normal(6, 4, dtype=dtype).requires_grad_()
    start = normal(6, 4, seed=1, dtype=dtype).requires_grad_()
    before = (y.detach().clone(), start.detach().clone(), potential.weight.detach().clone())
    result = solver.solve(potential, y, start)
    for part in (result.value, result.argument):
        assert part.dtype == dtype
        assert not part.requires_grad
    assert result.value.shape == result.n_iter.shape == result.converged.shape == (6,)
    assert result.n_iter.dtype == torch.int64
    assert result.converged.dtype == torch.bool
    assert torch.is_grad_enabled()
    for tensor, copy in zip((y, start, potential.weight), before, strict=True):
        assert tensor.grad is None
        assert torch.equal(tensor, copy)
    assert all(parameter.requires_grad for parameter in potential.parameters())


@pytest.mark.parametrize("solver", ALL, ids=ids)
def test_works_where_gradients_are_disabled(solver):
    # Without a gradient written by hand, so that autograd is needed.
    potential, y = Quadratic(), normal(6, 4)
    with torch.no_grad():
        inside = solver.solve(potential, y)
    assert torch.equal(inside.argument, solver.solve(potential, y).argument)


@pytest.mark.parametrize("solver", ALL, ids=ids)
def test_the_start_takes_the_precision_of_y(solver):
    result = solver.solve(LogSumExp(dtype=torch.float32), normal(6, 4).float(), normal(6, 4))
    assert result.argument.dtype == torch.float32


@pytest.mark.parametrize("solver", ALL, ids=ids)
def test_an_empty_batch(solver):
    result = solver.solve(Quadratic(), torch.empty(0, 4, dtype=torch.float64))
    assert result.argument.shape == (0, 4)
    assert result.value.shape == result.converged.shape == (0,)


@pytest.mark.parametrize("solver", ALL, ids=ids)
def test_never_raises_on_a_hopeless_potential(solver):
    # Concave, infinite in places, and NaN beyond: the conjugate is infinite.
    def hopeless(x):
        return -torch.where(x[:, 0] > 3.0, torch.nan, 1.0) * x.square().sum(1)

    result = solver.solve(hopeless, normal(6, 4))
    if solver.refines:
        assert not result.converged.any()
    assert torch.isfinite(result.argument).all()


@pytest.mark.parametrize("solver", ALL, ids=ids)
def test_shapes_and_types_are_checked(solver):
    potential, y = Quadratic(), normal(6, 4)
    with pytest.raises(ValueError, match=r"x_init must have the shape of y, \(6, 4\)"):
        solver.solve(potential, y, y[:5])
    with pytest.raises(ValueError, match=r"of shape \(n, n_features\). Got .*of shape \(4,\)"):
        solver.solve(potential, y[0])
    with pytest.raises(ValueError, match=r"must be a floating tensor.*int64"):
        solver.solve(potential, y.long())


def test_results_are_frozen():
    result = NoConjugate().solve(Quadratic(), normal(2, 4))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.value = None


@pytest.mark.parametrize("solver", ALL, ids=ids)
def test_components_clone_and_pickle(solver):
    for copy in (clone(solver), pickle.loads(pickle.dumps(solver))):
        assert type(copy) is type(solver)
        assert repr(copy.get_params(deep=False)) == repr(solver.get_params(deep=False))
    assert isinstance(check_component(solver, default=None, kind="solve", name="s"), type(solver))


@pytest.mark.parametrize(
    "solver, name",
    [
        (LBFGSConjugate(max_iter=0), "max_iter"),
        (LBFGSConjugate(tol=-1.0), "tol"),
        (LBFGSConjugate(memory_size=0), "memory_size"),
        (AdamConjugate(lr=0.0), "lr"),
        (AdamConjugate(max_iter=2.5), "max_iter"),
        (AdamConjugate(tol="small"), "tol"),
        (BestSoFar("lbfgs"), "solver"),
        (BestSoFar(LBFGSConjugate(tol=-1.0)), "tol"),
    ],
)
def test_bad_parameters(solver, name):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        check_component(solver, default=None, kind=ConjugateSolver, name="conjugate_solver")


def test_parameters_of_the_inner_solver():
    solver = BestSoFar(AdamConjugate()).set_params(solver__lr=0.5)
    assert solver.get_params()["solver__lr"] == 0.5
    with pytest.raises(ValueError, match=r"pass an instance|Pass an instance.*LBFGSConjugate\(\)"):
        BestSoFar().set_params(solver__tol=0.1)
