"""L-BFGS."""

from numbers import Integral, Real
from typing import ClassVar

from torch import Tensor

from skot.numerics.lbfgs import batched_lbfgs
from skot.solvers.conjugate._base import ConjugateObjective, ConjugateResult, ConjugateSolver
from skot.utils._sklearn import Interval


class LBFGSConjugate(ConjugateSolver):
    r"""Conjugates by L-BFGS with a backtracking line search, all rows at once [1]_.

    The method of choice for smooth potentials. Rows stop one by one; those still at work are
    evaluated together, so that a good start pays in every row that has one.

    Parameters
    ----------
    max_iter : int, default=50
        Trial points per row, each one evaluation of the potential and its gradient.
    tol : float, default=1e-3
        A row has converged when :math:`\|\nabla f(x) - y\|_2 / \sqrt{d}`, the root mean square
        over its d features, is at most this. In float32, and at unit scale, some 1e-5 can be
        reached.
    memory_size : int, default=10
        Pairs of differences that approximate the Hessian of a row.

    See Also
    --------
    AdamConjugate : For potentials with kinks.
    skot.numerics.lbfgs.batched_lbfgs : The function behind, for any objective.

    References
    ----------
    .. [1] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR,
       Section 3.2.

    Examples
    --------
    >>> import torch
    >>> from skot.solvers.conjugate import LBFGSConjugate
    >>> def quartic(x):
    ...     return (x**4).sum(1) / 4
    >>> result = LBFGSConjugate(tol=1e-5).solve(quartic, torch.tensor([[8.0], [27.0]]))
    >>> result.argument
    tensor([[2.0000],
            [3.0000]])
    >>> result.value
    tensor([12.0000, 60.7500])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "memory_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, *, max_iter: int = 50, tol: float = 1e-3, memory_size: int = 10):
        self.max_iter = max_iter
        self.tol = tol
        self.memory_size = memory_size

    def minimize(self, objective: ConjugateObjective, x_init: Tensor) -> ConjugateResult:
        result = batched_lbfgs(
            objective,
            x_init,
            max_iter=self.max_iter,
            tol=self.tol,
            memory_size=self.memory_size,
        )
        return ConjugateResult(-result.value, result.argument, result.n_iter, result.converged)
