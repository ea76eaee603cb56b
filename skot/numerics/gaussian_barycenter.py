"""Barycentres of normal distributions for the Wasserstein distance."""

from typing import NamedTuple

import torch
from torch import Tensor

from skot.numerics.linalg import gaussian_map


class GaussianBarycenter(NamedTuple):
    """Moments of a barycentre.

    Attributes
    ----------
    mean : Tensor of shape (d,)
        The mean of the means.
    covariance : Tensor of shape (d, d)
        Symmetric.
    converged : bool
        Whether the covariance is a fixed point, to the tolerance.
    n_iter : int
        Steps done.
    """

    mean: Tensor
    covariance: Tensor
    converged: bool
    n_iter: int


def gaussian_barycenter(
    means: Tensor, covariances: Tensor, weights: Tensor, max_iter: int = 500, tol: float = 1e-12
) -> GaussianBarycenter:
    r"""Barycentre of normal distributions: means (k, d), covariances (k, d, d), weights (k,).

    .. math::

        \min_{m, S} \sum_k w_k W_2^2(N(m_k, S_k), N(m, S)), \qquad
        S \leftarrow T S T, \quad T = \sum_k w_k T_{S \to S_k}

    with the linear maps of optimal transport from N(0, S) to the N(0, S_k), from the mean of the
    covariances, until a step changes none of it by more than `tol` of its largest entry. Weights
    sum to one. Commuting covariances take one step. The value falls with every step, and the limit
    is the barycentre where one covariance is regular: Alvarez-Esteban, del Barrio,
    Cuesta-Albertos and Matran (2016), A fixed-point approach to barycenters in Wasserstein space,
    Journal of Mathematical Analysis and Applications, 441(2), Theorem 4.2.
    """
    mean = means[0] + weights @ (means - means[0])
    covariance = torch.einsum("k,kij->ij", weights, covariances)
    converged, i = False, 0
    while not converged and i < max_iter:
        maps = gaussian_map(covariance.expand_as(covariances), covariances)
        average = torch.einsum("k,kij->ij", weights, maps)
        following = average @ covariance @ average
        following = 0.5 * (following + following.T)
        change = (following - covariance).abs().max()
        converged = bool(change <= tol * following.abs().max())
        covariance, i = following, i + 1
    return GaussianBarycenter(mean, covariance, converged, i)
