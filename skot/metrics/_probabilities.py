"""Entropic transport between rows of class probabilities, as a loss."""

from typing import Any, Literal, overload

import torch
from torch import Tensor

from skot.solvers import ProbabilityTransport, probability_transport
from skot.utils._warnings import warn_not_converged

__all__ = ["probability_transport_loss"]


@overload
def probability_transport_loss(
    a: Any,
    b: Any,
    cost: Any,
    *,
    epsilon: float,
    debiased: bool = ...,
    initializer: Any = ...,
    max_iter: int = ...,
    tol: float = ...,
    return_result: Literal[False] = ...,
) -> Tensor: ...


@overload
def probability_transport_loss(
    a: Any,
    b: Any,
    cost: Any,
    *,
    epsilon: float,
    debiased: bool = ...,
    initializer: Any = ...,
    max_iter: int = ...,
    tol: float = ...,
    return_result: Literal[True],
) -> ProbabilityTransport: ...


def probability_transport_loss(
    a: Any,
    b: Any,
    cost: Any,
    *,
    epsilon: float,
    debiased: bool = False,
    initializer: Any = None,
    max_iter: int = 1000,
    tol: float = 1e-4,
    return_result: bool = False,
) -> "Tensor | ProbabilityTransport":
    r"""Entropic transport cost between rows of class probabilities, as a loss.

    .. math::

        \ell(a, b) = OT_\epsilon(a, b) = \min_{P \in \Pi(a, b)} \langle C, P \rangle
        + \epsilon\, KL(P \,\|\, a b^\top)

    and with `debiased` :math:`OT_\epsilon(a, b) - \tfrac12 OT_\epsilon(a, a)
    - \tfrac12 OT_\epsilon(b, b)`. The cost says which confusions of classes are bad [1]_; between
    the predictions at a point and at an adversarial neighbour it regularises a classifier against
    wrong labels [2]_.

    Parameters
    ----------
    a : array-like or Tensor of shape (n_rows, n) or (n,)
        Histograms, one a row, normalised here.
    b : array-like or Tensor of shape (n_rows, m) or (m,)
        Histograms to compare with, row by row. One row on either side is compared with all.
    cost : array-like of shape (n, m), PrecomputedCost, SupportCost or GridCost
        Cost between the classes: a table, or for ordered classes ``GridCost((n,))``.
    epsilon : float
        Regularisation, in the units of the cost. The value carries a bias of this order: the best
        `a` is not `b`, but closer to the classes in the middle of `b`; see `debiased`.
    debiased : bool, default=False
        Whether to subtract the costs of each side with itself. The loss is then zero for equal
        rows, and positive otherwise where :math:`e^{-C/\epsilon}` is positive definite. The cost
        must be symmetric.
    initializer : Initializer or Tensor of shape (n_rows, m), default=None
        Initial target potential, or the component that computes one. ``None`` means zeros.
    max_iter : int, default=1000
        Passes of each problem.
    tol : float, default=1e-4
        L1 marginal error to reach; also how far potentials may be from their updates, as a share
        of the range of the cost.
    return_result : bool, default=False
        Whether to return what :func:`probability_transport` returns. Nothing is warned of then.

    Returns
    -------
    loss : Tensor of shape (n_rows,) or (), or ProbabilityTransport
        One value per row, in the dtype of the histograms, differentiable twice in `a`, `b` and a
        cost that requires a gradient.

    Raises
    ------
    ValueError
        For inconsistent shapes, probabilities that are negative, not finite or all zero, a cost
        that is not symmetric with `debiased`, or parameters out of range.

    Warns
    -----
    ConvergenceWarning
        If problems did not converge; their values are lower bounds then, but for what `debiased`
        takes away.

    See Also
    --------
    probability_transport : The same, with potentials and the passes taken.
    skot.solvers.sinkhorn : Larger problems, points, acceleration.

    Notes
    -----
    By the envelope theorem the gradients are the potentials at the optimum, so that nothing is
    differentiated through the iteration, and they stay bounded by the range of the cost where
    a softmax leaves no mass (a Kullback-Leibler loss has no such bound). As the rows are
    normalised here, the gradients are orthogonal to them. Second derivatives come from a linear
    system, as those of :func:`skot.solvers.sinkhorn`.

    Between rows that nearly agree, the gradient without bias is a small difference of potentials:
    with a tolerance above the L1 distance of the rows it depends on where the iteration started.

    References
    ----------
    .. [1] Frogner, C., Zhang, C., Mobahi, H., Araya-Polo, M. and Poggio, T. (2015). Learning
       with a Wasserstein loss. NeurIPS, Section 3.
    .. [2] Fatras, K., Damodaran, B. B., Lobry, S., Flamary, R., Tuia, D. and Courty, N. (2021).
       Wasserstein adversarial regularization for learning with label noise. IEEE Transactions on
       Pattern Analysis and Machine Intelligence, 44(10), Section 3.

    Examples
    --------
    Taking a 7 for a 1 is cheaper than taking it for an 8:

    >>> import torch
    >>> from skot.metrics import probability_transport_loss
    >>> cost = torch.tensor([[0.0, 0.2, 1.0], [0.2, 0.0, 1.0], [1.0, 1.0, 0.0]])  # of 7, 1, 8
    >>> seven = torch.tensor([1.0, 0.0, 0.0])
    >>> guesses = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]], requires_grad=True)
    >>> loss = probability_transport_loss(guesses, seven, cost, epsilon=0.05)
    >>> loss.detach()
    tensor([0.1000, 0.5000])
    >>> loss.sum().backward()
    >>> guesses.grad[1]
    tensor([-0.5000, -0.3000,  0.5000])
    """
    result = probability_transport(
        a,
        b,
        cost,
        epsilon=epsilon,
        debiased=debiased,
        initializer=initializer,
        max_iter=max_iter,
        tol=tol,
    )
    if return_result:
        return result
    n_failed = int((~result.converged).sum())
    if n_failed:
        warn_not_converged(
            f"probability_transport_loss did not converge for {n_failed} of "
            f"{result.converged.numel()} rows: after {max_iter} passes the L1 marginal error is "
            f"up to {float(result.marginal_error.max()):.2g}, or potentials still move, "
            f"tol={tol:g}. Increase max_iter, epsilon (here {epsilon:.2g}) or tol."
        )
    return result.value.to(_common_dtype(a, b))


def _common_dtype(a: Any, b: Any) -> torch.dtype:
    dtypes = [c.dtype for c in (a, b) if isinstance(c, Tensor) and c.is_floating_point()]
    if not dtypes:
        return torch.float64
    return dtypes[0] if len(dtypes) == 1 else torch.promote_types(*dtypes)
