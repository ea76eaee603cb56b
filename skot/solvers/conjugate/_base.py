"""What every conjugate solver shares: the objective, the result and the template."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from skot.base import Component
from skot.numerics.value_and_gradient import value_and_gradient
from skot.utils._brief import brief, brief_repr


@dataclass(frozen=True)
class ConjugateResult:
    r"""Conjugate of a potential at a batch of points.

    Attributes
    ----------
    value : Tensor of shape (n,)
        The conjugate :math:`f^*(y)`, as reached at `argument`: a lower bound, up to rounding.
    argument : Tensor of shape (n, n_features)
        The maximiser, which is :math:`\nabla f^*(y)`.
    n_iter : Tensor of int64, shape (n,)
        Evaluations of the potential in each row, beyond the one at the start.
    converged : Tensor of bool, shape (n,)
        Whether the tolerance was reached.
    """

    value: Tensor
    argument: Tensor
    n_iter: Tensor
    converged: Tensor

    __repr__ = brief_repr


def check_conjugate_result(result: Any, y: Tensor, method: str) -> ConjugateResult:
    """Return what a conjugate solver gave, or raise unless it is a result for the rows asked for.

    For whoever takes solvers of others: any object with a method ``solve`` may be one.

    Parameters
    ----------
    result : object
        What the solver returned.
    y : Tensor of shape (n, n_features)
        Where the conjugates were wanted.
    method : str
        Name of what was called, for messages.

    Returns
    -------
    result : ConjugateResult
        The same object; another class with the same attributes will do.

    Raises
    ------
    TypeError
        If it has not the attributes of a :class:`ConjugateResult`.
    ValueError
        If its `argument` has not the shape of `y`.

    Examples
    --------
    >>> import torch
    >>> from skot.solvers.conjugate import LBFGSConjugate, check_conjugate_result
    >>> y = torch.zeros(2, 1)
    >>> result = LBFGSConjugate().solve(lambda x: x.square().sum(1), y)
    >>> check_conjugate_result(result, y, "solve") is result
    True
    """
    names = [one.name for one in fields(ConjugateResult)]
    if not all(hasattr(result, name) for name in names):
        raise TypeError(
            f"{method} must return a skot.solvers.conjugate.ConjugateResult({', '.join(names)}): "
            "for each row the conjugate, its maximiser, the evaluations spent, and whether the "
            f"tolerance was reached. Got {brief(result)}."
        )
    if getattr(result.argument, "shape", None) != y.shape:
        raise ValueError(
            f"{method} must return one maximiser for each row, an argument of shape "
            f"{tuple(y.shape)}. Got {brief(result.argument)}."
        )
    return result


class ConjugateObjective:
    r"""The function :math:`J(x; y) = f(x) - \langle x, y \rangle` that a solver minimises.

    Parameters
    ----------
    potential : torch.nn.Module or callable
        The potential f, from shape (n, n_features) to (n,).
    y : Tensor of shape (n, n_features)
        Where the conjugate is wanted.

    Attributes
    ----------
    potential : torch.nn.Module or callable
        The potential.
    y : Tensor of shape (n, n_features)
        The points.

    Examples
    --------
    >>> import torch
    >>> from skot.solvers.conjugate import ConjugateObjective
    >>> objective = ConjugateObjective(lambda x: (x**2).sum(1) / 2, torch.ones(3, 2))
    >>> value, gradient = objective(torch.tensor([[3.0, 1.0]]), torch.tensor([0]))
    >>> value.item(), gradient.tolist()
    (1.0, [[2.0, 0.0]])
    """

    def __init__(self, potential: Callable[[Tensor], Tensor], y: Tensor):
        self.potential = potential
        self.y = y
        self._rows: Tensor | None = None
        self._y_rows = y

    def __call__(self, x: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Evaluate the objective and its gradient :math:`\nabla f(x) - y`.

        Parameters
        ----------
        x : Tensor of shape (k, n_features)
            Points.
        rows : Tensor of int64, shape (k,), default=None
            Which rows of `y` they belong to; ``None`` means all, in their order.

        Returns
        -------
        values : Tensor of shape (k,)
            Values of the objective.
        gradients : Tensor of shape (k, n_features)
            Its gradients with respect to the points.
        """
        y = self._select(rows)
        values, gradients = value_and_gradient(self.potential, x)
        return values - (x * y).sum(1), gradients - y

    def value(self, x: Tensor) -> Tensor:
        """Evaluate the objective alone, at one point per row of `y`.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Points.

        Returns
        -------
        values : Tensor of shape (n,)
            Values of the objective.
        """
        return self.potential(x) - (x * self.y).sum(1)

    def _select(self, rows: Tensor | None) -> Tensor:
        if rows is None:
            return self.y
        # A solver asks for the same rows many times before some of them leave.
        if rows is not self._rows:
            self._rows, self._y_rows = rows, self.y.index_select(0, rows)
        return self._y_rows


class ConjugateSolver(Component, ABC):
    r"""Base class of conjugate solvers.

    .. math::

        f^*(y) = \max_x \langle x, y \rangle - f(x) = -\min_x J(x; y), \qquad
        \nabla f^*(y) = \arg\min_x J(x; y)

    A subclass implements :meth:`minimize`; it is called without gradients on tensors that carry
    no graph.

    Attributes
    ----------
    refines : bool
        Class attribute: whether the solver moves the points it is given. If not, a prediction
        that serves as its start has nothing to learn from its result.
    """

    refines: bool = True

    def solve(
        self, potential: Callable[[Tensor], Tensor], y: Tensor, x_init: Tensor | None = None
    ) -> ConjugateResult:
        r"""Compute the conjugate of a potential and its gradient.

        Parameters
        ----------
        potential : torch.nn.Module or callable
            The potential f, from shape (n, n_features) to (n,). A method ``value_and_gradient``
            is used where there is one. It should be convex: elsewhere a local minimum of the
            objective may be found.
        y : Tensor of shape (n, n_features)
            Where the conjugate is wanted.
        x_init : Tensor of shape (n, n_features), default=None
            Where to start; ``None`` means at `y`.

        Returns
        -------
        result : ConjugateResult
            Without a graph, in the precision and on the device of `y`. Never raises for lack of
            convergence.

        Raises
        ------
        ValueError
            If the shapes do not fit, or `y` is not of a floating type.
        TypeError
            If :meth:`minimize` returns something else.
        """
        if y.ndim != 2 or not y.is_floating_point():
            raise ValueError(
                "y must be a floating tensor of shape (n, n_features). "
                f"Got {y.dtype} of shape {tuple(y.shape)}."
            )
        x_init = y if x_init is None else x_init
        if x_init.shape != y.shape:
            raise ValueError(
                f"x_init must have the shape of y, {tuple(y.shape)}. Got {tuple(x_init.shape)}."
            )
        y = y.detach()
        with torch.no_grad():
            objective = ConjugateObjective(potential, y)
            result = self.minimize(objective, x_init.detach().to(y))
        return check_conjugate_result(result, y, f"{type(self).__name__}.minimize")

    @abstractmethod
    def minimize(self, objective: ConjugateObjective, x_init: Tensor) -> ConjugateResult:
        r"""Minimise :math:`J(x; y)` in every row.

        Parameters
        ----------
        objective : ConjugateObjective
            Called as ``objective(x)`` or ``objective(x, rows)``; gives values and gradients.
        x_init : Tensor of shape (n, n_features)
            Where to start. Not to be written to.

        Returns
        -------
        result : ConjugateResult
            Its `value` is minus the minimum.
        """
