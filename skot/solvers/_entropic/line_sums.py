"""Logarithms of sums of a kernel times exponentials, by products where these are safe."""

import torch
from torch import Tensor

from skot.numerics.tiles import row_tiles

#: Largest cost, in units of epsilon, for which sums relative to the largest exponential of a line
#: are products with the kernel.
_PRODUCT_RANGE = 600.0
#: Exponentials this far below the largest one of their line are dropped: they would be denormal,
#: which is slow, and are nothing beside the smallest possible sum.
_DROPPED = -700.0


class LineSums:
    """A kernel of shape (m, n) that is given by its logarithms, which are at most zero."""

    def __init__(self, logits: Tensor):
        self._logits = logits
        self._kernel = logits.T.exp() if -float(logits.min()) <= _PRODUCT_RANGE else None

    def log(self, lines: Tensor) -> Tensor:
        """Logarithms (k, m) of the kernel times the exponentials of lines (k, n).

        A line may be minus infinity here and there, or everywhere.
        """
        if self._kernel is None:
            parts = [
                torch.logsumexp(lines[rows][:, None, :] + self._logits, dim=2)
                for rows in row_tiles(len(lines), self._logits.numel())
            ]
            return torch.cat(parts)
        largest = lines.amax(1, keepdim=True).clamp_min(-1e300)
        relative = lines - largest
        relative.masked_fill_(relative < _DROPPED, -torch.inf)
        return (relative.exp_() @ self._kernel).log_().add_(largest)
