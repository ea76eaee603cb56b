"""Wasserstein-2 maps as gradients of learned potentials."""

import copy
import math
import warnings
from collections.abc import Callable
from numbers import Integral
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skot.base import check_component
from skot.losses import Amortization, RegressionAmortization
from skot.measures import REFERENCES, draw_reference, reference_log_density
from skot.networks import MLPMap, MLPPotential
from skot.numerics.log_determinant import hessian_log_determinant
from skot.numerics.tiles import NETWORK_WIDTH, row_tiles
from skot.potentials import BrenierPotential, LinearFrame
from skot.solvers.conjugate import LBFGSConjugate
from skot.training import (
    Adam,
    Checkpoint,
    CosineSchedule,
    ExponentialMovingAverage,
    Optimizer,
    Stopping,
    TrainingResult,
    TrainingState,
)
from skot.transport._base import BaseTransport
from skot.transport._dual_training import (
    DualTraining,
    build_modules,
    build_updates,
    dual_value,
    some_rows,
)
from skot.utils._callbacks import CallbackSupportMixin, iteration_hook, with_callbacks
from skot.utils._sklearn import HasMethods, Interval, StrOptions, fit_context
from skot.utils.random import check_generator
from skot.utils.tensors import resolve_dtype
from skot.utils.validation import DomainSplit, split_domains


def _default_optimizer() -> Optimizer:
    return Adam(lr=5e-3, schedule=CosineSchedule())


class W2GNTransport(CallbackSupportMixin, BaseTransport):
    r"""Transport one sample to another by the gradient of a learned potential.

    The potential f solves the dual of optimal transport for :math:`|x - y|^2 / 2`,

    .. math::

        \min_f \; E_x f(x) + E_y f^*(y), \qquad
        f^*(y) = \max_x \; \langle x, y \rangle - f(x),

    and :math:`T = \nabla f` is the optimal map, :math:`\nabla f^*` its inverse. At every step an
    amortizer predicts where the conjugates of a batch are attained, a conjugate solver refines
    the prediction, and the potential follows the gradient that Danskin's theorem gives at the
    refined points [4]_. Training needs samples only, and minibatches of them.

    Parameters
    ----------
    potential : Potential, default=None
        Architecture of f: :class:`~skot.networks.ICNN`, :class:`~skot.networks.MLPPotential`,
        :class:`~skot.networks.ConvPotential`, or any object with
        ``build(n_features, *, generator)``. None is ``MLPPotential()``, which trains faster
        than convex architectures but may fold.
    amortizer : Map, default=None
        Architecture of the network that predicts :math:`\nabla f^*`. None is ``MLPMap()``.
    amortization : Amortization, default=None
        How the amortizer is trained: :class:`~skot.losses.ObjectiveAmortization`,
        :class:`~skot.losses.CycleAmortization`, :class:`~skot.losses.RegressionAmortization` or
        :class:`~skot.losses.ExpectileAmortization`. None is ``RegressionAmortization()``.
    conjugate_solver : ConjugateSolver, default=None
        Refines the predictions, in training and in ``inverse_transform``:
        :class:`~skot.solvers.conjugate.LBFGSConjugate`,
        :class:`~skot.solvers.conjugate.AdamConjugate`,
        :class:`~skot.solvers.conjugate.NoConjugate` (trusts the amortizer), or any object with
        ``solve``. None is ``LBFGSConjugate()``.
    optimizer : Optimizer, default=None
        Of both networks. None is ``Adam(lr=5e-3, schedule=CosineSchedule())``.
    averaging : ExponentialMovingAverage, default=None
        Averages the weights over the last steps. None does not.
    stopping : Stopping, default=None
        Ends training before `max_iter`: :class:`~skot.training.EarlyStopping`,
        :class:`~skot.training.TimeBudget`. None never does.
    checkpoint : Checkpoint, default=None
        A file from which ``fit`` resumes after a crash; it takes a `random_state` that repeats,
        such as an int. Not used when ``warm_start`` goes on from a fit. None writes nothing.
    preconditioning : {"gaussian", "identity"}, default="gaussian"
        The coordinates in which networks see the data. "gaussian": those in which the optimal map
        between the Gaussian fits of the samples (see :class:`GaussianTransport`) is the
        identity, near which training starts. "identity": the data's own, centred and scaled by
        one number.
    reference : {"normal", "uniform"}, default="normal"
        The target when ``fit`` is given none: the standard normal, or the uniform distribution on
        the unit cube. Every step of training draws from it anew.
    n_amortizer_steps : int, default=1
        Updates of the amortizer per update of the potential.
    max_iter : int, default=1000
        Updates of the potential in ``fit``.
    batch_size : int, default=1024
        Rows of each side in a step; a smaller sample makes smaller batches.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the networks of the fit before, in its coordinates and with
        a new optimizer.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights and the batches.
    device : str, torch.device or None, default=None
        Where to compute: ``None`` follows the input (NumPy: CPU), ``"auto"`` takes CUDA when
        there is one.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    potential_ : BrenierPotential
        The potential whose gradient is the map, on tensors.
    wasserstein_distance_ : float
        2-Wasserstein distance (not squared) by the dual value on the training rows, at most 4096
        a side, which are kept for it; computed on demand. After ``partial_fit``, on the rows of
        the last call.
    conjugate_solver_, amortization_, optimizer_ : object
        The components that were used.
    loss_curve_ : list of float
        Dual loss of each step, in the coordinates of the networks.
    n_iter_ : int
        Number of steps.
    converged_ : bool
        False if `stopping` waits for convergence and it did not come, or if training diverged.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has them.

    See Also
    --------
    SinkhornTransport : Entropic transport, without training.
    GaussianTransport : The linear map, the baseline.
    skot.solvers.conjugate.LBFGSConjugate : The conjugates, on tensors.

    Notes
    -----
    The published methods are settings of this estimator:

    - W2GN [1]_: ``potential=ICNN(), amortizer=GradientMap(ICNN()),
      amortization=CycleAmortization(), conjugate_solver=NoConjugate()``.
    - Makkuva et al. [2]_: ``potential=ICNN(), amortizer=GradientMap(ICNN()),
      amortization=ObjectiveAmortization(), conjugate_solver=NoConjugate(), n_amortizer_steps=10``.
    - Taghvaei and Jalali [3]_: ``potential=ICNN(), conjugate_solver=AdamConjugate(),
      amortization=ObjectiveAmortization()``.
    - Amos [4]_: the defaults, or ``amortization=ObjectiveAmortization()``.
    - ENOT [5]_: ``amortization=ExpectileAmortization(), conjugate_solver=NoConjugate()``.

    Taghvaei and Jalali solve for the conjugates from scratch; here the amortizer gives the start.

    Networks see the samples in coordinates that keep inner products up to a factor: source rows
    times a matrix and target rows times its inverse, which changes no optimal map. Training is in
    float32; the fitted networks have the dtype of `X`.

    A potential that is not convex has a gradient all the same, but where it folds the inverse is
    one of several points: rows whose conjugate was not found are counted in a warning.

    References
    ----------
    .. [1] Korotin, A., Egiazarian, V., Asadulaev, A., Safin, A., Burnaev, E. (2021).
       Wasserstein-2 generative networks. ICLR.
    .. [2] Makkuva, A., Taghvaei, A., Oh, S., Lee, J. (2020). Optimal transport mapping via input
       convex neural networks. ICML.
    .. [3] Taghvaei, A., Jalali, A. (2019). 2-Wasserstein approximation via restricted convex
       potentials with application to improved training for GANs. arXiv:1902.07197.
    .. [4] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR,
       Algorithm 1.
    .. [5] Buzun, N., Bobrin, M., Dylov, D. (2024). Expectile regularization for fast and
       accurate training of neural optimal transport. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from skot import W2GNTransport
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(200, 2))
    >>> transport = W2GNTransport(max_iter=20, random_state=0).fit(X, 2.0 * X + 1.0)
    >>> bool(np.abs(transport.transform(X) - (2.0 * X + 1.0)).mean() < 0.2)
    True
    """

    __metadata_request__partial_fit: ClassVar[dict] = {"sample_domain": True}

    _parameter_constraints: ClassVar[dict] = {
        "potential": [HasMethods("build"), None],
        "amortizer": [HasMethods("build"), None],
        "amortization": [Amortization, None],
        "conjugate_solver": [HasMethods("solve"), None],
        "optimizer": [Optimizer, None],
        "averaging": [ExponentialMovingAverage, None],
        "stopping": [Stopping, None],
        "checkpoint": [Checkpoint, None],
        "preconditioning": [StrOptions({"gaussian", "identity"})],
        "reference": [StrOptions(set(REFERENCES))],
        "n_amortizer_steps": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "device": [str, torch.device, None],
        "verbose": ["verbose"],
    }
    _default_components: ClassVar[dict] = {
        "potential": MLPPotential,
        "amortizer": MLPMap,
        "amortization": RegressionAmortization,
        "conjugate_solver": LBFGSConjugate,
        "optimizer": Adam,
    }

    def __init__(
        self,
        potential=None,
        *,
        amortizer=None,
        amortization=None,
        conjugate_solver=None,
        optimizer=None,
        averaging=None,
        stopping=None,
        checkpoint=None,
        preconditioning="gaussian",
        reference="normal",
        n_amortizer_steps=1,
        max_iter=1000,
        batch_size=1024,
        warm_start=False,
        random_state=None,
        device=None,
        verbose=False,
    ):
        self.potential = potential
        self.amortizer = amortizer
        self.amortization = amortization
        self.conjugate_solver = conjugate_solver
        self.optimizer = optimizer
        self.averaging = averaging
        self.stopping = stopping
        self.checkpoint = checkpoint
        self.preconditioning = preconditioning
        self.reference = reference
        self.n_amortizer_steps = n_amortizer_steps
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> Self:
        """Train the potential and the amortizer.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_target, n_features) or (n_rows,), default=None
            Two-dimensional: the target sample. One-dimensional labels are ignored. Without target
            rows the target is the reference distribution.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        self : W2GNTransport
            The fitted transport.

        Raises
        ------
        ValueError
            For bad input, and for components that do not fit together.
        FloatingPointError
            If the loss is not finite from the first step on.

        Warns
        -----
        ConvergenceWarning
            If `stopping` waits for convergence in vain, or if the loss ceases to be finite; the
            last finite state is kept then.
        """
        going_on = self.warm_start and hasattr(self, "_state")
        split = split_domains(self, X, y, sample_domain, reset=not going_on, training=True)
        self._resolve_components()
        generator = check_generator(self.random_state)
        source, target = self._read_both(X, split, generator)
        if going_on:
            state = self._state
            state.updaters, state.averages = self._updates(state.modules, self.max_iter)
        else:
            self._start(source, target, generator, max_iter=self.max_iter)
        with iteration_hook(
            self, self.max_iter, X=X, y=y, fitted_attributes=self._fitted_attributes
        ) as on_iteration:
            # A file holds one run: training that goes on is another.
            checkpoint = None if going_on else self.checkpoint
            result = self._train(
                source,
                target,
                max_iter=self.max_iter,
                stopping=self.stopping,
                checkpoint=checkpoint,
                on_iteration=on_iteration,
            )
            self._store(source, target, result)
        self._warn_if_not_converged(result, stacklevel=6)  # past the decorators of fit
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> Self:
        """Train on one pass over the given rows, from where training stands.

        For streams: every call may bring fresh rows. The first call fixes the centring and the
        scale. The schedule of the optimizer has no planned end here; a
        :class:`~skot.training.CosineSchedule` decays in a stream if it has a length of its own.
        `stopping` and `checkpoint` are not used: a pickle of the estimator goes on where it was.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_target, n_features) or (n_rows,), default=None
            Two-dimensional: target rows. Without target rows the target is the reference.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        self : W2GNTransport
            The transport, usable after every call.

        Raises
        ------
        ValueError
            For bad input, and for components that do not fit together.
        """
        going_on = hasattr(self, "_state")
        split = split_domains(self, X, y, sample_domain, reset=not going_on, training=True)
        self._resolve_components()
        # A state of this class has a generator.
        own = cast(torch.Generator, self._state.generator) if going_on else None
        generator = own or check_generator(self.random_state)
        source, target = self._read_both(X, split, generator)
        if not going_on:
            self._start(source, target, generator, max_iter=None)
        for updater in self._state.updaters.values():
            if updater.max_iter is not None:  # a fit before had an end, which a stream has not
                updater.restart_schedule(None)
        n_rows = max(len(source), 0 if target is None else len(target))
        n_steps = math.ceil(n_rows / self.batch_size)
        result = self._train(source, target, max_iter=n_steps)
        self._store(source, target, result)
        self._warn_if_not_converged(result, stacklevel=4)
        return self

    @property
    def wasserstein_distance_(self) -> float:
        """2-Wasserstein distance by the dual value on training rows; solved for on demand."""
        check_is_fitted(self)
        # W2^2 = tr S_x + tr S_y + |m_x - m_y|^2 - 2 k (E phi(x) + E phi*(y)) in the frame.
        frame, (x, y) = self._frame, self._value_rows
        rows = (frame.source_rows(x).to(self._dtype), frame.target_rows(y).to(self._dtype))
        loss = dual_value(self._modules, *rows, self.conjugate_solver_)
        squared = (x - frame.source_mean).square().sum(dim=1).mean()
        squared += (y - frame.target_mean).square().sum(dim=1).mean()
        squared += (frame.source_mean - frame.target_mean).square().sum()
        return math.sqrt(max(float(squared) - 2.0 * frame.scale * loss, 0.0))

    def score_samples(self, X: Any) -> np.ndarray:
        r"""Log-density of rows under the flow from the source to the reference.

        .. math:: \log p(x) = \log r(\nabla f(x)) + \log |\det \nabla^2 f(x)|

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_rows,)
            Natural logarithm. Exact for up to 64 features; beyond, the determinant is a
            stochastic estimate with fixed probes. Time O(n_rows * n_features) gradients.

        Raises
        ------
        ValueError
            If the transport was fitted with a target sample, whose density is not known.

        Notes
        -----
        The density integrates to one if f is convex, as with :class:`~skot.networks.ICNN`. Another
        potential may fold away from the data, and counts such places twice.
        """
        check_is_fitted(self)
        split = split_domains(self, X, reset=False)
        self._check_flow("score_samples")
        x = self._to_compute(split.X_source)
        frame = self.potential_.frame
        log_determinant = hessian_log_determinant(
            self._modules["potential"], frame.source_rows(x), generator=check_generator(0)
        )
        # The Hessian of f is k P H P, with H that of the learned potential.
        linear = frame.scale * frame.source_matrix @ frame.source_matrix
        log_reference = reference_log_density(self.reference, self._map(x, None))
        log_density = log_reference + log_determinant + torch.linalg.slogdet(linear)[1]
        if isinstance(X, Tensor):
            return log_density.to(device=X.device, dtype=split.X_source.dtype)
        return log_density.cpu().numpy().astype(split.dtype, copy=False)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        r"""Draw from the flow: :math:`\nabla f^*` of draws from the reference.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seeds the draws from the reference.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows like those of the source.

        Raises
        ------
        ValueError
            If the transport was fitted with a target sample.
        """
        check_is_fitted(self)
        self._check_flow("sample")
        generator = check_generator(random_state)
        rows = draw_reference(self.reference, n_samples, self.n_features_in_, generator)
        return self._inverse_map(self._to_compute(rows)).cpu().numpy()

    # Fitting

    def _resolve_components(self) -> None:
        self.conjugate_solver_ = check_component(
            self.conjugate_solver, default=LBFGSConjugate, kind="solve", name="conjugate_solver"
        )
        self.amortization_ = check_component(
            self.amortization,
            default=RegressionAmortization,
            kind=Amortization,
            name="amortization",
        )
        self.amortization_.check_solver(self.conjugate_solver_)
        self.optimizer_ = check_component(
            self.optimizer, default=_default_optimizer, kind=Optimizer, name="optimizer"
        )
        self._architectures = {
            "potential": check_component(
                self.potential, default=MLPPotential, kind="build", name="potential"
            ),
            "amortizer": check_component(
                self.amortizer, default=MLPMap, kind="build", name="amortizer"
            ),
        }
        for name, kind in _OPTIONAL_COMPONENTS.items():
            component = getattr(self, name)
            if component is not None:
                check_component(component, default=None, kind=kind, name=name)

    def _read_both(
        self, X: Any, split: DomainSplit, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Points of both sides in float64; None for a target that is the reference."""
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        source, target = self._read_samples(X, split, self.reference, seed)
        self._flow = split.X_target is None
        self._dtype = resolve_dtype(split.X_source)
        return source.points, None if self._flow else target.points

    def _start(
        self,
        source: Tensor,
        target: Tensor | None,
        generator: torch.Generator,
        *,
        max_iter: int | None,
    ) -> None:
        """Fix the coordinates, draw the networks, and set up what training changes."""
        target = self._target_measure.points if target is None else target
        frame = LinearFrame.of(source, target, self.preconditioning)
        modules = build_modules(**self._architectures, frame=frame, generator=generator)
        state = TrainingState(modules, *self._updates(modules, max_iter), generator)
        # Both at once: networks of one fit mean nothing in the coordinates of another.
        self._frame, self._state = frame, state

    def _updates(self, modules: dict[str, nn.Module], max_iter: int | None) -> tuple[dict, dict]:
        return build_updates(
            modules,
            self.optimizer_,
            self.averaging,
            max_iter=max_iter,
            n_amortizer_steps=self.n_amortizer_steps,
        )

    def _train(
        self,
        source: Tensor,
        target: Tensor | None,
        *,
        max_iter: int,
        stopping: Stopping | None = None,
        checkpoint: Checkpoint | None = None,
        on_iteration: Callable | None = None,
    ) -> TrainingResult:
        training = DualTraining(
            self._state,
            self._frame,
            self.conjugate_solver_,
            self.amortization_,
            batch_size=self.batch_size,
            n_amortizer_steps=self.n_amortizer_steps,
        )
        params = self.get_params(deep=False)
        for name in ("checkpoint", "verbose", "device"):
            del params[name]
        return training.run(
            source,
            self._target_measure.points if target is None else target,
            reference=self.reference if target is None else None,
            max_iter=max_iter,
            stopping=stopping,
            checkpoint=checkpoint,
            params=params,
            on_iteration=on_iteration,
        )

    def _store(self, source: Tensor, target: Tensor | None, result: TrainingResult) -> None:
        for name, value in self._fitted_attributes(self._state).items():
            setattr(self, name, value)
        self.converged_ = result.converged is not False and result.diverged_at is None
        target = self._target_measure.points if target is None else target
        self._value_rows = (some_rows(source), some_rows(target))

    def _fitted_attributes(self, state: TrainingState) -> dict[str, Any]:
        """What a fitted transport has, as training stands."""
        modules = {name: module.to(self._dtype) for name, module in state.final_modules().items()}
        return {
            "_modules": modules,
            "potential_": BrenierPotential(modules["potential"], self._frame.to(self._dtype)),
            "loss_curve_": list(state.loss_curve),
            "n_iter_": state.iteration,
        }

    def _warn_if_not_converged(self, result: TrainingResult, stacklevel: int) -> None:
        # Who stops training by a callback or the keyboard knows that it has not converged.
        if self.converged_ or result.stop_reason in ("callback", "interrupted"):
            return
        if result.diverged_at is not None:
            message = (
                f"the loss was not finite at iteration {result.diverged_at}, and the last finite "
                "state is kept. Lower the learning rate of the optimizer, or pass a conjugate "
                "solver that refines the predictions."
            )
        else:
            message = (
                f"the held-out loss was still falling after {result.n_iter} iterations. Increase "
                "max_iter, or the tol of the stopping component."
            )
        warnings.warn(
            f"W2GNTransport did not converge: {message}",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )

    # Inference

    @property
    def _device(self) -> torch.device:
        return self.potential_.frame.source_mean.device

    def _map(self, x: Tensor, labels: np.ndarray | None) -> Tensor:
        return self.potential_.gradient(x)

    def _inverse_map(self, y: Tensor) -> Tensor:
        frame, potential = self.potential_.frame, self._modules["potential"]
        solver, amortizer = self.conjugate_solver_, self._modules["amortizer"]
        source_rows, n_failed = torch.empty_like(y.to(frame.target_mean)), 0
        for tile in row_tiles(len(y), NETWORK_WIDTH):
            rows = frame.target_rows(y[tile])
            with torch.no_grad():
                result = solver.solve(potential, rows, amortizer(rows))
            source_rows[tile] = frame.source_rows_back(result.argument)
            n_failed += int((~result.converged).sum())
        if n_failed:
            warnings.warn(
                f"The conjugates of {n_failed} of {len(y)} rows were not found to the tolerance of "
                f"{type(solver).__name__}: their inverse is approximate. Increase "
                "its max_iter, or train longer.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return source_rows

    def _check_flow(self, method: str) -> None:
        if not self._flow:
            raise ValueError(
                f"{method} needs a target of known density, but this W2GNTransport was fitted "
                "with a target sample. Fit it on X alone: the target is then the reference."
            )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "potential_")

    def __getstate__(self):
        # A pickle made after a fit on an accelerator must load on a machine without one.
        state = super().__getstate__()
        if "potential_" not in state or self._device.type == "cpu":
            return state
        modules = {name: copy.deepcopy(m).cpu() for name, m in self._modules.items()}
        potential = BrenierPotential(modules["potential"], self.potential_.frame.cpu())
        own = {
            "_modules": modules,
            "potential_": potential,
            "_frame": self._frame.cpu(),
            "_value_rows": tuple(rows.cpu() for rows in self._value_rows),
        }
        return {**state, **own}


_OPTIONAL_COMPONENTS = {
    "averaging": ExponentialMovingAverage,
    "stopping": Stopping,
    "checkpoint": Checkpoint,
}
