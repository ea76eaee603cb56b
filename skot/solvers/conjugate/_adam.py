"""Adam with a cosine schedule."""

from numbers import Integral, Real
from typing import ClassVar

from torch import Tensor

from skot.numerics.adam import batched_adam
from skot.solvers.conjugate._base import ConjugateObjective, ConjugateResult, ConjugateSolver
from skot.utils._sklearn import Interval


class AdamConjugate(ConjugateSolver):
    r"""Conjugates by Adam [1]_ with a step size that falls to zero along a cosine [2]_.

    Slower than :class:`LBFGSConjugate` on smooth potentials. It needs no decrease of the value
    and so steps over kinks and small bumps.

    Parameters
    ----------
    lr : float, default=0.1
        First step size; about the length of a step in each coordinate, in the units of the data.
    max_iter : int, default=100
        Steps, each one evaluation of the potential and its gradient.
    tol : float, default=1e-3
        A row stops when :math:`\|\nabla f(x) - y\|_2 / \sqrt{d}`, the root mean square over its d
        features, is at most this.

    See Also
    --------
    LBFGSConjugate : For smooth potentials.
    BestSoFar : Never worse than the start, which Adam alone does not promise.
    skot.numerics.adam.batched_adam : The function behind, for any objective.

    References
    ----------
    .. [1] Kingma, D. P. and Ba, J. (2015). Adam: a method for stochastic optimization. ICLR,
       Algorithm 1.
    .. [2] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR,
       Section 3.2.

    Examples
    --------
    >>> import torch
    >>> from skot.solvers.conjugate import AdamConjugate
    >>> result = AdamConjugate(max_iter=300).solve(lambda x: (x**2).sum(1), torch.ones(2, 3))
    >>> torch.dist(result.argument, torch.full((2, 3), 0.5)) < 0.01
    tensor(True)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "lr": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, lr: float = 0.1, *, max_iter: int = 100, tol: float = 1e-3):
        self.lr = lr
        self.max_iter = max_iter
        self.tol = tol

    def minimize(self, objective: ConjugateObjective, x_init: Tensor) -> ConjugateResult:
        result = batched_adam(objective, x_init, lr=self.lr, max_iter=self.max_iter, tol=self.tol)
        return ConjugateResult(-result.value, result.argument, result.n_iter, result.converged)
