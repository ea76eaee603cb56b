"""The fit of every estimator that trains networks: resolve, validate, build, run, store."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, ClassVar, Protocol, Self, cast

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Generator

from skot.base import ComponentParamsMixin, check_component
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
from skot.transport._neural.method import Learned, Method, changed_choices
from skot.utils._callbacks import CallbackSupportMixin, iteration_hook
from skot.utils._sklearn import Interval
from skot.utils._warnings import warn_user
from skot.utils.random import check_generator

#: Ends of training that its user has chosen.
_BROKEN_OFF = ("callback", "interrupted")
_OPTIONAL_COMPONENTS = {
    "averaging": ExponentialMovingAverage,
    "stopping": Stopping,
    "checkpoint": Checkpoint,
}
#: What validation writes to an estimator.
_FEATURES = ("n_features_in_", "feature_names_in_")


class Data(Protocol):
    """What a method trains on."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the fitted networks."""

    @property
    def n_items(self) -> int:
        """What there is of the larger sample, or of all that batches are made of."""


class Read(Protocol):
    """Validates what ``fit`` was given: alone, or beside what the fit before has seen."""

    def __call__(self, method: Any, generator: Generator, *, reset: bool) -> Data:
        """Return the data."""


class NeuralFit(CallbackSupportMixin, ComponentParamsMixin):
    """How networks are fitted, streamed to, and gone on from.

    A fitted estimator holds what was learned in ``_learned``, a :class:`Learned` that is replaced
    when a fit has succeeded, and in ``_state`` what training changes, to go on from. A subclass
    says how it learns, :meth:`_method`, and reads its data.
    """

    max_iter: int
    batch_size: int
    random_state: Any
    averaging: Any
    stopping: Any
    checkpoint: Any
    optimizer: Any
    converged_: bool
    n_iter_: int
    _learned: Any
    _state: TrainingState

    _fit_constraints: ClassVar[dict] = {
        "optimizer": [Optimizer, None],
        "averaging": [ExponentialMovingAverage, None],
        "stopping": [Stopping, None],
        "checkpoint": [Checkpoint, None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "device": [str, torch.device, None],
        "verbose": ["verbose"],
    }
    #: What to do about a loss that is not finite.
    _divergence_advice: ClassVar[str]

    # For subclasses

    @abstractmethod
    def _method(self) -> Method:
        """Resolve the components: how networks are learned."""

    def _attributes(self, learned: Any) -> dict[str, Any]:
        """Public attributes that are made of what was learned."""
        return {}

    def _convergence_messages(self) -> list[str]:
        """What speaks against training that ended well, to be warned of."""
        return []

    def _failures(self) -> list[str]:
        """What failed besides training, to be warned of however that ended."""
        return []

    @staticmethod
    def _default_optimizer() -> Optimizer:
        return Adam(lr=5e-3, schedule=CosineSchedule())

    # The fit

    def _fit(self, read: Read, X: Any, y: Any) -> Self:
        """Train for `max_iter` iterations, from the start or from the fit before."""
        with self._features_of_success():
            carries_on = getattr(self, "warm_start", False) and hasattr(self, "_state")
            method = self._method()
            generator = check_generator(self.random_state)
            data = self._read_alike(method, read, generator, carries_on)
            if carries_on:
                learned, state = self._carry_on(method, data)
                state.updaters, state.averages = method.updates(state.modules, self.max_iter)
            else:
                learned, state = self._start(method, data, generator, self.max_iter)

            def attributes(state: TrainingState) -> dict[str, Any]:
                return self._fitted_attributes(method, learned, state, data)

            with iteration_hook(
                self, self.max_iter, X=X, y=y, fitted_attributes=attributes
            ) as on_iteration:
                result = method.train(
                    learned,
                    state,
                    data,
                    params=self._params(),
                    max_iter=self.max_iter,
                    stopping=self.stopping,
                    # A file holds one run: training that goes on is another.
                    checkpoint=None if carries_on else self.checkpoint,
                    on_iteration=on_iteration,
                )
                self._store(attributes(state), state, data, result)
        self._warn_if_not_converged(result)
        return self

    def _partial_fit(self, read: Read) -> Self:
        """Train on one pass over the rows, from where training stands."""
        with self._features_of_success():
            carries_on = hasattr(self, "_state")
            method = self._method()
            generator = self._state.generator if carries_on else check_generator(self.random_state)
            data = self._read_alike(method, read, cast(Generator, generator), carries_on)
            if carries_on:
                learned, state = self._carry_on(method, data)
            else:
                learned, state = self._start(method, data, cast(Generator, generator), None)
            for updater in state.updaters.values():
                if updater.max_iter is not None:  # a fit before had an end, a stream has not
                    updater.restart_schedule(None)
            n_steps = math.ceil(data.n_items / method.batch_size)
            result = method.train(learned, state, data, params=self._params(), max_iter=n_steps)
            attributes = self._fitted_attributes(method, learned, state, data)
            self._store(attributes, state, data, result)
        self._warn_if_not_converged(result)
        return self

    def _adopt(self, method: Method, learned: Learned, data: Any, generator: Generator) -> None:
        """Become fitted without training: what was learned comes from elsewhere."""
        state = TrainingState(learned.modules, *method.updates(learned.modules, None), generator)
        attributes = self._fitted_attributes(method, learned, state, data)
        self._store(attributes, state, data, TrainingResult(0, None, "adopted", (), None))

    def _params(self) -> dict[str, Any]:
        return cast(Any, self).get_params(deep=False)

    def _read_alike(
        self, method: Method, read: Read, generator: Generator, carries_on: bool
    ) -> Any:
        """Read data for networks that are there already, or for new ones."""
        if not carries_on:
            return read(method, generator, reset=True)
        changed = changed_choices(self._learned.made_of, method.made_of)
        if changed:
            raise ValueError(
                f"{type(self).__name__} cannot train on from the fit before, whose networks were "
                f"made for something else: {', and '.join(changed)}. {self._how_to_start_anew()}"
            )
        try:
            return read(method, generator, reset=False)
        except ValueError as error:
            if "features as input" not in str(error):
                raise
            raise ValueError(f"{error} {self._how_to_start_anew()}") from error

    def _how_to_start_anew(self) -> str:
        return (
            "Set warm_start=False and call fit to start anew, or clone the estimator to stream to "
            "new networks."
        )

    def _start(
        self, method: Method, data: Any, generator: Generator, max_iter: int | None
    ) -> tuple[Learned, TrainingState]:
        learned = method.start(data, generator)
        updates = method.updates(learned.modules, max_iter)
        return learned, TrainingState(learned.modules, *updates, generator)

    def _carry_on(self, method: Method, data: Any) -> tuple[Learned, TrainingState]:
        """What was learned with the networks in training, which differ from those in use."""
        learned = self._learned.with_modules(self._state.modules)
        strange = method.strangeness(learned, data)
        if strange:
            warn_user(
                f"{type(self).__name__} trains on in the coordinates of its first fit, and "
                f"{strange}: there its networks know nothing. {self._how_to_start_anew()}"
            )
        return method.carry_on(learned, data), self._state

    def _fitted_attributes(
        self, method: Method, learned: Any, state: TrainingState, data: Any
    ) -> dict[str, Any]:
        """What a fitted estimator has, as training stands."""
        modules = {name: module.to(data.dtype) for name, module in state.final_modules().items()}
        learned = method.finish(learned.with_modules(modules))
        return {
            **{f"{name}_": getattr(method, name) for name in method.shown},
            "_learned": learned,
            "loss_curve_": list(state.loss_curve),
            "n_iter_": state.iteration,
            **self._attributes(learned),
        }

    def _store(
        self, attributes: dict[str, Any], state: TrainingState, data: Any, result: TrainingResult
    ) -> None:
        self.__dict__.update(attributes)
        self._state = state
        self.converged_ = _ended_well(result)

    @contextmanager
    def _features_of_success(self) -> Iterator[None]:
        """Keep the features of the fit before, if there is one, when this one raises."""
        before = {name: vars(self)[name] for name in _FEATURES if name in vars(self)}
        try:
            yield
        except BaseException:
            if hasattr(self, "_learned"):
                for name in _FEATURES:
                    self.__dict__.pop(name, None)
                self.__dict__.update(before)
            raise

    def _training_components(self) -> tuple[Optimizer, Any]:
        """Check what all methods train with; return the optimizer and the averaging."""
        optimizer = check_component(
            self.optimizer, default=self._default_optimizer, kind=Optimizer, name="optimizer"
        )
        for name, kind in _OPTIONAL_COMPONENTS.items():
            component = getattr(self, name)
            if component is not None:
                check_component(component, default=None, kind=kind, name=name)
        return optimizer, self.averaging

    # How it ended

    def _warn_if_not_converged(self, result: TrainingResult) -> None:
        messages = self._messages_about_training(result) + self._failures()
        if messages:
            text = f"{type(self).__name__} did not converge: {' Also, '.join(messages)}"
            warn_user(text, ConvergenceWarning)

    def _messages_about_training(self, result: TrainingResult) -> list[str]:
        # Who stops training by a callback or the keyboard knows that it has not converged.
        if result.stop_reason in _BROKEN_OFF:
            return []
        if result.diverged_at is not None:
            return [
                f"the loss was not finite at iteration {result.diverged_at}, and the last finite "
                f"state is kept. {self._divergence_advice}"
            ]
        if result.validation_failed:
            return [
                f"the held-out loss was not finite after {result.n_iter} iterations, and the state "
                f"of the lowest is kept, or the last one. {self._divergence_advice}"
            ]
        if not _ended_well(result):
            return [
                f"the held-out loss was still falling after {result.n_iter} iterations. Increase "
                "max_iter, or the tol of the stopping component."
            ]
        return self._convergence_messages()

    # Pickles

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_learned")

    def __getstate__(self) -> dict[str, Any]:
        # A pickle made after a fit on an accelerator must load on a machine without one.
        state = super().__getstate__()
        if "_learned" not in state or self._learned.device.type == "cpu":
            return state
        learned = self._learned.to("cpu")
        return {**state, "_learned": learned, **self._attributes(learned)}


def _ended_well(result: TrainingResult) -> bool:
    """Whether training did what it was to do, with nobody and nothing in between."""
    return (
        result.converged is not False
        and result.diverged_at is None
        and result.stop_reason not in _BROKEN_OFF
    )
