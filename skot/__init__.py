"""skot: optimal transport with scikit-learn's interface and PyTorch inside."""

__version__ = "0.1.0"

from skot.adaptation import DomainAdaptation
from skot.transport import (
    GaussianTransport,
    LagrangianMetricLearner,
    LagrangianOT,
    MetaOTRegressor,
    MetaW2GN,
    NeuralOT,
    SinkhornTransport,
    W2GNTransport,
)
from skot.utils._versions import show_versions

__all__ = [
    "DomainAdaptation",
    "GaussianTransport",
    "LagrangianMetricLearner",
    "LagrangianOT",
    "MetaOTRegressor",
    "MetaW2GN",
    "NeuralOT",
    "SinkhornTransport",
    "W2GNTransport",
    "__version__",
    "show_versions",
]
