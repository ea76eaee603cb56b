"""Training of a network that predicts potentials: the loss of a batch, and a run of steps."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from skot.solvers import SemiDual
from skot.training import (
    Checkpoint,
    MinibatchSampler,
    Stopping,
    TrainingResult,
    TrainingState,
    fingerprint,
    train,
)
from skot.transport._dual_coordinates import DualCoordinates, PlainCoordinates, centred
from skot.transport._histograms import part_histograms

#: Name of the network in the state.
NETWORK = "network"
#: Held-out losses are computed on at most this many rows.
_VALUE_ROWS = 1024


class BatchLoss(ABC):
    """Loss of a network on a batch of rows."""

    @abstractmethod
    def __call__(self, network: nn.Module, rows: Tensor) -> Tensor:
        """Return a number with a graph back to the network."""


@dataclass(frozen=True)
class DualObjective(BatchLoss):
    """Minus the mean semi-dual value of the predictions, in units of epsilon: no labels needed."""

    coordinates: DualCoordinates
    semi_dual: SemiDual
    n_source: int

    def __call__(self, network: nn.Module, rows: Tensor) -> Tensor:
        """Return the loss of rows [a, b]."""
        a, b = part_histograms(rows, self.n_source)
        f = predict_potential(network, self.coordinates, a, b)
        return -self.semi_dual.value(f, a, b).mean() / self.coordinates.epsilon


@dataclass(frozen=True)
class PotentialRegression(BatchLoss):
    """Mean squared error of the predictions to known potentials, both in the same gauge."""

    coordinates: DualCoordinates
    n_source: int
    n_inputs: int

    def __call__(self, network: nn.Module, rows: Tensor) -> Tensor:
        """Return the loss of rows [a, b, f]."""
        a, b = part_histograms(rows[:, : self.n_inputs], self.n_source)
        f = predict_potential(network, self.coordinates, a, b)
        wanted = centred(rows[:, self.n_inputs :].double(), a)
        return ((f - wanted) / self.coordinates.unit).square().mean()


@dataclass(frozen=True)
class PlainRegression(BatchLoss):
    """Mean squared error of standardised outputs."""

    coordinates: PlainCoordinates

    def __call__(self, network: nn.Module, rows: Tensor) -> Tensor:
        """Return the loss of rows [x, y]."""
        own, n_inputs = self.coordinates, self.coordinates.n_inputs
        x = (rows[:, :n_inputs] - own.mean) / own.scale
        y = (rows[:, n_inputs:] - own.target_mean) / own.target_scale
        return (network(x.to(_dtype(network))) - y).square().mean()


def predict_potential(
    network: nn.Module, coordinates: DualCoordinates, a: Tensor, b: Tensor
) -> Tensor:
    """Predict source potentials of mean zero under a, in float64."""
    known = coordinates.known(a, b)
    inputs = coordinates.inputs(a, b, known).to(_dtype(network))
    return centred(known + coordinates.unit * network(inputs).double(), a)


def predict_plain(network: nn.Module, coordinates: PlainCoordinates, x: Tensor) -> Tensor:
    """Predict outputs in their own units, in float64."""
    inputs = ((x - coordinates.mean) / coordinates.scale).to(_dtype(network))
    return coordinates.target_mean + coordinates.target_scale * network(inputs).double()


def _dtype(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype


def run_training(
    state: TrainingState,
    loss: BatchLoss,
    rows: Tensor,
    *,
    batch_size: int,
    max_iter: int,
    stopping: Stopping | None = None,
    checkpoint: Checkpoint | None = None,
    params: Any = None,
    on_iteration: Callable | None = None,
) -> TrainingResult:
    """Train the network of a state on rows; `params` tell a checkpoint which fit it belongs to."""
    generator = cast(Generator, state.generator)  # states are built with one here
    share = None if stopping is None else stopping.validation_fraction
    held_out = rows[:0]
    if share is not None and len(rows) > 1:
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        n_held_out = max(1, round(share * len(rows)))
        held_out, rows = rows[order[:n_held_out][:_VALUE_ROWS]], rows[order[n_held_out:]]
    sampler = MinibatchSampler(rows, batch_size, generator=generator)
    state.samplers = {NETWORK: sampler}
    updater, network = state.updaters[NETWORK], state.modules[NETWORK]

    def step(i: int) -> Tensor:
        value = loss(network, sampler.sample())
        updater.update(value)
        return value.detach()

    def validate(state: TrainingState) -> float:
        return float(loss(state.averaged_modules()[NETWORK], held_out))

    result = train(
        step,
        state,
        max_iter=max_iter,
        stopping=stopping,
        validate=validate if len(held_out) else None,
        checkpoint=checkpoint,
        fingerprint="" if checkpoint is None else fingerprint(params, rows, held_out),
        on_iteration=on_iteration,
    )
    # It holds the training rows, which a fitted estimator need not keep.
    state.samplers = {}
    return result
