"""Warnings that name the line of the user, through however many calls they come."""

import sys
import warnings
from types import FrameType

from sklearn.exceptions import ConvergenceWarning

#: Packages between a user and what warns: wrappers of methods, searches, workers, autograd.
_OURS = ("skot", "sklearn", "joblib", "torch")


def warn_not_converged(message: str) -> None:
    """Warn at the line of the user: what has not converged, by how much, and the knob to turn."""
    warn_user(message, ConvergenceWarning)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user."""
    warnings.warn(message, category, stacklevel=level_of_the_user())


def level_of_the_user() -> int:
    """Return the `stacklevel` with which a warning of the caller names the line of the user."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _package(frame) in _OURS:
        level, frame = level + 1, frame.f_back
    return level


def _package(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "").partition(".")[0]
