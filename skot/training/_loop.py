"""The training loop."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skot.training._checkpoint import Checkpoint
from skot.training._snapshots import Snapshots, takes_snapshot
from skot.training._state import TrainingState
from skot.training._stopping import NOT_FINITE, Stopping
from skot.utils._brief import brief_repr

#: Losses on an accelerator are read together, because reading one waits for the device.
_READ_EVERY = 20


@dataclass(frozen=True)
class TrainingResult:
    """How a training run went.

    Attributes
    ----------
    n_iter : int
        Steps of this run that count, those before a resumption included.
    converged : bool or None
        Whether the stopping component was satisfied; None if it does not judge that, or without
        one.
    stop_reason : str
        ``"max_iter"``, ``"converged"``, ``"time"``, ``"callback"`` (the hook asked for it),
        ``"interrupted"`` (by the keyboard), ``"diverged"``, ``"not_finite"`` (the held-out loss,
        while that of the steps was), or the word of a stopping rule.
    loss_curve : tuple of float
        Loss of each of these steps.
    best_loss : float or None
        Lowest validation loss; None without validation.
    diverged_at : int or None
        Index of the step whose loss was not, or would not have been, finite. The state has gone
        back to an earlier one.
    """

    n_iter: int
    converged: bool | None
    stop_reason: str
    loss_curve: tuple[float, ...]
    best_loss: float | None
    diverged_at: int | None = None

    __repr__ = brief_repr

    @property
    def interrupted(self) -> bool:
        """Whether the keyboard ended the run."""
        return self.stop_reason == "interrupted"

    @property
    def validation_failed(self) -> bool:
        """Whether the held-out loss was not finite, while that of the steps was."""
        return self.stop_reason == NOT_FINITE


def train(
    step: Callable[[int], Tensor | float],
    state: TrainingState,
    *,
    max_iter: int,
    stopping: Stopping | None = None,
    validate: Callable[[TrainingState], float] | None = None,
    checkpoint: Checkpoint | None = None,
    fingerprint: str = "",
    on_iteration: Callable[[int, TrainingState], bool] | None = None,
) -> TrainingResult:
    """Run training steps until a number of them, a stopping rule, or something unforeseen.

    The loop knows nothing of what is trained: a step computes losses, updates parameters through
    ``state.updaters``, as often and in whatever order it wants, and returns a number to follow.
    The loop averages weights, keeps history, best weights and checkpoints, and survives a NaN and
    the keyboard.

    Parameters
    ----------
    step : callable
        ``step(i) -> loss`` does the i-th step; i counts on over several runs of the same state.
        The loss is a number or a tensor of shape (), which may have a graph.
    state : TrainingState
        Where to start; changed in place.
    max_iter : int
        Number of steps of this run.
    stopping : Stopping, default=None
        Ends the run earlier; None never does.
    validate : callable, default=None
        ``validate(state) -> loss``, lower is better, called without gradient mode every
        ``stopping.check_every`` steps (100 without `stopping`) and at the end. It should look at
        :meth:`TrainingState.averaged_modules`. The weights with the lowest value are kept.
    checkpoint : Checkpoint, default=None
        Where to write the run to, and to resume it from.
    fingerprint : str, default=""
        What identifies the fit: a checkpoint with another one is not resumed.
    on_iteration : callable, default=None
        ``on_iteration(i, state) -> stop`` is called after each step.

    Returns
    -------
    result : TrainingResult
        The outcome; the weights are in :meth:`TrainingState.final_modules`. Never raises, and
        never warns, for lack of convergence.

    Raises
    ------
    FloatingPointError
        If the first loss of the run is NaN or infinite. The weights are then as they were.

    Notes
    -----
    A loss that is not finite ends the run; the state goes back to weights from at most a few
    hundred steps before, from which a finite loss was computed, with empty optimizer moments.

    Steps run eagerly: what is solved within a step changes its shapes from one step to the next,
    which graph capture does not allow.

    Examples
    --------
    >>> import torch
    >>> from skot.training import Adam, CosineSchedule, TrainingState, train
    >>> weight = torch.nn.Parameter(torch.tensor([5.0]))
    >>> module = torch.nn.ParameterList([weight])
    >>> updater = Adam(lr=0.5, schedule=CosineSchedule()).build(module, max_iter=100)
    >>> state = TrainingState({"point": module}, {"point": updater})
    >>> def step(i):
    ...     loss = (weight - 2.0).square().sum()
    ...     updater.update(loss)
    ...     return loss
    >>> result = train(step, state, max_iter=100)
    >>> result.stop_reason, round(weight.item(), 2)
    ('max_iter', 2.0)
    """
    run = _Run(step, state, max_iter, stopping, validate, checkpoint, fingerprint, on_iteration)
    with torch.inference_mode(False), torch.enable_grad():
        return run.run()


class _Diverged(Exception):
    def __init__(self, iteration: int):
        self.iteration = iteration


class _Run:
    """One call of `train`."""

    def __init__(
        self, step, state, max_iter, stopping, validate, checkpoint, fingerprint, on_iteration
    ):
        self.step = step
        self.state = state
        self.validate = validate
        self.checkpoint = checkpoint
        self.fingerprint = fingerprint
        self.on_iteration = on_iteration
        self.rule = None if stopping is None else stopping.build()
        self.seeks_convergence = stopping is not None and stopping.seeks_convergence
        self.check_every = Stopping.check_every if stopping is None else stopping.check_every
        self.start = state.iteration
        self.end = self.start + max_iter
        self.pending: list[Tensor] = []

    def run(self) -> TrainingResult:
        state = self.state
        state.best, state.run_start = None, (state.iteration, state.seconds)
        stopped = self._resume()
        self.snapshots = Snapshots(state)
        self.clock = time.perf_counter() - state.seconds
        diverged_at = None
        try:
            try:
                reason = stopped or self._loop()
            except KeyboardInterrupt:
                reason = "interrupted"
            self._finish(reason)
        except _Diverged as divergence:
            reason, diverged_at = "diverged", divergence.iteration
            self._go_back(diverged_at)
        return TrainingResult(
            n_iter=state.iteration - self.start,
            converged=reason == "converged" if self.seeks_convergence else None,
            stop_reason=reason,
            loss_curve=tuple(state.loss_curve[self.start :]),
            best_loss=None if state.best is None else state.best["loss"],
            diverged_at=diverged_at,
        )

    def _resume(self) -> str | None:
        """Load the checkpoint; a reason if the run is over already."""
        if self.checkpoint is None:
            return None
        self.checkpoint.validate()
        status = self.checkpoint.load(self.state, self.rule, self.fingerprint)
        if status is None or self.rule is None:
            return None
        if status in ("converged", NOT_FINITE):
            return status
        # Only the time can be over: the rest was judged before the file was written.
        return self.rule.should_stop(self.state.seconds - self.state.run_start[1], None)

    def _loop(self) -> str:
        state, rule, on_iteration = self.state, self.rule, self.on_iteration
        checks = self.validate is not None or rule is not None
        write_every = 0 if self.checkpoint is None else self.checkpoint.every
        while state.iteration < self.end:
            i = state.iteration
            self._record(self.step(i))
            for average in state.averages.values():
                average.update()
            state.iteration = i + 1
            state.seconds = time.perf_counter() - self.clock
            count = i + 1 - self.start
            score = self._check() if checks and count % self.check_every == 0 else None
            if takes_snapshot(count):
                self._read_pending()
                self.snapshots.take()
            reason = None
            if rule is not None:
                reason = rule.should_stop(state.seconds - state.run_start[1], score)
            if on_iteration is not None and on_iteration(i, state):
                reason = reason or "callback"
            if reason is not None:
                return reason
            if write_every and count % write_every == 0:
                self._write("running")
        return "max_iter"

    def _record(self, loss: Tensor | float) -> None:
        if isinstance(loss, Tensor):
            loss = loss.detach()
            if loss.device.type != "cpu":
                self.pending.append(loss)
                if len(self.pending) >= _READ_EVERY:
                    self._read_pending()
                return
        self._append(float(loss))

    def _read_pending(self) -> None:
        if self.pending:
            losses, self.pending = torch.stack(self.pending).tolist(), []
            for loss in losses:
                self._append(loss)

    def _append(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise _Diverged(len(self.state.loss_curve))
        self.state.loss_curve.append(loss)

    def _check(self) -> float:
        """The number that stopping and best weights go by."""
        self._read_pending()
        if self.validate is None:
            recent = self.state.loss_curve[-self.check_every :]
            return sum(recent) / len(recent)
        with torch.no_grad():
            loss = float(self.validate(self.state))
        self.state.keep_best(loss)
        return loss

    def _finish(self, reason: str) -> None:
        state = self.state
        self._read_pending()
        # The keyboard may have interrupted between the two counts of a step.
        del state.loss_curve[state.iteration :]
        # No later loss will tell whether the last update went wrong.
        if not state.is_finite():
            raise _Diverged(state.iteration)
        if reason == "interrupted":
            return
        checked = bool(state.validation_curve) and state.validation_curve[-1][0] == state.iteration
        if self.validate is not None and not checked:
            self._check()
        if self.checkpoint is not None:
            self._write(reason)

    def _write(self, status: str) -> None:
        self._read_pending()
        # A resumed run starts with a copy of these weights: so does the one that goes on.
        self.snapshots.take()
        self.checkpoint.save(self.state, self.rule, self.fingerprint, status)

    def _go_back(self, diverged_at: int) -> None:
        self.pending.clear()
        if not self.snapshots.restore(before=diverged_at):
            raise FloatingPointError(
                f"The loss is not finite at iteration {diverged_at}, the first of this run, so "
                "there is no state to keep. Check the scale of the data, or lower the learning "
                "rate."
            )
