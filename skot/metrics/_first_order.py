"""A value that was computed outside autograd, and its gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Of which inputs a gradient is wanted -> one array per input; None where it is not.
Gradients = Callable[[Sequence[bool]], Sequence[np.ndarray | None]]


def with_gradient(value: float, inputs: Sequence[Any], gradients: Gradients) -> float | Tensor:
    """Return `value`, as a tensor of shape () where an input is a tensor that requires a gradient.

    Parameters
    ----------
    value : float
        The value.
    inputs : sequence
        Arrays, tensors or None.
    gradients : callable
        Called in the backward pass only.

    Returns
    -------
    value : float or Tensor of shape ()
        In float64, on the device of the first input that requires a gradient.
    """
    if not any_requires_grad(inputs):
        return value
    tracked = [item if isinstance(item, Tensor) else None for item in inputs]
    return _FirstOrder.apply(value, gradients, *tracked)


def any_requires_grad(inputs: Sequence[Any]) -> bool:
    """Whether one of the inputs is a tensor that requires a gradient."""
    return any(isinstance(item, Tensor) and item.requires_grad for item in inputs)


class _FirstOrder(torch.autograd.Function):
    """A number with given gradients of shapes as its inputs."""

    @staticmethod
    def forward(ctx, value: float, gradients: Gradients, *inputs: Tensor | None) -> Tensor:
        """Return the number; the gradient waits for the backward pass."""
        ctx.gradients = gradients
        ctx.likes = [None if item is None else (item.dtype, item.device) for item in inputs]
        first = next(item for item in inputs if item is not None and item.requires_grad)
        return torch.tensor(value, dtype=torch.float64, device=first.device)

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple:
        """Return the gradients of shapes as the inputs."""
        wanted = ctx.needs_input_grad[2:]
        found: list[Tensor | None] = []
        for is_wanted, like, gradient in zip(wanted, ctx.likes, ctx.gradients(wanted), strict=True):
            if is_wanted:
                dtype, device = like
                direction = torch.from_numpy(gradient).to(device)
                found.append(_Fixed.apply(upstream, direction).to(dtype))
            else:
                found.append(None)
        return None, None, *found


class _Fixed(torch.autograd.Function):
    """A fixed direction, of any shape, times a number of shape (); once differentiable."""

    @staticmethod
    def forward(ctx, upstream: Tensor, direction: Tensor) -> Tensor:
        """Return the product, of the shape of `direction`."""
        return upstream * direction

    @staticmethod
    def backward(ctx, _: Tensor) -> tuple:
        """Refuse: the direction is not a constant, it was only computed as one."""
        raise RuntimeError(
            "wasserstein_distance, energy_distance and maximum_mean_discrepancy have first "
            "derivatives only: their gradient cannot be differentiated. Detach it."
        )
