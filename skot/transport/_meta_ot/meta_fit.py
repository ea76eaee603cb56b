"""How a regressor of potentials comes by its network: trained on rows, or read from a file."""

import math
import os
from numbers import Real
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Generator, Tensor, nn

from skot.base import check_component
from skot.costs import GridCost
from skot.networks import DualMLP, DualUNet
from skot.solvers import SemiDual
from skot.training import Adam, CosineSchedule, Optimizer, TrainingResult, TrainingState
from skot.transport._meta_ot import files
from skot.transport._meta_ot.coordinates import DualCoordinates, PlainCoordinates
from skot.transport._meta_ot.problems import (
    check_histograms,
    check_supported_cost,
    check_width,
    cost_fingerprint,
    part_histograms,
    support_sizes,
)
from skot.transport._meta_ot.training import DualObjective, PlainRegression, PotentialRegression
from skot.transport._neural.fit import NeuralFitMixin
from skot.transport._neural.one_network import NETWORK, BatchLoss, OneNetworkFit
from skot.utils._callbacks import with_callbacks
from skot.utils._points import check_points, float_types
from skot.utils._sklearn import HasMethods, Interval, fit_context
from skot.utils.random import check_generator
from skot.utils.tensors import resolve_device, resolve_dtype, to_tensor

#: Sides of a grid from which a network of images is the default.
_IMAGE_SIDE = 8


class BaseMetaRegressor(OneNetworkFit, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """The half of :class:`MetaOTRegressor` that builds, trains, stores and loads networks."""

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
    device: Any
    n_features_in_: int

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
        return self._fit_network(X, y)

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
        return self._partial_fit_network(X, y)

    def _read(self, X: Any, y: Any, *, reset: bool) -> Tensor:
        """Rows [X, y] to train on, after all checks; in float32 where a network reads them."""
        cost = check_supported_cost(self.cost)
        if not reset:
            self._check_going_on(cost)
        self.cost_ = cost
        self._resolve_training_components()
        if y is None and self.cost_ is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None. With a cost it learns without y."
            )
        X, y = self._validate(X, y, reset=reset)
        self._dtype = resolve_dtype(X)
        device = resolve_device(self.device, like=X) if reset else self._compute_device
        rows = to_tensor(X, dtype=torch.float64, device=device)
        if self.cost_ is not None:
            self._check_rows(rows)
            # Before they are rounded to float32, whose range raw weights may leave.
            rows = torch.cat(part_histograms(rows, support_sizes(self.cost_)[0]), 1)
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
            if y is None:
                return X, None
            y = y if isinstance(y, Tensor) else torch.as_tensor(np.asarray(y))
            checked = check_points(y.reshape(len(y), -1), estimator=self, name="y")
            if len(y) != len(X):
                raise ValueError(f"X has {len(X)} rows, but y has {len(y)} rows.")
            return X, checked.reshape(y.shape)
        if y is None:
            return validate_data(self, X, reset=reset, dtype=float_types(X)), None
        return validate_data(
            self, X, y, reset=reset, dtype=float_types(X), multi_output=True, y_numeric=True
        )

    def _check_going_on(self, cost: Any) -> None:
        """Raise if training cannot go on: a network means nothing for another problem."""
        same = _digest(cost) == self._cost_digest
        if not same or (cost is not None and not math.isclose(self.epsilon, self.epsilon_)):
            raise ValueError(
                f"This {type(self).__name__} was fitted for cost={self.cost_!r} and "
                f"epsilon={self.epsilon_:g}: training can only go on with them. Fit anew, with "
                "warm_start=False."
            )

    def _check_rows(self, rows: Tensor) -> None:
        check_width(self.cost_, rows.shape[1], type(self).__name__)
        check_histograms(rows, support_sizes(self.cost_)[0])

    def _n_outputs(self, n_labels: int, reset: bool) -> int:
        if self.cost_ is not None:
            return support_sizes(self.cost_)[0]
        return n_labels if reset else len(cast(PlainCoordinates, self._coordinates).target_mean)

    def _start(self, data: Tensor, generator: Generator, *, max_iter: int | None) -> None:
        """Fix the coordinates, draw the network, and set up what training changes."""
        rows = data
        n_inputs: int = self.n_features_in_
        coordinates: DualCoordinates | PlainCoordinates
        if self.cost_ is None:
            coordinates = PlainCoordinates.of(rows[:, :n_inputs], rows[:, n_inputs:])
            n_outputs = rows.shape[1] - n_inputs
        else:
            n_outputs = support_sizes(self.cost_)[0]
            a, b = part_histograms(rows[:, :n_inputs], n_outputs)
            coordinates = DualCoordinates.of(self.cost_, self.epsilon, a, b)
        network = self._build_network(coordinates.n_inputs, n_outputs, generator)
        modules = {NETWORK: network.to(rows.device, torch.float32)}
        state = TrainingState(modules, *self._updates(modules, max_iter), generator)
        # All at once: a network means nothing in the coordinates of another fit.
        self._coordinates, self._state = coordinates, state
        self.epsilon_, self._cost_digest = float(self.epsilon), _digest(self.cost_)

    def _build_network(self, n_inputs: int, n_outputs: int, generator: Generator) -> nn.Module:
        self.network_ = check_component(
            self.network, default=self._default_network, kind="build", name="network"
        )
        return self.network_.build(n_inputs, n_outputs, generator=generator)

    def _default_network(self) -> Any:
        cost = self.cost_
        if isinstance(cost, GridCost) and len(cost.shape) == 2 and min(cost.shape) >= _IMAGE_SIDE:
            return DualUNet(tuple(cost.shape))
        return DualMLP()

    @staticmethod
    def _default_optimizer() -> Optimizer:
        return Adam(lr=1e-3, max_grad_norm=1.0, schedule=CosineSchedule())

    def _batches(self, data: Tensor) -> tuple[BatchLoss, Tensor]:
        return self._loss(), data

    def _loss(self) -> BatchLoss:
        if isinstance(self._coordinates, PlainCoordinates):
            return PlainRegression(self._coordinates.to(self._compute_device))
        n_source = support_sizes(self.cost_)[0]
        coordinates = self._coordinates.to(self._compute_device)
        if self._regresses:
            return PotentialRegression(coordinates, n_source, self.n_features_in_)
        return DualObjective(coordinates, self._semi_dual(torch.float32), n_source)

    def _semi_dual(self, dtype: torch.dtype = torch.float64) -> SemiDual:
        return SemiDual(self.cost_, self.epsilon_, dtype=dtype, device=self._compute_device)

    def _fitted_attributes(self, state: TrainingState) -> dict[str, Any]:
        attributes = super()._fitted_attributes(state)
        modules = {name: m.to(self._dtype) for name, m in attributes["_modules"].items()}
        return {**attributes, "_modules": modules}

    def _on_the_cpu(self) -> dict[str, Any]:
        return {**super()._on_the_cpu(), "_coordinates": self._coordinates.to("cpu")}

    @property
    def _compute_device(self) -> torch.device:
        return next(self._state.modules[NETWORK].parameters()).device

    # Files

    def save(self, path: str | os.PathLike) -> None:
        """Write the fitted network to a file, with a digest of the cost it belongs to.

        Parameters
        ----------
        path : str or path-like
            The file; it is read back by :meth:`load`, without unpickling anything.

        Raises
        ------
        ValueError
            Without a cost: pickle the estimator instead.
        """
        check_is_fitted(self)
        if self.cost_ is None:
            raise ValueError("save needs a cost; a MetaOTRegressor without one can be pickled.")
        coordinates = cast(DualCoordinates, self._coordinates)
        files.write(path, self.cost_, coordinates, self._modules[NETWORK])

    def load(self, path: str | os.PathLike) -> Self:
        """Become the fitted regressor that was saved, of the same cost, epsilon and network.

        Parameters
        ----------
        path : str or path-like
            A file written by :meth:`save`.

        Returns
        -------
        self : object
            Fitted; ``partial_fit`` goes on with a new optimizer.

        Raises
        ------
        ValueError
            If the file was made for another cost, other supports, another epsilon or another
            network, or by something else.
        """
        with self._unchanged_by_failure():
            self.cost_ = check_supported_cost(self.cost)
            self._resolve_training_components()
            coordinates, weights = files.read(path, self.cost_, self.epsilon)
            self.epsilon_ = coordinates.epsilon
            self._cost_digest = cost_fingerprint(self.cost_)
            # Names of columns belong to another fit.
            self.__dict__.pop("feature_names_in_", None)
            n_source, n_target = support_sizes(self.cost_)
            generator = check_generator(self.random_state)
            network = self._build_network(coordinates.n_inputs, n_source, generator)
            self._dtype = files.fill(network, weights, path)
            device = resolve_device(self.device)
            modules = {NETWORK: network.to(device, torch.float32)}
            self._coordinates = coordinates
            self._state = TrainingState(modules, *self._updates(modules, None), generator)
            self.n_features_in_, self._regresses = n_source + n_target, False
            self._store(TrainingResult(0, None, "max_iter", (), None))
        return self


def _digest(cost: Any) -> str | None:
    return None if cost is None else cost_fingerprint(cost)
