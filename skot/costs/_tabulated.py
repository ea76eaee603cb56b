"""Costs over fixed supports: a given matrix, and the separable cost of a regular grid."""

from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skot.base import Component
from skot.costs._base import Cost
from skot.costs._pointwise import SquaredEuclidean
from skot.costs._resolve import check_cost
from skot.utils._fingerprint import fingerprint
from skot.utils._sklearn import Interval
from skot.utils.tensors import n_dimensions, to_tensor
from skot.utils.validation import check_points


class FixedSupportCost(Component, ABC):
    """Base class of the costs between two fixed supports: problems are weights alone.

    What solvers do depends on a few facts, which each cost knows of itself.
    """

    _remedy = (
        "Supports are fixed here: pass PrecomputedCost(matrix) for a matrix of costs, or "
        "SupportCost(x, y, cost) for the points and a cost between them, a skot.costs.Cost."
    )
    #: Whether the cost is a sum over the axes of a grid, so that the kernel is a product.
    is_separable = False

    @abstractmethod
    def _table(self) -> Tensor:
        """Cost of every pair, in float64 and without a graph, shape (n, m)."""

    @property
    def support_sizes(self) -> tuple[int, int]:
        """Numbers of source and target points."""
        n, m = self._table().shape
        return n, m

    @property
    def is_batch(self) -> bool:
        """Whether it holds the costs of several problems, each between supports of its own."""
        return False

    @property
    def ground_cost(self) -> Cost | None:
        """The cost between points that was given with the points; None where there was none."""
        return None

    def squared_euclidean_points(self) -> tuple[Tensor, Tensor] | None:
        """Both supports, where the cost is the squared Euclidean one between their points.

        Returns
        -------
        points : tuple of (Tensor of shape (n, n_features), Tensor of shape (m, n_features)) or None
            In float64; None for other costs, and where there are no points.
        """
        return None

    def scale(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean cost under the product of two measures, from the smallest cost on.

        Parameters
        ----------
        a, b : Tensor of shape (n,), (m,)
            Weights that sum to one.

        Returns
        -------
        scale : Tensor of shape ()
            A constant that is added to all costs does not change it.

        Examples
        --------
        >>> import torch
        >>> from skot.costs import PrecomputedCost
        >>> half = torch.tensor([0.5, 0.5])
        >>> PrecomputedCost([[1.0, 3.0], [3.0, 1.0]]).scale(half, half)
        tensor(1.)
        """
        matrix = self._table().to(a)
        return a @ (matrix - matrix.min()) @ b

    def digest(self) -> str:
        """Digest of the cost and its supports, which tells whether another one is the same.

        Returns
        -------
        digest : str
            Equal for equal costs of the same class, in any process, whatever the kind of array
            that they came in.

        Examples
        --------
        >>> import numpy as np
        >>> from skot.costs import PrecomputedCost
        >>> cost = PrecomputedCost([[0, 1], [1, 0]])
        >>> cost.digest() == PrecomputedCost(1.0 - np.eye(2)).digest()
        True
        """
        return fingerprint("matrix", self._table())


class PrecomputedCost(FixedSupportCost):
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

    @property
    def is_batch(self) -> bool:
        """Whether it holds one matrix for each of several problems."""
        return n_dimensions(self.matrix) == 3

    def _table(self) -> Tensor:
        return torch.as_tensor(self.matrix, dtype=torch.float64).detach()


class SupportCost(FixedSupportCost):
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

    @property
    def support_sizes(self) -> tuple[int, int]:
        """Numbers of source and target points."""
        return len(self.x), len(self.y)

    @property
    def ground_cost(self) -> Cost:
        """The cost between the points, as a component."""
        return check_cost(self.cost)

    def points(self) -> tuple[Tensor, Tensor]:
        """Both supports.

        Returns
        -------
        x, y : Tensor of shape (n, n_features), (m, n_features)
            Copies in float64.
        """
        return to_tensor(self.x, dtype=torch.float64), to_tensor(self.y, dtype=torch.float64)

    def squared_euclidean_points(self) -> tuple[Tensor, Tensor] | None:
        """Both supports, where the cost is the squared Euclidean one.

        Returns
        -------
        points : tuple of (Tensor of shape (n, n_features), Tensor of shape (m, n_features)) or None
            In float64; None for other costs.
        """
        return self.points() if isinstance(self.ground_cost, SquaredEuclidean) else None

    def digest(self) -> str:
        """Digest of the ground cost and the points.

        Returns
        -------
        digest : str
            Equal for equal costs, in any process, whatever the kind of array of the points.
        """
        return fingerprint("points", self.ground_cost, *self.points())

    def matrix(self) -> Tensor:
        """Cost of every pair.

        Returns
        -------
        matrix : Tensor of shape (n, m)
            In float64. Memory O(n m).
        """
        return self.ground_cost.pairwise(*self.points())

    def _table(self) -> Tensor:
        return self.matrix()


class GridCost(FixedSupportCost):
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

    is_separable = True

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

    @property
    def support_sizes(self) -> tuple[int, int]:
        """Number of points of the grid, twice."""
        return self.size, self.size

    def points(self) -> Tensor:
        """Return the coordinates of the grid.

        Returns
        -------
        points : Tensor of shape (size, n_axes)
            In float64, in the order of the weights.
        """
        axes = [torch.linspace(0.0, 1.0, n, dtype=torch.float64) for n in self.shape]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))

    def squared_euclidean_points(self) -> tuple[Tensor, Tensor] | None:
        """Return the points of the grid, twice, where the power is 2.

        Returns
        -------
        points : tuple of two Tensors of shape (size, n_axes) or None
            In float64; None for other powers.
        """
        points = self.points() if self.power == 2 else None
        return None if points is None else (points, points)

    def digest(self) -> str:
        """Digest of the shape and the power.

        Returns
        -------
        digest : str
            Equal for equal costs, in any process.
        """
        return fingerprint("grid", [int(n) for n in self.shape], float(self.power))

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

    def _table(self) -> Tensor:
        return self.matrix()


def as_fixed_support_cost(cost: Any) -> FixedSupportCost:
    """Read a table of shape (n, m) or a cost: validated, but no clone, whose graph would be cut."""
    if not isinstance(cost, FixedSupportCost):
        cost = PrecomputedCost(cost)
    cost.validate()
    return cost


def check_fixed_support_cost(cost: Any) -> FixedSupportCost | None:
    """Return a validated clone; None stays None."""
    if cost is None:
        return None
    if isinstance(cost, str):
        raise ValueError(
            f"cost must be a PrecomputedCost, a SupportCost or a GridCost. Got {cost!r}, which has "
            "no supports: pass SupportCost(x, y, cost)."
        )
    cost = check_cost(cost, kind=(PrecomputedCost, SupportCost, GridCost))
    if isinstance(cost, PrecomputedCost):
        check_points(cost.matrix, name="cost matrix")
    return cost


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
    return cost._table()
