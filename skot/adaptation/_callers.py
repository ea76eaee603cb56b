"""Who calls: scikit-learn's own code, which drops what it does not know, or somebody else's."""

import sys
from types import FrameType

_SCIKIT_LEARN = ("sklearn", "joblib")
#: Wrappers of this package around the methods that are called.
_WRAPPERS = ("skot.adaptation", "skot.utils", "functools", "contextlib")


def scikit_learn_above() -> list[tuple[str, str]]:
    """Return module and function of scikit-learn's calls above, up to the first of other code.

    What a meta-estimator did to labels and metadata cannot be seen in what it passes on.
    """
    calls: list[tuple[str, str]] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = _module(frame)
        if module.partition(".")[0] in _SCIKIT_LEARN:
            calls.append((module, frame.f_code.co_name))
        elif not module.startswith(_WRAPPERS):
            break
        frame = frame.f_back
    return calls


def _module(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "")
