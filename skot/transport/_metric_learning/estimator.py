"""A Riemannian metric learned from populations in sequence."""

import math
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Generator, Tensor, nn

from skot.base import check_component
from skot.measures import EmpiricalMeasure
from skot.metrics import at_most, divergence_to, warn_if_not_solved
from skot.networks import NeuralMetric
from skot.numerics.subsample import drawn_rows
from skot.solvers.geodesic import GeodesicSolver, LBFGSGeodesic
from skot.training import AdamW, CosineSchedule, Optimizer, TrainingResult, TrainingState
from skot.transport._metric_learning.populations import Populations
from skot.transport._metric_learning.training import MetricMethod
from skot.transport._neural.fit import NeuralFit
from skot.utils._callbacks import with_callbacks
from skot.utils._points import check_n_times, check_points, float_types
from skot.utils._sklearn import HasMethods, Interval, check_weights, fit_context
from skot.utils.tensors import like_input, resolve_device, resolve_dtype, to_numpy, to_tensor


class LagrangianMetricLearner(NeuralFit, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Learn the metric under which populations moved as little as possible.

    Given populations :math:`\rho_1, \dots, \rho_T` at successive times, it minimises over metrics
    A of given eigenvalues the mean transport cost from each one to the next,

    .. math::

        \min_A \; \frac{1}{T - 1} \sum_{k=1}^{T-1} \; \min_{P \in \Pi(\rho_k, \rho_{k+1})}
        \int c_A \, dP, \qquad
        c_A(x, y) = \inf_{\gamma(0) = x, \gamma(1) = y}
        \int_0^1 \tfrac12 \, \gamma'^\top A(\gamma) \gamma' \, dt,

    so that directions in which populations move become cheap [1]_ [2]_. By the envelope theorem its
    gradient is that of the mean action of the transported paths, held fixed: transports and
    gradient steps take turns.

    Parameters
    ----------
    metric : NeuralMetric, default=None
        Architecture of A: any object with ``build(n_features, *, generator)`` whose module takes
        points of shape (..., n_features) to symmetric positive definite matrices. None is
        ``NeuralMetric()``, with eigenvalues (0.1, 1, ..., 1).
    epsilon : float, default=0.005
        Regularisation of the transports, in units of the spread of the costs; see Notes.
    n_knots : int, default=3
        Inner knots of the splines that paths are; with 0 they are straight lines.
    geodesic_solver : GeodesicSolver, default=None
        Finds the paths. None is ``LBFGSGeodesic(n_starts=0, max_iter=30)``, which starts from the
        straight line.
    optimizer : Optimizer, default=None
        Of the metric. None is ``AdamW(lr=1e-2, betas=(0.9, 0.999), weight_decay=1.0,
        schedule=CosineSchedule())``: weight decay makes for a smooth metric.
    averaging : ExponentialMovingAverage, default=None
        Averages the weights over the last steps. None does not.
    stopping : Stopping, default=None
        Ends training before `max_iter`. None never does.
    n_alternations : int, default=4
        How often transports are solved in ``fit``, at most: at first under the Euclidean metric,
        then under the learned one.
    max_iter : int, default=1000
        Gradient steps, over all alternations.
    batch_size : int, default=512
        Paths in a step.
    transport_size : int, default=1000
        Rows of a population that a transport sees. Of larger ones each alternation draws others.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights, the paths and the batches.
    device : str, torch.device or None, default=None
        Where to compute: ``None`` follows the input (NumPy: CPU), ``"auto"`` takes CUDA when
        there is one.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    metric_ : torch.nn.Module
        A, on tensors and in the coordinates of the data: ``RiemannianKinetic(learner.metric_)``
        is its Lagrangian.
    times_ : ndarray of shape (n_times,)
        The times of the populations, ascending.
    network_, geodesic_solver_, optimizer_ : object
        The components that were used.
    loss_curve_ : list of float
        Mean action of each batch, in units of that under the identity, and the penalty of the
        metric network.
    n_iter_ : int
        Number of steps.
    converged_ : bool
        False if `stopping` waits for convergence and it did not come, if training diverged or was
        interrupted, or if a transport was not solved to its tolerance.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has them.

    See Also
    --------
    LagrangianOT : Transport under a known metric.
    skot.metrics.alignment_score : Compares metrics by their eigenvectors.

    Notes
    -----
    Transports are entropic, between populations of at most `transport_size` rows, with costs along
    straight lines; four paths are drawn for each row, and bent to geodesics. The unit of `epsilon`
    is the root mean square of what is left of the costs without the means of rows and columns.
    A row at one time goes to the mean of the next population under

    .. math:: w_j(x) \propto \exp\big((g_j - c_A(x, y_j)) / \epsilon\big)

    with the potential g of that transport: the same formula for rows seen in ``fit`` and others.
    A fitted learner keeps the populations, at most `transport_size` rows of each. Solving takes
    memory O(n_k n_{k+1}), predictions O(n_rows + n_{k+1}).

    For learning, the time between two populations does not count, only their order.

    Nothing is known of the metric where no paths pass. There A is what the network makes of it.

    References
    ----------
    .. [1] Scarvelis, C. and Solomon, J. (2023). Riemannian metric learning via optimal transport.
       ICLR.
    .. [2] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI.

    Examples
    --------
    >>> import numpy as np
    >>> from skot import LagrangianMetricLearner
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(90, 2))
    >>> time = np.repeat([0, 1, 2], 30)
    >>> X[:, 0] += 5.0 * time  # a drift to the right
    >>> learner = LagrangianMetricLearner(max_iter=50, random_state=0).fit(X, time)
    >>> bool(np.abs(learner.transform(X[:30])[:, 0] - 10.0).mean() < 2.0)
    True
    >>> learner.predict_trajectories(X[:30], n_times=9).shape
    (30, 9, 2)
    """

    _parameter_constraints: ClassVar[dict] = {
        "metric": [HasMethods("build"), None],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_knots": [Interval(Integral, 0, None, closed="left")],
        "geodesic_solver": [GeodesicSolver, None],
        "n_alternations": [Interval(Integral, 1, None, closed="left")],
        "transport_size": [Interval(Integral, 2, None, closed="left")],
        **{
            name: constraint
            for name, constraint in NeuralFit._fit_constraints.items()
            if name not in ("checkpoint", "warm_start")
        },
    }
    _default_components: ClassVar[dict] = {
        "metric": NeuralMetric,
        "geodesic_solver": LBFGSGeodesic,
        "optimizer": AdamW,
    }
    _default_optimizer = AdamW(
        lr=1e-2, betas=(0.9, 0.999), weight_decay=1.0, schedule=CosineSchedule()
    )
    _divergence_advice = "Lower the learning rate of the optimizer."
    #: Fits are short: there are no files of half of one.
    checkpoint = None

    def __init__(
        self,
        metric=None,
        *,
        epsilon=0.005,
        n_knots=3,
        geodesic_solver=None,
        optimizer=None,
        averaging=None,
        stopping=None,
        n_alternations=4,
        max_iter=1000,
        batch_size=512,
        transport_size=1000,
        random_state=None,
        device=None,
        verbose=False,
    ):
        self.metric = metric
        self.epsilon = epsilon
        self.n_knots = n_knots
        self.geodesic_solver = geodesic_solver
        self.optimizer = optimizer
        self.averaging = averaging
        self.stopping = stopping
        self.n_alternations = n_alternations
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.transport_size = transport_size
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    # Fitting

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X: Any, y: Any) -> Self:
        """Learn the metric.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows of all populations, in any order.
        y : array-like of shape (n_rows,)
            Time of each row, a number: rows of equal time are a population.

        Returns
        -------
        self : LagrangianMetricLearner
            The fitted learner.

        Raises
        ------
        ValueError
            For bad input, for a single time, and for a metric that is not positive definite at a
            row of `X`.
        FloatingPointError
            If the loss is not finite from the first step on.

        Warns
        -----
        ConvergenceWarning
            If `stopping` waits for convergence in vain, if a transport was not solved to its
            tolerance, or if the loss ceases to be finite; the last finite state is kept then.
        """
        return self._fit(partial(self._read, X, y), X, y)

    def _method(self, optimizer: Optimizer) -> MetricMethod:
        network = check_component(self.metric, default=NeuralMetric, kind="build", name="metric")
        geodesic_solver = check_component(
            self.geodesic_solver,
            default=lambda: LBFGSGeodesic(n_starts=0, max_iter=30),
            kind=GeodesicSolver,
            name="geodesic_solver",
        )
        return MetricMethod(
            optimizer,
            self.averaging,
            self.batch_size,
            network,
            geodesic_solver,
            self.epsilon,
            self.n_knots,
            math.ceil(self.max_iter / self.n_alternations),
            self.transport_size,
        )

    def _read(
        self, X: Any, y: Any, method: MetricMethod, generator: Generator, *, reset: bool
    ) -> Populations:
        """Check rows and times."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None. Pass the time of each row."
            )
        X, time = self._validate(X, y, reset=reset)
        if time.min() == time.max():
            raise ValueError(
                f"y holds one time only, {time[0]:g}: there is nothing to transport the "
                "population to. Pass rows of at least two times."
            )
        device = resolve_device(self.device, like=X)
        rows = to_tensor(X, dtype=torch.float64, device=device)
        return Populations.of(rows, time, resolve_dtype(X))

    def _store(
        self,
        attributes: dict[str, Any],
        state: TrainingState,
        data: Populations,
        result: TrainingResult,
    ) -> None:
        generator = cast(Generator, state.generator)  # states are built with one here
        kept = [drawn_rows(rows, self.transport_size, generator) for rows in data.rows]
        learned = attributes["_learned"].between(kept, self.epsilon)
        super()._store({**attributes, "_learned": learned}, state, data, result)
        del self._state  # nothing goes on from it
        self.converged_ = self.converged_ and not learned.n_unsolved

    def _failures(self) -> list[str]:
        n_failed = self._learned.n_unsolved
        if not n_failed:
            return []
        return [
            f"{n_failed} of {len(self._learned.transports)} transports between populations were "
            "not solved to their tolerance. Increase epsilon."
        ]

    # Predictions

    @property
    def metric_(self) -> nn.Module:
        """The learned metric."""
        return self._learned.metric

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
        return like_input(self._learned.transport(self._to_compute(X)), X)

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
        return like_input(self._learned.follow(self._to_compute(X), times), X)

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
        return self._learned.population(time).cpu().numpy()

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
            divergences.append(divergence_to(given.points, predicted.points, weights=given.weights))
        warn_if_not_solved(f"The score of {type(self).__name__}", divergences)
        return -float(np.mean([float(divergence.value) for divergence in divergences]))

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

    def _to_compute(self, X: Any) -> Tensor:
        return to_tensor(X, dtype=self._learned.populations[0].dtype, device=self._learned.device)


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
