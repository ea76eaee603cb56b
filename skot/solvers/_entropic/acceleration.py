"""Anderson's acceleration with a safeguard: the rules by which the iteration cannot fail."""

import torch
from torch import Tensor

from skot.numerics.anderson import AndersonAcceleration

#: A residual this many times larger than the best one undoes the acceleration (squared norms).
WORSE = 4.0
#: It is undone too when the best residual of this many passes is not below this share of the
#: best one before.
STALE_PASSES, STALE_SHARE = 100, 0.9
#: The acceleration makes progress if the best residual falls below this share before it is undone.
PROGRESS = 0.95
#: Largest distance of an accelerated step from the plain one, in any coordinate.
LARGEST_STEP = 30.0


class SafeguardedAcceleration:
    """Anderson's steps, taken back where they do harm.

    When the residual has grown, or has not shrunk for long, a problem returns to the plain step
    from its best iterate and forgets its past. That alone can go in circles: when the best residual
    has not shrunk since the last return, plain steps follow, twice as many as the last time.
    Plain steps converge by themselves, so the whole does.

    Residuals are measured with weights of shape (n_problems, m); a memory of 0 is the plain
    iteration. No accelerated step goes further from the plain one than `largest_step`.
    """

    def __init__(self, weights: Tensor, memory: int, largest_step: float = LARGEST_STEP):
        self._weights, self._memory, self._largest_step = weights, memory, largest_step
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
        """Keep only some problems; rows is of bool, shape (n_problems,)."""
        self._anderson.select(rows)
        self._weights, self._best_next = self._weights[rows], self._best_next[rows]
        self._best, self._anchor, self._looked = (
            self._best[rows],
            self._anchor[rows],
            self._looked[rows],
        )
        self._run, self._left = self._run[rows], self._left[rows]

    def step(self, h: Tensor, residual: Tensor) -> Tensor:
        """Return the iterate after h, both of shape (n_problems, m) as is the residual at h."""
        plain = h + residual
        if self._memory == 0:
            return plain
        # The weights are the target's: columns that carry more mass count for more, and points
        # given twice take the way of one with twice the weight.
        norm = (residual.square() * self._weights).sum(1)
        following = self._anderson.step(h, residual)
        # Along a direction that the residual does not see, extrapolation has no bounds.
        away = following - plain
        if not float(torch.linalg.vector_norm(away, torch.inf)) <= self._largest_step:
            astray = ~(away.abs().amax(1) <= self._largest_step)
            following = torch.where(astray[:, None], plain, following)
            self._anderson.restart(astray)
        # Not a number counts as worse: exponentials of a wild iterate can overflow.
        undone = ~(norm <= WORSE * self._best)
        self._n_steps += 1
        # Residuals that stay below that without ever shrinking are no better than growing ones.
        if self._n_steps % STALE_PASSES == 0:
            undone |= self._best > STALE_SHARE * self._looked
            self._looked = self._best
        # The common case goes without what follows: no problem is undone, or on plain steps.
        if self._all_accelerated and not bool(undone.any()):
            self._keep_best(norm < self._best, norm, plain)
            return following
        # A run of plain steps is not interrupted: they may raise the residual for a while and still
        # converge. The last of them is kept as the best iterate, whatever went before.
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
        """Forget the past of all problems, and return the plain steps from their best iterates.

        None where a problem has no iterate that is better than the present one.
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
        # Where the acceleration is of no use, runs double until one of them is long enough for
        # plain steps to make progress by themselves: then the next run is none.
        circles = self._best > PROGRESS * self._anchor
        run = torch.where(circles, 2.0 * self._run + 1.0, 0.0)
        self._run = torch.where(rows, run, self._run)
        self._left = torch.where(rows, run, self._left)
        self._anchor = torch.where(rows, self._best, self._anchor)
        self._best = torch.where(rows, torch.inf, self._best)
        self._all_accelerated = not bool((self._left > 0).any())
