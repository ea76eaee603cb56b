"""Values of a potential and its gradients, row by row."""

from typing import Any

import torch
from torch import Tensor


def value_and_gradient(potential: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Compute :math:`f(x_i)` and :math:`\nabla f(x_i)` for every row.

    A potential that has a method ``value_and_gradient`` is asked; any other callable is
    differentiated.

    Parameters
    ----------
    potential : torch.nn.Module or callable
        Maps a tensor of shape (n, n_features) to one of shape (n,). Rows must not influence each
        other.
    x : Tensor of shape (n, n_features)
        Points.

    Returns
    -------
    values : Tensor of shape (n,)
        Values of the potential.
    gradients : Tensor of shape (n, n_features)
        Its gradients with respect to the points.

    Raises
    ------
    ValueError
        If the potential does not return one value per row.

    Notes
    -----
    Where gradients are enabled, both results can be differentiated with respect to the parameters
    of the potential, and with respect to `x` if it requires it. Under `torch.no_grad` they carry
    no graph.

    Examples
    --------
    >>> import torch
    >>> from skot.numerics.value_and_gradient import value_and_gradient
    >>> with torch.no_grad():
    ...     value_and_gradient(lambda x: (x**2).sum(1) / 2, torch.tensor([[3.0, 4.0]]))
    (tensor([12.5000]), tensor([[3., 4.]]))
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
