"""No solver: trust the start."""

import torch
from torch import Tensor

from skot.solvers.conjugate._base import ConjugateObjective, ConjugateResult, ConjugateSolver


class NoConjugate(ConjugateSolver):
    """Return the start as it is: trust the amortizer.

    Its rows count as converged where their value is finite: there is no tolerance that they could
    miss. The value is that of the objective at the start, so a lower bound of the conjugate.

    Examples
    --------
    >>> import torch
    >>> from skot.solvers.conjugate import NoConjugate
    >>> y = torch.tensor([[1.0, 2.0]])
    >>> NoConjugate().solve(lambda x: (x**2).sum(1) / 2, y, x_init=y + 1.0).argument
    tensor([[2., 3.]])
    """

    refines = False

    def minimize(self, objective: ConjugateObjective, x_init: Tensor) -> ConjugateResult:
        n_iter = torch.zeros(len(x_init), dtype=torch.int64, device=x_init.device)
        value = -objective.value(x_init)
        return ConjugateResult(value, x_init, n_iter, torch.isfinite(value))
