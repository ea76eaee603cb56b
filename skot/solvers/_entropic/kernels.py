"""Half steps of Sinkhorn's iteration on a kernel that is stored, or formed tile by tile.

Everything the iteration needs of a problem is one method: for a target potential ``h = g /
epsilon``, do the source half step, then the target half step, and say by how much h would change
and how wrong the target marginal is. The source potential never leaves the kernel.

Both kernels work on a batch of one problem, shape (1, m), except :class:`StoredKernel` in
float64, which takes any number of problems that share their cost.
"""

import copy
from typing import NamedTuple, Self

import torch
from torch import Tensor

from skot.numerics.softmax import clamped_exp_
from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.logits import column_logsumexp

#: Entries of a tile of the stored kernel: it stays in cache between its two products.
_PRODUCT_TILE = 2**19
#: A column sum below this is dominated by clamped exponents, and tells nothing.
_LOST_COLUMN = 1e-25


class HalfSteps(NamedTuple):
    """What one pass over the kernel tells about ``h``.

    Attributes
    ----------
    residual : Tensor of shape (n_problems, m)
        Change of h in a plain iteration.
    error : Tensor of shape (n_problems,)
        L1 error of the target marginal (the source marginal is exact).
    row_sums : Tensor of shape (n_problems, n)
        Row sums of the kernel with the potential, without a factor.
    row_offset : Tensor of shape (n,) or (n_problems, n)
        Logarithm of that factor.
    lost : bool
        Whether some column was out of reach of the exponentials.
    """

    residual: Tensor
    error: Tensor
    row_sums: Tensor
    row_offset: Tensor
    lost: bool = False

    @property
    def row_log(self) -> Tensor:
        """Logarithm of the row sums: ``f = -epsilon * row_log`` up to row constants."""
        return self.row_offset + self.row_sums.log()


def target_half_step(
    change: Tensor, column_sums: Tensor, b: Tensor, row_sums: Tensor, row_offset: Tensor
) -> HalfSteps:
    """Finish a pass from column masses divided by ``b exp(change)``, shape (n_problems, m).

    The change is what of h is not in the column sums.
    """
    lost = not bool(column_sums.min() >= _LOST_COLUMN)  # not a number is lost too
    log_masses = change + column_sums.clamp_min(torch.finfo(column_sums.dtype).tiny).log()
    # Rows are normalised, so the masses sum to one but for rounding: sums in float32 can be off
    # by a common factor of 1e-6, which would look like an error of the marginal.
    log_masses = log_masses - (log_masses.exp() * b).sum(1, keepdim=True).log()
    error = (torch.expm1(log_masses).abs() * b).sum(1)
    return HalfSteps(-log_masses, error, row_sums, row_offset, lost)


class PairwiseKernel:
    """What the kernels over pairs of points share; weights are positive and in float64."""

    def __init__(self, costs, a: Tensor, b: Tensor):
        self.costs = costs
        self._all = (a, b)
        self._a, self._b = a, b

    def select(self, kept: Tensor | None) -> None:
        """Keep some of the present problems, kept of bool; ``None`` takes all of them back."""
        if kept is None:
            self._a, self._b = self._all
        else:
            self._a, self._b = self._a[kept], self._b[kept]

    def exact_target_update(self, row_log: Tensor, epsilon: float) -> Tensor:
        """Half step of shape (n_problems, m) in the log domain, for columns that were lost."""
        # A batch may hold weights of zero: their logarithm has to stay finite.
        row_bias = self._a.log().clamp_min(-1e300) - row_log
        if len(row_bias) == 1:
            return -column_logsumexp(self.costs, row_bias[0], epsilon)[None]
        # Several problems have a stored kernel: their costs fit into memory at once.
        n, m = self.costs.shape
        logits = self.costs.logit_tiles(row_bias.new_zeros(m), epsilon, torch.float64)(slice(0, n))
        tiles = row_tiles(len(row_bias), n * m)
        parts = [torch.logsumexp(row_bias[tile, :, None] + logits, dim=1) for tile in tiles]
        return -torch.cat(parts)


class DenseKernel(PairwiseKernel):
    """What the kernels over all pairs share: the dtypes of products and of exponents."""

    def __init__(self, costs, a: Tensor, b: Tensor, dtype, exponent_dtype):
        super().__init__(costs, a, b)
        self._dtype, self._exponent_dtype = dtype, exponent_dtype

    def with_exponents(self, dtype: torch.dtype) -> Self:
        """The same kernel in the same memory, with exponents formed in another dtype.

        Only one of the two is to be worked with at a time: each absorbs anew.
        """
        other = copy.copy(self)
        other._exponent_dtype = dtype
        return other


class StoredKernel(DenseKernel):
    """Kernel kept in memory, with a potential absorbed in it."""

    def __init__(self, costs, a: Tensor, b: Tensor, dtype, exponent_dtype):
        super().__init__(costs, a, b, dtype, exponent_dtype)
        self._kernel = torch.empty(costs.shape, dtype=dtype, device=costs.device)
        # Scalings beyond this make products of kernel and scaling overflow or lose the small
        # entries: absorb again before.
        self._limit = 20.0 if dtype == torch.float32 else 300.0

    def absorb(self, h: Tensor, epsilon: float) -> None:
        """Form the kernel ``exp(h - C / epsilon)``, each row scaled to a largest entry of one.

        Of several problems the mean potential is absorbed.
        """
        self._absorbed = h.mean(0)
        tile = self.costs.logit_tiles(self._absorbed, epsilon, self._exponent_dtype)
        n, m = self.costs.shape
        self._largest = torch.empty(n, dtype=torch.float64, device=self.costs.device)
        in_place = self._dtype == self._exponent_dtype
        for rows in row_tiles(n, m):
            kernel = self._kernel[rows]
            logits = tile(rows, out=kernel) if in_place else tile(rows)
            largest = logits.amax(1, keepdim=True)
            clamped_exp_(torch.sub(logits, largest, out=kernel))
            self._largest[rows] = largest[:, 0].double()

    def in_range(self, h: Tensor) -> bool:
        """Whether scalings relative to the absorbed potential are safe; if not, absorb first."""
        return float((h - self._absorbed).abs().max()) <= self._limit

    def half_steps(self, h: Tensor) -> HalfSteps:
        """Do one pass at h of shape (n_problems, m): two matrix-vector products per problem."""
        change = h - self._absorbed
        scaled_b = (change.exp() * self._b).to(self._dtype)
        if h.shape[0] == 1:
            row_sums, column_sums = self._products(scaled_b[0])
        else:
            row_sums = scaled_b @ self._kernel.T
            column_sums = (self._a / row_sums) @ self._kernel
        return target_half_step(change, column_sums, self._b, row_sums, self._largest)

    def _products(self, scaled_b: Tensor) -> tuple[Tensor, Tensor]:
        """Both products for one problem, tile by tile, so that the kernel is read once."""
        n, m = self.costs.shape
        a = self._a[0].to(self._dtype)
        row_sums = torch.empty(1, n, dtype=torch.float64, device=self.costs.device)
        column_sums = torch.zeros(1, m, dtype=torch.float64, device=self.costs.device)
        for rows in row_tiles(n, m, _PRODUCT_TILE):
            kernel = self._kernel[rows]
            sums = torch.mv(kernel, scaled_b)
            row_sums[0, rows] = sums
            # Summed over tiles in float64: thousands of float32 additions would drift.
            column_sums[0] += torch.mv(kernel.T, a[rows] / sums)
        return row_sums, column_sums


class StreamedKernel(DenseKernel):
    """Kernel formed tile by tile in every pass and never kept.

    Both half steps come from one pass of exponentials. The potential is in the exponents, so
    nothing leaves the range of floats.
    """

    def absorb(self, h: Tensor, epsilon: float) -> None:
        """Set the regularisation: the potential of each pass is in its exponents."""
        self._epsilon = epsilon

    def in_range(self, h: Tensor) -> bool:
        """Every potential is in range."""
        return True

    def half_steps(self, h: Tensor) -> HalfSteps:
        """Do one pass at h of shape (1, m) over the tiles."""
        n, m = self.costs.shape
        tile = self.costs.logit_tiles(h[0], self._epsilon, self._exponent_dtype)
        a, b = self._a[0].to(self._dtype), self._b[0].to(self._dtype)
        row_sums = torch.empty(1, n, dtype=torch.float64, device=self.costs.device)
        row_offset = torch.empty_like(row_sums)
        column_sums = torch.zeros_like(h)
        for rows in row_tiles(n, m):
            logits = tile(rows)
            largest = logits.amax(1, keepdim=True)
            logits = clamped_exp_(logits.sub_(largest).to(self._dtype))
            sums = torch.mv(logits, b)
            column_sums[0] += torch.mv(logits.T, a[rows] / sums)
            row_sums[0, rows], row_offset[0, rows] = sums.double(), largest[:, 0].double()
        change = torch.zeros_like(h)
        return target_half_step(change, column_sums, self._b, row_sums, row_offset)
