"""Potential energies that leave a passage: disks, V-neck, S-tunnel, maze."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from skot.costs._checks import finite_matrix
from skot.costs._obstacles import (
    BARRIER,
    POSITIVE,
    PotentialEnergy,
    first_two,
    inside,
    outside,
    step,
)


class DiskObstacles(PotentialEnergy):
    r"""Disks, or balls, that are expensive to cross.

    .. math:: U(x) = -M \sum_c s\Big(\frac{r - \|x - c\|}{T}\Big)

    The defaults are the obstacles between a Gaussian and a ring of eight Gaussians of [1]_.

    Parameters
    ----------
    centers : tuple of tuple of float, default=((6, 6), (6, -6), (-6, -6))
        The centres c, one point each, as many coordinates as there are features.
    radius : float, default=1.5
        The radius r.
    strength : float, default=36.0
        The height M, in units of the action over the times [0, 1].
    sharpness : float, default=0.1
        The width T of the edges.

    See Also
    --------
    skot.datasets.make_obstacle_pair : The samples that go with it.

    References
    ----------
    .. [1] Liu, G.-H., Chen, T., So, O. and Theodorou, E. A. (2022). Deep generalized Schrödinger
       bridge. NeurIPS.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import DiskObstacles
    >>> DiskObstacles()(torch.tensor([[6.0, 6.0], [6.0, 7.5]])).round()
    tensor([-36., -18.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "centers": ["array-like"],
        "radius": POSITIVE,
        **BARRIER,
    }

    def __init__(
        self,
        centers: Sequence[Sequence[float]] = ((6.0, 6.0), (6.0, -6.0), (-6.0, -6.0)),
        radius: float = 1.5,
        strength: float = 36.0,
        sharpness: float = 0.1,
    ):
        self.centers = centers
        self.radius = radius
        self.strength = strength
        self.sharpness = sharpness

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        InvalidParameterError
            If a parameter has the wrong type or is out of range.
        ValueError
            If the centres are not points with the same number of finite coordinates.
        """
        super().validate()
        finite_matrix(self.centers, name="centers")

    def __call__(self, x: Tensor) -> Tensor:
        centers = np.asarray(self.centers, dtype=np.float64).tolist()
        n_features = len(centers[0])
        if x.shape[-1] != n_features:
            raise ValueError(
                f"The centers of DiskObstacles have {n_features} coordinates. Got points with"
                f" {x.shape[-1]} features."
            )
        coordinates = x.unbind(-1)
        total = torch.zeros_like(coordinates[0])
        for center in centers:
            # One coordinate at a time: several times faster than sums over a short last axis.
            squares = [(z - c) ** 2 for z, c in zip(coordinates, center, strict=True)]
            # The tiny number keeps all derivatives finite at the centre.
            distance = torch.sqrt(sum(squares[1:], squares[0]) + 1e-12)
            total = total + step((self.radius - distance) / self.sharpness)
        return -self.strength * total


class VNeck(PotentialEnergy):
    r"""A narrow opening around the origin, between two hyperbolas.

    .. math:: U(x) = -M\, s\Big(\frac{-0.36 - 5 x_0^2 + x_1^2}{T}\Big)

    Only the first two features are looked at. From [1]_.

    Parameters
    ----------
    strength : float, default=36.0
        The height M, in units of the action over the times [0, 1].
    sharpness : float, default=0.1
        The softness T of the edges.

    See Also
    --------
    skot.datasets.make_obstacle_pair : The samples that go with it.

    References
    ----------
    .. [1] Liu, G.-H., Chen, T., So, O. and Theodorou, E. A. (2022). Deep generalized Schrödinger
       bridge. NeurIPS.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import VNeck
    >>> VNeck()(torch.tensor([[0.0, 0.6], [0.0, 2.0]])).round()
    tensor([-18., -36.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = BARRIER

    def __init__(self, strength: float = 36.0, sharpness: float = 0.1):
        self.strength = strength
        self.sharpness = sharpness

    def __call__(self, x: Tensor) -> Tensor:
        x0, x1 = first_two(self, x)
        level = (x1 * x1 - 5.0 * (x0 * x0)) - 0.36
        return -self.strength * step(level / self.sharpness)


class STunnel(PotentialEnergy):
    r"""Two ellipses that leave an S-shaped passage.

    .. math:: U(x) = -M \sum_{(a, b) = \pm (5, 6)}
              s\Big(\frac{90 - 20 (x_0 - a)^2 - (x_1 - b)^2}{T}\Big)

    Only the first two features are looked at. From [1]_.

    Parameters
    ----------
    strength : float, default=36.0
        The height M, in units of the action over the times [0, 1].
    sharpness : float, default=0.1
        The softness T of the edges.

    See Also
    --------
    skot.datasets.make_obstacle_pair : The samples that go with it.

    References
    ----------
    .. [1] Liu, G.-H., Chen, T., So, O. and Theodorou, E. A. (2022). Deep generalized Schrödinger
       bridge. NeurIPS.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import STunnel
    >>> STunnel()(torch.tensor([[5.0, 6.0], [-5.0, -6.0], [0.0, 0.0]])).round()
    tensor([-36., -36.,  -0.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = BARRIER

    def __init__(self, strength: float = 36.0, sharpness: float = 0.1):
        self.strength = strength
        self.sharpness = sharpness

    def __call__(self, x: Tensor) -> Tensor:
        x0, x1 = first_two(self, x)
        total = torch.zeros_like(x0)
        for side in (1.0, -1.0):
            level = 90.0 - 20.0 * (x0 - 5.0 * side) ** 2 - (x1 - 6.0 * side) ** 2
            total = total + step(level / self.sharpness)
        return -self.strength * total


class Maze(PotentialEnergy):
    r"""Two walls with one opening each, below and above the middle.

    .. math:: U(x) = -M \sum_{\text{walls}}
              \big[s\big(\tfrac{x_0 - l}{T}\big) - s\big(\tfrac{x_0 - h}{T}\big)\big]
              \big[1 - s\big(\tfrac{x_1 - l'}{T}\big) + s\big(\tfrac{x_1 - h'}{T}\big)\big]

    The walls [l, h] are [-0.5, -0.3] and [0.3, 0.5], their openings [l', h'] are [-1.99, -0.15]
    and [0.15, 1.99]. Only the first two features are looked at. From [1]_.

    Parameters
    ----------
    strength : float, default=3610.0
        The height M, in units of the action over the times [0, 1].
    sharpness : float, default=0.01
        The width T of the edges.

    See Also
    --------
    skot.datasets.make_obstacle_pair : The samples that go with it.

    References
    ----------
    .. [1] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import Maze
    >>> Maze()(torch.tensor([[-0.4, -1.0], [-0.4, 0.0], [0.4, -1.0]])).round()
    tensor([   -0., -3610., -3610.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = BARRIER

    def __init__(self, strength: float = 3610.0, sharpness: float = 0.01):
        self.strength = strength
        self.sharpness = sharpness

    def __call__(self, x: Tensor) -> Tensor:
        x0, x1 = first_two(self, x)
        width = self.sharpness
        left = inside(x0, -0.5, -0.3, width) * outside(x1, -1.99, -0.15, width)
        right = inside(x0, 0.3, 0.5, width) * outside(x1, 0.15, 1.99, width)
        return -self.strength * (left + right)
