"""Coordinates that keep inner products: a matrix on one side, its inverse on the other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skot.numerics.linalg import (
    equal_weights,
    gaussian_map,
    regularized,
    symmetric_power,
    weighted_covariance,
    weighted_mean,
)
from skot.potentials._frame import Frame
from skot.utils._brief import brief_repr

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

    __repr__ = brief_repr

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
        weights = [equal_weights(rows) for rows in (source, target)]
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


def _regular(covariances: list[Tensor]) -> list[Tensor]:
    """Add a little of the identity: few rows, or one point, have a map too."""
    averages = [covariance.diagonal().mean() for covariance in covariances]
    # A single point has no spread of its own, and for two of them any unit will do.
    least = _LEAST_SHARE * max(averages) or torch.ones_like(averages[0])
    return [
        regularized(covariance, _SHRINKAGE * average or least, keep=1.0 - _SHRINKAGE)
        for covariance, average in zip(covariances, averages, strict=True)
    ]
