"""The transports: estimators that move one sample to another."""

from skot.transport._base import BaseTransport
from skot.transport._diagnostics import TransportDiagnostics
from skot.transport._gaussian import GaussianTransport
from skot.transport._neural_ot import NeuralOT
from skot.transport._sinkhorn import SinkhornTransport
from skot.transport._w2gn import W2GNTransport

__all__ = [
    "BaseTransport",
    "GaussianTransport",
    "NeuralOT",
    "SinkhornTransport",
    "TransportDiagnostics",
    "W2GNTransport",
]
