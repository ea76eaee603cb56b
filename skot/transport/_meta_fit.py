"""How a regressor of potentials is fitted: rows are read, the network is built and trained."""

import copy
import math
from numbers import Real
from typing import Any, ClassVar, Self, cast

import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import validate_data
from torch import Generator, Tensor

from skot.base import ComponentParamsMixin, check_component
from skot.costs import GridCost
from skot.networks import DualMLP, DualUNet
from skot.solvers import SemiDual
from skot.training import Adam, CosineSchedule, Optimizer, TrainingResult, TrainingState
from skot.transport._dual_coordinates import DualCoordinates, PlainCoordinates
from skot.transport._histograms import (
    check_histograms,
    check_supported_cost,
    check_width,
    part_histograms,
    support_sizes,
)
from skot.transport._meta_training import (
    NETWORK,
    BatchLoss,
    DualObjective,
    PlainRegression,
    PotentialRegression,
    run_training,
)
from skot.transport._neural_fit import NeuralFitMixin
from skot.transport._two_sample_training import build_updates
from skot.utils._callbacks import CallbackSupportMixin, iteration_hook, with_callbacks
from skot.utils._points import FLOATS, check_points
from skot.utils._sklearn import HasMethods, Interval, fit_context
from skot.utils.random import check_generator
from skot.utils.tensors import resolve_device, resolve_dtype, to_tensor

#: Sides of a grid from which a network of images is the default.
_IMAGE_SIDE = 8


class BaseMetaRegressor(
    CallbackSupportMixin,
    NeuralFitMixin,
    ComponentParamsMixin,
    MultiOutputMixin,
    RegressorMixin,
    BaseEstimator,
):
    """The training half of :class:`MetaOTRegressor`."""

    _parameter_constraints: ClassVar[dict] = {
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "network": [HasMethods("build"), None],
        **NeuralFitMixin._fit_constraints,
    }
    _default_components: ClassVar[dict] = {"network": DualMLP, "optimizer": Adam}
    _divergence_advice = "Lower the learning rate of the optimizer."

    cost: Any
    epsilon: float
    network: Any
    max_iter: int
    batch_size: int
    warm_start: bool
    random_state: Any
    device: Any
    n_features_in_: int
    _modules: dict

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.cost is None
        tags.input_tags.positive_only = self.cost is not None
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_problems, n + m)
            Rows of source and target weights, not negative; with ``cost=None``, any rows.
        y : array-like of shape (n_problems, n), default=None
            Known source potentials. None trains on the dual objective, which needs a cost.

        Returns
        -------
        self : object
            The fitted regressor.

        Raises
        ------
        ValueError
            For bad input: rows of another width than the supports, negative or all-zero weights,
            no `y` where there is no cost.
        FloatingPointError
            If the loss is not finite from the first step on.

        Warns
        -----
        ConvergenceWarning
            If `stopping` waits for convergence in vain, or if the loss ceases to be finite.
        """
        with self._unchanged_by_failure():
            result = self._fit(X, y)
        self._warn_if_not_converged(result, stacklevel=6)  # past the decorators of fit
        return self

    def _fit(self, X: Any, y: Any) -> TrainingResult:
        going_on = self.warm_start and hasattr(self, "_state")
        rows = self._read(X, y, reset=not going_on)
        generator = check_generator(self.random_state)
        if going_on:
            state = self._state
            state.updaters, state.averages = self._updates(state.modules, self.max_iter)
        else:
            self._start(rows, generator, max_iter=self.max_iter)
        with iteration_hook(
            self, self.max_iter, X=X, y=y, fitted_attributes=self._fitted_attributes
        ) as on_iteration:
            result = run_training(
                self._state,
                self._loss(),
                rows,
                batch_size=self.batch_size,
                max_iter=self.max_iter,
                stopping=self.stopping,
                checkpoint=None if going_on else self.checkpoint,
                params=self._identity(),
                on_iteration=on_iteration,
            )
            self._store(result)
        return result

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Train on one pass over the given rows, from where training stands.

        For streams: every call may bring fresh problems. The first call fixes centring and scale.
        `stopping` and `checkpoint` are not used, and a schedule without a length of its own does
        not decay.

        Parameters
        ----------
        X : array-like of shape (n_problems, n + m)
            Rows of source and target weights.
        y : array-like of shape (n_problems, n), default=None
            Known source potentials.

        Returns
        -------
        self : object
            The regressor, usable after every call.

        Raises
        ------
        ValueError
            For bad input, as ``fit``.
        """
        with self._unchanged_by_failure():
            going_on = hasattr(self, "_state")
            rows = self._read(X, y, reset=not going_on)
            if not going_on:
                self._start(rows, check_generator(self.random_state), max_iter=None)
            updater = self._state.updaters[NETWORK]
            if updater.max_iter is not None:  # a fit before had an end, which a stream has not
                updater.restart_schedule(None)
            n_steps = math.ceil(len(rows) / self.batch_size)
            result = run_training(
                self._state, self._loss(), rows, batch_size=self.batch_size, max_iter=n_steps
            )
            self._store(result)
        self._warn_if_not_converged(result, stacklevel=4)
        return self

    def _read(self, X: Any, y: Any, *, reset: bool) -> Tensor:
        """Rows [X, y] to train on, after all checks; in float32 where a network reads them."""
        self.cost_ = check_supported_cost(self.cost)
        self._resolve_training_components()
        if y is None and self.cost_ is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None. With a cost it learns without y."
            )
        X, y = self._validate(X, y, reset=reset)
        self._dtype = resolve_dtype(X)
        device = resolve_device(self.device, like=X)
        rows = to_tensor(X, dtype=torch.float64, device=device)
        if self.cost_ is not None:
            self._check_rows(rows)
        self._regresses = y is not None
        if y is None:
            return rows.float()
        labels = to_tensor(y, dtype=torch.float64, device=device)
        self._y_ndim = labels.ndim
        labels = labels.reshape(len(labels), -1)
        n_outputs = self._n_outputs(labels.shape[1], reset)
        if labels.shape[1] != n_outputs:
            raise ValueError(
                f"y has {labels.shape[1]} outputs, but {type(self).__name__} is expecting "
                f"{n_outputs}."
            )
        rows = torch.cat([rows, labels], 1)
        return rows if self.cost_ is None else rows.float()

    def _validate(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        if isinstance(X, Tensor):
            X = check_points(X, estimator=self)
            X = validate_data(self, X, reset=reset, skip_check_array=True)
            y = y if y is None else check_points(y.reshape(len(y), -1), estimator=self, name="y")
            if y is not None and len(y) != len(X):
                raise ValueError(f"X has {len(X)} rows, but y has {len(y)} rows.")
            return X, y
        if y is None:
            return validate_data(self, X, reset=reset, dtype=FLOATS), None
        return validate_data(
            self, X, y, reset=reset, dtype=FLOATS, multi_output=True, y_numeric=True
        )

    def _check_rows(self, rows: Tensor) -> None:
        check_width(self.cost_, rows.shape[1], type(self).__name__)
        check_histograms(rows, support_sizes(self.cost_)[0])

    def _n_outputs(self, n_labels: int, reset: bool) -> int:
        if self.cost_ is not None:
            return support_sizes(self.cost_)[0]
        return n_labels if reset else len(cast(PlainCoordinates, self._coordinates).target_mean)

    def _start(self, rows: Tensor, generator: Generator, *, max_iter: int | None) -> None:
        """Fix the coordinates, draw the network, and set up what training changes."""
        n_inputs: int = self.n_features_in_
        coordinates: DualCoordinates | PlainCoordinates
        if self.cost_ is None:
            coordinates = PlainCoordinates.of(rows[:, :n_inputs], rows[:, n_inputs:])
            n_outputs = rows.shape[1] - n_inputs
        else:
            n_outputs = support_sizes(self.cost_)[0]
            a, b = part_histograms(rows[:, :n_inputs], n_outputs)
            coordinates = DualCoordinates.of(self.cost_, self.epsilon, a, b)
        self.network_ = check_component(
            self.network, default=self._default_network, kind="build", name="network"
        )
        network = self.network_.build(coordinates.n_inputs, n_outputs, generator=generator)
        modules = {NETWORK: network.to(rows.device, torch.float32)}
        state = TrainingState(modules, *self._updates(modules, max_iter), generator)
        # Both at once: a network means nothing in the coordinates of another fit.
        self._coordinates, self._state = coordinates, state

    def _default_network(self) -> Any:
        cost = self.cost_
        if isinstance(cost, GridCost) and len(cost.shape) == 2 and min(cost.shape) >= _IMAGE_SIDE:
            return DualUNet(tuple(cost.shape))
        return DualMLP()

    @staticmethod
    def _default_optimizer() -> Optimizer:
        return Adam(lr=1e-3, max_grad_norm=1.0, schedule=CosineSchedule())

    def _updates(self, modules: dict, max_iter: int | None) -> tuple[dict, dict]:
        return build_updates(
            modules, self.optimizer_, self.averaging, max_iter=max_iter, n_updates={NETWORK: 1}
        )

    def _loss(self) -> BatchLoss:
        if isinstance(self._coordinates, PlainCoordinates):
            return PlainRegression(self._coordinates.to(self._compute_device))
        n_source = support_sizes(self.cost_)[0]
        coordinates = self._coordinates.to(self._compute_device)
        if self._regresses:
            return PotentialRegression(coordinates, n_source, self.n_features_in_)
        return DualObjective(coordinates, self._semi_dual(torch.float32), n_source)

    def _semi_dual(self, dtype: torch.dtype = torch.float64) -> SemiDual:
        return SemiDual(self.cost_, self.epsilon, dtype=dtype, device=self._compute_device)

    def _identity(self) -> dict[str, Any]:
        """What tells a checkpoint which fit it belongs to."""
        params = self.get_params(deep=False)
        for name in ("checkpoint", "verbose", "device"):
            del params[name]
        return params

    def _store(self, result: TrainingResult) -> None:
        for name, value in self._fitted_attributes(self._state).items():
            setattr(self, name, value)
        self.converged_ = result.converged is not False and result.diverged_at is None

    def _fitted_attributes(self, state: TrainingState) -> dict[str, Any]:
        """What a fitted regressor has, as training stands."""
        return {
            "_modules": {name: m.to(self._dtype) for name, m in state.final_modules().items()},
            "loss_curve_": list(state.loss_curve),
            "n_iter_": state.iteration,
        }

    @property
    def _compute_device(self) -> torch.device:
        return next(self._state.modules[NETWORK].parameters()).device

    def __getstate__(self):
        # A pickle made after a fit on an accelerator must load on a machine without one.
        state = super().__getstate__()
        if "_modules" not in state or self._compute_device.type == "cpu":
            return state
        modules = {name: copy.deepcopy(module).cpu() for name, module in self._modules.items()}
        return {**state, "_modules": modules, "_coordinates": self._coordinates.to("cpu")}
