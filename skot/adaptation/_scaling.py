"""One scaler for each domain."""

from typing import Any

import numpy as np
from sklearn.base import clone

from skot.adaptation._table import frames_like, join_rows, take, tidy


def fit_scalers(scaler: Any, rows: Any, is_source: np.ndarray | None) -> tuple[Any, Any, Any]:
    """Return the scaler of the source, that of the target, and the rows (n, d) scaled by them.

    Both are None for None. Without two sides, `is_source` is None and one scaler serves both.
    """
    if scaler is None:
        return None, None, rows
    if is_source is None:
        fitted = clone(scaler)
        return fitted, fitted, fit_scale(fitted, rows)
    of_source, of_target = clone(scaler), clone(scaler)
    scaled = (
        fit_scale(of_source, take(rows, is_source)),
        fit_scale(of_target, take(rows, ~is_source)),
    )
    return of_source, of_target, join_rows(*scaled, is_source)


def fit_scale(scaler: Any, rows: Any) -> Any:
    """Fit on rows (n, d), and return them scaled."""
    with frames_like(rows):
        return tidy(scaler.fit(rows).transform(rows), rows)


def scale(scaler: Any, rows: Any) -> Any:
    """Return rows (n, d) scaled by a fitted scaler, or as they are for None."""
    if scaler is None:
        return rows
    with frames_like(rows):
        return tidy(scaler.transform(rows), rows)


def scale_sides(of_source: Any, of_target: Any, rows: Any, is_source: np.ndarray) -> Any:
    """Return rows (n, d) of both sides, each scaled by its own scaler."""
    if of_source is None:
        return rows
    if is_source.all() or not is_source.any():
        return scale(of_source if is_source.all() else of_target, rows)
    scaled = scale(of_source, take(rows, is_source)), scale(of_target, take(rows, ~is_source))
    return join_rows(*scaled, is_source)
