"""What the checks of Lagrangians, potentials and metrics share."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def name_of(function: Any) -> str:
    """Name of a function, or of the class of an object, for messages."""
    return getattr(function, "__name__", None) or type(function).__name__


def first_place(bad: Tensor, **places: Tensor) -> str:
    """Describe the first place marked in `bad`, of shape (...,): "at row 3, x = [0.5, 1.0]"."""
    index = tuple(torch.nonzero(bad)[0].tolist())
    row = index[0] if len(index) == 1 else index
    words = [f"at row {row}"] if index else ["there"]
    for name, values in places.items():
        values = values.detach()
        if values.ndim <= bad.ndim:
            values = values.broadcast_to(bad.shape)
        words.append(f"{name} = {_rounded(values[index].tolist())}")
    return ", ".join(words)


def finite_matrix(value: Any, *, name: str) -> np.ndarray:
    """Return a parameter as a matrix (n, m) of finite numbers in float64, or raise."""
    try:
        matrix = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must hold rows of numbers, all of the same length. Got {value!r}."
        ) from error
    if matrix.ndim != 2 or matrix.size == 0 or not np.isfinite(matrix).all():
        raise ValueError(f"`{name}` must be a matrix of finite numbers. Got {value!r}.")
    return matrix


def _rounded(value: float | list[float]) -> float | list[float]:
    """Six digits: enough to find the place, and float32 prints as it was typed."""
    if isinstance(value, list):
        return [float(f"{number:.6g}") for number in value]
    return float(f"{value:.6g}")
