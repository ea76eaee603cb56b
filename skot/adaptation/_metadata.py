"""Where metadata goes, and which methods the estimator has."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils.metadata_routing import process_routing


def estimator_has(method: str) -> Callable[[Any], bool]:
    """Return a check for `available_if`: the estimator inside has that method."""

    def check(self):
        # Raises the AttributeError of the estimator, which says more than False.
        getattr(getattr(self, "estimator_", self.estimator), method)
        return True

    return check


def route(adaptation: Any, method: str, metadata: dict[str, Any]) -> Any:
    """Return the metadata of each part: ``routed[part][method]``.

    Without metadata routing everything goes to the estimator, as in scikit-learn's
    meta-estimators, except `sample_domain`.
    """
    metadata = {name: value for name, value in metadata.items() if value is not None}
    if get_config()["enable_metadata_routing"]:
        return process_routing(adaptation, method, **metadata)
    metadata.pop("sample_domain", None)
    nothing: dict[str, dict] = {"fit_transform": {}, "fit": {}, "transform": {}}
    return {"estimator": {method: metadata}, "transport": nothing}


def take_rows(metadata: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Cut metadata with one entry per row to the `rows` in use."""

    def take(value):
        is_per_row = np.ndim(value) >= 1 and len(value) == len(rows)
        return np.asarray(value)[rows] if is_per_row else value

    return {name: take(value) for name, value in metadata.items()}
