"""Losses of a network that predicts potentials, and its predictions."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skot.solvers import SemiDual
from skot.transport._meta_ot.coordinates import DualCoordinates, PlainCoordinates, centred
from skot.transport._meta_ot.problems import part_histograms
from skot.transport._neural.one_network import BatchLoss


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
