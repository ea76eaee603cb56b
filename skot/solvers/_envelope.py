"""Gradients of the entropic cost by the envelope theorem.

At the optimum the potentials do not contribute to the derivative of the dual value: only the
explicit dependence on the cost and on the weights does, so no iteration is differentiated.
"""

import torch
from torch import Tensor


class PlanCost(torch.autograd.Function):
    r"""Zero, with the gradient of :math:`\langle P, C(x, y) \rangle` for a fixed plan."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, cost, plan) -> Tensor:
        """Return zero and remember what the gradient needs.

        Parameters
        ----------
        ctx : context
            Of autograd.
        x, y : Tensor of shape (n, d), (m, d)
            Points.
        cost : Cost
            Ground cost.
        plan : EntropicPlan
            Optimal plan.

        Returns
        -------
        zero : Tensor of shape ()
            In float64.
        """
        ctx.save_for_backward(x, y)
        ctx.cost, ctx.plan = cost, plan
        return x.new_zeros((), dtype=torch.float64)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor):
        """Average the gradient of the cost under the plan, tile by tile.

        Parameters
        ----------
        ctx : context
            Of autograd.
        upstream : Tensor of shape ()
            Gradient of what follows.

        Returns
        -------
        gradients : tuple
            For x and y; none for the cost and the plan.
        """
        x, y = (t.detach().double().requires_grad_(True) for t in ctx.saved_tensors)
        gradient_x, gradient_y = torch.zeros_like(x), torch.zeros_like(y)
        for rows, tile in ctx.plan.tiles():
            with torch.enable_grad():
                total = (ctx.cost.pairwise(x[rows], y) * tile).sum()
                part_x, part_y = torch.autograd.grad(total, (x, y))
            gradient_x += part_x
            gradient_y += part_y
        x, y = ctx.saved_tensors
        return (upstream * gradient_x).to(x), (upstream * gradient_y).to(y), None, None


class MatrixPlanCost(torch.autograd.Function):
    r"""Zero, with the gradient of :math:`\langle P, C \rangle` for a fixed plan."""

    @staticmethod
    def forward(ctx, matrix: Tensor, plan) -> Tensor:
        """Return zero and remember the plan.

        Parameters
        ----------
        ctx : context
            Of autograd.
        matrix : Tensor of shape (n, m)
            Costs.
        plan : EntropicPlan
            Optimal plan.

        Returns
        -------
        zero : Tensor of shape ()
            In float64.
        """
        ctx.plan, ctx.like = plan, matrix.detach()
        return matrix.new_zeros((), dtype=torch.float64)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor):
        """Return the plan itself.

        Parameters
        ----------
        ctx : context
            Of autograd.
        upstream : Tensor of shape ()
            Gradient of what follows.

        Returns
        -------
        gradients : tuple
            For the matrix; none for the plan.
        """
        return (upstream * ctx.plan.toarray()).to(ctx.like), None


def with_weight_gradients(f: Tensor, g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    r"""Dual value :math:`\langle a, f \rangle + \langle b, g \rangle` with its weight gradients.

    Parameters
    ----------
    f, g : Tensor of shape (..., n), (..., m)
        Optimal potentials, fixed.
    a, b : Tensor of shape (..., n), (..., m)
        Weights.

    Returns
    -------
    value : Tensor of shape (...)
        One value per problem.
    """
    return (a * f.detach()).sum(-1) + (b * g.detach()).sum(-1)
