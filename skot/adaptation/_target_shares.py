"""Weight the classes of the source like those of the target."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import config_context, get_config
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import check_consistent_length
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from skot.adaptation._moving import has_steps
from skot.adaptation._passthrough import Passthrough
from skot.adaptation._share_estimates import (
    LARGEST_DISAGREEMENT,
    SMALLEST_GAIN,
    ShareEstimate,
    estimate_shares,
)
from skot.adaptation._table import numeric_part
from skot.utils._warnings import warn_user
from skot.utils.tensors import to_numpy

#: Of the standard errors.
_N_RESAMPLES = 10
#: With fewer rows of a class, or of the target for each class, nothing is estimated.
_MIN_ROWS = 20
#: Classes that are named in a message, those that change most.
_MAX_NAMED = 5


@dataclass(frozen=True)
class ClassShares:
    """Shares of the classes of the source in the target.

    Attributes
    ----------
    classes : ndarray of shape (k,)
        Sorted labels of the source.
    shares, std : ndarray of shape (k,)
        Shares in the target and their standard errors, zero where they were given.
    is_change : bool
        Whether rows are weighted at all.
    """

    classes: np.ndarray
    shares: np.ndarray
    std: np.ndarray
    is_change: bool = True

    def weigh(self, weights: Any, y: np.ndarray, is_source: np.ndarray) -> np.ndarray:
        """Weights (n,) of all rows, those of the source rescaled so that classes have the shares.

        `weights` (n,) are those of the user, None for equal ones. The total of the source stays.
        """
        weighted = _as_array(weights, len(y))
        codes = np.searchsorted(self.classes, y[is_source])
        by_class = np.bincount(codes, weighted[is_source], minlength=len(self.classes))
        empty = (by_class <= 0) & (self.shares > 0)
        if empty.any():
            raise ValueError(
                f"target_shares gives class {self.classes[empty][0]} a share of the target, but "
                "all its source rows have a sample_weight of zero."
            )
        factors = self.shares * by_class.sum() / np.where(by_class > 0, by_class, 1.0)
        weighted[is_source] *= factors[codes]
        return weighted


def find_target_shares(
    target_shares: Any,
    estimator: Any,
    transport: Any,
    X: Any,
    y: np.ndarray,
    is_source: np.ndarray,
    of_transport: dict[str, dict],
) -> ClassShares | None:
    """Resolve the parameter `target_shares` on rows (n, d) with labels (n,), or warn.

    None if it is None; then a change of shares that is sure is warned of. The metadata of the
    transport, by method, may hold the weights with which rows are transported.
    """
    of_fit = of_transport.get("fit_transform") or of_transport.get("fit", {})
    weights = of_fit.get("sample_weight")
    if target_shares is None:
        if is_classifier(estimator) and not isinstance(transport, Passthrough):
            _warn_of_change(X, y, is_source, weights)
        return None
    if not is_classifier(estimator):
        raise ValueError(
            f"target_shares are shares of classes, and {type(estimator).__name__} is no classifier."
        )
    _check_takers(estimator, transport)
    classes = np.unique(y[is_source])
    if isinstance(target_shares, str):
        return _estimated(classes, X, y, is_source, weights)
    shares = _check_shares(target_shares, classes)
    return ClassShares(classes, shares, np.zeros(len(shares)))


def weight_parameter(part: Any, method: str = "fit") -> str | None:
    """Name by which `part` takes weights of rows in `method`, None if it takes none."""
    if has_fit_parameter(part, "sample_weight"):
        return "sample_weight"
    # The steps of a transport are told the sides of the rows by routing, whatever the setting.
    routing = get_config()["enable_metadata_routing"]
    if routing or (hasattr(part, "transform") and has_steps(part)):
        with config_context(enable_metadata_routing=True):
            consumed = get_routing_for_object(part).consumes(method, ["sample_weight"])
        return "sample_weight" if consumed else None
    if isinstance(part, Pipeline):
        name, last = part.steps[-1]
        inner = weight_parameter(last) if hasattr(last, "fit") else None
        return f"{name}__{inner}" if inner else None
    return None


def add_weights(
    shares: ClassShares | None,
    part: Any,
    metadata: dict[str, dict],
    y: np.ndarray,
    is_source: np.ndarray,
) -> dict[str, dict]:
    """Metadata of a part by method, with the weights of the shares in those for fitting."""
    if shares is None or not shares.is_change:
        return metadata
    weighted = dict(metadata)
    for method in {"fit", "fit_transform"} & set(metadata):
        name = weight_parameter(part, method)
        if name is not None:
            given = metadata[method].get(name)
            weighted[method] = {**metadata[method], name: shares.weigh(given, y, is_source)}
    return weighted


def _check_takers(estimator: Any, transport: Any) -> None:
    """Warn of a part that takes no weights, raise if none does."""
    method = "fit_transform" if hasattr(transport, "fit_transform") else "fit"
    deaf = {
        role: part
        for role, part, caller in (
            ("transport", transport, method),
            ("estimator", estimator, "fit"),
        )
        if weight_parameter(part, caller) is None and not isinstance(part, Passthrough)
    }
    if not deaf:
        return
    names = " and ".join(type(part).__name__ for part in deaf.values())
    remedy = (
        "SinkhornTransport and GaussianTransport take weights, and so do most classifiers; a step "
        "of a pipeline has to be the last one or, with metadata routing, to request them."
    )
    if len(deaf) == 2 or isinstance(transport, Passthrough):
        verb = "take" if len(deaf) == 2 else "takes"
        raise ValueError(
            f"target_shares weights rows, but {names} {verb} no sample_weight. {remedy}"
        )
    effect = {
        "transport": "rows are moved as if the classes had the shares of the source",
        "estimator": "the shares count in the transport alone",
    }
    warn_user(
        f"target_shares weights rows, but {names} takes no sample_weight: "
        f"{effect[next(iter(deaf))]}. {remedy}"
    )


def _check_shares(target_shares: Any, classes: np.ndarray) -> np.ndarray:
    """Shares (k,) in the order of the classes (k,), from an array or a mapping."""
    if isinstance(target_shares, Mapping):
        target_shares = _in_order(target_shares, classes)
    shares = np.asarray(to_numpy(target_shares), dtype=float)
    if shares.shape != classes.shape:
        raise ValueError(
            f"target_shares has shape {shares.shape}, but the source has {len(classes)} classes: "
            f"{_list(classes)}. Give one share for each, in this order, or a mapping."
        )
    if not np.isfinite(shares).all() or (shares < 0).any():
        raise ValueError("target_shares must be finite and not negative.")
    if abs(shares.sum() - 1.0) > 1e-3:
        raise ValueError(f"target_shares must sum to 1, but their sum is {shares.sum():.4g}.")
    return shares / shares.sum()


def _as_array(weights: Any, n_rows: int) -> np.ndarray:
    """Weights (n_rows,) of rows, of which there may be one number for all, or None."""
    weights = np.asarray(1.0 if weights is None else to_numpy(weights), dtype=float)
    if weights.ndim:
        check_consistent_length(np.empty(n_rows), weights)
    return np.broadcast_to(weights, n_rows).copy()


def _in_order(shares: Mapping, classes: np.ndarray) -> list:
    unknown = [label for label in shares if label not in classes]
    missing = [label for label in classes if label not in shares]
    if unknown or missing:
        raise ValueError(
            f"target_shares must name the classes of the source: {_list(classes)}. Unknown: "
            f"{_list(unknown)}; missing: {_list(missing)}."
        )
    return [shares[label] for label in classes]


def _list(labels: Any) -> str:
    names = [str(label) for label in labels]
    more = [] if len(names) <= 2 * _MAX_NAMED else [f"... ({len(names)} in all)"]
    return ", ".join(names[: 2 * _MAX_NAMED] + more) or "none"


def _estimate(
    X: Any, y: np.ndarray, is_source: np.ndarray, weights: Any, n_resamples: int
) -> ShareEstimate | None:
    """Estimate the shares, None with one class, too few rows or no numbers."""
    rows = numeric_part(X)
    if rows is None or not rows.shape[1]:
        return None
    a = _as_array(weights, len(y))
    source = is_source & (a > 0)
    classes, codes = np.unique(y[source], return_inverse=True)
    if len(classes) != len(np.unique(y[is_source])) or len(classes) < 2:
        return None
    enough = np.bincount(codes).min() >= _MIN_ROWS
    if not enough or (~is_source).sum() < _MIN_ROWS * len(classes):
        return None
    mass = a[source] / a[source].sum()
    return estimate_shares(rows[source], mass, codes, rows[~is_source], n_resamples=n_resamples)


def _warn_of_change(X: Any, y: np.ndarray, is_source: np.ndarray, weights: Any) -> None:
    found = _estimate(X, y, is_source, weights, 0)
    if found is None or not found.is_reliable:
        return
    warn_user(
        "The classes seem to have other shares in the target than in the source: "
        f"{_changes(np.unique(y[is_source]), found.source, found.shares)}. A transport of all "
        'rows then moves rows of one class onto another. Pass target_shares="estimate" to weight '
        "the source accordingly, or the shares themselves if you know them."
    )


def _changes(classes: np.ndarray, source: np.ndarray, target: np.ndarray) -> str:
    """What changes most, in words."""
    order = np.sort(np.argsort(-np.abs(target - source), kind="stable")[:_MAX_NAMED])
    return ", ".join(f"class {classes[k]} {target[k]:.2f} for {source[k]:.2f}" for k in order)


def _estimated(
    classes: np.ndarray, X: Any, y: np.ndarray, is_source: np.ndarray, weights: Any
) -> ClassShares:
    """Shares by estimate, those of the source with a warning where it is not to be trusted."""
    found = _estimate(X, y, is_source, weights, _N_RESAMPLES)
    if found is not None and found.is_reliable:
        return ClassShares(classes, found.shares, found.std)
    if found is None:
        codes = np.searchsorted(classes, y[is_source])
        a = _as_array(weights, len(y))[is_source]
        mass = np.bincount(codes, a, minlength=len(classes))
        kept = ClassShares(
            classes, mass / mass.sum(), np.full(len(classes), np.nan), is_change=False
        )
        reason = (
            f"an estimate needs two classes, {_MIN_ROWS} source rows of each, and as many target "
            "rows for each, with numeric features"
        )
    else:
        kept = ClassShares(classes, found.source, found.std, is_change=False)
        reason = _why_not(classes, found)
    warn_user(
        f'target_shares="estimate" keeps the shares of the source: {reason}. Where you know the '
        "shares of the target, pass them."
    )
    return kept


def _why_not(classes: np.ndarray, found: ShareEstimate) -> str:
    if not found.is_change:
        return "no change of shares was found that is larger than chance"
    by_shape = _changes(classes, found.source, found.by_shape)
    if found.disagreement >= LARGEST_DISAGREEMENT:
        by_mixture = _changes(classes, found.source, found.by_mixture)
        return f"two estimates disagree ({by_shape}; {by_mixture})"
    return (
        f"the estimate ({by_shape}) explains {max(found.gain, 0.0):.0%} of how source and target "
        f"differ in shape, and {SMALLEST_GAIN:.0%} are asked for"
    )
