"""What is learned, how it is learned, and what the training loop asks for: three frozen objects."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Generator, Tensor, nn

from skot.training import (
    Checkpoint,
    Optimizer,
    Stopping,
    TrainingResult,
    TrainingState,
    train,
)

#: Parameters that do not change what a fit computes.
_WITHOUT_EFFECT = ("checkpoint", "verbose", "device")


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Networks, with all that is needed to use them: coordinates, units, rows that are kept.

    Attributes
    ----------
    modules : dict of str to Module
        The networks; those in training, or as training left them.
    made_of : dict of str to object
        The choices that the networks cannot outlive, by the name of the parameter.
    """

    modules: dict[str, nn.Module]
    made_of: dict[str, Any] = field(default_factory=dict, repr=False)

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
        return next(next(iter(self.modules.values())).parameters()).device


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

    Attributes
    ----------
    step : callable
        Does the i-th step and returns the loss.
    held_out_loss : callable or None
        Loss of networks on rows that are not trained on.
    fingerprint : callable
        Digest of parameters and data, by which a checkpoint recognises its fit.
    """

    step: Callable[[int], Tensor]
    held_out_loss: Callable[[dict[str, nn.Module]], float] | None
    fingerprint: Callable[[Any], str]


LearnedT = TypeVar("LearnedT", bound=Learned)


@dataclass(frozen=True)
class Method(ABC, Generic[LearnedT]):
    """How something is learned: resolved components and numbers.

    Attributes
    ----------
    optimizer : Optimizer
        Of all networks.
    averaging : ExponentialMovingAverage or None
        Of their weights.
    batch_size : int
        Items in a batch.
    """

    optimizer: Optimizer
    averaging: Any
    batch_size: int

    #: Names of the fields that an estimator shows with an underscore at the end.
    shown: ClassVar[tuple[str, ...]] = ("optimizer",)

    @property
    @abstractmethod
    def n_updates(self) -> dict[str, int]:
        """How often each network is updated in an iteration, by its name."""

    @property
    def made_of(self) -> dict[str, Any]:
        """The choices that networks cannot outlive, by the name of the parameter."""
        return {}

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
        updaters = {
            name: self.optimizer.build(
                module, max_iter=max_iter and max_iter * self.n_updates[name]
            )
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


def changed_choices(made_of: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say of each choice that is not what it was how it has changed."""
    return [
        f"{name} was {made_of.get(name)!r} and is {now[name]!r}"
        for name in now
        if not _is_same(made_of.get(name), now[name])
    ]


def _is_same(one: Any, other: Any) -> bool:
    """Whether validated parameters are alike: they are clones, so identity says little."""
    if one is other:
        return True
    if isinstance(one, BaseEstimator):
        one, other = (
            (type(each), each.get_params(deep=False)) if isinstance(each, BaseEstimator) else each
            for each in (one, other)
        )
    if any(isinstance(each, (Tensor, np.ndarray)) for each in (one, other)):
        # The kind of array does not matter.
        return bool(np.array_equal(*(np.asarray(each) for each in (one, other))))
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if hasattr(one, "__dict__") and _has_no_equality(one):
        return _is_same(vars(one), vars(other))
    return bool(one == other)


def _has_no_equality(value: Any) -> bool:
    return not any("__eq__" in vars(base) for base in type(value).__mro__[:-1])
