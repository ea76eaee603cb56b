"""skot: optimal transport with scikit-learn's interface and PyTorch inside."""

__version__ = "0.1.0.dev0"

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
]
