"""Where rows are on their way: what a fitted transport along paths answers."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skot.numerics.tiles import row_tiles
from skot.potentials import Frame
from skot.solvers.c_transform import CTransformResult
from skot.solvers.geodesic import GeodesicResult
from skot.transport._base import BaseTransport
from skot.transport._lagrangian.model import LagrangianProblem
from skot.utils._points import check_n_times
from skot.utils.validation import DomainSplit, split_domains


class PathTransport(BaseTransport):
    """Base class of transports that solve a :class:`LagrangianProblem` row by row."""

    c_transform_solver_: Any
    geodesic_solver_: Any
    _problem: LagrangianProblem
    _frame: Frame
    _modules: dict[str, nn.Module]
    _dtype: torch.dtype

    def transport_paths(self, X: Any, n_times: int = 50) -> Any:
        """Follow source rows on their way to the target.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows.
        n_times : int, default=50
            Number of times, equally spaced from 0 to 1.

        Returns
        -------
        paths : array of shape (n_rows, n_times, n_features)
            From the rows themselves to what ``transform`` makes of them. Memory
            O(n_rows * n_times).
        """
        return self._followed(X, _equal_times(n_times))

    def transport_at(self, X: Any, t: float) -> Any:
        """Transport source rows for a part of the time.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows.
        t : float
            Time, from 0 (the source) to 1 (the target).

        Returns
        -------
        X_new : array of shape (n_rows, n_features)
            Where the rows are at that time.

        Raises
        ------
        ValueError
            If the time is not in [0, 1].
        """
        if not 0.0 <= t <= 1.0:
            raise ValueError(f"t must be between 0 and 1. Got {t!r}.")
        return self._followed(X, torch.tensor([float(t)], dtype=torch.float64))[:, 0]

    def geodesic(self, X: Any, Y: Any, n_times: int = 50) -> Any:
        """Find paths of least action between given points.

        Parameters
        ----------
        X, Y : array-like of shape (n_rows, n_features)
            Where the paths start and end, row by row. Any points.
        n_times : int, default=50
            Number of times, equally spaced from 0 to 1.

        Returns
        -------
        paths : array of shape (n_rows, n_times, n_features)
            Found by `geodesic_solver`, to which the path network makes a suggestion.

        Warns
        -----
        ConvergenceWarning
            If some paths were not found to the tolerance of the solver.
        """
        times = _equal_times(n_times)
        split, x, y = self._pairs(X, Y)
        paths = x.new_empty(len(x), len(times), x.shape[1])
        for rows, found in self._solved_geodesics(x, y):
            paths[rows] = self._problem.curves(x[rows], y[rows], found.path, times)
        return self._restore(self._frame.source_rows_back(paths.double()), X, split)

    def path_cost(self, X: Any, Y: Any, *, amortized: bool = False) -> Any:
        """Compute the cost of given pairs of points, row by row.

        Parameters
        ----------
        X, Y : array-like of shape (n_rows, n_features)
            Where paths start and end. Any points.
        amortized : bool, default=False
            Whether to trust the path network. Otherwise `geodesic_solver` works on what it
            suggests, and from other starts.

        Returns
        -------
        cost : array of shape (n_rows,)
            :math:`c(x_i, y_i)`, in the units of the Lagrangian: the action of a path, so an upper
            bound up to the accuracy of the quadrature.

        Warns
        -----
        ConvergenceWarning
            If some paths were not found to the tolerance of the solver.
        """
        split, x, y = self._pairs(X, Y)
        problem, costs = self._problem, x.new_empty(len(x))
        if amortized:
            with torch.no_grad():
                for rows in row_tiles(len(x), problem.row_width):
                    costs[rows] = problem.predicted_cost(self._modules, x[rows], y[rows])
        else:
            for rows, found in self._solved_geodesics(x, y):
                costs[rows] = found.cost
        return self._restore(problem.lagrangian.unit * costs.double(), X, split)

    # For subclasses

    def _map(self, x: Tensor, labels: np.ndarray | None) -> Tensor:
        moved = torch.empty_like(x)
        for rows, _, found in self._solved(x):
            moved[rows] = self._frame.target_rows_back(found.argument.to(x.dtype))
        return moved

    def _inverse_map(self, y: Tensor) -> Tensor:
        moved = torch.empty_like(y)
        for rows, _, found in self._solved(y, backward=True):
            moved[rows] = self._frame.source_rows_back(found.argument.to(y.dtype))
        return moved

    def _followed(self, X: Any, times: Tensor) -> Any:
        """Where source rows are at given times, of shape (n_rows, n_times, n_features)."""
        check_is_fitted(self)
        split = split_domains(self, X, reset=False)
        x = self._to_compute(split.X_source)
        paths = x.new_empty(len(x), len(times), x.shape[1])
        problem = self._problem
        for rows, points, found in self._solved(x):
            path = self._geodesic_between(points, found).path
            curves = problem.curves(points, found.argument, path, times)
            paths[rows] = self._frame.source_rows_back(curves.to(x.dtype))
        return self._restore(paths, X, split)

    def _geodesic_between(self, x: Tensor, found: CTransformResult) -> GeodesicResult:
        """Find the paths between rows in the frame and their images."""
        problem = self._problem
        return self.geodesic_solver_.solve(
            problem.lagrangian, x, found.argument, problem.basis, found.path
        )

    def _pairs(self, X: Any, Y: Any) -> tuple[DomainSplit, Tensor, Tensor]:
        """Check rows that are paired one by one, and bring them into the frame."""
        check_is_fitted(self)
        split = split_domains(self, X, Y, reset=False)
        if split.X_target is None:
            raise ValueError("Y must be two-dimensional: the rows at which paths end.")
        check_consistent_length(split.X_source, split.X_target)
        x, y = self._to_compute(split.X_source), self._to_compute(split.X_target)
        frame, dtype = self._frame, self._dtype
        return split, frame.source_rows(x).to(dtype), frame.target_rows(y).to(dtype)

    def _solved(
        self, rows: Tensor, *, backward: bool = False
    ) -> Iterator[tuple[slice, Tensor, CTransformResult]]:
        """Solve c-transforms tile by tile: which rows, these rows in the frame, the result."""
        problem, n_failed = self._problem, 0
        into_frame = self._frame.target_rows if backward else self._frame.source_rows
        solve = problem.transport_back if backward else problem.transport
        for tile in row_tiles(len(rows), problem.row_width):
            points = into_frame(rows[tile]).to(self._dtype)
            found = solve(self._modules, points)
            n_failed += int((~found.converged).sum())
            yield tile, points, found
        self._warn_of(n_failed, len(rows), "c_transform_solver")

    def _solved_geodesics(self, x: Tensor, y: Tensor) -> Iterator[tuple[slice, GeodesicResult]]:
        """Find paths between rows in the frame, tile by tile."""
        problem, n_failed = self._problem, 0
        for tile in row_tiles(len(x), problem.row_width):
            with torch.no_grad():
                suggestion = problem.suggested_path(self._modules, x[tile], y[tile])
            found = self.geodesic_solver_.solve(
                problem.lagrangian, x[tile], y[tile], problem.basis, suggestion
            )
            n_failed += int((~found.converged).sum())
            yield tile, found
        self._warn_of(n_failed, len(x), "geodesic_solver")

    def _warn_of(self, n_failed: int, n_rows: int, name: str) -> None:
        if n_failed:
            warnings.warn(
                f"The paths of {n_failed} of {n_rows} rows were not found to the tolerance of "
                f"{type(getattr(self, name + '_')).__name__}: they are approximate. Increase "
                f"max_iter or tol of {name}, or train longer.",
                ConvergenceWarning,
                stacklevel=5,
            )


def _equal_times(n_times: int) -> Tensor:
    return torch.linspace(0.0, 1.0, check_n_times(n_times), dtype=torch.float64)
