"""What a fitted sequence of transports predicts: rows, populations and how well they fit."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor, nn

from skot.measures import EmpiricalMeasure
from skot.transport._metric_learning.populations import PopulationTransport
from skot.transport._metric_learning.training import METRIC, PathSolver
from skot.transport._score import at_most, divergence_to, warn_if_not_solved
from skot.utils._points import check_n_times, check_points, float_types
from skot.utils._sklearn import check_weights
from skot.utils.tensors import output_dtype, to_numpy, to_tensor


class PopulationTrajectories:
    """Predictions of an estimator that was fitted to populations in time.

    It keeps the populations at ``times_``, the transports from each to the next, and the metric
    of the paths between.
    """

    times_: np.ndarray
    _modules: dict[str, nn.Module]
    _populations: list[Tensor]
    _transports: list[PopulationTransport]
    _dtype: torch.dtype

    def _paths(self) -> PathSolver:
        """Return what finds the paths."""
        raise NotImplementedError

    @property
    def metric_(self) -> nn.Module:
        """The learned metric."""
        return self._modules[METRIC]

    def transform(self, X: Any) -> Any:
        """Transport rows from the first time to the last.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows of the first population, or new ones at that time.

        Returns
        -------
        X_new : array of shape (n_rows, n_features)
            Where they are at the last time, through all populations between; with the dtype of
            `X` for float32 and float64.
        """
        check_is_fitted(self)
        X, _ = self._validate(X, reset=False)
        x = to_tensor(X, dtype=self._dtype, device=self._device)
        for transport in self._transports:
            x = transport.transport(self.metric_, x)
        return _like(X, x)

    def predict_trajectories(self, X: Any, n_times: int = 50, *, times: Any = None) -> Any:
        """Follow rows from the first time on.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows of the first population, or new ones at that time.
        n_times : int, default=50
            Number of times, equally spaced from the first of `times_` to the last.
        times : array-like of shape (n_times,), default=None
            Times of one's own, within the fitted range and in the units of `y`, instead.

        Returns
        -------
        trajectories : array of shape (n_rows, n_times, n_features)
            Along geodesics between the populations: at fitted times where the transports lead,
            at those between on the way, at the constant speed of the interval. Memory
            O(n_rows * n_times).

        Raises
        ------
        ValueError
            If a time is outside the fitted range, or `n_times` is not a positive integer.
        """
        check_is_fitted(self)
        if times is None:
            times = np.linspace(self.times_[0], self.times_[-1], check_n_times(n_times))
        times = check_times(times, None)
        outside = times[(times < self.times_[0]) | (times > self.times_[-1])]
        if len(outside):
            raise ValueError(
                f"times must be within the fitted range, {self.times_[0]:g} to "
                f"{self.times_[-1]:g}. Got {outside[0]:g}."
            )
        X, _ = self._validate(X, reset=False)
        x = to_tensor(X, dtype=self._dtype, device=self._device)
        trajectories = x.new_empty(len(x), len(times), x.shape[1])
        interval, fraction = self._places(times)
        for k in range(len(self._transports)):
            here = np.flatnonzero(interval == k)
            image = self._transports[k].transport(self.metric_, x)
            if len(here):
                trajectories[:, here] = self._follow(x, image, fraction[here])
            x = image
        return _like(X, trajectories)

    def predict_population(self, time: float) -> Any:
        """Predict the population at a time.

        Parameters
        ----------
        time : float
            Within the fitted range.

        Returns
        -------
        X_time : ndarray of shape (n_rows, n_features)
            The last fitted population before that time, carried on along geodesics; at the first
            time that population itself.

        Raises
        ------
        ValueError
            If the time is outside the fitted range.
        """
        check_is_fitted(self)
        if not self.times_[0] <= time <= self.times_[-1]:
            raise ValueError(
                f"time must be within the fitted range, {self.times_[0]:g} to "
                f"{self.times_[-1]:g}. Got {time:g}."
            )
        (interval,), fraction = self._places(np.array([time], dtype=np.float64))
        x = self._populations[interval]
        image = self._transports[interval].transport(self.metric_, x)
        return self._follow(x, image, fraction)[:, 0].cpu().numpy()

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        r"""Return minus the mean Sinkhorn divergence between predicted and given populations.

        The population at each time in `y` within the fitted range is compared with
        :meth:`predict_population`, by the debiased divergence for the squared Euclidean cost at a
        regularisation fixed by the rows given (0.05 times their mean pairwise cost). At most 2000
        rows a side are used. Rows of times that ``fit`` has not seen make this a test of the
        metric.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows of all populations to compare with.
        y : array-like of shape (n_rows,)
            Time of each row; those outside the fitted range do not count.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows within their population.

        Returns
        -------
        score : float
            At most zero up to the accuracy of the solver; higher is better.

        Raises
        ------
        ValueError
            If no time is within the fitted range.
        """
        check_is_fitted(self)
        if y is None:
            raise ValueError(
                f"The score of {type(self).__name__} requires y to be passed, but the target y is "
                "None. Pass the time of each row."
            )
        X, time = self._validate(X, y, reset=False)
        rows, weights = to_numpy(X), None
        if sample_weight is not None:
            weights = check_weights(to_numpy(sample_weight), len(rows))
            counts = weights > 0
            rows, time, weights = rows[counts], time[counts], weights[counts]
        inside = np.unique(time[(time >= self.times_[0]) & (time <= self.times_[-1])])
        if not len(inside):
            raise ValueError(
                f"No time in y is within the fitted range, {self.times_[0]:g} to "
                f"{self.times_[-1]:g}."
            )
        divergences = []
        for one in inside:
            here = time == one
            given = at_most(_measure(rows[here], None if weights is None else weights[here]))
            predicted = at_most(_measure(self.predict_population(one)))
            divergences.append(divergence_to(given, predicted.points))
        warn_if_not_solved(f"The score of {type(self).__name__}", divergences)
        return -float(np.mean([float(divergence.value) for divergence in divergences]))

    def _places(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Interval of each time, whose end belongs to it, and the share of it that has passed."""
        interval = np.searchsorted(self.times_, times) - 1
        interval = interval.clip(0, len(self.times_) - 2)
        start, end = self.times_[interval], self.times_[interval + 1]
        return interval, (times - start) / (end - start)

    def _follow(self, x: Tensor, y: Tensor, fraction: np.ndarray) -> Tensor:
        fractions = torch.from_numpy(np.asarray(fraction))
        return self._paths().follow(self.metric_, x, y, fractions)

    def _validate(self, X: Any, y: Any = None, *, reset: bool) -> tuple[Any, Any]:
        n_least = 2 if reset else 1
        if isinstance(X, Tensor):
            X = check_points(X, estimator=self, min_rows=n_least)
            X = validate_data(self, X, reset=reset, skip_check_array=True)
            return X, None if y is None else check_times(y, len(X))
        options = {"reset": reset, "dtype": float_types(X), "ensure_min_samples": n_least}
        if y is None:
            return validate_data(self, X, **options), None
        y = to_numpy(y) if isinstance(y, Tensor) else y
        X, y = validate_data(self, X, y, y_numeric=True, **options)
        return X, check_times(y, len(X))

    @property
    def _device(self) -> torch.device:
        return self._populations[0].device


def check_times(y: Any, n_rows: int | None) -> np.ndarray:
    """Times as finite numbers, one for each row."""
    times = column_or_1d(to_numpy(y), dtype=np.float64)
    if not np.isfinite(times).all():
        raise ValueError("Times contain NaN or infinity.")
    if n_rows is not None and len(times) != n_rows:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"[{n_rows}, {len(times)}]. y needs the time of each row of X."
        )
    return times


def _measure(rows: np.ndarray, weights: np.ndarray | None = None) -> EmpiricalMeasure:
    return EmpiricalMeasure.from_points(rows, weights, dtype=torch.float64)


def _like(X: Any, values: Tensor) -> Any:
    """Back to the kind, dtype and device of the input."""
    if isinstance(X, Tensor):
        return values.to(device=X.device, dtype=X.dtype)
    return values.cpu().numpy().astype(output_dtype(X), copy=False)
