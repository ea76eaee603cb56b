"""A run of training on two samples: batches, held-out rows, reference draws, the loop."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from skot.measures import draw_reference
from skot.potentials import Frame
from skot.training import (
    Checkpoint,
    MinibatchSampler,
    Optimizer,
    Stopping,
    TrainingResult,
    TrainingState,
    Updater,
    WeightAverage,
    fingerprint,
    train,
)

#: Values and held-out losses are computed on at most this many rows a side.
VALUE_ROWS = 4096


def build_updates(
    modules: dict[str, nn.Module],
    optimizer: Optimizer,
    averaging: Any,
    *,
    max_iter: int | None,
    n_updates: dict[str, int],
) -> tuple[dict[str, Updater], dict[str, WeightAverage]]:
    """Return what moves the weights of each network, and what averages them where asked for.

    `n_updates` says how often each network is updated in an iteration.
    """
    updaters = {
        name: optimizer.build(module, max_iter=max_iter and max_iter * n_updates[name])
        for name, module in modules.items()
    }
    if averaging is None:
        return updaters, {}
    return updaters, {name: averaging.build(module) for name, module in modules.items()}


def some_rows(rows: Tensor, n: int = VALUE_ROWS) -> Tensor:
    """Return at most `n` rows, spread over all of them."""
    if len(rows) <= n:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, n, device=rows.device).long()]


@dataclass(frozen=True)
class TwoSampleTraining(ABC):
    """Trains the networks of a state on two samples; the target may be a reference.

    Attributes
    ----------
    state : TrainingState
        Its generator draws everything.
    frame : Frame
        The coordinates in which the networks see the rows.
    batch_size : int
        Rows of each side in a batch.
    """

    state: TrainingState
    frame: Frame
    batch_size: int

    @abstractmethod
    def step(
        self, draw_source: Callable[[], Tensor], draw_target: Callable[[], Tensor]
    ) -> Callable[[int], Tensor]:
        """Return the step of training, given what draws batches of each side."""

    @abstractmethod
    def held_out_loss(self, modules: dict[str, nn.Module], held_out: dict[str, Tensor]) -> float:
        """Return the loss on the rows that are not trained on."""

    def run(
        self,
        source: Tensor,
        target: Tensor,
        *,
        reference: str | None,
        max_iter: int,
        stopping: Stopping | None = None,
        checkpoint: Checkpoint | None = None,
        params: Any = None,
        on_iteration: Callable | None = None,
    ) -> TrainingResult:
        """Train on rows in float64; with a `reference`, `target` is a sample of it for judging.

        `params` tell a checkpoint, with the rows, which fit it belongs to.
        """
        state, frame = self.state, self.frame
        train_rows = {
            "source": frame.source_rows(source).to(torch.float32),
            "target": frame.target_rows(target).to(torch.float32),
        }
        held_out = self._hold_out(train_rows, stopping, reference)
        state.samplers = {
            name: MinibatchSampler(rows, self.batch_size, generator=self._generator)
            for name, rows in train_rows.items()
            if name == "source" or reference is None
        }
        draws = {name: sampler.sample for name, sampler in state.samplers.items()}
        if reference is not None:
            n_rows = state.samplers["source"].batch_size
            draws["target"] = self._reference_draws(reference, n_rows)
        result = train(
            self.step(draws["source"], draws["target"]),
            state,
            max_iter=max_iter,
            stopping=stopping,
            validate=self._validation(held_out) if held_out else None,
            checkpoint=checkpoint,
            fingerprint="" if checkpoint is None else fingerprint(params, train_rows, held_out),
            on_iteration=on_iteration,
        )
        # They hold the training rows, which a fitted transport need not keep.
        state.samplers = {}
        return result

    @property
    def _generator(self) -> Generator:
        return cast(Generator, self.state.generator)  # states are built with one here

    def _hold_out(
        self, train_rows: dict[str, Tensor], stopping: Stopping | None, reference: str | None
    ) -> dict[str, Tensor]:
        """Take the validation rows out of the others."""
        share = None if stopping is None else stopping.validation_fraction
        if share is None:
            return {}
        held_out = {}
        for name, rows in train_rows.items():
            if name == "target" and reference is not None:
                held_out[name] = rows  # it is not trained on
                continue
            n_held_out = max(1, round(share * len(rows)))
            order = torch.randperm(len(rows), generator=self._generator).to(rows.device)
            held_out[name] = rows[order[:n_held_out][:VALUE_ROWS]]
            train_rows[name] = rows[order[n_held_out:]] if n_held_out < len(rows) else rows
        return held_out

    def _validation(self, held_out: dict[str, Tensor]) -> Callable[[TrainingState], float]:
        def loss_of_held_out_rows(state: TrainingState) -> float:
            return self.held_out_loss(state.averaged_modules(), held_out)

        return loss_of_held_out_rows

    def _reference_draws(self, reference: str, n_rows: int) -> Callable[[], Tensor]:
        """Fresh draws at every step: the reference is known, there is no sample to exhaust."""
        frame = self.frame
        n_features, device = len(frame.target_mean), frame.target_mean.device

        def draw_target() -> Tensor:
            rows = draw_reference(reference, n_rows, n_features, self._generator)
            return frame.target_rows(rows.to(device)).to(torch.float32)

        return draw_target
