"""Tensors in pickles as arrays: on the CPU, and the same bytes for the same numbers.

torch pickles a tensor with the address of its memory, so that two equal ones have different
bytes, and `joblib.hash` takes an estimator that was fitted twice for two.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from skot.utils.tensors import to_numpy


@dataclass(frozen=True)
class _Packed:
    """A tensor in a pickle."""

    array: np.ndarray


def packed(value: Any) -> Any:
    """Return what to pickle in place of a tensor, or of containers that hold some."""
    if type(value) is torch.Tensor and not _has_no_array(value):
        return _Packed(to_numpy(value))
    if type(value) in (list, tuple):
        return type(value)(map(packed, value))
    if type(value) is dict:
        return {key: packed(item) for key, item in value.items()}
    return value


def unpacked(value: Any) -> Any:
    """Return what was packed."""
    if isinstance(value, _Packed):
        return torch.from_numpy(value.array)
    if type(value) in (list, tuple):
        return type(value)(map(unpacked, value))
    if type(value) is dict:
        return {key: unpacked(item) for key, item in value.items()}
    return value


def _has_no_array(value: torch.Tensor) -> bool:
    """Whether a tensor is more than its numbers, or of a type that NumPy does not have."""
    return value.requires_grad or value.layout is not torch.strided or value.dtype in _STRANGE


_STRANGE = {torch.bfloat16, torch.complex32}
