"""How one problem is solved: storage, precision, annealing, and the finish.

Every choice here is about speed. What is solved, and when it counts as solved, is the business
of :mod:`skot.solvers._entropic.iteration`.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skot.solvers._entropic.annealing import ANNEALING_TOL, anneal
from skot.solvers._entropic.arrival import Arrival
from skot.solvers._entropic.iteration import Iterate, Progress, distance, iterate
from skot.solvers._entropic.kernels import PairwiseKernel, StoredKernel, StreamedKernel
from skot.solvers._entropic.lean.kernel import is_shared
from skot.solvers._entropic.lean.solve import solve_lean
from skot.solvers._entropic.precision import (
    EASY_TOL,
    FLOAT32_NOISE,
    SINGLE_WEIGHT,
    reach,
    single_noise,
)
from skot.solvers._entropic.settings import SMALL, SPARSE_TOL, Settings
from skot.solvers._entropic.sparse_kernel import SparseKernel, estimate_density
from skot.utils._threads import SerialBlas

#: Tolerances from which float32, and float32 products of float64 exponents, are tried first.
_FLOAT32_TOL, _MIXED_TOL = 1e-4, 5e-7
#: A stage stalls when the best error of this many passes is not below this share of the best
#: error before them.
_STALL_PASSES, _STALL_SHARE = 150, 0.8
#: From so many entries on passes cost enough to pay for choosing some of them.
_SPARSE_SIZE = 2**18
#: Share of entries up to which sparse products are faster than dense ones.
_SPARSE_DENSITY = 0.05
#: Largest entry that is dropped, in units of the tolerance; it may grow by ``exp(14)`` before
#: entries are chosen anew.
_SPARSE_SHARE = 1e-8


class Precision(NamedTuple):
    """Of a kernel and of its exponents."""

    kernel: torch.dtype
    exponent: torch.dtype


_DOUBLE = Precision(torch.float64, torch.float64)
_SINGLE = Precision(torch.float32, torch.float32)
_MIXED = Precision(torch.float32, torch.float64)


class _Stage(NamedTuple):
    """Passes over one kernel, and when to leave it, by the errors so far, without an arrival."""

    precision: Precision
    leave: Callable[[list[float]], bool] | None
    #: Share of the mass of row and column below which entries are left out.
    threshold: float = 0.0


class PairwiseSolve:
    """One solve over pairs of points, with weights of shape (n_problems, n), (n_problems, m)."""

    def __init__(self, costs, a: Tensor, b: Tensor, settings: Settings, progress: Progress):
        self._costs, self._a, self._b = costs, a, b
        self._settings, self._progress = settings, progress

    def run(self, g: Tensor | None) -> Iterate:
        """Solve from a target potential of shape (n_problems, m), or by annealing from none."""
        epsilon = self._settings.epsilon
        if not epsilon > 0.0 or not math.isfinite(self._costs.range / epsilon):
            raise ValueError(
                "epsilon is too small for costs of this size: their ratio is no number in float64."
            )
        if self._is_lean():
            return self._run_lean(g)
        precisions = self._precisions()
        kernel: Any = self._make_kernel(precisions[0])
        if g is None:
            # Rounded exponents are good enough for the way.
            rounded = kernel.with_exponents(precisions[0].kernel)
            guess = partial(self._costs.guess, self._a, self._b)
            g = anneal(rounded, self._b, self._costs.scale, guess, self._settings, self._progress)
            del rounded
        h = g / epsilon
        for stage in self._stages(precisions, h):
            # The first stage goes on with the kernel of the annealing.
            kernel = self._kernel_of(stage) if kernel is None else kernel
            reached = self._finish(stage, self._iterate(kernel, h, stage))
            kernel = None  # two kernels at once would double the memory
            if self._is_done(reached):
                break
            h = reached.h
        return reached

    def _stages(self, precisions: list[Precision], h: Tensor) -> Iterator[_Stage]:
        """What is tried in turn from h, until an answer is a solution."""
        is_sparse = self._is_sparse(h)
        # First over all entries, in float32 where that may be enough, as its passes take half the
        # time. Where it stalls, or only seemed to be enough, float64 goes on from there.
        for precision in precisions:
            stalled = precision is not precisions[-1]
            yield _Stage(precision, _leave_when(settled=is_sparse, stalled=stalled))
            if is_sparse:
                break
        # Once the potentials have settled most entries of a sharp plan carry no mass: in float64,
        # passes over the others take a fraction of the time. What was left out is measured after
        # each stage, in a pass that is kept for it, and where it matters after all less is.
        threshold = self._threshold
        while is_sparse and self._n_left > 1:
            yield _Stage(_DOUBLE, None, threshold)
            threshold *= 0.1

    def _finish(self, stage: _Stage, reached: Iterate) -> Iterate:
        """Judge by all entries in float64 what the kernel of a stage cannot."""
        if stage.threshold > 0.0:
            measured = self._measure(reached.h)
            self._progress.record(float(measured.error.max()), self._settings.epsilon)
            return measured
        if stage.precision == _MIXED and self._is_done(reached):
            # Long sums in float32 lose as much as such a tolerance asks for.
            return self._measure(reached.h)
        return reached

    def _is_lean(self) -> bool:
        """Whether the problem is small enough for the core in NumPy."""
        n, m = self._costs.shape
        is_single = len(self._b) == 1 and self._costs.device.type == "cpu"
        return is_single and self._settings.allow_lean(n * m)

    def _run_lean(self, g: Tensor | None) -> Iterate:
        """Solve by the core in NumPy."""
        settings, costs = self._settings, self._costs.lean()
        with SerialBlas(is_shared(*costs.shape)), np.errstate(all="ignore"):
            return solve_lean(
                costs,
                self._a[0].numpy(),
                self._b[0].numpy(),
                None if g is None else g[0].numpy(),
                epsilon=settings.epsilon,
                tol=settings.tol,
                memory=settings.memory,
                annealing=settings.annealing,
                scale=self._costs.scale,
                largest=self._costs.range,
                allow_single=settings.dtype is None,
                progress=self._progress,
            ).as_iterate()

    def _arrival(self, noise: float = 0.0) -> Arrival:
        """When an iterate counts as solved, if rounding hides so much of its error."""
        settings = self._settings
        tol = max(0.5 * settings.tol, settings.tol - noise)
        return Arrival(tol, self._costs.range / settings.epsilon)

    def _iterate(self, kernel, h: Tensor, stage: _Stage) -> Iterate:
        """Do the passes of a stage, with one kept where a measurement follows."""
        return iterate(
            kernel,
            h,
            self._b,
            self._settings.epsilon,
            self._arrival(self._noise(stage.precision)),
            self._progress,
            memory=self._settings.memory,
            max_passes=self._n_left - 1 if stage.threshold > 0.0 else None,
            leave=stage.leave,
        )

    def _measure(self, h: Tensor) -> Iterate:
        """Row sums and marginal error in float64, from one pass over the full kernel."""
        full = StreamedKernel(self._costs, self._a, self._b, *_DOUBLE)
        full.absorb(h, self._settings.epsilon)
        half = full.half_steps(h)
        arrived = self._arrival().reached(half.error, distance(half, self._b))
        return Iterate(h, half.row_log, half.error, arrived)

    @property
    def _n_left(self) -> int:
        """Passes that are left."""
        return self._progress.max_iter - self._progress.n_passes

    def _is_done(self, reached: Iterate) -> bool:
        """Whether all problems are solved, or no pass is left."""
        return self._progress.exhausted or bool(reached.converged.all())

    # Storage and precision

    def _precisions(self) -> list[Precision]:
        """Precisions to try, the fastest that can reach the tolerance first."""
        settings = self._settings
        n, m = self._costs.shape
        if settings.dtype is not None:
            return [Precision(settings.dtype, settings.dtype)]
        small = n * m <= SMALL and settings.tol < EASY_TOL
        lightest = min(float(self._a.min()), float(self._b.min()))
        limit = reach(settings.tol, self._costs.range, settings.epsilon)
        if small or len(self._b) > 1 or limit < _MIXED_TOL or lightest < SINGLE_WEIGHT:
            return [_DOUBLE]
        if settings.tol >= _FLOAT32_TOL and self._noise(_SINGLE) <= 0.2 * limit:
            return [_SINGLE, _DOUBLE]
        return [_MIXED, _DOUBLE]

    def _noise(self, precision: Precision) -> float:
        """What rounding may hide of the marginal error."""
        if precision.kernel == torch.float64:
            return 0.0
        if precision.exponent == torch.float64:
            return FLOAT32_NOISE
        return single_noise(self._costs.scale, self._settings.epsilon)

    def _is_stored(self, dtype: torch.dtype) -> bool:
        """Whether the kernel is kept in memory."""
        n, m = self._costs.shape
        is_auto = self._settings.storage == "auto"
        return (is_auto and len(self._b) > 1) or self._settings.keep_kernel(n * m, dtype)

    def _make_kernel(self, precision: Precision) -> StoredKernel | StreamedKernel:
        """Kernel over all pairs."""
        kind = StoredKernel if self._is_stored(precision.kernel) else StreamedKernel
        return kind(self._costs, self._a, self._b, *precision)

    def _kernel_of(self, stage: _Stage) -> PairwiseKernel:
        """Kernel of a stage, over all pairs or over those that carry mass."""
        if stage.threshold > 0.0:
            return SparseKernel(self._costs, self._a, self._b, stage.threshold)
        return self._make_kernel(stage.precision)

    # The finish on few entries

    def _is_sparse(self, h: Tensor) -> bool:
        """Whether a finish on the entries that matter would pay."""
        n, m = self._costs.shape
        on_cpu = self._costs.device.type == "cpu"
        long = self._settings.tol < SPARSE_TOL and self._settings.dtype != torch.float32
        if not (on_cpu and long and len(h) == 1 and n * m > _SPARSE_SIZE):
            return False
        density = estimate_density(
            self._costs, h[0], self._b[0], self._settings.epsilon, self._threshold
        )
        return density <= _SPARSE_DENSITY

    @property
    def _threshold(self) -> float:
        """Share of the mass of row and column below which entries are left out at first."""
        return _SPARSE_SHARE * self._settings.tol


def _leave_when(*, settled: bool, stalled: bool) -> Callable[[list[float]], bool]:
    """When to leave the iteration before it has converged, from the errors of a stage.

    `settled`: as soon as the potentials are close enough to choose entries. `stalled`: when float32
    has given what it can.
    """

    def leave(errors: list[float]) -> bool:
        if settled and errors[-1] <= ANNEALING_TOL:
            return True
        if not stalled or len(errors) <= _STALL_PASSES:
            return False
        recent, before = errors[-_STALL_PASSES:], errors[:-_STALL_PASSES]
        return min(recent) > _STALL_SHARE * min(before)

    return leave
