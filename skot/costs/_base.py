"""The interface of a ground cost, and the two quantities every cost gives for free.

A cost says how much it takes to move one unit of mass from ``x`` to ``y``. One method is enough
to plug a new one into every solver (:meth:`Cost.pairwise`); each further method that a cost
overrides makes something faster or possible:

* :meth:`Cost.factorize`: a cost that is an inner product of features is evaluated by one matrix
  product per tile;
* :meth:`Cost.standardize`: invariances of the cost, used to solve in well-scaled coordinates;
* :meth:`Cost.twist`: the inverse of ``y -> grad_x c(x, y)``, which turns an averaged gradient
  into a map;
* :meth:`Cost.interpolate`: where mass is on its way, for costs of points that are not joined by
  straight lines.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from skot.base import Component
from skot.numerics.medians import weighted_median
from skot.numerics.subsample import spread_rows
from skot.numerics.tiles import row_tiles
from skot.utils._brief import brief_repr

#: Rows a side of a median cost: a quarter of a million pairs fix it to less than a per cent.
_MEDIAN_ROWS = 512


class FactorizedCost(NamedTuple):
    """A cost matrix ``row[:, None] + column[None, :] - left @ right.T``, never formed.

    Attributes
    ----------
    left : Tensor of shape (n, k)
        Features of the source points.
    right : Tensor of shape (m, k)
        Features of the target points.
    row : Tensor of shape (n,)
        Terms of the source points alone.
    column : Tensor of shape (m,)
        Terms of the target points alone.
    """

    left: Tensor
    right: Tensor
    row: Tensor
    column: Tensor

    def __repr__(self) -> str:
        return brief_repr(self)


class StandardizedPair(NamedTuple):
    """Two clouds in coordinates where the cost is well scaled.

    ``cost(x_old, y_old) = scale * cost(x, y) + row[:, None] + column[None, :]``.

    Attributes
    ----------
    x : Tensor of shape (n, n_features)
        Source points in the new coordinates.
    y : Tensor of shape (m, n_features)
        Target points in the new coordinates.
    scale : float
        Factor of the cost.
    row : Tensor of shape (n,)
        What the old cost has on top, for each source point.
    column : Tensor of shape (m,)
        What it has on top for each target point.
    """

    x: Tensor
    y: Tensor
    scale: float
    row: Tensor
    column: Tensor

    def __repr__(self) -> str:
        return brief_repr(self)


class Cost(Component):
    """Base class of ground costs.

    A subclass stores its hyper-parameters in ``__init__`` and implements :meth:`pairwise` with
    differentiable torch operations.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import Cost
    >>> class Chebyshev(Cost):
    ...     def pairwise(self, x, y):
    ...         return (x[:, None] - y[None]).abs().amax(-1)
    >>> Chebyshev().pairwise(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]))
    tensor([[3.]])
    """

    _remedy = (
        "Of a function, make a subclass of skot.costs.Cost whose method pairwise(x, y) returns the "
        "costs of all pairs, a tensor of shape (n, m). A matrix of costs between fixed points is "
        "skot.costs.PrecomputedCost(matrix), for skot.solvers.sinkhorn(cost=..., a=..., b=...) and "
        "MetaOTRegressor: it knows nothing of new rows."
    )
    #: Whether ``c(x + t, y + t) = c(x, y)``: then points are taken near the origin first, which
    #: keeps the digits of clouds that are far from it.
    translation_invariant = False
    #: Whether the cost is a multiple of ``|x - y|^2``, whose optimal maps are gradients.
    is_quadratic = False

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """Cost of every pair.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Source points.
        y : Tensor of shape (m, n_features)
            Target points.

        Returns
        -------
        cost : Tensor of shape (n, m)
            ``cost[i, j] = c(x[i], y[j])``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement pairwise.")

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """Cost of every row of one cloud to the same row of the other.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Source points.
        y : Tensor of shape (n, n_features)
            Target points.

        Returns
        -------
        cost : Tensor of shape (n,)
            ``cost[i] = c(x[i], y[i])``. The base class asks :meth:`pairwise` for one pair at a
            time, vectorised by `torch.vmap`.
        """
        return torch.vmap(lambda a, b: self.pairwise(a[None], b[None])[0, 0])(x, y)

    def factorize(self, x: Tensor, y: Tensor) -> FactorizedCost | None:
        """Write the cost matrix as an inner product of features, if the cost is one.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Source points.
        y : Tensor of shape (m, n_features)
            Target points.

        Returns
        -------
        factors : FactorizedCost or None
            ``None`` when the cost has no such form.
        """
        return None

    def standardize(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> StandardizedPair:
        """Move both clouds to coordinates in which the cost is well scaled.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Source points.
        y : Tensor of shape (m, n_features)
            Target points.
        a : Tensor of shape (n,)
            Source weights, summing to one.
        b : Tensor of shape (m,)
            Target weights, summing to one.

        Returns
        -------
        pair : StandardizedPair
            The points, and how the cost of the old points follows from that of the new ones.
            The base class changes nothing.
        """
        return StandardizedPair(x, y, 1.0, x.new_zeros(len(x)), y.new_zeros(len(y)))

    def scale(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> float:
        """Mean cost under the product of the two measures, the unit of relative epsilons.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Source points.
        y : Tensor of shape (m, n_features)
            Target points.
        a : Tensor of shape (n,)
            Source weights, summing to one.
        b : Tensor of shape (m,)
            Target weights, summing to one.

        Returns
        -------
        scale : float
            ``sum_ij a_i b_j c(x_i, y_j)``, summed tile by tile (the matrix is never formed).
        """
        total = 0.0
        for rows in row_tiles(len(x), len(y)):
            total += float(a[rows] @ (self.pairwise(x[rows], y) @ b))
        return total

    def median_scale(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> float:
        """Median cost under the product of the two measures, which few far rows do not move.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Source points.
        y : Tensor of shape (m, n_features)
            Target points.
        a : Tensor of shape (n,)
            Source weights, summing to one.
        b : Tensor of shape (m,)
            Target weights, summing to one.

        Returns
        -------
        scale : float
            Weighted median of ``c(x_i, y_j)``, over at most 512 rows a side, evenly spaced.
        """
        x, y, a, b = (spread_rows(part, _MEDIAN_ROWS) for part in (x, y, a, b))
        costs = self.pairwise(x, y).reshape(-1, 1)
        return float(weighted_median(costs, torch.outer(a, b).reshape(-1)))

    def twist(self, x: Tensor, gradient: Tensor) -> Tensor:
        r"""Solve :math:`\nabla_x c(x, y) = p` for y, row by row.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Points.
        gradient : Tensor of shape (n, n_features)
            Gradients p.

        Returns
        -------
        y : Tensor of shape (n, n_features)
            The points reached.

        Raises
        ------
        NotImplementedError
            For a cost whose gradient does not determine y, so that no transport map follows from
            its potentials.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no twist: its gradient does not determine the target "
            "point, so a transport map cannot be read off the potentials."
        )

    def barycenter(self, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        r"""Average targets in the sense of the cost.

        .. math:: T(x_i) = \mathrm{twist}\Big(x_i, \sum_j w_{ij} \nabla_x c(x_i, y_j)\Big)

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Points to map.
        y : Tensor of shape (m, n_features)
            Targets.
        weights : Tensor of shape (n, m)
            Row-wise probabilities.

        Returns
        -------
        mapped : Tensor of shape (n, n_features)
            For the squared Euclidean cost, the weighted mean of the targets.

        Raises
        ------
        NotImplementedError
            If the cost has no twist.
        """
        return self.twist(x, self._mean_gradient(x, y, weights))

    def debiased_barycenter(
        self,
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        own: Tensor,
        own_weights: Tensor,
        residual: float,
    ) -> Tensor:
        r"""Average targets, and add what a point differs from the average of its own sample.

        .. math:: T(x_i) = \mathrm{twist}\Big(x_i, \sum_j w_{ij} \nabla_x c(x_i, y_j)
            - r \sum_k v_{ik} \nabla_x c(x_i, z_k)\Big)

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Points to map.
        y : Tensor of shape (m, n_features)
            Targets.
        weights : Tensor of shape (n, m)
            Row-wise probabilities w.
        own : Tensor of shape (k, n_features)
            Points z of the sample from which the points to map come.
        own_weights : Tensor of shape (n, k)
            Row-wise probabilities v.
        residual : float
            The factor r.

        Returns
        -------
        mapped : Tensor of shape (n, n_features)
            For the squared Euclidean cost, the weighted mean of the targets plus r times the
            difference of the point and the weighted mean of its sample.

        Raises
        ------
        NotImplementedError
            If the cost has no twist.
        """
        gradient = self._mean_gradient(x, y, weights)
        return self.twist(x, gradient - residual * self._mean_gradient(x, own, own_weights))

    def _mean_gradient(self, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """Return the gradients in x (n, d), averaged by weights (n, m) over targets (m, d)."""
        # Differentiating the weighted sum with fixed weights averages the gradients without an
        # (n, m, n_features) array for every cost.
        with torch.inference_mode(False), torch.enable_grad():
            point = x.clone().requires_grad_(True)
            averaged = (self.pairwise(point, y.clone()) * weights.clone()).sum()
            (gradient,) = torch.autograd.grad(averaged, point)
        return gradient

    def interpolate(self, x: Tensor, y: Tensor, t: float) -> Tensor:
        r"""Say where mass is at a time of its way, row by row: on the path of least cost.

        For a convex function of the difference, :math:`c(x, y) = h(x - y)`, the path is the
        straight line :math:`(1 - t)\, x + t\, y` [1]_, and the base class returns that if
        `translation_invariant`.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Points at time 0.
        y : Tensor of shape (n, n_features)
            Points at time 1.
        t : float
            Time, from 0 to 1.

        Returns
        -------
        points : Tensor of shape (n, n_features)
            Points at time t.

        Raises
        ------
        NotImplementedError
            For a cost whose paths are not known.

        References
        ----------
        .. [1] McCann, R. (1997). A convexity principle for interacting gases. Advances in
           Mathematics, 128(1), 153-179.
        """
        if not self.translation_invariant:
            raise NotImplementedError(
                f"{type(self).__name__} does not say on which paths mass moves: it depends on more "
                "than y - x, so that they need not be straight. Implement interpolate(x, y, t)."
            )
        return torch.lerp(x, y, t)
