"""One small problem on the CPU: the iteration of :mod:`skot.solvers._iteration`, in NumPy.

The algorithm is the same: annealing, Anderson's steps with the same safeguards, the same rule of
arrival. What differs is the cost of a pass. Here it is microseconds, so that every check and every
accelerated step follows a block of plain passes, and where passes are slow to converge Newton's
method takes over (:mod:`skot.solvers._newton`).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from skot.numerics.single_anderson import SingleAnderson
from skot.solvers._arrival import Arrival
from skot.solvers._iteration import (
    ANNEALING_TOL,
    LARGEST_STEP,
    PROGRESS,
    STALE_PASSES,
    STALE_SHARE,
    WORSE,
    Iterate,
    Progress,
    annealing_schedule,
    extrapolate,
)
from skot.solvers._lean_kernel import LeanCosts, LeanKernel, LeanPass
from skot.solvers._newton import newton

#: Relative to the mean cost: from here on the final epsilon is as good a start as a larger one.
_ANNEALING_BELOW = 0.01
#: Plain passes between two checks, by the number of points of the larger side.
_BLOCKS = ((70, 6), (140, 4), (300, 2))
#: Newton's method pays below this tolerance, up to so many entries, after so many passes.
_NEWTON_TOL, _NEWTON_SIZE, _NEWTON_PASSES = 1e-4, 2**18, 36
#: Passes after which it is tried whatever the tolerance.
_SLOW_PASSES = 150


class LeanSolution(NamedTuple):
    """Where a solve ended.

    Attributes
    ----------
    h, row_log : ndarray of shape (m,), (n,)
        Target potential over epsilon, and the logarithm of the row sums at it.
    error : float
        L1 error of the target marginal.
    converged : bool
        Whether h is a solution up to the tolerance.
    """

    h: np.ndarray
    row_log: np.ndarray
    error: float
    converged: bool

    def as_iterate(self) -> Iterate:
        """As a batch of one, in tensors."""
        h, row_log = torch.from_numpy(self.h)[None], torch.from_numpy(self.row_log)[None]
        error = torch.tensor([self.error], dtype=torch.float64)
        return Iterate(h, row_log, error, torch.tensor([self.converged]))


def solve_lean(
    costs: LeanCosts,
    a: np.ndarray,
    b: np.ndarray,
    g: np.ndarray | None,
    *,
    epsilon: float,
    tol: float,
    memory: int,
    annealing: bool,
    scale: float,
    largest: float,
    progress: Progress,
) -> LeanSolution:
    """Solve one problem.

    Parameters
    ----------
    costs : LeanCosts
        The costs, well scaled.
    a, b : ndarray of shape (n,), (m,)
        Positive weights that sum to one.
    g : ndarray of shape (m,) or None
        Initial target potential; given one, the iteration starts at the final epsilon.
    epsilon, tol : float
        Regularisation, and the L1 marginal error to reach.
    memory : int
        Of the acceleration; 0 is plain Sinkhorn, pass by pass.
    annealing : bool
        Whether to come from larger regularisations.
    scale, largest : float
        Mean cost, and a bound on the range of the costs.
    progress : Progress
        Counts passes.

    Returns
    -------
    solution : LeanSolution
        At the final epsilon.
    """
    kernel = LeanKernel(costs, a, b)
    epsilons = [epsilon]
    if annealing and g is None and epsilon < _ANNEALING_BELOW * scale:
        epsilons = annealing_schedule(epsilon, scale)
    found: list[np.ndarray] = []
    max_passes = progress.max_iter // (2 * len(epsilons))
    start = np.zeros_like(b) if g is None else g
    for stage, following in zip(epsilons[:-1], epsilons[1:], strict=True):
        if max_passes == 0 or progress.stopped:
            break
        # On the way only the error counts: the next stage moves every potential again.
        arrival = Arrival(max(ANNEALING_TOL, tol), np.inf)
        h = _iterate(
            kernel, start / stage, stage, arrival, progress, memory, max_passes=max_passes
        ).h
        found.append(h * stage)
        start = extrapolate(found, epsilons[: len(found)], following)
    arrival = Arrival(tol, largest / epsilon)
    leave = _slow(costs.shape, tol) if memory else None
    h, is_warm = start / epsilon, g is not None
    reached = _iterate(kernel, h, epsilon, arrival, progress, memory, leave=leave, is_warm=is_warm)
    if leave is not None and not (reached.is_arrival(arrival) or progress.exhausted):
        reached = newton(kernel, reached.h, arrival, progress)
        if not (reached.is_arrival(arrival) or progress.exhausted):
            reached = _iterate(kernel, reached.h, epsilon, arrival, progress, memory)
    if kernel.is_cut:
        # Cut entries, or a potential absorbed on a wild way, could make an error look small: the
        # answer is judged by a kernel that is made of nothing else.
        kernel.absorb(reached.h, epsilon)
        reached = kernel.passes(reached.h, 1)
    converged = reached.is_arrival(arrival)
    return LeanSolution(reached.h, kernel.row_log(), reached.error, converged)


def block_length(shape: tuple[int, int], memory: int) -> int:
    """Plain passes between two checks: one where every pass is to be seen."""
    if memory == 0:
        return 1
    return next((length for size, length in _BLOCKS if max(shape) <= size), 1)


def _slow(shape: tuple[int, int], tol: float) -> Callable[[int], bool]:
    """When to hand over to Newton's method, from the passes of a stage."""
    if shape[0] * shape[1] > _NEWTON_SIZE:
        return lambda passes: False
    limit = _NEWTON_PASSES if tol < _NEWTON_TOL else _SLOW_PASSES
    return lambda passes: passes >= limit


def _iterate(
    kernel: LeanKernel,
    h: np.ndarray,
    epsilon: float,
    arrival: Arrival,
    progress: Progress,
    memory: int,
    *,
    max_passes: int | None = None,
    leave: Callable[[int], bool] | None = None,
    is_warm: bool = False,
) -> LeanPass:
    """Iterate at one epsilon until the arrival; see :func:`skot.solvers._iteration.iterate`."""
    b = kernel.b
    kernel.absorb(h, epsilon)
    acceleration = SafeguardedStep(b, memory)
    block = block_length(kernel.costs.shape, memory)
    # A start that is given may be the solution: one pass tells.
    next_block = 1 if is_warm else block
    last = progress.max_iter if max_passes is None else progress.n_passes + max_passes
    last, first = min(last, progress.max_iter), progress.n_passes
    while True:
        reached = kernel.passes(h, min(next_block, last - progress.n_passes))
        next_block = block
        progress.record(reached.error, epsilon, reached.count)
        if reached.is_arrival(arrival) or progress.n_passes >= last or progress.stopped:
            return reached
        if leave is not None and leave(progress.n_passes - first):
            return reached
        if reached.lost:
            # An accelerated step went astray, or the start did: then all columns are placed exactly.
            back = acceleration.step_back()
            h = kernel.exact_half_step(kernel.row_log()) if back is None else back
            kernel.absorb(h, epsilon)
            continue
        if reached.error <= arrival.tol:
            # Only columns of next to no mass are left to settle: the acceleration does not see
            # them, half steps do.
            h = reached.plain
            acceleration.restart()
        else:
            h = acceleration.step(h, reached.plain)
        # A constant added to h changes nothing, but lets scalings drift out of range.
        h = h - h @ b
        if not kernel.in_range(h):
            kernel.absorb(h, epsilon)


class SafeguardedStep:
    """The rules of :class:`skot.solvers._iteration.SafeguardedAcceleration` for one problem.

    Parameters
    ----------
    weights : ndarray of shape (m,)
        Of the norm of residuals.
    memory : int
        Of the acceleration; 0 is the plain iteration.
    """

    def __init__(self, weights: np.ndarray, memory: int):
        self._weights, self._memory = weights, memory
        self._anderson = SingleAnderson(weights, memory)
        self._best_next = weights
        self._best = self._anchor = self._looked = np.inf
        self._run = self._left = self._n_steps = 0

    def restart(self) -> None:
        """Forget the past differences."""
        self._anderson.restart()

    def step(self, h: np.ndarray, plain: np.ndarray) -> np.ndarray:
        """Return the next iterate, from one of shape (m,) and its image under plain passes."""
        if self._memory == 0:
            return plain
        residual = plain - h
        norm = float((residual * residual) @ self._weights)
        following = self._anderson.step(plain, residual)
        if not np.abs(following - plain).max() <= LARGEST_STEP:
            # Along a direction that the residual does not see, extrapolation has no bounds.
            self._anderson.restart()
            following = plain
        # Not a number counts as worse: exponentials of a wild iterate can overflow.
        undone = not norm <= WORSE * self._best
        self._n_steps += 1
        if self._n_steps % STALE_PASSES == 0:
            undone |= self._best > STALE_SHARE * self._looked
            self._looked = self._best
        if self._left > 0:
            self._left -= 1
            self._best, self._best_next = norm, plain
            return plain
        if undone:
            self._anderson.restart()
            return self._return()
        if norm < self._best:
            self._best, self._best_next = norm, plain
        return following

    def step_back(self) -> np.ndarray | None:
        """Return to the plain step from the best iterate; None where there is none."""
        self._anderson.restart()
        if np.isinf(self._best) or self._left > 0:
            return None
        return self._return()

    def _return(self) -> np.ndarray:
        """Go back: when that has not helped since the last time, plain steps follow."""
        circles = self._best > PROGRESS * self._anchor
        self._run = 2 * self._run + 1 if circles else 0
        self._left, self._anchor, self._best = self._run, self._best, np.inf
        return self._best_next
