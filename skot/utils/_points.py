"""Validation of one sample of points, arrays and tensors alike."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sklearn import get_config
from sklearn.utils import check_array

from skot.utils.tensors import resolve_dtype, to_numpy

#: The dtypes in which points are kept; everything else becomes the first.
FLOATS = [np.float64, np.float32]
#: Names of types of columns that have a common dtype with float32.
_NUMBERS = frozenset(
    ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]
    + ["float16", "float32", "float64"]
)


def check_points(X: Any, *, estimator: Any = None, name: str = "X", min_rows: int = 1) -> Any:
    """Validate a sample (n_rows, n_features): real, finite, float32 or float64.

    A tensor stays on its device and is detached. No copy is made without need. It raises what
    scikit-learn does in its words, in which `estimator` and `name`, that of the sample, occur: a
    `ValueError`, or a `TypeError` for sparse input.
    """
    if is_plain(X, min_rows):
        return X
    checks = {
        "dtype": float_types(X),
        "input_name": name,
        "estimator": estimator,
        "ensure_min_samples": min_rows,
    }
    if not isinstance(X, torch.Tensor):
        return check_array(X, **checks)
    X = X.detach()
    if X.layout is not torch.strided:
        check_array(scipy.sparse.coo_array((1, 1)), **checks)
    is_sound = X.ndim == 2 and X.shape[0] >= min_rows and X.shape[1] >= 1 and not X.is_complex()
    if is_sound:
        X = X.to(resolve_dtype(X))
        is_sound = get_config()["assume_finite"] or _all_finite(X)
    if not is_sound:
        # scikit-learn then says what is wrong, in its own words.
        check_array(to_numpy(X if X.is_complex() else X.to(resolve_dtype(X))), **checks)
    return X


def is_plain(X: Any, min_rows: int = 1) -> bool:
    """Whether X is an array that scikit-learn would return as it is.

    Its general checks take longer than the transport of a hundred points.
    """
    if type(X) is not np.ndarray or X.dtype not in FLOATS or X.ndim != 2:
        return False
    # The sum of finite numbers may overflow: then the general checks look at each.
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite = bool(np.isfinite(X.sum()))
    return is_finite and X.shape[0] >= min_rows and X.shape[1] >= 1


def float_types(X: Any) -> Any:
    """Return the dtypes that points keep, for ``check_array(dtype=...)``.

    scikit-learn knows the dtype of arrays, and of frames whose columns are NumPy's: other frames,
    those of polars, and those of pandas with nullable or Arrow columns, would become float64
    whatever they hold.
    """
    types = [_numpy_type(column) for column in _column_types(X)]
    if not types or None in types or np.result_type(*types) != np.float32:
        return FLOATS
    return np.dtype(np.float32)


def _column_types(X: Any) -> list:
    """The types of the columns of a frame or an Arrow table; none for anything else."""
    if not hasattr(X, "__len__") or isinstance(X, (list, tuple, np.ndarray)):
        return []
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        return list(X.dtypes)
    return list(getattr(getattr(X, "schema", None), "types", []))


def _numpy_type(column: Any) -> np.dtype | None:
    """The NumPy dtype that stands for the type of a column, None where there is none."""
    if isinstance(column, np.dtype):
        return column
    twin = getattr(column, "numpy_dtype", None)  # nullable and Arrow columns of pandas
    if isinstance(twin, np.dtype):
        return twin
    # Types of polars and Arrow are named as NumPy's are, but for these.
    name = str(column).lower()
    name = {"float": "float32", "double": "float64", "boolean": "bool"}.get(name, name)
    return np.dtype(name) if name in _NUMBERS else None


def check_n_times(n_times: Any) -> int:
    """Return the number of times at which paths are asked for, or raise unless it is positive."""
    if not isinstance(n_times, Integral) or n_times < 1:
        raise ValueError(f"n_times must be a positive integer. Got {n_times!r}.")
    return int(n_times)


def check_time(t: Any) -> float:
    """Return a time as a number, or raise unless it is one from 0 to 1."""
    is_number = isinstance(t, Real) or getattr(t, "shape", None) == ()
    if not is_number or isinstance(t, (bool, np.bool_)) or not 0.0 <= t <= 1.0:
        raise ValueError(f"t must be one number between 0 and 1. Got {t!r}.")
    return float(t)


def _all_finite(X: torch.Tensor) -> bool:
    """Whether all entries of points (n, d) are finite."""
    # One sum tells it for all but huge values, at a fraction of the cost of looking at each.
    return bool(torch.isfinite(X.sum())) or bool(torch.isfinite(X).all())
