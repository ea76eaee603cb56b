"""L-BFGS on many small problems at once, one per row of a batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: Share of the predicted decrease that a step has to keep (Nocedal and Wright, equation 3.4).
_SUFFICIENT_DECREASE = 1e-4
#: Values may be off by so many units in the last place of 1 + |value|. Generous, since a value is
#: often a small difference of large terms; the slope has to fit as well.
_ROUNDING = 256
#: A row that rejects so many trial points in a row is given up.
_MAX_REJECTIONS = 15
#: A rejected trial point whose slope has grown by more than this factor is too far away to tell
#: the curvature at hand.
_MAX_BEND = 100.0
#: The batch is cut down to its active rows, and as many others as fill it up to one of a few
#: sizes: multiples of 16, from 128 on eight to a power of two. Kernels that are compiled for the
#: shape, as those behind `skot.numerics.affine` are, would be compiled anew in every iteration
#: otherwise. And cutting costs about as much as evaluating a few per cent of the rows.
_LEAST_SIZE, _SIZES_PER_OCTAVE = 16, 8


@dataclass(frozen=True)
class RowMinima:
    r"""Minimisers of n functions, as a batched method has found them.

    `argument` (n, d) holds the last points, `value` (n,) their values, `gradient_norm` (n,) the
    root mean square of their gradients, :math:`\|g\|_2 / \sqrt{d}`, `n_iter` (n,) the trial points,
    each one evaluation on top of that at the start, `converged` (n,) whether that norm is at most
    the tolerance.
    """

    argument: Tensor
    value: Tensor
    gradient_norm: Tensor
    n_iter: Tensor
    converged: Tensor


@torch.no_grad()
def batched_lbfgs(
    value_and_gradient: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    x_init: Tensor,
    *,
    max_iter: int = 50,
    tol: float = 1e-3,
    memory_size: int = 10,
) -> RowMinima:
    """Minimise one smooth function per row of x_init (n, d), all rows evaluated together.

    ``value_and_gradient(x, rows)`` takes points (k, d) and the indices (k,) of the functions to
    evaluate there, and returns values (k,) and gradients (k, d). A row stops where the root mean
    square of its gradient is at most `tol`, after `max_iter` trial points, or where it cannot make
    a step; it never raises for lack of convergence. The result of a row does not depend on the
    other rows, up to rounding. Precision and device are those of `x_init`.

    Each row runs Algorithms 7.4 and 7.5 of [1] with `memory_size` pairs of differences and a
    backtracking line search. The start takes the Hessian for the identity: the first trial point is
    a full gradient step.

    - A trial point is accepted if the value decreases sufficiently (Armijo), or, where the change
      drowns in rounding, if the slope along the step says so: the approximate condition (4.1) of
      [2]. Its gradient comes with the value, so an accepted first trial costs one evaluation.
    - The differences seen at a rejected trial point enter the memory as well. The next direction
      then knows the curvature that spoiled the step, which replaces interpolation along the old
      direction. Repeated rejections shorten the step, so that it becomes acceptable in the end.
    - Pairs without positive curvature are skipped, and so are trial points that were rejected
      because they lie far outside; a trial point that is not finite is rejected.
    - Where the slope does not change along an accepted step, the next one is longer.

    [1] Nocedal, J. and Wright, S. (2006). Numerical optimization.
    [2] Hager, W. and Zhang, H. (2005). A new conjugate gradient method with guaranteed descent
    and an efficient line search. SIAM Journal on Optimization, 16(1).
    """
    batch = _Batch(value_and_gradient, x_init.detach(), tol, memory_size)
    result = RowMinima(
        torch.empty_like(batch.x),
        torch.empty_like(batch.value),
        torch.empty_like(batch.value),
        torch.empty_like(batch.rows),
        torch.empty_like(batch.active),
    )
    for _ in range(max_iter):
        n_active = int(batch.active.sum())
        if n_active == 0:
            break
        size = _batch_size(n_active)
        if size < len(batch.rows):
            batch.store(result)
            batch.drop_finished(size)
        batch.advance(value_and_gradient)
    batch.store(result)
    return result


def _batch_size(n_active: int) -> int:
    """Round up, to one of the sizes that batches are cut down to."""
    unit = max(_LEAST_SIZE, 2 ** (n_active - 1).bit_length() // (2 * _SIZES_PER_OCTAVE))
    return -(-n_active // unit) * unit


class _Memory:
    """Differences of points and gradients, and the inverse Hessian that they imply."""

    def __init__(self, size: int):
        self._size = size
        self._pairs: list[tuple[Tensor, Tensor]] = []
        self._scale: Tensor | None = None

    def push(self, step: Tensor, change: Tensor, product: Tensor, usable: Tensor) -> None:
        """Remember the differences of the usable rows; product is their inner product."""
        # Scaled so that the inner product is one, which takes the division out of the recursion.
        # A pair of zeros does nothing there.
        weight = torch.where(usable, product.rsqrt(), 0.0)[:, None]
        scale = product / (change * change).sum(1)
        self._scale = torch.where(usable, scale, 1.0 if self._scale is None else self._scale)
        self._pairs.append((step * weight, change * weight))
        if len(self._pairs) > self._size:
            self._pairs.pop(0)

    def descend(self, gradient: Tensor) -> Tensor:
        """Return minus the inverse Hessian times the gradient: the two-loop recursion."""
        if self._scale is None:
            return -gradient
        # Algorithm 7.4 of Nocedal and Wright. With <step, change> = 1 for each pair there is
        # nothing to divide by, and `_scale` is the inverse Hessian to start from of their equation
        # 7.20, from the last pair.
        direction, first = gradient, []
        for step, change in reversed(self._pairs):
            first.append((step * direction).sum(1, keepdim=True))
            direction = torch.addcmul(direction, first[-1], change, value=-1)
        direction = direction * -self._scale[:, None]
        for (step, change), coefficient in zip(self._pairs, reversed(first), strict=True):
            second = (change * direction).sum(1, keepdim=True)
            direction = torch.addcmul(direction, coefficient.add_(second), step, value=-1)
        return direction

    def forget(self, rows: Tensor) -> None:
        """Start anew in some rows."""
        for pair in self._pairs:
            for part in pair:
                part.index_fill_(0, rows, 0.0)
        if self._scale is not None:
            self._scale.index_fill_(0, rows, 1.0)

    def select(self, rows: Tensor) -> None:
        """Keep some rows only."""
        self._pairs = [
            (step.index_select(0, rows), change.index_select(0, rows))
            for step, change in self._pairs
        ]
        if self._scale is not None:
            self._scale = self._scale.index_select(0, rows)


class _Batch:
    """The rows that are being worked on; those not active any more stay as they are."""

    def __init__(self, value_and_gradient: Callable, x: Tensor, tol: float, memory_size: int):
        self.x = x
        self.rows = torch.arange(len(x), device=x.device)
        self.value, self.gradient = value_and_gradient(x, self.rows)
        self.squared_norm = self.gradient.square().sum(1)
        self.step = torch.ones_like(self.value)
        self.rejections = torch.zeros_like(self.rows)
        self.n_trials = torch.zeros_like(self.rows)
        self.memory = _Memory(memory_size)
        self._limit = tol**2 * x.shape[1]
        finite = torch.isfinite(self.value + self.squared_norm)
        self.active = finite & (self.squared_norm > self._limit)

    def store(self, result: RowMinima) -> None:
        """Write the rows to their places in the result."""
        small = self.squared_norm <= self._limit
        for whole, part in (
            (result.argument, self.x),
            (result.value, self.value),
            (result.gradient_norm, (self.squared_norm / self.x.shape[1]).sqrt()),
            (result.n_iter, self.n_trials),
            (result.converged, small & torch.isfinite(self.value)),
        ):
            whole.index_copy_(0, self.rows, part)

    def drop_finished(self, size: int) -> None:
        """Keep the active rows, and some of the others to make it as many as `size`."""
        left = self.active.byte().argsort(descending=True, stable=True)[:size]
        for name in (
            *("x", "rows", "value", "gradient", "squared_norm"),
            *("step", "rejections", "n_trials", "active"),
        ):
            setattr(self, name, getattr(self, name).index_select(0, left))
        self.memory.select(left)

    def advance(self, value_and_gradient: Callable) -> None:
        """Evaluate one trial point per row, and go there where it is better."""
        direction = self.memory.descend(self.gradient)
        slope = (direction * self.gradient).sum(1)
        x = torch.addcmul(self.x, self.step[:, None], direction)
        value, gradient = value_and_gradient(x, self.rows)
        trial_slope = (direction * gradient).sum(1)
        finite = torch.isfinite(value + trial_slope)
        accepted = self._is_better(value, slope, trial_slope) & finite & self.active
        # Over -slope, the curvature along the step relative to what the direction had assumed.
        bend = trial_slope - slope
        # No more than rounding: linear as far as one sees, so there is nothing to remember, and the
        # next step is longer.
        flat = bend.abs() <= -100 * torch.finfo(x.dtype).eps * slope
        usable = finite & (bend > 0) & ~flat & (accepted | (bend <= -_MAX_BEND * slope))
        change = gradient - self.gradient
        # What is not finite is rejected: without rejections there is nothing to clear or to undo.
        rejected = (~accepted).nonzero()[:, 0]
        if len(rejected):
            change.index_fill_(0, (~finite).nonzero()[:, 0], 0.0)
        # <step, change> is the length of the step times the change of the slope along it.
        self.memory.push(x - self.x, change, self.step * bend, usable)
        self.n_trials = self.n_trials + self.active
        step = torch.where(flat, 4.0 * self.step, 1.0)
        if len(rejected):
            step = torch.where(accepted, step, self._shortened(usable))
            self.rejections = torch.where(accepted, 0, self.rejections + 1)
            x = x.index_copy_(0, rejected, self.x.index_select(0, rejected))
            gradient = gradient.index_copy(0, rejected, self.gradient.index_select(0, rejected))
            value = torch.where(accepted, value, self.value)
            # Rounding, or pairs that fit badly: not a direction of descent.
            useless = (~(slope < 0)).nonzero()[:, 0]
            if len(useless):
                self.memory.forget(useless)
        else:
            self.rejections = torch.zeros_like(self.rejections)
        self.x, self.value, self.gradient, self.step = x, value, gradient, step
        self.squared_norm = (gradient * gradient).sum(1)
        going_on = (self.squared_norm > self._limit) & (self.rejections < _MAX_REJECTIONS)
        self.active = self.active & going_on

    def _shortened(self, usable: Tensor) -> Tensor:
        """Step lengths after a rejection: full where the memory has just learnt the curvature."""
        shorter = torch.where(usable, 0.25 * self.step, 0.1 * self.step)
        return torch.where(usable & (self.rejections == 0), 1.0, shorter)

    def _is_better(self, value: Tensor, slope: Tensor, trial_slope: Tensor) -> Tensor:
        """Armijo's condition, or the approximate one where values differ by rounding only."""
        decreases = value <= self.value + _SUFFICIENT_DECREASE * self.step * slope
        noise = _ROUNDING * torch.finfo(value.dtype).eps * (1.0 + self.value.abs())
        flat = value <= self.value + noise
        flattens = trial_slope <= (2 * _SUFFICIENT_DECREASE - 1.0) * slope
        return (slope < 0) & (decreases | (flat & flattens))
