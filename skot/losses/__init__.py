"""Losses of the neural estimators: plain functions of a batch, and Components with a knob."""

from skot.losses._amortization import (
    Amortization,
    CycleAmortization,
    ObjectiveAmortization,
    RegressionAmortization,
)
from skot.losses._dual import DualBatch, dual_loss
from skot.losses._energy_augmentation import EnergyAugmentation
from skot.losses._expectile import ExpectileAmortization
from skot.losses._gradient_penalty import GradientPenalty
from skot.losses._maximin import maximin_dual, maximin_map_loss, potential_values
from skot.losses._weak_cost import StrongCost, WeakCost
from skot.losses._weak_kernel import (
    DistanceKernel,
    GaussianKernel,
    Kernel,
    LaplacianKernel,
    WeakKernel,
)
from skot.losses._weak_quadratic import WeakQuadratic

__all__ = [
    "Amortization",
    "CycleAmortization",
    "DistanceKernel",
    "DualBatch",
    "EnergyAugmentation",
    "ExpectileAmortization",
    "GaussianKernel",
    "GradientPenalty",
    "Kernel",
    "LaplacianKernel",
    "ObjectiveAmortization",
    "RegressionAmortization",
    "StrongCost",
    "WeakCost",
    "WeakKernel",
    "WeakQuadratic",
    "dual_loss",
    "maximin_dual",
    "maximin_map_loss",
    "potential_values",
]
