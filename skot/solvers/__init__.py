"""Solvers on tensors: each returns one frozen result."""

from skot.solvers._entropic.class_regularization import (
    ClassRegularizedResult,
    sinkhorn_class_regularized,
)
from skot.solvers._entropic.plan import EntropicPlan
from skot.solvers._entropic.semi_dual import SemiDual, SemiDualPass
from skot.solvers._entropic.sinkhorn import SinkhornResult, sinkhorn
from skot.solvers.initializers import (
    GaussianInitializer,
    Initializer,
    MetaInitializer,
    ZerosInitializer,
)

__all__ = [
    "ClassRegularizedResult",
    "EntropicPlan",
    "GaussianInitializer",
    "Initializer",
    "MetaInitializer",
    "SemiDual",
    "SemiDualPass",
    "SinkhornResult",
    "ZerosInitializer",
    "sinkhorn",
    "sinkhorn_class_regularized",
]
