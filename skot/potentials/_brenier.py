"""Brenier's potential: its gradient is the map."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skot.numerics.linalg import (
    gaussian_map,
    symmetric_power,
    weighted_covariance,
    weighted_mean,
)
from skot.numerics.tiles import NETWORK_WIDTH, row_tiles
from skot.numerics.value_and_gradient import value_and_gradient
from skot.potentials._frame import Frame

#: What is added to the covariances of a frame: a share of the own mean variance or, where there is
#: none, of the other one. Any frame is exact; a better conditioned one trains faster.
_SHRINKAGE, _LEAST_SHARE = 1e-3, 1e-6


@dataclass(frozen=True)
class LinearFrame(Frame):
    r"""The coordinates in which networks see the data.

    With a symmetric matrix P and :math:`Q = P^{-1} / k`, source rows become
    :math:`P (x - m_x)` and target rows :math:`Q (y - m_y)`: inner products of the two change by
    the factor 1 / k only, so that potentials, maps and their optimality carry over.

    Attributes
    ----------
    source_mean, target_mean : Tensor of shape (n_features,)
        Means.
    source_matrix, target_matrix : Tensor of shape (n_features, n_features)
        P and Q.
    source_covariance, target_covariance : Tensor of shape (n_features, n_features)
        Of the rows in the frame.
    scale : float
        k, in squared units of the data.
    """

    source_mean: Tensor
    target_mean: Tensor
    source_matrix: Tensor
    target_matrix: Tensor
    source_covariance: Tensor
    target_covariance: Tensor
    scale: float

    @classmethod
    def of(cls, source: Tensor, target: Tensor, preconditioning: str) -> "LinearFrame":
        """Return the frame of two samples.

        Parameters
        ----------
        source, target : Tensor of shape (n, n_features), (m, n_features)
            The samples.
        preconditioning : {"gaussian", "identity"}
            With the square root of the Gaussian map for P, up to scale, both sides get the same
            covariance: the Gaussian map becomes the identity, and what is left to learn is near
            it. Or the identity, up to scale.

        Returns
        -------
        frame : LinearFrame
            In which the mean variance of a feature is 1 on average over both sides.
        """
        weights = [rows.new_full((len(rows),), 1.0 / len(rows)) for rows in (source, target)]
        source_mean, target_mean = map(weighted_mean, (source, target), weights)
        covariances = list(map(weighted_covariance, (source, target), weights))
        a, b = _regular(covariances)
        identity = torch.eye(len(a), dtype=a.dtype, device=a.device)
        root, inverse_root = identity, identity
        if preconditioning == "gaussian":
            linear = gaussian_map(a, b)
            root, inverse_root = symmetric_power(linear, 0.5), symmetric_power(linear, -0.5)
        scale = float(0.5 * ((root @ a @ root).trace() + (inverse_root @ b @ inverse_root).trace()))
        scale /= len(a)
        unit = scale**0.5
        p, q = root / unit, inverse_root / unit
        c, d = covariances
        return cls(source_mean, target_mean, p, q, p @ c @ p, q @ d @ q, scale)

    def swapped(self) -> "LinearFrame":
        return type(self)(
            self.target_mean,
            self.source_mean,
            self.target_matrix,
            self.source_matrix,
            self.target_covariance,
            self.source_covariance,
            self.scale,
        )

    def source_rows(self, x: Tensor) -> Tensor:
        return (x.to(self.source_mean) - self.source_mean) @ self.source_matrix

    def source_rows_back(self, x: Tensor) -> Tensor:
        # The inverse of P is k Q.
        return self.scale * (x @ self.target_matrix) + self.source_mean

    def target_gradient_back(self, gradient: Tensor) -> Tensor:
        return gradient @ self.target_matrix


@dataclass(frozen=True)
class BrenierPotential:
    r"""A potential whose gradient is the map, learned in coordinates of its own.

    With the learned potential :math:`\varphi` and the frame of :class:`LinearFrame`,

    .. math::

        f(x) = k \, \varphi(P (x - m_x)) + \langle m_y, x \rangle, \qquad
        \nabla f(x) = k P \, \nabla \varphi(P (x - m_x)) + m_y.

    Parameters
    ----------
    module : torch.nn.Module
        The learned potential, from (n, n_features) to (n,).
    frame : LinearFrame
        The coordinates in which it was learned.

    Examples
    --------
    >>> import torch
    >>> from skot.potentials import BrenierPotential, LinearFrame
    >>> def half_square(x):
    ...     return 0.5 * x.square().sum(dim=1)
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> frame = LinearFrame.of(x, 3.0 * x + 1.0, "gaussian")
    >>> BrenierPotential(half_square, frame).gradient(x)
    tensor([[-2.],
            [ 4.]])
    """

    module: Callable[[Tensor], Tensor]
    frame: LinearFrame

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate f.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Points of the source.

        Returns
        -------
        values : Tensor of shape (n_rows,)
            Defined up to a constant.
        """
        frame = self.frame
        x = x.to(frame.source_mean)
        return frame.scale * self.module(frame.source_rows(x)) + x @ frame.target_mean

    def displacement_potential(self, x: Tensor) -> Tensor:
        r"""Evaluate :math:`f(x) - |x|^2 / 2`, whose gradient is the displacement.

        Far from the origin f and the parabola are large, and nearly the same. This subtracts what
        is left of both about the mean of the source, in double precision, so that no digits are
        lost but those of the learned potential.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Points of the source.

        Returns
        -------
        values : Tensor of shape (n_rows,)
            In float64, defined up to a constant.
        """
        frame = self.frame.to(torch.float64)
        centred = x.to(frame.source_mean) - frame.source_mean
        rows = (centred @ frame.source_matrix).to(self.frame.source_mean)
        learned = frame.scale * self.module(rows).double()
        shift = frame.target_mean - frame.source_mean
        return learned - 0.5 * centred.square().sum(dim=1) + centred @ shift

    def gradient(self, x: Tensor) -> Tensor:
        """Evaluate the map.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Points of the source.

        Returns
        -------
        moved : Tensor of shape (n_rows, n_features)
            Their images; computed by tiles of rows, without a graph.
        """
        x = x.to(self.frame.source_mean)
        moved = torch.empty_like(x)
        with torch.no_grad():
            for rows in row_tiles(len(x), NETWORK_WIDTH):
                points = self.frame.source_rows(x[rows])
                gradients = value_and_gradient(self.module, points)[1]
                moved[rows] = self.frame.target_rows_back(gradients)
        return moved


def _regular(covariances: list[Tensor]) -> list[Tensor]:
    """Add a little of the identity: few rows, or one point, have a map too."""
    identity = torch.eye(len(covariances[0])).to(covariances[0])
    averages = [covariance.diagonal().mean() for covariance in covariances]
    # A single point has no spread of its own, and for two of them any unit will do.
    least = _LEAST_SHARE * max(averages) or torch.ones_like(averages[0])
    return [
        (1.0 - _SHRINKAGE) * covariance + (_SHRINKAGE * average or least) * identity
        for covariance, average in zip(covariances, averages, strict=True)
    ]
