"""Never worse than the start."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from skot.solvers.conjugate._base import (
    ConjugateObjective,
    ConjugateResult,
    ConjugateSolver,
    check_conjugate_result,
)
from skot.solvers.conjugate._lbfgs import LBFGSConjugate
from skot.utils._sklearn import HasMethods


class BestSoFar(ConjugateSolver):
    """Keep, row by row, the better of the start and of what another solver returns.

    A solver that has not converged, or met a kink or a point that is not finite, may return
    something worse than a start that came from an amortizer. Then the start is returned, as not
    converged.

    Parameters
    ----------
    solver : ConjugateSolver, default=None
        The solver, or any object with its method `solve`. ``None`` means
        :class:`LBFGSConjugate`.

    Examples
    --------
    >>> import torch
    >>> from skot.solvers.conjugate import AdamConjugate, BestSoFar
    >>> y = torch.zeros(1, 2)
    >>> wild = AdamConjugate(lr=100.0, max_iter=1)
    >>> result = BestSoFar(wild).solve(lambda x: (x**2).sum(1), y, x_init=y + 0.1)
    >>> result.argument, result.converged
    (tensor([[0.1000, 0.1000]]), tensor([False]))
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"solver": [HasMethods(["solve"]), None]}
    _default_components: ClassVar[dict[str, Any]] = {"solver": LBFGSConjugate}

    def __init__(self, solver: Any = None):
        self.solver = solver

    @property
    def refines(self) -> bool:  # type: ignore[override]
        """Whether the inner solver moves the points it is given."""
        return getattr(self._resolved(), "refines", True)

    def minimize(self, objective: ConjugateObjective, x_init: Tensor) -> ConjugateResult:
        solver = self._resolved()
        inner = solver.solve(objective.potential, objective.y, x_init)
        check_conjugate_result(inner, objective.y, f"{type(solver).__name__}.solve")
        start = -objective.value(x_init)
        # Between a start and a solution that differ by rounding, the one that has converged.
        noise = 16 * torch.finfo(start.dtype).eps * (1.0 + start.abs())
        bound = torch.where(inner.converged, start - noise, start)
        kept = torch.isfinite(inner.value) & ~(inner.value < bound)
        return ConjugateResult(
            torch.where(kept, inner.value, start),
            torch.where(kept[:, None], inner.argument, x_init),
            inner.n_iter,
            inner.converged & kept,
        )

    def _resolved(self) -> Any:
        return LBFGSConjugate() if self.solver is None else self.solver
