"""Half steps on a regular grid, where the kernel is one small matrix per axis."""

import torch
from torch import Tensor

from skot.costs import GridCost
from skot.solvers._entropic.kernels import HalfSteps
from skot.solvers._entropic.line_sums import LineSums

#: Largest cost, in units of epsilon, for which products of kernel and scalings stay within the
#: range of float64 (exp(+-708)) however the potentials turn out.
_SCALING_RANGE = 200.0


class GridKernel:
    """Separable kernel of a batch of problems on one grid, with weights of shape (n_problems, n).

    Works on scalings while the largest cost is at most 200 epsilon, on logarithms beyond: with
    products along axes whose largest cost is at most 600 epsilon, else with sums of exponentials,
    slower by an order of magnitude. Both are always finite.
    """

    def __init__(self, cost: GridCost, a: Tensor, b: Tensor):
        self._cost, self._shape = cost, tuple(cost.shape)
        self._axis_costs = cost.axis_costs(device=a.device)
        self._all = (a, b)
        self._a, self._b = a, b

    def absorb(self, h: Tensor, epsilon: float) -> None:
        """Form the kernel of each axis; no potential is absorbed."""
        self._logits = [-cost / epsilon for cost in self._axis_costs]
        self._kernels = [logits.clamp(min=-700.0).exp() for logits in self._logits]
        self._lines = [LineSums(logits) for logits in self._logits]
        self._in_scaling_range = self.range() <= _SCALING_RANGE

    def range(self) -> float:
        """Largest cost in units of the epsilon of the kernel."""
        return -sum(float(logits.min()) for logits in self._logits)

    def in_range(self, h: Tensor) -> bool:
        """Every potential is in range."""
        return True

    def half_steps(self, h: Tensor) -> HalfSteps:
        """Do one pass along the axes at h of shape (n_problems, n)."""
        if not self._in_scaling_range:
            return self._half_steps_log(h)
        # h has mean zero, so its exponential is in range where the kernel is. Every operation
        # here goes over all pixels of all problems: none that could be spared.
        scaled_b = h.exp().mul_(self._b)
        row_sums = self._apply(scaled_b)
        column_sums = self._apply(self._a / row_sums)
        error = scaled_b.mul_(column_sums).sub_(self._b).abs_().sum(1)
        residual = column_sums.log_().add_(h).neg_()
        return HalfSteps(residual, error, row_sums, torch.zeros_like(self._a[0]))

    def _half_steps_log(self, h: Tensor) -> HalfSteps:
        row_log = self._apply_log(h + self._b.log())
        column_log = self._apply_log(self._a.log() - row_log)
        residual = -h - column_log
        error = (torch.expm1(-residual).abs() * self._b).sum(1)
        return HalfSteps(residual, error, torch.ones_like(row_log), row_log)

    def log_sums(self, values: Tensor) -> Tensor:
        """Logarithm of the kernel times the exponential of values, any of shape (k, n)."""
        if not self._in_scaling_range:
            return self._apply_log(values)
        largest = values.amax(1, keepdim=True)
        return largest + self._apply((values - largest).exp_()).log_()

    def scale(self) -> float:
        """Mean cost between source and target, over all problems."""
        return float(self._cost.scale(self._a.mean(0), self._b.mean(0)))

    def select(self, kept: Tensor | None) -> None:
        """Keep some of the present problems, kept of bool; ``None`` takes all of them back."""
        if kept is None:
            self._a, self._b = self._all
        else:
            self._a, self._b = self._a[kept], self._b[kept]

    def _apply(self, values: Tensor) -> Tensor:
        """Kernel times values, one axis at a time."""
        values = values.reshape(-1, *self._shape)
        for kernel in self._kernels:
            # The first axis is contracted and goes last: after all axes the order is restored.
            moved = torch.movedim(values, 1, -1)
            values = moved @ kernel
        return values.reshape(len(values), -1)

    def _apply_log(self, values: Tensor) -> Tensor:
        """Logarithm of the kernel times the exponential of values, one axis at a time."""
        values = values.reshape(-1, *self._shape)
        for axis, sums in enumerate(self._lines, start=1):
            moved = torch.movedim(values, axis, -1)
            reduced = sums.log(moved.reshape(-1, moved.shape[-1]))
            values = torch.movedim(reduced.reshape(moved.shape), -1, axis)
        return values.reshape(len(values), -1)
