"""What all estimators that train networks share: components, failures, warnings."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, ClassVar

import torch
from sklearn.exceptions import ConvergenceWarning

from skot.base import check_component
from skot.training import (
    Adam,
    Checkpoint,
    CosineSchedule,
    ExponentialMovingAverage,
    Optimizer,
    Stopping,
    TrainingResult,
)
from skot.training._stopping import NOT_FINITE
from skot.utils._sklearn import Interval

#: Ends of training that its user has chosen.
_BROKEN_OFF = ("callback", "interrupted")
_OPTIONAL_COMPONENTS = {
    "averaging": ExponentialMovingAverage,
    "stopping": Stopping,
    "checkpoint": Checkpoint,
}


class NeuralFitMixin:
    """How a fit that trains networks resolves its components, fails and warns.

    A fitted estimator keeps its networks in the dict ``_modules`` and says in ``converged_``
    whether training ended well.
    """

    averaging: Any
    stopping: Any
    checkpoint: Any
    optimizer: Any
    converged_: bool

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

    def _resolve_training_components(self) -> None:
        self.optimizer_ = check_component(
            self.optimizer, default=self._default_optimizer, kind=Optimizer, name="optimizer"
        )
        for name, kind in _OPTIONAL_COMPONENTS.items():
            component = getattr(self, name)
            if component is not None:
                check_component(component, default=None, kind=kind, name=name)

    @staticmethod
    def _default_optimizer() -> Optimizer:
        return Adam(lr=5e-3, schedule=CosineSchedule())

    @contextmanager
    def _unchanged_by_failure(self) -> Iterator[None]:
        """Leave the fit before, if there is one, when this one raises.

        Otherwise its networks would be left with the coordinates, and the noise, of another.
        """
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            if "_modules" in before:
                self.__dict__.clear()
                self.__dict__.update(before)
            raise

    def _doubts(self) -> list[str]:
        """What speaks against training that ended well, to be warned of."""
        return []

    def _failures(self) -> list[str]:
        """What failed besides training, to be warned of however that ended."""
        return []

    @staticmethod
    def _ended_well(result: TrainingResult) -> bool:
        """Whether training did what it was to do, with nobody and nothing in between."""
        return (
            result.converged is not False
            and result.diverged_at is None
            and result.stop_reason not in _BROKEN_OFF
        )

    def _warn_if_not_converged(self, result: TrainingResult, stacklevel: int) -> None:
        doubts = self._doubts_about_training(result) + self._failures()
        if doubts:
            message = f"{type(self).__name__} did not converge: {' Also, '.join(doubts)}"
            warnings.warn(message, ConvergenceWarning, stacklevel=stacklevel)

    def _doubts_about_training(self, result: TrainingResult) -> list[str]:
        # Who stops training by a callback or the keyboard knows that it has not converged.
        if result.stop_reason in _BROKEN_OFF:
            return []
        if result.diverged_at is not None:
            return [
                f"the loss was not finite at iteration {result.diverged_at}, and the last finite "
                f"state is kept. {self._divergence_advice}"
            ]
        if result.stop_reason == NOT_FINITE:
            return [
                f"the held-out loss was not finite after {result.n_iter} iterations, and the state "
                f"of the lowest is kept, or the last one. {self._divergence_advice}"
            ]
        if not self._ended_well(result):
            return [
                f"the held-out loss was still falling after {result.n_iter} iterations. Increase "
                "max_iter, or the tol of the stopping component."
            ]
        return self._doubts()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_modules")
