"""Entropic transport of a sample to itself that leaves no row where it is."""

import torch
from sklearn import get_config
from torch import Tensor

from skot.costs import Cost
from skot.numerics.anderson import AndersonAcceleration
from skot.numerics.linalg import weighted_mean
from skot.numerics.softmax import clamped_exp_
from skot.numerics.tiles import row_tiles

#: Exponents by which a kept kernel may be off before it is rescaled: far within the range.
_IN_RANGE = 30.0
_MEMORY, _MOST_PASSES = 10, 100
#: From that many pairs and that tolerance on kernels are in single precision, if the mean cost is
#: so few times epsilon: exponents are then off by some 1e-5.
_SINGLE_PAIRS, _SINGLE_TOLERANCE, _SINGLE_RATIO = 2**18, 1e-5, 100.0
#: A row with half of the mass has nowhere to go, and before that such a plan is hard to find: with
#: a row of more than this share, rows may stay where they are.
_LARGEST_SHARE = 1.0 / 3.0


def transport_to_others(x: Tensor, a: Tensor, *, epsilon: float, cost: Cost, tol: float) -> Tensor:
    r"""Potential h (n,) of the symmetric plan of a sample (n, d) with weights (n,) to its others.

    It solves :math:`\sum_{k \neq i} a_k \exp((h_i + h_k - C_{ik}) / \epsilon) = 1` for all i by
    half steps :math:`h \mapsto (h + T(h)) / 2`, where T solves row i for :math:`h_i` (Feydy et al.
    2019, Section 3.3), to an L1 error `tol`. Rows far from all others, and
    clusters with an odd row out, have plans that take forever to find: after 100 passes the best
    potential is returned, with which some rows count a little more than others.
    """
    single = tol >= _SINGLE_TOLERANCE and len(x) ** 2 >= _SINGLE_PAIRS
    if single and cost.scale(x, x, a, a) <= _SINGLE_RATIO * epsilon:
        # Rounded near the origin, where costs keep their digits.
        x = (x - weighted_mean(x, a) if cost.translation_invariant else x).float()
    passes = _Passes(x, a, cost, epsilon, with_diagonal=float(a.max()) > _LARGEST_SHARE)
    z = best = torch.zeros_like(a)
    least = float("inf")
    anderson = AndersonAcceleration(a[None], _MEMORY)
    for _ in range(_MOST_PASSES):
        t = passes.solve_rows(z)
        error = float(a @ (1.0 - (z - t).exp()).abs())
        if error < least:
            best, least = z, error
        if error <= tol:
            break
        step = 0.5 * (t - z)
        # Extrapolation is for what is near.
        if not float(step.abs().max()) <= _IN_RANGE:
            anderson.restart()
            z = z + step
        elif not error <= 10.0 * least:
            anderson.restart()
            z = best + 0.5 * (passes.solve_rows(best) - best)
        else:
            z = anderson.step(z[None], step[None])[0]
    return epsilon * best


class _Passes:
    """Sums over a row of the kernel, kept where it fits, in units of epsilon."""

    def __init__(
        self, x: Tensor, a: Tensor, cost: Cost, epsilon: float, *, with_diagonal: bool
    ) -> None:
        self._x, self._log_a, self._a = x, a.log(), a
        self._cost, self._epsilon, self._with_diagonal = cost, epsilon, with_diagonal
        self._fits = x.element_size() * len(x) ** 2 <= 2**20 * get_config()["working_memory"]
        self._kernel: Tensor | None = None
        self._center = torch.zeros_like(a)

    def solve_rows(self, z: Tensor) -> Tensor:
        """Return ``-log sum_k a_k exp(z_k - C_ik / epsilon)``, k not i, for every row i."""
        shift = z - self._center
        if self._kernel is not None and float(shift.abs().max()) <= _IN_RANGE:
            return self._center - (self._kernel @ self._like(self._a * shift.exp())).log().to(z)
        t = torch.empty_like(z)
        for rows in row_tiles(len(z), len(z)):
            logits = self._logits(rows).add_(self._like(z + self._log_a))
            t[rows] = -torch.logsumexp(logits, 1).to(t)
        if self._fits and float((t - z).abs().max()) <= _IN_RANGE:
            self._keep(0.5 * (z + t))
        return t

    def _logits(self, rows: slice) -> Tensor:
        """Return minus the costs of some rows over epsilon, (r, n), infinite on the diagonal."""
        logits = self._cost.pairwise(self._x[rows], self._x).div_(-self._epsilon)
        if not self._with_diagonal:
            index = torch.arange(rows.start, rows.stop, device=logits.device)
            logits[index - rows.start, index] = -torch.inf
        return logits

    def _keep(self, center: Tensor) -> None:
        """Form the kernel around potentials near the solution, where its rows sum to about one."""
        n = len(center)
        if self._kernel is None:
            self._kernel = self._x.new_empty(n, n)
        for rows in row_tiles(n, n):
            logits = self._logits(rows).add_(self._like(center[rows, None]))
            self._kernel[rows] = clamped_exp_(logits.add_(self._like(center)))
        if not self._with_diagonal:
            self._kernel.fill_diagonal_(0.0)
        self._center = center

    def _like(self, values: Tensor) -> Tensor:
        """Return values in the precision of the kernel."""
        return values.to(self._x.dtype)
