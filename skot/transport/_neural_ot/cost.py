"""A weak cost in the coordinates of the networks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skot.losses import WeakCost
from skot.numerics.subsample import spread_rows
from skot.potentials import Frame

#: Pairs of rows from which the unit of a cost is estimated.
_UNIT_ROWS = 1024


@dataclass(frozen=True)
class FramedCost:
    """Evaluates a cost on rows of a frame, in the cost's own unit there.

    Attributes
    ----------
    cost : WeakCost
        The cost.
    frame : Frame
        The coordinates.
    unit : float
        What the cost is divided by, so that it is of the size of half a squared distance in the
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
