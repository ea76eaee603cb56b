"""A trained map at work: images of rows, and their moments over the noise."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from skot.measures import Noise
from skot.numerics.tiles import row_tiles
from skot.potentials import Frame
from skot.transport._neural.networks import row_width
from skot.transport._neural_ot.training import draw_images


@dataclass(frozen=True)
class LearnedPlan:
    """Images of rows in the units of the data, by tiles of rows and without a graph.

    Attributes
    ----------
    transport_map : Module
        The network.
    frame : Frame
        The coordinates in which it sees rows.
    noise : Noise
        What it is fed in draws.
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
