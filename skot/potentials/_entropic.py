"""Kantorovich potentials that can be evaluated, and turned into maps, anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from skot.costs import Cost
from skot.numerics.softmax import softmax_tile
from skot.numerics.tiles import row_tiles
from skot.utils._brief import brief_repr
from skot.utils._pickling import packed, unpacked

#: Rows farther from the support than this many times its size are moved in along their ray:
#: only their direction decides where they go, and their costs would overflow. A cost that is
#: not an inner product has to be evaluated on the row itself, and cancels much earlier.
_FAR_FACTORIZED, _FAR_EVALUATED = 1e100, 1e7


@dataclass(frozen=True)
class EntropicPotentials:
    r"""Potentials of an entropic problem between two point clouds.

    Off the points of the problem they are extended by their optimality conditions,

    .. math:: f(x) = -\epsilon \log \sum_j b_j \exp\big((g_j - c(x, y_j)) / \epsilon\big)

    and the same with the roles swapped for g.

    Attributes
    ----------
    x, y : Tensor of shape (n, n_features), (m, n_features)
        Source and target points.
    a, b : Tensor of shape (n,), (m,)
        Weights that sum to one.
    f, g : Tensor of shape (n,), (m,)
        Potentials.
    cost : Cost
        Ground cost.
    epsilon : float
        Regularisation, in the units of the cost.
    """

    x: Tensor
    y: Tensor
    a: Tensor
    b: Tensor
    f: Tensor
    g: Tensor
    cost: Cost
    epsilon: float

    __repr__ = brief_repr

    @property
    def dual_value(self) -> float:
        r"""Dual value :math:`\langle a, f \rangle + \langle b, g \rangle`."""
        return float(self.a @ self.f + self.b @ self.g)

    def source_potential(self, x: Tensor) -> Tensor:
        """Evaluate f.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Any points.

        Returns
        -------
        f : Tensor of shape (n_rows,)
            Memory O(n_rows + m).
        """
        g = self.g + self.epsilon * self.b.log()
        return _softmin(x.to(self.x), self.y, g, self.cost, self.epsilon)

    def target_potential(self, y: Tensor) -> Tensor:
        """Evaluate g.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_features)
            Any points.

        Returns
        -------
        g : Tensor of shape (n_rows,)
            Memory O(n_rows + n).
        """
        f = self.f + self.epsilon * self.a.log()
        return _softmin(y.to(self.y), self.x, f, self.cost, self.epsilon)

    def transport(self, x: Tensor, class_cost: tuple[Tensor, Tensor] | None = None) -> Tensor:
        r"""Entropic map: average the targets of each row in the sense of the cost.

        The weights of row x are the softmax over j of
        :math:`(g_j + \epsilon \log b_j - c(x, y_j)) / \epsilon`.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Any finite points.
        class_cost : tuple of (Tensor of shape (n_rows,), Tensor of shape (k, m)), default=None
            Class index of each row and the extra cost of each class at each target.

        Returns
        -------
        mapped : Tensor of shape (n_rows, n_features)
            Finite. Memory O(n_rows + m).

        Raises
        ------
        NotImplementedError
            If the cost has no twist.
        """
        g = self.g + self.epsilon * self.b.log()
        return _average(x.to(self.x), self.y, g, self.cost, self.epsilon, class_cost)

    def weights(
        self, x: Tensor, class_cost: tuple[Tensor, Tensor] | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Form the weights over which :meth:`transport` averages a few rows at a time.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Any finite points.
        class_cost : tuple of (Tensor of shape (n_rows,), Tensor of shape (k, m)), default=None
            Class index of each row and the extra cost of each class at each target.

        Yields
        ------
        rows : slice
            Which points.
        weights : Tensor of shape (len(rows), m)
            Row-wise probabilities.
        """
        g = self.g + self.epsilon * self.b.log()
        shift = origin_of(self.y, self.cost)
        x, y = x.to(self.x) - shift, self.y - shift
        for tile in logit_tiles(x, y, g, self.cost, self.epsilon, class_cost):
            yield tile.rows, softmax_tile(tile.logits)[0]

    def swapped(self) -> "EntropicPotentials":
        """Return the potentials from target to source, for a symmetric cost.

        Returns
        -------
        potentials : EntropicPotentials
            Of the same tensors.
        """
        return replace(self, x=self.y, y=self.x, a=self.b, b=self.a, f=self.g, g=self.f)

    def inverse(self, y: Tensor) -> Tensor:
        """Entropic map in the other direction, for a symmetric cost.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_features)
            Any finite points.

        Returns
        -------
        mapped : Tensor of shape (n_rows, n_features)
            Finite. Memory O(n_rows + n).

        Raises
        ------
        NotImplementedError
            If the cost has no twist.
        """
        f = self.f + self.epsilon * self.a.log()
        return _average(y.to(self.y), self.x, f, self.cost, self.epsilon, None)

    def plan_tiles(
        self, class_cost: tuple[Tensor, Tensor] | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Form the plan of the problem a few rows at a time.

        Parameters
        ----------
        class_cost : tuple of (Tensor of shape (n,), Tensor of shape (k, m)), default=None
            Class index of each source point and the extra cost of each class at each target.

        Yields
        ------
        rows : slice
            Which source points.
        tile : Tensor of shape (len(rows), m)
            Their rows of the plan.
        """
        g = self.g + self.epsilon * self.b.log()
        shift = origin_of(self.y, self.cost)
        x, y = self.x - shift, self.y - shift
        for tile in logit_tiles(x, y, g, self.cost, self.epsilon, class_cost):
            weights, _ = softmax_tile(tile.logits)
            # The softmax cuts exponents where they would cost time: no mass is said once more.
            yield tile.rows, torch.where(self.b > 0, weights * self.a[tile.rows, None], 0.0)

    def to(self, device: torch.device | str) -> "EntropicPotentials":
        """Move to a device.

        Parameters
        ----------
        device : torch.device or str
            Where to.

        Returns
        -------
        potentials : EntropicPotentials
            A copy if the device is another one.
        """
        tensors = {name: getattr(self, name).to(device) for name in ("x", "y", "a", "b", "f", "g")}
        return replace(self, **tensors)

    def __getstate__(self):
        # A pickle made after a fit on an accelerator must load on a machine without one.
        return packed(dict(self.to("cpu").__dict__))

    def __setstate__(self, state):
        self.__dict__.update(unpacked(state))


class LogitTile(NamedTuple):
    """A few rows and their logits, in coordinates near the support."""

    rows: slice
    points: Tensor
    logits: Tensor
    constant: Tensor


def logit_tiles(
    x: Tensor, y: Tensor, g: Tensor, cost: Cost, epsilon: float, class_cost=None
) -> Iterator[LogitTile]:
    """Logits ``(g_j - c(x_i, y_j)) / epsilon`` up to a constant per row, a few rows at a time."""
    factorized = cost.factorize(x[:1], y) is not None
    if class_cost is not None:
        labels, table = (part.to(y.device) for part in class_cost)
    for rows in row_tiles(len(x), len(y)):
        points = x[rows]
        if cost.translation_invariant:
            points = _pull_in(points, y, _FAR_FACTORIZED if factorized else _FAR_EVALUATED)
        factors = cost.factorize(points, y)
        if factors is None:
            logits = (g - cost.pairwise(points, y)) / epsilon
            constant = points.new_zeros(len(points))
        else:
            left, right, constant, column = factors
            logits = torch.addmm((g - column) / epsilon, left / epsilon, right.T)
        if class_cost is not None:
            logits -= table[labels[rows]] / epsilon
        yield LogitTile(rows, points, logits, constant)


def _softmin(x: Tensor, y: Tensor, g: Tensor, cost: Cost, epsilon: float) -> Tensor:
    shift = origin_of(y, cost)
    values = torch.empty_like(x[:, 0])
    for tile in logit_tiles(x - shift, y - shift, g, cost, epsilon):
        values[tile.rows] = tile.constant - epsilon * torch.logsumexp(tile.logits, 1)
    return values


def _average(x: Tensor, y: Tensor, g: Tensor, cost: Cost, epsilon: float, class_cost) -> Tensor:
    shift = origin_of(y, cost)
    y = y - shift
    mapped = torch.empty_like(x)
    for tile in logit_tiles(x - shift, y, g, cost, epsilon, class_cost):
        weights, _ = softmax_tile(tile.logits)
        mapped[tile.rows] = cost.barycenter(tile.points, y, weights) + shift
    return mapped


def origin_of(y: Tensor, cost: Cost) -> Tensor:
    """Origin in which the expanded form of the cost does not cancel."""
    return y[0] + (y - y[0]).mean(0) if cost.translation_invariant else torch.zeros_like(y[0])


def _pull_in(points: Tensor, y: Tensor, limit: float) -> Tensor:
    """Move rows that are absurdly far from the support closer, along their ray."""
    size = y.abs().max()
    farthest = limit * torch.where(size > 0, size, 1.0)
    largest = points.abs().amax(1, keepdim=True)
    return torch.where(largest > farthest, points * (farthest / largest), points)
