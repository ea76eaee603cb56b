"""Class labels of two samples, of which those of the target may be unknown."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_array

from skot.utils.tensors import to_numpy

#: How an unknown label of a target row is written, by kind of labels.
UNKNOWN_INTEGER = -1


def as_label_array(y: Any) -> np.ndarray:
    """Return `y` as an array without guessing a common type for mixed lists.

    NumPy would turn ``["a", -1]`` and ``["a", nan]`` into strings and lose the marks of unknown
    labels. Objects that hold numbers only become numeric; with strings, every mark becomes None.
    """
    y = y if isinstance(y, np.ndarray) else _to_array(y)
    y = check_array(
        y,
        ensure_2d=False,
        dtype=None,
        ensure_all_finite=False,
        ensure_min_samples=0,
        input_name="y",
    )
    return _tidy_objects(y) if y.dtype == object and y.ndim == 1 else y


def _to_array(y: Any) -> Any:
    if isinstance(y, (list, tuple)):
        return np.asarray(y, dtype=object)
    return to_numpy(y) if hasattr(y, "detach") else y


def _tidy_objects(y: np.ndarray) -> np.ndarray:
    """Labels (n,) of the type that objects have in common, missing ones marked."""
    missing = np.fromiter((is_missing(value) for value in y), dtype=bool, count=len(y))
    present = y[~missing]
    if all(isinstance(value, (bool, np.bool_)) for value in present) and not missing.any():
        return present.astype(bool)
    if all(isinstance(value, Integral) for value in present) and not missing.any():
        return present.astype(np.int64)
    if all(isinstance(value, Real) for value in present) and len(present):
        numbers = np.full(len(y), np.nan)
        numbers[~missing] = present.astype(np.float64)
        return numbers
    # Labels are strings (or other objects) from here on: -1 can only be a mark.
    missing |= np.fromiter((_is_minus_one(value) for value in y), dtype=bool, count=len(y))
    present = y[~missing]
    if any(isinstance(value, Real) for value in present):
        raise ValueError(
            "y mixes strings and numbers. Labels must be uniformly strings or numbers; an unknown "
            "label of a target row among strings is None."
        )
    tidy = y.copy()
    tidy[missing] = None
    return tidy


def is_missing(value: Any) -> bool:
    """Tell None, NaN and the NA of pandas, whose comparison with itself is neither."""
    if value is None or type(value).__name__ == "NAType":
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _is_minus_one(value: Any) -> bool:
    return isinstance(value, Integral) and value == UNKNOWN_INTEGER


def known_labels(y: Any, y_source: Any = None) -> np.ndarray:
    """Tell which labels (n,) of target rows are known, as a mask (n,).

    Unknown are -1 among integers (unless it is among `y_source`, the labels of the source rows),
    NaN among floats, and None among objects.
    """
    y = as_label_array(y)
    if y.dtype.kind == "f":
        return ~np.isnan(y)
    if y.dtype.kind == "i":
        if y_source is not None and np.any(as_label_array(y_source) == UNKNOWN_INTEGER):
            return np.ones(len(y), dtype=bool)
        return y != UNKNOWN_INTEGER
    if y.dtype == object:
        return np.fromiter((value is not None for value in y), dtype=bool, count=len(y))
    return np.ones(len(y), dtype=bool)


def check_source_labels(y_source: np.ndarray) -> None:
    """Raise a `ValueError` if a source label is missing: a source label is taken literally."""
    if y_source.dtype.kind == "f":
        fault = "NaN" if np.isnan(y_source).any() else None
        fault = "infinity" if fault is None and np.isinf(y_source).any() else fault
    elif y_source.dtype == object:
        fault = "None" if any(value is None for value in y_source) else None
    else:
        fault = None
    if fault is not None:
        raise ValueError(
            f"Input y contains {fault}.\nEvery source row needs a known label; only labels of "
            "target rows may be unknown."
        )


def unknown_labels_like(y_source: np.ndarray, n_samples: int) -> np.ndarray:
    """Return `n_samples` marks of an unknown label, of the kind that suits `y_source`."""
    if y_source.dtype.kind == "f":
        return np.full(n_samples, np.nan, dtype=y_source.dtype)
    if y_source.dtype.kind in "iub":
        if np.any(y_source == UNKNOWN_INTEGER):
            raise ValueError(
                "-1 is a class of y_source, so it cannot mark the unknown labels of the target. "
                "Encode the classes as 0, 1, ... or pass y_target."
            )
        return np.full(n_samples, UNKNOWN_INTEGER, dtype=np.int64)
    return np.full(n_samples, None, dtype=object)


def mask_labels(y: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return a copy of labels (n,) with a mark in place of those that are not `known`, (n,).

    The mark is what `skot.utils.validation.known_labels` takes for unknown: -1 among integers,
    NaN among floats, None among objects. Integers become floats where -1 is a class.
    """
    if y.dtype.kind in "iub":
        integers = y.astype(np.int64)
        if not (integers[known] == -1).any():
            return np.where(known, integers, -1)
    if y.dtype.kind in "iubf":
        return np.where(known, y, np.nan)
    masked = y.astype(object)
    masked[~known] = None
    return masked
