"""A weighted point cloud."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skot.utils._brief import brief_repr
from skot.utils._pickling import packed, unpacked
from skot.utils.tensors import to_tensor


@dataclass(frozen=True)
class EmpiricalMeasure:
    """Points with weights that sum to one.

    Attributes
    ----------
    points : Tensor of shape (n, n_features)
        Support.
    weights : Tensor of shape (n,)
        Probabilities, float64.

    Examples
    --------
    >>> import torch
    >>> from skot.measures import EmpiricalMeasure
    >>> EmpiricalMeasure.from_points(torch.zeros(4, 2)).weights
    tensor([0.2500, 0.2500, 0.2500, 0.2500], dtype=torch.float64)
    """

    points: Tensor
    weights: Tensor

    __repr__ = brief_repr

    @classmethod
    def from_points(cls, points, weights=None, *, dtype=None, device=None) -> "EmpiricalMeasure":
        """Build a measure from arrays.

        Parameters
        ----------
        points : array-like of shape (n, n_features)
            Support; copied.
        weights : array-like of shape (n,), default=None
            Non-negative, not all zero; normalised here. ``None`` means equal weights.
        dtype : torch.dtype, default=None
            Of the points; ``None`` keeps float32 and float64.
        device : torch.device, default=None
            ``None`` follows the points.

        Returns
        -------
        measure : EmpiricalMeasure
            The measure.

        Raises
        ------
        ValueError
            If the weights have another length, are negative, not finite or all zero.
        """
        points = to_tensor(points, dtype=dtype, device=device)
        n = len(points)
        if weights is None:
            weights = torch.full((n,), 1.0 / n, dtype=torch.float64, device=points.device)
        else:
            weights = to_tensor(weights, dtype=torch.float64, device=points.device)
            if weights.shape != (n,):
                raise ValueError(
                    f"weights must have shape ({n},), one per point. Got {tuple(weights.shape)}."
                )
            weights = normalize_weights(weights)
        return cls(points, weights)

    def __getstate__(self):
        # A pickle made after a fit on an accelerator must load on a machine without one.
        return packed({"points": self.points.cpu(), "weights": self.weights.cpu()})

    def __setstate__(self, state):
        self.__dict__.update(unpacked(state))

    def without_zero_weights(self) -> "EmpiricalMeasure":
        """Drop the points that carry no mass.

        Returns
        -------
        measure : EmpiricalMeasure
            The same measure on its support.
        """
        kept = self.weights > 0
        if bool(kept.all()):
            return self
        return EmpiricalMeasure(self.points[kept], self.weights[kept])

    def with_merged_rows(self) -> "EmpiricalMeasure":
        """Merge equal points that carry mass, and drop those that carry none.

        Returns
        -------
        measure : EmpiricalMeasure
            The same measure, each of its points once, in lexicographic order.
        """
        kept = self.without_zero_weights()
        points, places = torch.unique(kept.points, dim=0, return_inverse=True)
        weights = kept.weights.new_zeros(len(points)).index_add_(0, places, kept.weights)
        return EmpiricalMeasure(points, weights)


def normalize_weights(weights: Tensor) -> Tensor:
    """Scale non-negative weights (..., n) so that the last axis sums to one, keeping gradients."""
    detached = weights.detach()
    if not bool(torch.isfinite(detached).all()):
        raise ValueError("Weights contain NaN or infinity.")
    if bool((detached < 0).any()):
        raise ValueError("Negative values in data passed to weights.")
    largest = detached.amax(-1, keepdim=True)
    if bool((largest == 0).any()):
        raise ValueError("Weights must contain at least one non-zero number.")
    # Dividing by the largest first keeps the sum finite for weights near the largest float.
    scaled = weights / largest
    return scaled / scaled.sum(-1, keepdim=True)
