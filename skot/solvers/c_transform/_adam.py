"""Adam with a cosine schedule."""

from numbers import Integral, Real
from typing import ClassVar

from torch import Tensor

from skot.numerics.adam import batched_adam
from skot.numerics.lbfgs import RowMinima
from skot.solvers.c_transform._base import CTransformObjective, CTransformSolver
from skot.utils._sklearn import Interval


class AdamCTransform(CTransformSolver):
    r"""Solve c-transforms by Adam with a step size that falls to zero along a cosine.

    Slower than :class:`LBFGSCTransform` where everything is smooth. It needs no decrease of the
    value and so steps over kinks and small bumps.

    Parameters
    ----------
    lr : float, default=0.1
        First step size; about the length of a step in each coordinate.
    max_iter : int, default=200
        Steps, each one evaluation of the action, of the potential and of their gradients.
    tol : float, default=1e-3
        A row stops when the root mean square of its gradient, over the features of the end point
        and the coordinates of the path, is at most this.
    proximity : float, default=0.0
        Weight of :math:`|y - y_0|^2 / 2`, with the start :math:`y_0`, in what is minimised: settles
        what the cost leaves open where minimisers are not unique.

    See Also
    --------
    LBFGSCTransform : For smooth problems.
    skot.solvers.conjugate.AdamConjugate : The same for the quadratic cost.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import Kinetic
    >>> from skot.numerics.splines import path_basis
    >>> from skot.solvers.c_transform import AdamCTransform
    >>> x, z = torch.zeros(1, 2), torch.zeros(1, 2, 3)
    >>> def linear(y):
    ...     return y @ torch.tensor([1.0, 2.0])
    >>> moved = AdamCTransform().solve(Kinetic(), linear, x, x, z, path_basis(3)).argument
    >>> torch.dist(moved, torch.tensor([[1.0, 2.0]])) < 0.01
    tensor(True)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "lr": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "proximity": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self, lr: float = 0.1, *, max_iter: int = 200, tol: float = 1e-3, proximity: float = 0.0
    ):
        self.lr = lr
        self.max_iter = max_iter
        self.tol = tol
        self.proximity = proximity

    def minimize(self, objective: CTransformObjective, u_init: Tensor) -> RowMinima:
        return batched_adam(objective, u_init, lr=self.lr, max_iter=self.max_iter, tol=self.tol)
