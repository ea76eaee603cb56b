r"""Riemannian metrics of the plane under which motion in one direction is cheap.

Each is :math:`A = I - (1 - \kappa) e e^\top` for a field of unit vectors e. Squared lengths
:math:`v^\top A v` are evaluated as the sum of the squares across and along e: the difference
would lose the digits of a small price :math:`\kappa`.
"""

from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from skot.costs._riemannian import MetricTensor
from skot.utils._sklearn import Interval

_CHEAP = {"cheap": [Interval(Real, 0, 1, closed="right")]}


class CircleMetric(MetricTensor):
    r"""Motion along circles around the origin is cheap.

    .. math:: A(x) = I - (1 - \kappa) e e^\top, \qquad e = (-x_1, x_0) / \|x\|

    From [1]_; two features. In polar coordinates it is flat, of total angle
    :math:`2 \pi \sqrt\kappa`, so that for :math:`\Delta\theta \in [0, \pi]`

    .. math:: \tfrac12 d(x, y)^2 = \tfrac12 \big[r_x^2 + r_y^2
              - 2 r_x r_y \cos(\sqrt\kappa\, \Delta\theta)\big].

    Parameters
    ----------
    cheap : float, default=1e-3
        The price :math:`\kappa` along the circles, in (0, 1].

    Notes
    -----
    At the origin the direction is not defined: the metric goes over smoothly to the identity
    within a distance of about :math:`10^{-6}`.

    References
    ----------
    .. [1] Scarvelis, C. and Solomon, J. (2023). Riemannian metric learning via optimal transport.
       ICLR.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import CircleMetric
    >>> CircleMetric(cheap=0.25)(torch.tensor([2.0, 0.0])).round(decimals=4)
    tensor([[1.0000, 0.0000],
            [0.0000, 0.2500]])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = _CHEAP

    def __init__(self, cheap: float = 1e-3):
        self.cheap = cheap

    def __call__(self, x: Tensor) -> Tensor:
        x0, x1 = _plane(self, x)
        squared = x0 * x0 + x1 * x1 + 1e-12
        return _matrices(
            (x0 * x0 + self.cheap * (x1 * x1) + 1e-12) / squared,
            (1.0 - self.cheap) * (x0 * x1) / squared,
            (x1 * x1 + self.cheap * (x0 * x0) + 1e-12) / squared,
        )

    def quadratic_form(self, x: Tensor, v: Tensor) -> Tensor:
        (x0, x1), (v0, v1) = _plane(self, x), _plane(self, v)
        outwards = x0 * v0 + x1 * v1
        around = x0 * v1 - x1 * v0
        total = outwards * outwards + self.cheap * (around * around) + 1e-12 * (v0 * v0 + v1 * v1)
        return total / (x0 * x0 + x1 * x1 + 1e-12)


class MassSplittingMetric(MetricTensor):
    r"""Motion to the upper right is cheap above the first axis, to the lower right below it.

    .. math:: A(x) = I - (1 - \kappa) e e^\top, \qquad e = (1, \operatorname{sign} x_1) / \sqrt 2

    From [1]_; two features. On the first axis the sign is taken as 1.

    Parameters
    ----------
    cheap : float, default=1e-3
        The price :math:`\kappa` along the diagonals, in (0, 1].

    References
    ----------
    .. [1] Scarvelis, C. and Solomon, J. (2023). Riemannian metric learning via optimal transport.
       ICLR.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import MassSplittingMetric
    >>> MassSplittingMetric(cheap=0.5)(torch.tensor([0.0, -2.0]))
    tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = _CHEAP

    def __init__(self, cheap: float = 1e-3):
        self.cheap = cheap

    def __call__(self, x: Tensor) -> Tensor:
        _, x1 = _plane(self, x)
        diagonal = torch.full_like(x1, 0.5 * (1.0 + self.cheap))
        return _matrices(diagonal, -0.5 * (1.0 - self.cheap) * _unit_sign(x1), diagonal)

    def quadratic_form(self, x: Tensor, v: Tensor) -> Tensor:
        (_, x1), (v0, v1) = _plane(self, x), _plane(self, v)
        v1 = _unit_sign(x1) * v1
        along, across = v0 + v1, v0 - v1
        return 0.5 * (across * across + self.cheap * (along * along))


class CrossingPathsMetric(MetricTensor):
    r"""Motion along the diagonals of the plane is cheap, the more so the farther out.

    .. math:: A(x) &= I - (1 - \kappa) u u^\top, \qquad
              u = \frac{a (1, 1) + b (1, -1)}{1.25 \sqrt 2}, \\
              a &= 1.25 \tanh \operatorname{relu}(x_0 x_1), \qquad
              b = -1.25 \tanh \operatorname{relu}(-x_0 x_1)

    The metric of the "X paths" of [1]_; two features. Since only one of a and b is not zero,
    :math:`u u^\top = \tanh^2(x_0 x_1)\, e e^\top` with
    :math:`e = (1, \operatorname{sign}(x_0 x_1)) / \sqrt 2`, which is smooth.

    Parameters
    ----------
    cheap : float, default=1e-3
        The price :math:`\kappa` along the diagonals far out, in (0, 1].

    References
    ----------
    .. [1] Scarvelis, C. and Solomon, J. (2023). Riemannian metric learning via optimal transport.
       ICLR.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import CrossingPathsMetric
    >>> CrossingPathsMetric(cheap=0.5)(torch.tensor([[0.0, 0.0], [9.0, 9.0]]))
    tensor([[[ 1.0000, -0.0000],
             [-0.0000,  1.0000]],
    <BLANKLINE>
            [[ 0.7500, -0.2500],
             [-0.2500,  0.7500]]])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = _CHEAP

    def __init__(self, cheap: float = 1e-3):
        self.cheap = cheap

    def __call__(self, x: Tensor) -> Tensor:
        x0, x1 = _plane(self, x)
        product = x0 * x1
        saved = 0.5 * (1.0 - self.cheap) * torch.tanh(product) ** 2
        return _matrices(1.0 - saved, -_unit_sign(product) * saved, 1.0 - saved)

    def quadratic_form(self, x: Tensor, v: Tensor) -> Tensor:
        (x0, x1), (v0, v1) = _plane(self, x), _plane(self, v)
        product = x0 * x1
        price = 1.0 - (1.0 - self.cheap) * torch.tanh(product) ** 2
        v1 = _unit_sign(product) * v1
        along, across = v0 + v1, v0 - v1
        return 0.5 * (across * across + price * (along * along))


def _matrices(first: Tensor, off_diagonal: Tensor, last: Tensor) -> Tensor:
    """Symmetric matrices (..., 2, 2) of their entries, each of shape (...,)."""
    entries = torch.stack([first, off_diagonal, off_diagonal, last], dim=-1)
    return entries.unflatten(-1, (2, 2))


def _unit_sign(z: Tensor) -> Tensor:
    """1 where z is zero or positive, -1 elsewhere."""
    return torch.where(z < 0, -1.0, 1.0).to(z.dtype)


def _plane(metric: MetricTensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The two coordinates, of shape (...,), of points (..., 2)."""
    if x.shape[-1] != 2:
        raise ValueError(
            f"{type(metric).__name__} is defined on the plane: points need 2 features. Got"
            f" {x.shape[-1]}."
        )
    return x[..., 0], x[..., 1]
