"""What a network reads of a transport problem, and how its outputs become a potential."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from skot.costs import cost_matrix
from skot.numerics.linalg import gaussian_fit_potential
from skot.transport._meta_ot.aggregated import (
    AggregatedTargets,
    aggregate_targets,
    solve_aggregated,
)

#: Targets for each source from which target weights are pooled, and the lengths over which they
#: are, in units of the mean cost.
_MANY_TARGETS, _SCALES = 4, (0.2, 0.05, 0.0125)
#: Groups of targets for each source where the targets are gathered, and targets in a group, in the
#: mean, from which on they are; beyond so many groups the search for them takes minutes.
_GROUPS, _GROUP_SIZE, _MOST_GROUPS = 20, 4, 3000


@dataclass(frozen=True)
class DualCoordinates:
    r"""Conventions that make source potentials easy to learn.

    The network reads the weights of both measures, centred and scaled by one number a block, and
    writes a correction, in units of typical size, to what is known in closed form: for a squared
    Euclidean cost the potential between the Gaussians with the same moments, which it reads too.
    Where there are many more targets than sources, it reads how much target mass lies near each
    source, at three scales, instead of the target weights one by one. With still more of them, at
    least 80 for each of up to 150 sources, targets are gathered into 20 groups for each source, and
    what is known is the potential of that small problem, whatever the cost: its passes take at
    most a quarter of the time of those over the whole, and the network, which writes in units of
    `epsilon` then, corrects the rest.

    Attributes
    ----------
    points : tuple of (Tensor of shape (n, d), Tensor of shape (m, d)) or None
        The supports, where the cost is squared Euclidean and the Gaussian potential is used.
    pooling : Tensor of shape (m, k) or None
        What is read of the target weights: ``b @ pooling``; None for all of them.
    mean : Tensor of shape (n + m,) or (n + k,)
        Of what is read of the weights, over the problems of the first fit.
    spread : Tensor of the same shape
        Root mean square of the centred numbers, over the block of each.
    cost_scale : Tensor of shape ()
        Mean cost between independent points of the mean measures.
    epsilon : float
        Regularisation, in the units of the cost.
    aggregated : tuple of (Tensor of shape (n, n_groups), Tensor of shape (m,)) or None
        Costs of groups of targets, and the group of each; None where targets are not gathered.
    """

    points: tuple[Tensor, Tensor] | None
    pooling: Tensor | None
    mean: Tensor
    spread: Tensor
    cost_scale: Tensor
    epsilon: float
    aggregated: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, cost: Any, epsilon: float, a: Tensor, b: Tensor) -> Self:
        """Choose them for the cost and the first problems seen."""
        pooling = aggregated = None
        scale = cost.scale(a.mean(0), b.mean(0))
        scale = torch.where(scale > 0, scale, 1.0)
        n, m = cost.support_sizes
        if m > _MANY_TARGETS * n:
            matrix = cost_matrix(cost).to(a)
            pooling = torch.cat([(-matrix.T / (scale * s)).softmax(1) for s in _SCALES], 1)
            n_groups = _GROUPS * n
            if n_groups <= min(_MOST_GROUPS, m // _GROUP_SIZE):
                targets = aggregate_targets(matrix, b.mean(0), n_groups)
                aggregated = (targets.matrix, targets.groups)
        blocks = [a, b if pooling is None else b @ pooling]
        return cls(
            None if aggregated is not None else _quadratic_points(cost, a.device),
            pooling,
            torch.cat([block.mean(0) for block in blocks]),
            torch.cat([_spread(block) for block in blocks]),
            scale,
            float(epsilon),
            aggregated,
        )

    @property
    def n_inputs(self) -> int:
        """Numbers that the network reads."""
        return len(self.mean) + (0 if self.points is None else len(self.points[0]))

    def inputs(self, a: Tensor, b: Tensor, known: Tensor) -> Tensor:
        """Return the rows that the network reads, in float64."""
        rows = torch.cat([a, b if self.pooling is None else b @ self.pooling], 1)
        rows = (rows - self.mean) / self.spread
        if self.points is None:
            return rows
        return torch.cat([rows, known / (2.0 * self.cost_scale)], 1)

    def known(self, a: Tensor, b: Tensor) -> Tensor:
        """Return what is known of the source potential without a network: mean zero under a.

        The potential of the aggregated problem where there is one. Otherwise, for squared
        Euclidean costs with the means m and covariances A, B,
        (x - m_a)' (I - K) (x - m_a) + 2 (x - m_a)' (m_a - m_b), with the entropic map K between
        the centred Gaussians (Janati et al., 2020, Theorem 1); else zeros.
        """
        if self.aggregated is not None:
            targets = AggregatedTargets(*self.aggregated)
            return centred(solve_aggregated(targets, a, b, self.epsilon).f, a)
        if self.points is None:
            return torch.zeros_like(a)
        x, y = self.points
        # The target potential of the problem with the sides swapped is the source potential.
        return centred(gaussian_fit_potential(y, x, b, a, self.epsilon), a)

    @property
    def unit(self) -> Tensor:
        """Of what the network writes."""
        if self.aggregated is not None:
            return torch.full_like(self.cost_scale, self.epsilon)
        return (self.epsilon * self.cost_scale).sqrt()

    def to(self, device: torch.device | str) -> Self:
        """Return a copy on a device."""
        points, aggregated = (
            None if pair is None else (pair[0].to(device), pair[1].to(device))
            for pair in (self.points, self.aggregated)
        )
        pooling = None if self.pooling is None else self.pooling.to(device)
        moved = {name: getattr(self, name).to(device) for name in ("mean", "spread", "cost_scale")}
        return replace(self, points=points, pooling=pooling, aggregated=aggregated, **moved)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and numbers."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def centred(f: Tensor, a: Tensor) -> Tensor:
    """Potentials whose mean under the source is zero: they are known up to constants."""
    return f - (f * a).sum(1, keepdim=True)


def _quadratic_points(cost: Any, device: torch.device) -> tuple[Tensor, Tensor] | None:
    points = cost.squared_euclidean_points()
    return None if points is None else (points[0].to(device), points[1].to(device))


def _spread(block: Tensor) -> Tensor:
    """Root mean square of centred numbers, one for all columns."""
    spread = (block - block.mean(0)).square().mean().sqrt()
    return torch.where(spread > 0, spread, 1.0).expand(block.shape[1])


@dataclass(frozen=True)
class PlainCoordinates:
    """Standardised inputs and outputs, for a regression without a cost.

    Attributes
    ----------
    mean, scale : Tensor of shape (n_inputs,)
        Of the rows.
    target_mean, target_scale : Tensor of shape (n_outputs,)
        Of what is to be predicted.
    """

    mean: Tensor
    scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    @classmethod
    def of(cls, X: Tensor, y: Tensor) -> Self:
        """Take them from the first rows seen."""
        return cls(X.mean(0), _positive_std(X), y.mean(0), _positive_std(y))

    @property
    def n_inputs(self) -> int:
        """Numbers that the network reads."""
        return len(self.mean)

    def to(self, device: torch.device | str) -> Self:
        """Return a copy on a device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def _positive_std(rows: Tensor) -> Tensor:
    std = rows.std(0, correction=0)
    return torch.where(std > 0, std, 1.0)
