"""The fit of every estimator that trains networks: resolve, validate, build, run, store."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Generator, Tensor, nn

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
    train,
)
from skot.utils._brief import named
from skot.utils._callbacks import CallbackSupportMixin, iteration_hook
from skot.utils._equality import is_same
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
#: What to do where training cannot go on.
HOW_TO_START_ANEW = (
    "Set warm_start=False and call fit to start anew, or clone the estimator to stream to new "
    "networks."
)


#: Parameters that do not change what a fit computes.
_WITHOUT_EFFECT = ("checkpoint", "verbose", "device")


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Networks, with all that is needed to use them: coordinates, units, rows that are kept.

    `modules` are those in training, or as training left them.
    """

    modules: dict[str, nn.Module]

    def with_modules(self, modules: dict[str, nn.Module]) -> Self:
        """Return the same with other networks."""
        return replace(self, modules=modules)

    def to(self, device: torch.device | str) -> Self:
        """Return a copy on a device."""
        moved = {one.name: _moved(getattr(self, one.name), device) for one in fields(self)}
        return replace(self, **moved)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(p.device for module in self.modules.values() for p in module.parameters())


def _moved(value: Any, device: torch.device | str) -> Any:
    """Move whatever has tensors; networks are copied, since they would move themselves."""
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device) for item in value)
    return value.to(device) if hasattr(value, "to") else value


@dataclass(frozen=True)
class Loop:
    """What the training loop asks of a method that has its data.

    `step` does the i-th step and returns the loss, `held_out_loss` returns that of networks on rows
    that are not trained on, and `fingerprint` returns the digest of parameters and data by which a
    checkpoint recognises its fit.
    """

    step: Callable[[int], Tensor]
    held_out_loss: Callable[[dict[str, nn.Module]], float] | None
    fingerprint: Callable[[Any], str]


LearnedT = TypeVar("LearnedT", bound=Learned)


@dataclass(frozen=True)
class Method(ABC, Generic[LearnedT]):
    """How something is learned: resolved components and numbers.

    The `optimizer` is that of all networks, and `averaging`, an `ExponentialMovingAverage` or None,
    that of their weights. A batch has `batch_size` items.
    """

    optimizer: Optimizer
    averaging: Any
    batch_size: int

    #: Names of the fields that an estimator shows with an underscore at the end.
    shown: ClassVar[tuple[str, ...]] = ("optimizer",)
    #: Names of the fields that networks cannot outlive.
    lasting: ClassVar[tuple[str, ...]] = ()

    def n_updates(self, names: Iterable[str]) -> dict[str, int]:
        """How often each network is updated in an iteration, by its name."""
        return dict.fromkeys(names, 1)

    @abstractmethod
    def start(self, data: Any, generator: Generator) -> LearnedT:
        """Choose the coordinates and draw the networks, in float32."""

    def carry_on(self, learned: LearnedT, data: Any) -> LearnedT:
        """Return what a fit before has learned, with what new data add to it, to train it on."""
        return learned

    def strangeness(self, learned: LearnedT, data: Any) -> str:
        """Say what of new data is far outside of where the networks have been trained, if any."""
        return ""

    def finish(self, learned: LearnedT) -> LearnedT:
        """Return the same with what is made of trained networks."""
        return learned

    @abstractmethod
    def loop(
        self, learned: LearnedT, state: TrainingState, data: Any, stopping: Stopping | None
    ) -> Loop:
        """Part the data, and return what the training loop asks for."""

    def updates(self, modules: dict[str, nn.Module], max_iter: int | None) -> tuple[dict, dict]:
        """Return what moves the weights of each network, and what averages them if asked for."""
        n_updates = self.n_updates(modules)
        updaters = {
            name: self.optimizer.build(module, max_iter=max_iter and max_iter * n_updates[name])
            for name, module in modules.items()
        }
        if self.averaging is None:
            return updaters, {}
        return updaters, {name: self.averaging.build(module) for name, module in modules.items()}

    def train(
        self,
        learned: LearnedT,
        state: TrainingState,
        data: Any,
        *,
        params: dict[str, Any],
        max_iter: int,
        stopping: Stopping | None = None,
        checkpoint: Checkpoint | None = None,
        on_iteration: Callable | None = None,
    ) -> TrainingResult:
        """Train the networks of a state."""
        loop = self.loop(learned, state, data, stopping)
        loss, fingerprint = loop.held_out_loss, ""
        if checkpoint is not None:
            kept = {key: value for key, value in params.items() if key not in _WITHOUT_EFFECT}
            fingerprint = loop.fingerprint(kept)
        result = train(
            loop.step,
            state,
            max_iter=max_iter,
            stopping=stopping,
            validate=None if loss is None else lambda state: loss(state.averaged_modules()),
            checkpoint=checkpoint,
            fingerprint=fingerprint,
            on_iteration=on_iteration,
        )
        # They hold the training data, which a fitted estimator need not keep.
        state.samplers = {}
        return result


class Data(Protocol):
    """What a method trains on."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the fitted networks."""

    @property
    def n_items(self) -> int:
        """What there is of the larger sample, or of all that batches are made of."""

    @property
    def attributes(self) -> dict[str, Any]:
        """What a fitted estimator keeps of it."""


class Read(Protocol):
    """Validates what ``fit`` was given: alone, or beside what the fit before has seen."""

    def __call__(self, method: Any, generator: Generator, *, reset: bool) -> Data:
        """Return the data."""


def change(name: str, before: Any, now: Any) -> str:
    """Say how a parameter has changed; objects may look alike."""
    said = repr(before), repr(now)
    return f"{name} was {said[0]} and is {said[1] if said[0] != said[1] else 'another one'}"


class NeuralFit(CallbackSupportMixin, ComponentParamsMixin):
    """How networks are fitted, streamed to, and gone on from.

    A fitted estimator holds what was learned in ``_learned``, a :class:`Learned` that is replaced
    when a fit has succeeded, in ``_state`` what training changes, to go on from, and in
    ``_made_of`` the parameters that it can only go on with. A subclass says how it learns,
    :meth:`_method`, and reads its data.
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
    _made_of: dict[str, Any]
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
    #: What ``optimizer=None`` stands for; cloned before use.
    _default_optimizer: ClassVar[Optimizer] = Adam(lr=5e-3, schedule=CosineSchedule())

    # For subclasses

    @abstractmethod
    def _method(self, optimizer: Optimizer) -> Method:
        """Resolve the components: how networks are learned."""

    def _attributes(self, learned: Any) -> dict[str, Any]:
        """Public attributes that are made of what was learned."""
        return {}

    def _conclude(self) -> None:
        """Choose what is chosen after ``fit``, with the fitted estimator at hand."""

    def _convergence_messages(self) -> list[str]:
        """What speaks against training that ended well, to be warned of."""
        return []

    def _failures(self) -> list[str]:
        """What failed besides training, to be warned of however that ended."""
        return []

    # The fit

    def _fit(self, read: Read, X: Any, y: Any) -> Self:
        """Train for `max_iter` iterations, from the start or from the fit before."""
        with self._unchanged_by_failure():
            carries_on = getattr(self, "warm_start", False) and hasattr(self, "_state")
            method, made_of = self._resolved()
            generator = check_generator(self.random_state)
            data = self._read_alike(method, read, generator, carries_on)
            if carries_on:
                # A copy, since training changes it, and may fail.
                state = copy.deepcopy(self._state)
                learned = self._carry_on(method, data, state)
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
                self._made_of = made_of
            self._conclude()
        self._warn_if_not_converged(result)
        return self

    def _partial_fit(self, read: Read) -> Self:
        """Train on one pass over the rows, from where training stands."""
        with self._unchanged_by_failure():
            # A copy, since training changes it, and may fail.
            state = copy.deepcopy(self._state) if hasattr(self, "_state") else None
            method, made_of = self._resolved()
            generator = check_generator(self.random_state) if state is None else state.generator
            data = self._read_alike(method, read, cast(Generator, generator), state is not None)
            if state is not None:
                learned = self._carry_on(method, data, state)
            else:
                learned, state = self._start(method, data, cast(Generator, generator), None)
            for updater in state.updaters.values():
                if updater.max_iter is not None:  # a fit before had an end, a stream has not
                    updater.restart_schedule(None)
            n_steps = math.ceil(data.n_items / method.batch_size)
            result = method.train(learned, state, data, params=self._params(), max_iter=n_steps)
            attributes = self._fitted_attributes(method, learned, state, data)
            self._store(attributes, state, data, result)
            self._made_of = made_of
        self._warn_if_not_converged(result)
        return self

    def _resolved(self) -> tuple[Method, dict[str, Any]]:
        """The method, and what networks are made of: copies that nothing uses, hence changes."""
        method = self._method(self._training_components())
        made_of = {name: getattr(method, name) for name in method.lasting}
        return method, copy.deepcopy(made_of)

    def _adopt(self, method: Method, learned: Learned, data: Any, generator: Generator) -> None:
        """Become fitted without training: what was learned comes from elsewhere."""
        state = TrainingState(learned.modules, *method.updates(learned.modules, None), generator)
        attributes = self._fitted_attributes(method, learned, state, data)
        self._store(attributes, state, data, TrainingResult(0, None, "adopted", (), None))
        self._made_of = {name: getattr(method, name) for name in method.lasting}

    def _params(self) -> dict[str, Any]:
        return cast(Any, self).get_params(deep=False)

    def _read_alike(
        self, method: Method, read: Read, generator: Generator, carries_on: bool
    ) -> Any:
        """Read data for networks that are there already, or for new ones."""
        if not carries_on:
            return read(method, generator, reset=True)
        changed = [
            change(name, before, getattr(method, name))
            for name, before in self._made_of.items()
            if not is_same(before, getattr(method, name))
        ]
        if changed:
            raise ValueError(
                f"{type(self).__name__} cannot train on from the fit before, whose networks were "
                f"made for something else: {', and '.join(changed)}. {HOW_TO_START_ANEW}"
            )
        try:
            return read(method, generator, reset=False)
        except ValueError as error:
            if "features as input" not in str(error):
                raise
            raise ValueError(f"{error} {HOW_TO_START_ANEW}") from error

    def _start(
        self, method: Method, data: Any, generator: Generator, max_iter: int | None
    ) -> tuple[Learned, TrainingState]:
        learned = method.start(data, generator)
        updates = method.updates(learned.modules, max_iter)
        return learned, TrainingState(learned.modules, *updates, generator)

    def _carry_on(self, method: Method, data: Any, state: TrainingState) -> Learned:
        """What was learned with the networks in training, which differ from those in use."""
        learned = self._learned.with_modules(state.modules)
        strange = method.strangeness(learned, data)
        if strange:
            warn_user(
                f"{type(self).__name__} trains on in the coordinates of its first fit, and "
                f"{strange}: there its networks know nothing. {HOW_TO_START_ANEW}"
            )
        return method.carry_on(learned, data)

    def _fitted_attributes(
        self, method: Method, learned: Any, state: TrainingState, data: Any
    ) -> dict[str, Any]:
        """What a fitted estimator has, as training stands."""
        modules = {name: module.to(data.dtype) for name, module in state.final_modules().items()}
        learned = method.finish(learned.with_modules(modules))
        return {
            **{f"{name}_": getattr(method, name) for name in method.shown},
            **data.attributes,
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
    def _unchanged_by_failure(self) -> Iterator[None]:
        """Leave the fit before, or no fit, when this one raises, however late."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _training_components(self) -> Optimizer:
        """Check what all methods train with; return the optimizer."""
        optimizer = check_component(
            self.optimizer,
            default=lambda: self._default_optimizer,
            kind=Optimizer,
            name="optimizer",
        )
        for name, kind in _OPTIONAL_COMPONENTS.items():
            component = getattr(self, name)
            if component is not None:
                check_component(component, default=None, kind=kind, name=name)
        return optimizer

    # How it ended

    def _warn_if_not_converged(self, result: TrainingResult) -> None:
        messages = self._messages_about_training(result) + self._failures()
        if messages:
            text = f"{named(self)} did not converge: {' Also, '.join(messages)}"
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
