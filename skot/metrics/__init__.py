"""Distances between two samples, errors of a map, scorers for targets without labels."""

from skot.metrics._adaptation_gain import (
    AdaptationGain,
    AdaptationGainScorer,
    adaptation_gain,
)
from skot.metrics._alignment import alignment_score

# What the rooms above judge by too; not public.
from skot.metrics._divergence_to import at_most as at_most
from skot.metrics._divergence_to import divergence_epsilon as divergence_epsilon
from skot.metrics._divergence_to import divergence_to as divergence_to
from skot.metrics._divergence_to import judge_by as judge_by
from skot.metrics._divergence_to import total_variance as total_variance
from skot.metrics._divergence_to import warn_if_not_solved as warn_if_not_solved
from skot.metrics._dual_scorer import HeldOutDualScorer
from skot.metrics._kernel import energy_distance, maximum_mean_discrepancy
from skot.metrics._maps import cosine_similarity, l2_uvp
from skot.metrics._probabilities import probability_transport_loss
from skot.metrics._scorers import (
    CircularValidationScorer,
    PredictionEntropyScorer,
    SupervisedTargetScorer,
    TransportDivergenceScorer,
)
from skot.metrics._sinkhorn import SinkhornDivergence, sinkhorn_divergence
from skot.metrics._split_divergence import (
    SplitSinkhornDivergence,
    split_sinkhorn_divergence,
)
from skot.metrics._wasserstein import wasserstein_distance
from skot.solvers import ProbabilityTransport, probability_transport

__all__ = [
    "AdaptationGain",
    "AdaptationGainScorer",
    "CircularValidationScorer",
    "HeldOutDualScorer",
    "PredictionEntropyScorer",
    "ProbabilityTransport",
    "SinkhornDivergence",
    "SplitSinkhornDivergence",
    "SupervisedTargetScorer",
    "TransportDivergenceScorer",
    "adaptation_gain",
    "alignment_score",
    "cosine_similarity",
    "energy_distance",
    "l2_uvp",
    "maximum_mean_discrepancy",
    "probability_transport",
    "probability_transport_loss",
    "sinkhorn_divergence",
    "split_sinkhorn_divergence",
    "wasserstein_distance",
]
