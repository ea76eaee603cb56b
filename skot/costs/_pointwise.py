"""Ground costs between points: squared Euclidean, norms, cosine, sphere."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skot.costs._base import Cost, FactorizedCost, StandardizedPair
from skot.numerics.linalg import weighted_mean
from skot.numerics.medians import weighted_median
from skot.utils._sklearn import Interval
from skot.utils._warnings import warn_user

#: Sums of squares from here to the inverse have lost nothing to the range of floats.
_SAFE_SQUARE = 1e-200

#: Rows on a sphere have one length, up to the rounding of what they were read from.
_ONE_LENGTH = 1.01

#: Numbers of a tensor up to which an operation takes less than starting it.
_FEW = 2**13


def _starts_faster_in_numpy(*tensors: Tensor) -> bool:
    """Whether the tensors are so small that NumPy is faster, and can be read there."""
    # Those inside the transforms of torch.func have no memory to look at.
    return not torch._C._are_functorch_transforms_active() and all(
        t.device.type == "cpu" and t.dtype.itemsize >= 4 and t.numel() <= _FEW for t in tensors
    )


def _total_variance(x: Any, y: Any, a: Any, b: Any) -> float:
    """Sum of the variances of two weighted clouds, in tensors or arrays."""
    x, y = x - weighted_mean(x, a), y - weighted_mean(y, b)
    return float(a @ (x * x).sum(1) + b @ (y * y).sum(1))


def _largest_magnitude(*tensors: Tensor) -> float:
    """Largest absolute entry, or 1 when there is nothing to scale."""
    largest = max(float(t.abs().max()) if t.numel() else 0.0 for t in tensors)
    # The square of less is no ordinary number to divide by.
    return largest if largest > 1e-150 else 1.0


class SquaredEuclidean(Cost):
    r"""Squared Euclidean distance.

    .. math:: c(x, y) = \|x - y\|^2

    Its averaged map is the mean of the targets, and its optimal plans commute with separate
    translations of the two measures and one common scale.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import SquaredEuclidean
    >>> SquaredEuclidean().pairwise(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    tensor([[25.]])
    """

    translation_invariant = True
    is_quadratic = True

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        # The expanded form is one matrix product, but cancels for clouds far from the origin:
        # move both by a common shift first.
        shift = y.detach().mean(0) if len(y) else 0.0
        x, y = x - shift, y - shift
        squared = (x * x).sum(1, keepdim=True) + (y * y).sum(1) - 2.0 * (x @ y.T)
        return squared.clamp_min(0.0)

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().sum(1)

    def factorize(self, x: Tensor, y: Tensor) -> FactorizedCost:
        return FactorizedCost(2.0 * x, y, (x * x).sum(1), (y * y).sum(1))

    def standardize(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> StandardizedPair:
        mean_x, mean_y = weighted_mean(x, a), weighted_mean(y, b)
        x, y = x - mean_x, y - mean_y
        size = _largest_magnitude(x, y)
        # |x + u|^2 with u = mean_x - mean_y added between the centred clouds.
        u = mean_x - mean_y
        row = 2.0 * (x @ u) + u @ u
        column = -2.0 * (y @ u)
        return StandardizedPair(x / size, y / size, size * size, row, column)

    def scale(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> float:
        """Mean cost between the separately centred clouds: the sum of the two total variances.

        Centring makes the scale, hence ``epsilon_``, blind to a shift between the clouds, which
        does not change the optimal plan either.

        Parameters
        ----------
        x, y, a, b : Tensor
            Points and weights, as in :meth:`Cost.scale`.

        Returns
        -------
        scale : float
            ``trace(cov(x)) + trace(cov(y))``.
        """
        if _starts_faster_in_numpy(x, y, a, b):
            with np.errstate(over="ignore", invalid="ignore"):
                variances = _total_variance(*(t.numpy(force=True) for t in (x, y, a, b)))
        else:
            variances = _total_variance(x, y, a, b)
        if _SAFE_SQUARE < variances < 1.0 / _SAFE_SQUARE:
            return variances
        x, y = x - weighted_mean(x, a), y - weighted_mean(y, b)
        size = _largest_magnitude(x, y)
        variances = float(a @ (x / size).square().sum(1) + b @ (y / size).square().sum(1))
        return variances * size * size

    def median_scale(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> float:
        """Median cost between the separately centred clouds, each at its coordinate-wise median.

        As :meth:`scale` it does not see a shift between the clouds. For normal distributions it
        is .7 times the mean in two dimensions, and nearly the mean from ten on.

        Parameters
        ----------
        x, y, a, b : Tensor
            Points and weights, as in :meth:`Cost.scale`.

        Returns
        -------
        scale : float
            Over at most 512 rows a side, evenly spaced.
        """
        x, y = x - weighted_median(x, a), y - weighted_median(y, b)
        return super().median_scale(x, y, a, b)

    def twist(self, x: Tensor, gradient: Tensor) -> Tensor:
        return x - 0.5 * gradient

    def barycenter(self, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        return weights @ y

    def debiased_barycenter(
        self,
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        own: Tensor,
        own_weights: Tensor,
        residual: float,
    ) -> Tensor:
        return weights @ y + residual * (x - own_weights @ own)


class PNorm(Cost):
    r"""Power of a p-norm.

    .. math:: c(x, y) = \|x - y\|_p^q

    Parameters
    ----------
    p : float, default=2.0
        Order of the norm, at least 1.
    power : float, default=1.0
        The exponent q, positive. For p > 1 and q > 1 the cost is strictly convex and has a twist.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import PNorm
    >>> PNorm(p=1.0).pairwise(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    tensor([[7.]])
    """

    translation_invariant = True

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "p": [Interval(Real, 1, None, closed="left")],
        "power": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, p: float = 2.0, power: float = 1.0):
        self.p = p
        self.power = power

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        # The matrix-product shortcut of cdist loses half the digits of small distances.
        mode = "donot_use_mm_for_euclid_dist"
        distance = torch.cdist(x, y, p=self.p, compute_mode=mode)
        return distance if self.power == 1 else distance**self.power

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        distance = torch.linalg.vector_norm(x - y, ord=self.p, dim=1)
        return distance if self.power == 1 else distance**self.power

    def standardize(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> StandardizedPair:
        common = 0.5 * (weighted_mean(x, a) + weighted_mean(y, b))
        x, y = x - common, y - common
        size = _largest_magnitude(x, y)
        zeros = x.new_zeros(len(x)), y.new_zeros(len(y))
        return StandardizedPair(x / size, y / size, size**self.power, *zeros)

    def twist(self, x: Tensor, gradient: Tensor) -> Tensor:
        if self.p == 1 or self.power <= 1:
            return super().twist(x, gradient)
        # grad of |z|_p^q inverted through its conjugate: z = grad of |.|_s^r / r at gradient / q,
        # with 1/p + 1/s = 1 and 1/q + 1/r = 1.
        s, r = self.p / (self.p - 1), self.power / (self.power - 1)
        u = gradient / self.power
        # In units of the largest entry: the powers of tiny ones would leave the range of floats.
        size = u.abs().amax(1, keepdim=True)
        u = u / torch.where(size > 0, size, 1.0)
        norm = torch.linalg.vector_norm(u, ord=s, dim=1, keepdim=True).clamp_min(1.0)
        direction = u.sign() * (u.abs() / norm) ** (s - 1)
        return x - direction * (size * norm) ** (r - 1)


class Euclidean(PNorm):
    r"""Euclidean distance.

    .. math:: c(x, y) = \|x - y\|_2

    It is not strictly convex: plans and distances are defined, a map is not.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import Euclidean
    >>> Euclidean().pairwise(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {}

    p = 2.0
    power = 1.0

    def __init__(self) -> None:
        # Without parameters of its own: the norm and the power are fixed by the class.
        pass


class Cosine(Cost):
    r"""Cosine distance.

    .. math:: c(x, y) = 1 - \frac{\langle x, y \rangle}{\|x\| \|y\|}

    A zero vector has cosine zero with everything. The cost does not see lengths, so it has no
    twist.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import Cosine
    >>> Cosine().pairwise(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    tensor([[1.]])
    """

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return 1.0 - _unit_rows(x) @ _unit_rows(y).T

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        return 1.0 - torch.linalg.vecdot(_unit_rows(x), _unit_rows(y))

    def factorize(self, x: Tensor, y: Tensor) -> FactorizedCost:
        return FactorizedCost(_unit_rows(x), _unit_rows(y), x.new_ones(len(x)), y.new_zeros(len(y)))


class SphereGeodesic(Cost):
    r"""Power of the great-circle distance between points of the unit sphere.

    .. math:: c(x, y) = \arccos\big(\langle x, y \rangle / (1 + \delta)\big)^q

    Rows are taken as directions and normalised first: latitude and longitude in degrees are no
    directions, and have to be turned into unit vectors (see the example). For q = 2 the twist is
    the Riemannian exponential map, so the averaged map of a sphere stays on the sphere [1]_.

    Parameters
    ----------
    power : float, default=2.0
        The exponent q, positive.
    margin : float, default=1e-7
        The margin :math:`\delta`, which keeps the derivative of the arc cosine finite.

    References
    ----------
    .. [1] McCann, R. J. (2001). Polar factorization of maps on Riemannian manifolds. Geometric
       and Functional Analysis, 11(3), Theorem 9.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import SphereGeodesic
    >>> north, east = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    >>> SphereGeodesic(power=1.0).pairwise(north, east)
    tensor([[1.5708]])

    From degrees to unit vectors, Paris and Sydney, and back to kilometres:

    >>> latitude, longitude = torch.deg2rad(torch.tensor([[48.9, 2.4], [-33.9, 151.2]])).T
    >>> flat = latitude.cos()
    >>> rows = torch.stack([flat * longitude.cos(), flat * longitude.sin(), latitude.sin()], 1)
    >>> round(6371 * SphereGeodesic(power=1.0).pairwise(rows[:1], rows[1:]).item(), -2)
    17000.0
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "power": [Interval(Real, 0, None, closed="neither")],
        "margin": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(self, power: float = 2.0, margin: float = 1e-7):
        self.power = power
        self.margin = margin

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return self._of_cosine(_unit_rows(x) @ _unit_rows(y).T)

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        return self._of_cosine(torch.linalg.vecdot(_unit_rows(x), _unit_rows(y)))

    def scale(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> float:
        _warn_of_degrees(x, y)
        return super().scale(x, y, a, b)

    def median_scale(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> float:
        _warn_of_degrees(x, y)
        return super().median_scale(x, y, a, b)

    def _of_cosine(self, cosine: Tensor) -> Tensor:
        """Power of the angle, whose slope the margin keeps finite, of cosines of any shape."""
        angle = torch.acos((cosine / (1.0 + self.margin)).clamp(-1.0, 1.0))
        return angle if self.power == 1 else angle**self.power

    def twist(self, x: Tensor, gradient: Tensor) -> Tensor:
        if self.power != 2:
            return super().twist(x, gradient)
        base = _unit_rows(x)
        # grad_x of the squared distance is -2 log_x(y), taken per unit length of x.
        tangent = -0.5 * gradient * torch.linalg.vector_norm(x, dim=1, keepdim=True)
        tangent = tangent - (tangent * base).sum(1, keepdim=True) * base
        length = torch.linalg.vector_norm(tangent, dim=1, keepdim=True)
        return torch.cos(length) * base + torch.sinc(length / torch.pi) * tangent

    def barycenter(self, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        # Only directions matter, and the gradient at a huge row would be lost.
        return super().barycenter(_unit_rows(x), y, weights)

    def debiased_barycenter(
        self,
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        own: Tensor,
        own_weights: Tensor,
        residual: float,
    ) -> Tensor:
        x = _unit_rows(x)
        return super().debiased_barycenter(x, y, weights, own, own_weights, residual)

    def interpolate(self, x: Tensor, y: Tensor, t: float) -> Tensor:
        """Follow the shorter arc of the great circle for a part of the way.

        Parameters
        ----------
        x, y, t : Tensor, Tensor, float
            Points and the time, as in :meth:`Cost.interpolate`.

        Returns
        -------
        points : Tensor of shape (n, n_features)
            Unit vectors. Of two opposite points one of the shortest ways is taken.
        """
        x, y = _unit_rows(x), _unit_rows(y)
        # Unlike the arc cosine, it is accurate at both ends.
        angle = 2.0 * torch.atan2(
            torch.linalg.vector_norm(x - y, dim=1, keepdim=True),
            torch.linalg.vector_norm(x + y, dim=1, keepdim=True),
        )
        tangent = y - (x * y).sum(1, keepdim=True) * x
        # Between opposite points, towards the axis from which x is farthest.
        axis = torch.nn.functional.one_hot(x.abs().argmin(1), x.shape[1]).to(x)
        aside = axis - (x * axis).sum(1, keepdim=True) * x
        is_opposite = torch.linalg.vector_norm(x + y, dim=1, keepdim=True) < 1e-7
        tangent = _unit_rows(torch.where(is_opposite, aside, tangent))
        return torch.cos(t * angle) * x + torch.sin(t * angle) * tangent


def _warn_of_degrees(*clouds: Tensor) -> None:
    """Say that rows of two or three features with norms of their own are no directions.

    Long rows, such as embeddings, are often meant by their direction alone.
    """
    lengths = torch.cat([torch.linalg.vector_norm(x, dim=1) for x in clouds])
    if clouds[0].shape[1] > 3 or float(lengths.max()) <= _ONE_LENGTH * float(lengths.min()):
        return
    warn_user(
        f"The cost 'sphere' takes rows for directions, but rows of {clouds[0].shape[1]} features "
        f"have lengths from {float(lengths.min()):.3g} to {float(lengths.max()):.3g}, which it "
        "does not see. Turn latitude and longitude into unit vectors, (cos lat cos lon, "
        "cos lat sin lon, sin lat); divide other rows by their length if only their direction "
        "counts."
    )


def _unit_rows(x: Tensor) -> Tensor:
    """Rows divided by their norms, safely for tiny and huge entries; zero rows stay zero."""
    largest = x.detach().abs().amax(1, keepdim=True)
    x = x / torch.where(largest > 0, largest, torch.ones_like(largest))
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(norm > 0, norm, torch.ones_like(norm))
