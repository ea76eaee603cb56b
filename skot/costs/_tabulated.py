"""Costs over fixed supports: a given matrix, and the separable cost of a regular grid."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skot.base import Component
from skot.costs._base import Cost
from skot.costs._resolve import check_cost
from skot.utils._sklearn import Interval
from skot.utils.tensors import to_tensor
from skot.utils.validation import check_points


class PrecomputedCost(Component):
    """A cost matrix between two fixed supports.

    Accepted by functions that work on weights, such as :func:`skot.solvers.sinkhorn`. Transports
    that map new points need a cost between points instead.

    Parameters
    ----------
    matrix : array-like of shape (n, m)
        Finite costs.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import PrecomputedCost
    >>> from skot.solvers import sinkhorn
    >>> matrix = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> sinkhorn(cost=PrecomputedCost(matrix), epsilon=0.1).plan.toarray().round(decimals=3)
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]], dtype=torch.float64)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"matrix": ["array-like", torch.Tensor]}

    def __init__(self, matrix: Any):
        self.matrix = matrix


class SupportCost(Component):
    """A cost between the points of two fixed supports.

    Parameters
    ----------
    x : array-like of shape (n, n_features)
        Source points.
    y : array-like of shape (m, n_features)
        Target points.
    cost : str or Cost, default="sqeuclidean"
        Ground cost, as :func:`check_cost` reads it.

    See Also
    --------
    PrecomputedCost : The matrix itself.
    GridCost : The points of a regular grid.

    Examples
    --------
    >>> from skot.costs import SupportCost
    >>> SupportCost([[0.0], [1.0]], [[0.0], [2.0]]).matrix()
    tensor([[0., 4.],
            [1., 1.]], dtype=torch.float64)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "x": ["array-like", torch.Tensor],
        "y": ["array-like", torch.Tensor],
        "cost": [str, Cost],
    }

    def __init__(self, x: Any, y: Any, cost: str | Cost = "sqeuclidean"):
        self.x = x
        self.y = y
        self.cost = cost

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        ValueError
            If the points are not finite matrices of the same width, or the cost is unknown.
        """
        super().validate()
        x, y = check_points(self.x, name="x"), check_points(self.y, name="y")
        if x.shape[1] != y.shape[1]:
            raise ValueError(f"x has {x.shape[1]} features, but y has {y.shape[1]} features.")
        check_cost(self.cost)

    def points(self) -> tuple[Tensor, Tensor]:
        """Both supports.

        Returns
        -------
        x, y : Tensor of shape (n, n_features), (m, n_features)
            Copies in float64.
        """
        return to_tensor(self.x, dtype=torch.float64), to_tensor(self.y, dtype=torch.float64)

    def matrix(self) -> Tensor:
        """Cost of every pair.

        Returns
        -------
        matrix : Tensor of shape (n, m)
            In float64. Memory O(n m).
        """
        return check_cost(self.cost).pairwise(*self.points())


class GridCost(Component):
    r"""Separable cost between the points of one regular grid in the unit cube.

    .. math:: c(x, y) = \sum_k |x_k - y_k|^q

    The kernel :math:`\exp(-c / \epsilon)` is a product of one small matrix per axis, so a pass
    over N points costs :math:`O(N \sum_k n_k)` operations instead of :math:`O(N^2)` [1]_.

    Parameters
    ----------
    shape : tuple of int
        Number of points along each axis, each at least 1. Axis k has its points evenly spaced
        on [0, 1]; weights are flattened in C order.
    power : float, default=2.0
        The exponent q.

    References
    ----------
    .. [1] Solomon, J. et al. (2015). Convolutional Wasserstein distances. ACM Transactions on
       Graphics, 34(4), Section 3.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import GridCost
    >>> GridCost((2, 2)).matrix()
    tensor([[0., 1., 1., 2.],
            [1., 0., 2., 1.],
            [1., 2., 0., 1.],
            [2., 1., 1., 0.]], dtype=torch.float64)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "shape": [tuple, list],
        "power": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, shape: tuple[int, ...], power: float = 2.0):
        self.shape = shape
        self.power = power

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        InvalidParameterError
            If a parameter has the wrong type.
        ValueError
            If an axis has no points.
        """
        super().validate()
        if not self.shape or any(not isinstance(n, Integral) or n < 1 for n in self.shape):
            raise ValueError(f"`shape` must hold positive integers. Got {self.shape!r}.")

    @property
    def size(self) -> int:
        """Number of points of the grid."""
        return int(np.prod(self.shape))

    def points(self) -> Tensor:
        """Return the coordinates of the grid.

        Returns
        -------
        points : Tensor of shape (size, n_axes)
            In float64, in the order of the weights.
        """
        axes = [torch.linspace(0.0, 1.0, n, dtype=torch.float64) for n in self.shape]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))

    def axis_costs(
        self, *, dtype: torch.dtype = torch.float64, device: torch.device | None = None
    ) -> list[Tensor]:
        """Cost between the coordinates of each axis.

        Parameters
        ----------
        dtype : torch.dtype, default=torch.float64
            Floating-point type.
        device : torch.device, default=None
            Where the matrices are made.

        Returns
        -------
        costs : list of Tensor of shape (n_k, n_k)
            One matrix per axis.
        """
        costs = []
        for n in self.shape:
            points = torch.linspace(0.0, 1.0, n, dtype=dtype, device=device)
            costs.append((points[:, None] - points).abs() ** self.power)
        return costs

    def scale(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean cost under the product of two measures, one axis at a time.

        Parameters
        ----------
        a, b : Tensor of shape (size,)
            Weights that sum to one.

        Returns
        -------
        scale : Tensor of shape ()
            The matrix is never formed.
        """
        a, b = a.reshape(tuple(self.shape)), b.reshape(tuple(self.shape))
        total = a.new_zeros(())
        for axis, cost in enumerate(self.axis_costs(dtype=a.dtype, device=a.device)):
            others = [k for k in range(a.ndim) if k != axis]
            along_a, along_b = (w.sum(others) if others else w for w in (a, b))
            total = total + along_a @ cost @ along_b
        return total

    def matrix(self) -> Tensor:
        """Full cost matrix, N x N for N grid points.

        Returns
        -------
        matrix : Tensor of shape (N, N)
            In float64. Memory grows with the square of the number of points.
        """
        total = torch.zeros(1, 1, dtype=torch.float64)
        for cost in self.axis_costs():
            n, k = len(total), len(cost)
            total = (total[:, None, :, None] + cost[None, :, None, :]).reshape(n * k, n * k)
        return total


def cost_matrix(cost: PrecomputedCost | SupportCost | GridCost) -> Tensor:
    """Cost matrix between two fixed supports.

    Parameters
    ----------
    cost : PrecomputedCost, SupportCost or GridCost
        Validated.

    Returns
    -------
    matrix : Tensor of shape (n, m)
        In float64, without a graph. Memory O(n m).

    Examples
    --------
    >>> from skot.costs import PrecomputedCost, cost_matrix
    >>> cost_matrix(PrecomputedCost([[0, 1]]))
    tensor([[0., 1.]], dtype=torch.float64)
    """
    if isinstance(cost, PrecomputedCost):
        return torch.as_tensor(cost.matrix, dtype=torch.float64).detach()
    return cost.matrix()
