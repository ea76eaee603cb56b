"""Values of a potential and its gradients, row by row."""

from typing import Any

import torch
from torch import Tensor


def value_and_gradient(potential: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Compute :math:`f(x_i)`, (n,), and :math:`\nabla f(x_i)`, (n, d), for every row of x (n, d).

    A potential that has a method ``value_and_gradient`` is asked; any other callable, from (n, d)
    to (n,) where rows do not influence each other, is differentiated. Where gradients are enabled,
    both results can be differentiated with respect to the parameters of the potential, and with
    respect to `x` if it requires it. Under `torch.no_grad` they carry no graph.
    """
    own = getattr(potential, "value_and_gradient", None)
    if own is not None:
        return own(x)
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        point = x if differentiable and x.requires_grad else x.detach().requires_grad_()
        values = potential(point)
        if values.shape != x.shape[:1]:
            raise ValueError(
                f"A potential returns one value per row, of shape ({len(x)},). "
                f"Got shape {tuple(values.shape)}."
            )
        if values.requires_grad:
            (gradients,) = torch.autograd.grad(
                values.sum(),
                point,
                create_graph=differentiable,
                allow_unused=True,
                materialize_grads=True,
            )
        else:
            gradients = torch.zeros_like(x)
    return (values, gradients) if differentiable else (values.detach(), gradients)
