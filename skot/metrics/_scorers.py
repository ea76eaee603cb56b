"""Scorers for model selection where the target has no labels, and one for where it has."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from scipy.special import entr
from sklearn.base import clone, is_regressor

from skot.metrics._scorer_base import DomainScorer, take_rows
from skot.utils._labels import as_label_array, mask_labels
from skot.utils.validation import known_labels

__all__ = [
    "CircularValidationScorer",
    "PredictionEntropyScorer",
    "SupervisedTargetScorer",
    "TransportDivergenceScorer",
]


class CircularValidationScorer(DomainScorer):
    """Accuracy on the source of an estimator adapted back from the predictions for the target.

    A clone of the estimator is fitted with the roles of the two samples swapped, on the labels
    predicted for the target rows, and predicts the source rows, whose labels are known. An
    adaptation that confuses classes on its way there does not find the way back.

    It takes one fit per score, and works for classifiers and regressors, but not for a
    `DomainAdaptation` whose transport is frozen: that one knows one way only. An estimator that
    memorises its training rows finds the way back too easily: score it on rows it was not fitted
    on, as a search does.

    It is blind where errors undo themselves: two classes that change places on the way there and
    again on the way back come back right. And it knows no zero: the way back is easy between
    predictions that are wrong alike, so that the best of many candidates may well be worse than no
    adaptation. `AdaptationGainScorer` and ``fallback="auto"`` look at that.

    Parameters
    ----------
    metric : callable, default=None
        ``metric(y_true, y_pred)``, higher is better. None takes
        `sklearn.metrics.accuracy_score` for classifiers and `sklearn.metrics.r2_score` for
        regressors.

    See Also
    --------
    AdaptationGainScorer : Compares with no adaptation.
    PredictionEntropyScorer : Takes no fit.
    SupervisedTargetScorer : Uses the labels of the target, to judge the other scorers.

    References
    ----------
    .. [1] Bruzzone, L., Marconcini, M. (2010). Domain Adaptation Problems: A DASVM Classification
       Technique and a Circular Validation Strategy. IEEE Transactions on Pattern Analysis and
       Machine Intelligence 32(5).

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skot import DomainAdaptation, SinkhornTransport
    >>> from skot.datasets import make_rotated_moons
    >>> from skot.metrics import CircularValidationScorer
    >>> from skot.utils import stack_domains
    >>> X_source, y_source, X_target, _ = make_rotated_moons(angle=20, random_state=0)
    >>> X, y, sample_domain = stack_domains(X_source, X_target, y_source)
    >>> for epsilon in (0.1, 1.0, 10.0):
    ...     transport = SinkhornTransport(epsilon, residual=0)
    ...     model = DomainAdaptation(KNeighborsClassifier(), transport)
    ...     model = model.fit(X, y, sample_domain=sample_domain)
    ...     print(CircularValidationScorer()(model, X, y, sample_domain=sample_domain))
    0.995
    0.87
    0.745
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"metric": [callable, None]}

    def __init__(self, metric: Callable[[Any, Any], float] | None = None):
        self.metric = metric

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        metric = self.metric
        if metric is None:
            # Not at the top: scikit-learn's metrics take a quarter of the time of `import skot`.
            from sklearn.metrics import accuracy_score, r2_score

            metric = r2_score if is_regressor(estimator) else accuracy_score
        if _is_frozen(estimator):
            raise ValueError(
                f"{type(self).__name__} adapts the way back, and a frozen transport is not fitted "
                "again. Pass the transport without FrozenEstimator, or use "
                "PredictionEntropyScorer() or TransportDivergenceScorer()."
            )
        y_source = _labels(self, y)[is_source]
        if len(y_source) == 0:
            raise ValueError(f"{type(self).__name__} needs source rows (sample_domain >= 0).")
        # All rows are predicted, so that a data frame stays one.
        predicted = np.asarray(estimator.predict(X))
        of_target = predicted[~is_source]
        if not is_regressor(estimator) and (of_target == of_target[0]).all():
            # No classifier can be fitted to one class; its predictions would be that class.
            return metric(y_source, np.full(len(y_source), of_target[0]))
        backward = clone(estimator).fit(
            X, mask_labels(predicted, ~is_source), sample_domain=np.where(is_source, -1, 1)
        )
        return metric(y_source, np.asarray(backward.predict(X))[is_source])


class PredictionEntropyScorer(DomainScorer):
    r"""Minus the mean entropy of the predicted probabilities of target rows.

    A classifier that is sure of its predictions scores high, right or wrong: use it to compare
    adaptations that are alike, and not for classifiers whose probabilities are 0 or 1 anyway.

    See Also
    --------
    CircularValidationScorer : Sees predictions that are sure and wrong.

    Notes
    -----
    :math:`\frac{1}{n} \sum_{i \in \text{target}} \sum_k p_{ik} \log p_{ik}`, in nats: 0 at best,
    minus the logarithm of the number of classes at worst.

    References
    ----------
    .. [1] Morerio, P., Cavazza, J., Murino, V. (2018). Minimal-Entropy Correlation Alignment for
       Unsupervised Deep Domain Adaptation. ICLR.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from skot.metrics import PredictionEntropyScorer
    >>> X, y, sample_domain = [[0.0], [1.0], [2.0]], [0, 1, -1], [1, 1, -1]
    >>> guess = DummyClassifier(strategy="prior").fit(X[:2], y[:2])
    >>> PredictionEntropyScorer()(guess, X, sample_domain=sample_domain)  # -log(2)
    -0.69...
    """

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        if not hasattr(estimator, "predict_proba"):
            raise AttributeError(
                f"{type(self).__name__} needs predict_proba, which {type(estimator).__name__} "
                "does not have."
            )
        probabilities = np.asarray(estimator.predict_proba(X))[~is_source]
        return -entr(probabilities).sum(axis=1).mean()


class TransportDivergenceScorer(DomainScorer):
    """How close the transport of a `DomainAdaptation` brings the source to the target.

    The `score` of the fitted transport on the rows of the call: minus the split Sinkhorn
    divergence between moved source and target, in total variances of the target. Zero is perfect in
    expectation, and an estimate of zero may be slightly positive. It does not look at labels or
    predictions, so it works for regressors too, and does not see whether classes were mixed on the
    way. All rows count equally; with `target_shares` of the adaptation, and labels, those of the
    source count as they did in its fit.

    See Also
    --------
    CircularValidationScorer : Sees mixed classes.
    split_sinkhorn_divergence : The divergence.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skot import DomainAdaptation, GaussianTransport
    >>> from skot.metrics import TransportDivergenceScorer
    >>> from skot.utils import stack_domains
    >>> X_source, X_target = np.random.default_rng(0).normal(size=(2, 500, 2))
    >>> X, y, sample_domain = stack_domains(X_source, X_target + 5.0, X_source.sum(axis=1))
    >>> adaptation = DomainAdaptation(LinearRegression(), GaussianTransport())
    >>> adaptation.fit(X, y, sample_domain=sample_domain)
    DomainAdaptation(...)
    >>> abs(TransportDivergenceScorer()(adaptation, X, sample_domain=sample_domain)) < 0.05
    True
    """

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        from sklearn.pipeline import Pipeline

        if isinstance(estimator, Pipeline):
            X = estimator[:-1].transform(X) if len(estimator) > 1 else X
            estimator = estimator[-1]
        transport = getattr(estimator, "transport_", None)
        if transport is None:
            raise ValueError(
                f"{type(self).__name__} needs a DomainAdaptation that was fitted with "
                f"sample_domain, or a pipeline that ends with one. Got {estimator!r}."
            )
        X = estimator.scale_domains(X, sample_domain=np.where(is_source, 1, -1))
        sides = np.where(is_source != (estimator.direction == "target_to_source"), 1, -1)
        shares = getattr(estimator, "target_shares_", None)
        if shares is None or y is None:
            return transport.score(X, sample_domain=sides)
        weights = _share_weights(shares, estimator.classes_, _labels(self, y), is_source)
        return transport.score(X, sample_weight=weights, sample_domain=sides)


class SupervisedTargetScorer(DomainScorer):
    """Any scikit-learn score on the target rows whose label is known.

    For evaluation: a search that uses it has seen labels of the target. A plain
    ``scoring="roc_auc"`` would count the source rows as well.

    Parameters
    ----------
    scoring : str or callable, default=None
        As in scikit-learn. None is the `score` of the estimator.

    See Also
    --------
    CircularValidationScorer : Works without labels of the target.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from skot.metrics import SupervisedTargetScorer
    >>> X, y, sample_domain = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 1, -1], [1, 1, -1, -1]
    >>> ones = DummyClassifier(strategy="constant", constant=1).fit(X[:2], y[:2])
    >>> SupervisedTargetScorer("accuracy")(ones, X, y, sample_domain=sample_domain)
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"scoring": [str, callable, None]}

    def __init__(self, scoring: str | Callable | None = None):
        self.scoring = scoring

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        from sklearn.metrics import check_scoring

        y = _labels(self, y)
        rows = np.flatnonzero(~is_source)
        rows = rows[known_labels(y[rows], y[is_source])]
        if len(rows) == 0:
            raise ValueError(f"{type(self).__name__} needs target rows with a known label.")
        return check_scoring(estimator, self.scoring)(estimator, take_rows(X, rows), y[rows])


def _labels(scorer: DomainScorer, y: Any) -> np.ndarray:
    if y is None:
        raise ValueError(f"{type(scorer).__name__} requires y to be passed, but y is None.")
    return as_label_array(y)


def _share_weights(
    shares: np.ndarray, classes: np.ndarray, y: np.ndarray, is_source: np.ndarray
) -> np.ndarray:
    """Weights (n,) of rows, with which the sorted classes (k,) of the source have the shares (k,).

    Of a class without rows, the others have its share in proportion to theirs.
    """
    if len(classes) != len(shares):
        # The estimator has learned more classes from labels of the target.
        classes = np.unique(y[is_source])
    weights = np.ones(len(y))
    if len(classes) != len(shares):
        return weights
    codes = np.searchsorted(classes, y[is_source])
    counts = np.bincount(codes, minlength=len(shares))
    of_source = (shares / np.maximum(counts, 1))[codes]
    if of_source.sum() > 0:
        weights[is_source] = of_source * len(codes) / of_source.sum()
    return weights


def _is_frozen(estimator: Any) -> bool:
    """Whether the transport of an adaptation, the last step of a pipeline or alone, is frozen."""
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline

    adaptation = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    return isinstance(getattr(adaptation, "transport_", None), FrozenEstimator)
