"""Symmetric matrices with given eigenvalues and the eigenvectors of others."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def spectral_map(matrix: Tensor, eigenvalues: Tensor, smallest_gap: float = 1e-3) -> Tensor:
    r"""Replace the eigenvalues of symmetric matrices.

    .. math:: M = Q \operatorname{diag}(m) Q^\top \mapsto Q \operatorname{diag}(\lambda) Q^\top,
              \qquad m \text{ and } \lambda \text{ ascending}

    Parameters
    ----------
    matrix : Tensor of shape (..., d, d)
        M, symmetric.
    eigenvalues : Tensor of shape (d,)
        :math:`\lambda`, ascending.
    smallest_gap : float, default=1e-3
        Differences of eigenvalues of M below it count as equal in the gradient, which has a pole
        there.

    Returns
    -------
    mapped : Tensor of shape (..., d, d)
        Symmetric; differentiable once, in `matrix`. It does not change, and the gradient stays
        finite, where eigenvectors of equal :math:`\lambda` are exchanged or rotated.

    Notes
    -----
    The derivative is the formula of Daletskii and Krein: in the eigenbasis of M, a change of M is
    multiplied entry by entry by :math:`(\lambda_i - \lambda_j) / (m_i - m_j)`.

    Examples
    --------
    >>> import torch
    >>> from skot.numerics.spectral import spectral_map
    >>> spectral_map(torch.tensor([[5.0, 0.0], [0.0, 3.0]]), torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 1.]])
    """
    return _SpectralMap.apply(matrix, eigenvalues.to(matrix), smallest_gap)


class _SpectralMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, eigenvalues: Tensor, smallest_gap: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        ctx.save_for_backward(values, vectors, eigenvalues)
        ctx.smallest_gap = smallest_gap
        return (vectors * eigenvalues) @ vectors.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        values, vectors, eigenvalues = ctx.saved_tensors
        gaps = values.unsqueeze(-1) - values.unsqueeze(-2)
        new_gaps = eigenvalues.unsqueeze(-1) - eigenvalues.unsqueeze(-2)
        slopes = new_gaps * gaps / (gaps.square() + ctx.smallest_gap**2)
        inner = slopes * (vectors.mT @ (0.5 * (gradient + gradient.mT)) @ vectors)
        return vectors @ inner @ vectors.mT, None, None
