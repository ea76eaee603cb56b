"""Where metadata goes, and which methods the estimator has."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

_RESPONSES = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score")
#: The metadata of a transport for which there are none.
NOTHING: dict[str, dict] = {"fit_transform": {}, "fit": {}, "transform": {}}


def classifies(adaptation: Any) -> bool:
    """Whether the estimator inside predicts classes."""
    estimator = adaptation.estimator
    return is_classifier(estimator) and hasattr(estimator, "predict")


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
    return {"estimator": {method: metadata}}


def take_rows(metadata: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Cut metadata with one entry per row to the `rows` in use."""

    def take(value):
        is_per_row = np.ndim(value) >= 1 and len(value) == len(rows)
        return np.asarray(value)[rows] if is_per_row else value

    return {name: take(value) for name, value in metadata.items()}


def metadata_router(adaptation: Any, default_transport: Any) -> MetadataRouter:
    """Return where metadata goes: to the object itself, its estimator and its transport."""
    responses = MethodMapping().add(caller="fit", callee="fit")
    for method in _RESPONSES:
        responses.add(caller=method, callee=method)
    router = (
        MetadataRouter(owner=adaptation)
        .add_self_request(adaptation)
        .add(estimator=adaptation.estimator, method_mapping=responses)
    )
    transport = adaptation.transport
    if isinstance(transport, str):
        return router
    if transport is None:
        # As without routing, weights are for the estimator alone.
        transport = default_transport
        if get_config()["enable_metadata_routing"]:
            transport.set_fit_request(sample_weight=False)
    # As in a pipeline.
    callees = ["fit_transform"] if hasattr(transport, "fit_transform") else ["fit", "transform"]
    of_transport = MethodMapping()
    for callee in callees:
        of_transport.add(caller="fit", callee=callee)
    return router.add(transport=transport, method_mapping=of_transport)


def tags_like(tags: Tags, estimator: Any) -> Tags:
    """Return tags with those of the estimator that decide what may be asked of an adaptation."""
    if not hasattr(estimator, "__sklearn_tags__"):
        # It is refused by fit, in words; until then there is something to show.
        return tags
    of_estimator = get_tags(estimator)
    tags.estimator_type = of_estimator.estimator_type
    tags.classifier_tags = deepcopy(of_estimator.classifier_tags)
    if tags.classifier_tags is not None:
        tags.classifier_tags.multi_label = False
    tags.regressor_tags = deepcopy(of_estimator.regressor_tags)
    tags.target_tags.required = of_estimator.target_tags.required
    tags.non_deterministic = of_estimator.non_deterministic
    return tags
