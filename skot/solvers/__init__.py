"""Solvers on tensors: each returns one frozen result."""

# Names imported as themselves are what the rooms above need too; not public.
from skot.solvers._entropic.barycenter import BarycenterResult, barycenter
from skot.solvers._entropic.class_regularization import (
    ClassRegularizedResult,
    sinkhorn_class_regularized,
)
from skot.solvers._entropic.clouds.input import cloud_spreads as cloud_spreads
from skot.solvers._entropic.clouds.input import is_cloud_batch as is_cloud_batch
from skot.solvers._entropic.plan import EntropicPlan
from skot.solvers._entropic.probabilities import ProbabilityTransport as ProbabilityTransport
from skot.solvers._entropic.probabilities import probability_transport as probability_transport
from skot.solvers._entropic.self_transport import transport_to_others as transport_to_others
from skot.solvers._entropic.semi_dual import SemiDual, SemiDualPass
from skot.solvers._entropic.sinkhorn import SinkhornResult, sinkhorn
from skot.solvers._entropic.sparse_plan import SparsePlan
from skot.solvers._entropic.sparse_plan import sparse_plan as sparse_plan
from skot.solvers._exact.plan import ExactPlan as ExactPlan
from skot.solvers._exact.solve import solve_exact as solve_exact
from skot.solvers.initializers import (
    GaussianInitializer,
    Initializer,
    MetaInitializer,
    ZerosInitializer,
)

__all__ = [
    "BarycenterResult",
    "ClassRegularizedResult",
    "EntropicPlan",
    "GaussianInitializer",
    "Initializer",
    "MetaInitializer",
    "SemiDual",
    "SemiDualPass",
    "SinkhornResult",
    "SparsePlan",
    "ZerosInitializer",
    "barycenter",
    "sinkhorn",
    "sinkhorn_class_regularized",
]
