"""What the package needs of scikit-learn outside its public API.

With `skot.utils._callbacks`, this is the only module that imports underscored names of
scikit-learn: when they move, it is mended here.
"""

from typing import Any

import numpy as np
from sklearn.base import _fit_context as fit_context
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import (
    HasMethods,
    Hidden,
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
    validate_parameter_constraints,
    validate_params,
)
from sklearn.utils.validation import _check_sample_weight, _get_feature_names

__all__ = [
    "HasMethods",
    "Hidden",
    "Interval",
    "InvalidParameterError",
    "Options",
    "StrOptions",
    "check_weights",
    "feature_names",
    "fit_context",
    "safe_indexing",
    "validate_parameters",
    "validate_params",
]


def validate_parameters(estimator: Any) -> None:
    """Check parameters, but not those of components, against ``_parameter_constraints``.

    It raises an `InvalidParameterError`, a `ValueError` worded as scikit-learn does.
    """
    validate_parameter_constraints(
        estimator._parameter_constraints,
        estimator.get_params(deep=False),
        caller_name=type(estimator).__name__,
    )


def check_weights(sample_weight: Any, n_samples: int) -> np.ndarray:
    """Return valid weights (n_samples,), a new float64 array; a number stands for equal weights.

    They are finite, non-negative and not all zero, or it raises a `ValueError` worded as
    scikit-learn does.
    """
    return _check_sample_weight(
        sample_weight,
        # Only the number of rows is read.
        np.empty((n_samples, 1)),
        dtype=np.float64,
        ensure_non_negative=True,
        copy=True,
    )


def feature_names(X: Any) -> np.ndarray | None:
    """Return the column names of a data frame of any kind when all are strings, else None."""
    return None if isinstance(X, np.ndarray) else _get_feature_names(X)
