"""Trained maps at work: images of rows, their moments over the noise, what they cost."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from skot.losses import WeakCost
from skot.measures import Noise
from skot.numerics.subsample import spread_rows
from skot.numerics.tiles import row_tiles
from skot.potentials import Frame, KantorovichPotential
from skot.transport._neural.networks import row_width
from skot.transport._neural.two_samples import VALUE_ROWS, LearnedTransport
from skot.transport._neural_ot.diagnostics import PlanValues, plan_values
from skot.utils.random import check_generator

#: Images of a row from which values are estimated.
_N_VALUE_SAMPLES = 16


@dataclass(frozen=True, kw_only=True)
class LearnedMaps(LearnedTransport):
    """The networks "transport_map" and "potential", and those of the way back if it was learned.

    Attributes
    ----------
    cost : WeakCost
        The cost, in the units of the data.
    units : tuple of float
        Its unit in the frame, for each direction.
    noise : Noise
        What maps are fed in draws.
    noise_bank : Tensor of shape (n_bank, n_noise_features) or None
        What moments are taken over; None for a deterministic map.
    """

    cost: WeakCost
    units: tuple[float, ...]
    noise: Noise
    noise_bank: Tensor | None

    @property
    def potential(self) -> KantorovichPotential:
        """The potential on target points in the units of the data."""
        frame, unit = self.frame.to(self.dtype), self.units[0]
        # The potential is c |y|^2 / 2 less what the network learned, in the unit and the frame.
        coefficient = self.cost.quadratic_coefficient * self.frame.scale / unit
        shifted = self.cost.invariance in ("separate", "linear")
        module = self.modules["potential"]
        return KantorovichPotential(module, frame, coefficient, unit, shifted)

    def plan(self, prefix: str = "") -> "LearnedPlan":
        """Return the map of a direction."""
        frame = self.frame.swapped() if prefix else self.frame
        transport_map = self.modules[f"{prefix}transport_map"]
        return LearnedPlan(transport_map, frame, self.noise, self.noise_bank, self.dtype)

    def values(self) -> PlanValues:
        """Evaluate the plan on kept rows, with fresh noise that is always the same."""
        x, y = self.rows
        if self.noise_bank is not None:
            x = spread_rows(x, VALUE_ROWS // _N_VALUE_SAMPLES)
        return self.values_of(x, y, check_generator(0))[0]

    def values_of(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[PlanValues, Tensor]:
        """Evaluate the plan on rows of both sides; also one image of each source row."""
        # All images of a row are alike without noise.
        n_samples = 1 if self.noise_bank is None else _N_VALUE_SAMPLES
        images = self.plan().draw(x, n_samples, generator)
        return plan_values(self.cost, self.potential, x, y, images), images[:, 0]


@dataclass(frozen=True)
class LearnedPlan:
    """Images of rows in the units of the data, by tiles of rows and without a graph.

    Attributes
    ----------
    noise : Noise
        What the network is fed in draws.
    bank : Tensor of shape (n_bank, n_noise_features) or None
        What moments are taken over; None for a deterministic map.
    dtype : dtype
        Of the network; rows have that of the frame.
    """

    transport_map: nn.Module
    frame: Frame
    noise: Noise
    bank: Tensor | None
    dtype: torch.dtype

    def draw(self, x: Tensor, n_samples: int, generator: Generator) -> Tensor:
        """Images with fresh noise, of shape (n_rows, n_samples, n_features)."""
        images = x.new_empty(len(x), n_samples, x.shape[1])
        with torch.no_grad():
            for rows in row_tiles(len(x), n_samples * row_width(self.transport_map)):
                points = self.frame.source_rows(x[rows]).to(self.dtype)
                drawn = draw_images(self.transport_map, points, self.noise, n_samples, generator)
                images[rows] = self.frame.target_rows_back(drawn.to(x.dtype))
        return images

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the images of rows over the bank."""
        bank = None if self.bank is None else self.bank.to(x.device, self.dtype)
        mean, variance = torch.empty_like(x), torch.zeros_like(x)
        n_images = 1 if bank is None else len(bank)
        with torch.no_grad():
            for rows in row_tiles(len(x), n_images * row_width(self.transport_map)):
                points = self.frame.source_rows(x[rows]).to(self.dtype)
                if bank is None:
                    images = self.transport_map(points).to(x.dtype)
                    mean[rows] = self.frame.target_rows_back(images)
                    continue
                drawn = self.transport_map(points, bank.expand(len(points), -1, -1))
                images = self.frame.target_rows_back(drawn.to(x.dtype))
                variance[rows], mean[rows] = torch.var_mean(images, dim=1)
        return mean, variance


def draw_images(
    transport_map: nn.Module, x: Tensor, noise: Noise, n_samples: int, generator: Generator
) -> Tensor:
    """Images of rows, of shape (n, n_samples, n_features); one of each if there is no noise."""
    n_noise_features = getattr(transport_map, "n_noise_features", 0)
    if n_noise_features == 0:
        return transport_map(x)[:, None]
    z = noise.draw(len(x), n_samples, n_noise_features, generator)
    return transport_map(x, z.to(x))
