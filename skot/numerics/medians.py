"""Medians of weighted samples."""

import torch
from torch import Tensor


def weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Return the lower medians (d,) of columns (n, d) whose rows have weights (n,)."""
    ordered, order = values.sort(dim=0)
    reached = weights[order].cumsum(0) >= 0.5 * (1.0 - 1e-12) * weights.sum()
    first = reached.int().argmax(0, keepdim=True)
    return ordered.gather(0, first)[0]


def distances_from_median(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far rows (n, d) are from their coordinate-wise median, and the median of that."""
    distances = torch.linalg.vector_norm(points - weighted_median(points, weights), dim=1)
    return distances, weighted_median(distances[:, None], weights)[0]
