"""The accelerated fixed-point iteration at one epsilon, and the annealing of epsilon.

The unknown is ``h = g / epsilon`` of shape (n_problems, m), in float64 whatever the kernel's
dtype. Kernels are described in :mod:`skot.solvers._entropic.kernels`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from skot.numerics.anderson import AndersonAcceleration
from skot.solvers._entropic.arrival import Arrival
from skot.solvers._entropic.kernels import HalfSteps

#: Factor between the epsilons of the annealing.
ANNEALING_FACTOR = 4.0
#: Annealing starts at the largest epsilon below this fraction of the cost's scale.
ANNEALING_START = 0.3
#: Marginal error at which an epsilon of the annealing, but the last, is left.
ANNEALING_TOL = 1e-2
#: A residual this many times larger than the best one undoes the acceleration (squared norms).
WORSE = 4.0
#: It is undone too when the best residual of this many passes is not below this share of the
#: best one before.
STALE_PASSES, STALE_SHARE = 100, 0.9
#: The acceleration makes progress if the best residual falls below this share before it is undone.
PROGRESS = 0.95
#: Largest distance of an accelerated step from the plain one, in any coordinate.
LARGEST_STEP = 30.0


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
        Largest marginal error over the problems after each pass, or block of passes.
    n_passes : int
        Passes so far.
    stopped : bool
        Whether the hook asked to stop.
    unit : float
        Of the regularisations, in the caller's units.
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
        """Add the passes of a solve done on the side.

        Parameters
        ----------
        other : Progress
            Of that solve; the longest one counts.
        """
        if other.n_passes > self.n_passes:
            self.errors, self.n_passes = other.errors, other.n_passes
        self.stopped |= other.stopped


def annealing_schedule(epsilon: float, scale: float, start: float = ANNEALING_START) -> list[float]:
    """Decreasing regularisations that end at epsilon.

    Parameters
    ----------
    epsilon : float
        The last one.
    scale : float
        Typical cost.
    start : float, default=0.3
        Largest regularisation, as a share of it.

    Returns
    -------
    epsilons : list of float
        Just ``[epsilon]`` when it is large already.

    Examples
    --------
    >>> from skot.solvers._entropic.iteration import annealing_schedule
    >>> annealing_schedule(0.01, 1.0)
    [0.16, 0.04, 0.01]
    """
    epsilons = [epsilon]
    while epsilons[-1] * ANNEALING_FACTOR <= start * scale:
        epsilons.append(epsilons[-1] * ANNEALING_FACTOR)
    return epsilons[::-1]


#: An array of NumPy or of torch.
_Potential = TypeVar("_Potential", Tensor, np.ndarray)


def extrapolate(potentials: list[_Potential], epsilons: list[float], epsilon: float) -> _Potential:
    """Guess the potential at the next epsilon, linearly from the last two that were found."""
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


class SafeguardedAcceleration:
    """Anderson's steps, taken back where they do harm.

    When the residual has grown, or has not shrunk for long, a problem returns to the plain step
    from its best iterate and forgets its past. That alone can go in circles: when the best residual
    has not shrunk since the last return, plain steps follow, twice as many as the last time.
    Plain steps converge by themselves, so the whole does.

    Parameters
    ----------
    weights : Tensor of shape (n_problems, m)
        Of the norm of residuals.
    memory : int
        Of the acceleration; 0 is the plain iteration.
    """

    def __init__(self, weights: Tensor, memory: int):
        self._weights, self._memory = weights, memory
        self._anderson = AndersonAcceleration(weights, memory)
        self._best_next = torch.zeros_like(weights)
        self._best = torch.full_like(weights[:, 0], torch.inf)
        # The best residual at the last return and at the last look for progress.
        self._anchor, self._looked = self._best, self._best
        # The length of the last run of plain steps, and how many of them are left.
        self._run, self._left = torch.zeros_like(self._best), torch.zeros_like(self._best)
        self._n_steps, self._all_accelerated = 0, True

    def restart(self, rows: Tensor) -> None:
        """Forget the past differences of some problems."""
        self._anderson.restart(rows)

    def select(self, rows: Tensor) -> None:
        """Keep only some problems.

        Parameters
        ----------
        rows : Tensor of bool, shape (n_problems,)
            Which problems stay.
        """
        self._anderson.select(rows)
        self._weights, self._best_next = self._weights[rows], self._best_next[rows]
        self._best, self._anchor, self._looked = (
            self._best[rows],
            self._anchor[rows],
            self._looked[rows],
        )
        self._run, self._left = self._run[rows], self._left[rows]

    def step(self, h: Tensor, residual: Tensor) -> Tensor:
        """Return the next iterate.

        Parameters
        ----------
        h : Tensor of shape (n_problems, m)
            Current iterate.
        residual : Tensor of shape (n_problems, m)
            Its residual.

        Returns
        -------
        h : Tensor of shape (n_problems, m)
            The next iterate.
        """
        plain = h + residual
        if self._memory == 0:
            return plain
        norm = (residual.square() * self._weights).sum(1)
        following = self._anderson.step(h, residual)
        # Along a direction that the residual does not see, extrapolation has no bounds.
        away = following - plain
        if not float(torch.linalg.vector_norm(away, torch.inf)) <= LARGEST_STEP:
            astray = ~(away.abs().amax(1) <= LARGEST_STEP)
            following = torch.where(astray[:, None], plain, following)
            self._anderson.restart(astray)
        # Not a number counts as worse: exponentials of a wild iterate can overflow.
        undone = ~(norm <= WORSE * self._best)
        self._n_steps += 1
        if self._n_steps % STALE_PASSES == 0:
            undone |= self._best > STALE_SHARE * self._looked
            self._looked = self._best
        if self._all_accelerated and not bool(undone.any()):
            self._keep_best(norm < self._best, norm, plain)
            return following
        is_plain = self._left > 0
        undone &= ~is_plain
        following = torch.where(is_plain[:, None], plain, following)
        following = torch.where(undone[:, None], self._best_next, following)
        self._anderson.restart(undone)
        self._keep_best(((norm < self._best) | is_plain) & ~undone, norm, plain)
        self._left = (self._left - 1.0).clamp_min(0.0)
        self._return(undone)
        return following

    def step_back(self) -> Tensor | None:
        """Forget the past of all problems, and return them to their best iterates.

        Returns
        -------
        h : Tensor of shape (n_problems, m) or None
            The plain steps from there; None where a problem has none that is better.
        """
        self._anderson.restart()
        if bool((torch.isinf(self._best) | (self._left > 0)).any()):
            return None
        self._return(torch.ones_like(self._best, dtype=torch.bool))
        return self._best_next

    def _keep_best(self, rows: Tensor, norm: Tensor, plain: Tensor) -> None:
        self._best_next = torch.where(rows[:, None], plain, self._best_next)
        self._best = torch.where(rows, norm, self._best)

    def _return(self, rows: Tensor) -> None:
        """Note that some problems went back: the longer the run of plain steps, the more often."""
        circles = self._best > PROGRESS * self._anchor
        run = torch.where(circles, 2.0 * self._run + 1.0, 0.0)
        self._run = torch.where(rows, run, self._run)
        self._left = torch.where(rows, run, self._left)
        self._anchor = torch.where(rows, self._best, self._anchor)
        self._best = torch.where(rows, torch.inf, self._best)
        self._all_accelerated = not bool((self._left > 0).any())


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
    """Iterate at one epsilon until every problem has arrived.

    Steps are :class:`SafeguardedAcceleration`'s. Problems that have arrived leave the batch.

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
    arrival : Arrival
        When a problem counts as solved.
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
