"""Training of a network that predicts potentials: its coordinates and its losses."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.networks import DualMLP, DualUNet
from skot.solvers import SemiDual
from skot.transport._meta_ot.coordinates import DualCoordinates, PlainCoordinates, centred
from skot.transport._meta_ot.model import LearnedRegression, network_dtype, predict_potential
from skot.transport._meta_ot.problems import Problems, part_histograms
from skot.transport._neural.batches import NETWORK, BatchLoss, BatchMethod

#: Sides of a grid from which a network of images is the default.
_IMAGE_SIDE = 8


def default_network(cost: Any) -> Any:
    """Architecture for a cost: one for images where a grid has two sides that deserve it."""
    if cost is not None and cost.is_separable:
        shape = tuple(cost.shape)
        if len(shape) == 2 and min(shape) >= _IMAGE_SIDE:
            return DualUNet(shape)
    return DualMLP()


@dataclass(frozen=True)
class RegressionMethod(BatchMethod[LearnedRegression]):
    """How a network learns potentials, or plain outputs where there is no cost.

    The `cost` is one between fixed supports (`PrecomputedCost`, `SupportCost`, `GridCost`) or None,
    `epsilon` is in its units, and `network` is an architecture.
    """

    cost: Any
    epsilon: float
    network: Any

    shown: ClassVar = ("cost", "network", "optimizer")
    lasting: ClassVar = ("cost", "epsilon", "network")

    def start(self, data: Problems, generator: Generator) -> LearnedRegression:
        """Choose the coordinates, and draw the network."""
        coordinates: DualCoordinates | PlainCoordinates
        if self.cost is None:
            coordinates = PlainCoordinates.of(data.inputs, data.outputs)
            n_outputs = data.outputs.shape[1]
        else:
            a, b = data.histograms()
            coordinates, n_outputs = DualCoordinates.of(self.cost, self.epsilon, a, b), a.shape[1]
        network = self.network.build(coordinates.n_inputs, n_outputs, generator=generator)
        modules = {NETWORK: network.to(data.rows.device, torch.float32)}
        return self.learned(modules, coordinates, data.output_ndim)

    def learned(
        self,
        modules: dict[str, nn.Module],
        coordinates: DualCoordinates | PlainCoordinates,
        output_ndim: int,
    ) -> LearnedRegression:
        """Put together a network that is drawn, or read from a file."""
        return LearnedRegression(
            modules=modules,
            cost=self.cost,
            epsilon=self.epsilon,
            coordinates=coordinates,
            output_ndim=output_ndim,
        )

    def carry_on(self, learned: LearnedRegression, data: Problems) -> LearnedRegression:
        """Give outputs of as many dimensions as those of now."""
        return replace(learned, output_ndim=data.output_ndim)

    def batches(
        self, learned: LearnedRegression, data: Problems, generator: Generator
    ) -> tuple[BatchLoss, Tensor]:
        """Return the loss that the data allow, and the rows."""
        coordinates = learned.coordinates.to(learned.device)
        if isinstance(coordinates, PlainCoordinates):
            return PlainRegression(coordinates), data.rows
        if data.n_outputs:
            return PotentialRegression(coordinates, data.n_source, data.n_inputs), data.rows
        return (
            DualObjective(coordinates, learned.semi_dual(torch.float32), data.n_source),
            data.rows,
        )


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
        return (network(x.to(network_dtype(network))) - y).square().mean()
