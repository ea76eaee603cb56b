"""Fit a transport, or take one that is frozen, and move the rows of one side."""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.frozen import FrozenEstimator
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import check_is_fitted

from skot.adaptation._metadata import take_rows
from skot.adaptation._table import for_estimator, frame_library, join_rows, take, tidy
from skot.transport import BaseTransport, SinkhornTransport
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
    transport: Any, rows: Any, labels: np.ndarray | None, moves: np.ndarray, metadata: Any
) -> Any:
    """Fit on rows (n, n_features), and return all of them, those with `moves` (n,) moved.

    As in a pipeline, what has no `fit_transform` is asked for `fit` and `transform`.
    """
    sides = {"sample_domain": np.where(moves, 1, -1)}
    with _settings(transport, rows):
        if hasattr(transport, "fit_transform"):
            params = {**metadata["fit_transform"], **sides}
            return tidy(transport.fit_transform(rows, labels, **params), rows)
        seen = _as_it_was_fitted(transport, rows)
        transport.fit(seen, labels, **{**metadata["fit"], **sides})
        if _takes_sides(transport):
            return tidy(transport.transform(seen, **{**metadata["transform"], **sides}), rows)
        params = take_rows(metadata["transform"], moves)
        moved = tidy(transport.transform(take(seen, moves), **params), take(rows, moves))
    return _put_back(moved, rows, moves)


def to_estimator_side(transport: Any, rows: Any, direction: str) -> Any:
    """Bring target rows (n, n_features) to where the estimator was fitted."""
    if direction == "target_to_source":
        return for_estimator(_move(transport, rows))
    return for_estimator(bring_along(transport, rows))


def _move(transport: Any, rows: Any) -> Any:
    """Return new rows (n, n_features) of the side that moves, moved."""
    with _settings(transport, rows):
        return tidy(transport.transform(_as_it_was_fitted(transport, rows)), rows)


def bring_along(transport: Any, rows: Any) -> Any:
    """Return rows (n, n_features) of the side that stays, as rows that moved come to lie by them.

    A transport that smooths what it moves smooths these as much. One of several steps takes these
    through the steps too, told that they are rows that stay.
    """
    with _settings(transport, rows):
        seen = _as_it_was_fitted(transport, rows)
        if smooths(transport):
            return tidy(transport.smooth_target(seen), rows)
        if not isinstance(transport, BaseTransport) and _takes_sides(transport):
            stay = np.full(len(rows), -1)
            return tidy(transport.transform(for_estimator(seen), sample_domain=stay), rows)
    return rows


def smooth_too(transport: Any, moved: Any, rows: Any, stays: np.ndarray) -> Any:
    """Return rows (n, n_features), those with `stays` (n,) seen as those that moved are."""
    if not smooths(transport) or not stays.any():
        return moved
    smoothed = for_estimator(bring_along(transport, take(rows, stays)))
    return join_rows(smoothed, take(moved, ~stays), stays)


def smooths(transport: Any) -> bool:
    """Whether rows that stay are to be smoothed as much as those that move."""
    # The plain map of other libraries leaves them as they are.
    return hasattr(transport, "smooth_target") and getattr(transport, "residual_", 1.0) != 0.0


def _as_it_was_fitted(transport: Any, rows: Any) -> Any:
    """Rows of a frame as points for a frozen transport that was fitted to some."""
    is_frozen = isinstance(transport, FrozenEstimator)
    if frame_library(rows) is None or not is_frozen or hasattr(transport, "feature_names_in_"):
        return rows
    return check_points(rows)


@contextmanager
def _settings(transport: Any, rows: Any) -> Iterator[None]:
    """Have frames made of frames, and sides handed on to the steps that ask for them."""
    settings: dict[str, Any] = {}
    if frame_library(rows) is not None:
        settings["transform_output"] = frame_library(rows)
    if has_steps(transport):
        settings["enable_metadata_routing"] = True
    with config_context(**settings):
        yield


def _takes_sides(transport: Any) -> bool:
    """Whether `transform` can be told which rows to leave; else it moves all that it is given."""
    if "sample_domain" in signature(transport.transform).parameters:
        return True
    # A pipeline hands on what its steps ask for, and refuses the rest.
    if not has_steps(transport):
        return False
    while isinstance(transport, FrozenEstimator):
        transport = transport.estimator
    return bool(get_routing_for_object(transport).consumes("transform", ["sample_domain"]))


def has_steps(transport: Any) -> bool:
    """Whether it is a pipeline, or another estimator that hands metadata on."""
    parameters = signature(transport.transform).parameters.values()
    return any(one.kind is Parameter.VAR_KEYWORD for one in parameters)


def _put_back(moved: Any, rows: Any, moves: np.ndarray) -> Any:
    """Return `rows` (n, n_features) with those of the mask replaced."""
    if moved.shape[1] != rows.shape[1]:
        raise ValueError(
            f"The transport gives {moved.shape[1]} features for {rows.shape[1]}. Only one whose "
            "transform takes sample_domain may do so: it brings the rows that stay along."
        )
    return join_rows(moved, tidy(take(rows, ~moves), rows), moves)


def default_transport() -> SinkhornTransport:
    """Return the transport that ``transport=None`` stands for."""
    return SinkhornTransport(epsilon=0.1, residual=0.2)
