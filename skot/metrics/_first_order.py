"""A value that was computed outside autograd, and its gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Of which inputs a gradient is wanted -> one array per input; None where it is not.
Gradients = Callable[[Sequence[bool]], Sequence[np.ndarray | None]]


def with_gradient(value: float, inputs: Sequence[Any], gradients: Gradients) -> Tensor:
    """Return `value` as a tensor () in float64; `gradients` are called in a backward pass only."""
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
        ctx.save_for_backward(*inputs)
        first = next(item for item in inputs if item is not None and item.requires_grad)
        return torch.tensor(value, dtype=torch.float64, device=first.device)

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple:
        """Return the gradients of shapes as the inputs."""
        inputs, wanted = ctx.saved_tensors, ctx.needs_input_grad[2:]
        tracked = [item for item in inputs if item is not None]
        found: list[Tensor | None] = []
        for item, is_wanted, gradient in zip(inputs, wanted, ctx.gradients(wanted), strict=True):
            if is_wanted:
                direction = torch.from_numpy(gradient).to(item.device)
                found.append(_Fixed.apply(upstream, direction, *tracked).to(item.dtype))
            else:
                found.append(None)
        return None, None, *found


class _Fixed(torch.autograd.Function):
    """A direction times a number of shape (). It depends on inputs, which is not differentiated."""

    @staticmethod
    def forward(ctx, upstream: Tensor, direction: Tensor, *inputs: Tensor) -> Tensor:
        """Return the product, of the shape of `direction`."""
        return upstream.to(direction) * direction

    @staticmethod
    def backward(ctx, *upstream: Tensor) -> tuple:
        """Refuse."""
        raise RuntimeError(
            "wasserstein_distance, energy_distance and maximum_mean_discrepancy have first "
            "derivatives only: their gradient cannot be differentiated. Detach it."
        )
