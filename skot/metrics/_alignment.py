"""How far the directions of one metric are those of another."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from skot.utils.tensors import to_numpy, to_tensor
from skot.utils.validation import check_points

__all__ = ["alignment_score"]


def alignment_score(metric_a: Any, metric_b: Any, points: Any) -> float:
    r"""Mean absolute cosine between the eigenvectors of two metrics.

    Parameters
    ----------
    metric_a : callable or array-like of shape (n, n_features, n_features)
        A metric on tensors, such as ``LagrangianMetricLearner.metric_`` or
        :class:`~skot.costs.CircleMetric`, or its matrices in the points.
    metric_b : callable or array-like of shape (n, n_features, n_features)
        The other one.
    points : array-like of shape (n, n_features)
        Where to compare them, often a regular grid.

    Returns
    -------
    score : float
        Between 0 and 1; 1 means that the eigenvectors agree everywhere. Signs of eigenvectors and
        values of eigenvalues do not count, their order does.

    Raises
    ------
    ValueError
        For bad input: points that are not finite, matrices of another shape, that are not finite
        or not symmetric.

    See Also
    --------
    skot.LagrangianMetricLearner : Learns a metric from populations in sequence.

    Notes
    -----
    With the eigenvectors :math:`a_k` and :math:`b_k` of both metrics, each in the order of
    ascending eigenvalues,

    .. math:: \frac1n \sum_{i=1}^n \frac1d \sum_{k=1}^d |\langle a_k(x_i), b_k(x_i) \rangle|.

    The score of directions at random is :math:`2 / \pi` in two dimensions [1]_.

    References
    ----------
    .. [1] Scarvelis, C. and Solomon, J. (2023). Riemannian metric learning via optimal transport.
       ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.costs import CircleMetric, ConstantMetric
    >>> from skot.metrics import alignment_score
    >>> angle = np.linspace(0.0, 2.0 * np.pi, 100, endpoint=False)
    >>> circle = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> vertical = ConstantMetric(((1.0, 0.0), (0.0, 0.1)))
    >>> round(alignment_score(vertical, CircleMetric(), circle), 2)
    0.64
    """
    points = to_tensor(check_points(points, name="points"), dtype=torch.float64)
    vectors_a = _eigenvectors(metric_a, points, "metric_a")
    vectors_b = _eigenvectors(metric_b, points, "metric_b")
    return float(np.abs((vectors_a * vectors_b).sum(-2)).mean())


def _eigenvectors(
    metric: Callable[[torch.Tensor], torch.Tensor] | Any, points: torch.Tensor, name: str
) -> np.ndarray:
    """Eigenvectors in the columns, of ascending eigenvalues."""
    if callable(metric):
        with torch.no_grad():
            metric = metric(points)
    matrices = to_numpy(metric).astype(np.float64)
    expected = (*points.shape, points.shape[1])
    if matrices.shape != expected:
        raise ValueError(
            f"{name} must give one matrix for each point, shape {expected}. Got shape "
            f"{matrices.shape}."
        )
    if not np.isfinite(matrices).all():
        raise ValueError(f"{name} contains NaN or infinity.")
    size = np.abs(matrices).max()
    if np.abs(matrices - matrices.swapaxes(-2, -1)).max() > 1e-6 * size:
        raise ValueError(f"{name} must give symmetric matrices.")
    return np.linalg.eigh(matrices)[1]
