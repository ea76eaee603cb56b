"""A Riemannian metric learned from populations in sequence."""

import copy
import math
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from torch import Generator, Tensor

from skot.base import ComponentParamsMixin, check_component
from skot.networks import NeuralMetric
from skot.numerics.splines import path_basis
from skot.solvers.geodesic import GeodesicSolver, LBFGSGeodesic
from skot.training import AdamW, CosineSchedule, Optimizer, TrainingResult, TrainingState, train
from skot.transport._lagrangian.coordinates import is_wide
from skot.transport._metric_learning.population_trajectories import PopulationTrajectories
from skot.transport._metric_learning.populations import solve_transport
from skot.transport._metric_learning.training import (
    METRIC,
    MetricTraining,
    PathSolver,
    check_metric_module,
    some_of_each,
)
from skot.transport._neural.fit import NeuralFitMixin
from skot.transport._neural.two_sample_training import build_updates
from skot.utils._callbacks import CallbackSupportMixin, iteration_hook, with_callbacks
from skot.utils._sklearn import HasMethods, Interval, fit_context
from skot.utils.random import check_generator
from skot.utils.tensors import resolve_device, resolve_dtype, to_tensor

#: Nodes of the quadrature between two knots of a path.
_N_NODES = 4


class LagrangianMetricLearner(
    PopulationTrajectories,
    CallbackSupportMixin,
    NeuralFitMixin,
    ComponentParamsMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    BaseEstimator,
):
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
            name: NeuralFitMixin._fit_constraints[name]
            for name in NeuralFitMixin._fit_constraints
            if name not in ("checkpoint", "warm_start")
        },
    }
    _default_components: ClassVar[dict] = {
        "metric": NeuralMetric,
        "geodesic_solver": LBFGSGeodesic,
        "optimizer": AdamW,
    }
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
        with self._unchanged_by_failure():
            result = self._fit(X, y)
        self._warn_if_not_converged(result, stacklevel=6)  # past the decorators of fit
        return self

    def _fit(self, X: Any, y: Any) -> TrainingResult:
        rows, time = self._read(X, y)
        self._resolve_components()
        generator = check_generator(self.random_state)
        self.times_, populations = _populations(rows, time)
        training = self._training(populations, generator)
        with iteration_hook(
            self, self.max_iter, X=X, y=y, fitted_attributes=self._fitted_attributes
        ) as on_iteration:
            result = train(
                training.step,
                training.state,
                max_iter=self.max_iter,
                stopping=self.stopping,
                on_iteration=on_iteration,
            )
            self._store(training.state, populations, generator, result)
        return result

    def _read(self, X: Any, y: Any) -> tuple[Tensor, np.ndarray]:
        """Check everything; rows in float64, and their times."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None. Pass the time of each row."
            )
        X, time = self._validate(X, y, reset=True)
        if time.min() == time.max():
            raise ValueError(
                f"y holds one time only, {time[0]:g}: there is nothing to transport the "
                "population to. Pass rows of at least two times."
            )
        self._dtype = resolve_dtype(X)
        device = resolve_device(self.device, like=X)
        return to_tensor(X, dtype=torch.float64, device=device), time

    def _resolve_components(self) -> None:
        self._resolve_training_components()
        self.network_ = check_component(
            self.metric, default=NeuralMetric, kind="build", name="metric"
        )
        self.geodesic_solver_ = check_component(
            self.geodesic_solver,
            default=lambda: LBFGSGeodesic(n_starts=0, max_iter=30),
            kind=GeodesicSolver,
            name="geodesic_solver",
        )

    @staticmethod
    def _default_optimizer() -> Optimizer:
        return AdamW(lr=1e-2, betas=(0.9, 0.999), weight_decay=1.0, schedule=CosineSchedule())

    def _training(self, populations: list[Tensor], generator: Generator) -> MetricTraining:
        """Draw the metric, and set up what changes it."""
        points = torch.cat(populations)
        self._length = float((points - points.mean(0)).square().mean().sqrt()) or 1.0
        wide = is_wide(float(points.abs().max()), self._length)
        dtype = torch.float64 if wide else torch.float32
        module = self.network_.build(points.shape[1], generator=generator).to(dtype)
        if hasattr(module, "standardize_"):
            module.standardize_(points)
        modules = {METRIC: module.to(points.device, dtype)}
        updates = build_updates(
            modules,
            self.optimizer_,
            self.averaging,
            max_iter=self.max_iter,
            n_updates={METRIC: 1},
        )
        return MetricTraining(
            TrainingState(modules, *updates, generator),
            [population.to(dtype) for population in populations],
            epsilon=self.epsilon,
            renew_every=math.ceil(self.max_iter / self.n_alternations),
            paths=self._paths(),
            batch_size=self.batch_size,
            transport_size=self.transport_size,
        )

    def _paths(self) -> PathSolver:
        return PathSolver(path_basis(self.n_knots, _N_NODES), self.geodesic_solver_, self._length)

    def _fitted_attributes(self, state: TrainingState) -> dict[str, Any]:
        """What a fitted learner has of training, as it stands."""
        modules = {name: module.to(self._dtype) for name, module in state.final_modules().items()}
        return {
            "_modules": modules,
            "loss_curve_": list(state.loss_curve),
            "n_iter_": state.iteration,
        }

    def _store(
        self,
        state: TrainingState,
        populations: list[Tensor],
        generator: Generator,
        result: TrainingResult,
    ) -> None:
        for name, value in self._fitted_attributes(state).items():
            setattr(self, name, value)
        kept = some_of_each(populations, self.transport_size, generator)
        kept = [points.to(self._dtype) for points in kept]
        check_metric_module(self.metric_, kept)
        self._populations = kept
        self._transports = [
            solve_transport(self.metric_, x, y, self.epsilon)[0]
            for x, y in zip(kept[:-1], kept[1:], strict=True)
        ]
        self.converged_ = self._ended_well(result) and not self._n_unsolved

    @property
    def _n_unsolved(self) -> int:
        """Number of transports between populations that did not reach their tolerance."""
        return sum(not transport.converged for transport in self._transports)

    def _failures(self) -> list[str]:
        n_failed = self._n_unsolved
        if not n_failed:
            return []
        return [
            f"{n_failed} of {len(self._transports)} transports between populations were not solved "
            "to their tolerance. Increase epsilon."
        ]

    def __getstate__(self):
        # A pickle made after a fit on an accelerator must load on a machine without one.
        state = super().__getstate__()
        if "_populations" not in state or self._device.type == "cpu":
            return state
        return {
            **state,
            "_modules": {name: copy.deepcopy(m).cpu() for name, m in self._modules.items()},
            "_populations": [points.cpu() for points in self._populations],
            "_transports": [transport.to("cpu") for transport in self._transports],
        }


def _populations(rows: Tensor, time: np.ndarray) -> tuple[np.ndarray, list[Tensor]]:
    """The distinct times in ascending order, and the rows of each."""
    times, codes = np.unique(time, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes).tolist()
    return times, list(rows[torch.from_numpy(order).to(rows.device)].split(sizes))
