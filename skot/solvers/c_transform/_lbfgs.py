"""L-BFGS."""

from numbers import Integral, Real
from typing import ClassVar

from torch import Tensor

from skot.numerics.lbfgs import RowMinima, batched_lbfgs
from skot.solvers.c_transform._base import CTransformObjective, CTransformSolver
from skot.utils._sklearn import Interval


class LBFGSCTransform(CTransformSolver):
    r"""Solve c-transforms by L-BFGS with a backtracking line search, all rows at once [1]_.

    Parameters
    ----------
    max_iter : int, default=100
        Trial points per row, each one evaluation of the action, of the potential and of their
        gradients.
    tol : float, default=1e-3
        A row has converged when the root mean square of its gradient, over the features of the
        end point and the coordinates of the path, is at most this.
    memory_size : int, default=10
        Pairs of differences that approximate the Hessian of a row.
    proximity : float, default=0.0
        Weight of :math:`|y - y_0|^2 / 2`, with the start :math:`y_0`, in what is minimised: settles
        what the cost leaves open where minimisers are not unique.

    See Also
    --------
    AdamCTransform : For potentials and barriers with kinks.
    skot.solvers.conjugate.LBFGSConjugate : The same for the quadratic cost.

    References
    ----------
    .. [1] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI, Section 3.1.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import Kinetic
    >>> from skot.numerics.splines import path_basis
    >>> from skot.solvers.c_transform import LBFGSCTransform
    >>> x, z = torch.zeros(1, 2), torch.zeros(1, 2, 3)
    >>> def linear(y):  # moves everything by (1, 2)
    ...     return y @ torch.tensor([1.0, 2.0])
    >>> LBFGSCTransform().solve(Kinetic(), linear, x, x, z, path_basis(3)).argument
    tensor([[1., 2.]])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "proximity": [Interval(Real, 0, None, closed="left")],
        "memory_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        max_iter: int = 100,
        tol: float = 1e-3,
        memory_size: int = 10,
        proximity: float = 0.0,
    ):
        self.max_iter = max_iter
        self.tol = tol
        self.memory_size = memory_size
        self.proximity = proximity

    def minimize(self, objective: CTransformObjective, u_init: Tensor) -> RowMinima:
        return batched_lbfgs(
            objective,
            u_init,
            max_iter=self.max_iter,
            tol=self.tol,
            memory_size=self.memory_size,
        )
