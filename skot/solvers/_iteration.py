"""The accelerated fixed-point iteration at one epsilon, and the annealing of epsilon.

The unknown is ``h = g / epsilon`` of shape (n_problems, m), in float64 whatever the kernel's
dtype. Kernels are described in :mod:`skot.solvers._kernels`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from skot.numerics.anderson import AndersonAcceleration
from skot.solvers._kernels import HalfSteps

#: Factor between the epsilons of the annealing.
ANNEALING_FACTOR = 4.0
#: Annealing starts at the largest epsilon below this fraction of the cost's scale.
ANNEALING_START = 0.3
#: Marginal error at which an epsilon of the annealing, but the last, is left.
ANNEALING_TOL = 1e-2
#: A residual this many times larger than the best one undoes the acceleration (squared norms).
_WORSE = 4.0


@dataclass
class Progress:
    """What is shared by all stages of one solve.

    Attributes
    ----------
    max_iter : int
        Passes allowed in total.
    on_iteration : callable or None
        ``on_iteration(i, state) -> stop``.
    errors : list of float
        Largest marginal error over the problems after each pass.
    stopped : bool
        Whether the hook asked to stop.
    unit : float
        Of the regularisations, in the caller's units.
    """

    max_iter: int
    on_iteration: Callable[[int, dict], bool] | None = None
    errors: list[float] = field(default_factory=list)
    stopped: bool = False
    unit: float = 1.0

    @property
    def exhausted(self) -> bool:
        """Whether no further pass is allowed."""
        return self.stopped or len(self.errors) >= self.max_iter

    def record(self, error: float, epsilon: float) -> None:
        """Count one pass and tell the hook.

        Parameters
        ----------
        error : float
            Marginal error.
        epsilon : float
            Regularisation of the pass.
        """
        self.errors.append(error)
        if self.on_iteration is not None and not self.stopped:
            state = {"marginal_error": error, "epsilon": epsilon * self.unit}
            self.stopped |= bool(self.on_iteration(len(self.errors) - 1, state))

    def merge(self, other: "Progress") -> None:
        """Add the passes of a solve done on the side.

        Parameters
        ----------
        other : Progress
            Of that solve; the longest one counts.
        """
        if len(other.errors) > len(self.errors):
            self.errors = other.errors
        self.stopped |= other.stopped


def annealing_schedule(epsilon: float, scale: float) -> list[float]:
    """Decreasing regularisations that end at epsilon.

    Parameters
    ----------
    epsilon : float
        The last one.
    scale : float
        Typical cost.

    Returns
    -------
    epsilons : list of float
        Just ``[epsilon]`` when it is large already.

    Examples
    --------
    >>> from skot.solvers._iteration import annealing_schedule
    >>> annealing_schedule(0.01, 1.0)
    [0.16, 0.04, 0.01]
    """
    epsilons = [epsilon]
    while epsilons[-1] * ANNEALING_FACTOR <= ANNEALING_START * scale:
        epsilons.append(epsilons[-1] * ANNEALING_FACTOR)
    return epsilons[::-1]


def extrapolate(potentials: list[Tensor], epsilons: list[float], epsilon: float) -> Tensor:
    """Guess the potential at the next epsilon, linearly from the last two.

    Parameters
    ----------
    potentials : list of Tensor
        Potentials g found so far, in the order of the annealing.
    epsilons : list of float
        Their regularisations.
    epsilon : float
        The next one.

    Returns
    -------
    potential : Tensor
        The guess.
    """
    if len(potentials) < 2:
        return potentials[-1]
    slope = (potentials[-1] - potentials[-2]) / (epsilons[-1] - epsilons[-2])
    return potentials[-1] + (epsilon - epsilons[-1]) * slope


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
    """

    h: Tensor
    row_log: Tensor
    error: Tensor


def iterate(
    kernel,
    h: Tensor,
    b: Tensor,
    epsilon: float,
    tol: float,
    progress: Progress,
    *,
    memory: int,
    max_passes: int | None = None,
    leave: Callable[[list[float]], bool] | None = None,
) -> Iterate:
    """Iterate at one epsilon until every problem has reached the tolerance.

    Anderson's step is taken unless the residual grew: then the problem goes back to the plain
    step from its best iterate and forgets its past. Problems that have arrived leave the batch.

    Parameters
    ----------
    kernel : kernel
        Does the half steps.
    h : Tensor of shape (n_problems, m)
        Start.
    b : Tensor of shape (n_problems, m)
        Target weights.
    epsilon : float
        Regularisation.
    tol : float
        Marginal error to reach.
    progress : Progress
        Counts passes and may stop.
    memory : int
        Of the acceleration; 0 is plain Sinkhorn.
    max_passes : int, default=None
        Of this stage; ``None`` means all that are left.
    leave : callable, default=None
        Called with the errors of this stage, to leave it early.

    Returns
    -------
    iterate : Iterate
        The last iterate of each problem.
    """
    kernel.select(None)
    kernel.absorb(h, epsilon)
    acceleration = AndersonAcceleration(b, memory)
    best = torch.full_like(h[:, 0], torch.inf)
    best_next = h
    active = torch.arange(len(h), device=h.device)
    final: Iterate | None = None
    first = len(progress.errors)
    while True:
        half = kernel.half_steps(h)
        final = _store(final, active, h, half)
        progress.record(float(final.error.max()), epsilon)
        passes = len(progress.errors) - first
        if progress.errors[-1] <= tol or progress.exhausted or passes == max_passes:
            return final
        if leave is not None and leave(progress.errors[first:]):
            return final
        if half.lost:
            # Some columns are out of reach of clamped exponentials: place them exactly.
            h = kernel.exact_target_update(half.row_log, epsilon)
            kernel.absorb(h, epsilon)
            acceleration.restart()
            best.fill_(torch.inf)
            continue
        arrived = half.error <= tol
        norm = (half.residual.square() * b).sum(1)
        following = acceleration.step(h, half.residual)
        worse = norm > _WORSE * best
        better = norm < best
        if bool(worse.any()):
            following = torch.where(worse[:, None], best_next, following)
            acceleration.restart(worse)
        best_next = torch.where(better[:, None], h + half.residual, best_next)
        best = torch.where(worse, torch.inf, torch.where(better, norm, best))
        # A constant added to h changes nothing, but lets scalings drift out of range.
        h = following - (following * b).sum(1, keepdim=True)
        if h.shape[0] > 1 and 2 * int(arrived.sum()) > h.shape[0]:
            kept = ~arrived
            kernel.select(kept)
            acceleration.select(kept)
            h, b, active = h[kept], b[kept], active[kept]
            best, best_next = best[kept], best_next[kept]
        if not kernel.in_range(h):
            kernel.absorb(h, epsilon)


def _store(final: Iterate | None, active: Tensor, h: Tensor, half: HalfSteps) -> Iterate:
    """Write the iterates of the active problems over their last ones."""
    if final is None or active.shape == final.error.shape:
        return Iterate(h, half.row_log, half.error)
    final.h[active], final.row_log[active] = h, half.row_log
    final.error[active] = half.error
    return final
