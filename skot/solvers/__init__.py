"""Solvers on tensors: each returns one frozen result."""

from skot.solvers._class_regularization import (
    ClassRegularizedResult,
    sinkhorn_class_regularized,
)
from skot.solvers._plan import EntropicPlan
from skot.solvers._sinkhorn import SinkhornResult, sinkhorn
from skot.solvers.initializers import GaussianInitializer, Initializer, ZerosInitializer

__all__ = [
    "ClassRegularizedResult",
    "EntropicPlan",
    "GaussianInitializer",
    "Initializer",
    "SinkhornResult",
    "ZerosInitializer",
    "sinkhorn",
    "sinkhorn_class_regularized",
]
