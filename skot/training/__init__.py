"""Training: one loop for everything that learns by gradient steps.

A step is a function of the caller; the room knows tensors, parameters and steps, and nothing of
what they are for.
"""

from skot.training._annealing import Annealing
from skot.training._averaging import ExponentialMovingAverage, WeightAverage
from skot.training._checkpoint import Checkpoint
from skot.training._loop import TrainingResult, train
from skot.training._optimizers import Adam, AdamW, Optimizer
from skot.training._sampler import MinibatchSampler
from skot.training._schedules import ConstantSchedule, CosineSchedule, Schedule
from skot.training._state import TrainingState
from skot.training._stopping import EarlyStopping, Stopping, StoppingRule, TimeBudget
from skot.training._updater import Updater
from skot.utils._fingerprint import fingerprint

__all__ = [
    "Adam",
    "AdamW",
    "Annealing",
    "Checkpoint",
    "ConstantSchedule",
    "CosineSchedule",
    "EarlyStopping",
    "ExponentialMovingAverage",
    "MinibatchSampler",
    "Optimizer",
    "Schedule",
    "Stopping",
    "StoppingRule",
    "TimeBudget",
    "TrainingResult",
    "TrainingState",
    "Updater",
    "WeightAverage",
    "fingerprint",
    "train",
]
