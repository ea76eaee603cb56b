"""Scorers that look at the labels or at the transport of an adapted estimator."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone, is_regressor
from sklearn.metrics import accuracy_score, check_scoring, r2_score
from sklearn.pipeline import Pipeline

from skot.metrics._masking import mask_labels
from skot.metrics._scorer_base import DomainScorer
from skot.utils._labels import as_label_array
from skot.utils.validation import known_labels

__all__ = ["CircularValidationScorer", "SupervisedTargetScorer", "TransportDivergenceScorer"]


class CircularValidationScorer(DomainScorer):
    """Accuracy on the source of an estimator adapted back from the predictions for the target.

    A clone of the estimator is fitted with the roles of the two samples swapped, on the labels
    predicted for the target rows, and predicts the source rows, whose labels are known. An
    adaptation that confuses classes on its way there does not find the way back.

    It costs one fit, and works for classifiers and regressors.

    Parameters
    ----------
    metric : callable, default=None
        ``metric(y_true, y_pred)``, higher is better. None takes
        `sklearn.metrics.accuracy_score` for classifiers and `sklearn.metrics.r2_score` for
        regressors.

    See Also
    --------
    PredictionEntropyScorer : Costs nothing.
    SupervisedTargetScorer : With the labels of the target, to judge the other scorers.

    References
    ----------
    .. [1] Bruzzone, L., Marconcini, M. (2010). Domain Adaptation Problems: A DASVM Classification
       Technique and a Circular Validation Strategy. IEEE Transactions on Pattern Analysis and
       Machine Intelligence 32(5).

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skot import DomainAdaptation
    >>> from skot.datasets import make_rotated_moons
    >>> from skot.metrics import CircularValidationScorer
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"metric": [callable, None]}

    def __init__(self, metric: Callable[[Any, Any], float] | None = None):
        self.metric = metric

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        metric = self.metric
        if metric is None:
            metric = r2_score if is_regressor(estimator) else accuracy_score
        y_source = _labels(self, y)[is_source]
        if len(y_source) == 0:
            raise ValueError(f"{type(self).__name__} needs source rows (sample_domain >= 0).")
        predicted = np.asarray(estimator.predict(X))
        if not is_regressor(estimator) and len(np.unique(predicted[~is_source])) == 1:
            # No classifier can be fitted, but its predictions are plain.
            return metric(y_source, np.full(len(y_source), predicted[~is_source][0]))
        backward = clone(estimator).fit(
            X, mask_labels(predicted, ~is_source), sample_domain=np.where(is_source, -1, 1)
        )
        return metric(y_source, np.asarray(backward.predict(X))[is_source])


class TransportDivergenceScorer(DomainScorer):
    """How close the transport of a `DomainAdaptation` brings the source to the target.

    The `score` of the fitted transport on the rows of the call: minus the debiased Sinkhorn
    divergence between moved source and target. It works for regressors too, and does not look at
    labels or predictions: a transport may match two samples well and mix the classes.

    See Also
    --------
    CircularValidationScorer : Sees mixed classes.
    sinkhorn_divergence : The divergence.
    """

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        if isinstance(estimator, Pipeline):
            X = estimator[:-1].transform(X) if len(estimator) > 1 else X
            estimator = estimator[-1]
        transport = getattr(estimator, "transport_", None)
        if transport is None:
            raise ValueError(
                f"{type(self).__name__} needs a DomainAdaptation that was fitted with "
                f"sample_domain, or a pipeline that ends with one. Got {estimator!r}."
            )
        swapped = estimator.direction == "target_to_source"
        return transport.score(X, sample_domain=np.where(is_source != swapped, 1, -1))


class SupervisedTargetScorer(DomainScorer):
    """Any scikit-learn score on the target rows, with their labels.

    For evaluation: a search that uses it has seen the labels of the target. A string such as
    ``scoring="roc_auc"`` would count the source rows as well.

    Parameters
    ----------
    scoring : str or callable, default=None
        As in scikit-learn. None is the `score` of the estimator.

    See Also
    --------
    CircularValidationScorer : Without the labels of the target.
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"scoring": [str, callable, None]}

    def __init__(self, scoring: str | Callable | None = None):
        self.scoring = scoring

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        y = _labels(self, y)
        rows = np.flatnonzero(~is_source)
        rows = rows[known_labels(y[rows], y[is_source])]
        if len(rows) == 0:
            raise ValueError(f"{type(self).__name__} needs target rows with a known label.")
        return check_scoring(estimator, self.scoring)(estimator, _take(X, rows), y[rows])


def _labels(scorer: DomainScorer, y: Any) -> np.ndarray:
    if y is None:
        raise ValueError(f"{type(scorer).__name__} requires y to be passed, but y is None.")
    return as_label_array(y)


def _take(X: Any, rows: np.ndarray) -> Any:
    """Take rows of an array, a tensor or a data frame, which stays one."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return X[rows] if hasattr(X, "shape") else np.asarray(X)[rows]
