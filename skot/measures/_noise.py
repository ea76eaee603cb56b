"""What stochastic maps are fed."""

import math
from numbers import Integral
from typing import ClassVar

import torch
from torch import Generator, Tensor

from skot.base import Component
from skot.measures._references import REFERENCES, reference_sample
from skot.utils._sklearn import Interval, StrOptions


class Noise(Component):
    """Noise of mean zero and variance one, drawn anew in training and from a bank in inference.

    Parameters
    ----------
    distribution : {"normal", "uniform"}, default="normal"
        Of each feature, independently.
    bank_size : int, default=64
        Size of the fixed sample over which conditional means are taken. It is quasi-random and
        symmetric about zero, so that what is linear in the noise averages out exactly; an odd
        size is rounded up.

    Examples
    --------
    >>> import torch
    >>> from skot.measures import Noise
    >>> generator = torch.Generator().manual_seed(0)
    >>> Noise().draw(3, 5, 2, generator).shape
    torch.Size([3, 5, 2])
    >>> bool(Noise(bank_size=10).bank(2, generator).mean(dim=0).abs().max() < 1e-12)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "distribution": [StrOptions(set(REFERENCES))],
        "bank_size": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(self, distribution: str = "normal", bank_size: int = 64):
        self.distribution = distribution
        self.bank_size = bank_size

    def draw(self, n_rows: int, n_samples: int, n_features: int, generator: Generator) -> Tensor:
        """Draw independent noise for every row.

        Parameters
        ----------
        n_rows, n_samples, n_features : int
            Sizes.
        generator : torch.Generator
            Drawn from, and so advanced.

        Returns
        -------
        z : Tensor of shape (n_rows, n_samples, n_features)
            Float32, on the device of the generator.
        """
        size, device = (n_rows, n_samples, n_features), generator.device
        if self.distribution == "normal":
            return torch.randn(size, generator=generator, device=device)
        return _centred(torch.rand(size, generator=generator, device=device))

    def bank(self, n_features: int, generator: Generator) -> Tensor:
        """Draw the sample for inference.

        Parameters
        ----------
        n_features : int
            Width.
        generator : torch.Generator
            Source of the scrambling.

        Returns
        -------
        z : Tensor of shape (bank_size, n_features)
            Float64.
        """
        half = reference_sample(self.distribution, -(-self.bank_size // 2), n_features, generator)
        if self.distribution == "uniform":
            half = _centred(half)
        return torch.cat([half, -half])


def _centred(uniform: Tensor) -> Tensor:
    """From the unit interval to mean zero and variance one."""
    return math.sqrt(12.0) * (uniform - 0.5)
