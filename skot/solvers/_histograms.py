"""Plain Sinkhorn iterations on a batch of small histograms, each of which ends on its own.

Unknowns are the scalings ``u = exp(f / epsilon)`` and ``v = exp(g / epsilon)`` with the weights
outside of the kernel ``exp(exponents)``, so that weights of zero need no care.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from skot.numerics.tiles import row_tiles

#: Largest cost, in units of epsilon, up to which scalings and their products fit into float64.
_SCALING_RANGE = 250.0
#: Entries of the problems that are solved together in the log-domain.
_LOG_ENTRIES = 2**20
#: Share of a batch that is still under way at which the others are worth the copies of leaving.
_KEPT_SHARE = 0.75


@dataclass(frozen=True)
class HistogramIterates:
    """Where the problems of a batch ended.

    Attributes
    ----------
    log_u, log_v : Tensor of shape (n_problems, n), (n_problems, m)
        Potentials in units of epsilon.
    passes : Tensor of shape (n_problems,)
        Passes until a problem reached the tolerance, or all of them.
    error : Tensor of shape (n_problems,)
        L1 errors of the target marginals.
    """

    log_u: Tensor
    log_v: Tensor
    passes: Tensor
    error: Tensor


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
        return (v - following).exp()

    def mean(self, u: Tensor, following: Tensor) -> Tensor:
        return 0.5 * (u + following)

    def log(self, scaling: Tensor) -> Tensor:
        return scaling


def solve_histograms(
    exponents: Tensor, a: Tensor, b: Tensor, h: Tensor, max_iter: int, tol: float
) -> HistogramIterates:
    """Solve problems that share a small cost.

    Parameters
    ----------
    exponents : Tensor of shape (n, m)
        Minus the costs in units of epsilon, the largest being zero.
    a, b : Tensor of shape (n_problems, n), (n_problems, m)
        Weights that sum to one, in float64; zeros are allowed.
    h : Tensor of shape (n_problems, m)
        Initial target potentials in units of epsilon. They are cut to the range that a solution
        can have.
    max_iter : int
        Passes.
    tol : float
        L1 marginal error to reach.

    Returns
    -------
    iterates : HistogramIterates
        With an exact source marginal.
    """
    span = -float(exponents.min())
    # What stands at points without mass does not matter.
    largest = torch.where(b > 0, h, -torch.inf).amax(1, keepdim=True)
    h = (h - largest).clamp(-span, span)
    kernel, tiles = _kernel(exponents, len(b))
    solved = [_iterate(kernel, a[rows], b[rows], h[rows], max_iter, tol) for rows in tiles]
    fields = zip(*((s.log_u, s.log_v, s.passes, s.error) for s in solved), strict=True)
    return HistogramIterates(*(torch.cat(field) for field in fields))


def solve_self_transport(exponents: Tensor, a: Tensor, max_iter: int, tol: float) -> Tensor:
    r"""Solve the problems of histograms with themselves.

    A potential is averaged with its half step. Where the kernel is positive definite, the
    derivative of a half step has its eigenvalues in [-1, 0], so that the average at least halves
    the distance to the solution, however small epsilon is [1]_.

    Parameters
    ----------
    exponents : Tensor of shape (n, n)
        Symmetric; minus the costs in units of epsilon, the largest being zero.
    a : Tensor of shape (n_problems, n)
        Weights that sum to one, in float64.
    max_iter : int
        Half steps.
    tol : float
        L1 marginal error to reach.

    Returns
    -------
    log_u : Tensor of shape (n_problems, n)
        The potential of both sides in units of epsilon.

    References
    ----------
    .. [1] Feydy, J. et al. (2019). Interpolating between optimal transport and MMD using Sinkhorn
       divergences. AISTATS, Section 3.1.
    """
    kernel, tiles = _kernel(exponents, len(a))
    return torch.cat([_iterate_symmetric(kernel, a[rows], max_iter, tol) for rows in tiles])


def _kernel(exponents: Tensor, n_problems: int) -> tuple[_Scalings | _LogScalings, Iterable[slice]]:
    """How half steps are done, and for how many problems at once."""
    if -float(exponents.min()) <= _SCALING_RANGE:
        return _Scalings(exponents), [slice(n_problems)]
    return _LogScalings(exponents), row_tiles(n_problems, exponents.numel(), _LOG_ENTRIES)


def _iterate(
    kernel, a: Tensor, b: Tensor, h: Tensor, max_iter: int, tol: float
) -> HistogramIterates:
    active = torch.arange(len(b), device=b.device)
    passes = torch.zeros_like(active)
    u_all, v_all, error_all = torch.empty_like(a), torch.empty_like(b), b.new_empty(len(b))
    v, missed = kernel.start(h), torch.zeros_like(active)
    for i in range(1, max_iter + 1):
        u = kernel.source(v, b)
        following = kernel.target(u, a)
        error = (b * (kernel.ratio(v, following) - 1.0).abs()).sum(1)
        left = error > tol
        n_left = int(left.sum()) if i < max_iter else 0
        if n_left <= _KEPT_SHARE * len(active):
            u_all[active], v_all[active], error_all[active] = u, v, error
            passes[active] = missed + 1
            if n_left == 0:
                break
            active, a, b, missed = active[left], a[left], b[left], missed[left] + 1
            v = following[left]
        else:
            # The error never grows: a problem that has arrived does not miss again.
            missed += left
            v = following
    return HistogramIterates(kernel.log(u_all), kernel.log(v_all), passes, error_all)


def _iterate_symmetric(kernel, a: Tensor, max_iter: int, tol: float) -> Tensor:
    u = kernel.start(torch.zeros_like(a))
    for _ in range(max_iter):
        following = kernel.source(u, a)
        if float((a * (kernel.ratio(u, following) - 1.0).abs()).sum(1).max()) <= tol:
            break
        u = kernel.mean(u, following)
    return kernel.log(u)
