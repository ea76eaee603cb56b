"""Weighted moments, symmetric square roots and the closed forms of Gaussian transport."""

import torch
from torch import Tensor


def weighted_mean(x: Tensor, weights: Tensor) -> Tensor:
    """Mean (d,) of rows (n, d) with weights (n,) that sum to one."""
    # Relative to one row: equal rows then have exactly that row as their mean, and clouds far
    # from the origin keep their digits.
    return x[0] + weights @ (x - x[0])


def weighted_covariance(x: Tensor, weights: Tensor) -> Tensor:
    """Maximum-likelihood covariance (d, d) of rows (n, d) with weights (n,) that sum to one."""
    centred = x - weighted_mean(x, weights)
    return centred.T @ (weights[:, None] * centred)


def equal_weights(rows: Tensor) -> Tensor:
    """Return the weight of each row, of shape (n,): one n-th."""
    return rows.new_full((len(rows),), 1.0 / len(rows))


def covariance(rows: Tensor) -> Tensor:
    """Return the covariance of rows of equal weight, of shape (d, d)."""
    return weighted_covariance(rows, equal_weights(rows))


def regularized(matrix: Tensor, amount: Tensor | float, keep: float = 1.0) -> Tensor:
    """Return `keep` times a matrix and `amount` times the identity."""
    return keep * matrix + amount * torch.eye(len(matrix)).to(matrix)


def symmetric_power(matrix: Tensor, power: float) -> Tensor:
    """Power of positive semi-definite matrices (..., d, d); negative ones act on their range."""
    values, vectors = torch.linalg.eigh(0.5 * (matrix + matrix.mT))
    relative = values.shape[-1] * torch.finfo(values.dtype).eps
    floor = relative * values.abs().amax(-1, keepdim=True)
    # What is zero up to rounding is zero, and stays zero: a negative power would blow it up.
    kept = values > floor
    powered = torch.where(kept, values.clamp_min(0.0), torch.ones_like(values)) ** power
    powered = torch.where(kept, powered, torch.zeros_like(powered))
    return (vectors * powered[..., None, :]) @ vectors.mT


def gaussian_map(source: Tensor, target: Tensor, epsilon: float = 0.0) -> Tensor:
    r"""Linear part of the (entropic) optimal map from N(0, A) to N(0, B), all (..., d, d).

    .. math::

        K = A^{-1/2} \Big( \big(A^{1/2} B A^{1/2} + \tfrac{\epsilon^2}{16} I\big)^{1/2}
            - \tfrac{\epsilon}{4} I \Big) A^{-1/2}

    for the cost :math:`\|x - y\|^2` and the penalty :math:`\epsilon\, KL(P \| a \otimes b)`:
    the conditional mean of the optimal plan is :math:`K x`. Symmetric; zero on the null space of A.
    Theorem 1 of Janati, Muzellec, Peyre and Cuturi (2020), Entropic optimal transport between
    unbalanced Gaussian measures has a closed form, NeurIPS.
    """
    # In units of the covariances: their products leave the range of floats before they do.
    source, source_size = _scaled(source)
    target, target_size = _scaled(target)
    quarter = epsilon / source_size / target_size / 4.0
    root, inverse_root = symmetric_power(source, 0.5), symmetric_power(source, -0.5)
    inner = root @ target @ root
    values, vectors = torch.linalg.eigh(0.5 * (inner + inner.mT))
    values, quarter = values.clamp_min(0.0), quarter[..., 0].expand_as(values)
    # sqrt(v + e^2) - e without the cancellation at large e.
    total = torch.hypot(values.sqrt(), quarter) + quarter
    gains = values / torch.where(total > 0, total, torch.ones_like(total))
    linear = inverse_root @ (vectors * gains[..., None, :]) @ vectors.mT @ inverse_root
    return 0.5 * (linear + linear.mT) * (target_size / source_size)


def bures_squared_distance(source: Tensor, target: Tensor) -> Tensor:
    r"""Squared Bures distance (), not negative, of covariances A and B (d, d).

    .. math:: W_2^2(N(0, A), N(0, B)) = \mathrm{tr} A + \mathrm{tr} B
        - 2\, \mathrm{tr} (A^{1/2} B A^{1/2})^{1/2}
    """
    traces = torch.trace(source) + torch.trace(target)
    source, source_size = _scaled(source)
    target, target_size = _scaled(target)
    root = symmetric_power(source, 0.5)
    cross = torch.linalg.eigvalsh(root @ target @ root).clamp_min(0.0).sqrt().sum()
    sizes = (source_size * target_size).squeeze()
    return (traces - 2.0 * sizes * cross).clamp_min(0.0)


def _scaled(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Covariances with a largest entry of one, and the roots of what they were divided by."""
    size = covariance.abs().amax((-2, -1), keepdim=True).sqrt()
    size = torch.where(size > 0, size, 1.0)
    return covariance / size / size, size


def gaussian_potential(y: Tensor, source: Tensor, target: Tensor, epsilon: float) -> Tensor:
    r"""Target potential (..., m), at y (..., m, d), of entropic transport of centred Gaussians.

    .. math:: g(y) = y^\top (I - K) y, \text{ up to a constant},

    where K is the entropic map from target to source: the gradient of g is :math:`2 (y - K y)`,
    twice the mean displacement of the mass that arrives at y.
    """
    return (y * (y - y @ gaussian_map(target, source, epsilon))).sum(-1)


def gaussian_fit_potential(x: Tensor, y: Tensor, a: Tensor, b: Tensor, epsilon: float) -> Tensor:
    r"""Target potentials (k, m) of Gaussians with the moments of points x, y (n, d), (m, d).

    .. math::

        g(y) = (y - m_b)^\top (I - K) (y - m_b) + 2 (y - m_b)^\top (m_b - m_a),

    up to a constant, where K is the entropic map from N(m_b, B) to N(m_a, A), both centred.
    One problem for each row of the weights a, b (k, n), (k, m), which sum to one. In memory
    O(k (n + m) d).
    """
    # Relative to one point: clouds far from the origin keep their digits.
    origin = x[0]
    x, y = x - origin, y - origin
    mean_a, mean_b = a @ x, b @ y
    x, y = x - mean_a[:, None], y - mean_b[:, None]
    source, target = x.mT @ (a[:, :, None] * x), y.mT @ (b[:, :, None] * y)
    linear = 2.0 * (y @ (mean_b - mean_a)[:, :, None])[:, :, 0]
    return linear + gaussian_potential(y, source, target, epsilon)
