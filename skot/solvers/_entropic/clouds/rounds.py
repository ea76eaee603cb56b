"""The iteration of many small problems with clouds of their own, a chunk at a time.

A chunk is iterated while its kernels stay in cache, for a given number of passes; what has not
arrived then is put into new chunks. Plain passes come first, then blocks of them with an
accelerated step in between.

A problem has arrived when its marginal error is small enough and when, moreover, its target
potential is the transform of its source potential at every column: the error alone says nothing
about columns of little mass.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, linalg

from skot.numerics.anderson import AndersonAcceleration
from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.arrival import ROUNDING
from skot.solvers._entropic.clouds.kernel import CloudKernel, Passes, exact_half_steps

#: Passes before the acceleration starts, and passes between two looks, after each of which problems
#: may leave and an accelerated step follows.
_PLAIN_PASSES, _BLOCK = 12, 6
#: Passes that reduce an error by ``exp(_FAST)`` each are left as they are.
_FAST = 0.7
#: Share of the problems of a chunk that may have arrived before they are taken out.
_IDLE_SHARE = 0.25
#: A block whose squared residual is this many times the best one undoes the acceleration, and a
#: problem where it was undone this often is slow for reasons that one problem at a time deals with.
_WORSE, _MAX_UNDONE = 4.0, 12
#: Longest accelerated step: wilder ones follow directions in which nothing is known.
_LONGEST_STEP = 30.0
#: Plain steps after the last look.
_MENDING_PASSES = 200
#: Entries that are looked at together: all that is made of them stays in cache.
_MEASURED_ENTRIES = 2**16
#: A column sum below this is made of entries that were cut off.
_LOST_COLUMN = 1e-80


@dataclass
class Record:
    """Passes of the whole batch: the largest error after each, and what a hook says to it.

    The hook ``on_iteration(i, state) -> stop`` is told `epsilon`, was told about `n_told` checks,
    and if it asked to stop, `stopped` says so. `error_after` has the largest error of the problems
    that were looked at after so many passes. Of the `max_iter` passes allowed, the problem that
    took most took `n_passes`.
    """

    max_iter: int
    on_iteration: Callable[[int, dict], bool] | None
    epsilon: "float | Tensor"
    error_after: dict[int, float] = field(default_factory=dict)
    n_passes: int = 0
    n_told: int = 0
    stopped: bool = False

    def count(self, n_passes: int) -> None:
        """Count the passes of some problem."""
        self.n_passes = max(self.n_passes, n_passes)

    def note(self, n_passes: int, error: float) -> None:
        """Note the largest error of some problems, and after how many passes they have it."""
        self.count(n_passes)
        known = self.error_after.get(n_passes)
        # Not a number is larger than any.
        if known is None or not error <= known:
            self.error_after[n_passes] = error

    @property
    def errors(self) -> tuple[float, ...]:
        """Largest error after each number of passes that some problem was looked at."""
        return tuple(error for _, error in sorted(self.error_after.items()))

    def tell(self, n_passes: int, error: float) -> None:
        """Note an error, and tell the hook."""
        self.note(n_passes, error)
        self._ask({"marginal_error": error, "epsilon": self.epsilon, "n_iter": n_passes})

    def tell_of_one(self, used: int, i: int, state: dict) -> bool:
        """Tell the hook about a check of a problem that is solved by itself, after `used` passes.

        Checks are counted through: which one of that problem it is does not matter.
        """
        self._ask(state | {"n_iter": used + state["n_iter"]})
        return self.stopped

    def _ask(self, state: dict) -> None:
        if self.on_iteration is not None and not self.stopped:
            self.n_told += 1
            self.stopped |= bool(self.on_iteration(self.n_told - 1, state))

    def is_over(self, n_passes: int) -> bool:
        """Whether no pass is allowed after so many: the hook said so, or all were used."""
        return self.stopped or n_passes >= self.max_iter


class CloudState:
    """Where every problem of a batch is, with regularisations of shape (n_problems,).

    Attributes
    ----------
    a, b : Tensor of shape (n_problems, n), (n_problems, m)
        Weights, detached.
    h : Tensor of shape (n_problems, m)
        Target potentials over epsilon.
    row_log : Tensor of shape (n_problems, n)
        Logarithms of the row sums at h.
    error : Tensor of shape (n_problems,)
        Marginal errors at h.
    largest_residual : Tensor of shape (n_problems,)
        What a residual may be at the end: `tol` of the range of the costs.
    passes : Tensor of int, shape (n_problems,)
        Passes done.
    arrived, lost, slow, is_clamped : Tensor of bool, shape (n_problems,)
        Which problems are solved, cannot be solved here, would take long here, were solved with
        kernels that had entries cut off.
    """

    def __init__(self, costs, batch, epsilon: Tensor, tol: float):
        self.costs, self.epsilon, self.tol = costs, epsilon, tol
        self.a, self.b = batch.a.detach(), batch.b.detach()
        inside_x, inside_y = batch.inside
        empty_x, empty_y = (self.a == 0) & inside_x, (self.b == 0) & inside_y
        self._has_empty = empty_x.any(1) | empty_y.any(1)
        # As one problem is judged (:class:`skot.solvers._entropic.arrival.Arrival`).
        self.largest_residual = (tol * costs.range / epsilon).clamp_min(ROUNDING)
        self.h, self.row_log = torch.zeros_like(self.b), torch.zeros_like(self.a)
        self.error = torch.full_like(epsilon, torch.inf)
        self.passes = torch.zeros_like(epsilon, dtype=torch.int64)
        self.arrived = torch.zeros_like(epsilon, dtype=torch.bool)
        self.lost, self.slow, self.is_clamped = (self.arrived.clone() for _ in range(3))

    def measure(self, which: Tensor, record: Record) -> None:
        """Look at potentials with nothing cut off, and extend them to points without mass.

        Of the problems that `which`, of bool, names and that need it. Those that only seemed to
        have arrived get a few plain steps, which mend single columns.
        """
        index = torch.nonzero(which & (self.is_clamped | self._has_empty))[:, 0]
        size = self.a.shape[1] * self.b.shape[1]
        for rows in row_tiles(len(index), size, _MEASURED_ENTRIES):
            self._measure(index[rows], record)

    def _measure(self, index: Tensor, record: Record) -> None:
        a, b, h, passes = self.a[index], self.b[index], self.h[index], self.passes[index]
        zeros = torch.zeros_like(h)
        exponents = self.costs.exponents(index, self.epsilon[index], zeros, given=True)
        has_mass = b > 0
        again = torch.zeros_like(passes, dtype=torch.bool)
        for n_steps in range(_MENDING_PASSES + 1):
            row_log, column_log = exact_half_steps(exponents, h, a, b)
            residual = torch.where(has_mass, column_log + h, 0.0)
            error = linalg.vecdot(b, torch.expm1(residual).abs())
            for i in torch.nonzero(again)[:, 0].tolist():
                record.note(int(passes[i]), float(error[i]))
            largest = self.largest_residual[index]
            is_right = (error <= self.tol) & (residual.abs().amax(1) <= largest)
            again = self.arrived[index] & ~is_right & (passes < record.max_iter)
            if n_steps == _MENDING_PASSES or not bool(again.any()):
                break
            h = torch.where(again[:, None], -column_log, h)
            passes = passes + again
        self.h[index], self.row_log[index] = torch.where(has_mass, h, -column_log), row_log
        self.error[index], self.passes[index], self.arrived[index] = error, passes, is_right


class ChunkRound:
    """Some passes on a chunk of problems, an index of shape (k,).

    With the kernel ``K_ij = exp(h0_j - C_ij / epsilon)`` and ``e = exp(h - h0)``, a pass is
    ``r = K (b e), c = K' (a / r), e <- 1 / c``; column j has the share ``c_j e_j`` of its mass
    before the last step. A column without mass behaves as the one that it is a copy of.

    A memory of 0 is the plain iteration, which is looked at after every pass. Where the potentials
    may be the solution, `is_warm`, the first look comes after one pass.
    """

    def __init__(
        self,
        state: CloudState,
        record: Record,
        index: Tensor,
        n_passes: int,
        memory: int,
        is_warm: bool,
    ):
        self._state, self._record = state, record
        self._index, self._first = index, n_passes
        self._a, self._b, self._h = state.a[index], state.b[index], state.h[index]
        self._kernel = CloudKernel(state.costs, index, state.epsilon[index], self._h)
        self._largest = state.largest_residual[index]
        state.is_clamped[index] |= self._kernel.is_clamped
        self._e = torch.ones_like(self._b)
        self._has_left = torch.zeros_like(index, dtype=torch.bool)
        self._n_left = 0
        self._memory = memory
        self._length = 1 if is_warm or memory == 0 else _BLOCK
        self._is_slow = False
        self._steps: BlockAcceleration | None = None

    def run(self, budget: int) -> None:
        """Do at most so many passes, at least 1."""
        n_passes, last = self._first, self._first + budget
        before = torch.ones_like(self._largest)
        while n_passes < last:
            length = min(self._length, last - n_passes)
            passes = self._kernel.passes(self._a, self._b, self._e, length, self._is_slow)
            n_passes += length
            self._length = 1 if self._memory == 0 else _BLOCK
            self._read(passes, n_passes)
            if self._memory > 0 and not self._is_slow:
                # Problems that have left have no say.
                rates = (before / self._errors).log().masked_fill_(self._has_left, torch.inf)
                self._is_slow = float(rates.min()) < _FAST * length
            is_over = self._record.is_over(n_passes)
            if is_over:
                self._store(torch.nonzero(~self._has_left)[:, 0], passes, n_passes)
            if is_over or not self._take_out():
                return
            before = self._errors
            if self._memory == 0 or n_passes < _PLAIN_PASSES:
                continue
            # Differences of the first, large steps tell nothing about the way near the solution:
            # the acceleration begins after a few plain passes.
            if self._steps is None:
                self._steps = BlockAcceleration(self._b, self._memory, self._e)
            else:
                # Where only a column is wrong, plain steps mend it.
                self._e = self._steps.step(self._e, self._near)
        left = torch.nonzero(~self._has_left)[:, 0]
        self._state.h[self._index[left]] = self._h[left] + self._e[left].log()
        self._state.passes[self._index[left]] = last

    def _read(self, passes: Passes, n_passes: int) -> None:
        """Record the errors after some passes, and note which problems have arrived or are lost."""
        # What a column has of the mass it should have: one where it is right.
        shares = passes.column_sums * passes.e
        self._errors = linalg.vecdot(self._b, (shares - 1.0).abs_())
        self._near = (self._errors <= self._state.tol) & ~self._has_left
        self._record.tell(n_passes, float(self._errors.masked_fill(self._has_left, 0.0).max()))
        if bool(self._near.any()):
            # Those with a small error that are right at every column.
            gap = torch.maximum(shares.amax(1).log(), -shares.amin(1).log())
            arrived = torch.nonzero(self._near & (gap <= self._largest))[:, 0]
            self._store(arrived, passes, n_passes)
            self._leave(arrived, self._state.arrived)
        # Not a number is lost as well.
        if not float(passes.column_sums.min()) >= _LOST_COLUMN:
            lost = ~(passes.column_sums.amin(1) >= _LOST_COLUMN) & ~self._has_left
            index = torch.nonzero(lost)[:, 0]
            self._state.passes[self._index[index]] = n_passes
            self._leave(index, self._state.lost)

    def _store(self, which: Tensor, passes: Passes, n_passes: int) -> None:
        """Store the iterates that the last pass looked at."""
        index, state = self._index[which], self._state
        state.h[index] = self._h[which] + passes.e[which].log()
        state.row_log[index] = self._kernel.offset[which] + passes.row_sums[which].log()
        state.error[index], state.passes[index] = self._errors[which], n_passes

    def _leave(self, which: Tensor, flags: Tensor) -> None:
        """Note that problems are done with here, and why."""
        flags[self._index[which]] = True
        self._has_left[which] = True
        self._n_left += len(which)

    def _take_out(self) -> bool:
        """Take out problems that are done with; returns whether others are left."""
        if self._steps is not None and self._steps.has_undone:
            slow = (self._steps.n_undone >= _MAX_UNDONE) & ~self._has_left
            which = torch.nonzero(slow)[:, 0]
            self._state.h[self._index[which]] = self._h[which] + self._steps.best_next[which]
            self._leave(which, self._state.slow)
        if self._n_left > _IDLE_SHARE * len(self._index):
            kept = torch.nonzero(~self._has_left)[:, 0]
            self._n_left = 0
            self._kernel.select(kept)
            self._a, self._b, self._h = self._a[kept], self._b[kept], self._h[kept]
            self._e, self._largest = self._e[kept], self._largest[kept]
            self._index, self._near = self._index[kept], self._near[kept]
            self._has_left, self._errors = self._has_left[kept], self._errors[kept]
            if self._steps is not None:
                self._steps.select(kept)
        return len(self._index) > 0


class BlockAcceleration:
    """Anderson's steps between blocks of plain passes, taken back where they do harm.

    Residuals are measured with weights of shape (k, m) that sum to one; e, of that shape, are the
    exponentials of the potentials with which the first block starts.

    Attributes
    ----------
    best_next : Tensor of shape (k, m)
        Where the block with the smallest residual ended.
    n_undone : Tensor of int, shape (k,)
        How often a step was taken back.
    has_undone : bool
        Whether that ever happened.
    """

    def __init__(self, weights: Tensor, memory: int, e: Tensor):
        self._weights = weights
        self._anderson = AndersonAcceleration(weights, memory)
        self._u = e.log()
        self._best = torch.full_like(weights[:, 0], torch.inf)
        self.best_next = self._u
        self.n_undone = torch.zeros_like(self._best, dtype=torch.int64)
        self.has_undone = False

    def select(self, kept: Tensor) -> None:
        """Keep only some problems, an index of shape (k_kept,)."""
        self._anderson.select(kept)
        self._weights, self._u = self._weights[kept], self._u[kept]
        self._best, self.best_next = self._best[kept], self.best_next[kept]
        self.n_undone = self.n_undone[kept]

    def step(self, e: Tensor, is_plain: Tensor) -> Tensor:
        """Return where the next block starts, from where the last one ended, both (k, m).

        These are exponentials of potentials. Problems that `is_plain` names go on as they are.
        """
        plain = e.log()
        residual = plain - self._u
        norm = linalg.vecdot(self._weights, residual.square())
        following = self._anderson.step(self._u, residual)
        # Not a number counts as worse, and as wild.
        worse = ~(norm <= _WORSE * self._best)
        wild = ~((following - plain).abs().amax(1) <= _LONGEST_STEP)
        better = (norm < self._best) & ~worse
        self.best_next = torch.where(better[:, None], plain, self.best_next)
        self._best = torch.where(better, norm, self._best)
        following = torch.where((wild | is_plain)[:, None], plain, following)
        if bool((worse | wild).any()):
            self._anderson.restart(worse | wild)
            following = torch.where(worse[:, None], self.best_next, following)
            # It may be of no use any more: the next block counts as better whatever its residual.
            self._best = torch.where(worse, torch.inf, self._best)
            self.n_undone = self.n_undone + worse
            self.has_undone = True
        # A constant added to the potential changes nothing, but lets scalings drift out of range.
        self._u = following - linalg.vecdot(self._weights, following)[:, None]
        return self._u.exp()
