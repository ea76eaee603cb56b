"""Adapt any classifier or regressor with any transport."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.metadata_routing import UNUSED, MetadataRouter
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skot.adaptation._guard import (
    check_fallback,
    gain_of,
    rows_to_judge,
    warn_of_blindness,
    warn_of_doubt,
)
from skot.adaptation._metadata import (
    NOTHING,
    classifies,
    estimator_has,
    metadata_router,
    route,
    tags_like,
    take_rows,
)
from skot.adaptation._misuse import (
    hash_source,
    warn_of_labels,
    warn_of_meta_estimators,
    warn_of_no_target,
    warn_of_search,
    warn_of_several_domains,
    warn_of_source_rows,
    warn_of_target_weights,
)
from skot.adaptation._moving import (
    check_frozen,
    default_transport,
    fit_and_move,
    smooth_too,
    to_estimator_side,
)
from skot.adaptation._passthrough import Passthrough
from skot.adaptation._responses import TargetResponsesMixin
from skot.adaptation._scaling import fit_scalers, scale
from skot.adaptation._table import (
    for_estimator,
    has_minus_one,
    one_label_per_row,
    read_rows,
    read_sides,
    take,
)
from skot.adaptation._target_shares import ClassShares, add_weights, find_target_shares
from skot.base import ComponentParamsMixin, check_component
from skot.metrics import AdaptationGain
from skot.transport import SinkhornTransport
from skot.utils._callbacks import CallbackSupportMixin, fit_part, with_callbacks
from skot.utils._labels import mask_labels
from skot.utils._sklearn import HasMethods, StrOptions, fit_context
from skot.utils.validation import check_sample_domain, known_labels

__all__ = ["DomainAdaptation"]


class DomainAdaptation(
    TargetResponsesMixin,
    ComponentParamsMixin,
    CallbackSupportMixin,
    MetaEstimatorMixin,
    BaseEstimator,
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
        ``SinkhornTransport(epsilon=0.1, residual=0.2)``, see the notes. One that is fitted
        already is passed as ``sklearn.frozen.FrozenEstimator(transport)``: it is not fitted again,
        and needs no labels. ``"passthrough"`` moves nothing, a candidate in searches.
    direction : {"source_to_target", "target_to_source"}, default="source_to_target"
        Which rows move: those the estimator is trained on, or those it predicts. In the second
        case the transport is fitted with the roles swapped, and a frozen one has to be fitted
        from the target to the source.
    use_target_labels : bool, default=False
        Whether known labels of target rows are used: by the transport, and as further training
        rows of the estimator. By default they are ignored, so that `y` may hold the truth for
        evaluation.
    domain_scaler : transformer, default=None
        One clone of it is fitted to the source rows and another to the target rows, before the
        transport: with ``StandardScaler()``, each domain gets features of mean 0 and variance 1.
        Rows that are predicted go through the one of the target. None leaves rows as they are.
    fallback : {"warn", "auto"} or None, default="warn"
        What to do where the classes that a classifier predicts for the target fit its rows worse
        than those of the same classifier without adaptation, see `skot.metrics.adaptation_gain`.
        ``"warn"`` warns where both ratios are below 0.9, unless `target_shares` are given.
        ``"auto"`` keeps the estimator without adaptation unless both exceed 1.1. None does not
        look, and saves the fit of the estimator without adaptation. For regressors there is no
        such check.
    target_shares : array-like of shape (n_classes,), dict, "estimate" or None, default=None
        Shares of the classes in the target, in the order of the sorted classes of the source, or
        as a mapping from class to share. The rows of the source are weighted to them, in the
        transport and in the estimator, where these take `sample_weight`. ``"estimate"`` takes the
        shares from the rows, where two estimates agree, and says so where they do not. None
        leaves the classes the shares of the source, and warns where the target has others.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator that predicts.
    transport_ : transport or None
        The fitted transport; its source is the target of `fit` when
        ``direction="target_to_source"``. None after a fit without `sample_domain`.
    adapted_ : bool
        Whether `estimator_` is adapted to the target: not after a fit without `sample_domain`, nor
        with ``transport="passthrough"``, nor where ``fallback="auto"`` decided against it.
    unadapted_estimator_ : estimator or None
        The estimator fitted to the scaled training rows where they are; None for regressors and
        with ``fallback=None``.
    adaptation_gain_ : AdaptationGain or None
        What the predictions of the two say about each other, on up to 1000 target rows of `fit`;
        printable. None where nothing was compared.
    source_scaler_, target_scaler_ : transformer or None
        The fitted scalers of the two domains.
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
    skot.metrics.AdaptationGainScorer : Whether it beats ``transport="passthrough"``.

    Notes
    -----
    Target rows may have unknown labels in `y`: -1 among integers (unless -1 is a class of the
    source), NaN among floats, None among strings. A source row needs a label.

    The transport gets the labels of the rows it is fitted on, and moves those same rows; what a
    class-regularised transport gains from them is kept. With
    ``direction="target_to_source"`` it moves target rows, so it gets labels only if all of them
    are known and `use_target_labels` is set.

    A transport that has ``smooth_target``, as `skot.SinkhornTransport` has, smooths the rows that
    do not move as much as those that it moves, so that both are alike. With its ``residual=0``, the
    plain map of other libraries, rows that do not move stay as they are, and so they do within a
    pipeline or a `sklearn.compose.ColumnTransformer`: there ``residual=1`` moves without smoothing.

    The default smooths on purpose: what a row has in common with its neighbours carries over to
    another domain better than the rest. It was chosen on images (features of objects, and digits)
    with neighbours, kernels and linear classifiers, on draws that are in no table.

    A data frame stays one: scalers, a transport that takes columns by name, and the estimator get
    its names and types of columns. A transport of numbers refuses a frame with categories; a
    `sklearn.compose.ColumnTransformer` lets them pass.
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
            StrOptions({"passthrough"}),
            None,
        ],
        "direction": [StrOptions({"source_to_target", "target_to_source"})],
        "use_target_labels": ["boolean"],
        "domain_scaler": [HasMethods(["fit", "transform"]), None],
        "fallback": [StrOptions({"warn", "auto"}), None],
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
        domain_scaler: Any = None,
        fallback: str | None = "warn",
        target_shares: Any = None,
    ):
        self.estimator = estimator
        self.transport = transport
        self.direction = direction
        self.use_target_labels = use_target_labels
        self.domain_scaler = domain_scaler
        self.fallback = fallback
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
        check_fallback(self)
        routed = route(self, "fit", {**params, "sample_domain": sample_domain})
        of_estimator = routed["estimator"]["fit"]
        of_transport = routed.get("transport", NOTHING)
        if sample_domain is None:
            return self._fit_without_target(X, y, of_estimator)
        y = one_label_per_row(self, y)
        rows, is_source = read_sides(self, X, y, sample_domain)
        warn_of_labels(y, is_source)
        warn_of_several_domains(sample_domain)
        if classifies(self):
            warn_of_meta_estimators(y, is_source)
        warn_of_target_weights(params.get("sample_weight"), is_source, of_transport)
        trains = is_source
        if self.use_target_labels:
            trains = is_source | known_labels(y, y[is_source])
        *scalers, scaled = fit_scalers(self.domain_scaler, rows, is_source)
        transport = self._checked_transport()
        shares = find_target_shares(
            self.target_shares, self.estimator, transport, scaled, y, is_source, of_transport
        )
        weighted = add_weights(shares, transport, of_transport, y, is_source)
        moved = self._fit_transport(transport, scaled, y, is_source, trains, weighted)
        weighted = add_weights(shares, self.estimator, {"fit": of_estimator}, y, is_source)["fit"]
        adapted = self._fit_estimator(moved, y, trains, weighted)
        unadapted, gain = self._compare(adapted, transport, scaled, y, is_source, trains, weighted)
        self._store(scalers, shares, transport, adapted, unadapted, gain)
        self._minus_one_is_label = has_minus_one(y[is_source])
        self._source_hashes = hash_source(rows, is_source)
        return self

    def _fit_without_target(self, X: Any, y: Any, params: dict) -> Self:
        warn_of_no_target()
        rows = read_rows(self, X, reset=True)
        y = one_label_per_row(self, y)
        *scalers, scaled = fit_scalers(self.domain_scaler, rows, None)
        fitted = clone(self.estimator).fit(for_estimator(scaled), y, **params)
        self._store(scalers, None, None, fitted, fitted, None)
        self._minus_one_is_label = has_minus_one(y)
        self._source_hashes = None
        return self

    def _checked_transport(self) -> Any:
        if isinstance(self.transport, str):
            return Passthrough()
        return check_component(
            self.transport, default=default_transport, kind="transform", name="transport"
        )

    def _fit_transport(
        self,
        transport: Any,
        rows: Any,
        y: np.ndarray,
        is_source: np.ndarray,
        trains: np.ndarray,
        metadata: Any,
    ) -> Any:
        """Fit the transport, and return all rows on the side of the estimator.

        `trains` are those whose label may be used.
        """
        if isinstance(transport, Passthrough):
            return rows
        moves = is_source if self.direction == "source_to_target" else ~is_source
        # A row that moves needs a label, or the transport would take the mark for one.
        labels = mask_labels(y, trains) if trains[moves].all() else None
        with fit_part(self, transport, rows, labels):
            moved = fit_and_move(transport, rows, labels, moves, metadata)
        return smooth_too(transport, moved, rows, trains & ~moves)

    def _fit_estimator(self, rows: Any, y: np.ndarray, trains: np.ndarray, params: dict) -> Any:
        """Return the estimator fitted to the rows of the mask `trains` (n,)."""
        estimator = clone(self.estimator)
        return estimator.fit(
            for_estimator(take(rows, trains)), y[trains], **take_rows(params, trains)
        )

    def _compare(
        self,
        adapted: Any,
        transport: Any,
        rows: Any,
        y: np.ndarray,
        is_source: np.ndarray,
        trains: np.ndarray,
        params: dict,
    ) -> tuple[Any, AdaptationGain | None]:
        """Return the estimator without adaptation and what its predictions say, where asked for."""
        if isinstance(transport, Passthrough):
            return adapted, None
        if self.fallback is None or not classifies(self):
            return None, None
        unadapted = self._fit_estimator(rows, y, trains, params)
        judged = rows_to_judge(take(rows, ~is_source))
        moved = to_estimator_side(transport, judged, self.direction)
        gain = gain_of(judged, adapted.predict(moved), unadapted.predict(for_estimator(judged)))
        return unadapted, gain

    def _store(
        self,
        scalers: list,
        shares: ClassShares | None,
        transport: Any,
        adapted: Any,
        unadapted: Any,
        gain: Any,
    ) -> None:
        """Keep what was fitted, and decide which of the two estimators predicts."""
        self.target_shares_ = None if shares is None else shares.shares
        self.target_shares_std_ = None if shares is None else shares.std
        self.source_scaler_, self.target_scaler_ = scalers
        self.transport_ = transport
        self.unadapted_estimator_ = unadapted
        self.adaptation_gain_ = gain
        self.adapted_ = adapted is not unadapted
        # Rare classes agree less with their neighbours, and where shares are known that is right.
        if self.fallback == "warn" and shares is None:
            warn_of_doubt(gain)
        if self.fallback == "auto" and self.adapted_:
            if gain is None:
                warn_of_blindness()
            self.adapted_ = gain is not None and gain.helps
        self.estimator_ = adapted if self.adapted_ or unadapted is None else unadapted

    def _respond(self, method: str, X: Any, params: dict) -> np.ndarray:
        check_is_fitted(self, "estimator_")
        if self.transport_ is not None:
            warn_of_search()
        routed = route(self, method, params)
        rows = scale(self.target_scaler_, read_rows(self, X))
        response = getattr(self.estimator_, method)
        return response(self._to_estimator_side(rows), **routed["estimator"][method])

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
        y = one_label_per_row(self, y)
        given = read_rows(self, X)
        check_consistent_length(given, y)
        known = known_labels(y, [-1] if self._minus_one_is_label else None)
        if sample_domain is not None:
            known &= ~check_sample_domain(sample_domain, len(y))
        if not known.any():
            raise ValueError(
                "score needs target rows with a known label, and there are none (in a search every "
                "score would be NaN, and the first candidate the best). To choose a model without "
                "labels of the target, pass one of the scorers of skot.metrics as scoring=: "
                "CircularValidationScorer(), PredictionEntropyScorer() or "
                "TransportDivergenceScorer()."
            )
        is_told = sample_domain is not None or self.transport_ is None
        if not is_told and not warn_of_search():
            warn_of_source_rows(given, self._source_hashes)
        params = take_rows(routed["estimator"]["score"], known)
        rows = self._to_estimator_side(scale(self.target_scaler_, take(given, known)))
        return self.estimator_.score(rows, y[known], **params)

    def _to_estimator_side(self, rows: Any) -> Any:
        """Bring scaled target rows (n, d) to where the estimator was fitted."""
        if not self.adapted_:
            return for_estimator(rows)
        return to_estimator_side(self.transport_, rows, self.direction)

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
        return metadata_router(self, default_transport())

    def __sklearn_tags__(self) -> Tags:
        return tags_like(super().__sklearn_tags__(), self.estimator)
