"""A Lagrangian in the coordinates and units of the networks."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from skot.utils.tensors import is_wide

#: Units are at least this, in those of kinetic energy: a metric of zeros has no unit.
_LEAST_UNIT = 1e-12


@dataclass(frozen=True)
class FramedLagrangian:
    r"""The Lagrangian :math:`\tilde L(x, v, t) = L(m + s x, s v, t) / u`.

    Here m is the `mean` (n_features,), s the `length`, and u the `unit`, in the units of the
    action.
    """

    lagrangian: Any
    mean: Tensor
    length: float
    unit: float = 1.0

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """Evaluate it; see :class:`~skot.costs.Lagrangian`."""
        if self._is_wide and x.dtype != torch.float64:
            return self(x.double(), v.double(), t.double()).to(x.dtype)
        position = torch.add(self.mean.to(x), x, alpha=self.length)
        return self.lagrangian(position, self.length * v, t) / self.unit

    @cached_property
    def _is_wide(self) -> bool:
        """Whether positions, or actions, in their own units do not fit into single precision."""
        distance = float(self.mean.abs().max())
        return is_wide(distance, self.length) or is_wide(0.0, self.unit)

    def to(self, device: torch.device | str) -> "FramedLagrangian":
        """Return a copy on a device."""
        return replace(self, mean=self.mean.to(device))

    def annealed(self, strength: float, sharpness: float) -> "FramedLagrangian":
        """Soften its barriers, if it has some; see :class:`~skot.costs.Lagrangian`."""
        if (strength, sharpness) == (1.0, 1.0) or not hasattr(self.lagrangian, "annealed"):
            return self
        softened = self.lagrangian.annealed(strength, sharpness)
        return self if softened is self.lagrangian else replace(self, lagrangian=softened)


def cost_unit(x: Tensor, y: Tensor, costs: Tensor) -> float:
    """Return the mean cost in units of the mean kinetic energy of straight lines."""
    kinetic = 0.5 * (x - y).square().sum(1)
    unit = float(costs.mean()) / max(float(kinetic.mean()), _LEAST_UNIT)
    return unit if _LEAST_UNIT < unit < 1.0 / _LEAST_UNIT else 1.0
