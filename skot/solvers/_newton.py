"""Newton's method on the semi-dual, for small problems that the fixed-point iteration crawls on.

At small epsilon some groups of points exchange next to no mass. Their relative potential is then
almost free, and every first-order iteration needs as many passes as the inverse of that mass to
settle it. Newton's method divides by it.
"""

import torch
from torch import Tensor

from skot.numerics.softmax import softmax_tile
from skot.solvers._iteration import Iterate, Progress

#: Ridge relative to the target weights: what lies below it is rounding.
_RIDGE = 1e-14
#: Largest number of halvings of a step, and the share of the predicted increase that is asked.
_MAX_HALVINGS, _ARMIJO = 40, 1e-4


def newton(
    costs, a: Tensor, b: Tensor, h: Tensor, epsilon: float, tol: float, progress: Progress
) -> Iterate:
    r"""Maximise the semi-dual from a good start.

    .. math::

        D(h) = \langle b, h \rangle - \sum_i a_i \log \sum_j b_j e^{h_j - C_{ij} / \epsilon},
        \qquad \nabla D = b - Q^\top a, \qquad
        -\nabla^2 D = \mathrm{diag}(Q^\top a) - Q^\top \mathrm{diag}(a)\, Q

    with Q the conditional probabilities of the targets given the sources [1]_.

    Parameters
    ----------
    costs : PointCosts or MatrixCosts
        The costs.
    a, b : Tensor of shape (1, n), (1, m)
        Positive weights.
    h : Tensor of shape (1, m)
        Start.
    epsilon : float
        Regularisation.
    tol : float
        L1 marginal error to reach.
    progress : Progress
        Counts evaluations of the kernel as passes.

    Returns
    -------
    iterate : Iterate
        Where it ended: at the tolerance, out of passes, or where rounding ends the ascent.
        Memory O(n m + m^2).

    References
    ----------
    .. [1] Brauer, C., Clason, C., Lorenz, D. and Wirth, B. (2017). A Sinkhorn-Newton method for
       entropic optimal transport. arXiv:1710.06635, Section 2.
    """
    a, b, h = a[0], b[0], h[0]
    point = _SemiDual(costs, a, b, h, epsilon)
    progress.record(point.error, epsilon)
    while point.error > tol and not progress.exhausted:
        step, slope = point.direction()
        length = 1.0
        for _ in range(_MAX_HALVINGS):
            following = _SemiDual(costs, a, b, point.h + length * step, epsilon)
            progress.record(following.error, epsilon)
            gained = following.value - point.value
            # Near the top the value is flat to rounding, and the error tells more.
            if gained >= _ARMIJO * length * slope or following.error < 0.5 * point.error:
                break
            if progress.exhausted:
                return point.as_iterate()
            length *= 0.5
        else:
            return point.as_iterate()
        point = following
    return point.as_iterate()


class _SemiDual:
    """The semi-dual, its gradient and its Hessian at one point."""

    def __init__(self, costs, a: Tensor, b: Tensor, h: Tensor, epsilon: float):
        self.h, self._a, self._b = h, a, b
        tile = costs.logit_tiles(h + b.log(), epsilon, torch.float64)
        self._conditional, self._row_log = softmax_tile(tile(slice(0, costs.shape[0])))
        self._masses = self._conditional.T @ a
        self._gradient = b - self._masses
        self.error = float(self._gradient.abs().sum())
        self.value = float(b @ h - a @ self._row_log)

    def direction(self) -> tuple[Tensor, float]:
        """Newton's step and the slope of the semi-dual along it."""
        hessian = -(self._conditional.T * self._a) @ self._conditional
        diagonal = hessian.diagonal()
        # Masses on the diagonal alone: it is what is left of them after the product that counts,
        # and row sums that vanish give it without cancellation.
        diagonal.zero_()
        diagonal.copy_(-hessian.sum(1) + _RIDGE * self._b)
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if int(failed):
            step = self._gradient / self._b
        else:
            step = torch.cholesky_solve(self._gradient[:, None], factor)[:, 0]
        step = step - self._b @ step
        return step, float(self._gradient @ step)

    def as_iterate(self) -> Iterate:
        error = torch.tensor([self.error], dtype=torch.float64, device=self.h.device)
        return Iterate(self.h[None], self._row_log[None], error)
