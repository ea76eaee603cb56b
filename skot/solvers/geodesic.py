"""Geodesics: curves of least action between given points."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from torch import Tensor

from skot.base import Component
from skot.numerics.action import action
from skot.numerics.lbfgs import batched_lbfgs
from skot.numerics.splines import PathBasis
from skot.utils._brief import brief_repr
from skot.utils._sklearn import Interval

__all__ = ["GeodesicResult", "GeodesicSolver", "LBFGSGeodesic"]

#: Strength of barriers and width of their walls, relative to the final ones, in the solves whose
#: results start the next ones. A path inside a sharp wall feels no slope.
_STAGES = ((0.3, 30.0), (1.0, 5.0))
#: How far arcs are off the straight line half-way, in units of the spread.
_HEIGHTS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)
#: Share of the evaluations that each of these solves may take.
_STAGE_SHARE = 0.4


@dataclass(frozen=True)
class GeodesicResult:
    """Curves of least action between pairs of points.

    Attributes
    ----------
    cost : Tensor of shape (n,)
        The action reached: an upper bound of the cost, up to the quadrature.
    path : Tensor of shape (n, n_features, n_knots)
        Coordinates of the curves.
    n_iter : Tensor of int64, shape (n,)
        Evaluations of the start that won, beyond the first.
    converged : Tensor of bool, shape (n,)
        Whether the tolerance was reached.
    """

    cost: Tensor
    path: Tensor
    n_iter: Tensor
    converged: Tensor

    __repr__ = brief_repr


class GeodesicSolver(Component, ABC):
    """Base class of geodesic solvers."""

    @abstractmethod
    def solve(
        self,
        lagrangian: Callable[[Tensor, Tensor, Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        basis: PathBasis,
        z_init: Tensor | None = None,
    ) -> GeodesicResult:
        """Find curves of least action.

        Parameters
        ----------
        lagrangian : callable
            L(x, v, t), for positions and velocities of shape (n, n_times, n_features) and times
            of shape (n_times,).
        x, y : Tensor of shape (n, n_features)
            Where the curves start and end.
        basis : PathBasis
            The shapes and the quadrature of the curves.
        z_init : Tensor of shape (n, n_features, n_knots), default=None
            Curves to start with, beside others. None has no suggestion.

        Returns
        -------
        result : GeodesicResult
            Without a graph; never raises for lack of convergence.
        """


class LBFGSGeodesic(GeodesicSolver):
    r"""Geodesics by L-BFGS on the coordinates of splines, all pairs at once, from several starts.

    .. math:: c(x, y) = \min_z \int_0^1 L(\gamma_z(t), \gamma_z'(t), t) \, dt

    Parameters
    ----------
    n_starts : int, default=3
        Curves to start from, beside the suggestion of the caller: the straight line, and arcs to
        both sides, in the plane two of them. The best result counts. 0 trusts the suggestion.
    spread : float, default=1.0
        The arcs are up to twice as much off the straight line half-way, in the units of the points.
    max_iter : int, default=200
        Trial points per curve, each one evaluation of the action and its gradient.
    tol : float, default=1e-3
        A curve has converged when the root mean square of its gradient is at most this.

    Notes
    -----
    The action is not convex where there are obstacles, and every start leads to a local minimum.
    From the straight line, Lagrangians with barriers (those whose ``annealed`` gives another one)
    are solved with weak and blurred barriers first, since a path inside a sharp wall feels no
    slope.

    References
    ----------
    .. [1] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI, Section 3.2.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import HyperbolicHalfPlane, RiemannianKinetic
    >>> from skot.numerics.splines import path_basis
    >>> from skot.solvers.geodesic import LBFGSGeodesic
    >>> x, y = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    >>> result = LBFGSGeodesic().solve(
    ...     RiemannianKinetic(HyperbolicHalfPlane()), x, y, path_basis(8)
    ... )
    >>> distance = torch.arccosh(torch.tensor(1.5))  # of the half-plane
    >>> torch.isclose(result.cost[0], distance**2 / 2, rtol=1e-3)
    tensor(True)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "n_starts": [Interval(Integral, 0, None, closed="left")],
        "spread": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self, *, n_starts: int = 3, spread: float = 1.0, max_iter: int = 200, tol: float = 1e-3
    ):
        self.n_starts = n_starts
        self.spread = spread
        self.max_iter = max_iter
        self.tol = tol

    def solve(
        self,
        lagrangian: Callable[[Tensor, Tensor, Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        basis: PathBasis,
        z_init: Tensor | None = None,
    ) -> GeodesicResult:
        """Solve from every start and keep the best.

        Parameters
        ----------
        lagrangian : callable
            L(x, v, t), for positions and velocities of shape (n, n_times, n_features) and times
            of shape (n_times,).
        x, y : Tensor of shape (n, n_features)
            Where the curves start and end.
        basis : PathBasis
            The shapes and the quadrature of the curves.
        z_init : Tensor of shape (n, n_features, n_knots), default=None
            Curves to start with, beside the others. None has no suggestion.

        Returns
        -------
        result : GeodesicResult
            The best curve of each pair. Without a graph; never raises for lack of convergence.
        """
        x, y, basis = x.detach(), y.detach(), basis.to(x)
        starts = [] if z_init is None else [(z_init.detach().to(x), False)]
        if basis.n_knots:
            starts += self._starts(lagrangian, x, y, basis)
        if not starts:
            starts = [(x.new_zeros(*x.shape, basis.n_knots), True)]
        found = [
            self._descend(lagrangian, x, y, basis, z, blurred=blurred) for z, blurred in starts
        ]
        return reduce(_better, found)

    def _starts(
        self, lagrangian: Any, x: Tensor, y: Tensor, basis: PathBasis
    ) -> list[tuple[Tensor, bool]]:
        """The straight line, and on each side the arc of least action among several heights.

        With each, whether barriers are blurred at first.
        """
        straight = x.new_zeros(*x.shape, basis.n_knots)
        starts = [(straight, True)][: self.n_starts]
        for arc in _arcs(x, y, basis, self.n_starts - 1):
            best, least = straight, x.new_full((len(x),), torch.inf)
            for height in _HEIGHTS:
                with torch.no_grad():
                    costs = action(lagrangian, x, y, self.spread * height * arc, basis)
                wins = costs < least
                least = torch.where(wins, costs, least)
                best = torch.where(wins[:, None, None], self.spread * height * arc, best)
            starts.append((best, False))
        return starts

    def _descend(
        self, lagrangian: Any, x: Tensor, y: Tensor, basis: PathBasis, z: Tensor, *, blurred: bool
    ) -> GeodesicResult:
        """Solve from one start, with blurred barriers first where asked for."""
        if basis.n_knots == 0:
            with torch.no_grad():
                cost = action(lagrangian, x, y, z, basis)
            none = torch.zeros(len(x), dtype=torch.int64, device=x.device)
            return GeodesicResult(cost, z, none, torch.isfinite(cost))
        stages = list(_stages(lagrangian)) if blurred else []
        for softened in stages:
            n_trials = max(1, round(_STAGE_SHARE * self.max_iter))
            z = _minimize(softened, x, y, basis, z, n_trials, self.tol).path
        return _minimize(lagrangian, x, y, basis, z, self.max_iter, self.tol)


def _stages(lagrangian: Any) -> Iterator[Any]:
    """Softer versions of a Lagrangian that has barriers."""
    annealed = getattr(lagrangian, "annealed", None)
    if annealed is None:
        return
    for strength, sharpness in _STAGES:
        softened = annealed(strength, sharpness)
        if softened is not lagrangian:
            yield softened


def _minimize(
    lagrangian: Any, x: Tensor, y: Tensor, basis: PathBasis, z: Tensor, max_iter: int, tol: float
) -> GeodesicResult:
    """Run L-BFGS on the coordinates of the curves."""

    def value_and_gradient(u: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = u.detach().requires_grad_()
            ends = (x.index_select(0, rows), y.index_select(0, rows))
            values = action(lagrangian, *ends, leaf.view(-1, *z.shape[1:]), basis)
            (gradients,) = torch.autograd.grad(values.sum(), leaf)
        return values.detach(), gradients

    found = batched_lbfgs(value_and_gradient, z.flatten(1), max_iter=max_iter, tol=tol)
    path = found.argument.view(z.shape)
    return GeodesicResult(found.value, path, found.n_iter, found.converged)


def _arcs(x: Tensor, y: Tensor, basis: PathBasis, n_arcs: int) -> Iterator[Tensor]:
    """Arcs that are off the straight line by one half-way, to both sides of it in turn.

    In the plane there are two; beyond, their directions do not depend on the batch.
    """
    n_features = x.shape[1]
    n_sides = {1: 0, 2: 2}.get(n_features, n_arcs)
    middle = basis.at(torch.tensor([0.5])).position[0, 0]
    generator = torch.Generator().manual_seed(0)
    for k in range(min(n_arcs, n_sides)):
        if k % 2 == 0:
            across = _across(y - x, generator)
        z = x.new_zeros(*x.shape, basis.n_knots)
        z[:, :, 0] = (-1) ** k * across / middle
        yield z


def _across(chord: Tensor, generator: torch.Generator) -> Tensor:
    """Unit vectors that are orthogonal to others, row by row."""
    if chord.shape[1] == 2:
        across = torch.stack([-chord[:, 1], chord[:, 0]], dim=1)
    else:
        chord = torch.nn.functional.normalize(chord, dim=1)
        direction = torch.randn(chord.shape[1], generator=generator, dtype=torch.float64).to(chord)
        across = direction - (chord @ direction)[:, None] * chord
    return torch.nn.functional.normalize(across, dim=1)


def _better(one: GeodesicResult, other: GeodesicResult) -> GeodesicResult:
    """The better of two curves, row by row."""
    # The first suggestion stays where another start leads to the same curve.
    margin = 1e-6 * (1.0 + one.cost.abs())
    wins = ~(one.cost <= other.cost + margin) & torch.isfinite(other.cost)
    return GeodesicResult(
        torch.where(wins, other.cost, one.cost),
        torch.where(wins[:, None, None], other.path, one.path),
        torch.where(wins, other.n_iter, one.n_iter),
        torch.where(wins, other.converged, one.converged),
    )
