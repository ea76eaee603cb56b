"""Half steps on the entries of the kernel that matter, once the potentials have settled.

At small epsilon a plan concentrates on a few targets per row. When the potentials are nearly
right, the other entries can be left out, and passes in float64 cost a fraction of a pass over
the full kernel in float32.
"""

import scipy.sparse
import torch
from torch import Tensor

from skot.numerics.softmax import softmax_tile
from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.kernels import HalfSteps, PairwiseKernel, target_half_step

#: Rows looked at to estimate how many entries would be kept.
_SAMPLED_ROWS = 64


def estimate_density(costs, h: Tensor, b: Tensor, epsilon: float, threshold: float) -> float:
    """Share of the entries of the plan above a share of their row's mass, from a few rows.

    Of a potential and weights of shape (m,).
    """
    n, _ = costs.shape
    tile = costs.logit_tiles(h + b.log(), epsilon, torch.float64)
    sampled, _ = softmax_tile(tile(slice(0, n, max(1, n // _SAMPLED_ROWS))))
    return float((sampled > threshold).double().mean())


class SparseKernel(PairwiseKernel):
    """Kernel truncated to the entries that carry mass, in float64 on the CPU.

    Entries with a smaller share than the threshold of the mass of both their row and their column
    are dropped. Weights are positive, of shape (1, n), (1, m).
    """

    #: The set of entries is chosen anew when a potential moved by this much.
    _LIMIT = 14.0

    def __init__(self, costs, a: Tensor, b: Tensor, threshold: float):
        super().__init__(costs, a, b)
        self._threshold = threshold

    def absorb(self, h: Tensor, epsilon: float) -> None:
        """Choose the entries at h of shape (1, m), in one pass over the tiles in float64."""
        self._absorbed = h[0]
        n, m = self.costs.shape
        a, b = self._a[0], self._b[0]
        tile = self.costs.logit_tiles(self._absorbed + b.log(), epsilon, torch.float64)
        values, columns, counts, row_log = [], [], [], []
        for rows in row_tiles(n, m):
            conditional, logsumexp = softmax_tile(tile(rows))
            # Entry over row mass is the conditional, over column mass a_i / b_j times it.
            kept = conditional * torch.clamp(a[rows, None] / b, min=1.0) > self._threshold
            values.append(conditional[kept])
            columns.append(kept.nonzero()[:, 1].int())
            counts.append(kept.sum(1))
            row_log.append(logsumexp)
        indptr = torch.cat([torch.zeros(1, dtype=torch.long), torch.cat(counts).cumsum(0)])
        parts = (torch.cat(values).numpy(), torch.cat(columns).numpy(), indptr.int().numpy())
        self._kernel = scipy.sparse.csr_array(parts, shape=(n, m))
        self._transposed = self._kernel.T.tocsr()
        self._row_log = torch.cat(row_log)

    def in_range(self, h: Tensor) -> bool:
        """Whether the chosen entries are still the ones that matter; if not, absorb first."""
        change = h[0] - self._absorbed
        return float(change.max() - change.min()) <= self._LIMIT

    def half_steps(self, h: Tensor) -> HalfSteps:
        """Do one pass over the kept entries at h of shape (1, m), in range of the absorbed one."""
        change = h[0] - self._absorbed
        row_sums = self._kernel @ change.exp().numpy()
        column_sums = torch.from_numpy(self._transposed @ (self._a[0].numpy() / row_sums))
        # The kernel holds the target weights: divided out to compare with the target's mass.
        sums = (column_sums / self._b[0])[None]
        row_sums = torch.from_numpy(row_sums)[None]
        return target_half_step(change[None], sums, self._b, row_sums, self._row_log)
