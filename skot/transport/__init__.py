"""The transports: estimators that move one sample to another."""

from skot.transport._base import BaseTransport
from skot.transport._diagnostics import TransportDiagnostics
from skot.transport._gaussian import GaussianTransport
from skot.transport._lagrangian.estimator import LagrangianOT
from skot.transport._meta_ot.estimator import MetaOTRegressor
from skot.transport._meta_w2gn.estimator import MetaW2GN
from skot.transport._metric_learning.estimator import LagrangianMetricLearner
from skot.transport._neural_ot.diagnostics import PlanDiagnostics
from skot.transport._neural_ot.estimator import NeuralOT
from skot.transport._sinkhorn.estimator import SinkhornTransport
from skot.transport._w2gn.estimator import W2GNTransport

__all__ = [
    "BaseTransport",
    "GaussianTransport",
    "LagrangianMetricLearner",
    "LagrangianOT",
    "MetaOTRegressor",
    "MetaW2GN",
    "NeuralOT",
    "PlanDiagnostics",
    "SinkhornTransport",
    "TransportDiagnostics",
    "W2GNTransport",
]
