"""First and second derivatives of a cost, summed under a plan tile by tile.

Each class answers two questions about the costs C of given inputs: how C changes along tangents of
the inputs (:meth:`directional`), and what the inputs get when weights on C are differentiated
(:meth:`accumulate`, then :meth:`gradients`). Costs that are an inner product of features take
matrix products only; all others are differentiated by autograd, one tile at a time. Shapes may have
an axis of problems in front, for clouds or matrices that have it.
"""

from typing import Any

import torch
from torch import Tensor

from skot.costs import Cost, PNorm


def cost_derivatives(cost: Any, points: tuple[Tensor, ...], tangents=None) -> Any:
    """Choose how costs are differentiated, as the module says.

    Points are two clouds, a matrix, or nothing, with a tangent (or None) for each. The cost is only
    looked at where there are two clouds.
    """
    if tangents is not None and all(tangent is None for tangent in tangents):
        tangents = None
    if not points:
        return NoDerivatives()
    if len(points) == 1:
        return MatrixDerivatives(points[0], None if tangents is None else tangents[0])
    x, y = (point.detach().double() for point in points)
    if tangents is not None:
        tangents = tuple(
            torch.zeros_like(point) if tangent is None else tangent.detach().double()
            for point, tangent in zip((x, y), tangents, strict=True)
        )
    factored = FactoredDerivatives.of(cost, x, y, tangents)
    return PairDerivatives(cost, x, y, tangents) if factored is None else factored


class NoDerivatives:
    """Of costs that are constants."""

    has_tangents = False

    def directional(self, rows: slice) -> Tensor:
        """Nothing moves."""
        raise AssertionError("Constants have no tangents.")

    def accumulate(self, rows: slice, weights: Tensor, plan: Tensor | None = None) -> None:
        """Nothing to sum."""

    def gradients(self) -> tuple[Tensor, ...]:
        """Nothing."""
        return ()


class MatrixDerivatives:
    """Of costs given as a matrix, (n, m), in a direction of that shape, or None."""

    def __init__(self, matrix: Tensor, tangent: Tensor | None):
        self._total = torch.zeros_like(matrix.detach(), dtype=torch.float64)
        self._tangent, self.has_tangents = tangent, tangent is not None

    def directional(self, rows: slice) -> Tensor:
        """Rows of the tangent, shape (r, m)."""
        assert self._tangent is not None
        return self._tangent[..., rows, :]

    def accumulate(self, rows: slice, weights: Tensor, plan: Tensor | None = None) -> None:
        """Add weights of shape (r, m); the costs are linear, so that the plan adds nothing."""
        self._total[..., rows, :] += weights

    def gradients(self) -> tuple[Tensor, ...]:
        """Gradient of the matrix, shape (n, m)."""
        return (self._total,)


class FactoredDerivatives:
    """Of costs ``row + column - <left, right>``, by products of the weights with the features.

    Points, (n, d) and (m, d), and the fields of their :class:`skot.costs.FactorizedCost` are in one
    graph; tangents are of the points, or None.
    """

    def __init__(self, x: Tensor, y: Tensor, factors, tangents):
        self._inputs, self._outputs = (x, y), list(factors)
        self._left, self._right, _, _ = (t.detach() for t in factors)
        self.has_tangents = tangents is not None
        if tangents is not None:
            self._outputs += _pushed_forward(factors, (x, y), tangents)
            left, right, self._d_row, self._d_column = (t.detach() for t in self._outputs[4:])
            self._both_left = torch.cat([left, self._left], -1)
            self._both_right = torch.cat([self._right, right], -1)
        self._totals = [torch.zeros_like(t.detach()) for t in self._outputs]

    @classmethod
    def of(cls, cost: Cost, x: Tensor, y: Tensor, tangents) -> "FactoredDerivatives | None":
        """Return them where the cost has features that autograd can follow, else None."""
        if cost.translation_invariant:
            # Features of clouds far from the origin would cancel.
            shift = y.mean(-2, keepdim=True)
            x, y = x - shift, y - shift
        with torch.enable_grad():
            x, y = x.detach().requires_grad_(True), y.detach().requires_grad_(True)
            # Features are of one point at a time: those of a batch come from one long cloud.
            factors = cost.factorize(x.flatten(0, -2), y.flatten(0, -2))
        if factors is None or not (factors.left.requires_grad and factors.right.requires_grad):
            return None
        # Terms that are constants get a graph of nothing.
        with torch.enable_grad():
            nothing = 0.0 * (x.sum() + y.sum())
            connected = [t if t.requires_grad else t + nothing for t in factors]
            if x.ndim == 3:
                connected = [t.unflatten(0, (len(x), -1)) for t in connected]
            return cls(x, y, connected, tangents)

    def directional(self, rows: slice) -> Tensor:
        """Change of the costs along the tangents, shape (r, m)."""
        change = self._d_row[..., rows, None] + self._d_column[..., None, :]
        return change.sub_(self._both_left[..., rows, :] @ self._both_right.mT)

    def accumulate(self, rows: slice, weights: Tensor, plan: Tensor | None = None) -> None:
        """Add ``<weights, C> + <plan, dC>``, with shapes (r, m), to what is differentiated."""
        left, right, row, column = self._totals[:4]
        left[..., rows, :] -= weights @ self._right
        right -= weights.mT @ self._left[..., rows, :]
        row[..., rows] += weights.sum(-1)
        column += weights.sum(-2)
        if plan is None:
            return
        k = left.shape[-1]
        d_left, d_right, d_row, d_column = self._totals[4:]
        product = plan @ self._both_right
        d_left[..., rows, :] -= product[..., :k]
        left[..., rows, :] -= product[..., k:]
        product = plan.mT @ self._both_left[..., rows, :]
        right -= product[..., :k]
        d_right -= product[..., k:]
        d_row[..., rows] += plan.sum(-1)
        d_column += plan.sum(-2)

    def gradients(self) -> tuple[Tensor, ...]:
        """Gradients of x and y, shape (n, d) and (m, d)."""
        outputs, totals = self._outputs, self._totals
        pairs = [(o, t) for o, t in zip(outputs, totals, strict=True) if o.requires_grad]
        outputs, totals = (list(part) for part in zip(*pairs, strict=True))
        return torch.autograd.grad(outputs, self._inputs, totals, materialize_grads=True)


class PairDerivatives:
    """Of any cost, by autograd through :meth:`skot.costs.Cost.pairwise`.

    Points have shape (n, d), (m, d), as their tangents, or None.
    """

    def __init__(self, cost: Cost, x: Tensor, y: Tensor, tangents):
        self._cost, self._tangents = cost, tangents
        self._x, self._y = x, y
        self._gradient_x, self._gradient_y = torch.zeros_like(x), torch.zeros_like(y)
        self.has_tangents = tangents is not None

    def directional(self, rows: slice) -> Tensor:
        """Change of the costs along the tangents, shape (r, m)."""
        with torch.enable_grad():
            inputs = self._leaves(rows)
            costs = self._costs(*inputs)
            tangents = (self._tangents[0][..., rows, :], self._tangents[1])
            return _pushed_forward([costs], inputs, tangents)[0].detach()

    def accumulate(self, rows: slice, weights: Tensor, plan: Tensor | None = None) -> None:
        """Add ``<weights, C> + <plan, dC>``, with shapes (r, m), to what is differentiated."""
        with torch.enable_grad():
            inputs = self._leaves(rows)
            costs = self._costs(*inputs, twice=plan is not None)
            total = (costs * weights).sum()
            if plan is not None:
                slopes = torch.autograd.grad(
                    costs, inputs, plan, create_graph=True, materialize_grads=True
                )
                tangents = (self._tangents[0][..., rows, :], self._tangents[1])
                total = total + sum(
                    (slope * tangent).sum() for slope, tangent in zip(slopes, tangents, strict=True)
                )
            part_x, part_y = torch.autograd.grad(total, inputs, materialize_grads=True)
        self._gradient_x[..., rows, :] += part_x
        self._gradient_y += part_y

    def gradients(self) -> tuple[Tensor, ...]:
        """Gradients of x and y, shape (n, d) and (m, d)."""
        return self._gradient_x, self._gradient_y

    def _leaves(self, rows: slice) -> tuple[Tensor, Tensor]:
        x, y = self._x[..., rows, :].detach(), self._y.detach()
        return x.requires_grad_(True), y.requires_grad_(True)

    def _costs(self, x: Tensor, y: Tensor, *, twice: bool = True) -> Tensor:
        """Costs that can be differentiated twice if need be, which `torch.cdist` cannot."""
        if not (twice and isinstance(self._cost, PNorm)):
            if x.ndim == 3:
                return torch.stack([self._cost.pairwise(*pair) for pair in zip(x, y, strict=True)])
            return self._cost.pairwise(x, y)
        difference = x[..., :, None, :] - y[..., None, :, :]
        # Where points coincide a norm has no derivative, and the derivative there counts as zero.
        apart = (difference != 0).any(-1)
        difference = torch.where(apart[..., None], difference, 1.0)
        distance = torch.linalg.vector_norm(difference, ord=self._cost.p, dim=-1)
        return torch.where(apart, distance**self._cost.power, 0.0)


def _pushed_forward(outputs, inputs, tangents) -> list[Tensor]:
    """Derivatives of outputs along tangents of the inputs, by transposing the transposed twice."""
    probes = [torch.ones_like(output).requires_grad_(True) for output in outputs]
    slopes = torch.autograd.grad(outputs, inputs, probes, create_graph=True, materialize_grads=True)
    return list(
        torch.autograd.grad(slopes, probes, tangents, create_graph=True, materialize_grads=True)
    )
