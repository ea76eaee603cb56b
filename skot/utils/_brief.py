"""Short forms: of results, whose tensors are told by their shapes, and of parameters."""

from dataclasses import fields, is_dataclass
from inspect import signature
from textwrap import fill
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse

_WIDTH = 88
#: Beyond so many letters a part is told by its kind.
_LONGEST = 60


def brief_repr(result: Any) -> str:
    """Return the repr of a result in a few lines: numbers, and the shapes of what is larger.

    To be assigned to ``__repr__`` in the body of a dataclass or a named tuple.
    """
    names = [one.name for one in fields(result)] if is_dataclass(result) else result._fields
    parts = [f"{name}={brief(getattr(result, name))}" for name in names]
    text = f"{type(result).__name__}({', '.join(parts)})"
    # Spaces inside of parts are no places to break the line.
    text = text.replace(" ", "\0").replace(",\0", ", ") if len(text) > _WIDTH else text
    lines = fill(text, _WIDTH, subsequent_indent="    ", break_long_words=False)
    return lines.replace("\0", " ")


def brief(value: Any) -> str:
    """Tell a value by its repr if that is short, else by its kind and size."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return _brief_array(value)
    if issparse(value):
        kind = type(value).__name__
        return f"<{kind} {tuple(value.shape)}, {value.dtype}, {value.nnz} stored>"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple, dict)) and len(value) > 3:
        return f"<{type(value).__name__} of {len(value)}>"
    if type(value) in (list, tuple):
        inside = ", ".join(map(brief, value))
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        return f"({inside}{comma})" if isinstance(value, tuple) else f"[{inside}]"
    is_result = getattr(type(value), "__repr__", None) is brief_repr
    text = "" if is_result else repr(value)
    if is_result or len(text) > _LONGEST or "\n" in text or " object at 0x" in text:
        return f"<{type(value).__name__}>"
    return text


def _brief_array(value: Any) -> str:
    if value.size == 1 if isinstance(value, np.ndarray) else value.numel() == 1 and value.ndim == 0:
        number = value.item()
        return f"{number:.6g}" if isinstance(number, float) else str(number)
    kind = "array" if isinstance(value, np.ndarray) else "tensor"
    dtype = str(value.dtype).removeprefix("torch.")
    device = "" if kind == "array" or value.device.type == "cpu" else f", {value.device}"
    return f"<{kind} {tuple(value.shape)}, {dtype}{device}>"


def named(estimator: Any, *always: str) -> str:
    """Return an estimator with the parameters that are not its defaults, in one line.

    So a warning out of a search tells the candidate. `always` are parameters that are shown
    whatever they are; components are shown where they are short.
    """
    values = estimator.get_params(deep=False)
    shown = []
    for name, parameter in signature(type(estimator)).parameters.items():
        text = brief(values[name])
        is_changed = name not in _ASIDE and text != brief(parameter.default)
        if name in always or is_changed:
            shown.append(f"{name}={text}")
    return f"{type(estimator).__name__}({', '.join(shown)})"


#: Parameters that do not tell candidates apart.
_ASIDE = ("verbose", "device", "random_state")
