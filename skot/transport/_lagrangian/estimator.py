"""Optimal transport with least-action costs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skot.base import check_component
from skot.costs import Kinetic
from skot.losses import EnergyAugmentation
from skot.networks import MLPMap, MLPPotential, SplinePath
from skot.solvers.c_transform import LBFGSCTransform
from skot.solvers.geodesic import GeodesicSolver, LBFGSGeodesic
from skot.training import Adam, Annealing, Optimizer
from skot.transport._lagrangian.model import LearnedLagrangian
from skot.transport._lagrangian.proximity import best_proximity
from skot.transport._lagrangian.training import LagrangianMethod, default_solver
from skot.transport._neural.fit import Read
from skot.transport._neural.two_samples import BaseNeuralTransport
from skot.utils._points import check_n_times
from skot.utils._sklearn import HasMethods
from skot.utils.validation import DomainSplit, split_domains


class LagrangianOT(BaseNeuralTransport):
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
        return self._learned.values()

    # Fitting

    def _method(self, optimizer: Optimizer) -> LagrangianMethod:
        lagrangian = check_component(
            self.lagrangian, default=Kinetic, kind="__call__", name="lagrangian"
        )
        c_transform_solver = self.c_transform_solver
        if c_transform_solver is not None:  # the default depends on the cost
            c_transform_solver = check_component(
                c_transform_solver, default=None, kind="solve", name="c_transform_solver"
            )
        geodesic_solver = check_component(
            self.geodesic_solver,
            default=LBFGSGeodesic,
            kind=GeodesicSolver,
            name="geodesic_solver",
        )
        annealing = check_component(
            self.annealing, default=Annealing, kind=Annealing, name="annealing"
        )
        augmentation = check_component(
            self.augmentation,
            default=lambda: EnergyAugmentation(3.0),
            kind=EnergyAugmentation,
            name="augmentation",
        )
        defaults: dict[str, Callable[[], Any]] = {
            "potential": lambda: MLPPotential((64, 64, 64, 64), activation="silu"),
            "amortizer": lambda: MLPMap((64, 64, 64, 64), activation="silu"),
            "path": SplinePath,
        }
        architectures = {
            name: check_component(getattr(self, name), default=default, kind="build", name=name)
            for name, default in defaults.items()
        }
        return LagrangianMethod(
            optimizer,
            self.averaging,
            self.batch_size,
            lagrangian,
            architectures["potential"],
            architectures["amortizer"],
            architectures["path"],
            c_transform_solver,
            geodesic_solver,
            annealing,
            augmentation,
            self.preconditioning,
        )

    def _conclude(self) -> None:
        if self._chooses_proximity():
            self._use_solver(default_solver(best_proximity(self._learned)))

    def _partial_fit(self, read: Read) -> Self:
        chosen = self.c_transform_solver_ if hasattr(self, "_learned") else None
        super()._partial_fit(read)
        if chosen is not None and self._chooses_proximity():
            self._use_solver(chosen)
        return self

    def _chooses_proximity(self) -> bool:
        return self.c_transform_solver is None and not self._learned.is_settled

    def _use_solver(self, solver: Any) -> None:
        """Solve with other settings than in training."""
        self.c_transform_solver_, self._learned = solver, replace(self._learned, solver=solver)

    def _attributes(self, learned: LearnedLagrangian) -> dict[str, Any]:
        return {
            "potential_": learned.potential("potential"),
            "source_potential_": learned.potential("source_potential"),
            "c_transform_solver_": learned.solver,
        }

    # Paths

    def transport_paths(self, X: Any, n_times: int = 50) -> Any:
        """Follow source rows on their way to the target.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows.
        n_times : int, default=50
            Number of times, equally spaced from 0 to 1.

        Returns
        -------
        paths : array of shape (n_rows, n_times, n_features)
            From the rows themselves to what ``transform`` makes of them. Memory
            O(n_rows * n_times).
        """
        check_is_fitted(self)
        times = _equal_times(n_times)
        split = split_domains(self, X, reset=False)
        return self._restore(
            self._learned.followed(self._to_compute(split.X_source), times), X, split
        )

    def geodesic(self, X: Any, Y: Any, n_times: int = 50) -> Any:
        """Find paths of least action between given points.

        Parameters
        ----------
        X, Y : array-like of shape (n_rows, n_features)
            Where the paths start and end, row by row. Any points.
        n_times : int, default=50
            Number of times, equally spaced from 0 to 1.

        Returns
        -------
        paths : array of shape (n_rows, n_times, n_features)
            Found by `geodesic_solver`, to which the path network makes a suggestion.

        Warns
        -----
        ConvergenceWarning
            If some paths were not found to the tolerance of the solver.
        """
        split, x, y = self._pairs(X, Y)
        return self._restore(self._learned.geodesics(x, y, _equal_times(n_times)), X, split)

    def path_cost(self, X: Any, Y: Any, *, amortized: bool = False) -> Any:
        """Compute the cost of given pairs of points, row by row.

        Parameters
        ----------
        X, Y : array-like of shape (n_rows, n_features)
            Where paths start and end. Any points.
        amortized : bool, default=False
            Whether to trust the path network. Otherwise `geodesic_solver` works on what it
            suggests, and from other starts.

        Returns
        -------
        cost : array of shape (n_rows,)
            :math:`c(x_i, y_i)`, in the units of the Lagrangian: the action of a path, so an upper
            bound up to the accuracy of the quadrature.

        Warns
        -----
        ConvergenceWarning
            If some paths were not found to the tolerance of the solver.
        """
        split, x, y = self._pairs(X, Y)
        return self._restore(self._learned.path_costs(x, y, amortized=amortized), X, split)

    # Inference

    def _map(self, x: Tensor, labels: np.ndarray | None) -> Tensor:
        return self._learned.images(x)

    def _map_at(self, x: Tensor, t: float) -> Tensor:
        return self._learned.followed(x, torch.tensor([t], dtype=torch.float64))[:, 0]

    def _inverse_map(self, y: Tensor) -> Tensor:
        return self._learned.origins(y)

    def _pairs(self, X: Any, Y: Any) -> tuple[DomainSplit, Tensor, Tensor]:
        """Check rows that are paired one by one."""
        check_is_fitted(self)
        split = split_domains(self, X, Y, reset=False)
        if split.X_target is None:
            raise ValueError("Y must be two-dimensional: the rows at which paths end.")
        check_consistent_length(split.X_source, split.X_target)
        return split, self._to_compute(split.X_source), self._to_compute(split.X_target)


def _equal_times(n_times: int) -> Tensor:
    return torch.linspace(0.0, 1.0, check_n_times(n_times), dtype=torch.float64)
