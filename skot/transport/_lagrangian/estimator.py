"""Optimal transport with least-action costs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor, nn

from skot.base import check_component
from skot.costs import Kinetic, check_lagrangian
from skot.losses import EnergyAugmentation
from skot.networks import MLPMap, MLPPotential, SplinePath
from skot.numerics.splines import path_basis
from skot.potentials import Frame, FramedPotential, TranslationFrame
from skot.solvers.c_transform import LBFGSCTransform
from skot.solvers.geodesic import GeodesicSolver, LBFGSGeodesic
from skot.training import Adam, Annealing, TrainingResult, TrainingState
from skot.transport._lagrangian.coordinates import (
    FramedLagrangian,
    cost_unit,
    gaussian_start,
    solved_pairs,
)
from skot.transport._lagrangian.model import LagrangianProblem, bounds_of
from skot.transport._lagrangian.path_transport import PathTransport
from skot.transport._lagrangian.proximity import TRAINING_PROXIMITY, best_proximity
from skot.transport._lagrangian.training import LagrangianTraining, build_modules
from skot.transport._neural.two_sample_training import some_rows
from skot.transport._neural.two_samples import BaseNeuralTransport
from skot.utils._sklearn import HasMethods

#: Arguments of c-transforms are looked for in a box that is wider than the sample by this share
#: of its range.
_MARGIN = 0.1
#: Costs and dual values are computed on at most this many training rows a side.
_COST_ROWS = 1024
#: Training rows whose predicted paths others may try out.
_BANK_ROWS = 512
#: Points at which a Lagrangian is looked at before training.
_CHECKED_ROWS = 512


class LagrangianOT(BaseNeuralTransport, PathTransport):
    r"""Transport one sample to another along paths of least action.

    The cost of a pair of points is the least action of a curve between them,

    .. math:: c(x, y) = \inf_{\gamma(0) = x, \gamma(1) = y} \int_0^1 L(\gamma, \gamma', t) \, dt,

    and the potential g solves the dual of optimal transport with that cost,

    .. math::

        \max_g \; E_x g^c(x) + E_y g(y), \qquad g^c(x) = \min_y \; c(x, y) - g(y),

    whose minimiser :math:`T(x)` is the optimal map. At every step one network predicts the end
    points of a batch and another one the paths, as cubic splines; the c-transform solver refines
    both together, and the potential follows the gradient that Danskin's theorem gives at the
    refined points [1]_. No differential equation is solved.

    Parameters
    ----------
    lagrangian : Lagrangian or callable, default=None
        L, called as ``L(x, v, t)`` on tensors of shapes (..., n_features), (..., n_features) and
        (...,): :class:`~skot.costs.Kinetic`, :class:`~skot.costs.KineticPotential` (obstacles),
        :class:`~skot.costs.RiemannianKinetic` (metrics), :class:`~skot.costs.PowerKinetic`, or a
        function of one's own. None is ``Kinetic()``, whose cost is
        :math:`\frac12 |x - y|^2`.
    potential : Potential, default=None
        Architecture of g: any object with ``build(n_features, *, generator)``. None is
        ``MLPPotential((64, 64, 64, 64), activation="silu")``.
    amortizer : Map, default=None
        Architecture of the network that predicts end points. None is
        ``MLPMap((64, 64, 64, 64), activation="silu")``.
    path : SplinePath, default=None
        Splines, and the network that predicts them. None is ``SplinePath()``. Not used where
        straight lines are known to be optimal.
    c_transform_solver : CTransformSolver, default=None
        Refines predictions, in training and in ``transform``:
        :class:`~skot.solvers.c_transform.LBFGSCTransform`,
        :class:`~skot.solvers.c_transform.AdamCTransform`, or any object with ``solve``. None is
        ``LBFGSCTransform(max_iter=10, tol=1e-2, proximity=1.0)`` in training. After ``fit``, not
        in a mere stream, its ``proximity`` is the one of 0, 1, 10, 100 with which images of
        training rows follow the target best; it is 0 throughout where the cost is quadratic or
        straight lines are known to be optimal. See Notes.
    geodesic_solver : GeodesicSolver, default=None
        Finds paths between given points, in ``path_cost`` and ``geodesic``. None is
        ``LBFGSGeodesic()``.
    annealing : Annealing, default=None
        How barriers rise and sharpen in ``fit``; of no effect without barriers. None is
        ``Annealing()``.
    augmentation : EnergyAugmentation, default=None
        How much predicted end points follow the sample on the other side, beside the end points
        that solve the problem. None is ``EnergyAugmentation(3.0)``.
    optimizer : Optimizer, default=None
        Of all networks. None is ``Adam(lr=5e-3, schedule=CosineSchedule())``.
    averaging : ExponentialMovingAverage, default=None
        Averages the weights over the last steps. None does not.
    stopping : Stopping, default=None
        Ends training before `max_iter`: :class:`~skot.training.EarlyStopping`,
        :class:`~skot.training.TimeBudget`. None never does.
    checkpoint : Checkpoint, default=None
        A file from which ``fit`` resumes after a crash; it takes a `random_state` that repeats,
        such as an int. Not used when ``warm_start`` goes on from a fit. None writes nothing.
    preconditioning : {"gaussian", "identity"}, default="gaussian"
        Where training starts: at the solution for the Gaussian fits of the samples and a
        quadratic fit of the cost, or at a map that leaves every row in its place.
    reference : {"normal", "uniform"}, default="normal"
        The target when ``fit`` is given none: the standard normal, or the uniform distribution on
        the unit cube. Every step of training draws from it anew.
    max_iter : int, default=1000
        Updates of the potential in ``fit``.
    batch_size : int, default=512
        Rows of each side in a step; a smaller sample makes smaller batches.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the networks of the fit before, in its coordinates and with
        a new optimizer; barriers rise anew.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights and the batches.
    device : str, torch.device or None, default=None
        Where to compute: ``None`` follows the input (NumPy: CPU), ``"auto"`` takes CUDA when
        there is one.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    potential_ : FramedPotential
        g, on tensors, up to a constant.
    source_potential_ : FramedPotential
        :math:`f = g^c`, on tensors, up to a constant: learned from the slopes of c-transforms.
    cost_value_ : float
        Mean cost of the transport of at most 1024 training rows (at most 4096 a side are kept),
        :math:`E_x \, c(x, T(x))`; computed on demand.
    dual_value_ : float
        Dual value on training rows; computed on demand.
    duality_gap_ : float
        ``cost_value_ - dual_value_``. It is zero at the solution and may have either sign.
    lagrangian_, c_transform_solver_, geodesic_solver_ : object
        The components that were used; as well ``annealing_``, ``augmentation_``, ``optimizer_``.
    loss_curve_ : list of float
        Minus the dual value of each batch, in the units of the networks.
    n_iter_ : int
        Number of steps.
    converged_ : bool
        False if `stopping` waits for convergence and it did not come, or if training diverged or
        was interrupted.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has them.

    See Also
    --------
    W2GNTransport : For the quadratic cost, to which this is a roundabout way.
    LagrangianMetricLearner : Learns the metric from populations in time.
    skot.solvers.c_transform.LBFGSCTransform : The c-transforms, on tensors.
    skot.solvers.geodesic.LBFGSGeodesic : The geodesics, on tensors.

    Notes
    -----
    Minimisation is local. Paths around obstacles are found because barriers are weak and blurred
    when training starts; paths between any two points (``geodesic``) are solved for from several
    starts.

    Where shortest paths bend around a corner, the cost depends on the distances to the corner
    alone: whole curves of end points are equally good, and g does not tell them apart. Two things
    settle it. Predicted end points follow the target sample by an energy distance
    (`augmentation`), as in :class:`NeuralOT`, and refined ones stay near the prediction
    (``proximity`` of the solver).

    ``inverse_transform`` is the c-transform of f in the other direction,
    :math:`\arg\min_x c(x, y) - f(x)`. The network f is not trained against g: its slope is
    regressed on that of :math:`g^c`, which the envelope theorem gives.

    Networks see both samples in common coordinates, centred and scaled by one number, and costs
    in units of their mean. Training is in float32; the fitted networks have the dtype of `X`.

    Arguments of c-transforms are looked for in a box around the sample, wider than it by a
    tenth of its range on every side.

    References
    ----------
    .. [1] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skot import LagrangianOT
    >>> from skot.costs import HillObstacle, KineticPotential
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(scale=0.1, size=(100, 2)) - [1.0, 0.0]
    >>> transport = LagrangianOT(
    ...     KineticPotential(HillObstacle(strength=5.0)), max_iter=5, random_state=0
    ... ).fit(X, X + [2.0, 0.0])
    >>> transport.transport_paths(X, n_times=10).shape
    (100, 10, 2)
    """

    _parameter_constraints: ClassVar[dict] = {
        "lagrangian": [callable, None],
        "potential": [HasMethods("build"), None],
        "amortizer": [HasMethods("build"), None],
        "path": [HasMethods(["build", "basis"]), None],
        "c_transform_solver": [HasMethods("solve"), None],
        "geodesic_solver": [GeodesicSolver, None],
        "annealing": [Annealing, None],
        "augmentation": [EnergyAugmentation, None],
        **BaseNeuralTransport._training_constraints,
    }
    _default_components: ClassVar[dict] = {
        "lagrangian": Kinetic,
        "potential": MLPPotential,
        "amortizer": MLPMap,
        "path": SplinePath,
        "c_transform_solver": LBFGSCTransform,
        "geodesic_solver": LBFGSGeodesic,
        "annealing": Annealing,
        "augmentation": EnergyAugmentation,
        "optimizer": Adam,
    }
    _divergence_advice = "Lower the learning rate of the optimizer, or the strength of barriers."

    def __init__(
        self,
        lagrangian=None,
        *,
        potential=None,
        amortizer=None,
        path=None,
        c_transform_solver=None,
        geodesic_solver=None,
        annealing=None,
        augmentation=None,
        optimizer=None,
        averaging=None,
        stopping=None,
        checkpoint=None,
        preconditioning="gaussian",
        reference="normal",
        max_iter=1000,
        batch_size=512,
        warm_start=False,
        random_state=None,
        device=None,
        verbose=False,
    ):
        self.lagrangian = lagrangian
        self.potential = potential
        self.amortizer = amortizer
        self.path = path
        self.c_transform_solver = c_transform_solver
        self.geodesic_solver = geodesic_solver
        self.annealing = annealing
        self.augmentation = augmentation
        self.optimizer = optimizer
        self.averaging = averaging
        self.stopping = stopping
        self.checkpoint = checkpoint
        self.preconditioning = preconditioning
        self.reference = reference
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    # Values

    @property
    def cost_value_(self) -> float:
        """Mean cost of the transport of training rows; solved for on demand."""
        return self._solved_values()[0]

    @property
    def dual_value_(self) -> float:
        """Dual value on training rows; solved for on demand."""
        return self._solved_values()[1]

    @property
    def duality_gap_(self) -> float:
        """Difference of the two; solved for on demand."""
        cost, dual = self._solved_values()
        return cost - dual

    def _solved_values(self) -> tuple[float, float]:
        check_is_fitted(self)
        x, y = (some_rows(rows, _COST_ROWS) for rows in self._value_rows)
        x, y = self._frame.source_rows(x).to(self._dtype), self._frame.target_rows(y)
        potential, unit = self._modules["potential"], self._problem.lagrangian.unit
        with torch.no_grad():
            found = self._problem.transport(self._modules, x)
            cost = float(self._geodesic_between(x, found).cost.mean())
            on_images = float(potential(found.argument).mean())
            on_target = float(potential(y.to(self._dtype)).mean())
        return unit * cost, unit * (cost - on_images + on_target)

    # Fitting

    def _resolve_components(self) -> None:
        self.lagrangian_ = check_component(
            self.lagrangian, default=Kinetic, kind="__call__", name="lagrangian"
        )
        self.c_transform_solver_ = check_component(
            self.c_transform_solver,
            default=lambda: self._default_solver(TRAINING_PROXIMITY),
            kind="solve",
            name="c_transform_solver",
        )
        self.geodesic_solver_ = check_component(
            self.geodesic_solver,
            default=LBFGSGeodesic,
            kind=GeodesicSolver,
            name="geodesic_solver",
        )
        self.annealing_ = check_component(
            self.annealing, default=Annealing, kind=Annealing, name="annealing"
        )
        self.augmentation_ = check_component(
            self.augmentation,
            default=lambda: EnergyAugmentation(3.0),
            kind=EnergyAugmentation,
            name="augmentation",
        )
        self._resolve_training_components()
        defaults: dict[str, Callable[[], Any]] = {
            "potential": lambda: MLPPotential((64, 64, 64, 64), activation="silu"),
            "amortizer": lambda: MLPMap((64, 64, 64, 64), activation="silu"),
            "path": SplinePath,
        }
        self._architectures = {
            name: check_component(getattr(self, name), default=default, kind="build", name=name)
            for name, default in defaults.items()
        }

    def _fit(self, X: Any, y: Any, sample_domain: Any) -> TrainingResult:
        result = super()._fit(X, y, sample_domain)
        if self.c_transform_solver is None and not self._is_settled():
            self._choose_proximity()
        return result

    def _partial_fit(self, X: Any, y: Any, sample_domain: Any) -> TrainingResult:
        chosen = self.c_transform_solver_ if hasattr(self, "_state") else None
        result = super()._partial_fit(X, y, sample_domain)
        if self.c_transform_solver is None and chosen is not None and not self._is_settled():
            self._use_solver(chosen)
        return result

    def _settle_solver(self) -> None:
        """Do without proximity where the cost leaves nothing open."""
        if self.c_transform_solver is None and self._is_settled():
            self.c_transform_solver_ = self._default_solver(0.0)

    def _use_solver(self, solver: Any) -> None:
        self.c_transform_solver_ = solver
        self._problem = replace(self._problem, solver=solver)

    def _choose_proximity(self) -> None:
        x, y = self._value_rows
        rows = self._frame.source_rows(x), self._frame.target_rows(y)
        proximity = best_proximity(
            self._problem, self._modules, *(points.to(self._dtype) for points in rows)
        )
        self._use_solver(self._default_solver(proximity))

    @staticmethod
    def _default_solver(proximity: float) -> LBFGSCTransform:
        return LBFGSCTransform(max_iter=10, tol=1e-2, proximity=proximity)

    @property
    def _is_straight(self) -> bool:
        """Whether straight lines are known to be optimal."""
        return getattr(self.lagrangian_, "has_straight_geodesics", False)

    def _is_settled(self) -> bool:
        """Whether the cost is known to leave no end point open."""
        return self._is_straight or getattr(self, "_is_quadratic", False)

    def _set_up(
        self, source: Tensor, target: Tensor, generator: Generator
    ) -> tuple[Frame, dict[str, nn.Module]]:
        self._check_lagrangian(source, target)
        both = TranslationFrame.of(source, target)
        mean = 0.5 * (both.source_mean + both.target_mean)
        spread = torch.cat([source - mean, target - mean]).square().mean()
        frame = TranslationFrame(mean, mean, float(spread) or 1.0)
        x, y = frame.source_rows(source), frame.target_rows(target)
        basis = path_basis(0) if self._is_straight else self._architectures["path"].basis()
        lagrangian = FramedLagrangian(self.lagrangian_, mean, frame.scale**0.5, frame.scale)
        pairs = solved_pairs(lagrangian, x, y, basis)
        unit = cost_unit(*pairs)
        start = gaussian_start(x, y, (*pairs[:2], pairs[2] / unit))
        self._is_quadratic = start.is_exact
        self._settle_solver()
        if self.preconditioning == "identity":
            start = start.at_rest()
        self._problem = LagrangianProblem(
            FramedLagrangian(self.lagrangian_, mean, frame.scale**0.5, unit * frame.scale),
            basis,
            self.c_transform_solver_,
            bounds_of(x, _MARGIN),
            bounds_of(y, _MARGIN),
            some_rows(x, _BANK_ROWS),
        )
        modules = build_modules(
            self._architectures, start, x, y, straight=self._is_straight, generator=generator
        )
        return frame, modules

    def _check_lagrangian(self, source: Tensor, target: Tensor) -> None:
        """Raise, before any work, where the Lagrangian is not defined."""
        n = min(_CHECKED_ROWS, max(len(source), len(target)))
        x, y = (rows[torch.arange(n, device=rows.device) % len(rows)] for rows in (source, target))
        for t in (0.0, 0.5, 1.0):
            check_lagrangian(self.lagrangian_, torch.lerp(x, y, t), y - x, x.new_full((n,), t))

    def _check_going_on(self) -> None:
        if self._is_straight != (self._problem.basis.n_knots == 0):
            raise ValueError(
                "Training cannot go on from the fit before: the Lagrangian of one of them has "
                "straight geodesics, that of the other has not. Set warm_start=False."
            )
        # The parameters may have been set after the fit: they count from here on.
        problem = self._problem
        if not _same(problem.lagrangian.lagrangian, self.lagrangian_):
            self._is_quadratic = False
        self._settle_solver()
        lagrangian = replace(problem.lagrangian, lagrangian=self.lagrangian_)
        self._problem = replace(problem, lagrangian=lagrangian, solver=self.c_transform_solver_)

    def _train(self, source: Tensor, target: Tensor | None, **options: Any) -> TrainingResult:
        rows = self._target_measure.points if target is None else target
        self._check_lagrangian(source, rows)
        frame = self._frame
        # Rows that come later may be where there were none before.
        self._problem = self._problem.widened(
            frame.source_rows(source), frame.target_rows(rows), _MARGIN
        )
        return super()._train(source, target, **options)

    def _updates_per_iteration(self) -> dict[str, int]:
        names = ("potential", "amortizer", "source_potential", "inverse_amortizer", "path")
        return dict.fromkeys(names[: len(names) - self._is_straight], 1)

    def _training(self) -> LagrangianTraining:
        state = self._state
        planned = next(iter(state.updaters.values())).max_iter
        return LagrangianTraining(
            state,
            self._frame,
            self.batch_size,
            self._problem,
            self.annealing_,
            self.augmentation_,
            planned,
            state.iteration,
        )

    def _attributes_of(self, modules: dict[str, nn.Module], frame: Frame) -> dict[str, Any]:
        unit = self._problem.lagrangian.unit
        return {
            "potential_": FramedPotential(modules["potential"], frame, unit),
            "source_potential_": FramedPotential(modules["source_potential"], frame, unit),
            "_problem": self._problem.to(frame.source_mean),
        }

    def _fitted_attributes(self, state: TrainingState) -> dict[str, Any]:
        fitted = super()._fitted_attributes(state)
        return {**fitted, "_problem": fitted["_problem"].with_bank(fitted["_modules"])}


def _same(one: Any, other: Any) -> bool:
    """Whether two Lagrangians have the same parameters."""

    def described(lagrangian: Any) -> Any:
        if not hasattr(lagrangian, "get_params"):
            return lagrangian
        params = lagrangian.get_params().items()
        nested = {
            key: type(value) if hasattr(value, "get_params") else repr(value)
            for key, value in params
        }
        return type(lagrangian), nested

    return described(one) == described(other)
