"""What every c-transform solver shares: the objective, the result and the template."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skot.base import Component
from skot.numerics.action import action
from skot.numerics.lbfgs import RowMinima
from skot.numerics.splines import PathBasis
from skot.numerics.value_and_gradient import value_and_gradient
from skot.utils._brief import brief_repr

#: Curvature of the penalty outside the bounds, in units where a squared distance costs one half.
_PENALTY = 10.0


@dataclass(frozen=True)
class CTransformResult:
    r"""The c-transform of a potential at a batch of points.

    Attributes
    ----------
    value : Tensor of shape (n,)
        :math:`g^c(x)`, as reached at `argument` along `path`: an upper bound, up to rounding.
    argument : Tensor of shape (n, n_features)
        The minimiser y, within the bounds.
    path : Tensor of shape (n, n_features, n_knots)
        Coordinates of the curve between the two points.
    n_iter : Tensor of int64, shape (n,)
        Evaluations of each row, beyond the one at the start.
    converged : Tensor of bool, shape (n,)
        Whether the tolerance was reached.
    """

    value: Tensor
    argument: Tensor
    path: Tensor
    n_iter: Tensor
    converged: Tensor

    __repr__ = brief_repr


class CTransformObjective:
    r"""The function of an end point and of the path there that a c-transform minimises.

    .. math::

        J(y, z; x) = \int_0^1 L(\gamma, \gamma', t) \, dt - g(y)
        + \tfrac{\rho}{2} |y - a|^2 + \tfrac{\kappa}{2} |y - P(y)|^2

    with the curve :math:`\gamma` from x to y that has the coordinates z, and the projection P
    onto the bounds.

    Parameters
    ----------
    lagrangian : callable
        L(x, v, t).
    potential : torch.nn.Module or callable
        The function g, from shape (n, n_features) to (n,).
    x : Tensor of shape (n, n_features)
        The points that are given.
    basis : PathBasis
        The shapes and the quadrature of the curves.
    bounds : tuple of Tensor of shape (n_features,), default=None
        Lower and upper bounds of y. None has none.
    backward : bool, default=False
        Whether the curves run to the given points, instead of from them.
    anchor : Tensor of shape (n, n_features), default=None
        Points a from which y should not go far without need. None has none.
    proximity : float, default=0.0
        The weight :math:`\rho` of that.
    """

    def __init__(
        self,
        lagrangian: Callable[[Tensor, Tensor, Tensor], Tensor],
        potential: Callable[[Tensor], Tensor],
        x: Tensor,
        basis: PathBasis,
        *,
        bounds: tuple[Tensor, Tensor] | None = None,
        backward: bool = False,
        anchor: Tensor | None = None,
        proximity: float = 0.0,
    ):
        self.lagrangian = lagrangian
        self.potential = potential
        self.x = x
        self.basis = basis
        self.bounds = bounds
        self.backward = backward
        self.anchor = None if anchor is None else self.project(anchor)
        self.proximity = proximity
        # In these units of y the Hessian starts near the identity, as that in z does.
        self._stretch = (1.0 + proximity) ** 0.5

    def __call__(self, u: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the objective and its gradient.

        Parameters
        ----------
        u : Tensor of shape (k, n_features * (1 + n_knots))
            End points and paths, as :meth:`join` puts them together.
        rows : Tensor of int64, shape (k,)
            Which of the given points they belong to.

        Returns
        -------
        values : Tensor of shape (k,)
            Values of the objective.
        gradients : Tensor of shape (k, n_features * (1 + n_knots))
            Its gradients with respect to `u`.
        """
        x = self.x.index_select(0, rows)
        with torch.enable_grad():
            leaf = u.detach().requires_grad_()
            y, z = self.split(leaf)
            ends = (y, x) if self.backward else (x, y)
            values = action(self.lagrangian, *ends, z, self.basis)
            (gradients,) = torch.autograd.grad(values.sum(), leaf)
        with torch.no_grad():
            y = y.detach()
            # Apart from the action: many potentials have a gradient of their own, without a graph.
            potential, slope = value_and_gradient(self.potential, y)
            values, slope = values.detach() - potential, -slope
            if self.bounds is not None:
                outside = y - self.project(y)
                values = values + 0.5 * _PENALTY * outside.square().sum(1)
                slope = slope + _PENALTY * outside
            if self.anchor is not None and self.proximity > 0:
                anchor = self.anchor.index_select(0, rows)
                values = values + 0.5 * self.proximity * (y - anchor).square().sum(1)
                slope = slope + self.proximity * (y - anchor)
            # The chain rule: u holds y times the stretch.
            gradients[:, : y.shape[1]] += slope / self._stretch
        return values, gradients

    def project(self, y: Tensor) -> Tensor:
        """Move points into the bounds.

        Parameters
        ----------
        y : Tensor of shape (k, n_features)
            Points.

        Returns
        -------
        y : Tensor of shape (k, n_features)
            The nearest points within the bounds.
        """
        if self.bounds is None:
            return y
        return torch.minimum(torch.maximum(y, self.bounds[0]), self.bounds[1])

    def join(self, y: Tensor, z: Tensor) -> Tensor:
        """Put end points and paths together, one row for each.

        Parameters
        ----------
        y : Tensor of shape (k, n_features)
            End points.
        z : Tensor of shape (k, n_features, n_knots)
            Paths.

        Returns
        -------
        u : Tensor of shape (k, n_features * (1 + n_knots))
            What is minimised over.
        """
        return torch.cat([self._stretch * y, z.flatten(1)], dim=1)

    def split(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Take end points and paths apart again.

        Parameters
        ----------
        u : Tensor of shape (k, n_features * (1 + n_knots))
            What :meth:`join` returned.

        Returns
        -------
        y : Tensor of shape (k, n_features)
            End points.
        z : Tensor of shape (k, n_features, n_knots)
            Paths.
        """
        n_features = self.x.shape[1]
        y, z = u[:, :n_features] / self._stretch, u[:, n_features:]
        return y, z.reshape(len(u), n_features, self.basis.n_knots)


class CTransformSolver(Component, ABC):
    r"""Base class of c-transform solvers.

    .. math::

        g^c(x) = \min_y \; c(x, y) - g(y), \qquad
        c(x, y) = \min_\gamma \int_0^1 L(\gamma(t), \gamma'(t), t) \, dt.

    Both minima are taken together, over the end point and the path. A subclass implements
    :meth:`minimize`; it is called without gradients.

    Notes
    -----
    In the coordinates of ``skot.numerics.splines.path_basis`` the kinetic energy is
    :math:`|y - x|^2 / 2 + |z|^2 / 2`, so that a method that starts with the identity for a
    Hessian is at home.
    """

    #: Weight of half the squared distance to the start, in what is minimised.
    proximity: float = 0.0

    def solve(
        self,
        lagrangian: Callable[[Tensor, Tensor, Tensor], Tensor],
        potential: Callable[[Tensor], Tensor],
        x: Tensor,
        y_init: Tensor,
        z_init: Tensor,
        basis: PathBasis,
        *,
        bounds: tuple[Tensor, Tensor] | None = None,
        backward: bool = False,
        anchor: Tensor | None = None,
    ) -> CTransformResult:
        """Compute the c-transform of a potential, its argument, and the path there.

        Parameters
        ----------
        lagrangian : callable
            L(x, v, t), for positions and velocities of shape (n, n_times, n_features) and times
            of shape (n_times,).
        potential : torch.nn.Module or callable
            The function g, from shape (n, n_features) to (n,).
        x : Tensor of shape (n, n_features)
            Where the c-transform is wanted.
        y_init : Tensor of shape (n, n_features)
            Where to start.
        z_init : Tensor of shape (n, n_features, n_knots)
            The paths to start with; zeros are straight lines.
        basis : PathBasis
            The shapes and the quadrature of the paths.
        bounds : tuple of Tensor of shape (n_features,), default=None
            Lower and upper bounds of y: outside a quadratic penalty brings it back, and what is
            left is projected. None has none.
        backward : bool, default=False
            Whether paths run from y to `x`: the transform in the other direction.
        anchor : Tensor of shape (n, n_features), default=None
            What `proximity` refers to. None is `y_init`.

        Returns
        -------
        result : CTransformResult
            A local minimum in every row, near the start. Without a graph; never raises for lack
            of convergence.
        """
        with torch.no_grad():
            x, basis = x.detach(), basis.to(x)
            y_init, z_init = y_init.detach().to(x), z_init.detach().to(x)
            anchor = y_init if anchor is None else anchor.detach().to(x)
            objective = CTransformObjective(
                lagrangian,
                potential,
                x,
                basis,
                bounds=bounds,
                backward=backward,
                anchor=anchor,
                proximity=self.proximity,
            )
            found = self.minimize(objective, objective.join(objective.project(y_init), z_init))
            y, z = objective.split(found.argument)
            # Of the point that is returned, and without what keeps it near the anchor.
            y = objective.project(y)
            ends = (y, x) if backward else (x, y)
            value = action(lagrangian, *ends, z, basis) - potential(y)
            # The projected point may lie where the minimised function was not a number.
            converged = found.converged & torch.isfinite(value)
            return CTransformResult(value, y, z, found.n_iter, converged)

    @abstractmethod
    def minimize(self, objective: CTransformObjective, u_init: Tensor) -> RowMinima:
        """Minimise the objective in every row.

        Parameters
        ----------
        objective : CTransformObjective
            Called as ``objective(u, rows)``; gives values and gradients.
        u_init : Tensor of shape (n, n_features * (1 + n_knots))
            Where to start. Not to be written to.

        Returns
        -------
        result : RowMinima
            The last point of every row.
        """
