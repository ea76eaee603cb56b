"""Passage between NumPy arrays and torch tensors, and the choice of device and dtype."""

from functools import cache
from typing import Any

import numpy as np
import torch

__all__ = [
    "is_wide",
    "like_input",
    "n_dimensions",
    "output_dtype",
    "resolve_device",
    "resolve_dtype",
    "to_numpy",
    "to_tensor",
]

#: Lengths beyond which, and distances from the origin in lengths of the samples beyond which,
#: single precision loses too much of the rows.
_LARGE, _FAR = 1e12, 1e3
#: Floating types of torch that NumPy does not have; float32 holds their values.
_WITHOUT_TWIN = frozenset(
    getattr(torch, name)
    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
    if hasattr(torch, name)
)


def output_dtype(X: Any) -> np.dtype:
    """Return the dtype of what is computed from `X`: float32 for float32, else float64."""
    dtype = getattr(X, "dtype", None)
    if dtype is torch.float32 or (isinstance(dtype, np.dtype) and dtype == np.float32):
        return np.dtype(np.float32)
    return np.dtype(np.float64)


def resolve_dtype(X: Any) -> torch.dtype:
    """Return the torch dtype in which `X` is computed: `output_dtype` in torch's terms."""
    return torch.float32 if output_dtype(X) == np.float32 else torch.float64


def to_tensor(
    array: Any,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Copy an array or a tensor into a new contiguous tensor.

    The result never shares memory with `array`, so it may be written to, and it carries no
    gradient. Read-only arrays, negative strides and foreign byte orders are fine; a sparse tensor
    or an array of strings is the caller's mistake. Where `dtype` is None, float32 stays and
    everything else becomes float64; where `device` is None, a tensor stays on its own and
    everything else goes to the CPU.
    """
    if isinstance(array, torch.Tensor):
        dtype = resolve_dtype(array) if dtype is None else dtype
        device = array.device if device is None else device
        return array.detach().to(
            dtype=dtype, device=device, copy=True, memory_format=torch.contiguous_format
        )
    array = np.asarray(array)
    dtype = resolve_dtype(array) if dtype is None else dtype
    twin = _twin(dtype)
    if twin is None:  # bfloat16 and its like: torch casts in a second step
        twin = array.dtype.newbyteorder("=")
    # `np.array(copy=True)` gives native byte order, positive strides and writable memory in one
    # pass, which are the three things that torch asks for.
    native = np.array(array, dtype=twin, order="C", copy=True)
    return torch.from_numpy(native).to(dtype=dtype, device=device)


@cache
def _twin(dtype: torch.dtype) -> np.dtype | None:
    """Return the dtype of NumPy with the values of `dtype`, None where there is none."""
    try:
        return torch.empty(0, dtype=dtype).numpy().dtype
    except TypeError:
        return None


def to_numpy(tensor: Any) -> np.ndarray:
    """Return a NumPy array with the values of `tensor`, which may be on any device.

    It shares memory with a tensor that is on the CPU already: copy it before writing. Of bfloat16,
    which NumPy does not have, it is in float32. What is no tensor goes through `numpy.asarray`.
    """
    if isinstance(tensor, torch.Tensor):
        # `resolve_*` undo the lazy views that `Tensor.numpy` refuses.
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
        return (tensor.float() if tensor.dtype in _WITHOUT_TWIN else tensor).numpy()
    return np.asarray(tensor)


def resolve_device(device: torch.device | str | None = None, like: Any = None) -> torch.device:
    """Return the device on which to compute; None follows the input `like`.

    A tensor gives its device, any other input the CPU. ``"auto"`` takes CUDA when there is one and
    the CPU otherwise; everything else is read by `torch.device`. It raises a `ValueError` if
    `device` names no device, or CUDA on a machine without.
    """
    if device is None:
        return like.device if isinstance(like, torch.Tensor) else torch.device("cpu")
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            "The 'device' parameter must be None, 'auto' or a string that torch.device accepts "
            f"such as 'cpu' or 'cuda:0'. Got {device!r} instead."
        ) from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={str(device)!r} is not there: torch sees {torch.cuda.device_count()} CUDA "
            "device(s). device='auto' takes CUDA only when there is one."
        )
    return resolved


def like_input(values: torch.Tensor, X: Any) -> Any:
    """Return values as the kind of array that the validated input `X` is, on its device.

    They are in float32 for float32, and in float64 for everything else.
    """
    if isinstance(X, torch.Tensor):
        return values.to(device=X.device, dtype=resolve_dtype(X))
    return values.cpu().numpy().astype(output_dtype(X), copy=False)


def is_wide(distance: float, length: float) -> bool:
    """Say whether rows of a size, at a distance from the origin, need double precision.

    It is so where single precision would lose more than a few digits of what tells rows apart.
    Their `length` is such as the root of their mean variance.
    """
    return not 1.0 / _LARGE < length < _LARGE or distance > _FAR * length


def n_dimensions(values: Any) -> int:
    """Count the dimensions of what may become an array, without making it.

    They are read off the first element of lists; 0 for what has no shape.
    """
    if isinstance(values, (list, tuple)):
        return 1 + (n_dimensions(values[0]) if values else 0)
    return len(getattr(values, "shape", ()))
