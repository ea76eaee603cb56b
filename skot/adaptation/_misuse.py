"""Warnings of what scikit-learn's tools, and users, get wrong without a word."""

from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length

from skot.adaptation._callers import scikit_learn_above
from skot.adaptation._table import for_estimator
from skot.numerics.tiles import row_tiles
from skot.utils._labels import UNKNOWN_INTEGER
from skot.utils._warnings import warn_user
from skot.utils.tensors import to_numpy

#: Rows of a call that are source rows of the fit: more than this share of them is a mistake.
_SHARE_OF_SOURCE = 0.1


def warn_of_labels(y: np.ndarray, is_source: np.ndarray) -> None:
    """Warn where the labels of the target (of `y`, (n,)) cannot mean what they say."""
    if (y[is_source] == UNKNOWN_INTEGER).any() and (y[~is_source] == UNKNOWN_INTEGER).all():
        warn_user(
            "All target rows have the label -1, which is a class of the source here, so that it "
            "does not mark them as unknown: score and use_target_labels take it for the truth. "
            "Encode the classes as 0, 1, ..., or pass floats with NaN for unknown labels."
        )


def warn_of_meta_estimators(y: np.ndarray, is_source: np.ndarray) -> None:
    """Warn where one of scikit-learn's above takes marks of unknown labels for a class."""
    modules = {module for module, _ in scikit_learn_above()}
    if any(module.startswith("sklearn.calibration") for module in modules):
        warn_user(
            "CalibratedClassifierCV calibrates DomainAdaptation on source rows as if they were of "
            "the target, and takes -1, the mark of an unknown label, for a class. Calibrate the "
            "classifier inside: DomainAdaptation(CalibratedClassifierCV(classifier), transport)."
        )
    is_ensemble = any(
        module.startswith(("sklearn.ensemble", "sklearn.multi")) for module in modules
    )
    if not is_ensemble:
        return
    unheard = np.setdiff1d(y[~is_source].astype(str), y[is_source].astype(str))
    if len(unheard):
        warn_user(
            "DomainAdaptation is fitted inside an ensemble of scikit-learn, which takes -1, the "
            "mark of an unknown label, for a class, here as one of "
            f"{', '.join(unheard[:3])}: soft votes then count for the wrong classes. Give the "
            "target rows any label of the source instead: it is not used."
        )


def warn_of_several_domains(sample_domain: Any) -> None:
    """Warn where domains of one sign, of (n,), become one sample."""
    values = np.unique(to_numpy(sample_domain))
    for side, of_side in (("source", values[values >= 0]), ("target", values[values < 0])):
        if len(of_side) > 1:
            named = ", ".join(str(value) for value in of_side[:5])
            warn_user(
                f"sample_domain holds {len(of_side)} {side} domains ({named}), which are pooled "
                f"into one {side}. Pass {1 if side == 'source' else -1} for all of them to say "
                "so, or fit one DomainAdaptation for each."
            )


def warn_of_target_weights(
    sample_weight: Any, is_source: np.ndarray, metadata_of_transport: Any
) -> None:
    """Warn where weights (n,) of target rows, which differ, are handed to nobody."""
    if sample_weight is None or any(
        "sample_weight" in of_method for of_method in metadata_of_transport.values()
    ):
        return
    weights = to_numpy(sample_weight)
    if np.ndim(weights) == 0:
        return
    check_consistent_length(is_source, weights)
    if len(np.unique(weights[~is_source])) > 1:
        warn_user(
            "The weights of target rows reach nobody: sample_weight goes to the estimator, which "
            "is fitted to source rows. For a weighted target, switch metadata routing on "
            "(sklearn.set_config(enable_metadata_routing=True)), pass "
            "transport=SinkhornTransport().set_fit_request(sample_weight=True), and say by the "
            "same method of the estimator whether it gets them too."
        )


def warn_of_search() -> bool:
    """Warn where cross-validation asks for a prediction or a score and knows of no target rows.

    Return whether it does.
    """
    calls = scikit_learn_above()
    if ("sklearn.model_selection._validation", "_score") not in calls:
        return False
    warn_user(
        "A search or cross-validation scores DomainAdaptation without sample_domain: source rows "
        "of its folds count as target, and -1, the mark of an unknown label, as a class. Call "
        "sklearn.set_config(enable_metadata_routing=True), and pass a scorer that knows of the "
        'two, for example skot.metrics.SupervisedTargetScorer("accuracy") for a string, or '
        "CircularValidationScorer() without labels of the target."
    )
    return True


def hash_rows(rows: Any) -> np.ndarray | None:
    """Return a number (n,) for each row (n, d), equal for equal rows; None if not numeric."""
    try:
        points = np.asarray(for_estimator(rows), dtype=np.float64)
    except (TypeError, ValueError):
        return None
    # Odd multipliers, the same in every process; sums of products of 64 bits wrap around.
    generator = np.random.default_rng(0)
    multipliers = generator.integers(2**63, size=points.shape[1], dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(points), dtype=np.uint64)
    for tile in row_tiles(len(points), points.shape[1]):
        bits = np.ascontiguousarray(points[tile] + 0.0).view(np.uint64)
        mixed = (bits ^ (bits >> np.uint64(29))) * multipliers
        hashes[tile] = mixed.sum(axis=1, dtype=np.uint64)
    return hashes


def hash_source(rows: Any, is_source: np.ndarray) -> np.ndarray | None:
    """Return the hashes of source rows that are no target rows as well, sorted.

    None where many are, as among rows of a few counts or categories: others coincide by chance.
    """
    hashes = hash_rows(rows)
    if hashes is None:
        return None
    if np.isin(hashes[~is_source], hashes[is_source]).mean() > _SHARE_OF_SOURCE:
        return None
    return np.setdiff1d(hashes[is_source], hashes[~is_source])


def warn_of_source_rows(rows: Any, of_source: np.ndarray | None) -> None:
    """Warn where rows that are scored as target were the source of the fit."""
    hashes = hash_rows(rows)
    if hashes is None or of_source is None:
        return
    n_source = int(np.isin(hashes, of_source).sum())
    if n_source > _SHARE_OF_SOURCE * len(hashes):
        warn_user(
            f"score without sample_domain takes every row for target, but {n_source} of "
            f"{len(hashes)} rows are source rows of fit. Pass sample_domain, or rows of the target "
            "only. A search hands sample_domain on with "
            "sklearn.set_config(enable_metadata_routing=True)."
        )


def warn_of_no_target() -> None:
    """Warn that there is nothing to adapt to."""
    warn_user(
        "sample_domain was not passed to fit, so there is no target: the estimator is fitted "
        "on (X, y) as they are. Pass sample_domain=...; inside a meta-estimator, call "
        "sklearn.set_config(enable_metadata_routing=True) first."
    )
