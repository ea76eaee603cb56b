"""A learned metric at work: populations, the transports between them, and paths."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from skot.transport._metric_learning.paths import PathSolver
from skot.transport._metric_learning.populations import (
    PopulationTransport,
    check_metric,
    solve_transport,
)
from skot.transport._neural.fit import Learned

#: Name of the metric in states and in what was learned.
METRIC = "metric"


@dataclass(frozen=True, kw_only=True)
class LearnedMetric(Learned):
    """The metric, with what transports along it.

    Attributes
    ----------
    times : ndarray of shape (n_times,)
        Of the populations.
    populations : tuple of Tensor of shape (n_k, n_features)
        Rows of each time that are kept; none before training has ended.
    transports : tuple of PopulationTransport
        From each population to the next.
    """

    times: np.ndarray
    paths: PathSolver
    populations: tuple[Tensor, ...] = ()
    transports: tuple[PopulationTransport, ...] = ()

    @property
    def metric(self) -> nn.Module:
        """The network."""
        return self.modules[METRIC]

    def between(self, populations: Sequence[Tensor], epsilon: float) -> "LearnedMetric":
        """Return the same with the transports between populations."""
        dtype = next(self.metric.parameters()).dtype
        kept = tuple(rows.to(dtype) for rows in populations)
        check_metric(self.metric, kept)
        transports = tuple(
            solve_transport(self.metric, x, y, epsilon)[0]
            for x, y in zip(kept[:-1], kept[1:], strict=True)
        )
        return replace(self, populations=kept, transports=transports)

    @property
    def n_unsolved(self) -> int:
        """Number of transports that did not reach their tolerance."""
        return sum(not transport.converged for transport in self.transports)

    def transport(self, x: Tensor) -> Tensor:
        """Transport rows from the first time to the last."""
        for transport in self.transports:
            x = transport.transport(self.metric, x)
        return x

    def follow(self, x: Tensor, times: np.ndarray) -> Tensor:
        """Return where rows of the first time are later, of shape (n, n_times, n_features)."""
        trajectories = x.new_empty(len(x), len(times), x.shape[1])
        interval, fraction = self._places(times)
        for k, transport in enumerate(self.transports):
            here = np.flatnonzero(interval == k)
            image = transport.transport(self.metric, x)
            if len(here):
                trajectories[:, here] = self._between(x, image, fraction[here])
            x = image
        return trajectories

    def population(self, time: float) -> Tensor:
        """Return the last population before a time, carried on to it."""
        (interval,), fraction = self._places(np.array([time], dtype=np.float64))
        x = self.populations[interval]
        image = self.transports[interval].transport(self.metric, x)
        return self._between(x, image, fraction)[:, 0]

    def _between(self, x: Tensor, y: Tensor, fraction: np.ndarray) -> Tensor:
        """Points of the paths from x to y, of shape (n, n_times, n_features)."""
        fractions = torch.from_numpy(np.asarray(fraction))
        return self.paths.follow(self.metric, x, y, fractions)

    def _places(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Interval of each time, whose end belongs to it, and the share of it that has passed."""
        interval = np.searchsorted(self.times, times) - 1
        interval = interval.clip(0, len(self.times) - 2)
        start, end = self.times[interval], self.times[interval + 1]
        return interval, (times - start) / (end - start)
