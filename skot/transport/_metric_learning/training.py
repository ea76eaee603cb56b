"""Training of a metric: transports between populations and gradient steps by turns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Generator, Tensor

from skot.costs import ConstantMetric, RiemannianKinetic, check_lagrangian
from skot.costs._riemannian import quadratic_form
from skot.numerics.action import curve
from skot.numerics.splines import PathBasis
from skot.numerics.tiles import NETWORK_WIDTH, TILE_ENTRIES, row_tiles
from skot.training import TrainingState
from skot.transport._metric_learning.populations import Metric, draw_targets, solve_transport

#: Name of the metric in states and in ``_modules``.
METRIC = "metric"
#: Targets that are drawn for each row of a population.
_DRAWS = 4
#: Points at which a metric is looked at.
_CHECKED_ROWS = 512


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

    Attributes
    ----------
    basis : PathBasis
        Shapes of the paths; without knots they are straight.
    solver : GeodesicSolver
        Finds the others.
    scale : float
        Length that the solver sees as one.
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
        """Return the points of geodesics at some times.

        Parameters
        ----------
        metric : callable
            The metric.
        x, y : Tensor of shape (n, n_features)
            Where the paths start and end.
        fractions : Tensor of shape (n_times,)
            Times in [0, 1].

        Returns
        -------
        positions : Tensor of shape (n, n_times, n_features)
            Points of the paths.
        """
        z = self.solve(metric, x, y)
        return curve(x, y, z, self.basis.at(fractions).to(x))[0]


@dataclass
class MetricTraining:
    """Trains the metric of a state on populations in sequence.

    Attributes
    ----------
    state : TrainingState
        Its generator draws everything.
    populations : sequence of Tensor of shape (n_k, n_features)
        In the order of time.
    epsilon : float
        Regularisation of the transports.
    renew_every : int
        Steps between transports.
    paths : PathSolver
        Finds the paths.
    batch_size : int
        Paths in a step.
    transport_size : int
        Rows of a population in a transport.
    """

    state: TrainingState
    populations: Sequence[Tensor]
    epsilon: float
    renew_every: int
    paths: PathSolver
    batch_size: int
    transport_size: int
    _current: Paths | None = field(default=None, init=False)

    def step(self, i: int) -> Tensor:
        """Do one gradient step, on new paths from time to time; return the loss."""
        if self._current is None or i % self.renew_every == 0:
            self._current = self._transported(first=i == 0)
        loss = self._loss(self._current)
        self.state.updaters[METRIC].update(loss)
        return loss.detach()

    @property
    def _generator(self) -> Generator:
        return cast(Generator, self.state.generator)  # states are built with one here

    def _transported(self, *, first: bool) -> Paths:
        """Transport the populations under the metric as it stands, at first the Euclidean one."""
        metric = self.state.modules[METRIC]
        populations = some_of_each(self.populations, self.transport_size, self._generator)
        check_metric_module(metric, populations)
        current = euclidean_metric(populations[0].shape[1]) if first else metric
        starts, ends = [], []
        for x, y in zip(populations[:-1], populations[1:], strict=True):
            plan = solve_transport(current, x, y, self.epsilon)[1]
            targets = draw_targets(plan, _DRAWS, self._generator)
            starts.append(x.repeat_interleave(_DRAWS, 0))
            ends.append(y[targets.flatten()])
        x, y = torch.cat(starts), torch.cat(ends)
        z = self.paths.solve(current, x, y)
        unit = 0.5 * float((y - x).square().sum(1).mean() + z.square().sum((1, 2)).mean())
        return Paths(x, y, z, unit or 1.0)

    def _loss(self, paths: Paths) -> Tensor:
        """Mean action of a batch of paths, each seen at one time of the quadrature."""
        basis, generator = self.paths.basis, self._generator
        size = min(self.batch_size, len(paths.x))
        rows = torch.randint(len(paths.x), (size,), generator=generator).to(paths.x.device)
        nodes = torch.multinomial(basis.weights, size, replacement=True, generator=generator)
        time, shape, slope = (
            values[nodes].to(paths.x) for values in (basis.times, basis.position, basis.velocity)
        )
        x, chord, z = paths.x[rows], paths.y[rows] - paths.x[rows], paths.z[rows]
        position = x + time[:, None] * chord + (z * shape[:, None]).sum(2)
        velocity = chord + (z * slope[:, None]).sum(2)
        energy, penalty = _energy_and_penalty(self.state.modules[METRIC], position, velocity)
        return energy / paths.unit + penalty


def _energy_and_penalty(
    metric: Metric, position: Tensor, velocity: Tensor
) -> tuple[Tensor, Tensor | float]:
    if hasattr(metric, "energy_and_penalty"):
        return metric.energy_and_penalty(position, velocity)
    return 0.5 * quadratic_form(metric, position, velocity).mean(), 0.0


def check_metric_module(metric: Metric, populations: Sequence[Tensor]) -> None:
    """Look for points of the populations where a metric is not defined.

    Raises
    ------
    ValueError
        With the first place in the message.
    """
    n_each = math.ceil(_CHECKED_ROWS / len(populations))
    points = torch.cat([points[:n_each] for points in populations])
    check_lagrangian(
        RiemannianKinetic(metric), points, torch.ones_like(points), torch.zeros_like(points[:, 0])
    )


def euclidean_metric(n_features: int) -> ConstantMetric:
    """Return the identity."""
    return ConstantMetric(tuple(map(tuple, torch.eye(n_features).tolist())))


def some_of_each(populations: Sequence[Tensor], n: int, generator: Generator) -> Sequence[Tensor]:
    """Return populations with at most `n` rows, drawn without replacement."""
    return [
        points
        if len(points) <= n
        else points[torch.randperm(len(points), generator=generator)[:n].to(points.device)]
        for points in populations
    ]
