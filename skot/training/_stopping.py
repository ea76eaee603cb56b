"""When a training run ends before its last step."""

import math
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

from skot.base import Component
from skot.utils._sklearn import Interval

#: Why a run ends whose loss was not a number at the last check: nothing is left to wait for.
NOT_FINITE = "not_finite"


class StoppingRule(ABC):
    """Follows one training run and says when to stop; built by :meth:`Stopping.build`.

    Its public attributes are its state: numbers, strings, None, or lists and dicts of them.
    """

    @abstractmethod
    def should_stop(self, seconds: float, score: float | None) -> str | None:
        """Say whether to stop, after each step.

        Parameters
        ----------
        seconds : float
            Duration of the run so far.
        score : float or None
            At every ``check_every``-th step the validation loss, or the mean training loss since
            the last check if nothing is held out (lower is better, may be NaN). None otherwise.

        Returns
        -------
        reason : str or None
            One word for the result; None to go on.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what has been counted so far.

        Returns
        -------
        state : dict
            The public attributes.
        """
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Parameters
        ----------
        state : dict
            State of a rule of the same component.
        """
        vars(self).update(state)


class Stopping(Component, ABC):
    """Base class of stopping components.

    A subclass implements :meth:`build`. To combine several, wrap one in another, as
    :class:`TimeBudget` does.

    Attributes
    ----------
    check_every : int
        Number of steps between two looks at the loss.
    validation_fraction : float or None
        Share of the rows to hold out; None for none.
    seeks_convergence : bool
        Whether reaching the last step means that training has failed to converge.
    """

    check_every: int = 100
    validation_fraction: float | None = None
    seeks_convergence: bool = False

    @abstractmethod
    def build(self) -> StoppingRule:
        """Return the rule for one run.

        Returns
        -------
        rule : StoppingRule
            That has seen nothing yet.
        """


class EarlyStopping(Stopping):
    """Stop when the loss on held-out rows has ceased to improve.

    A loss that is not finite does not improve, but a run that ends on one has not converged.

    Parameters
    ----------
    patience : int, default=10
        Number of checks in a row without improvement after which training stops.
    tol : float, default=1e-4
        What counts as an improvement: the loss falls by more than this below the best so far,
        which smaller steps lower too (as in scikit-learn, slow progress counts as none).
    validation_fraction : float, default=0.1
        Share of the rows that are held out. None holds out nothing and watches the mean training
        loss between two checks.
    check_every : int, default=100
        Number of steps between two checks.

    Examples
    --------
    >>> from skot.training import EarlyStopping
    >>> rule = EarlyStopping(patience=2).build()
    >>> [rule.should_stop(0.0, score) for score in (1.0, 0.5, 0.6, 0.7)]
    [None, None, None, 'converged']
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "patience": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "check_every": [Interval(Integral, 1, None, closed="left")],
    }

    seeks_convergence = True

    def __init__(
        self,
        patience: int = 10,
        tol: float = 1e-4,
        validation_fraction: float | None = 0.1,
        check_every: int = 100,
    ):
        self.patience = patience
        self.tol = tol
        self.validation_fraction = validation_fraction
        self.check_every = check_every

    def build(self) -> StoppingRule:
        self.validate()
        return _EarlyStoppingRule(int(self.patience), float(self.tol))


class _EarlyStoppingRule(StoppingRule):
    def __init__(self, patience: int, tol: float):
        self._patience = patience
        self._tol = tol
        self.best = float("inf")
        self.n_without_improvement = 0

    def should_stop(self, seconds: float, score: float | None) -> str | None:
        if score is None:
            return None
        finite = math.isfinite(score)
        if finite and score < self.best - self._tol:
            self.n_without_improvement = 0
        else:
            self.n_without_improvement += 1
        if finite:
            self.best = min(self.best, score)
        if self.n_without_improvement < self._patience:
            return None
        return "converged" if finite else NOT_FINITE


class TimeBudget(Stopping):
    """Stop after some time, or earlier if another component says so.

    Parameters
    ----------
    seconds : float, default=60.0
        Duration of the run. The step that exceeds it is the last one. A run that resumes from a
        checkpoint has used up the time before.
    stopping : Stopping, default=None
        The other component, such as :class:`EarlyStopping`; None for none.

    Examples
    --------
    >>> from skot.training import EarlyStopping, TimeBudget
    >>> TimeBudget(120.0, stopping=EarlyStopping(check_every=50)).check_every
    50
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "seconds": [Interval(Real, 0, None, closed="neither")],
        "stopping": [Stopping, None],
    }

    def __init__(self, seconds: float = 60.0, stopping: Stopping | None = None):
        self.seconds = seconds
        self.stopping = stopping

    @property
    def check_every(self) -> int:  # type: ignore[override]
        """Number of steps between two checks of the other component."""
        return Stopping.check_every if self.stopping is None else self.stopping.check_every

    @property
    def validation_fraction(self) -> float | None:  # type: ignore[override]
        """Share of the rows that the other component holds out."""
        return None if self.stopping is None else self.stopping.validation_fraction

    @property
    def seeks_convergence(self) -> bool:  # type: ignore[override]
        """Whether the other component waits for convergence."""
        return self.stopping is not None and self.stopping.seeks_convergence

    def build(self) -> StoppingRule:
        self.validate()
        inner = None if self.stopping is None else self.stopping.build()
        return _TimeBudgetRule(float(self.seconds), inner)


class _TimeBudgetRule(StoppingRule):
    def __init__(self, budget: float, inner: StoppingRule | None):
        self._budget = budget
        self._inner = inner

    def should_stop(self, seconds: float, score: float | None) -> str | None:
        reason = None if self._inner is None else self._inner.should_stop(seconds, score)
        return reason or ("time" if seconds >= self._budget else None)

    def state_dict(self) -> dict[str, Any]:
        return {} if self._inner is None else {"inner": self._inner.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._inner is not None and "inner" in state:
            self._inner.load_state_dict(state["inner"])
