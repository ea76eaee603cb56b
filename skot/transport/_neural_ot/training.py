"""Maximin training: a map against a potential, for strong and weak costs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from skot.losses import (
    EnergyAugmentation,
    GradientPenalty,
    maximin_dual,
    maximin_map_loss,
    potential_values,
)
from skot.measures import Noise
from skot.metrics import sinkhorn_divergence
from skot.training import TrainingState
from skot.transport._neural.networks import build_module, network_coordinates
from skot.transport._neural.two_sample_training import TwoSampleTraining, some_rows
from skot.transport._neural_ot.cost import FramedCost

#: Rows a side of the divergence on held-out rows, and its regularisation as a share of the mean
#: squared distance.
_DIVERGENCE_ROWS, _DIVERGENCE_SHARE = 1000, 0.05


def build_modules(
    architectures: dict[str, Any], costs: dict[str, FramedCost], *, generator: Generator
) -> dict[str, nn.Module]:
    """Draw map and potential of each direction, on the device of its frame and in float32."""
    modules = {}
    for prefix, cost in costs.items():
        mean = cost.frame.source_mean
        for name, coordinates in network_coordinates(cost.frame).items():
            modules[f"{prefix}{name}"] = build_module(
                architectures[name],
                len(mean),
                mean.device,
                generator=generator,
                coordinates=coordinates,
            )
    return modules


def draw_images(
    transport_map: nn.Module, x: Tensor, noise: Noise, n_samples: int, generator: Generator
) -> Tensor:
    """Images of rows, of shape (n, n_samples, n_features); one of each if there is no noise."""
    n_noise_features = getattr(transport_map, "n_noise_features", 0)
    if n_noise_features == 0:
        return transport_map(x)[:, None]
    z = noise.draw(len(x), n_samples, n_noise_features, generator)
    return transport_map(x, z.to(x))


@dataclass(frozen=True)
class MaximinDirection:
    """The maximin problem in one direction: its networks, its cost, and its step."""

    state: TrainingState
    map_name: str
    potential_name: str
    cost: FramedCost
    noise: Noise
    n_noise_samples: int
    n_map_steps: int
    augmentation: EnergyAugmentation
    regularization: GradientPenalty | None

    def step(self, i: int, draw_x: Callable[[], Tensor], draw_y: Callable[[], Tensor]) -> Tensor:
        """Move the map several times and the potential once; return the maximin value."""
        cost = self.cost.at(i)
        for _ in range(self.n_map_steps):
            self._move_map(cost, draw_x(), draw_y)
        return self._move_potential(cost, draw_x(), draw_y())

    def _images(self, x: Tensor) -> Tensor:
        transport_map = self.state.modules[self.map_name]
        generator = cast(Generator, self.state.generator)  # states are built with one here
        return draw_images(transport_map, x, self.noise, self.n_noise_samples, generator)

    def _move_map(self, cost: FramedCost, x: Tensor, draw_y: Callable[[], Tensor]) -> None:
        potential = self.state.modules[self.potential_name]
        images = self._images(x)
        loss = maximin_map_loss(
            cost.evaluate, potential, x, images, coefficient=cost.quadratic_coefficient
        )
        if self.augmentation.weight > 0:
            loss = loss + self.augmentation.evaluate(images[:, 0], draw_y())
        self.state.updaters[self.map_name].update(loss)

    def _move_potential(self, cost: FramedCost, x: Tensor, y: Tensor) -> Tensor:
        module, coefficient = self.state.modules[self.potential_name], cost.quadratic_coefficient
        with torch.no_grad():
            images = self._images(x)
        dual = maximin_dual(module, y, images, coefficient=coefficient)
        loss = -dual
        if self.regularization is not None:
            g = partial(potential_values, module, coefficient=coefficient)
            loss = loss + self.regularization.evaluate(g, y)
        self.state.updaters[self.potential_name].update(loss)
        with torch.no_grad():
            return dual.detach() + cost.evaluate(x, images).mean()


@dataclass(frozen=True)
class MaximinTraining(TwoSampleTraining):
    """Trains the networks of one or both directions.

    Attributes
    ----------
    directions : tuple of MaximinDirection
        Forward and, where it is wanted, back.
    """

    directions: tuple[MaximinDirection, ...]

    def step(
        self, draw_source: Callable[[], Tensor], draw_target: Callable[[], Tensor]
    ) -> Callable[[int], Tensor]:
        """Return the step of training, given what draws batches of each side."""

        def do_step(i: int) -> Tensor:
            draws = (draw_source, draw_target)
            values = [
                direction.step(i, *(draws if k == 0 else draws[::-1]))
                for k, direction in enumerate(self.directions)
            ]
            return torch.stack(values).sum()

        return do_step

    def held_out_loss(self, modules: dict[str, nn.Module], held_out: dict[str, Tensor]) -> float:
        """Return the Sinkhorn divergence of what the map makes of held-out rows to the target.

        Not the maximin value: it is highest where the map lags behind the potential.
        """
        x, y = (some_rows(held_out[key], _DIVERGENCE_ROWS) for key in ("source", "target"))
        forward = self.directions[0]
        generator = torch.Generator().manual_seed(0)  # the same noise at every check
        with torch.no_grad():
            moved = draw_images(modules[forward.map_name], x, forward.noise, 1, generator)[:, 0]
        spread = 2.0 * float(y.var(dim=0, correction=0).sum())
        epsilon = _DIVERGENCE_SHARE * spread or 1.0
        # One look of many: what a single solve lacks is not worth a warning.
        return float(sinkhorn_divergence(moved, y, epsilon=epsilon, return_result=True).value)
