"""The transports: estimators that move one sample to another."""

from skot.transport._base import BaseTransport
from skot.transport._gaussian import GaussianTransport
from skot.transport._sinkhorn import SinkhornTransport

__all__ = ["BaseTransport", "GaussianTransport", "SinkhornTransport"]
