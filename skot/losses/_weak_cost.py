"""What it costs to send a point to a distribution: the interface, and costs that are strong."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from skot.base import Component
from skot.costs import Cost


class WeakCost(Component, ABC):
    r"""Base class of weak transport costs: of sending a point x to a distribution :math:`\mu`.

    The distribution is given by independent samples, and :meth:`evaluate` returns an unbiased
    estimate of :math:`C(x, \mu)` from them. That one method is enough; the properties say what
    makes training better conditioned.

    Examples
    --------
    A cost for the case that a rough guess of the map is known, here a reflection:

    >>> import torch
    >>> from skot.losses import WeakCost
    >>> class NearReflection(WeakCost):
    ...     splits_mass = False
    ...     def evaluate(self, x, y):
    ...         return 0.5 * (y + x[:, None]).square().sum(dim=2).mean(dim=1)
    >>> x = torch.ones(1, 2)
    >>> NearReflection().evaluate(x, -x[:, None]).item()
    0.0
    """

    #: Whether plans may split mass, so that the map needs noise and the estimate at least two
    #: samples. A strong cost, the mean of a cost between points, never gains by splitting.
    splits_mass: bool = True

    #: Which changes of coordinates leave the optimal plans what they are: ``"none"``;
    #: ``"common"``, one translation of both samples; ``"separate"``, a translation of each and a
    #: common scale, for a multiple of half the squared distance less one of the variance;
    #: ``"linear"``, also a matrix on one side and its inverse on the other, for costs that are a
    #: negative inner product up to terms that the two samples fix.
    invariance: str = "none"

    #: The cost has the term c / 2 E|y|^2 with this c, which a potential can be given at once.
    quadratic_coefficient: float = 0.0

    @abstractmethod
    def evaluate(self, x: Tensor, y: Tensor) -> Tensor:
        r"""Estimate :math:`C(x_i, \mu_i)` from samples of :math:`\mu_i`.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Source rows.
        y : Tensor of shape (n, n_samples, n_features)
            Samples of the distribution each row is sent to; one for a strong cost, else at least
            two.

        Returns
        -------
        cost : Tensor of shape (n,)
            Differentiable in `y`.
        """

    def at(self, iteration: int) -> "WeakCost":
        """Return the cost to train with; the base class returns itself.

        Parameters
        ----------
        iteration : int
            Number of iterations done.

        Returns
        -------
        cost : WeakCost
            The cost, or one on the way to it.
        """
        return self

    def reversed(self) -> "WeakCost":
        """Return the cost of going back; the base class returns itself, as symmetric costs do.

        Returns
        -------
        cost : WeakCost
            Takes target rows and samples of source rows.
        """
        return self

    def check_potential(self, potential: Any) -> None:
        """Raise if an architecture cannot hold the potential; the base class accepts all.

        Parameters
        ----------
        potential : Potential
            The architecture; its attribute ``has_quadratic_term`` says whether it grows as fast
            as a quadratic.

        Raises
        ------
        ValueError
            If the inner problem has no solution with such potentials.
        """


class StrongCost(WeakCost):
    r"""A cost between points, :math:`C(x, \mu) = E_{y \sim \mu}\, c(x, y)`.

    Estimators wrap costs of :mod:`skot.costs` in it; there is seldom a need to do so by hand.

    Parameters
    ----------
    cost : Cost
        The cost c.
    reverse : bool, default=False
        Whether the rows are taken as y and the samples as x.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import SquaredEuclidean
    >>> from skot.losses import StrongCost
    >>> x = torch.zeros(1, 2)
    >>> StrongCost(SquaredEuclidean()).evaluate(x, torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]))
    tensor([13.])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"cost": [Cost], "reverse": ["boolean"]}

    splits_mass = False

    def __init__(self, cost: Cost, reverse: bool = False):
        self.cost = cost
        self.reverse = reverse

    @property
    def invariance(self) -> str:  # type: ignore[override]
        """Which changes of coordinates leave plans what they are; see :class:`WeakCost`."""
        if self.cost.is_quadratic:
            return "linear"
        return "common" if self.cost.translation_invariant else "none"

    @property
    def quadratic_coefficient(self) -> float:  # type: ignore[override]
        """Coefficient of the term of the target alone; see :class:`WeakCost`."""
        if not self.cost.is_quadratic:
            return 0.0
        # It may be any multiple of the squared distance.
        return 2.0 * float(self.cost.paired(torch.zeros(1, 1), torch.ones(1, 1)))

    def evaluate(self, x: Tensor, y: Tensor) -> Tensor:
        n, n_samples, n_features = y.shape
        rows = x[:, None].expand(-1, n_samples, -1).reshape(-1, n_features)
        points = y.reshape(-1, n_features)
        pair = (points, rows) if self.reverse else (rows, points)
        return self.cost.paired(*pair).view(n, n_samples).mean(dim=1)

    def reversed(self) -> Self:
        """Return the cost with the roles of rows and samples swapped.

        Returns
        -------
        cost : StrongCost
            Of the same cost between points.
        """
        return type(self)(self.cost, not self.reverse)
