"""What the package needs of scikit-learn outside its public API.

With `skot.utils._callbacks`, this is the only module that imports underscored names of
scikit-learn: when they move, it is mended here.
"""

import re
from collections.abc import Iterable
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
    "explained",
    "feature_names",
    "fit_context",
    "remedy",
    "safe_indexing",
    "validate_parameters",
    "validate_params",
]


def validate_parameters(estimator: Any) -> None:
    """Check parameters, but not those of components, against ``_parameter_constraints``.

    It raises an `InvalidParameterError`, a `ValueError` worded as scikit-learn does.
    """
    try:
        validate_parameter_constraints(
            estimator._parameter_constraints,
            estimator.get_params(deep=False),
            caller_name=type(estimator).__name__,
        )
    except InvalidParameterError as error:
        raise InvalidParameterError(explained(str(error), estimator)) from None


def explained(message: str, estimator: Any) -> str:
    """Return a message about a parameter with the names that users import, and with a remedy.

    scikit-learn names classes by the modules in which they are written, and says of a class, or of
    a function, in place of an instance what it is not.
    """
    name = re.match(r"The '(\w+)' parameter", message)
    advice = ""
    if name is not None and name[1] in estimator._parameter_constraints:
        kinds = estimator._parameter_constraints[name[1]]
        advice = remedy(getattr(estimator, name[1]), kinds)
    return re.sub(r"\b(skot(?:\.[a-z]\w*)*)(?:\._\w+)+(?=\.[A-Z])", r"\1", message) + advice


def remedy(value: Any, kinds: Iterable[Any]) -> str:
    """Say what to pass in place of a class, a function or a table, where a component is due."""
    kinds = [kind for kind in kinds if isinstance(kind, type)]
    if isinstance(value, type):
        is_meant = any(issubclass(value, kind) for kind in kinds)
        return f" Pass an instance: {value.__name__}()." if is_meant else ""
    if not (callable(value) or hasattr(value, "shape") or hasattr(value, "support_sizes")):
        return ""
    known = [kind._remedy for kind in kinds if getattr(kind, "_remedy", "")]
    return f" {known[0]}" if known else ""


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
