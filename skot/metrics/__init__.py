"""Distances between two samples, errors of a map, scorers for targets without labels."""

from skot.metrics._alignment import alignment_score
from skot.metrics._kernel import energy_distance, maximum_mean_discrepancy
from skot.metrics._maps import cosine_similarity, l2_uvp
from skot.metrics._probabilities import (
    ProbabilityTransport,
    probability_transport,
    probability_transport_loss,
)
from skot.metrics._scorers import (
    CircularValidationScorer,
    PredictionEntropyScorer,
    SupervisedTargetScorer,
    TransportDivergenceScorer,
)
from skot.metrics._sinkhorn import SinkhornDivergence, sinkhorn_divergence
from skot.metrics._wasserstein import wasserstein_distance

__all__ = [
    "CircularValidationScorer",
    "PredictionEntropyScorer",
    "ProbabilityTransport",
    "SinkhornDivergence",
    "SupervisedTargetScorer",
    "TransportDivergenceScorer",
    "alignment_score",
    "cosine_similarity",
    "energy_distance",
    "l2_uvp",
    "maximum_mean_discrepancy",
    "probability_transport",
    "probability_transport_loss",
    "sinkhorn_divergence",
    "wasserstein_distance",
]
