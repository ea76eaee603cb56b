"""Displays, in the manner of scikit-learn's: ``from_estimator``, ``from_predictions``, ``plot``."""

from skot.plots._conditional_fan import ConditionalFanDisplay
from skot.plots._coupling import CouplingDisplay
from skot.plots._interpolation import InterpolationDisplay
from skot.plots._loss_curve import LossCurveDisplay
from skot.plots._path import PathDisplay
from skot.plots._potential import PotentialDisplay
from skot.plots._transport_map import TransportMapDisplay

__all__ = [
    "ConditionalFanDisplay",
    "CouplingDisplay",
    "InterpolationDisplay",
    "LossCurveDisplay",
    "PathDisplay",
    "PotentialDisplay",
    "TransportMapDisplay",
]
