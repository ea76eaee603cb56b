"""c-transforms of potentials, for costs that are least actions."""

from skot.solvers.c_transform._adam import AdamCTransform
from skot.solvers.c_transform._base import CTransformObjective, CTransformResult, CTransformSolver
from skot.solvers.c_transform._lbfgs import LBFGSCTransform

__all__ = [
    "AdamCTransform",
    "CTransformObjective",
    "CTransformResult",
    "CTransformSolver",
    "LBFGSCTransform",
]
