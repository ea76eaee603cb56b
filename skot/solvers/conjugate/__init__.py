r"""Solvers of the convex conjugate :math:`f^*(y) = \max_x \langle x, y \rangle - f(x)`.

Each solver is one component: ``solver.solve(potential, y, x_init)``.
"""

from skot.solvers.conjugate._adam import AdamConjugate
from skot.solvers.conjugate._base import (
    ConjugateObjective,
    ConjugateResult,
    ConjugateSolver,
    check_conjugate_result,
)
from skot.solvers.conjugate._best_so_far import BestSoFar
from skot.solvers.conjugate._lbfgs import LBFGSConjugate
from skot.solvers.conjugate._none import NoConjugate

__all__ = [
    "AdamConjugate",
    "BestSoFar",
    "ConjugateObjective",
    "ConjugateResult",
    "ConjugateSolver",
    "LBFGSConjugate",
    "NoConjugate",
    "check_conjugate_result",
]
