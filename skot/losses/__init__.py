"""Losses of the neural estimators: plain functions of a batch, and Components with a knob."""

from skot.losses._amortization import (
    Amortization,
    CycleAmortization,
    ObjectiveAmortization,
    RegressionAmortization,
)
from skot.losses._dual import DualBatch, dual_loss
from skot.losses._expectile import ExpectileAmortization

__all__ = [
    "Amortization",
    "CycleAmortization",
    "DualBatch",
    "ExpectileAmortization",
    "ObjectiveAmortization",
    "RegressionAmortization",
    "dual_loss",
]
