"""Adam on many small problems at once, one per row of a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sqrt

import torch
from torch import Tensor

from skot.numerics.lbfgs import RowMinima

#: Decay of the averages of the gradient and of its square, and the usual guard of the division.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@torch.no_grad()
def batched_adam(
    value_and_gradient: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    x_init: Tensor,
    *,
    lr: float = 0.1,
    max_iter: int = 100,
    tol: float = 1e-3,
) -> RowMinima:
    """Minimise one function per row of x_init (n, d) by Adam, with steps that fall along a cosine.

    Adam: Kingma and Ba (2015), Adam: a method for stochastic optimization, ICLR, Algorithm 1. `lr`
    is about the length of the first steps in each coordinate. `value_and_gradient` and `tol` are as
    in `batched_lbfgs`, and rows that have converged leave the batch too. The result is the last
    point of every row, after `max_iter` steps and one evaluation more; it never raises for lack of
    convergence. Precision and device are those of `x_init`.
    """
    x_init = x_init.detach()
    rows = torch.arange(len(x_init), device=x_init.device)
    batch = _Batch(rows, x_init, torch.zeros_like(x_init), torch.zeros_like(x_init))
    result = RowMinima(
        torch.empty_like(x_init),
        x_init.new_empty(len(rows)),
        x_init.new_empty(len(rows)),
        torch.empty_like(rows),
        torch.empty_like(rows, dtype=torch.bool),
    )
    for i in range(max_iter + 1):
        value, gradient = value_and_gradient(batch.x, batch.rows)
        norm = gradient.square().mean(1).sqrt()
        active = (norm > tol) & torch.isfinite(value + norm) & (i < max_iter)
        n_active = int(active.sum())
        if n_active < len(active):
            # Every row is written when it stops.
            stopped, left = (~active).nonzero()[:, 0], active.nonzero()[:, 0]
            batch.store(result, stopped, value, norm, (norm <= tol) & torch.isfinite(value), i)
            batch, gradient = batch.select(left), gradient.index_select(0, left)
        if n_active == 0:
            break
        cosine = 0.5 * (1.0 + cos(pi * i / max_iter))
        batch.step(gradient, lr * cosine, i + 1)
    return result


@dataclass
class _Batch:
    """The rows at work: their indices, their points and the two averages."""

    rows: Tensor
    x: Tensor
    mean: Tensor
    square: Tensor

    def step(self, gradient: Tensor, lr: float, i: int) -> None:
        self.mean = torch.lerp(self.mean, gradient, 1.0 - _BETA1)
        self.square = torch.lerp(self.square, gradient.square(), 1.0 - _BETA2)
        spread = (self.square.sqrt() / sqrt(1.0 - _BETA2**i)).add_(_EPSILON)
        self.x = torch.addcdiv(self.x, self.mean, spread, value=-lr / (1.0 - _BETA1**i))

    def select(self, left: Tensor) -> "_Batch":
        parts = (self.rows, self.x, self.mean, self.square)
        return _Batch(*(part.index_select(0, left) for part in parts))

    def store(
        self,
        result: RowMinima,
        stopped: Tensor,
        value: Tensor,
        norm: Tensor,
        converged: Tensor,
        i: int,
    ) -> None:
        rows = self.rows[stopped]
        result.argument[rows] = self.x[stopped]
        result.value[rows] = value[stopped]
        result.gradient_norm[rows] = norm[stopped]
        result.n_iter[rows] = i
        result.converged[rows] = converged[stopped]
