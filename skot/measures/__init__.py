"""What is sampled: weighted point clouds, reference distributions and noise."""

from skot.measures._empirical import EmpiricalMeasure, normalize_weights
from skot.measures._noise import Noise
from skot.measures._references import (
    REFERENCES,
    draw_reference,
    reference_log_density,
    reference_sample,
)

__all__ = [
    "REFERENCES",
    "EmpiricalMeasure",
    "Noise",
    "draw_reference",
    "normalize_weights",
    "reference_log_density",
    "reference_sample",
]
