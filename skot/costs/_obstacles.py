r"""Potential energies: the obstacles and force fields of `KineticPotential`.

Each is zero or negative. A barrier is smoothed by the logistic function
:math:`s(z) = 1 / (1 + e^{-z})`; its edges have a width of the order of the sharpness T.
"""

import math
from numbers import Real
from typing import ClassVar, Self

import torch
from torch import Tensor

from skot.base import Component
from skot.utils._sklearn import Interval

NON_NEGATIVE = [Interval(Real, 0, None, closed="left")]
POSITIVE = [Interval(Real, 0, None, closed="neither")]
BARRIER: dict[str, list] = {"strength": NON_NEGATIVE, "sharpness": POSITIVE}


class PotentialEnergy(Component):
    """Base class of potential energies U(x).

    A subclass stores its hyper-parameters in ``__init__`` and implements ``__call__`` with
    differentiable torch operations. Parameters named ``strength`` and ``sharpness`` are annealed.

    See Also
    --------
    KineticPotential : The Lagrangian that a potential belongs to.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import PotentialEnergy
    >>> class Slope(PotentialEnergy):
    ...     def __init__(self, strength=1.0):
    ...         self.strength = strength
    ...     def __call__(self, x):
    ...         return -self.strength * x[..., 0]
    >>> Slope()(torch.tensor([[2.0, 0.0]]))
    tensor([-2.])
    >>> Slope().annealed(0.5, 1.0)
    Slope(strength=0.5)
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Potential energy of each point.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Points.

        Returns
        -------
        energy : Tensor of shape (...,)
            ``U(x)``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement __call__.")

    def annealed(self, strength: float, sharpness: float) -> Self:
        """Same potential, weaker and blurred.

        Parameters
        ----------
        strength : float
            Factor of the parameter ``strength``, if there is one.
        sharpness : float
            Factor of the parameter ``sharpness``, if there is one.

        Returns
        -------
        potential : PotentialEnergy
            A new instance.
        """
        params = self.get_params(deep=False)
        for name, factor in (("strength", strength), ("sharpness", sharpness)):
            if name in params:
                params[name] = params[name] * factor
        return type(self)(**params)


class BoxObstacle(PotentialEnergy):
    r"""The square [-0.5, 0.5]^2 is expensive to cross.

    .. math:: U(x) = -M\, w(x_0)\, w(x_1), \qquad
              w(z) = s\big(\tfrac{z + 0.5}{T}\big) - s\big(\tfrac{z - 0.5}{T}\big)

    Only the first two features are looked at. From [1]_, as used in [2]_.

    Parameters
    ----------
    strength : float, default=3.6
        The height M, in units of the action over the times [0, 1].
    sharpness : float, default=0.01
        The width T of the edges.

    See Also
    --------
    skot.datasets.make_obstacle_pair : The samples that go with it.

    References
    ----------
    .. [1] Koshizuka, T. and Sato, I. (2023). Neural Lagrangian Schrödinger bridge: diffusion
       modeling for population dynamics. ICLR.
    .. [2] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import BoxObstacle
    >>> BoxObstacle()(torch.tensor([[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]])).round(decimals=2)
    tensor([-3.6000, -1.8000, -0.0000])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = BARRIER

    def __init__(self, strength: float = 3.6, sharpness: float = 0.01):
        self.strength = strength
        self.sharpness = sharpness

    def __call__(self, x: Tensor) -> Tensor:
        x0, x1 = first_two(self, x)
        width = self.sharpness
        return -self.strength * inside(x0, -0.5, 0.5, width) * inside(x1, -0.5, 0.5, width)


class SlitObstacle(PotentialEnergy):
    r"""A wall at :math:`|x_0| \le 0.1` with an opening at :math:`|x_1| \le 0.25`.

    .. math:: U(x) = M \Big[s\big(\tfrac{x_0 + 0.1}{T}\big) - s\big(\tfrac{x_0 - 0.1}{T}\big)\Big]
              \Big[s\big(\tfrac{x_1 + 0.25}{T}\big) - s\big(\tfrac{x_1 - 0.25}{T}\big) - 1\Big]

    Only the first two features are looked at. From [1]_, as used in [2]_.

    Parameters
    ----------
    strength : float, default=361.0
        The height M, in units of the action over the times [0, 1].
    sharpness : float, default=0.01
        The width T of the edges.

    See Also
    --------
    skot.datasets.make_obstacle_pair : The samples that go with it.

    References
    ----------
    .. [1] Koshizuka, T. and Sato, I. (2023). Neural Lagrangian Schrödinger bridge: diffusion
       modeling for population dynamics. ICLR.
    .. [2] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import SlitObstacle
    >>> SlitObstacle()(torch.tensor([[0.0, 0.0], [0.0, 1.0]])).round()
    tensor([  -0., -361.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = BARRIER

    def __init__(self, strength: float = 361.0, sharpness: float = 0.01):
        self.strength = strength
        self.sharpness = sharpness

    def __call__(self, x: Tensor) -> Tensor:
        x0, x1 = first_two(self, x)
        width = self.sharpness
        return -self.strength * inside(x0, -0.1, 0.1, width) * outside(x1, -0.25, 0.25, width)


class HillObstacle(PotentialEnergy):
    r"""A smooth hill around the origin.

    .. math:: U(x) = -M e^{-\|x\|^2}

    From [1]_, as used in [2]_; any number of features.

    Parameters
    ----------
    strength : float, default=18.0
        The height M, in units of the action over the times [0, 1].

    References
    ----------
    .. [1] Koshizuka, T. and Sato, I. (2023). Neural Lagrangian Schrödinger bridge: diffusion
       modeling for population dynamics. ICLR.
    .. [2] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import HillObstacle
    >>> HillObstacle()(torch.zeros(1, 2))
    tensor([-18.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"strength": NON_NEGATIVE}

    def __init__(self, strength: float = 18.0):
        self.strength = strength

    def __call__(self, x: Tensor) -> Tensor:
        return -self.strength * torch.exp(-(x * x).sum(-1))


class HarmonicWell(PotentialEnergy):
    r"""Passing far from the origin is expensive: an inverted oscillator.

    .. math:: U(x) = -M \|x\|^2

    From [1]_, as used in [2]_; any number of features. With :math:`k^2 = 2M` the cost is quadratic
    and known,

    .. math:: c(x, y) = \frac{k}{2 \sinh k}
              \big[(\|x\|^2 + \|y\|^2) \cosh k - 2 \langle x, y \rangle\big],

    so the optimal map is that of the squared Euclidean cost.

    Parameters
    ----------
    strength : float, default=3.6
        The stiffness M, in units of the action over the times [0, 1].

    References
    ----------
    .. [1] Koshizuka, T. and Sato, I. (2023). Neural Lagrangian Schrödinger bridge: diffusion
       modeling for population dynamics. ICLR.
    .. [2] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import HarmonicWell
    >>> HarmonicWell(strength=1.0)(torch.tensor([[3.0, 4.0]]))
    tensor([-25.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"strength": NON_NEGATIVE}

    def __init__(self, strength: float = 3.6):
        self.strength = strength

    def __call__(self, x: Tensor) -> Tensor:
        return -self.strength * (x * x).sum(-1)

    def annealed(self, strength: float, sharpness: float) -> "HarmonicWell":
        """Return the same well: it has no wall to find a way around.

        Parameters
        ----------
        strength, sharpness : float
            Not used.

        Returns
        -------
        potential : HarmonicWell
            This instance.
        """
        # The same: it has no wall to find a way around.
        return self


def inside(z: Tensor, low: float, high: float, width: float) -> Tensor:
    """``s((z - low) / width) - s((z - high) / width)``, written as a product.

    Near the edges the difference of the two would lose digits.
    """
    factor = -math.expm1(-(high - low) / width)
    return factor * (step((z - low) / width) * step((high - z) / width))


def outside(z: Tensor, low: float, high: float, width: float) -> Tensor:
    """``1 - s((z - low) / width) + s((z - high) / width)``, without the cancellation."""
    return step((low - z) / width) + step((z - high) / width)


def step(z: Tensor) -> Tensor:
    """Logistic function, cut off where it is below the rounding errors of float64.

    Products of the values that are cut off are denormal numbers, several times slower.
    """
    return torch.sigmoid(torch.nn.functional.threshold(z, -35.0, -35.0))


def first_two(potential: PotentialEnergy, x: Tensor) -> tuple[Tensor, Tensor]:
    if x.shape[-1] < 2:
        raise ValueError(
            f"{type(potential).__name__} needs points with at least 2 features. Got {x.shape[-1]}."
        )
    return x[..., 0], x[..., 1]
