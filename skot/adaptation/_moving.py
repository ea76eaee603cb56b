"""Fit a transport, or take one that is frozen, and move the rows of one side."""

from inspect import Parameter, signature
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.frozen import FrozenEstimator
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import check_is_fitted

from skot.adaptation._metadata import take_rows
from skot.utils._sklearn import feature_names, safe_indexing
from skot.utils.tensors import to_numpy
from skot.utils.validation import check_points


def check_frozen(transport: Any) -> None:
    """Raise if a transport that will not be fitted has not been fitted."""
    if isinstance(transport, FrozenEstimator):
        name = type(transport.estimator).__name__
        message = (
            f"The transport of DomainAdaptation is frozen, but its {name} is not fitted yet. Fit "
            "it before, from the rows that move to the others, or pass it without FrozenEstimator."
        )
        check_is_fitted(transport, msg=message)


def fit_and_move(
    transport: Any, X: Any, labels: np.ndarray | None, moves: np.ndarray, metadata: Any
) -> np.ndarray:
    """Fit on rows (n, n_features), and return all of them, those with `moves` (n,) moved.

    As in a pipeline, what has no `fit_transform` is asked for `fit` and `transform`.
    """
    sides = {"sample_domain": np.where(moves, 1, -1)}
    checked = check_points(X)
    if hasattr(transport, "fit_transform"):
        params = {**metadata["fit_transform"], **sides}
        return to_numpy(transport.fit_transform(checked, labels, **params))
    rows = rows_for(transport, checked, X)
    transport.fit(rows, labels, **{**metadata["fit"], **sides})
    if _takes_sides(transport):
        return to_numpy(transport.transform(rows, **{**metadata["transform"], **sides}))
    params = take_rows(metadata["transform"], moves)
    moved = transport.transform(safe_indexing(rows, np.flatnonzero(moves)), **params)
    return _put_back(to_numpy(moved), to_numpy(checked), moves)


def rows_for(transport: Any, checked: Any, given: Any, rows: np.ndarray | None = None) -> Any:
    """Return `rows` of the frame that was given to a transport that knows columns by name.

    That is a frozen one: others are fitted to arrays, and get `checked`, which holds those rows.
    """
    has_names = hasattr(transport, "feature_names_in_") and feature_names(given) is not None
    return safe_indexing(given, rows) if has_names else checked


def _takes_sides(transport: Any) -> bool:
    """Whether `transform` can be told which rows to leave; else it moves all that it is given."""
    parameters = signature(transport.transform).parameters.values()
    if any(one.name == "sample_domain" for one in parameters):
        return True
    # A pipeline hands on what its steps ask for, if metadata are routed, and refuses the rest.
    if not any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
        return False
    while isinstance(transport, FrozenEstimator):
        transport = transport.estimator
    consumed = get_routing_for_object(transport).consumes("transform", ["sample_domain"])
    return bool(get_config()["enable_metadata_routing"] and consumed)


def _put_back(moved: np.ndarray, rows: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Return `rows` (n, n_features) with those of the mask replaced."""
    if moved.shape[1] != rows.shape[1]:
        raise ValueError(
            f"The transport gives {moved.shape[1]} features for {rows.shape[1]}. Only one whose "
            "transform takes sample_domain may do so: it brings the rows that stay along."
        )
    result = np.empty(rows.shape, np.result_type(moved, rows))
    result[moves], result[~moves] = moved, rows[~moves]
    return result
