"""Schedules: how the step size changes over the updates."""

import math
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import ClassVar

from skot.base import Component
from skot.utils._sklearn import Interval


class Schedule(Component, ABC):
    """Base class of schedules: components that scale the learning rate.

    A subclass implements :meth:`factor`.
    """

    @abstractmethod
    def factor(self, i: int, max_iter: int | None) -> float:
        """Return what the learning rate is multiplied by.

        Parameters
        ----------
        i : int
            Index of the update, from 0. It may run past `max_iter`.
        max_iter : int or None
            Planned number of updates; None when there is no plan.

        Returns
        -------
        factor : float
            At least 0.
        """


class ConstantSchedule(Schedule):
    """Leave the learning rate as it is.

    Examples
    --------
    >>> from skot.training import ConstantSchedule
    >>> ConstantSchedule().factor(10, 100)
    1.0
    """

    def factor(self, i: int, max_iter: int | None) -> float:
        return 1.0


class CosineSchedule(Schedule):
    r"""Rise linearly, then decay along half a cosine [1]_.

    With w warm-up updates out of n, c the final factor and :math:`t = (i - w) / (n - w)`,

    .. math::

        s_i = \frac{i + 1}{w} \quad (i < w), \qquad
        s_i = c + (1 - c) \frac{1 + \cos(\pi \min(t, 1))}{2} \quad (i \ge w).

    Without a planned number of updates, as in streams that set no `length`, only the rise is
    left.

    Parameters
    ----------
    final : float, default=0.0
        Factor at the end.
    warmup : int, default=0
        Number of updates of the rise.
    length : int, default=None
        Number of updates n after which the factor stays at `final`. None is what the fit plans.

    References
    ----------
    .. [1] Loshchilov, I. and Hutter, F. (2017). SGDR: stochastic gradient descent with warm
       restarts. ICLR, Equation 5.

    Examples
    --------
    >>> from skot.training import CosineSchedule
    >>> [round(CosineSchedule(warmup=2).factor(i, 6), 3) for i in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "final": [Interval(Real, 0, 1, closed="both")],
        "warmup": [Interval(Integral, 0, None, closed="left")],
        "length": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, final: float = 0.0, warmup: int = 0, length: int | None = None):
        self.final = final
        self.warmup = warmup
        self.length = length

    def factor(self, i: int, max_iter: int | None) -> float:
        if i < self.warmup:
            return (i + 1) / self.warmup
        max_iter = max_iter if self.length is None else self.length
        if max_iter is None:
            return 1.0
        progress = (i - self.warmup) / max(max_iter - self.warmup, 1)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
