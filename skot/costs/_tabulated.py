"""Costs over fixed supports: a given matrix, and the separable cost of a regular grid."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skot.base import Component
from skot.utils._sklearn import Interval


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
