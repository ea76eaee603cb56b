r"""Riemannian metrics A(x), for `RiemannianKinetic`.

The length of a curve is :math:`\int_0^1 \sqrt{\dot\gamma^\top A(\gamma) \dot\gamma}\, dt`.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from skot.base import Component
from skot.costs._checks import finite_matrix, first_place, name_of


class MetricTensor(Component):
    """Base class of Riemannian metrics: symmetric positive definite matrices A(x).

    A subclass stores its hyper-parameters in ``__init__`` and implements ``__call__`` with
    differentiable torch operations; `quadratic_form` may be overridden where the matrix need not
    be formed.

    See Also
    --------
    RiemannianKinetic : The Lagrangian that a metric belongs to.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import MetricTensor
    >>> class Stretched(MetricTensor):
    ...     def __call__(self, x):
    ...         return torch.diag_embed(1.0 + x.square())
    >>> Stretched().quadratic_form(torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0, 2.0]]))
    tensor([17.])
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Matrix of the metric at each point.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Points.

        Returns
        -------
        matrix : Tensor of shape (..., n_features, n_features)
            Symmetric positive definite.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement __call__.")

    def quadratic_form(self, x: Tensor, v: Tensor) -> Tensor:
        """Squared length of each velocity.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Points.
        v : Tensor of shape (..., n_features)
            Velocities.

        Returns
        -------
        value : Tensor of shape (...,)
            ``v' A(x) v``.
        """
        return _contract(self(x), v)

    def in_domain(self, x: Tensor) -> Tensor:
        """Whether the metric is defined at each point.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Points.

        Returns
        -------
        inside : Tensor of bool, of shape (...,)
            True everywhere for the base class.
        """
        return torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)


class ConstantMetric(MetricTensor):
    r"""The same matrix everywhere, whose cost is half a squared Mahalanobis distance.

    .. math:: A(x) = A, \qquad c(x, y) = \tfrac12 (x - y)^\top A (x - y)

    Parameters
    ----------
    matrix : tuple of tuple of float, of shape (n_features, n_features)
        A, symmetric positive definite.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import ConstantMetric
    >>> ConstantMetric(((2.0, 1.0), (1.0, 2.0))).quadratic_form(torch.zeros(1, 2), torch.ones(1, 2))
    tensor([6.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"matrix": ["array-like"]}

    def __init__(self, matrix: Sequence[Sequence[float]]):
        self.matrix = matrix

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        InvalidParameterError
            If the matrix is not array-like.
        ValueError
            If it is not square, symmetric and positive definite.
        """
        super().validate()
        matrix = finite_matrix(self.matrix, name="matrix")
        if matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T, rtol=1e-9):
            raise ValueError(f"`matrix` must be square and symmetric. Got {self.matrix!r}.")
        smallest = np.linalg.eigvalsh(matrix)[0]
        if smallest <= 0:
            raise ValueError(
                f"`matrix` must be positive definite. Its smallest eigenvalue is {smallest:.6g}."
            )

    def __call__(self, x: Tensor) -> Tensor:
        return self._matrix_like(x).expand(*x.shape, x.shape[-1])

    def quadratic_form(self, x: Tensor, v: Tensor) -> Tensor:
        return ((v @ self._matrix_like(v)) * v).sum(-1)

    def _matrix_like(self, x: Tensor) -> Tensor:
        """The matrix (d, d) in the dtype and on the device of points (..., d)."""
        matrix = torch.tensor(np.asarray(self.matrix, dtype=np.float64)).to(x)
        if len(matrix) != x.shape[-1]:
            raise ValueError(
                f"The matrix of ConstantMetric has {len(matrix)} rows. Got points with"
                f" {x.shape[-1]} features."
            )
        return matrix


class ConformalMetric(MetricTensor):
    r"""A multiple of the identity that depends on the place.

    .. math:: A(x) = \lambda(x) I

    Parameters
    ----------
    factor : callable
        The function :math:`\lambda`, which takes points of shape (..., n_features) to positive
        values of shape (...,) by differentiable torch operations.

    See Also
    --------
    HyperbolicHalfPlane : The factor :math:`x_d^{-2}`.
    StereographicSphere : The factor :math:`4 / (1 + |x|^2)^2`.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import ConformalMetric
    >>> def factor(x):
    ...     return 1.0 + x[..., 0] ** 2
    >>> ConformalMetric(factor)(torch.tensor([2.0, 0.0]))
    tensor([[5., 0.],
            [0., 5.]])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"factor": [callable]}

    def __init__(self, factor: Callable[[Tensor], Tensor]):
        self.factor = factor

    def __call__(self, x: Tensor) -> Tensor:
        return _scaled_identity(self.factor(x), x)

    def quadratic_form(self, x: Tensor, v: Tensor) -> Tensor:
        return self.factor(x) * (v * v).sum(-1)


class HyperbolicHalfPlane(MetricTensor):
    r"""Poincaré half-plane, or half-space: hyperbolic geometry.

    .. math:: A(x) = \frac{1}{x_d^2} I, \qquad
              d(x, y) = \operatorname{arcosh}\Big(1 + \frac{\|x - y\|^2}{2 x_d y_d}\Big)

    Defined where the last coordinate :math:`x_d` is positive. Below :math:`10^{-6}` it counts as
    that number, so that a curve that leaves the domain has a huge action instead of none.

    See Also
    --------
    ConformalMetric : Any other factor of the identity.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import HyperbolicHalfPlane
    >>> HyperbolicHalfPlane().quadratic_form(torch.tensor([0.0, 0.5]), torch.tensor([1.0, 0.0]))
    tensor(4.)
    """

    def __call__(self, x: Tensor) -> Tensor:
        return _scaled_identity(x[..., -1].clamp(min=1e-6) ** -2, x)

    def quadratic_form(self, x: Tensor, v: Tensor) -> Tensor:
        return (v * v).sum(-1) / x[..., -1].clamp(min=1e-6) ** 2

    def in_domain(self, x: Tensor) -> Tensor:
        return x[..., -1] > 0


class StereographicSphere(MetricTensor):
    r"""Unit sphere in its stereographic chart.

    .. math:: A(x) = \frac{4}{(1 + \|x\|^2)^2} I, \qquad
              d(x, y) = 2 \arcsin \frac{\|x - y\|}{\sqrt{(1 + \|x\|^2) (1 + \|y\|^2)}}

    The origin is one pole, the other is at infinity.

    See Also
    --------
    ConformalMetric : Any other factor of the identity.
    SphereGeodesic : The same distance between unit vectors, in closed form.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import StereographicSphere
    >>> StereographicSphere().quadratic_form(torch.zeros(2), torch.tensor([1.0, 0.0]))
    tensor(4.)
    """

    def __call__(self, x: Tensor) -> Tensor:
        return _scaled_identity(4.0 / (1.0 + (x * x).sum(-1)) ** 2, x)

    def quadratic_form(self, x: Tensor, v: Tensor) -> Tensor:
        return 4.0 * (v * v).sum(-1) / (1.0 + (x * x).sum(-1)) ** 2


def quadratic_form(metric: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    """Squared lengths ``v' A(x) v`` of velocities (..., d) at points (..., d) under any metric."""
    method = getattr(metric, "quadratic_form", None)
    return _contract(metric(x), v) if method is None else method(x, v)


def check_metric(metric: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Raise where a metric is not symmetric positive definite at points (..., d), and say where."""
    name = f"The metric {name_of(metric)}"
    if isinstance(metric, MetricTensor):
        outside = ~metric.in_domain(x)
        if outside.any():
            raise ValueError(f"{name} is not defined {first_place(outside, x=x)}.")
    with torch.no_grad():
        matrix = metric(x)
    if not isinstance(matrix, Tensor):
        raise ValueError(f"{name} must return a tensor. Got {type(matrix).__name__}.")
    if matrix.shape != (*x.shape, x.shape[-1]):
        raise ValueError(
            f"{name} must return one matrix for each point, shape {(*x.shape, x.shape[-1])}, for"
            f" points of shape {tuple(x.shape)}. Got shape {tuple(matrix.shape)}."
        )
    bad = ~torch.isfinite(matrix).all(-1).all(-1)
    if bad.any():
        raise ValueError(f"{name} is not finite {first_place(bad, x=x)}.")
    difference = (matrix - matrix.mT).abs().amax((-2, -1))
    bad = difference > 1e3 * torch.finfo(matrix.dtype).eps * matrix.abs().amax((-2, -1))
    if bad.any():
        raise ValueError(f"{name} is not symmetric {first_place(bad, x=x)}.")
    # Cheaper than the eigenvalues, which are needed at one place only.
    bad = torch.linalg.cholesky_ex(matrix).info != 0
    if bad.any():
        smallest = float(torch.linalg.eigvalsh(matrix[bad][0].double())[0])
        raise ValueError(
            f"{name} is not positive definite {first_place(bad, x=x)}: its smallest eigenvalue"
            f" there is {smallest:.6g}."
        )


def _contract(matrix: Tensor, v: Tensor) -> Tensor:
    """Return ``v' A v`` for matrices (..., d, d) and vectors (..., d)."""
    return ((matrix @ v.unsqueeze(-1)).squeeze(-1) * v).sum(-1)


def _scaled_identity(factor: Tensor, x: Tensor) -> Tensor:
    """Multiples, of shape (...,), of the identity, of shape (..., d, d)."""
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return factor[..., None, None] * identity
