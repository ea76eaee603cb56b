"""The accelerated fixed-point iteration at one epsilon.

The unknown is ``h = g / epsilon`` of shape (n_problems, m), in float64 whatever the kernel's
dtype. Kernels are described in :mod:`skot.solvers._entropic.kernels`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from skot.solvers._entropic.acceleration import SafeguardedAcceleration
from skot.solvers._entropic.arrival import Arrival
from skot.solvers._entropic.kernels import HalfSteps


@dataclass
class Progress:
    """What is shared by all stages of one solve.

    It is allowed `max_iter` passes in total, of which it has taken `n_passes`; `errors` has the
    largest marginal error over the problems after each, or after each block. If the hook
    ``on_iteration(i, state) -> stop`` asked to stop, `stopped` says so. `unit` is that of the
    regularisations, in the caller's units.
    """

    max_iter: int
    on_iteration: Callable[[int, dict], bool] | None = None
    errors: list[float] = field(default_factory=list)
    n_passes: int = 0
    stopped: bool = False
    unit: float = 1.0

    @property
    def exhausted(self) -> bool:
        """Whether no further pass is allowed."""
        return self.stopped or self.n_passes >= self.max_iter

    def record(self, error: float, epsilon: float, count: int = 1) -> None:
        """Count passes at one epsilon, which end with an error, and tell the hook."""
        self.errors.append(error)
        self.n_passes += count
        if self.on_iteration is not None and not self.stopped:
            state = {"marginal_error": error, "epsilon": epsilon * self.unit}
            state["n_iter"] = self.n_passes
            self.stopped |= bool(self.on_iteration(len(self.errors) - 1, state))

    def merge(self, other: "Progress") -> None:
        """Add the passes of a solve done on the side: the longest one counts."""
        if other.n_passes > self.n_passes:
            self.errors, self.n_passes = other.errors, other.n_passes
        self.stopped |= other.stopped


@dataclass
class Iterate:
    """Where a stage ended, per problem.

    Attributes
    ----------
    h : Tensor of shape (n_problems, m)
        Target potential over epsilon.
    row_log : Tensor of shape (n_problems, n)
        Logarithm of the row sums at h.
    error : Tensor of shape (n_problems,)
        Marginal error at h.
    converged : Tensor of bool, shape (n_problems,)
        Whether h is a solution up to the tolerance.
    passes : Tensor of shape (n_problems,) or None
        Passes of the whole solve up to the first solution; None where all that were counted were
        needed.
    """

    h: Tensor
    row_log: Tensor
    error: Tensor
    converged: Tensor
    passes: Tensor | None = None


def iterate(
    kernel,
    h: Tensor,
    b: Tensor,
    epsilon: float,
    arrival: Arrival,
    progress: Progress,
    *,
    memory: int,
    max_passes: int | None = None,
    leave: Callable[[list[float]], bool] | None = None,
) -> Iterate:
    """Iterate from h of shape (n_problems, m) until every problem has arrived.

    A stage of `max_passes` ends earlier where `leave`, asked with its errors, says so.
    """
    kernel.select(None)
    kernel.absorb(h, epsilon)
    acceleration = SafeguardedAcceleration(b, memory)
    active = torch.arange(len(h), device=h.device)
    # Problems that have arrived go on while the batch does: when they did is noted.
    passes_needed = torch.zeros_like(active)
    left_over: Iterate | None = None
    first = progress.n_passes
    while True:
        half = kernel.half_steps(h)
        progress.record(float(half.error.max()), epsilon)
        close = half.error <= arrival.tol
        arrived, any_close = close, bool(close.any())
        if any_close:
            # A column out of reach of the exponentials tells nothing, with mass or without.
            arrived = arrival.reached(half.error, distance(half, b)) & (not half.lost)
            is_new = arrived & (passes_needed[active] == 0)
            passes_needed[active[is_new]] = progress.n_passes
        passes = progress.n_passes - first
        has_arrived = any_close and bool(arrived.all())
        is_over = has_arrived or progress.exhausted or passes == max_passes
        if is_over or (leave is not None and leave(progress.errors[-passes:])):
            passes_needed[passes_needed == 0] = progress.n_passes
            return replace(_store(left_over, active, h, b, half, arrived), passes=passes_needed)
        if half.lost:
            # Some columns are out of reach of the exponentials. An accelerated step went astray,
            # or the start did: then they are placed exactly.
            back = acceleration.step_back()
            h = kernel.exact_target_update(half.row_log, epsilon) if back is None else back
            kernel.absorb(h, epsilon)
            continue
        h_now, following = h, acceleration.step(h, half.residual)
        settling = close & ~arrived
        if any_close and bool(settling.any()):
            # Only columns of next to no mass are left to settle: the acceleration does not see
            # them, half steps do.
            following = torch.where(settling[:, None], h + half.residual, following)
            acceleration.restart(settling)
        # A constant added to h changes nothing, but lets scalings drift out of range.
        h = following - (following * b).sum(1, keepdim=True)
        if any_close and h.shape[0] > 1 and 2 * int(arrived.sum()) > h.shape[0]:
            kept = ~arrived
            left_over = _store(left_over, active, h_now, b, half, arrived)
            kernel.select(kept)
            acceleration.select(kept)
            h, b, active = h[kept], b[kept], active[kept]
        if not kernel.in_range(h):
            kernel.absorb(h, epsilon)


def distance(half: HalfSteps, b: Tensor) -> Tensor:
    """Largest distance of a column with mass from its half step, shape (n_problems,)."""
    return torch.where(b > 0, half.residual, 0.0).abs().amax(1)


def _store(
    known: Iterate | None, active: Tensor, h: Tensor, b: Tensor, half: HalfSteps, arrived: Tensor
) -> Iterate:
    """Write the iterates of the active problems over what is known of all."""
    # No iteration sees columns without mass: their potential is the half step.
    h = torch.where(b > 0, h, h + half.residual)
    if known is None:
        return Iterate(h, half.row_log, half.error, arrived)
    known.h[active], known.row_log[active] = h, half.row_log
    known.error[active], known.converged[active] = half.error, arrived
    return known
