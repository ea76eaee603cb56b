"""Adam with a cosine schedule."""

from dataclasses import dataclass
from math import cos, pi, sqrt
from numbers import Integral, Real
from typing import ClassVar

import torch
from torch import Tensor

from skot.solvers.conjugate._base import ConjugateObjective, ConjugateResult, ConjugateSolver
from skot.utils._sklearn import Interval

#: Decay of the averages of the gradient and of its square, and the usual guard of the division.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


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
        """Run Adam; see :meth:`ConjugateSolver.minimize`."""
        rows = torch.arange(len(x_init), device=x_init.device)
        batch = _Batch(rows, x_init, torch.zeros_like(x_init), torch.zeros_like(x_init))
        result = ConjugateResult(
            x_init.new_empty(len(rows)),
            torch.empty_like(x_init),
            torch.empty_like(rows),
            torch.empty_like(rows, dtype=torch.bool),
        )
        for i in range(self.max_iter + 1):
            value, gradient = objective(batch.x, batch.rows)
            norm = gradient.square().mean(1).sqrt()
            active = (norm > self.tol) & torch.isfinite(value + norm) & (i < self.max_iter)
            n_active = int(active.sum())
            if n_active < len(active):
                # Every row is written when it stops.
                stopped, left = (~active).nonzero()[:, 0], active.nonzero()[:, 0]
                batch.store(result, stopped, value, norm <= self.tol, i)
                batch, gradient = batch.select(left), gradient.index_select(0, left)
            if n_active == 0:
                break
            cosine = 0.5 * (1.0 + cos(pi * i / self.max_iter))
            batch.step(gradient, self.lr * cosine, i + 1)
        return result


@dataclass
class _Batch:
    """The rows at work: their indices, their points and the two averages."""

    rows: Tensor
    x: Tensor
    mean: Tensor
    square: Tensor

    def step(self, gradient: Tensor, lr: float, i: int) -> None:
        self.mean = torch.lerp(self.mean, gradient, 1.0 - _BETA1)
        self.square = torch.lerp(self.square, gradient.square(), 1.0 - _BETA2)
        spread = (self.square.sqrt() / sqrt(1.0 - _BETA2**i)).add_(_EPSILON)
        self.x = torch.addcdiv(self.x, self.mean, spread, value=-lr / (1.0 - _BETA1**i))

    def select(self, left: Tensor) -> "_Batch":
        parts = (self.rows, self.x, self.mean, self.square)
        return _Batch(*(part.index_select(0, left) for part in parts))

    def store(
        self, result: ConjugateResult, stopped: Tensor, value: Tensor, converged: Tensor, i: int
    ) -> None:
        rows = self.rows[stopped]
        result.value[rows] = -value[stopped]
        result.argument[rows] = self.x[stopped]
        result.n_iter[rows] = i
        result.converged[rows] = converged[stopped]
