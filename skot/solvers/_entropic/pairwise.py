"""How one problem is solved: storage, precision, annealing, and the finish.

Every choice here is about speed. What is solved, and when it counts as solved, is the business
of :mod:`skot.solvers._entropic.iteration`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from sklearn import get_config
from torch import Tensor

from skot.solvers._entropic.arrival import Arrival
from skot.solvers._entropic.iteration import (
    ANNEALING_TOL,
    Iterate,
    Progress,
    annealing_schedule,
    distance,
    extrapolate,
    iterate,
)
from skot.solvers._entropic.kernels import HalfSteps, StoredKernel, StreamedKernel
from skot.solvers._entropic.lean.kernel import is_shared
from skot.solvers._entropic.lean.solve import solve_lean
from skot.solvers._entropic.precision import (
    EASY_TOL,
    FLOAT32_NOISE,
    SINGLE_WEIGHT,
    reach,
    single_noise,
)
from skot.solvers._entropic.sparse_kernel import SparseKernel, estimate_density
from skot.utils._threads import SerialBlas

#: Up to this many entries float64 is fast enough, but for tolerances that float32 reaches easily.
SMALL = 2**20
#: A kernel of so many entries (64 KiB) is kept whatever the working memory.
_ANY_MEMORY = 2**13
#: Up to this many entries one problem on the CPU is solved by the core in NumPy.
_LEAN = 2**19
#: Tolerances from which float32, and float32 products of float64 exponents, are tried first.
_FLOAT32_TOL, _MIXED_TOL = 1e-4, 5e-7
#: A stage stalls when the best error of this many passes is not below this share of the best
#: error before them.
_STALL_PASSES, _STALL_SHARE = 150, 0.8
#: From this tolerance on there are too few passes left to pay for choosing entries, and below
#: this size passes cost too little.
_SPARSE_TOL, _SPARSE_SIZE = 1e-4, 2**18
#: Share of entries up to which sparse products are faster than dense ones.
_SPARSE_DENSITY = 0.05
#: Largest entry that is dropped, in units of the tolerance; it may grow by ``exp(14)`` before
#: entries are chosen anew.
_SPARSE_SHARE = 1e-8


class Precision(NamedTuple):
    """Of a kernel and of its exponents."""

    kernel: torch.dtype
    exponent: torch.dtype


_MIXED = Precision(torch.float32, torch.float64)


@dataclass(frozen=True)
class Settings:
    """How to solve.

    Attributes
    ----------
    epsilon : float
        Regularisation, in the units of the costs.
    tol : float
        L1 marginal error to reach.
    memory : int
        Of Anderson's acceleration; 0 is plain Sinkhorn.
    annealing : bool
        Whether to come from larger regularisations.
    storage : {"auto", "kernel", "stream"}
        Whether the kernel is kept.
    dtype : torch.dtype or None
        Of the kernel; None picks by size and tolerance.
    """

    epsilon: float
    tol: float
    memory: int
    annealing: bool
    storage: str
    dtype: torch.dtype | None

    def check(self) -> None:
        """Check the values.

        Raises
        ------
        ValueError
            Naming the parameter that is out of range.
        """
        for name, value in (("epsilon", self.epsilon), ("tol", self.tol)):
            # Looking at the type first: the abstract classes of numbers are slow to ask.
            is_real = type(value) is float or isinstance(value, Real)
            if not is_real or not 0 < float(value) < float("inf"):
                raise ValueError(f"{name} must be a positive number. Got {value!r}.")
        check_integer("anderson_memory", self.memory, 0)
        if self.storage not in ("auto", "kernel", "stream"):
            raise ValueError(f"storage must be 'auto', 'kernel' or 'stream'. Got {self.storage!r}.")
        if self.dtype not in (None, torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64. Got {self.dtype!r}.")

    def keep_kernel(self, n_entries: int, dtype: torch.dtype) -> bool:
        """Whether a kernel is kept in memory."""
        if self.storage != "auto":
            return self.storage == "kernel"
        if n_entries <= _ANY_MEMORY:
            return True
        mebibytes = n_entries * torch.finfo(dtype).bits / 8 / 2**20
        return mebibytes <= get_config()["working_memory"]

    def allow_lean(self, n_entries: int) -> bool:
        """Whether one problem on the CPU is small enough for the core in NumPy."""
        if self.dtype == torch.float32 or not self.keep_kernel(n_entries, torch.float64):
            return False
        # Beyond, the other path is faster: in float32, or on few entries at tight tolerances.
        needs_double = self.dtype == torch.float64 and self.tol >= _SPARSE_TOL
        return n_entries <= (SMALL if needs_double else _LEAN)

    def in_units_of(self, unit: float) -> "Settings":
        """Express the regularisation in scaled units.

        Parameters
        ----------
        unit : float
            The scale of the costs.

        Returns
        -------
        settings : Settings
            A copy.
        """
        return replace(self, epsilon=self.epsilon / unit)


def check_integer(name: str, value, lowest: int) -> None:
    """Check a count.

    Parameters
    ----------
    name : str
        Named in the message.
    value : object
        What was passed.
    lowest : int
        Smallest value allowed.

    Raises
    ------
    ValueError
        If it is not an integer, or too small.
    """
    is_integer = type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))
    if not is_integer or value < lowest:
        raise ValueError(f"{name} must be an integer of at least {lowest}. Got {value!r}.")


def anneal(kernel, b: Tensor, scale: float, guess, settings: Settings, progress: Progress):
    """Come from larger regularisations to an initial potential for the final one.

    Parameters
    ----------
    kernel : kernel
        Does the half steps.
    b : Tensor of shape (n_problems, m)
        Target weights.
    scale : float
        Typical cost.
    guess : callable
        From a regularisation to the potential to start from.
    settings : Settings
        How to solve.
    progress : Progress
        Counts passes.

    Returns
    -------
    g : Tensor of shape (n_problems, m)
        Target potential.
    """
    epsilons = [settings.epsilon]
    if settings.annealing:
        epsilons = annealing_schedule(settings.epsilon, scale)
    # Half of the passes at most, so that the final epsilon always gets its share.
    max_passes = progress.max_iter // (2 * len(epsilons))
    found: list[Tensor] = []
    start = guess(epsilons[0] if max_passes else settings.epsilon)
    for epsilon, following in zip(epsilons[:-1], epsilons[1:], strict=True):
        if max_passes == 0 or progress.stopped:
            break
        reached = iterate(
            kernel,
            start / epsilon,
            b,
            epsilon,
            # On the way only the error counts: the next stage moves every potential again.
            Arrival(max(ANNEALING_TOL, settings.tol), torch.inf),
            progress,
            memory=settings.memory,
            max_passes=max_passes,
        )
        found.append(reached.h * epsilon)
        start = extrapolate(found, epsilons[: len(found)], following)
    return start


class PairwiseSolve:
    """One solve over pairs of points.

    Parameters
    ----------
    costs : PointLogits or MatrixLogits
        The costs, well scaled.
    a, b : Tensor of shape (n_problems, n), (n_problems, m)
        Positive weights in float64.
    settings : Settings
        How to solve.
    progress : Progress
        Counts passes.
    """

    def __init__(self, costs, a: Tensor, b: Tensor, settings: Settings, progress: Progress):
        self._costs, self._a, self._b = costs, a, b
        self._settings, self._progress = settings, progress

    def run(self, g: Tensor | None) -> Iterate:
        """Solve.

        Parameters
        ----------
        g : Tensor of shape (n_problems, m) or None
            Initial target potential; given one, the iteration starts at the final epsilon.

        Returns
        -------
        iterate : Iterate
            At the final epsilon.
        """
        settings = self._settings
        if not settings.epsilon > 0.0 or not math.isfinite(self._costs.range / settings.epsilon):
            raise ValueError(
                "epsilon is too small for costs of this size: their ratio is no number in float64."
            )
        if self._is_lean():
            return self._run_lean(g)
        precisions = self._precisions()
        kernel = self._make_kernel(precisions[0])
        if g is None:
            # Rounded exponents are good enough for the way.
            kernel.exponent_dtype = precisions[0].kernel
            guess = partial(self._costs.guess, self._a, self._b)
            g = anneal(kernel, self._b, self._costs.scale, guess, settings, self._progress)
            kernel.exponent_dtype = precisions[0].exponent
        h = g / settings.epsilon
        is_sparse = self._is_sparse(h)
        for precision in precisions:
            if precision is not precisions[0]:
                kernel = None  # two kernels at once would double the memory
                kernel = self._make_kernel(precision)
            leave = _leave_when(settled=is_sparse, stalled=precision is not precisions[-1])
            reached = self._iterate(kernel, h, leave, noise=self._noise(precision))
            if self._is_done(reached) and precision == _MIXED:
                # Long sums in float32 lose as much as such a tolerance asks for: measure it.
                reached = self._measure(reached.h)
            if self._is_done(reached):
                break
            if is_sparse:
                kernel = None
                return self._finish_sparse(reached)
            h = reached.h
        return reached

    def _is_lean(self) -> bool:
        """Whether the problem is small enough for the core in NumPy."""
        n, m = self._costs.shape
        is_single = len(self._b) == 1 and self._costs.device.type == "cpu"
        return is_single and self._settings.allow_lean(n * m)

    def _run_lean(self, g: Tensor | None) -> Iterate:
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
        settings = self._settings
        tol = max(0.5 * settings.tol, settings.tol - noise)
        return Arrival(tol, self._costs.range / settings.epsilon)

    def _iterate(
        self, kernel, h: Tensor, leave=None, *, noise: float = 0.0, max_passes: int | None = None
    ) -> Iterate:
        settings = self._settings
        return iterate(
            kernel,
            h,
            self._b,
            settings.epsilon,
            self._arrival(noise),
            self._progress,
            memory=settings.memory,
            max_passes=max_passes,
            leave=leave,
        )

    def _measure(self, h: Tensor) -> Iterate:
        """Row sums and marginal error in float64, from one pass over the full kernel."""
        full = StreamedKernel(self._costs, self._a, self._b, torch.float64, torch.float64)
        full.absorb(h, self._settings.epsilon)
        return self._judge(h, full.half_steps(h))

    def _judge(self, h: Tensor, half: HalfSteps) -> Iterate:
        arrived = self._arrival().reached(half.error, distance(half, self._b))
        return Iterate(h, half.row_log, half.error, arrived)

    def _is_done(self, reached: Iterate) -> bool:
        return self._progress.exhausted or bool(reached.converged.all())

    # Storage and precision

    def _precisions(self) -> list[Precision]:
        """Precisions to try, the fastest that can reach the tolerance first."""
        settings = self._settings
        n, m = self._costs.shape
        if settings.dtype is not None:
            return [Precision(settings.dtype, settings.dtype)]
        double = Precision(torch.float64, torch.float64)
        small = n * m <= SMALL and settings.tol < EASY_TOL
        lightest = min(float(self._a.min()), float(self._b.min()))
        limit = reach(settings.tol, self._costs.range, settings.epsilon)
        if small or len(self._b) > 1 or limit < _MIXED_TOL or lightest < SINGLE_WEIGHT:
            return [double]
        single = Precision(torch.float32, torch.float32)
        if settings.tol >= _FLOAT32_TOL and self._noise(single) <= 0.2 * limit:
            return [single, double]
        return [_MIXED, double]

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

    def _make_kernel(self, precision: Precision):
        kind = StoredKernel if self._is_stored(precision.kernel) else StreamedKernel
        return kind(self._costs, self._a, self._b, precision.kernel, precision.exponent)

    # The finish on few entries

    def _is_sparse(self, h: Tensor) -> bool:
        """Whether a finish on the entries that matter would pay."""
        n, m = self._costs.shape
        on_cpu = self._costs.device.type == "cpu"
        long = self._settings.tol < _SPARSE_TOL and self._settings.dtype != torch.float32
        if not (on_cpu and long and len(h) == 1 and n * m > _SPARSE_SIZE):
            return False
        density = estimate_density(
            self._costs, h[0], self._b[0], self._settings.epsilon, self._threshold
        )
        return density <= _SPARSE_DENSITY

    @property
    def _threshold(self) -> float:
        return _SPARSE_SHARE * self._settings.tol

    def _finish_sparse(self, reached: Iterate) -> Iterate:
        """Iterate on few entries, then measure the error with all of them."""
        settings = self._settings
        full = StreamedKernel(self._costs, self._a, self._b, torch.float64, torch.float64)
        full.absorb(reached.h, settings.epsilon)
        threshold = self._threshold
        while True:
            # One pass is kept for the measurement.
            max_passes = self._progress.max_iter - self._progress.n_passes - 1
            if max_passes < 1:
                return reached
            kernel = SparseKernel(self._costs, self._a, self._b, threshold)
            h = self._iterate(kernel, reached.h, max_passes=max_passes).h
            half = full.half_steps(h)
            reached = self._judge(h, half)
            self._progress.record(float(half.error.max()), settings.epsilon)
            if self._is_done(reached):
                return reached
            # The entries that were left out matter after all.
            threshold *= 0.1


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
