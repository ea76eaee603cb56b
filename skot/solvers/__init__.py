"""Solvers on tensors: each returns one frozen result."""

from skot.solvers._plan import EntropicPlan
from skot.solvers._sinkhorn import SinkhornResult, sinkhorn
from skot.solvers.initializers import GaussianInitializer, Initializer, ZerosInitializer

__all__ = [
    "EntropicPlan",
    "GaussianInitializer",
    "Initializer",
    "SinkhornResult",
    "ZerosInitializer",
    "sinkhorn",
]
