"""Maximin training: a map against a potential, for strong and weak costs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Generator, Tensor, nn

from skot.losses import (
    EnergyAugmentation,
    GradientPenalty,
    WeakCost,
    maximin_dual,
    maximin_map_loss,
    potential_values,
)
from skot.measures import Noise
from skot.metrics import divergence_to
from skot.numerics.subsample import spread_rows
from skot.potentials import Frame, LinearFrame, TranslationFrame
from skot.training import TrainingState
from skot.transport._neural.networks import build_module, network_coordinates
from skot.transport._neural.two_samples import Samples, TwoSampleMethod
from skot.transport._neural_ot.model import LearnedMaps, draw_images

#: Rows a side of the divergence on held-out rows.
_DIVERGENCE_ROWS = 1000
#: Pairs of rows from which the unit of a cost is estimated.
_UNIT_ROWS = 1024


@dataclass(frozen=True)
class FramedCost:
    """Evaluates a cost on rows of a frame, in the cost's own unit there.

    The cost is divided by `unit`, so that it is of the size of half a squared distance in the
    frame, whatever the units of the data.
    """

    cost: WeakCost
    frame: Frame
    unit: float

    @classmethod
    def of(cls, cost: WeakCost, frame: Frame, x: Tensor, y: Tensor) -> "FramedCost":
        """Return the cost in a frame of two samples."""
        if cost.invariance in ("separate", "linear"):
            # Homogeneous of degree two: how often it holds half the squared distance.
            point = torch.eye(1, x.shape[1], dtype=x.dtype, device=x.device)
            multiple = 2.0 * float(cost.evaluate(0.0 * point, point.expand(2, -1)[None]))
            return cls(cost, frame, frame.scale * multiple)
        # Rows and target points that have nothing to do with each other, as a Dirac each: the two
        # samples may come in the same order, and half a turn later they do not.
        n = min(len(x), len(y), _UNIT_ROWS)
        points = spread_rows(y, n).roll(n // 2, dims=0)[:, None].expand(-1, 2, -1)
        mean = float(cost.evaluate(spread_rows(x, n), points).abs().mean()) / x.shape[1]
        return cls(cost, frame, mean if 0.0 < mean < float("inf") else 1.0)

    @property
    def quadratic_coefficient(self) -> float:
        """Coefficient of |y|^2 / 2 in the cost, in its unit and the frame."""
        return self.cost.quadratic_coefficient * self.frame.scale / self.unit

    def at(self, iteration: int) -> "FramedCost":
        """Return the cost of an iteration of training."""
        cost = self.cost.at(iteration)
        return self if cost is self.cost else FramedCost(cost, self.frame, self.unit)

    def evaluate(self, x: Tensor, y: Tensor) -> Tensor:
        """Cost of rows (n, n_features) to samples (n, n_samples, n_features), in the frame."""
        if self.cost.invariance in ("separate", "linear"):
            return self.cost.evaluate(x, y) * (self.frame.scale / self.unit)
        frame, dtype = self.frame, y.dtype
        if self.cost.invariance == "common":
            # Far from the origin there are no digits left for a distance.
            nowhere = torch.zeros_like(frame.target_mean)
            shift = frame.source_mean - frame.target_mean
            frame = frame.with_means(shift, nowhere)
        # In the precision of the frame: in the units of the data float32 may overflow.
        x = frame.source_rows_back(x.to(frame.source_mean))
        y = frame.target_rows_back(y.to(frame.target_mean))
        return (self.cost.evaluate(x, y) / self.unit).to(dtype)


def framed_costs(cost: WeakCost, frame: Frame, units: tuple[float, ...]) -> dict[str, FramedCost]:
    """The cost of the way there, and back with a second unit, by the prefix of the networks."""
    there = {"": FramedCost(cost, frame, units[0])}
    if len(units) == 1:
        return there
    return {**there, "inverse_": FramedCost(cost.reversed(), frame.swapped(), units[1])}


def cost_units(
    cost: WeakCost, frame: Frame, source: Tensor, target: Tensor, *, both: bool
) -> tuple[float, ...]:
    """Return the unit of the cost between two samples, and of the way back if it is learned."""
    there = FramedCost.of(cost, frame, source, target).unit
    if not both:
        return (there,)
    return there, FramedCost.of(cost.reversed(), frame.swapped(), target, source).unit


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
class MaximinMethod(TwoSampleMethod[LearnedMaps]):
    """How maps are trained against potentials, in one direction or both.

    The cost is in the units of the data; `transport_map` and `potential` are architectures.
    `noise`, `augmentation` and `regularization` are components of the step, in which the map is
    updated `n_map_steps` times for each update of the potential, on `n_noise_samples` images of
    every row of a batch. The way back is learned too if `fit_inverse_transform`. The coordinates
    are `preconditioning`, "gaussian" or "identity".
    """

    cost: WeakCost
    transport_map: Any
    potential: Any
    noise: Noise
    augmentation: EnergyAugmentation
    regularization: GradientPenalty | None
    n_map_steps: int
    n_noise_samples: int
    fit_inverse_transform: bool
    preconditioning: str

    shown: ClassVar = ("cost", "noise", "augmentation", "optimizer")
    lasting: ClassVar = (
        "cost",
        "transport_map",
        "potential",
        "noise",
        "fit_inverse_transform",
        "preconditioning",
    )

    def n_updates(self, names: Iterable[str]) -> dict[str, int]:
        """Maps move more often than potentials."""
        return {name: self.n_map_steps if name.endswith("map") else 1 for name in names}

    def draw(self, source: Tensor, target: Tensor, generator: Generator) -> LearnedMaps:
        """Choose the frame and the units, and draw networks and noise."""
        frame = self._frame(source, target)
        units = cost_units(self.cost, frame, source, target, both=self.fit_inverse_transform)
        modules = build_modules(
            {"transport_map": self.transport_map, "potential": self.potential},
            framed_costs(self.cost, frame, units),
            generator=generator,
        )
        width = getattr(modules["transport_map"], "n_noise_features", 0)
        return LearnedMaps(
            modules=modules,
            frame=frame,
            cost=self.cost,
            units=units,
            noise=self.noise,
            noise_bank=self.noise.bank(width, generator) if width else None,
        )

    def carry_on(self, learned: LearnedMaps, data: Samples) -> LearnedMaps:
        """Take the components of now, which are like those before, and the new rows."""
        return replace(super().carry_on(learned, data), cost=self.cost, noise=self.noise)

    def _frame(self, source: Tensor, target: Tensor) -> Frame:
        if getattr(self.transport_map, "reads_images", False):
            return TranslationFrame.of(source, target)
        # Only inner products survive a matrix on one side and its inverse on the other.
        linear = self.cost.invariance == "linear"
        return LinearFrame.of(source, target, self.preconditioning if linear else "identity")

    def step(
        self,
        learned: LearnedMaps,
        state: TrainingState,
        draw_source: Callable[[], Tensor],
        draw_target: Callable[[], Tensor],
    ) -> Callable[[int], Tensor]:
        directions = [
            MaximinDirection(
                state,
                f"{prefix}transport_map",
                f"{prefix}potential",
                cost,
                self.noise,
                self.n_noise_samples,
                self.n_map_steps,
                self.augmentation,
                self.regularization,
            )
            for prefix, cost in framed_costs(self.cost, learned.frame, learned.units).items()
        ]
        draws = (draw_source, draw_target)

        def do_step(i: int) -> Tensor:
            values = [
                direction.step(i, *(draws if k == 0 else draws[::-1]))
                for k, direction in enumerate(directions)
            ]
            return torch.stack(values).sum()

        return do_step

    def held_out_loss(
        self, learned: LearnedMaps, modules: dict[str, nn.Module], rows: dict[str, Tensor]
    ) -> float:
        """Return the Sinkhorn divergence of what the map makes of held-out rows to the target.

        Not the maximin value: it is highest where the map lags behind the potential.
        """
        x, y = (spread_rows(rows[key], _DIVERGENCE_ROWS) for key in ("source", "target"))
        generator = torch.Generator().manual_seed(0)  # the same noise at every check
        with torch.no_grad():
            moved = draw_images(modules["transport_map"], x, self.noise, 1, generator)[:, 0]
        # One look of many: what a single solve lacks is not worth a warning.
        return float(divergence_to(y, moved).value)
