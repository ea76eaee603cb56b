"""Warnings that name the line of the user, through however many calls they come."""

import sys
import warnings
from types import FrameType
from typing import Any

from sklearn.exceptions import ConvergenceWarning

#: Packages between a user and what warns: wrappers of methods, searches, workers, autograd.
_OURS = ("skot", "sklearn", "joblib", "torch")
#: Modules of scikit-learn that stand around every method.
_WRAPPERS = (
    "sklearn.base",
    "sklearn.utils._set_output",
    "sklearn.utils._available_if",
    "sklearn.callback",
)


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


def is_handed_on(estimator: Any) -> bool:
    """Whether scikit-learn calls the estimator, and hands on what it was given itself.

    A pipeline or a search does. Between a direct call and a method there are only methods of the
    estimator, wherever they are written, and scikit-learn's wrappers of methods.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        is_method = frame.f_locals.get("self") is estimator
        if (
            not is_method
            and not name.startswith(_WRAPPERS)
            and _package(frame) not in ("skot", "joblib")
        ):
            break
        frame = frame.f_back
    return _package(frame) == "sklearn"


def _package(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "").partition(".")[0]
