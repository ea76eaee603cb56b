"""Hessians of a potential and the logarithms of their determinants, row by row."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from skot.numerics.tiles import row_tiles
from skot.numerics.value_and_gradient import value_and_gradient

#: Entries of the Hessians, or of the Lanczos vectors, that are held at once. Rows of a tile
#: share every pass through the network, so it is larger than what stays in cache.
_TILE_ENTRIES = 2**22
#: A row counts for no less than this: a network keeps about as many activations of it.
_LEAST_ENTRIES = 2**12
#: Seed of the probes where no generator is given.
_SEED = 0


def hessian(potential: Any, x: Tensor) -> Tensor:
    r"""Compute :math:`\nabla^2 f(x_i)`, (n, d, d), symmetric and without a graph, for rows (n, d).

    One pass forward and d backward, over tiles of rows. Where the gradient jumps, as that of a
    piecewise linear network does, the Hessian is that of the piece of the point. The potential is
    as in `skot.numerics.value_and_gradient`.
    """
    n, d = x.shape
    hessians = x.new_empty(n, d, d)
    for rows in row_tiles(n, max(d * d, _LEAST_ENTRIES), _TILE_ENTRIES):
        product = _hessian_product(potential, x[rows])
        for j in range(d):
            direction = x.new_zeros(1, d)
            direction[0, j] = 1.0
            hessians[rows, j] = product(direction.expand_as(x[rows]))
        # Both halves are the same up to rounding.
        hessians[rows] = (hessians[rows] + hessians[rows].mT) / 2
    return hessians


def hessian_log_determinant(
    potential: Any,
    x: Tensor,
    *,
    max_exact_features: int = 64,
    n_probes: int = 16,
    n_steps: int = 20,
    generator: Generator | None = None,
) -> Tensor:
    r"""Compute :math:`\log |\det \nabla^2 f(x_i)|`, (n,), without a graph, for rows (n, d).

    NaN where the Hessian is not finite. With the map :math:`T = \nabla f` and a density :math:`q`
    on its target, :math:`\log p(x) = \log q(T(x)) + \log |\det \nabla^2 f(x)|` is the logarithm of
    the density that T transports to q, if f is strictly convex. Nothing checks that it is: where
    the Hessian has negative eigenvalues, T may fold, several points have the same image, and p need
    not integrate to one.

    - Up to `max_exact_features` the Hessian is formed and factorised. The result is :math:`-\infty`
      where it is exactly singular.
    - Beyond, the trace of the logarithm is estimated by stochastic Lanczos quadrature: Algorithm 1
      of Ubaru, Chen and Saad (2017), Fast estimation of tr(f(A)) via stochastic Lanczos quadrature,
      SIAM Journal on Matrix Analysis and Applications, 38(4),

      .. math:: \mathrm{tr} \log |H| \approx \frac{d}{K} \sum_{k=1}^{K} \sum_{j=1}^{m}
          \tau_{kj}^2 \log |\theta_{kj}|,

      where :math:`\theta_{kj}` are the eigenvalues of the tridiagonal matrix of m = `n_steps`
      Lanczos steps from the k-th of K = `n_probes` vectors of random signs, and :math:`\tau_{kj}`
      the first entries of its eigenvectors. The variance is
      :math:`\frac{2}{K} \sum_{i \ne j} (\log H)_{ij}^2`, and the bias decays as
      :math:`\big((\sqrt{\kappa} - 1) / (\sqrt{\kappa} + 1)\big)^{2m}` with the condition number
      :math:`\kappa`. It takes K m products with the Hessian where the matrix itself takes d: raise
      `max_exact_features` up to that number, if a few matrices fit into memory.

      Eigenvalues within rounding of zero are raised to that level: a singular Hessian gives a
      number far below the others, not :math:`-\infty`. For indefinite Hessians the estimate is
      rough, as the logarithm is not smooth between their eigenvalues.

    All rows take the same probes, drawn on the CPU: with `generator` None from a fixed seed, the
    same in every call; a given one moves on. The result of a row does not depend on the other rows,
    up to rounding, and the errors of similar rows are similar.
    """
    for name, number in (("n_probes", n_probes), ("n_steps", n_steps)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1. Got {number}.")
    n, d = x.shape
    result = x.new_empty(n)
    if d <= max_exact_features:
        for rows in row_tiles(n, max(d * d, _LEAST_ENTRIES), _TILE_ENTRIES):
            result[rows] = torch.linalg.slogdet(hessian(potential, x[rows])).logabsdet
        return result
    n_steps = min(n_steps, d)
    if generator is None:
        generator = torch.Generator().manual_seed(_SEED)
    # On the CPU, so that the probes are the same on every device.
    signs = torch.randint(2, (n_probes, d), generator=generator).mul_(2).sub_(1).to(x)
    for rows in row_tiles(n, n_probes * max(n_steps * d, _LEAST_ENTRIES), _TILE_ENTRIES):
        product = _hessian_product(potential, x[rows].repeat_interleave(n_probes, dim=0))
        start = (signs / d**0.5).repeat(len(x[rows]), 1)
        quadratures = _log_quadrature(*_lanczos(product, start, n_steps))
        result[rows] = d * quadratures.view(-1, n_probes).mean(1)
    return result


def _hessian_product(potential: Any, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Differentiate the gradient once, to multiply the Hessian of every row by a vector."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        _, gradients = value_and_gradient(potential, point)

    def product(vectors: Tensor) -> Tensor:
        if not gradients.requires_grad:
            return torch.zeros_like(vectors)
        # Only the points: parameters accumulate nothing and need not require gradients.
        (products,) = torch.autograd.grad(
            gradients,
            point,
            vectors,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return products

    return product


@torch.no_grad()
def _lanczos(
    product: Callable[[Tensor], Tensor], start: Tensor, n_steps: int
) -> tuple[Tensor, Tensor]:
    """Diagonals (n, n_steps) and off-diagonals (n, n_steps - 1) of the tridiagonal matrices.

    A row whose Krylov space is exhausted goes on with zeros, or with what rounding leaves, behind
    an off-diagonal entry of that size: the weight in the quadrature is its square.
    """
    n, d = start.shape
    basis = start.new_zeros(n, n_steps, d)
    diagonal = start.new_empty(n, n_steps)
    off_diagonal = start.new_empty(n, n_steps)
    vector = start
    for k in range(n_steps):
        basis[:, k] = vector
        image = product(vector)
        diagonal[:, k] = torch.linalg.vecdot(image, vector)
        known = basis[:, : k + 1]
        # Twice is enough to be orthogonal to all of them to working precision; without, the
        # largest eigenvalues come back as copies.
        for _ in range(2):
            image = image - ((known @ image[:, :, None]).mT @ known)[:, 0]
        norm = torch.linalg.vector_norm(image, dim=1, keepdim=True)
        off_diagonal[:, k] = norm[:, 0]
        vector = torch.where(norm == 0, 0.0, image / norm)
    return diagonal, off_diagonal[:, :-1]


@torch.no_grad()
def _log_quadrature(diagonal: Tensor, off_diagonal: Tensor) -> Tensor:
    """First entry of log |T| for every tridiagonal matrix T; NaN where T is not finite."""
    matrices = torch.diag_embed(diagonal)
    matrices += torch.diag_embed(off_diagonal, 1) + torch.diag_embed(off_diagonal, -1)
    finite = matrices.isfinite().all(dim=2).all(dim=1)
    # One such matrix would make the factorisation of the batch raise.
    matrices = torch.where(finite[:, None, None], matrices, 0.0)
    eigenvalues, vectors = torch.linalg.eigh(matrices)
    size = eigenvalues.abs()
    precision = torch.finfo(size.dtype)
    least = (precision.eps * size.amax(1, keepdim=True)).clamp_min(precision.tiny)
    values = torch.linalg.vecdot(vectors[:, 0].square(), torch.maximum(size, least).log())
    return torch.where(finite, values, torch.nan)
