"""What the neural transports share: how they are fitted, streamed to, stored and pickled."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self, cast

import torch
from torch import Generator, Tensor, nn

from skot.measures import REFERENCES
from skot.training import (
    Checkpoint,
    Stopping,
    TrainingResult,
    TrainingState,
)
from skot.transport._base import BaseTransport
from skot.transport._neural.fit import NeuralFitMixin
from skot.transport._neural.two_sample_training import TwoSampleTraining, build_updates, some_rows
from skot.utils._callbacks import CallbackSupportMixin, iteration_hook, with_callbacks
from skot.utils._sklearn import StrOptions, fit_context
from skot.utils.random import check_generator
from skot.utils.tensors import resolve_dtype
from skot.utils.validation import DomainSplit, split_domains


class BaseNeuralTransport(CallbackSupportMixin, NeuralFitMixin, BaseTransport):
    """Base class of transports that train networks on batches of two samples.

    A subclass resolves its components, builds its modules, says how often each of them is updated
    in an iteration, and gives the training; this class does the rest of ``fit`` and
    ``partial_fit``.
    """

    __metadata_request__partial_fit: ClassVar[dict] = {"sample_domain": True}

    _training_constraints: ClassVar[dict] = {
        **NeuralFitMixin._fit_constraints,
        "preconditioning": [StrOptions({"gaussian", "identity"})],
        "reference": [StrOptions(set(REFERENCES))],
    }

    reference: str
    max_iter: int
    batch_size: int
    warm_start: bool
    random_state: Any

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> Self:
        """Train the networks.

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
        self : object
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
        with self._unchanged_by_failure():
            result = self._fit(X, y, sample_domain)
        self._warn_if_not_converged(result, stacklevel=6)  # past the decorators of fit
        return self

    def _fit(self, X: Any, y: Any, sample_domain: Any) -> TrainingResult:
        going_on = self.warm_start and hasattr(self, "_state")
        split = split_domains(self, X, y, sample_domain, reset=not going_on, training=True)
        self._resolve_components()
        generator = check_generator(self.random_state)
        source, target = self._read_both(X, split, generator)
        if going_on:
            self._check_going_on()
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
        return result

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
        self : object
            The transport, usable after every call.

        Raises
        ------
        ValueError
            For bad input, and for components that do not fit together.
        """
        with self._unchanged_by_failure():
            result = self._partial_fit(X, y, sample_domain)
        self._warn_if_not_converged(result, stacklevel=4)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_domain: Any) -> TrainingResult:
        going_on = hasattr(self, "_state")
        split = split_domains(self, X, y, sample_domain, reset=not going_on, training=True)
        self._resolve_components()
        # A state of this class has a generator.
        own = cast(torch.Generator, self._state.generator) if going_on else None
        generator = own or check_generator(self.random_state)
        source, target = self._read_both(X, split, generator)
        if going_on:
            self._check_going_on()
        else:
            self._start(source, target, generator, max_iter=None)
        for updater in self._state.updaters.values():
            if updater.max_iter is not None:  # a fit before had an end, which a stream has not
                updater.restart_schedule(None)
        n_rows = max(len(source), 0 if target is None else len(target))
        n_steps = math.ceil(n_rows / self.batch_size)
        result = self._train(source, target, max_iter=n_steps)
        self._store(source, target, result)
        return result

    # For subclasses

    @abstractmethod
    def _resolve_components(self) -> None:
        """Validate the components and store the clones that are used."""

    def _check_going_on(self) -> None:
        """Raise if training cannot go on from the fit before."""

    @abstractmethod
    def _set_up(
        self, source: Tensor, target: Tensor, generator: Generator
    ) -> tuple[Any, dict[str, nn.Module]]:
        """Choose the coordinates in which the networks see the rows, and draw the networks.

        They are on the device of the frame and in float32.
        """

    @abstractmethod
    def _updates_per_iteration(self) -> dict[str, int]:
        """How often each network is updated in an iteration."""

    @abstractmethod
    def _training(self) -> TwoSampleTraining:
        """Return what trains the networks of the state."""

    @abstractmethod
    def _attributes_of(self, modules: dict[str, nn.Module], frame: Any) -> dict[str, Any]:
        """Fitted attributes that are made of the networks; `frame` is of their dtype."""

    # Fitting

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
        frame, modules = self._set_up(source, target, generator)
        state = TrainingState(modules, *self._updates(modules, max_iter), generator)
        # Both at once: networks of one fit mean nothing in the coordinates of another.
        self._frame, self._state = frame, state

    def _updates(self, modules: dict[str, nn.Module], max_iter: int | None) -> tuple[dict, dict]:
        return build_updates(
            modules,
            self.optimizer_,
            self.averaging,
            max_iter=max_iter,
            n_updates=self._updates_per_iteration(),
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
        params = self.get_params(deep=False)
        for name in ("checkpoint", "verbose", "device"):
            del params[name]
        reference = self.reference if target is None else None
        target = self._target_measure.points if target is None else target
        return self._training().run(
            source,
            target,
            reference=reference,
            max_iter=max_iter,
            stopping=stopping,
            checkpoint=checkpoint,
            params=params,
            on_iteration=on_iteration,
        )

    def _store(self, source: Tensor, target: Tensor | None, result: TrainingResult) -> None:
        for name, value in self._fitted_attributes(self._state).items():
            setattr(self, name, value)
        self.converged_ = self._ended_well(result)
        target = self._target_measure.points if target is None else target
        self._value_rows = (some_rows(source), some_rows(target))

    def _fitted_attributes(self, state: TrainingState) -> dict[str, Any]:
        """What a fitted transport has, as training stands."""
        modules = {name: module.to(self._dtype) for name, module in state.final_modules().items()}
        return {
            "_modules": modules,
            "loss_curve_": list(state.loss_curve),
            "n_iter_": state.iteration,
            **self._attributes_of(modules, self._frame.to(self._dtype)),
        }

    @property
    def _device(self) -> torch.device:
        return self._frame.source_mean.device

    def __getstate__(self):
        # A pickle made after a fit on an accelerator must load on a machine without one.
        state = super().__getstate__()
        if "_modules" not in state or self._device.type == "cpu":
            return state
        frame = self._frame.cpu()
        modules = {name: copy.deepcopy(m).cpu() for name, m in self._modules.items()}
        own = {
            "_modules": modules,
            "_frame": frame,
            "_value_rows": tuple(rows.cpu() for rows in self._value_rows),
            **self._attributes_of(modules, frame.to(self._dtype)),
        }
        return {**state, **own}
