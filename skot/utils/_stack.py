"""Two samples as one table with a sign per row."""

from importlib import import_module
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array, check_consistent_length

from skot.utils._labels import as_label_array, check_source_labels, unknown_labels_like
from skot.utils.tensors import to_numpy, to_tensor

SOURCE, TARGET = 1, -1


def stack_domains(
    X_source: Any, X_target: Any, y_source: Any = None, y_target: Any = None
) -> tuple[Any, Any, np.ndarray]:
    """Stack a source and a target sample into one table.

    The two samples are interleaved in proportion to their sizes, each in its own order: every
    stretch of consecutive rows holds both, so plain cross-validation without shuffling works.
    Shuffle a sample that is sorted by class beforehand, as for any cross-validation.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Source sample.
    X_target : array-like of shape (n_target, n_features)
        Target sample.
    y_source : array-like of shape (n_source,), default=None
        Labels of the source rows.
    y_target : array-like of shape (n_target,), default=None
        Labels of the target rows. With `y_source` and without `y_target` they are unknown, which
        is written -1 for integers and booleans (which become integers), NaN for floats and None
        for strings.

    Returns
    -------
    X : array-like of shape (n_source + n_target, n_features)
        A new data frame if both samples are of the same data frame library, a new tensor on the
        device of `X_source` if that is a tensor, else a new array.
    y : ndarray or tensor of shape (n_source + n_target,), or None
        Labels, a tensor if `y_source` is one; None if `y_source` is None.
    sample_domain : ndarray of shape (n_source + n_target,)
        1 for source rows, -1 for target rows.

    Raises
    ------
    ValueError
        If widths or lengths do not match, if a source label is missing, if `y_target` comes
        without `y_source`, or if -1 is a class of the source where it would mark unknown labels.

    See Also
    --------
    skot.utils.split_domains : The way back, used by every estimator.

    Examples
    --------
    >>> from skot.utils import stack_domains
    >>> X, y, sample_domain = stack_domains([[0.0], [1.0]], [[5.0], [6.0]], y_source=[0, 1])
    >>> X.ravel(), y, sample_domain
    (array([0., 5., 1., 6.]), array([ 0, -1,  1, -1]), array([ 1, -1,  1, -1]))
    """
    n_source, n_target = _n_rows(X_source, "X_source"), _n_rows(X_target, "X_target")
    y = _stack_labels(X_source, X_target, y_source, y_target, n_target)
    order = _interleave(n_source, n_target)
    X = stack_rows(X_source, X_target, order)
    if y is not None:
        y = y[order]
    sample_domain = np.repeat([SOURCE, TARGET], [n_source, n_target])[order]
    if y is not None and isinstance(y_source, torch.Tensor):
        return X, torch.from_numpy(y), sample_domain
    return X, y, sample_domain


def _n_rows(X: Any, name: str) -> int:
    if isinstance(X, torch.Tensor):
        X = np.broadcast_to(0.0, tuple(X.shape))
    return check_array(X, dtype=None, ensure_all_finite=False, input_name=name).shape[0]


def _interleave(n_source: int, n_target: int) -> np.ndarray:
    """Sort all rows by their relative place in their own sample."""
    place = np.concatenate([(np.arange(n) + 0.5) / n for n in (n_source, n_target)])
    return np.argsort(place, kind="stable")


def stack_rows(X_source: Any, X_target: Any, order: np.ndarray) -> Any:
    """Rows (n, d), (m, d) on top of each other, in an order (n + m,), of the kind of the source."""
    widths = X_source.shape[1:] if hasattr(X_source, "shape") else (len(X_source[0]),)
    other = X_target.shape[1:] if hasattr(X_target, "shape") else (len(X_target[0]),)
    if tuple(widths) != tuple(other):
        raise ValueError(
            f"X_target has {other[0]} features, but X_source has {widths[0]} features."
        )
    if isinstance(X_source, torch.Tensor):
        target = to_tensor(X_target, dtype=X_source.dtype, device=X_source.device)
        index = torch.from_numpy(order).to(X_source.device)
        return torch.cat([X_source.detach(), target])[index]
    if isinstance(X_target, torch.Tensor):
        X_target = to_numpy(X_target)
    frame = _stack_frames(X_source, X_target, order)
    if frame is not None:
        return frame
    return np.concatenate([np.asarray(X_source), np.asarray(X_target)])[order]


def _stack_frames(X_source: Any, X_target: Any, order: np.ndarray) -> Any:
    """Stack two data frames of one library, or return None."""
    libraries = {type(X).__module__.partition(".")[0] for X in (X_source, X_target)}
    if libraries not in ({"pandas"}, {"polars"}):
        return None
    if list(X_source.columns) != list(X_target.columns):
        raise ValueError(
            "The feature names of X_target should match those of X_source. Got "
            f"{list(X_target.columns)} and {list(X_source.columns)}."
        )
    library = import_module(libraries.pop())
    if library.__name__ == "pandas":
        stacked = library.concat([X_source, X_target], ignore_index=True)
        return stacked.iloc[order].reset_index(drop=True)
    return library.concat([X_source, X_target])[order.tolist()]


def _stack_labels(
    X_source: Any, X_target: Any, y_source: Any, y_target: Any, n_target: int
) -> np.ndarray | None:
    """Labels (n,), (m,) on top of each other, unknown ones of the target marked."""
    if y_source is None:
        if y_target is not None:
            raise ValueError("y_target was passed without y_source: source rows need labels.")
        return None
    y_source = as_label_array(y_source)
    check_consistent_length(X_source, y_source)
    check_source_labels(y_source)
    if y_target is None:
        y_target = unknown_labels_like(y_source, n_target)
    else:
        y_target = as_label_array(y_target)
        check_consistent_length(X_target, y_target)
    if (y_source.dtype.kind in "OUS") != (y_target.dtype.kind in "OUS"):
        raise ValueError("y_source and y_target must be uniformly strings or numbers.")
    return np.concatenate([y_source, y_target])
