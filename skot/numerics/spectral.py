"""Symmetric matrices with given eigenvalues and the eigenvectors of others."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def spectral_map(matrix: Tensor, eigenvalues: Tensor, smallest_gap: float = 1e-3) -> Tensor:
    r"""Replace the eigenvalues of symmetric matrices (..., d, d) by ascending ones (d,).

    .. math:: M = Q \operatorname{diag}(m) Q^\top \mapsto Q \operatorname{diag}(\lambda) Q^\top,
              \qquad m \text{ and } \lambda \text{ ascending}

    Differentiable once, in M. The result does not change, and the gradient stays finite, where
    eigenvectors of equal :math:`\lambda` are exchanged or rotated. Differences of eigenvalues of M
    below `smallest_gap` count as equal in the gradient, which has a pole there.
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
        # Daletskii and Krein: in the eigenbasis of M, a change of M is multiplied entry by entry by
        # (lambda_i - lambda_j) / (m_i - m_j), here without its poles where eigenvalues of M meet.
        slopes = new_gaps * gaps / (gaps.square() + ctx.smallest_gap**2)
        inner = slopes * (vectors.mT @ (0.5 * (gradient + gradient.mT)) @ vectors)
        return vectors @ inner @ vectors.mT, None, None
