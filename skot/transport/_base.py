"""What all transports share: the two samples in, rows out, and one score.

A transport implements ``fit`` and two functions on tensors, :meth:`BaseTransport._map` and
:meth:`BaseTransport._inverse_map`; this class does the rest of the public contract.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skot.base import ComponentParamsMixin
from skot.costs import Cost, SquaredEuclidean
from skot.measures import EmpiricalMeasure, reference_sample
from skot.metrics import at_most, judge_by, total_variance, warn_if_not_solved
from skot.transport._diagnostics import (
    Conditioning,
    TransportDiagnostics,
    check_halves,
    common_numbers,
    warn_of_missing_weights,
)
from skot.utils._brief import brief_repr
from skot.utils._pickling import packed, unpacked
from skot.utils._points import check_time
from skot.utils._warnings import is_handed_on, warn_user
from skot.utils.random import check_generator
from skot.utils.tensors import resolve_device, to_tensor
from skot.utils.validation import DomainSplit, split_domains

#: Points of a reference sample, whatever the number of rows.
REFERENCE_SIZE = 1024
#: Source rows that every fit keeps.
_KEPT_ROWS = 1000


@dataclass(frozen=True)
class FittedTarget:
    """The target of a fit, to which scores without another one compare.

    Attributes
    ----------
    measure : EmpiricalMeasure
        The sample; of the reference where ``fit`` was given none.
    is_reference : bool
        Whether it is a sample of the reference.
    is_stacked : bool
        Whether it was given in one array with the source.
    source_is_weighted : bool
        Whether the source rows of the fit had different weights.
    source : EmpiricalMeasure or None
        At most 1000 source rows of the fit, to tell whether others are among them.
    """

    measure: EmpiricalMeasure
    is_reference: bool
    is_stacked: bool
    source_is_weighted: bool = False
    source: EmpiricalMeasure | None = None

    __repr__ = brief_repr


class BaseTransport(ComponentParamsMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Base class of transports, in this package and outside.

    A subclass writes its parameters, ``fit`` and what moves points, as functions on tensors. The
    base class does the rest: new rows and training rows, two samples or one table, arrays, tensors
    and data frames, precisions and devices, the way back, and the score.

    See Also
    --------
    skot.utils.split_domains : Validates what ``fit`` gets.
    skot.utils.estimator_checks.check_transport : What a transport has to pass.

    Notes
    -----
    These are the hooks of a subclass, stable like public names:

    ``_read_samples(X, split, reference, random_state)``
        To be called in ``fit``, with what `skot.utils.split_domains` returned. It gives the source
        as a `skot.measures.EmpiricalMeasure`, its points in float64, and the target, whose
        ``measure`` is another. Where ``fit`` got no target, it is a sample of the `reference`,
        ``"normal"`` or ``"uniform"``.
    ``_target``
        To be set in ``fit``, to the target that ``_read_samples`` returned. Scores compare with it.
    ``_map(x, labels)``
        To be written. Transports source points, a tensor of shape (n, n_features) in float64, and
        returns a new one. `labels` are those of training rows in ``fit_transform``, an array of
        shape (n,), else None.
    ``_inverse_map(y)``
        To be written. Transports target points back.
    ``_uses_labels()``
        To be written where ``fit`` makes use of labels: returns whether it does. The base class
        looks for a parameter ``class_reg``, and warns of labels that take the place of a target.

    Fitted attributes that are NumPy arrays, like those of scikit-learn, can be pickled and loaded
    on any machine.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skot.transport import BaseTransport
    >>> from skot.utils import split_domains
    >>> class MeanShift(BaseTransport):
    ...     def fit(self, X, y=None, *, sample_domain=None):
    ...         split = split_domains(self, X, y, sample_domain)
    ...         source, target = self._read_samples(X, split, "normal", random_state=0)
    ...         shift = target.measure.points.mean(0) - source.points.mean(0)
    ...         self.shift_ = shift.cpu().numpy()
    ...         self._target = target
    ...         return self
    ...
    ...     def _map(self, x, labels):
    ...         return x + torch.tensor(self.shift_, device=x.device)
    ...
    ...     def _inverse_map(self, y):
    ...         return y - torch.tensor(self.shift_, device=y.device)
    >>> transport = MeanShift().fit([[0.0], [2.0]], [[5.0], [6.0], [7.0]])
    >>> transport.transform(np.float32([[1.0], [10.0]]))
    array([[ 6.],
           [15.]], dtype=float32)
    """

    _target: FittedTarget

    __metadata_request__fit: ClassVar[dict] = {"sample_domain": True}
    __metadata_request__transform: ClassVar[dict] = {"sample_domain": True}
    __metadata_request__score: ClassVar[dict] = {"sample_domain": True}

    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, sample_domain: Any = None
    ) -> Any:
        """Fit, then transport the training rows, with their labels where labels matter.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_rows,) or (n_target, n_features), default=None
            Labels of the rows, or the target sample.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        X_new : array of shape (n_rows, n_features)
            Source rows transported, target rows as they are, in the order of `X`.
        """
        given = {"sample_weight": sample_weight, "sample_domain": sample_domain}
        self.fit(X, y, **{key: value for key, value in given.items() if value is not None})
        split = split_domains(self, X, y, sample_domain, reset=False)
        return self._transport_split(X, split, labels=split.y_source)

    def transform(self, X: Any, *, sample_domain: Any = None) -> Any:
        """Transport source rows to the target.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows, all taken as source unless `sample_domain` says otherwise.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        X_new : array of shape (n_rows, n_features)
            Source rows transported, target rows as they are, in the order of `X`, with the dtype
            of `X` for float32 and float64. Memory O(n_rows).
        """
        check_is_fitted(self)
        split = split_domains(self, X, None, sample_domain, reset=False)
        return self._transport_split(X, split, labels=None)

    def inverse_transform(self, X: Any) -> Any:
        """Transport target rows back to the source.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Target rows.

        Returns
        -------
        X_new : array of shape (n_rows, n_features)
            Rows in the source's place, with the dtype of `X` for float32 and float64.
        """
        check_is_fitted(self)
        split = split_domains(self, X, reset=False)
        return self._restore(self._inverse_map(self._to_compute(split.X_source)), X, split)

    def transport_at(self, X: Any, t: float) -> Any:
        r"""Transport source rows for a part of the time: displacement interpolation.

        Mass moves on the paths of least cost at constant speed. They are straight lines,
        :math:`(1 - t)\, x + t\, T(x)` [1]_, unless the cost says otherwise: great circles on
        the sphere (of directions, so that rows count as unit vectors), paths of least action under
        a Lagrangian. Of a transport that splits mass, it is the mean of the places where the
        parts of a row are at that time, as ``transform`` is at the end.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows.
        t : float
            Time, from 0 (the source) to 1 (what ``transform`` returns). One number: call again for
            another time.

        Returns
        -------
        X_new : array of shape (n_rows, n_features)
            Where the rows are at that time, with the dtype of `X` for float32 and float64; a
            tensor if `X` is one.

        Raises
        ------
        ValueError
            If the time is not a number in [0, 1].
        NotImplementedError
            For a cost whose paths are not known, or which gives no map.

        References
        ----------
        .. [1] McCann, R. (1997). A convexity principle for interacting gases. Advances in
           Mathematics, 128(1), 153-179.
        """
        check_is_fitted(self)
        t = check_time(t)
        split = split_domains(self, X, reset=False)
        return self._restore(self._map_at(self._to_compute(split.X_source), t), X, split)

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, sample_domain: Any = None
    ) -> float:
        r"""Say how well the transported source follows the target: higher is better.

        It is minus the split Sinkhorn divergence between the moved rows and the target
        (:func:`skot.metrics.split_sinkhorn_divergence`), in units of the target's total variance.
        Zero is perfect: what independent rows that follow the target exactly get in expectation.
        Being an estimate, it comes out slightly positive as often as slightly negative then;
        :meth:`diagnose` gives its standard error.

        It is taken for the squared Euclidean cost at a regularisation fixed by the target alone
        (0.02 times its mean pairwise cost), so that scores of different estimators and parameters
        compare. At most 2000 rows a side are used, drawn and halved with a fixed seed.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_target, n_features), default=None
            The target sample. One-dimensional labels are ignored. Without it and without target
            rows in `X`, the target of ``fit``, with the weights that it had there.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows of `X`. Those of ``fit`` are not those of these rows: pass them
            here too. In a search with metadata routing, ``set_score_request(sample_weight=True)``
            has them passed.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        score : float
            Zero is perfect in expectation, minus one is a total variance away.

        Raises
        ------
        ValueError
            Without source rows, with fewer than two rows of positive weight on a side, or without
            a target after a fit on stacked data.

        Warns
        -----
        ConvergenceWarning
            If the divergence was not solved to its tolerance.
        UserWarning
            If ``fit`` had weights, and the rows here count equally because they have none.

        Notes
        -----
        It looks at where rows arrive and not at which row goes where: a map that shuffles the
        target's rows scores zero. Rows that ``fit`` has seen, and the target of ``fit``, flatter a
        map that follows single rows: compare transports on rows of both sides that were held
        out, as a search does.
        """
        source, target = self._compared("score", X, y, sample_weight, sample_domain)
        moved = EmpiricalMeasure(self._map_to_score(source.points), source.weights)
        divergence = judge_by(target, moved)
        warn_if_not_solved(f"The score of {type(self).__name__}", [divergence])
        # A target without a spread has no unit.
        return -float(divergence.value) / (total_variance(target) or 1.0)

    def diagnose(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, sample_domain: Any = None
    ) -> TransportDiagnostics:
        """Judge the transport on rows that it has not seen, in numbers and in words.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_target, n_features), default=None
            The target sample; as in :meth:`score`.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows of `X`.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        diagnostics : TransportDiagnostics
            Whether rows arrive, how spread they are, whether they were within the data of the fit,
            convergence and conditioning. ``print`` shows a line each. At most 2000 rows a side
            are looked at.

        Raises
        ------
        ValueError
            As :meth:`score`.

        Warns
        -----
        ConvergenceWarning
            If a divergence was not solved to its tolerance.
        UserWarning
            If ``fit`` had weights, and the rows here have none.
        """
        source, target = self._compared("diagnose", X, y, sample_weight, sample_domain)
        moved = EmpiricalMeasure(self._map_to_score(source.points), source.weights)
        return TransportDiagnostics(**self._common_numbers(source, target, moved))

    def __getstate__(self) -> dict[str, Any]:
        return packed(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(unpacked(state))

    # For subclasses

    def _map(self, x: Tensor, labels: np.ndarray | None) -> Tensor:
        """Transport source points (n, n_features), with the labels (n,) of training rows."""
        raise NotImplementedError

    def _map_at(self, x: Tensor, t: float) -> Tensor:
        """Transport source points for a part of the time."""
        cost = getattr(self, "cost_", None)
        paths = cost if isinstance(cost, Cost) else SquaredEuclidean()
        return paths.interpolate(x, self._map(x, None), t)

    def _map_to_score(self, x: Tensor) -> Tensor:
        """Transport source points as the score looks at them: new rows, without labels."""
        return self._map(x, None)

    def _conditioning(self, x: Tensor) -> Conditioning | None:
        """How well determined the images of source points are, where there is a number for it."""
        return None

    def _inverse_map(self, y: Tensor) -> Tensor:
        """Transport target points back."""
        raise NotImplementedError

    def _read_samples(
        self, X: Any, split: DomainSplit, reference: str, random_state: Any
    ) -> tuple[EmpiricalMeasure, FittedTarget]:
        """Turn the validated samples into measures on the device of the computation."""
        self._warn_of_unused_labels(split, reference)
        device = resolve_device(getattr(self, "device", None), like=X)
        source = _measure(split.X_source, split.weight_source, device)
        if split.X_target is None:
            generator = check_generator(random_state)
            points = reference_sample(reference, REFERENCE_SIZE, source.points.shape[1], generator)
            target = EmpiricalMeasure.from_points(points, device=device)
        else:
            target = _measure(split.X_target, split.weight_target, device)
        return source, FittedTarget(
            target,
            is_reference=split.X_target is None,
            is_stacked=split.source_mask is not None,
            source_is_weighted=_is_weighted(source.weights),
            source=source if len(source.points) <= _KEPT_ROWS else at_most(source, _KEPT_ROWS),
        )

    def _uses_labels(self) -> bool:
        """Whether ``fit`` makes use of class labels."""
        return getattr(self, "class_reg", 0) > 0

    def _warn_of_unused_labels(self, split: DomainSplit, reference: str) -> None:
        """Say that labels do not make a target, unless a pipeline hands them to all its steps."""
        if split.y_source is None or split.X_target is not None or self._uses_labels():
            return
        if is_handed_on(self):
            return
        name = type(self).__name__
        warn_user(
            f"y is one-dimensional, so {name} takes it for labels, of which it makes no use, and "
            f"there is no target: rows go to the reference distribution {reference!r}. Pass the "
            "target sample as a two-dimensional y (y.reshape(-1, 1) for one feature), or mark its "
            "rows in X by sample_domain; if the reference is what you want, pass y=None."
        )

    # Arrays in, arrays out

    @property
    def _device(self) -> torch.device:
        """Where the fit was computed; the CPU after a pickle."""
        return self._target.measure.points.device

    def _to_compute(self, rows) -> Tensor:
        return to_tensor(rows, dtype=torch.float64, device=self._device)

    def _transport_split(self, X, split: DomainSplit, labels: np.ndarray | None):
        moved = split.X_source
        if len(moved):
            moved = self._restore(self._map(self._to_compute(moved), labels), X, split)
        if split.source_mask is None:
            return moved
        mask: Any = split.source_mask
        if isinstance(X, Tensor):
            rows = split.X_target.new_empty(len(X), moved.shape[1])
            mask = torch.from_numpy(mask).to(X.device)
        else:
            rows = np.empty((len(mask), moved.shape[1]), dtype=split.dtype)
        rows[mask], rows[~mask] = moved, split.X_target
        return rows

    @staticmethod
    def _restore(moved: Tensor, X, split: DomainSplit):
        """Back to the kind, dtype and device of the input."""
        if isinstance(X, Tensor):
            return moved.to(device=X.device, dtype=split.X_source.dtype)
        return moved.cpu().numpy().astype(split.dtype, copy=False)

    def _warn_if_weights_are_missing(
        self, what: str, split: DomainSplit, sample_weight: Any
    ) -> None:
        """Warn where rows were weighted in the fit and count equally now."""
        target_is_here = split.X_target is not None and split.source_mask is not None
        weighted = self._target.source_is_weighted or (
            target_is_here and _is_weighted(self._target.measure.weights)
        )
        if weighted and sample_weight is None:
            warn_of_missing_weights(type(self).__name__, what)

    def _compared(
        self, what: str, X: Any, y: Any, sample_weight: Any, sample_domain: Any
    ) -> tuple[EmpiricalMeasure, EmpiricalMeasure]:
        """Source rows and target that a judgement looks at, a part of them where they are many."""
        check_is_fitted(self)
        split = split_domains(self, X, y, sample_domain, sample_weight, reset=False)
        if len(split.X_source) == 0:
            raise ValueError(f"{what} needs source rows: sample_domain marks every row as target.")
        target = at_most(self._score_target(what, split))
        source = at_most(_measure(split.X_source, split.weight_source, self._device))
        check_halves(what, source, target)
        self._warn_if_weights_are_missing(what, split, sample_weight)
        return source, target

    def _common_numbers(
        self, source: EmpiricalMeasure, target: EmpiricalMeasure, moved: EmpiricalMeasure
    ) -> dict[str, Any]:
        """What diagnostics of all transports say, of rows and their images."""
        converged = getattr(self, "converged_", None)
        return common_numbers(
            source,
            target,
            moved,
            self._target.source,
            None if converged is None else bool(converged),
            self._conditioning(source.points),
        )

    def _score_target(self, what: str, split: DomainSplit) -> EmpiricalMeasure:
        if split.X_target is not None and len(split.X_target):
            return _measure(split.X_target, split.weight_target, self._device)
        if self._target.is_stacked:
            raise ValueError(
                f"This {type(self).__name__} was fitted on stacked samples, so {what} needs to "
                "know the target rows: pass sample_domain, or the target sample as a "
                "two-dimensional y. "
                "In a search, metadata routing passes sample_domain on: "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        return self._target.measure


def _measure(rows, weights, device: torch.device) -> EmpiricalMeasure:
    return EmpiricalMeasure.from_points(rows, weights, dtype=torch.float64, device=device)


def _is_weighted(weights: Tensor) -> bool:
    """Whether rows count differently, up to rounding."""
    return bool(weights.max() > weights.min() * (1.0 + 1e-9))
