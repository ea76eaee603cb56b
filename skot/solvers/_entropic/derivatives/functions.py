r"""Derivatives of the solution of an entropic problem: of its value twice, of its potentials once.

Nothing is differentiated through an iteration. By the envelope theorem the gradient of the value is
explicit: potentials for the weights, averages under the plan for the cost. Differentiating that
once more, or the potentials and the plan themselves, takes one linear system
(:mod:`skot.solvers._entropic.derivatives.adjoint`) for any number of inputs, as in [1]_.

All numbers are computed inside the forward passes of autograd functions, where tensors are plain
ones also under the transforms of `torch.func`.

References
----------
.. [1] Luise, G., Rudi, A., Pontil, M. and Ciliberto, C. (2018). Differential properties of Sinkhorn
   approximation for learning with Wasserstein distance. NeurIPS, Theorem 2.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd import forward_ad

from skot.solvers._entropic.derivatives.adjoint import Solution, plan_averages, pull_back


class SolvedOnce:
    """Solve when first called, with plain ``(a, b, *points)``, and remember the solution."""

    def __init__(self, solve: Callable[..., Solution]):
        self._solve = solve
        self._solution: Solution | None = None

    def __call__(self, *inputs: Tensor) -> Solution:
        """Return the solution."""
        if self._solution is None:
            self._solution = self._solve(*inputs)
        return self._solution


class PlanGraph(Protocol):
    """What a plan depends on in its graph."""

    solve: SolvedOnce

    def inputs(self) -> tuple[Tensor, ...]:
        """Weights of shape (1, n) and (1, m), and the points."""


class ProblemGraph:
    """What the plan of one problem of a solution depends on: ``(a, b, *points)`` in their graph."""

    def __init__(self, once: SolvedOnce, inputs: tuple[Tensor, ...], problem: int):
        self._inputs, self._problem = inputs, problem
        self.solve = SolvedOnce(lambda *_: once().select(problem))

    def inputs(self) -> tuple[Tensor, ...]:
        """Weights of shape (1, n) and (1, m), and the points."""
        a, b, *points = self._inputs
        chosen = slice(self._problem, self._problem + 1)
        return a[chosen], b[chosen], *points


def has_tangents(*tensors: Tensor) -> bool:
    """Whether forward-mode differentiation is under way, of one of the tensors if any are given."""
    if forward_ad._current_level < 0:
        return False
    return not tensors or any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)


def needs_graph(*tensors: Tensor) -> bool:
    """Whether a derivative with respect to one of the tensors may be asked for.

    With a forward-mode tangent too, which the functions of this module refuse.
    """
    if tensors and has_tangents(*tensors):
        return True
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def is_differentiated(*tensors: Tensor) -> bool:
    """Whether a solve of these inputs has to go through the functions of this module.

    Under the transforms of `torch.func` too, where only the forward passes of autograd functions
    see plain tensors.
    """
    return needs_graph(*tensors) or torch._C._are_functorch_transforms_active()


class _Function(torch.autograd.Function):
    """Reverse mode only: everything else says so."""

    @staticmethod
    def jvp(ctx, *tangents):
        raise RuntimeError(
            "Forward-mode derivatives of entropic transport are not available: use reverse mode, "
            "as in torch.autograd.grad, torch.autograd.functional.hessian or torch.func.grad."
        )

    @staticmethod
    def vmap(info, in_dims, *inputs):
        raise RuntimeError(
            "Entropic transport cannot be mapped by torch.func.vmap, nor by jacrev, jacfwd and "
            "hessian, which are built on it: use torch.autograd.functional.hessian or "
            "torch.func.grad, and pass several problems as a batch."
        )


class DualValue(_Function):
    """Dual values as functions of weights and points, differentiable twice."""

    @staticmethod
    def forward(solve, a, b, *points):
        """Solve, or look up what was solved: shape (n_problems,)."""
        solution = solve(a, b, *points)
        return (solution.a * solution.f).sum(1) + (solution.b * solution.g).sum(1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.solve = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx, upstream):
        a, b, *points = ctx.saved_tensors
        f, g, *slopes = _Gradient.apply(ctx.solve, upstream, a, b, *points)
        slopes = slopes or [None] * len(points)
        return None, upstream[:, None] * f, upstream[:, None] * g, *slopes


class _Gradient(_Function):
    """Potentials, and the gradient of a weighted sum of dual values with respect to the points."""

    @staticmethod
    def forward(solve, scale, a, b, *points):
        solution = solve(a, b, *points)
        slopes = plan_averages(solution, scale) if solution.moves else ()
        return solution.f.clone(), solution.g.clone(), *slopes

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.solve = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, on_f, on_g, *tangents):
        scale, *inputs = ctx.saved_tensors
        inner, *gradients = _Adjoint.apply(
            ctx.solve, "tangents", on_f, on_g, scale, *_two(tangents), *inputs
        )
        return None, inner, *_one_each(gradients, inputs)


class Potentials(_Function):
    """Potentials as functions of weights and points, differentiable once."""

    @staticmethod
    def forward(solve, a, b, *points):
        """Look up the potentials: shapes (n_problems, n) and (n_problems, m)."""
        solution = solve(a, b, *points)
        return solution.f.clone(), solution.g.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.solve = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, on_f, on_g):
        inputs = ctx.saved_tensors
        _, *gradients = _Adjoint.apply(ctx.solve, None, on_f, on_g, None, None, None, *inputs)
        return None, *_one_each(gradients, inputs)


class PlanProduct(_Function):
    """Product of a plan, or of its transpose, with values of shape (m, k) or (n, k)."""

    @staticmethod
    def forward(multiply, solve, transposed, values, a, b, *points):
        """Multiply by ``multiply(values, transposed)``."""
        return multiply(values, transposed)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.multiply, ctx.solve, ctx.transposed = inputs[:3]
        ctx.save_for_backward(*inputs[3:])

    @staticmethod
    def backward(ctx, upstream):
        values, *inputs = ctx.saved_tensors
        on_values = PlanProduct.apply(
            ctx.multiply, ctx.solve, not ctx.transposed, upstream, *inputs
        )
        if ctx.solve is None:
            return None, None, None, on_values, *(None for _ in inputs)
        factors = (values, upstream) if ctx.transposed else (upstream, values)
        _, *gradients = _Adjoint.apply(ctx.solve, "factors", None, None, None, *factors, *inputs)
        return None, None, None, on_values, *_one_each(gradients, inputs)


class PlanEntries(_Function):
    """The whole plan, shape (n, m)."""

    @staticmethod
    def forward(form, solve, a, b, *points):
        """Form it by ``form()``."""
        return form()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.solve = inputs[1]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx, upstream):
        inputs = ctx.saved_tensors
        _, *gradients = _Adjoint.apply(
            ctx.solve, "entries", None, None, None, upstream, None, *inputs
        )
        return None, None, *_one_each(gradients, inputs)


class _Adjoint(_Function):
    """What weights and points get when potentials and sums over the plan are differentiated."""

    @staticmethod
    def forward(solve, kind, on_f, on_g, scale, first, second, a, b, *points):
        solution = solve(a, b, *points)
        parts = [
            pull_back(part, problems, kind, on_f, on_g, scale, first, second)
            for problems, part in solution.parts()
        ]
        inner, on_a, on_b = (torch.cat(one) for one in zip(*(p[:3] for p in parts), strict=True))
        join = torch.cat if solution.has_own_points else sum
        return inner, on_a, on_b, *(join(one) for one in zip(*(p[3] for p in parts), strict=True))

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *upstream):
        raise RuntimeError(
            "Dual values of entropic transport can be differentiated twice, potentials and plans "
            "once: what was asked for is one derivative more."
        )


def _two(tangents) -> tuple[Tensor | None, Tensor | None]:
    """Tangents of at most two points."""
    first, second = (*tangents, None, None)[:2]
    return first, second


def _one_each(gradients, inputs) -> list[Tensor | None]:
    """One gradient for each input, None for those that nothing was computed for."""
    return [*gradients, *(None for _ in range(len(inputs) - len(gradients)))]
