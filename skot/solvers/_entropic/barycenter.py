"""Barycentres of histograms on one support, by Bregman projections with a fixed or moving kernel.

The unknown is ``h`` of shape (n_measures, n), the logarithms of the scalings of the kernel on the
side of the barycentre, mass included. Their mean under the weights is the logarithm of the
debiasing factor d, which is one for the blurred barycentre: the invariant of the algorithm, which
is not to be remembered beside the unknown then, and which accelerated steps keep, as affine ones.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skot.costs import Cost, GridCost, SupportCost, as_fixed_support_cost, cost_matrix
from skot.measures import normalize_weights
from skot.solvers._entropic.acceleration import SafeguardedAcceleration
from skot.solvers._entropic.grid_kernel import GridKernel
from skot.solvers._entropic.line_sums import LineSums
from skot.solvers._entropic.settings import Settings, check_integer
from skot.utils._brief import brief_repr
from skot.utils.tensors import to_tensor
from skot.utils.validation import check_points

#: Plain passes before the acceleration, which is to start where mass is about where it belongs.
_PLAIN_PASSES = 8


@dataclass(frozen=True)
class BarycenterResult:
    r"""Barycentre of histograms.

    Attributes
    ----------
    barycenter : Tensor of shape (n_bins,)
        Weights in float64 that sum to one.
    f, g : Tensor of shape (n_measures, n_bins)
        Potentials of the plans ``a_ki b_j exp((f_ki + g_kj - C_ij) / epsilon)`` from each
        histogram to the barycentre, in the units of the cost and finite everywhere. The constant
        between the two is fixed by the optimality of the barycentre b: the mean
        :math:`\sum_k w_k g_k` is :math:`-\epsilon \log b` for the blurred one, and the potential
        of b with itself for the debiased one.
    marginal_error : float
        Largest L1 distance between the barycentre and the second marginal of a plan; with
        `debiased` also that of its plan with itself.
    converged : bool
        Whether `marginal_error` is at most the tolerance.
    n_iter : int
        Passes: two products of the kernel with each of the measures.
    errors : tuple of float
        Marginal error at each pass.
    epsilon : float
        The regularisation.
    """

    barycenter: Tensor
    f: Tensor
    g: Tensor
    marginal_error: float
    converged: bool
    n_iter: int
    errors: tuple[float, ...]
    epsilon: float

    __repr__ = brief_repr


def barycenter(
    histograms: Any,
    cost: Any,
    *,
    epsilon: float,
    weights: Any = None,
    debiased: bool = True,
    max_iter: int = 1000,
    tol: float = 1e-4,
    anderson_memory: int = 10,
) -> BarycenterResult:
    r"""Entropic barycentre of histograms on one support.

    .. math::

        \min_b \sum_k w_k\, S_\epsilon(a_k, b), \qquad
        S_\epsilon(a, b) = V_\epsilon(a, b) - \tfrac12 V_\epsilon(a, a)
        - \tfrac12 V_\epsilon(b, b)

    with the value :math:`V_\epsilon` of :func:`sinkhorn`: the debiased barycentre [1]_. Without
    `debiased`, the one of iterated Bregman projections [2]_,

    .. math::

        \min_b \sum_k w_k \min_{P \in \Pi(a_k, b)}
        \langle C, P \rangle + \epsilon \sum_{ij} P_{ij} \log P_{ij},

    which is blurred: that of copies of one measure is not the measure but, for the squared
    Euclidean cost, its convolution with a Gaussian of variance epsilon / 2.

    Parameters
    ----------
    histograms : array-like or Tensor of shape (n_measures, n_bins)
        Weights on the support, one measure a row, each normalised here; zeros are allowed.
    cost : PrecomputedCost, SupportCost, GridCost or array-like of shape (n_bins, n_bins)
        Cost between the bins. Symmetric with `debiased`; a :class:`skot.costs.SupportCost` has
        one support twice.
    epsilon : float
        Regularisation, in the units of the cost.
    weights : array-like or Tensor of shape (n_measures,), default=None
        How much each measure counts, normalised here; ``None`` means all the same.
    debiased : bool, default=True
        Whether to take away the blur.
    max_iter : int, default=1000
        Passes, each of which takes two products of the kernel with every measure.
    tol : float, default=1e-4
        L1 marginal error to reach. See the notes on what can be reached with `debiased`.
    anderson_memory : int, default=10
        Differences kept by Anderson's acceleration; 0 is the plain iteration.

    Returns
    -------
    result : BarycenterResult
        The barycentre, potentials, and the error achieved. Never raises for lack of convergence.

    Raises
    ------
    ValueError
        For histograms or weights that are negative, not finite or all zero, a cost that is not
        one of n_bins bins with themselves, one that is not symmetric with `debiased`, parameters
        out of range or out of proportion to the costs, and for inputs that require a gradient:
        there are no derivatives.

    See Also
    --------
    sinkhorn : One plan between two measures.

    Notes
    -----
    In scalings :math:`u_k, v_k` of the kernel :math:`K = e^{-C / \epsilon}` a pass is

    .. math::

        u_k = a_k / K v_k, \quad p = \prod_k (K^\top u_k)^{w_k}, \quad b = d\, p, \quad
        d \leftarrow \sqrt{d\, b / K d}, \quad v_k = d\, p / K^\top u_k,

    from ones, with d = 1 throughout for the blurred barycentre. (In [1]_ the new d enters the
    :math:`v_k` one pass later.) It is done on logarithms, in which no epsilon is too small, and
    accelerated [3]_; :math:`\sum_k w_k \log v_k = \log d` holds at every pass. A grid takes one
    small product per axis where the largest cost along an axis is at most 600 epsilon, and other
    costs one product where their range is; beyond, sums of exponentials are an order of magnitude
    slower, and take 8 n_bins^2 bytes.

    To take away the blur is to sharpen, which is ill-posed: marginals see fine details but weakly.
    Smooth histograms take a few dozen passes to an error of 1e-6. Where edges are sharp, bins next
    to them run empty, and the error falls as slowly as one over the passes, to about 1e-3 after 50
    of them; where nothing is left to see in the picture the result still says `converged` is
    False. The blurred barycentre has no such trouble.

    Barycentres of Gaussians are Gaussian, with the mean of the means. In one dimension with the
    cost :math:`|x - y|^2`, the variance A of the debiased one solves
    :math:`\sqrt{A^2 + \epsilon^2 / 16} = \sum_k w_k \sqrt{A S_k + \epsilon^2 / 16}` [1]_.
    It is that of optimal transport without regularisation where all variances are equal, and
    tends to it as epsilon goes to zero.

    References
    ----------
    .. [1] Janati, H., Cuturi, M. and Gramfort, A. (2020). Debiased Sinkhorn barycenters. ICML,
       Algorithm 1.
    .. [2] Benamou, J.-D., Carlier, G., Cuturi, M., Nenna, L. and Peyre, G. (2015). Iterative
       Bregman projections for regularized transportation problems. SIAM Journal on Scientific
       Computing, 37(2), Section 3.
    .. [3] Walker, H. F. and Ni, P. (2011). Anderson acceleration for fixed-point iterations. SIAM
       Journal on Numerical Analysis, 49(4), Section 2.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import Cost, GridCost
    >>> from skot.solvers import barycenter
    >>> ends = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    >>> result = barycenter(ends, GridCost((5,)), epsilon=0.01)
    >>> result.converged
    True
    >>> result.barycenter.round(decimals=3).abs()
    tensor([0., 0., 1., 0., 0.], dtype=torch.float64)
    """
    Settings(epsilon, tol, anderson_memory, False, "auto", None).check()
    check_integer("max_iter", max_iter, 1)
    a = _read_histograms(histograms)
    w = _read_weights(weights, a)
    with torch.no_grad():
        kernel = _read_kernel(cost, a, float(epsilon), debiased=debiased)
        if not math.isfinite(kernel.range):
            raise ValueError("The costs are too large for float64 in units of epsilon.")
        solved = _iterate(kernel, a, w, debiased, max_iter, tol, anderson_memory)
        # The logarithms of masses that sum to one up to the error.
        total = solved.log_barycenter.logsumexp(0)
        return BarycenterResult(
            barycenter=(solved.log_barycenter - total).exp(),
            f=kernel.lowest - epsilon * solved.log_rows,
            g=epsilon * (total - solved.log_columns),
            marginal_error=solved.errors[-1],
            converged=solved.errors[-1] <= tol,
            n_iter=len(solved.errors),
            errors=tuple(solved.errors),
            epsilon=float(epsilon),
        )


class _Kernel(NamedTuple):
    """Logarithms of the kernel and its transpose times exponentials (k, n).

    The lowest cost, and the range of the costs in units of epsilon.
    """

    rows: Callable[[Tensor], Tensor]
    columns: Callable[[Tensor], Tensor]
    lowest: float
    range: float


class _Iterates(NamedTuple):
    """Where the iteration ended, the logarithms of shape (n,), (n_measures, n)."""

    log_barycenter: Tensor
    log_rows: Tensor
    log_columns: Tensor
    errors: list[float]


def _iterate(
    kernel: _Kernel, a: Tensor, w: Tensor, debiased: bool, max_iter: int, tol: float, memory: int
) -> _Iterates:
    """Do passes on histograms (n_measures, n) with weights (n_measures,)."""
    log_a = a.log()
    h, acceleration = torch.zeros_like(a), None
    errors: list[float] = []
    for i in range(1, max_iter + 1):
        log_rows = kernel.rows(h)
        log_columns = kernel.columns(log_a - log_rows)
        log_d = following_d = w @ h if debiased else torch.zeros_like(a[0])
        log_product = w @ log_columns
        log_b = log_d + log_product
        b = log_b.exp()
        error = ((h + log_columns).exp() - b).abs().sum(1).max()
        if debiased:
            own = kernel.rows(log_d[None])[0]
            error = torch.maximum(error, ((log_d + own).exp() - b).abs().sum())
            following_d = 0.5 * (log_d + log_b - own)
        errors.append(float(error))
        if errors[-1] <= tol or i == max_iter:
            break
        following = following_d + log_product - log_columns
        if i < _PLAIN_PASSES:
            h = following
            continue
        if acceleration is None:
            # What bins of no mass do is not to govern the steps of the others.
            mass = (b / b.sum()).repeat(len(a))[None] / len(a)
            # Where next to no mass is, scalings travel far, but not beyond the range of the kernel.
            acceleration = SafeguardedAcceleration(mass, memory, kernel.range)
        h = acceleration.step(h.reshape(1, -1), (following - h).reshape(1, -1)).reshape(a.shape)
    return _Iterates(log_b, log_rows, log_columns, errors)


def _read_histograms(histograms: Any) -> Tensor:
    """Histograms in float64, each of which sums to one."""
    _refuse_gradients(histograms, "histograms")
    rows = to_tensor(check_points(histograms, name="histograms"), dtype=torch.float64)
    if bool((rows < 0).any()):
        raise ValueError("Negative values in data passed to histograms.")
    if bool((rows.sum(1) == 0).any()):
        raise ValueError("Every histogram must contain at least one non-zero number.")
    return normalize_weights(rows)


def _read_weights(weights: Any, a: Tensor) -> Tensor:
    """Weights of the measures in float64 that sum to one."""
    if weights is None:
        return a.new_full((len(a),), 1.0 / len(a))
    _refuse_gradients(weights, "weights")
    w = to_tensor(weights, dtype=torch.float64, device=a.device)
    if w.shape != (len(a),):
        raise ValueError(
            f"weights must have shape ({len(a)},), one for each histogram. Got {tuple(w.shape)}."
        )
    return normalize_weights(w)


def _read_kernel(cost: Any, a: Tensor, epsilon: float, *, debiased: bool) -> _Kernel:
    """The kernel of a cost between the bins of histograms of shape (n_measures, n)."""
    if isinstance(cost, (str, Cost)):
        raise ValueError(f"cost must have a support. Got {cost!r}: pass SupportCost(x, x, cost).")
    cost = as_fixed_support_cost(cost)
    n = a.shape[1]
    for name in ("x", "y", "matrix"):
        _refuse_gradients(getattr(cost, name, None), f"{name} of the cost")
    if cost.is_batch or cost.support_sizes != (n, n):
        shape = "several problems" if cost.is_batch else f"{cost.support_sizes} points"
        raise ValueError(f"The histograms have {n} bins, but the cost is one of {shape}.")
    if isinstance(cost, GridCost):
        grid = GridKernel(cost, a, a)
        grid.absorb(a, epsilon)
        return _Kernel(grid.log_sums, grid.log_sums, 0.0, grid.range())
    if isinstance(cost, SupportCost) and not torch.equal(*cost.points()):
        raise ValueError("A barycentre has one support: x and y of the cost must be equal.")
    matrix = cost_matrix(cost)
    check_points(matrix, name="cost matrix")
    if debiased and not torch.allclose(matrix, matrix.T):
        raise ValueError("The debiased barycentre needs a symmetric cost.")
    lowest = float(matrix.min())
    logits = (lowest - matrix.to(a.device)) / epsilon
    rows = LineSums(logits)
    columns = rows if torch.equal(logits, logits.T) else LineSums(logits.T)
    return _Kernel(rows.log, columns.log, lowest, -float(logits.min()))


def _refuse_gradients(values: Any, name: str) -> None:
    if isinstance(values, Tensor) and values.requires_grad:
        raise ValueError(f"A barycentre has no derivatives: detach {name}.")
