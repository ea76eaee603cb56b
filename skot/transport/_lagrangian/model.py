"""Learned Lagrangian transport at work: c-transforms and geodesics, from predictions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from skot.numerics.action import action, curve
from skot.numerics.splines import PathBasis
from skot.numerics.subsample import spread_rows
from skot.numerics.tiles import NETWORK_WIDTH, row_tiles
from skot.potentials import FramedPotential
from skot.solvers.c_transform import CTransformResult
from skot.solvers.geodesic import GeodesicResult
from skot.transport._lagrangian.coordinates import FramedLagrangian
from skot.transport._neural.two_samples import LearnedTransport
from skot.utils._warnings import warn_not_converged

#: Distances between the rows of a batch that borrow each other's paths in training.
_BORROWED = (1, 7, 31)
#: Paths that are kept to try them out on new rows.
_BANK_SIZE = 8
#: How often rows that did not converge are given to the solver again, outside of training.
_MORE_SOLVES = 19
#: Costs and dual values are computed on at most this many training rows a side.
_COST_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class LearnedLagrangian(LearnedTransport):
    """The networks, and how their predictions are refined.

    Attributes
    ----------
    solver, geodesic_solver : object
        Refine the predictions of end points with paths, and of paths between given points.
    source_bounds, target_bounds : tuple of Tensor of shape (n_features,)
        Where the arguments of c-transforms are looked for.
    examples : Tensor of shape (n, n_features)
        Source rows in the frame whose paths the bank is chosen from.
    is_settled : bool
        Whether the cost is known to leave no end point open.
    bank : Tensor of shape (k, n_features, n_knots) or None
        Paths that are tried out on every row beside the predicted one. Minimisation is local, and
        a network that has to decide between two sides of an obstacle wavers between them.
    """

    lagrangian: FramedLagrangian
    basis: PathBasis
    solver: Any
    geodesic_solver: Any
    source_bounds: tuple[Tensor, Tensor]
    target_bounds: tuple[Tensor, Tensor]
    examples: Tensor
    is_settled: bool
    bank: Tensor | None = None

    def potential(self, name: str) -> FramedPotential:
        """A potential on points in the units of the data, by the name of its network."""
        frame = self.frame.to(self.dtype)
        return FramedPotential(self.modules[name], frame, self.lagrangian.unit)

    # In the frame

    def predicted_path(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the coordinates of paths as the network sees them."""
        if "path" not in self.modules:
            return x.new_zeros(*x.shape, self.basis.n_knots)
        return self.modules["path"](x, y)

    def predicted_cost(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the action of the paths that the network sees."""
        path = self.predicted_path(x, y)
        return action(self.lagrangian, x, y, path, self.basis.to(x))

    def suggested_path(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the best of the predicted path and those of the bank."""
        path = self.predicted_path(x, y)
        if self.bank is None:
            return path
        bank = self.bank.to(x)
        others = (one.expand_as(path) for one in bank)
        return _least_action(self.lagrangian, x, y, [path, *others], self.basis.to(x))

    def transport(self, x: Tensor) -> CTransformResult:
        """Predict and solve the c-transforms of source rows, without a graph."""
        with torch.no_grad():
            y = self.modules["amortizer"](x)
            path = self.suggested_path(x, y)
            return self._solve_patiently(self.modules["potential"], x, y, path, backward=False)

    def transport_batch(self, x: Tensor, annealed: tuple[float, float]) -> CTransformResult:
        """Do the same for a batch of training, whose rows try the paths of each other."""
        with torch.no_grad():
            lagrangian = self.lagrangian.annealed(*annealed)
            y = self.modules["amortizer"](x)
            path = self.predicted_path(x, y)
            if self.basis.n_knots:
                others = (path.roll(distance, 0) for distance in _BORROWED)
                path = _least_action(lagrangian, x, y, [path, *others], self.basis.to(x))
            return self._solve(lagrangian, self.modules["potential"], x, y, path, backward=False)

    def transport_back(self, y: Tensor) -> CTransformResult:
        """Predict and solve the c-transforms of target rows in the other direction."""
        with torch.no_grad():
            x = self.modules["inverse_amortizer"](y)
            path = self.suggested_path(x, y)
            potential = self.modules["source_potential"]
            return self._solve_patiently(potential, y, x, path, backward=True)

    def dual_value(self, x: Tensor, y: Tensor) -> float:
        """Return the dual value on rows of both sides, in the units of the frame."""
        with torch.no_grad():
            found = self.transport(x)
            return float(found.value.mean() + self.modules["potential"](y).mean())

    def curves(self, x: Tensor, y: Tensor, path: Tensor, times: Tensor) -> Tensor:
        """Return the positions of paths at given times, of shape (n, n_times, n_features)."""
        return curve(x, y, path, self.basis.to(x).at(times))[0]

    @property
    def row_width(self) -> int:
        """Numbers that a row needs while it is worked on."""
        n_features = len(self.lagrangian.mean)
        return max(NETWORK_WIDTH, n_features * len(self.basis.times))

    def widened(self, source: Tensor, target: Tensor, margin: float) -> "LearnedLagrangian":
        """Return the same for more rows: bounds reach around them, examples are among them."""

        def joined(old: tuple[Tensor, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
            lower, upper = bounds_of(rows, margin)
            return torch.minimum(old[0], lower), torch.maximum(old[1], upper)

        return replace(
            self,
            source_bounds=joined(self.source_bounds, source),
            target_bounds=joined(self.target_bounds, target),
            examples=spread_rows(source, len(self.examples)),
        )

    def with_bank(self) -> "LearnedLagrangian":
        """Return the same with the most different paths that the network sees."""
        if self.basis.n_knots == 0:
            return self
        x = self.examples.to(next(self.modules["path"].parameters()))
        with torch.no_grad():
            paths = self.predicted_path(x, self.modules["amortizer"](x))
        return replace(self, bank=paths[_spread_out(paths.flatten(1), _BANK_SIZE)])

    # On rows in the units of the data, a tile at a time

    def images(self, x: Tensor) -> Tensor:
        """Where source points go, of shape (n, n_features)."""
        moved = torch.empty_like(x)
        for rows, _, found in self._solved(x, backward=False):
            moved[rows] = self.frame.target_rows_back(found.argument.to(x.dtype))
        return moved

    def origins(self, y: Tensor) -> Tensor:
        """Where target points come from, of shape (m, n_features)."""
        moved = torch.empty_like(y)
        for rows, _, found in self._solved(y, backward=True):
            moved[rows] = self.frame.source_rows_back(found.argument.to(y.dtype))
        return moved

    def followed(self, x: Tensor, times: Tensor) -> Tensor:
        """Where source points are at given times, of shape (n, n_times, n_features)."""
        paths = x.new_empty(len(x), len(times), x.shape[1])
        for rows, points, found in self._solved(x, backward=False):
            path = self._geodesics(points, found.argument, found.path).path
            curves = self.curves(points, found.argument, path, times)
            paths[rows] = self.frame.source_rows_back(curves.to(x.dtype))
        return paths

    def geodesics(self, x: Tensor, y: Tensor, times: Tensor) -> Tensor:
        """Points of the paths between given points, of shape (n, n_times, n_features)."""
        x, y = self._in_frame(x, y)
        paths = x.new_empty(len(x), len(times), x.shape[1])
        for rows, found in self._solved_geodesics(x, y):
            paths[rows] = self.curves(x[rows], y[rows], found.path, times)
        return self.frame.source_rows_back(paths.double())

    def path_costs(self, x: Tensor, y: Tensor, *, amortized: bool) -> Tensor:
        """Cost of given pairs of points, of shape (n,), in the units of the Lagrangian."""
        x, y = self._in_frame(x, y)
        costs = x.new_empty(len(x))
        if amortized:
            with torch.no_grad():
                for rows in row_tiles(len(x), self.row_width):
                    costs[rows] = self.predicted_cost(x[rows], y[rows])
        else:
            for rows, found in self._solved_geodesics(x, y):
                costs[rows] = found.cost
        return self.lagrangian.unit * costs.double()

    def values(self) -> tuple[float, float]:
        """Mean cost and dual value on kept rows, in the units of the Lagrangian."""
        x, y = (spread_rows(rows, _COST_ROWS) for rows in self.rows)
        x, y = self._in_frame(x, y)
        potential, unit = self.modules["potential"], self.lagrangian.unit
        with torch.no_grad():
            found = self.transport(x)
            cost = float(self._geodesics(x, found.argument, found.path).cost.mean())
            on_images = float(potential(found.argument).mean())
            on_target = float(potential(y).mean())
        return unit * cost, unit * (cost - on_images + on_target)

    def _in_frame(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.frame.source_rows(x).to(self.dtype), self.frame.target_rows(y).to(self.dtype)

    def _geodesics(self, x: Tensor, y: Tensor, path: Tensor) -> GeodesicResult:
        """Solve for the paths between rows in the frame, from suggestions."""
        return self.geodesic_solver.solve(self.lagrangian, x, y, self.basis, path)

    def _solved(
        self, rows: Tensor, *, backward: bool
    ) -> Iterator[tuple[slice, Tensor, CTransformResult]]:
        """Solve c-transforms tile by tile: which rows, these rows in the frame, the result."""
        n_failed = 0
        into_frame = self.frame.target_rows if backward else self.frame.source_rows
        solve = self.transport_back if backward else self.transport
        for tile in row_tiles(len(rows), self.row_width):
            points = into_frame(rows[tile]).to(self.dtype)
            found = solve(points)
            n_failed += int((~found.converged).sum())
            yield tile, points, found
        _warn_of(n_failed, len(rows), "c_transform_solver", self.solver)

    def _solved_geodesics(self, x: Tensor, y: Tensor) -> Iterator[tuple[slice, GeodesicResult]]:
        """Find paths between rows in the frame, tile by tile."""
        n_failed = 0
        for tile in row_tiles(len(x), self.row_width):
            with torch.no_grad():
                suggestion = self.suggested_path(x[tile], y[tile])
            found = self._geodesics(x[tile], y[tile], suggestion)
            n_failed += int((~found.converged).sum())
            yield tile, found
        _warn_of(n_failed, len(x), "geodesic_solver", self.geodesic_solver)

    def _solve_patiently(
        self, potential: Any, x: Tensor, y: Tensor, path: Tensor, *, backward: bool
    ) -> CTransformResult:
        """Solve again for rows that did not converge: training can be short of steps, users not."""
        found = self._solve(self.lagrangian, potential, x, y, path, backward=backward)
        for _ in range(_MORE_SOLVES):
            left = (~found.converged).nonzero()[:, 0]
            if not len(left):
                break
            again = self._solve(
                self.lagrangian,
                potential,
                x[left],
                found.argument[left],
                found.path[left],
                backward=backward,
                anchor=y[left],
            )
            found = CTransformResult(
                found.value.index_copy(0, left, again.value),
                found.argument.index_copy(0, left, again.argument),
                found.path.index_copy(0, left, again.path),
                found.n_iter.index_add(0, left, again.n_iter),
                found.converged.index_copy(0, left, again.converged),
            )
        return found

    def _solve(
        self,
        lagrangian: Any,
        potential: Any,
        x: Tensor,
        y: Tensor,
        path: Tensor,
        *,
        backward: bool,
        anchor: Tensor | None = None,
    ) -> CTransformResult:
        lower, upper = self.source_bounds if backward else self.target_bounds
        return self.solver.solve(
            lagrangian,
            potential,
            x,
            y,
            path,
            self.basis,
            bounds=(lower.to(x), upper.to(x)),
            backward=backward,
            anchor=anchor,
        )


def _warn_of(n_failed: int, n_rows: int, name: str, solver: Any) -> None:
    if n_failed:
        warn_not_converged(
            f"The paths of {n_failed} of {n_rows} rows were not found to the tolerance of "
            f"{type(solver).__name__}: they are approximate. Increase max_iter or tol of {name}, "
            "or train longer."
        )


def bounds_of(rows: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Return a box around rows, wider than their range by a share of it on every side."""
    lower, upper = rows.amin(0), rows.amax(0)
    room = margin * (upper - lower)
    return lower - room, upper + room


def _least_action(
    lagrangian: Any, x: Tensor, y: Tensor, paths: Iterable[Tensor], basis: PathBasis
) -> Tensor:
    """Return the best of several paths, row by row; the first one counts where they are equal."""
    first, *others = paths
    best, least = first, action(lagrangian, x, y, first, basis)
    for path in others:
        costs = action(lagrangian, x, y, path, basis)
        wins = costs < least
        least = torch.where(wins, costs, least)
        best = torch.where(wins[:, None, None], path, best)
    return best


def _spread_out(points: Tensor, n: int) -> Tensor:
    """Return the numbers of `n` points that are far from each other, greedily."""
    chosen = [0]
    distance = (points - points[0]).square().sum(1)
    for _ in range(min(n, len(points)) - 1):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1))
    return torch.tensor(chosen, device=points.device)
