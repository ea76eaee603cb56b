"""Debiased entropic transport cost between two samples."""

from typing import Any

import torch
from torch import Tensor

from skot.costs import check_cost
from skot.measures import EmpiricalMeasure
from skot.solvers import sinkhorn
from skot.solvers._cloud_input import CloudBatch, is_cloud_batch, read_clouds
from skot.utils.validation import check_points

#: Share of the mean pairwise cost that is the default regularisation.
_DEFAULT_SHARE = 0.05


def sinkhorn_divergence(
    X: Any,
    Y: Any,
    *,
    epsilon: Any = None,
    cost: Any = None,
    a: Any = None,
    b: Any = None,
    max_iter: int = 2000,
    tol: float = 1e-4,
) -> "float | Tensor":
    r"""Sinkhorn divergence between two samples.

    .. math::

        S_\epsilon(X, Y) = OT_\epsilon(X, Y) - \tfrac12 OT_\epsilon(X, X)
                           - \tfrac12 OT_\epsilon(Y, Y)

    It is zero for equal samples and positive otherwise, for costs such as the squared Euclidean
    one [1]_.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, n_features) or (n_problems, n, n_features)
        First sample. A leading axis, here and in `Y`, or lists of samples, make a batch of pairs.
    Y : array-like or Tensor of shape (m, n_features) or (n_problems, m, n_features)
        Second sample.
    epsilon : float or array-like of shape (n_problems,), default=None
        Regularisation, in the units of the cost. ``None`` means 0.05 times the mean cost between
        two points of the same sample, averaged over both samples; of each pair of a batch.
    cost : str or Cost, default=None
        Ground cost, symmetric; ``None`` means ``"sqeuclidean"``.
    a, b : array-like or Tensor of shape (n,), (m,), default=None
        Weights; ``None`` means equal weights. For a batch as :func:`skot.solvers.sinkhorn` takes
        them.
    max_iter : int, default=2000
        Passes of each of the three solves.
    tol : float, default=1e-4
        L1 marginal error of each solve.

    Returns
    -------
    divergence : float or Tensor of shape () or (n_problems,)
        A tensor that carries gradients if an input requires one, and for a batch. In the units of
        the cost: for the squared Euclidean cost, of a squared distance.

    Raises
    ------
    ValueError
        For bad input, as :func:`skot.solvers.sinkhorn`.

    See Also
    --------
    wasserstein_distance : Exact, for small samples.

    References
    ----------
    .. [1] Feydy, J. et al. (2019). Interpolating between optimal transport and MMD using Sinkhorn
       divergences. AISTATS, Theorem 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.metrics import sinkhorn_divergence
    >>> X = np.array([[0.0], [1.0]])
    >>> sinkhorn_divergence(X, X)
    0.0
    >>> round(sinkhorn_divergence(X, X + 2.0), 3)
    4.0
    >>> sinkhorn_divergence(np.stack([X, X]), np.stack([X, X + 2.0])).round(decimals=3)
    tensor([0., 4.], dtype=torch.float64)
    """
    cost = check_cost(cost)
    if epsilon is None and is_cloud_batch(cost, X, Y):
        epsilon = _default_epsilons(read_clouds(cost, X, Y, a, b))
    elif epsilon is None:
        epsilon = _DEFAULT_SHARE * 0.5 * (_spread(X, a, cost) + _spread(Y, b, cost)) or 1.0
    options = {"epsilon": epsilon, "cost": cost, "max_iter": max_iter, "tol": tol}
    cross = sinkhorn(X, Y, a, b, **options).dual_value
    first = sinkhorn(X, X, a, a, **options).dual_value
    second = sinkhorn(Y, Y, b, b, **options).dual_value
    divergence = cross - 0.5 * first - 0.5 * second
    return divergence if divergence.requires_grad or divergence.ndim else float(divergence)


def _default_epsilons(batch: CloudBatch) -> Tensor:
    """Share of the mean cost within samples, for each pair of a batch."""
    sides = zip(batch.points, (batch.a.detach(), batch.b.detach()), strict=True)
    spreads = [
        [batch.cost.scale(x, x, w, w) for x, w in zip(points, weights, strict=True)]
        for points, weights in sides
    ]
    epsilons = _DEFAULT_SHARE * 0.5 * torch.tensor(spreads, dtype=torch.float64).sum(0)
    return torch.where(epsilons > 0, epsilons, 1.0)


def _spread(X, weights, cost) -> float:
    """Mean cost between two independent points of a sample."""
    measure = EmpiricalMeasure.from_points(
        check_points(X), None if weights is None else torch.as_tensor(weights), dtype=torch.float64
    )
    points, weights = measure.points, measure.weights
    return cost.scale(points, points, weights, weights)
