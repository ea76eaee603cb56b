"""Training of one network on batches of items: rows of data, or numbers of problems."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Generator, Tensor, nn

from skot.training import MinibatchSampler, Stopping, TrainingState, fingerprint
from skot.transport._neural.fit import Learned, Loop, Method

#: Name of the network in states and in what was learned.
NETWORK = "network"
#: Held-out losses are computed on at most this many items.
_VALUE_ITEMS = 1024


class BatchLoss(ABC):
    """Loss of a network on a batch of items, which are rows of data or numbers of them."""

    @abstractmethod
    def __call__(self, network: nn.Module, items: Tensor) -> Tensor:
        """Return a number with a graph back to the network."""

    def held_out(self, network: nn.Module, items: Tensor) -> Tensor:
        """Return the loss on items that are not trained on, the same for the same weights."""
        return self(network, items)

    def data(self) -> Any:
        """What it depends on beside the items, for a checkpoint to recognise."""
        return None


LearnedT = TypeVar("LearnedT", bound=Learned)


@dataclass(frozen=True)
class BatchMethod(Method[LearnedT]):
    """Trains one network by a loss on batches of items."""

    @abstractmethod
    def batches(
        self, learned: LearnedT, data: Any, generator: Generator
    ) -> tuple[BatchLoss, Tensor]:
        """Return the loss, and the items that batches are made of."""

    def loop(
        self, learned: LearnedT, state: TrainingState, data: Any, stopping: Stopping | None
    ) -> Loop:
        """Hold some items out, and draw batches from the others."""
        generator = cast(Generator, state.generator)  # states are built with one here
        loss, items = self.batches(learned, data, generator)
        share = None if stopping is None else stopping.validation_fraction
        held_out = items[:0]
        if share is not None and len(items) > 1:
            order = torch.randperm(len(items), generator=generator).to(items.device)
            n_held_out = max(1, round(share * len(items)))
            held_out, items = items[order[:n_held_out][:_VALUE_ITEMS]], items[order[n_held_out:]]
        sampler = MinibatchSampler(items, self.batch_size, generator=generator)
        state.samplers = {NETWORK: sampler}
        updater, network = state.updaters[NETWORK], state.modules[NETWORK]

        def step(i: int) -> Tensor:
            value = loss(network, sampler.sample())
            updater.update(value)
            return value.detach()

        return Loop(
            step,
            (lambda modules: float(loss.held_out(modules[NETWORK], held_out)))
            if len(held_out)
            else None,
            lambda params: fingerprint((params, loss.data()), items, held_out),
        )
