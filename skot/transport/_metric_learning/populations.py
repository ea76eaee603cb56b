"""Populations in sequence, and the transports between them for the cost of a metric."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from skot.costs import PrecomputedCost, RiemannianKinetic, check_lagrangian, quadratic_form
from skot.numerics.tiles import NETWORK_WIDTH, row_tiles
from skot.solvers import sinkhorn

#: Settings of the solver of plans.
_TOL, _MAX_ITER = 1e-3, 2000
#: Share of the spread of the costs below which what is left of it is rounding.
_LEAST_SPREAD = 1e-6

#: Points at which a metric is looked at.
_CHECKED_ROWS = 512

Metric = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Populations:
    """Rows of several times.

    Attributes
    ----------
    times : ndarray of shape (n_times,)
        Ascending.
    rows : list of Tensor of shape (n_k, n_features)
        The population of each time, in float64.
    dtype : dtype
        Of the rows as they were given.
    attributes : dict of str to object
        What a fitted estimator keeps.
    """

    times: np.ndarray
    rows: list[Tensor]
    dtype: torch.dtype
    attributes: dict[str, Any]

    @classmethod
    def of(cls, rows: Tensor, time: np.ndarray, dtype: torch.dtype) -> "Populations":
        """Part rows by their times."""
        times, codes = np.unique(time, return_inverse=True)
        order = np.argsort(codes, kind="stable")
        sizes = np.bincount(codes).tolist()
        populations = list(rows[torch.from_numpy(order).to(rows.device)].split(sizes))
        return cls(times, populations, dtype, {"times_": times})

    @property
    def n_items(self) -> int:
        """Number of rows."""
        return sum(map(len, self.rows))


@dataclass(frozen=True)
class PopulationTransport:
    r"""Entropic transport from one population to the next.

    Attributes
    ----------
    y : Tensor of shape (m, n_features)
        The population that is reached.
    g : Tensor of shape (m,)
        Its potential.
    epsilon : float
        Regularisation, in the units of the cost.
    converged : bool
        Whether the plan was found to the tolerance.
    """

    y: Tensor
    g: Tensor
    epsilon: float
    converged: bool

    def plan(self, metric: Metric, x: Tensor) -> Tensor:
        r"""Return where points x (n, n_features), of the population before or others, go: (n, m).

        .. math:: P_{ij} \propto \exp\big((g_j - c(x_i, y_j)) / \epsilon\big), \quad
                  \sum_j P_{ij} = 1
        """
        return self.plan_of(straight_costs(metric, x, self.y.to(x)))

    def plan_of(self, costs: Tensor) -> Tensor:
        """Return the plan of rows with given costs, of shape (n, m)."""
        return torch.softmax((self.g.to(costs) - costs) / self.epsilon, 1)

    def transport(self, metric: Metric, x: Tensor) -> Tensor:
        """Return the mean of where each point of x (n, n_features) goes, in memory O(n + m).

        Row by row, a tile of rows at a time.
        """
        y, images = self.y.to(x), torch.empty_like(x)
        for rows in row_tiles(len(x), len(y)):
            # Not a product of matrices, whose rounding would depend on the number of rows.
            weights = self.plan(metric, x[rows]).unsqueeze(-1)
            images[rows] = (weights * y).sum(1)
        return images

    def to(self, device: torch.device | str) -> "PopulationTransport":
        """Move to a device."""
        return PopulationTransport(
            self.y.to(device), self.g.to(device), self.epsilon, self.converged
        )


def solve_transport(
    metric: Metric, x: Tensor, y: Tensor, epsilon: float
) -> tuple[PopulationTransport, Tensor]:
    """Solve the transport from x (n, n_features) to y (m, n_features), of equal weights.

    The second item is the plan (n, m), where each point goes: rows that sum to one. `epsilon` is in
    units of the spread of the costs: the root mean square of what is left of them without the means
    of rows and columns, on which the plan does not depend. Memory O(n m) while the solution is
    sought.
    """
    costs = straight_costs(metric, x, y).double()
    left = costs - costs.mean(0) - costs.mean(1, keepdim=True) + costs.mean()
    spread, whole = (float(part.square().mean().sqrt()) for part in (left, costs - costs.mean()))
    # Of single or equal points, what rounding leaves is no spread: all plans cost the same, and
    # this potential gives the uniform one.
    g, converged = costs.mean(0), True
    if spread <= _LEAST_SPREAD * whole or spread == 0.0:
        epsilon *= whole or 1.0
    else:
        epsilon *= spread
        result = sinkhorn(
            cost=PrecomputedCost(costs), epsilon=epsilon, tol=_TOL, max_iter=_MAX_ITER
        )
        g, converged = result.g, bool(result.converged)
    transport = PopulationTransport(y, g.to(y), epsilon, converged)
    return transport, transport.plan_of(costs)


def straight_costs(metric: Metric, x: Tensor, y: Tensor) -> Tensor:
    """Return the action (n, m) of straight lines from x (n, n_features) to y (m, n_features).

    These are upper bounds of the costs, by Simpson's rule: the metric is evaluated in all points
    and half-way between all pairs. No graph; computed a tile of rows at a time.
    """
    n_columns = len(y) * max(NETWORK_WIDTH, x.shape[1] ** 2)
    costs = x.new_empty(len(x), len(y))
    with torch.no_grad():
        at_y = metric(y)
        for rows in row_tiles(len(x), n_columns):
            start = x[rows, None]
            line = y - start
            at_x = metric(x[rows]).unsqueeze(1)
            middle = quadratic_form(metric, torch.lerp(start, y.expand_as(line), 0.5), line)
            ends = _contract(at_x, line) + _contract(at_y, line)
            costs[rows] = (4.0 * middle + ends) / 12.0
    return costs


def check_metric(metric: Metric, populations: Sequence[Tensor]) -> None:
    """Raise a `ValueError` with the first place in populations where a metric is not defined."""
    n_each = math.ceil(_CHECKED_ROWS / len(populations))
    points = torch.cat([points[:n_each] for points in populations])
    check_lagrangian(
        RiemannianKinetic(metric), points, torch.ones_like(points), torch.zeros_like(points[:, 0])
    )


def draw_targets(plan: Tensor, n_draws: int, generator: Generator) -> Tensor:
    """Draw columns (n, n_draws) for each row of a plan (n, m), whose rows sum to one.

    The `generator` is on the CPU.
    """
    levels = torch.cumsum(plan.double(), 1)
    draws = torch.rand(len(plan), n_draws, generator=generator, dtype=torch.float64).to(levels)
    return torch.searchsorted(levels, draws).clamp_(max=plan.shape[1] - 1)


def _contract(matrix: Tensor, v: Tensor) -> Tensor:
    return ((matrix @ v.unsqueeze(-1)).squeeze(-1) * v).sum(-1)
