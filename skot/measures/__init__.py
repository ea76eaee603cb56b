"""What is sampled: weighted point clouds and reference distributions."""

from skot.measures._empirical import EmpiricalMeasure, normalize_weights
from skot.measures._references import REFERENCES, reference_sample

__all__ = ["REFERENCES", "EmpiricalMeasure", "normalize_weights", "reference_sample"]
