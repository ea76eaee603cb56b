"""Training of a metric: transports between populations and gradient steps by turns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Generator, Tensor

from skot.costs import ConstantMetric, quadratic_form
from skot.numerics.splines import path_basis
from skot.numerics.subsample import drawn_rows
from skot.training import Stopping, TrainingState
from skot.transport._metric_learning.model import METRIC, LearnedMetric
from skot.transport._metric_learning.paths import Paths, PathSolver
from skot.transport._metric_learning.populations import (
    Metric,
    Populations,
    check_metric,
    draw_targets,
    solve_transport,
)
from skot.transport._neural.fit import Loop, Method
from skot.utils.tensors import is_wide

#: Targets that are drawn for each row of a population.
_DRAWS = 4
#: Nodes of the quadrature between two knots of a path.
_N_NODES = 4


@dataclass(frozen=True)
class MetricMethod(Method[LearnedMetric]):
    """How a metric is learned from populations in sequence.

    `network` is the architecture of the metric, and `geodesic_solver` finds the paths between given
    points, which may bend by `n_knots` numbers for each feature. Transports are solved anew every
    `renew_every` steps, between `transport_size` rows of a population; their regularisation
    `epsilon` is in units of the spread of their costs.
    """

    network: Any
    geodesic_solver: Any
    epsilon: float
    n_knots: int
    renew_every: int
    transport_size: int

    shown: ClassVar = ("network", "geodesic_solver", "optimizer")

    def start(self, data: Populations, generator: Generator) -> LearnedMetric:
        """Draw the metric, in a precision that holds the data."""
        points = torch.cat(data.rows)
        length = float((points - points.mean(0)).square().mean().sqrt()) or 1.0
        dtype = torch.float64 if is_wide(float(points.abs().max()), length) else torch.float32
        module = self.network.build(points.shape[1], generator=generator).to(dtype)
        if hasattr(module, "standardize_"):
            module.standardize_(points)
        return LearnedMetric(
            modules={METRIC: module.to(points.device, dtype)},
            times=data.times,
            paths=PathSolver(path_basis(self.n_knots, _N_NODES), self.geodesic_solver, length),
        )

    def loop(
        self,
        learned: LearnedMetric,
        state: TrainingState,
        data: Populations,
        stopping: Stopping | None,
    ) -> Loop:
        """Return the step; no rows are held out."""
        dtype = next(state.modules[METRIC].parameters()).dtype
        populations = [rows.to(dtype) for rows in data.rows]
        return Loop(self._step(learned.paths, state, populations), None, lambda params: "")

    def _step(
        self, solver: PathSolver, state: TrainingState, populations: list[Tensor]
    ) -> Callable[[int], Tensor]:
        paths: Paths | None = None

        def step(i: int) -> Tensor:
            """Do one gradient step, on new paths from time to time."""
            nonlocal paths
            if paths is None or i % self.renew_every == 0:
                paths = self._transported(solver, state, populations, first=i == 0)
            loss = self._loss(solver, state, paths)
            state.updaters[METRIC].update(loss)
            return loss.detach()

        return step

    def _transported(
        self,
        solver: PathSolver,
        state: TrainingState,
        populations: list[Tensor],
        *,
        first: bool,
    ) -> Paths:
        """Transport the populations under the metric as it stands, at first the Euclidean one."""
        metric = state.modules[METRIC]
        generator = cast(Generator, state.generator)  # states are built with one here
        some = [drawn_rows(rows, self.transport_size, generator) for rows in populations]
        check_metric(metric, some)
        current = euclidean_metric(some[0].shape[1]) if first else metric
        starts, ends = [], []
        for x, y in zip(some[:-1], some[1:], strict=True):
            plan = solve_transport(current, x, y, self.epsilon)[1]
            targets = draw_targets(plan, _DRAWS, generator)
            starts.append(x.repeat_interleave(_DRAWS, 0))
            ends.append(y[targets.flatten()])
        x, y = torch.cat(starts), torch.cat(ends)
        z = solver.solve(current, x, y)
        unit = 0.5 * float((y - x).square().sum(1).mean() + z.square().sum((1, 2)).mean())
        return Paths(x, y, z, unit or 1.0)

    def _loss(self, solver: PathSolver, state: TrainingState, paths: Paths) -> Tensor:
        """Mean action of a batch of paths, each seen at one time of the quadrature."""
        basis, generator = solver.basis, cast(Generator, state.generator)
        size = min(self.batch_size, len(paths.x))
        rows = torch.randint(len(paths.x), (size,), generator=generator).to(paths.x.device)
        nodes = torch.multinomial(basis.weights, size, replacement=True, generator=generator)
        time, shape, slope = (
            values[nodes].to(paths.x) for values in (basis.times, basis.position, basis.velocity)
        )
        x, chord, z = paths.x[rows], paths.y[rows] - paths.x[rows], paths.z[rows]
        position = x + time[:, None] * chord + (z * shape[:, None]).sum(2)
        velocity = chord + (z * slope[:, None]).sum(2)
        energy, penalty = _energy_and_penalty(state.modules[METRIC], position, velocity)
        return energy / paths.unit + penalty


def _energy_and_penalty(
    metric: Metric, position: Tensor, velocity: Tensor
) -> tuple[Tensor, Tensor | float]:
    if hasattr(metric, "energy_and_penalty"):
        return metric.energy_and_penalty(position, velocity)
    return 0.5 * quadratic_form(metric, position, velocity).mean(), 0.0


def euclidean_metric(n_features: int) -> ConstantMetric:
    """Return the identity."""
    return ConstantMetric(tuple(map(tuple, torch.eye(n_features).tolist())))
