"""Kernel weak costs, and the kernels."""

from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import ClassVar, Self

import torch
from torch import Tensor

from skot.base import Component
from skot.losses._weak_cost import WeakCost
from skot.utils._sklearn import Interval

_POSITIVE = Interval(Real, 0, None, closed="neither")


class Kernel(Component, ABC):
    r"""Base class of kernels that depend on the distance, seen through their feature map u."""

    @abstractmethod
    def squared_feature_distance(self, distance: Tensor) -> Tensor:
        r"""Return :math:`|u(x) - u(y)|^2 = k(x, x) + k(y, y) - 2 k(x, y)`.

        Parameters
        ----------
        distance : Tensor
            Euclidean distances :math:`|x - y|`.

        Returns
        -------
        squared : Tensor
            Of the same shape.
        """


class DistanceKernel(Kernel):
    r"""Distance-induced kernel, with :math:`|u(x) - u(y)|^2 = |x - y|^\alpha`.

    Parameters
    ----------
    power : float, default=1.0
        The exponent :math:`\alpha`, between 0 and 2 (at 2 the kernel is linear, and no longer
        characteristic).

    References
    ----------
    .. [1] Sejdinovic, D., Sriperumbudur, B., Gretton, A., Fukumizu, K. (2013). Equivalence of
       distance-based and RKHS-based statistics in hypothesis testing. The Annals of Statistics.

    Examples
    --------
    >>> import torch
    >>> from skot.losses import DistanceKernel
    >>> DistanceKernel().squared_feature_distance(torch.tensor([2.0]))
    tensor([2.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "power": [Interval(Real, 0, 2, closed="neither")]
    }

    def __init__(self, power: float = 1.0):
        self.power = power

    def squared_feature_distance(self, distance: Tensor) -> Tensor:
        if self.power == 1:
            return distance
        # Powers below one have no derivative at zero, where samples that agree are.
        positive = distance.clamp_min(torch.finfo(distance.dtype).tiny) ** self.power
        return torch.where(distance > 0, positive, 0.0)


class GaussianKernel(Kernel):
    r"""Gaussian kernel :math:`k(x, y) = \exp(-|x - y|^2 / (2 h^2))`.

    Parameters
    ----------
    bandwidth : float, default=1.0
        The bandwidth h, in the units of the data.

    Examples
    --------
    >>> import torch
    >>> from skot.losses import GaussianKernel
    >>> GaussianKernel().squared_feature_distance(torch.tensor([0.0]))
    tensor([0.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"bandwidth": [_POSITIVE]}

    def __init__(self, bandwidth: float = 1.0):
        self.bandwidth = bandwidth

    def squared_feature_distance(self, distance: Tensor) -> Tensor:
        return -2.0 * torch.expm1(-0.5 * (distance / self.bandwidth).square())


class LaplacianKernel(Kernel):
    r"""Laplacian kernel :math:`k(x, y) = \exp(-|x - y| / h)`.

    Parameters
    ----------
    bandwidth : float, default=1.0
        The bandwidth h, in the units of the data.

    Examples
    --------
    >>> import torch
    >>> from skot.losses import LaplacianKernel
    >>> LaplacianKernel().squared_feature_distance(torch.tensor([0.0]))
    tensor([0.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"bandwidth": [_POSITIVE]}

    def __init__(self, bandwidth: float = 1.0):
        self.bandwidth = bandwidth

    def squared_feature_distance(self, distance: Tensor) -> Tensor:
        return -2.0 * torch.expm1(-distance / self.bandwidth)


class WeakKernel(WeakCost):
    r"""The weak quadratic cost in the feature space of a kernel [1]_.

    .. math::

        C(x, \mu) = \frac{1}{2} E_y |u(x) - u(y)|^2
        - \frac{\gamma}{4} E_{y, y'} |u(y) - u(y')|^2,

    with the feature map u of the kernel and independent y, y' from :math:`\mu`. A characteristic
    kernel makes it strictly convex in :math:`\mu` for :math:`\gamma > 0`: the optimal plan is
    unique, and training does not wander among fake solutions as it may with
    :class:`WeakQuadratic`.

    Parameters
    ----------
    gamma : float, default=1.0
        Weight of the spread, at least 0.
    kernel : Kernel, default=None
        :class:`DistanceKernel`, :class:`GaussianKernel` or :class:`LaplacianKernel`. None is
        ``DistanceKernel()``.
    warmup : int, default=0
        Number of iterations over which gamma grows from 0 in training.

    See Also
    --------
    WeakQuadratic : The weak cost of a linear kernel.

    References
    ----------
    .. [1] Korotin, A., Selikhanovych, D., Burnaev, E. (2023). Kernel neural optimal transport.
       ICLR, Equation 12.

    Examples
    --------
    >>> import torch
    >>> from skot.losses import WeakKernel
    >>> x, y = torch.zeros(1, 1), torch.tensor([[[-1.0], [1.0]]])
    >>> WeakKernel(gamma=0.5).evaluate(x, y)  # 1 / 2 - 2 gamma / 4
    tensor([0.2500])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "gamma": [Interval(Real, 0, None, closed="left")],
        "kernel": [Kernel, None],
        "warmup": [Interval(Integral, 0, None, closed="left")],
    }
    _default_components: ClassVar[dict] = {"kernel": DistanceKernel}

    invariance = "common"

    def __init__(self, gamma: float = 1.0, kernel: Kernel | None = None, warmup: int = 0):
        self.gamma = gamma
        self.kernel = kernel
        self.warmup = warmup

    @property
    def splits_mass(self) -> bool:  # type: ignore[override]
        """Whether gamma is positive."""
        return self.gamma > 0

    def evaluate(self, x: Tensor, y: Tensor) -> Tensor:
        kernel = DistanceKernel() if self.kernel is None else self.kernel
        distance = torch.linalg.vector_norm(y - x[:, None], dim=2)
        cost = 0.5 * kernel.squared_feature_distance(distance).mean(dim=1)
        if self.gamma == 0:
            return cost
        i, j = torch.triu_indices(y.shape[1], y.shape[1], offset=1, device=y.device)
        spread = torch.linalg.vector_norm(y[:, i] - y[:, j], dim=2)
        return cost - 0.25 * self.gamma * kernel.squared_feature_distance(spread).mean(dim=1)

    def at(self, iteration: int) -> Self:
        """Return the cost with the gamma of this iteration.

        Parameters
        ----------
        iteration : int
            Number of iterations done.

        Returns
        -------
        cost : WeakKernel
            Itself once gamma has grown up.
        """
        if iteration >= self.warmup:
            return self
        return type(self)(gamma=self.gamma * iteration / self.warmup, kernel=self.kernel)
