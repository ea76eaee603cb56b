"""Domain adaptation: an estimator for one sample, from the labels of another."""

from skot.adaptation._domain_adaptation import DomainAdaptation

__all__ = ["DomainAdaptation"]
