"""How an estimator that trains one network on problems is fitted: the flow that all share."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self, cast

import torch
from torch import Generator, Tensor, nn

from skot.base import ComponentParamsMixin
from skot.training import (
    Checkpoint,
    MinibatchSampler,
    Stopping,
    TrainingResult,
    TrainingState,
    fingerprint,
    train,
)
from skot.transport._neural.fit import NeuralFitMixin
from skot.transport._neural.two_sample_training import build_updates
from skot.utils._callbacks import CallbackSupportMixin, iteration_hook
from skot.utils.random import check_generator

#: Name of the network in states and in ``_modules``.
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


def train_network(
    state: TrainingState,
    loss: BatchLoss,
    items: Tensor,
    *,
    batch_size: int,
    max_iter: int,
    stopping: Stopping | None = None,
    checkpoint: Checkpoint | None = None,
    identity: Any = None,
    on_iteration: Callable | None = None,
) -> TrainingResult:
    """Train the network of a state; `identity` tells a checkpoint which fit it belongs to."""
    generator = cast(Generator, state.generator)  # states are built with one here
    share = None if stopping is None else stopping.validation_fraction
    held_out = items[:0]
    if share is not None and len(items) > 1:
        order = torch.randperm(len(items), generator=generator).to(items.device)
        n_held_out = max(1, round(share * len(items)))
        held_out, items = items[order[:n_held_out][:_VALUE_ITEMS]], items[order[n_held_out:]]
    sampler = MinibatchSampler(items, batch_size, generator=generator)
    state.samplers = {NETWORK: sampler}
    updater, network = state.updaters[NETWORK], state.modules[NETWORK]

    def step(i: int) -> Tensor:
        value = loss(network, sampler.sample())
        updater.update(value)
        return value.detach()

    def validate(state: TrainingState) -> float:
        return float(loss.held_out(state.averaged_modules()[NETWORK], held_out))

    result = train(
        step,
        state,
        max_iter=max_iter,
        stopping=stopping,
        validate=validate if len(held_out) else None,
        checkpoint=checkpoint,
        fingerprint="" if checkpoint is None else fingerprint(identity, items, held_out),
        on_iteration=on_iteration,
    )
    # It holds the training data, which a fitted estimator need not keep.
    state.samplers = {}
    return result


class OneNetworkFit(CallbackSupportMixin, NeuralFitMixin, ComponentParamsMixin):
    """``fit`` and ``partial_fit`` of an estimator that trains one network.

    A subclass reads its data, starts a state, and gives the loss and the items of its batches.
    """

    max_iter: int
    batch_size: int
    warm_start: bool
    random_state: Any
    _state: TrainingState
    _modules: dict[str, nn.Module]

    @abstractmethod
    def _read(self, X: Any, y: Any, *, reset: bool) -> Any:
        """Check everything, resolve the components and return the data."""

    @abstractmethod
    def _start(self, data: Any, generator: Generator, *, max_iter: int | None) -> None:
        """Draw the network, and store the state that training changes."""

    @abstractmethod
    def _batches(self, data: Any) -> tuple[BatchLoss, Tensor]:
        """Return the loss, and the items that batches are made of."""

    def _identity_of(self, loss: BatchLoss) -> Any:
        """What a checkpoint depends on beside the parameters and the items."""
        return None

    def _fit_network(self, X: Any, y: Any) -> Self:
        with self._unchanged_by_failure():
            going_on = self.warm_start and hasattr(self, "_state")
            data = self._read(X, y, reset=not going_on)
            generator = check_generator(self.random_state)
            if going_on:
                state = self._state
                state.updaters, state.averages = self._updates(state.modules, self.max_iter)
            else:
                self._start(data, generator, max_iter=self.max_iter)
            loss, items = self._batches(data)
            with iteration_hook(
                self, self.max_iter, X=X, y=y, fitted_attributes=self._fitted_attributes
            ) as on_iteration:
                result = train_network(
                    self._state,
                    loss,
                    items,
                    batch_size=self.batch_size,
                    max_iter=self.max_iter,
                    stopping=self.stopping,
                    # A file holds one run: training that goes on is another.
                    checkpoint=None if going_on else self.checkpoint,
                    identity=(self._own_params(), self._identity_of(loss)),
                    on_iteration=on_iteration,
                )
                self._store(result)
        self._warn_if_not_converged(result, stacklevel=7)  # past the decorators of fit
        return self

    def _partial_fit_network(self, X: Any, y: Any) -> Self:
        with self._unchanged_by_failure():
            going_on = hasattr(self, "_state")
            data = self._read(X, y, reset=not going_on)
            if not going_on:
                self._start(data, check_generator(self.random_state), max_iter=None)
            updater = self._state.updaters[NETWORK]
            if updater.max_iter is not None:  # a fit before had an end, which a stream has not
                updater.restart_schedule(None)
            loss, items = self._batches(data)
            n_steps = math.ceil(len(items) / self.batch_size)
            result = train_network(
                self._state, loss, items, batch_size=self.batch_size, max_iter=n_steps
            )
            self._store(result)
        self._warn_if_not_converged(result, stacklevel=5)
        return self

    def _updates(self, modules: dict, max_iter: int | None) -> tuple[dict, dict]:
        return build_updates(
            modules,
            self.optimizer_,
            self._weight_averaging(),
            max_iter=max_iter,
            n_updates={NETWORK: 1},
        )

    def _weight_averaging(self) -> Any:
        return self.averaging

    def _own_params(self) -> dict[str, Any]:
        params = cast(Any, self).get_params(deep=False)
        for name in ("checkpoint", "verbose", "device"):
            del params[name]
        return params

    def _store(self, result: TrainingResult) -> None:
        for name, value in self._fitted_attributes(self._state).items():
            setattr(self, name, value)
        self.converged_ = self._ended_well(result)

    def _fitted_attributes(self, state: TrainingState) -> dict[str, Any]:
        """What a fitted estimator has, as training stands."""
        return {
            "_modules": state.final_modules(),
            "loss_curve_": list(state.loss_curve),
            "n_iter_": state.iteration,
        }

    @property
    def _network_device(self) -> torch.device:
        return next(self._modules[NETWORK].parameters()).device

    def _on_the_cpu(self) -> dict[str, Any]:
        """Attributes that a pickle holds in another form than the fit left them."""
        modules = {name: copy.deepcopy(module).cpu() for name, module in self._modules.items()}
        return {"_modules": modules}

    def __getstate__(self):
        # A pickle made after a fit on an accelerator must load on a machine without one.
        state = super().__getstate__()
        if "_modules" not in state or self._network_device.type == "cpu":
            return state
        return {**state, **self._on_the_cpu()}
