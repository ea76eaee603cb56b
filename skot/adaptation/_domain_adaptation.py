"""Adapt any classifier or regressor with any transport."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import Tags, column_or_1d, get_tags
from sklearn.utils.metadata_routing import UNUSED, MetadataRouter, MethodMapping
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skot.adaptation._metadata import estimator_has, route, take_rows
from skot.adaptation._moving import check_frozen, fit_and_move, rows_for
from skot.adaptation._target_shares import ClassShares, add_weights, find_target_shares
from skot.base import ComponentParamsMixin, check_component
from skot.transport import SinkhornTransport
from skot.utils._callbacks import CallbackSupportMixin, fit_part, with_callbacks
from skot.utils._labels import as_label_array, mask_labels
from skot.utils._sklearn import HasMethods, StrOptions, fit_context
from skot.utils._warnings import warn_user
from skot.utils.tensors import to_numpy
from skot.utils.validation import (
    check_sample_domain,
    known_labels,
    split_domains,
)

__all__ = ["DomainAdaptation"]

_RESPONSES = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score")


class DomainAdaptation(
    ComponentParamsMixin, CallbackSupportMixin, MetaEstimatorMixin, BaseEstimator
):
    r"""Train an estimator for a target sample with the labels of a source sample.

    The source rows, which have labels, are moved onto the target by a transport, and the
    estimator is trained on the moved rows. It then predicts rows of the target.

    Parameters
    ----------
    estimator : estimator
        The classifier or regressor; a clone of it is fitted.
    transport : transport, default=None
        Moves one sample onto the other, by its `fit_transform` and `transform`, or as in a
        pipeline by `fit` and `transform` if it has no `fit_transform`. None means
        `skot.SinkhornTransport` with its defaults. One that is fitted already is passed as
        ``sklearn.frozen.FrozenEstimator(transport)``: it is not fitted again, and needs no labels.
    direction : {"source_to_target", "target_to_source"}, default="source_to_target"
        Which rows move: those the estimator is trained on, or those it predicts. In the second
        case the transport is fitted with the roles swapped, and a frozen one has to be fitted
        from the target to the source.
    use_target_labels : bool, default=False
        Whether known labels of target rows are used: by the transport, and as further training
        rows of the estimator. By default they are ignored, so that `y` may hold the truth for
        evaluation.
    target_shares : array-like of shape (n_classes,), dict, "estimate" or None, default=None
        Shares of the classes in the target, in the order of the sorted classes of the source, or
        as a mapping from class to share. The rows of the source are weighted to them, in the
        transport and in the estimator, where these take `sample_weight`. ``"estimate"`` takes the
        shares from the rows, where two estimates agree, and says so where they do not. None
        leaves the classes the shares of the source, and warns where the target has others.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    transport_ : transport or None
        The fitted transport; its source is the target of `fit` when
        ``direction="target_to_source"``. None after a fit without `sample_domain`.
    target_shares_ : ndarray of shape (n_classes,) or None
        Shares of the classes of the source in the target, in sorted order: as given, estimated,
        or those of the source where the estimate is not to be trusted. None if `target_shares` is.
    target_shares_std_ : ndarray of shape (n_classes,) or None
        Standard errors of the estimate, NaN where there was none; zero for shares that were given.
    classes_ : ndarray of shape (n_classes,)
        Of a classifier.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen in `fit`, if all are strings.

    See Also
    --------
    skot.SinkhornTransport : The default transport; ``class_reg`` keeps classes together.
    skot.model_selection.DomainKFold : Folds that hold both samples.
    skot.metrics.CircularValidationScorer : Model selection without labels of the target.

    Notes
    -----
    Target rows may have unknown labels in `y`: -1 among integers (unless -1 is a class of the
    source), NaN among floats, None among strings. A source row needs a label.

    The transport gets the labels of the rows it is fitted on, and moves those same rows; what a
    class-regularised transport gains from them is kept. With
    ``direction="target_to_source"`` it moves target rows, so it gets labels only if all of them
    are known and `use_target_labels` is set.

    Where the classes have other shares in the target, the plan of all rows has to mix classes.
    Given the shares :math:`\rho_k` in the target, a source row of class k with weight :math:`u_i`
    gets

    .. math::

        u_i \, \rho_k \Big/ \frac{\sum_{j: l_j = k} u_j}{\sum_j u_j}

    in the transport and in the estimator [2]_, each by the weights :math:`u` it was given. An
    estimate needs two classes, 20 source rows of each and as many target rows for each; it uses at
    most 300 rows a side, drawn with a fixed seed.

    With metadata routing, `fit` and `score` request `sample_domain`; other metadata goes where it
    is requested, to `estimator` and, in `fit`, to ``transport``. Without routing, the other
    metadata of `fit` goes to the estimator, and a search does not hand `sample_domain` to `score`.
    Metadata of the length of `X` is cut to the rows in use.

    References
    ----------
    .. [1] Courty, N., Flamary, R., Tuia, D., Rakotomamonjy, A. (2017). Optimal Transport for
       Domain Adaptation. IEEE Transactions on Pattern Analysis and Machine Intelligence 39(9).
    .. [2] Redko, I., Courty, N., Flamary, R., Tuia, D. (2019). Optimal Transport for Multi-source
       Domain Adaptation under Target Shift. AISTATS, Section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skot import DomainAdaptation, SinkhornTransport
    >>> from skot.utils import stack_domains
    >>> rng = np.random.default_rng(0)
    >>> y_source = np.repeat([0, 1], 50)
    >>> X_source = rng.normal(size=(100, 2)) + 6.0 * y_source[:, None]
    >>> X_target = X_source[::-1] + 10.0
    >>> X, y, sample_domain = stack_domains(X_source, X_target, y_source)
    >>> adaptation = DomainAdaptation(LogisticRegression(), SinkhornTransport())
    >>> adaptation.fit(X, y, sample_domain=sample_domain).score(X_target, y_source[::-1])
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "estimator": [HasMethods(["fit"])],
        "transport": [
            HasMethods(["fit_transform", "transform"]),
            HasMethods(["fit", "transform"]),
            None,
        ],
        "direction": [StrOptions({"source_to_target", "target_to_source"})],
        "use_target_labels": ["boolean"],
        "target_shares": ["array-like", Mapping, StrOptions({"estimate"}), None],
    }
    _default_components: ClassVar[dict[str, Any]] = {"transport": SinkhornTransport}

    __metadata_request__fit = {"sample_domain": True}
    # `sample_weight` is for the estimator, as in `Pipeline.score`.
    __metadata_request__score = {"sample_domain": True, "sample_weight": UNUSED}

    def __init__(
        self,
        estimator: Any,
        transport: Any = None,
        *,
        direction: str = "source_to_target",
        use_target_labels: bool = False,
        target_shares: Any = None,
    ):
        self.estimator = estimator
        self.transport = transport
        self.direction = direction
        self.use_target_labels = use_target_labels
        self.target_shares = target_shares

    @fit_context(prefer_skip_nested_validation=False)
    @with_callbacks
    def fit(self, X: Any, y: Any, *, sample_domain: Any = None, **params: Any) -> Self:
        """Fit the transport, move rows, and fit the estimator.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Both samples, stacked: see `skot.utils.stack_domains`.
        y : array-like of shape (n_rows,)
            Labels or regression targets.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where it is not negative, target where it is. Without it there is no target:
            the estimator is fitted on `X` and `y` as they are, with a warning.
        **params : dict
            Metadata for the estimator and, with metadata routing, for the transport.

        Returns
        -------
        self : DomainAdaptation
            The fitted estimator.

        Raises
        ------
        ValueError
            For bad input, before any work and worded as scikit-learn does; for `target_shares` that
            are not shares of the classes, or if neither transport nor estimator takes weights.
        NotFittedError
            If the transport is frozen and was never fitted.
        """
        check_frozen(self.transport)
        routed = route(self, "fit", {**params, "sample_domain": sample_domain})
        if sample_domain is None:
            return self._fit_without_target(X, y, routed["estimator"]["fit"])
        y = _one_label_per_row(self, y)
        split_domains(self, X, y, sample_domain)  # validates; the rows stay together
        is_source = check_sample_domain(sample_domain, len(y))
        rows = is_source
        if self.use_target_labels:
            rows = is_source | known_labels(y, y[is_source])
        transport = self._checked_transport()
        shares = self._find_shares(X, y, is_source, transport, routed)
        metadata = add_weights(shares, transport, routed["transport"], y, is_source)
        moved = self._fit_transport(transport, X, y, is_source, rows, metadata)
        metadata = add_weights(shares, self.estimator, routed["estimator"], y, is_source)["fit"]
        self.estimator_ = clone(self.estimator).fit(
            moved[rows], y[rows], **take_rows(metadata, rows)
        )
        self.transport_ = transport
        self._store_shares(shares)
        self._minus_one_is_label = _has_minus_one(y[is_source])
        return self

    def _fit_without_target(self, X: Any, y: Any, params: dict) -> Self:
        warn_user(
            "sample_domain was not passed to fit, so there is no target: the estimator is fitted "
            "on (X, y) as they are. Pass sample_domain=...; inside a meta-estimator, call "
            "sklearn.set_config(enable_metadata_routing=True) first."
        )
        X = split_domains(self, X).X_source
        y = _one_label_per_row(self, y)
        self.estimator_ = clone(self.estimator).fit(to_numpy(X), y, **params)
        self.transport_ = None
        self._store_shares(None)
        self._minus_one_is_label = _has_minus_one(y)
        return self

    def _checked_transport(self) -> Any:
        return check_component(
            self.transport, default=SinkhornTransport, kind="transform", name="transport"
        )

    def _find_shares(
        self, X: Any, y: np.ndarray, is_source: np.ndarray, transport: Any, routed: Any
    ) -> ClassShares | None:
        """Return the class shares of the target, by the law that is transported."""
        by_method = routed["transport"]
        weights = by_method.get("fit_transform", by_method.get("fit", {})).get("sample_weight")
        return find_target_shares(
            self.target_shares, self.estimator, transport, X, y, is_source, weights
        )

    def _store_shares(self, shares: ClassShares | None) -> None:
        self.target_shares_ = None if shares is None else shares.shares
        self.target_shares_std_ = None if shares is None else shares.std

    def _fit_transport(
        self,
        transport: Any,
        X: Any,
        y: np.ndarray,
        is_source: np.ndarray,
        rows: np.ndarray,
        metadata: Any,
    ) -> np.ndarray:
        """Fit the transport, and return all rows, one side of them moved.

        `rows` are those whose label may be used.
        """
        moves = is_source if self.direction == "source_to_target" else ~is_source
        # A row that moves needs a label, or the transport would take the mark for one.
        labels = mask_labels(y, rows) if rows[moves].all() else None
        with fit_part(self, transport, X, labels):
            return fit_and_move(transport, X, labels, moves, metadata)

    @available_if(estimator_has("predict"))
    def predict(self, X: Any, **params: Any) -> np.ndarray:
        """Predict target rows.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Rows of the target.
        **params : dict
            Metadata for the estimator.

        Returns
        -------
        y : ndarray of shape (n_rows,)
            Predictions of the estimator.
        """
        return self._respond("predict", X, params)

    @available_if(estimator_has("predict_proba"))
    def predict_proba(self, X: Any, **params: Any) -> np.ndarray:
        """Predict the probability of each class for target rows.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Rows of the target.
        **params : dict
            Metadata for the estimator.

        Returns
        -------
        probabilities : ndarray of shape (n_rows, n_classes)
            In the order of `classes_`.
        """
        return self._respond("predict_proba", X, params)

    @available_if(estimator_has("predict_log_proba"))
    def predict_log_proba(self, X: Any, **params: Any) -> np.ndarray:
        """Predict the logarithm of the probability of each class for target rows.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Rows of the target.
        **params : dict
            Metadata for the estimator.

        Returns
        -------
        log_probabilities : ndarray of shape (n_rows, n_classes)
            In the order of `classes_`.
        """
        return self._respond("predict_log_proba", X, params)

    @available_if(estimator_has("decision_function"))
    def decision_function(self, X: Any, **params: Any) -> np.ndarray:
        """Decision function of the estimator for target rows.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Rows of the target.
        **params : dict
            Metadata for the estimator.

        Returns
        -------
        decision : ndarray of shape (n_rows,) or (n_rows, n_classes)
            As the estimator gives it.
        """
        return self._respond("decision_function", X, params)

    def _respond(self, method: str, X: Any, params: dict) -> np.ndarray:
        check_is_fitted(self, "estimator_")
        routed = route(self, method, params)
        X = self._to_estimator_side(split_domains(self, X, reset=False).X_source, X)
        return getattr(self.estimator_, method)(X, **routed["estimator"][method])

    @available_if(estimator_has("score"))
    def score(
        self, X: Any, y: Any, sample_weight: Any = None, *, sample_domain: Any = None, **params: Any
    ) -> float:
        """Score of the estimator on the target rows with a known label.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Rows of the target, or both samples stacked.
        y : array-like of shape (n_rows,)
            Labels; rows with an unknown one are left out.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights, for the estimator's own `score`.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source rows (not negative) are left out. None: every row is target.
        **params : dict
            Metadata for the estimator.

        Returns
        -------
        score : float
            Accuracy of a classifier, R2 of a regressor.

        Raises
        ------
        ValueError
            If no target row has a known label.
        """
        check_is_fitted(self, "estimator_")
        routed = route(
            self,
            "score",
            {**params, "sample_weight": sample_weight, "sample_domain": sample_domain},
        )
        y = _one_label_per_row(self, y)
        checked = split_domains(self, X, y, reset=False).X_source
        rows = known_labels(y, [-1] if self._minus_one_is_label else None)
        if sample_domain is not None:
            rows &= ~check_sample_domain(sample_domain, len(y))
        if not rows.any():
            raise ValueError(
                "score needs target rows with a known label, and there are none. To choose a "
                "model without labels of the target, pass one of the scorers of skot.metrics as "
                "scoring=: CircularValidationScorer(), PredictionEntropyScorer() or "
                "TransportDivergenceScorer()."
            )
        params = take_rows(routed["estimator"]["score"], rows)
        X = self._to_estimator_side(checked[rows], X, np.flatnonzero(rows))
        return self.estimator_.score(X, y[rows], **params)

    def _to_estimator_side(
        self, checked: Any, X: Any, rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Bring target rows, `checked` as they are in `rows` of `X`, to the estimator's side."""
        if self.direction == "target_to_source" and self.transport_ is not None:
            checked = self.transport_.transform(rows_for(self.transport_, checked, X, rows))
        return to_numpy(checked)

    @property
    def classes_(self) -> np.ndarray:
        """Classes of the fitted classifier."""
        return self.estimator_.classes_

    def get_metadata_routing(self) -> MetadataRouter:
        """Return where metadata goes.

        Returns
        -------
        routing : MetadataRouter
            To this object, to `estimator` and, in `fit`, to `transport`.
        """
        responses = MethodMapping().add(caller="fit", callee="fit")
        for method in _RESPONSES:
            responses.add(caller=method, callee=method)
        transport = self.transport
        if transport is None:
            # As without routing, weights are for the estimator alone.
            transport = SinkhornTransport()
            if get_config()["enable_metadata_routing"]:
                transport.set_fit_request(sample_weight=False)
        # As in a pipeline.
        callees = ["fit_transform"] if hasattr(transport, "fit_transform") else ["fit", "transform"]
        of_transport = MethodMapping()
        for callee in callees:
            of_transport.add(caller="fit", callee=callee)
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(estimator=self.estimator, method_mapping=responses)
            .add(transport=transport, method_mapping=of_transport)
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        of_estimator = get_tags(self.estimator)
        tags.estimator_type = of_estimator.estimator_type
        tags.classifier_tags = deepcopy(of_estimator.classifier_tags)
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        tags.regressor_tags = deepcopy(of_estimator.regressor_tags)
        tags.target_tags.required = of_estimator.target_tags.required
        tags.non_deterministic = of_estimator.non_deterministic
        return tags


def _one_label_per_row(estimator: Any, y: Any) -> np.ndarray:
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None."
        )
    return column_or_1d(as_label_array(y), warn=True)


def _has_minus_one(y: np.ndarray) -> bool:
    return y.dtype.kind in "if" and bool((y == -1).any())
