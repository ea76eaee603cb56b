"""One small problem on the CPU: the iteration of :mod:`skot.solvers._entropic.iteration`, in NumPy.

The algorithm is the same: annealing, Anderson's steps with the same safeguards, the same rule of
arrival. What differs is the cost of a pass. Here it is microseconds, so that every check and every
accelerated step follows a block of plain passes, and where passes are slow to converge Newton's
method takes over (:mod:`skot.solvers._entropic.lean.newton`).
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from skot.numerics.single_anderson import SingleAnderson
from skot.solvers._entropic.acceleration import (
    LARGEST_STEP,
    PROGRESS,
    STALE_PASSES,
    STALE_SHARE,
    WORSE,
)
from skot.solvers._entropic.annealing import ANNEALING_TOL, annealing_schedule, extrapolate
from skot.solvers._entropic.arrival import Arrival
from skot.solvers._entropic.iteration import Iterate, Progress
from skot.solvers._entropic.lean.kernel import DOUBLE, SINGLE, LeanKernel, LeanPass
from skot.solvers._entropic.lean.newton import newton
from skot.solvers._entropic.lean_logits import LeanLogits
from skot.solvers._entropic.precision import EASY_TOL, reach, single_noise

#: Relative to the mean cost: from here on the final epsilon is as good a start as a larger one.
_ANNEALING_BELOW = _ANNEALING_START = 0.02
#: Passes between two checks. One number for all sizes: points given twice, or once with twice the
#: weight, take the same way.
_BLOCK = 6
#: Passes that reduce the error by ``exp(_FAST)`` each are left as they are.
_FAST = 0.7
#: Newton's method pays below this tolerance after so many passes, by the number of entries. For the
#: smallest it would above too, but then points given twice would take another way.
_NEWTON_TOL = 1e-4
_NEWTON_PASSES = ((2**12, 12), (2**14, 24), (2**17, 36), (2**18, 96))
#: Entries from which a kernel in float32 pays, and the weights that its range holds.
_SINGLE_ENTRIES, _SINGLE_WEIGHT = 2**17, 1e-15
#: Passes after which it is tried whatever the tolerance.
_SLOW_PASSES = 400


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
    costs: LeanLogits,
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
    allow_single: bool,
    progress: Progress,
) -> LeanSolution:
    """Solve one problem, with positive weights that sum to one, of shape (n,), (m,).

    Given a potential, of shape (m,), the iteration starts at the final epsilon. A memory of 0 is
    plain Sinkhorn, pass by pass. `scale` is the mean cost, `largest` a bound on the range of the
    costs, and `allow_single` lets the kernel be in float32 where that is faster and good enough.
    """
    is_warm = g is not None
    noise = single_noise(scale, epsilon)
    is_exact_enough = noise <= 0.2 * reach(tol, largest, epsilon)
    is_single = allow_single and is_exact_enough and _is_single(costs.shape, a, b, tol)
    kernel = LeanKernel(costs, a, b, SINGLE if is_single else DOUBLE)
    iteration = _Iteration(kernel, memory, progress)
    if g is None:
        g = np.zeros_like(b)
        if annealing and epsilon < _ANNEALING_BELOW * scale:
            g = _anneal(iteration, annealing_schedule(epsilon, scale, _ANNEALING_START), tol)
    arrival = Arrival(tol, largest / epsilon)
    patience = _patience(costs.shape, tol, memory)
    h = g / epsilon
    kernel.absorb(h, epsilon)
    if is_single:
        lower = arrival._replace(tol=max(0.5 * tol, tol - noise))
        reached, arrived = iteration.run(h, lower, patience=_SLOW_PASSES, is_warm=is_warm)
        if kernel.is_cut:
            reached, arrived = _judge(kernel, reached.h, lower)
        if arrived or progress.exhausted:
            return LeanSolution(reached.h, kernel.row_log(), reached.error, arrived)
        # What float32 does not do, float64 finishes.
        kernel, h, is_warm = LeanKernel(costs, a, b), reached.h, True
        iteration = _Iteration(kernel, memory, progress)
        kernel.absorb(h, epsilon)
    reached, arrived = iteration.run(h, arrival, patience=patience, is_warm=is_warm)
    if not (arrived or progress.exhausted):
        reached = newton(kernel, reached.h, arrival, progress)
        arrived = reached.is_arrival(arrival)
    while kernel.is_cut or not (arrived or progress.exhausted):
        reached, arrived = _judge(kernel, reached.h, arrival)
        if arrived or progress.exhausted:
            break
        reached, arrived = iteration.run(reached.h, arrival)
    return LeanSolution(reached.h, kernel.row_log(), reached.error, arrived)


def _judge(kernel: LeanKernel, h: np.ndarray, arrival: Arrival) -> tuple[LeanPass, bool]:
    """Measure an answer with a kernel that is made of it alone.

    Cut entries, or a potential that was absorbed on a wild way, can make an error look small.
    """
    kernel.absorb(h, kernel.epsilon)
    reached = kernel.passes(h, 1)
    return reached, reached.is_arrival(arrival)


def _is_single(shape: tuple[int, int], a: np.ndarray, b: np.ndarray, tol: float) -> bool:
    """Whether a kernel in float32 is faster, and holds the weights."""
    if shape[0] * shape[1] < _SINGLE_ENTRIES or tol < EASY_TOL:
        return False
    return min(float(a.min()), float(b.min())) > _SINGLE_WEIGHT


def _anneal(iteration: "_Iteration", epsilons: list[float], tol: float) -> np.ndarray:
    """Come from larger regularisations to a target potential for the last of them, shape (m,)."""
    progress = iteration.progress
    # Half of the passes at most, so that the final epsilon always gets its share.
    max_passes = progress.max_iter // (2 * len(epsilons))
    # On the way only the error counts: the next stage moves every potential again.
    arrival = Arrival(max(ANNEALING_TOL, tol), np.inf)
    g = np.zeros_like(iteration.kernel.b)
    found: list[np.ndarray] = []
    for epsilon, following in zip(epsilons[:-1], epsilons[1:], strict=True):
        if max_passes == 0 or progress.stopped:
            break
        iteration.kernel.absorb(g / epsilon, epsilon)
        h = iteration.kernel.absorbed
        reached, _ = iteration.run(h, arrival, max_passes=max_passes)
        found.append(reached.h * epsilon)
        g = extrapolate(found, epsilons[: len(found)], following)
    return g


def _patience(shape: tuple[int, int], tol: float, memory: int) -> float:
    """Passes after which Newton's method takes over."""
    if memory == 0:
        return np.inf
    entries = shape[0] * shape[1]
    patience = next((passes for size, passes in _NEWTON_PASSES if entries <= size), np.inf)
    return patience if tol < _NEWTON_TOL else max(patience, _SLOW_PASSES)


class _Iteration:
    """What the stages of one solve share."""

    def __init__(self, kernel: LeanKernel, memory: int, progress: Progress):
        self.kernel, self.progress = kernel, progress
        self._memory = memory
        # Without acceleration every pass is to be seen.
        self._block = _BLOCK if memory > 0 else 1
        #: Whether plain passes are slow enough for longer steps.
        self._is_slow = False

    def _next_block(self, before: float, reached: LeanPass, tol: float) -> int:
        """Passes to the next check: fewer where the arrival is near, at the present rate."""
        if self._block == 1 or not tol < reached.error < before:
            return self._block
        rate = math.log(before / reached.error) / reached.n_passes
        self._is_slow |= rate < _FAST
        return max(1, min(self._block, math.ceil(math.log(reached.error / tol) / rate)))

    def run(
        self,
        h: np.ndarray,
        arrival: Arrival,
        *,
        max_passes: float = np.inf,
        patience: float = np.inf,
        is_warm: bool = False,
    ) -> tuple[LeanPass, bool]:
        """Iterate from h, which is absorbed, as `iterate` does for tensors.

        Returns the last pass and whether it is the arrival. `patience` passes without it end the
        stage at a check.
        """
        kernel, progress, b = self.kernel, self.progress, self.kernel.b
        acceleration = SafeguardedStep(b, self._memory)
        first = progress.n_passes
        last = min(first + max_passes, progress.max_iter)
        # A start that is given may be the solution: one pass tells.
        block = 1 if is_warm else self._block
        error = 1.0
        while True:
            n_passes = int(min(block, last - progress.n_passes))
            reached = kernel.passes(h, n_passes, self._is_slow)
            if reached.lost and not np.isfinite(reached.h).all():
                # A block can leave the range of floats; its first pass does not.
                reached = kernel.passes(h, 1)._replace(n_passes=n_passes)
            block = self._next_block(error, reached, arrival.tol)
            error = reached.error
            progress.record(reached.error, kernel.epsilon, reached.n_passes)
            arrived = reached.is_arrival(arrival)
            if arrived or progress.n_passes >= last or progress.stopped:
                return reached, arrived
            if progress.n_passes - first >= patience:
                return reached, False
            if reached.lost:
                # An accelerated step went astray, or the start did: all columns are placed exactly.
                back = acceleration.step_back()
                h = kernel.exact_half_step(kernel.row_log()) if back is None else back
                kernel.absorb(h, kernel.epsilon)
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
                kernel.absorb(h, kernel.epsilon)


class SafeguardedStep:
    """The rules of :class:`SafeguardedAcceleration` for one problem, with weights of shape (m,)."""

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
