"""Paths between given points: geodesics of a metric, by few numbers each."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from skot.costs import RiemannianKinetic
from skot.numerics.action import curve
from skot.numerics.splines import PathBasis
from skot.numerics.tiles import NETWORK_WIDTH, TILE_ENTRIES, row_tiles
from skot.transport._metric_learning.populations import Metric


class Paths(NamedTuple):
    """Transported paths, which gradient steps hold fixed.

    Attributes
    ----------
    x, y : Tensor of shape (n_pairs, n_features)
        Where they start and end.
    z : Tensor of shape (n_pairs, n_features, n_knots)
        Deviations from the straight line.
    unit : float
        Mean action under the identity.
    """

    x: Tensor
    y: Tensor
    z: Tensor
    unit: float


@dataclass(frozen=True)
class PathSolver:
    """Finds the paths between given points.

    The shapes of the paths are those of `basis`; without knots they are straight. The `solver`, a
    `GeodesicSolver`, finds the others, and sees the length `scale` as one.
    """

    basis: PathBasis
    solver: Any
    scale: float

    def solve(self, metric: Metric, x: Tensor, y: Tensor) -> Tensor:
        """Return the deviations of geodesics from the straight line, a tile of rows at a time."""
        z = x.new_zeros(*x.shape, self.basis.n_knots)
        if self.basis.n_knots == 0 or len(x) == 0:
            return z
        kinetic = RiemannianKinetic(metric)

        def scaled(position: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
            return kinetic(self.scale * position, velocity, t)

        n_columns = len(self.basis.times) * NETWORK_WIDTH
        for rows in row_tiles(len(x), n_columns, 2 * TILE_ENTRIES):
            ends = (x[rows] / self.scale, y[rows] / self.scale)
            z[rows] = self.scale * self.solver.solve(scaled, *ends, self.basis, z[rows]).path
        return z

    def follow(self, metric: Metric, x: Tensor, y: Tensor, fractions: Tensor) -> Tensor:
        """Return the points (n, n_times, n_features) of geodesics from x to y, (n, n_features).

        The `fractions` (n_times,) are their times, in [0, 1].
        """
        z = self.solve(metric, x, y)
        return curve(x, y, z, self.basis.at(fractions).to(x))[0]
