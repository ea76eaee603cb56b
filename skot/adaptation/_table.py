"""Rows as they are handed on: frames stay frames, all else becomes points."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import validate_data

from skot.utils._labels import as_label_array, check_source_labels
from skot.utils._sklearn import feature_names, safe_indexing
from skot.utils._stack import stack_rows
from skot.utils.tensors import to_numpy
from skot.utils.validation import (
    check_points,
    check_rows_per_side,
    check_sample_domain,
    split_domains,
)


def read_sides(
    adaptation: Any, X: Any, y: np.ndarray, sample_domain: Any
) -> tuple[Any, np.ndarray]:
    """Return the rows of a fit, and which of them are source rows (n,)."""
    if frame_library(X) is None:
        split_domains(adaptation, X, y, sample_domain)  # validates; the rows stay together
        return check_points(X), check_sample_domain(sample_domain, len(y))
    validate_data(adaptation, X, skip_check_array=True)
    check_consistent_length(X, y)
    is_source = check_sample_domain(sample_domain, len(y), require_both=True)
    check_rows_per_side(adaptation, X, is_source, 2)
    check_source_labels(y[is_source])
    return X, is_source


def read_rows(adaptation: Any, X: Any, *, reset: bool = False) -> Any:
    """Return rows of one kind: those of a prediction, or of a fit without a target."""
    if frame_library(X) is None:
        return split_domains(adaptation, X, reset=reset).X_source
    validate_data(adaptation, X, reset=reset, skip_check_array=True)
    return X


def frame_library(X: Any) -> str | None:
    """Name of the library of a data frame, as in ``set_output``, or None."""
    library = type(X).__module__.partition(".")[0]
    is_frame = library in ("pandas", "polars") and type(X).__name__ == "DataFrame"
    return library if is_frame else None


@contextmanager
def frames_like(rows: Any) -> Iterator[None]:
    """Have transformers return frames for a frame, so that names and types of columns are kept."""
    library = frame_library(rows)
    if library is None:
        yield
        return
    with config_context(transform_output=library):
        yield


def tidy(moved: Any, given: Any) -> Any:
    """Return what a transformer made of `given`: a frame for a frame of that width, or an array."""
    library = frame_library(given)
    if library is None:
        return to_numpy(moved)
    if frame_library(moved) is None:
        moved = to_numpy(moved)
        return _as_frame(moved, given, library) if moved.shape[1] == given.shape[1] else moved
    if library == "pandas" and feature_names(given) is None and moved.shape[1] == given.shape[1]:
        # Names that are no strings are none for scikit-learn, and it makes up others.
        return moved.set_axis(given.columns, axis=1)
    return moved


def _as_frame(rows: np.ndarray, given: Any, library: str) -> Any:
    """Rows (n, d) with the columns of another frame."""
    names = {"pandas": "columns", "polars": "schema"}[library]
    return import_module(library).DataFrame(rows, **{names: list(given.columns)})


def take(rows: Any, which: np.ndarray) -> Any:
    """Return the rows of a mask (n,)."""
    return safe_indexing(rows, np.flatnonzero(which))


def join_rows(first: Any, second: Any, where: np.ndarray) -> Any:
    """Return the rows of two tables in one, those of `first` where the mask (n,) says so."""
    order = np.argsort(np.concatenate([np.flatnonzero(where), np.flatnonzero(~where)]))
    return stack_rows(first, second, order)


def for_estimator(rows: Any) -> Any:
    """Return rows as scikit-learn takes them."""
    return rows if frame_library(rows) is not None else to_numpy(rows)


def one_label_per_row(estimator: Any, y: Any) -> np.ndarray:
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None."
        )
    return column_or_1d(as_label_array(y), warn=True)


def has_minus_one(y: np.ndarray) -> bool:
    return y.dtype.kind in "if" and bool((y == -1).any())


def numeric_part(rows: Any) -> np.ndarray | None:
    """The numeric columns (n, d), None where there are none."""
    if frame_library(rows) is None:
        return np.asarray(to_numpy(rows), dtype=np.float64)
    numeric = [i for i, column in enumerate(rows.columns) if _is_numeric(rows[column].dtype)]
    if not numeric:
        return None
    points = np.asarray(safe_indexing(rows, numeric, axis=1), dtype=np.float64)
    return points[:, np.isfinite(points).all(axis=0)]


def _is_numeric(dtype: Any) -> bool:
    if hasattr(dtype, "is_numeric"):  # polars
        return bool(dtype.is_numeric())
    return getattr(dtype, "kind", "O") in "iuf"
