"""Plain Sinkhorn iterations on a batch of small histograms, each of which ends on its own.

Unknowns are the scalings ``u = exp(f / epsilon)`` and ``v = exp(g / epsilon)`` with the weights
outside of the kernel ``exp(exponents)``, so that weights of zero need no care.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.arrival import ROUNDING

#: Largest cost, in units of epsilon, up to which scalings and their products fit into float64.
_SCALING_RANGE = 250.0
#: Entries of the problems that are solved together in the log-domain.
_LOG_ENTRIES = 2**20
#: The largest residual whose exponential is a number.
_LARGEST_RESIDUAL = 700.0
#: Share of a batch that is still under way at which the others are worth the copies of leaving.
_KEPT_SHARE = 0.75


@dataclass(frozen=True)
class HistogramIterates:
    """Where the problems of a batch ended.

    Attributes
    ----------
    log_u, log_v : Tensor of shape (n_problems, n), (n_problems, m)
        Potentials in units of epsilon. The first is the half step of the second, so that their
        dual value is a lower bound whatever the error, and at points without mass the second is
        that of the first.
    passes : Tensor of shape (n_problems,)
        Passes until a problem arrived, or all of them.
    error : Tensor of shape (n_problems,)
        L1 errors of the target marginals.
    converged : Tensor of bool, shape (n_problems,)
        Whether a problem arrived.
    """

    log_u: Tensor
    log_v: Tensor
    passes: Tensor
    error: Tensor
    converged: Tensor


class _Scalings:
    """Half steps on the scalings themselves: two small matrix products."""

    def __init__(self, exponents: Tensor):
        self._kernel = exponents.exp()

    def start(self, h: Tensor) -> Tensor:
        return h.exp()

    def source(self, v: Tensor, b: Tensor) -> Tensor:
        return ((b * v) @ self._kernel.T).reciprocal()

    def target(self, u: Tensor, a: Tensor) -> Tensor:
        return ((a * u) @ self._kernel).reciprocal()

    def ratio(self, v: Tensor, following: Tensor) -> Tensor:
        return v / following

    def mean(self, u: Tensor, following: Tensor) -> Tensor:
        return (u * following).sqrt()

    def log(self, scaling: Tensor) -> Tensor:
        return scaling.log()


class _LogScalings:
    """The same half steps on the logarithms, for costs of any range."""

    def __init__(self, exponents: Tensor):
        self._exponents = exponents

    def start(self, h: Tensor) -> Tensor:
        return h

    def source(self, v: Tensor, b: Tensor) -> Tensor:
        return -((v + b.log())[:, None, :] + self._exponents).logsumexp(2)

    def target(self, u: Tensor, a: Tensor) -> Tensor:
        return -((u + a.log())[:, :, None] + self._exponents).logsumexp(1)

    def ratio(self, v: Tensor, following: Tensor) -> Tensor:
        # Finite, as it is multiplied by weights that may be zero.
        return (v - following).clamp(max=_LARGEST_RESIDUAL).exp()

    def mean(self, u: Tensor, following: Tensor) -> Tensor:
        return 0.5 * (u + following)

    def log(self, scaling: Tensor) -> Tensor:
        return scaling


def solve_histograms(
    exponents: Tensor, a: Tensor, b: Tensor, h: Tensor, max_iter: int, tol: float
) -> HistogramIterates:
    """Solve problems that share a small cost.

    Of minus the costs in units of epsilon, (n, m), the largest being zero; weights of shape
    (n_problems, n), (n_problems, m), zeros allowed; and potentials in units of epsilon,
    (n_problems, m), that are cut to the range that a solution can have.

    `tol` is the L1 error to reach, and what a target potential with mass may be off its half step,
    as a share of the range of the costs. The error alone does not see potentials of points that
    hardly carry mass. The two bound the gap between the primal and the dual value too, as target
    potentials never leave the range of the costs: by `tol` times that range.
    """
    span = -float(exponents.min())
    # What stands at points without mass does not matter.
    largest = torch.where(b > 0, h, -torch.inf).amax(1, keepdim=True)
    h = (h - largest).clamp(-span, span)
    return _solve(_full_pass, exponents, a, b, h, max_iter, tol)


def solve_self_transport(
    exponents: Tensor, a: Tensor, max_iter: int, tol: float
) -> HistogramIterates:
    """Solve the problems of histograms with themselves, weights of shape (n_problems, n).

    A potential is averaged with its half step. Where the kernel, symmetric of shape (n, n), is
    positive definite, the derivative of a half step has its eigenvalues in [-1, 0], so that the
    average at least halves the distance to the solution, however small epsilon is (Feydy et al.,
    2019, Interpolating between optimal transport and MMD using Sinkhorn divergences, AISTATS,
    Section 3.1). At the solution the two potentials agree.
    """
    return _solve(_symmetric_pass, exponents, a, a, torch.zeros_like(a), max_iter, tol)


def _full_pass(kernel, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half step of v, the half step of that, and where to go on from."""
    u = kernel.source(v, b)
    following = kernel.target(u, a)
    return u, following, following


def _symmetric_pass(kernel, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half step of v, which is that of the other side too, and where to go on from."""
    u = kernel.source(v, b)
    return u, u, kernel.mean(v, u)


def _solve(
    do_pass: Callable,
    exponents: Tensor,
    a: Tensor,
    b: Tensor,
    h: Tensor,
    max_iter: int,
    tol: float,
) -> HistogramIterates:
    kernel, tiles = _kernel(exponents, len(b))
    largest = min(max(tol * -float(exponents.min()), ROUNDING), _LARGEST_RESIDUAL)
    limits = _Limits(tol, math.exp(largest))
    solved = [
        _iterate(do_pass, kernel, a[rows], b[rows], h[rows], max_iter, limits) for rows in tiles
    ]
    fields = zip(*(vars(part).values() for part in solved), strict=True)
    return HistogramIterates(*(torch.cat(field) for field in fields))


def _kernel(exponents: Tensor, n_problems: int) -> tuple[_Scalings | _LogScalings, Iterable[slice]]:
    """How half steps are done, and for how many problems at once."""
    if -float(exponents.min()) <= _SCALING_RANGE:
        return _Scalings(exponents), [slice(n_problems)]
    return _LogScalings(exponents), row_tiles(n_problems, exponents.numel(), _LOG_ENTRIES)


@dataclass(frozen=True)
class _Limits:
    """When a problem has arrived: L1 error, and the largest ratio of a scaling to its step."""

    error: float
    ratio: float

    def admit(self, error: Tensor, ratio: Tensor, b: Tensor) -> Tensor:
        """Which problems, of shape (n_problems,); none where something is not a number."""
        arrived = error <= self.error
        if not bool(arrived.any()):
            return arrived
        # What stands where there is no mass counts for nothing.
        ratio = torch.where(b > 0, ratio, 1.0)
        return arrived & (ratio.amax(1) <= self.ratio) & (ratio.amin(1) >= 1.0 / self.ratio)


def _iterate(
    do_pass: Callable, kernel, a: Tensor, b: Tensor, h: Tensor, max_iter: int, limits: _Limits
) -> HistogramIterates:
    active = torch.arange(len(b), device=b.device)
    passes, error_all = torch.zeros_like(active), b.new_empty(len(b))
    u_all, v_all, converged = torch.empty_like(a), torch.empty_like(b), torch.zeros_like(passes > 0)
    v, missed = kernel.start(h), torch.zeros_like(active)
    for i in range(1, max_iter + 1):
        u, following, start = do_pass(kernel, v, a, b)
        ratio = kernel.ratio(v, following)
        error = (b * (ratio - 1.0).abs()).sum(1)
        arrived = limits.admit(error, ratio, b)
        left = ~arrived
        n_left = int(left.sum()) if i < max_iter else 0
        if n_left <= _KEPT_SHARE * len(active):
            u_all[active], v_all[active] = u, torch.where(b > 0, v, following)
            error_all[active], converged[active], passes[active] = error, arrived, missed + 1
            if n_left == 0:
                break
            active, a, b, missed = active[left], a[left], b[left], missed[left] + 1
            v = start[left]
        else:
            # Half steps expand no distance, so neither measure ever grows: a problem that has
            # arrived does not miss again.
            missed += left
            v = start
    return HistogramIterates(kernel.log(u_all), kernel.log(v_all), passes, error_all, converged)
