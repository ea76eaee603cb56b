"""Validation of the two samples of a transport problem."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from skot.utils._brief import brief_repr
from skot.utils._labels import as_label_array, check_source_labels, is_missing, known_labels
from skot.utils._points import check_points, float_types, is_plain
from skot.utils._sklearn import check_weights, feature_names
from skot.utils._stack import stack_domains
from skot.utils.tensors import n_dimensions, output_dtype, to_numpy, to_tensor

__all__ = [
    "DomainSplit",
    "check_points",
    "check_sample_domain",
    "known_labels",
    "split_domains",
    "stack_domains",
]


@dataclass(frozen=True)
class DomainSplit:
    """The two samples of a call, validated.

    Arrays may share memory with the caller's: copy before writing.

    Attributes
    ----------
    X_source : ndarray or tensor of shape (n_source, n_features)
        Source rows, a tensor if `X` was one.
    X_target : ndarray or tensor of shape (n_target, n_features), or None
        Target rows, of the same kind and on the same device; None if the call has no target.
    y_source, y_target : ndarray or None
        Labels; those of the target may hold marks, see `target_known`.
    weight_source, weight_target : ndarray of float64, or None
        Weights that sum to 1 on each side; None stands for equal weights.
    source_mask : ndarray of bool, shape (n_rows,), or None
        Which rows of `X` are source rows; None if all are.
    dtype : numpy.dtype
        dtype of the output: ``float32`` if `X` has it, else ``float64``.
    """

    X_source: Any
    X_target: Any
    y_source: np.ndarray | None
    y_target: np.ndarray | None
    weight_source: np.ndarray | None
    weight_target: np.ndarray | None
    source_mask: np.ndarray | None
    dtype: np.dtype

    __repr__ = brief_repr

    @property
    def target_known(self) -> np.ndarray | None:
        """Which labels of the target are known, None if there are no labels."""
        return None if self.y_target is None else known_labels(self.y_target, self.y_source)


def split_domains(
    estimator: Any,
    X: Any,
    y: Any = None,
    sample_domain: Any = None,
    sample_weight: Any = None,
    *,
    reset: bool = True,
    training: bool | None = None,
    require_labels: bool = False,
) -> DomainSplit:
    """Validate the input of a transport and part it into source and target.

    ===================================  ==================  ==================
    call                                 source              target
    ===================================  ==================  ==================
    2-D `y` of shape (n_target, width)   `X`                 `y`
    `sample_domain`                      rows with d >= 0    rows with d < 0
    neither                              `X`                 None
    ===================================  ==================  ==================

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and ``feature_names_in_`` when `reset`, and is compared with them
        otherwise.
    X : array-like or tensor of shape (n_rows, n_features)
        Source rows, or both samples stacked.
    y : array-like, default=None
        1-D: class labels of the rows of `X`. 2-D: the target sample.
    sample_domain : array-like of int, shape (n_rows,), default=None
        Source where it is not negative.
    sample_weight : array-like of shape (n_rows,) or number, default=None
        Weights of the rows of `X`.
    reset : bool, default=True
        Whether this is the first look at the data.
    training : bool, default=None
        Whether the rules of `fit` apply: both signs in `sample_domain`, two rows a side, no
        missing source label. None means `reset`.
    require_labels : bool, default=False
        Whether class labels of the source are needed.

    Returns
    -------
    split : DomainSplit
        The validated parts.

    Raises
    ------
    ValueError
        For bad input, before any work and worded as scikit-learn does.
    TypeError
        For sparse input, as scikit-learn does.
    """
    training = reset if training is None else training
    min_rows = 2 if training else 1
    try:
        X = _validate_X(estimator, X, reset=reset, min_rows=min_rows)
    except ValueError as error:
        if sample_domain is None or "contains" not in str(error):
            raise
        raise ValueError(_with_side(str(error), X, sample_domain)) from error
    target, labels = _target_or_labels(estimator, X, y, sample_domain, min_rows)
    mask = None
    if sample_domain is not None:
        mask = check_sample_domain(sample_domain, len(X), require_both=training)
        check_rows_per_side(estimator, X, mask, min_rows if training else 0)
    if training and labels is not None:
        check_source_labels(labels if mask is None else labels[mask])
    if require_labels:
        _check_class_labels(estimator, labels, mask)
    weights = None
    if sample_weight is not None:
        is_tensor = isinstance(sample_weight, torch.Tensor)
        weights = check_weights(to_numpy(sample_weight) if is_tensor else sample_weight, len(X))
    X_source, X_target = _part(X, mask)
    y_source, y_target = _part(labels, mask)
    weight_source, weight_target = _part(weights, mask)
    return DomainSplit(
        X_source=X_source,
        X_target=X_target if target is None else target,
        y_source=y_source,
        y_target=y_target,
        weight_source=_normalise(weight_source, "source"),
        weight_target=_normalise(weight_target, "target"),
        source_mask=mask,
        dtype=output_dtype(X),
    )


def check_sample_domain(
    sample_domain: Any, n_rows: int, *, require_both: bool = False
) -> np.ndarray:
    """Return the mask (n_rows,) of the source rows: their domains are not negative.

    Several values of one sign are pooled. It raises a `ValueError` unless domains are signed
    integers, one a row, and of both signs if `require_both`.
    """
    domain = _signed_integers(sample_domain, n_rows)
    is_source = domain >= 0
    if require_both and is_source.all() != (~is_source).all():
        has, lacks = ("source rows (>= 0)", "target rows (< 0)")
        has, lacks = (has, lacks) if is_source.all() else (lacks, has)
        values = np.unique(domain)
        shown = ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
        raise ValueError(
            f"sample_domain holds only {has}, its values are {shown}, but fit needs {lacks} too. "
            "Rows with a value >= 0 are source, rows with a value < 0 are target: of a mask of "
            "target rows, make np.where(is_target, -1, 1)."
        )
    return is_source


_NOT_SIGNED = {
    "b": "booleans, which have no sign",
    "u": "unsigned integers, which cannot be negative",
    "U": "strings",
    "S": "strings",
    "f": "floating point numbers",
    "c": "complex numbers",
    "M": "dates",
    "m": "time spans",
}


def _signed_integers(sample_domain: Any, n_rows: int) -> np.ndarray:
    """Domains (n,) as int64, one for each row, or raise and say what they are."""
    is_array = hasattr(sample_domain, "__len__") or hasattr(sample_domain, "__array__")
    is_one = not is_array or getattr(sample_domain, "shape", None) == ()
    if is_one or isinstance(sample_domain, (str, bytes, Mapping, Set)):
        kind = type(sample_domain).__name__
        raise _bad_domain(f"one {kind} for all rows, {sample_domain!r}")
    if isinstance(sample_domain, (list, tuple)):
        # Objects, or [True, -1] would pass for integers.
        sample_domain = np.asarray(sample_domain, dtype=object)
    domain = to_numpy(sample_domain)
    if domain.dtype.kind in "cMm":
        raise _bad_domain(_NOT_SIGNED[domain.dtype.kind])
    domain = column_or_1d(domain, input_name="sample_domain")
    if len(domain) != n_rows:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"[{n_rows}, {len(domain)}]. sample_domain needs one entry per row of X."
        )
    kind = domain.dtype.kind
    if kind == "O":
        if any(is_missing(value) for value in domain):
            raise _bad_domain("missing values among them")
        kinds = {np.asarray(value).dtype.kind for value in domain}
        kind = next((bad for bad in "bUSOfcuMm" if bad in kinds), "i")
    if kind == "i":
        return domain.astype(np.int64)
    what = _NOT_SIGNED.get(kind, f"values of dtype {domain.dtype}")
    if kind == "f":
        numbers = domain.astype(np.float64)
        if np.isnan(numbers).any():
            what += ", NaN among them"
        elif (numbers == np.round(numbers)).all():
            what += ": convert them by .astype(int)"
    raise _bad_domain(what)


def _bad_domain(what: str) -> ValueError:
    return ValueError(
        "sample_domain must hold signed integers, one per row of X (source >= 0, target < 0). "
        f"Got {what}."
    )


def _validate_X(estimator: Any, X: Any, *, reset: bool, min_rows: int) -> Any:
    """Rows (n, d) as scikit-learn would have them; tensors stay tensors."""
    if is_plain(X, min_rows):
        if reset and not hasattr(estimator, "feature_names_in_"):
            # All that scikit-learn would do, after looking whether the array is a data frame.
            estimator.n_features_in_ = X.shape[1]
            return X
        return validate_data(estimator, X, reset=reset, skip_check_array=True)
    if isinstance(X, torch.Tensor):
        X = check_points(X, estimator=estimator, min_rows=min_rows)
        return validate_data(estimator, X, reset=reset, skip_check_array=True)
    options = {"dtype": float_types(X), "ensure_min_samples": min_rows}
    return validate_data(estimator, X, reset=reset, **options)


def _with_side(message: str, X: Any, sample_domain: Any) -> str:
    """Add to a message about values that are not finite on which side they are."""
    rows = np.asarray(to_numpy(X) if isinstance(X, torch.Tensor) else X)
    is_source = check_sample_domain(sample_domain, len(rows))
    is_bad = ~np.isfinite(rows.astype(np.float64)).all(axis=1)
    sides = {
        "source rows (sample_domain >= 0)": is_bad & is_source,
        "target rows (sample_domain < 0)": is_bad & ~is_source,
    }
    where = " and ".join(f"{mask.sum()} {side}" for side, mask in sides.items() if mask.any())
    head, newline, tail = message.partition("\n")
    return f"{head.rstrip('.')}, in {where}.{newline}{tail}"


def _target_or_labels(
    estimator: Any, X: Any, y: Any, sample_domain: Any, min_rows: int
) -> tuple[Any, np.ndarray | None]:
    """Tell what `y` is by its dimensions: a target sample or class labels."""
    if y is None:
        return None, None
    # A tensor may be large and on another device: it is not brought here to be looked at.
    is_known = is_plain(y) or (isinstance(y, torch.Tensor) and y.ndim != 1)
    if not is_known:
        _refuse_what_is_no_sample(y, X)
    array = y if is_known else as_label_array(y)
    if array.ndim == 2 and sample_domain is None:
        return _check_target(estimator, X, y, array.shape[1], min_rows), None
    if array.ndim == 2 and array.shape[1] == X.shape[1] > 1:
        raise ValueError(
            "y is two-dimensional, which makes it the target sample, but sample_domain marks "
            "target rows in X: pass one of the two."
        )
    labels = column_or_1d(to_numpy(array), warn=True)
    check_consistent_length(X, labels)
    return None, labels


def _refuse_what_is_no_sample(y: Any, X: Any) -> None:
    """Raise where `y` holds names, tasks or several samples in place of one."""
    n_rows, n_features = X.shape
    if isinstance(y, (str, bytes)):
        what = f"the string {y!r}: names of columns or tasks are not looked up"
    elif isinstance(y, (Mapping, Set)):
        what = f"a {type(y).__name__}"
    elif isinstance(y, (list, tuple)) and any(n_dimensions(item) > 1 for item in y):
        what = f"a {type(y).__name__} of {len(y)} arrays: samples are not told apart in y"
    elif isinstance(y, tuple) and len(y) != n_rows and not any(map(n_dimensions, y)):
        what = f"a tuple of {len(y)} values for {n_rows} rows: names of tasks are not looked up"
    elif isinstance(y, (Number, np.generic)):
        what = f"one {type(y).__name__}, {y!r}"
    else:
        return
    raise ValueError(
        f"y must be the target sample, an array of shape (n_target, {n_features}), or one label "
        f"per row of X. Got {what}. Samples that are stacked in X are told apart by sample_domain, "
        "one integer per row: source >= 0, target < 0."
    )


def _check_target(estimator: Any, X: Any, y: Any, width: int, min_rows: int) -> Any:
    """Validate a target sample (m, d) as rows of the features of X."""
    n_features = X.shape[1]
    if width != n_features:
        raise ValueError(
            f"y has {width} features, but {type(estimator).__name__} is expecting {n_features} "
            "features as input: a two-dimensional y is the target sample. Class labels are "
            "one-dimensional."
        )
    names = feature_names(y)
    names_in = getattr(estimator, "feature_names_in_", None)
    if names is not None and names_in is not None and list(names) != list(names_in):
        raise ValueError(
            "The feature names of the target sample should match those of X.\n"
            f"Got {list(names)} and {list(names_in)}."
        )
    if isinstance(y, torch.Tensor) and not isinstance(X, torch.Tensor):
        y = to_numpy(y)
    y = check_points(y, estimator=estimator, name="y (the target sample)", min_rows=min_rows)
    if isinstance(X, torch.Tensor):
        return to_tensor(y, device=X.device)
    return y


def check_rows_per_side(estimator: Any, X: Any, mask: np.ndarray, min_rows: int) -> None:
    for side, n_rows in (("source", int(mask.sum())), ("target", int((~mask).sum()))):
        if n_rows < min_rows:
            raise ValueError(
                f"Found array with {n_rows} sample(s) (shape={(n_rows, X.shape[1])}) while a "
                f"minimum of {min_rows} is required by {type(estimator).__name__} on the {side} "
                "side of sample_domain."
            )


def _check_class_labels(estimator: Any, labels: np.ndarray | None, mask: np.ndarray | None) -> None:
    if labels is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None. Pass one class label per row of X."
        )
    check_classification_targets(labels if mask is None else labels[mask])


def _part(rows: Any, mask: np.ndarray | None) -> tuple[Any, Any]:
    """Part the rows by `mask`; all are source without one."""
    if rows is None or mask is None:
        return rows, None
    if isinstance(rows, torch.Tensor):
        is_source = torch.from_numpy(mask).to(rows.device)
        return rows[is_source], rows[~is_source]
    return rows[mask], rows[~mask]


def _normalise(weights: np.ndarray | None, side: str) -> np.ndarray | None:
    """Weights (n,) of one side that sum to one."""
    if weights is None or not len(weights):
        return weights
    largest = weights.max()
    if largest == 0:
        raise ValueError(
            "Sample weights must contain at least one non-zero number. They are all zero on the "
            f"{side} side of sample_domain."
        )
    # Dividing by the largest first keeps the sum of huge weights finite.
    weights = weights / largest
    return weights / weights.sum()
