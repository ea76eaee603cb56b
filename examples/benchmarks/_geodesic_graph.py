"""Shortest paths on a grid: starts for _geodesic_reference.py, and a global check of what it finds.

A curve of energy E = |g'|^2 / 2 - V(g) costs its length in the metric 2 (E + V) |dx|^2, minus E.
Minimising over the speed along a given curve maximises over E, so with D_E for the distance

    c(x, y) >= max over E of D_E(x, y) - E.

Dijkstra's algorithm finds D_E without local minima, up to the directions of the edges (32 of them:
lengths are too large by up to 1.3 per cent) and the spacing.
"""

import itertools
import math

import numpy as np
from _geodesic_problems import GeodesicProblem
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

_OFFSETS = [
    (a, b)
    for a, b in itertools.product(range(-3, 4), repeat=2)
    if math.gcd(a, b) == 1 and (a, b) > (0, 0)
]
_PARTS = 8


class GridGraph:
    """Nodes on a grid around the points, ``n_nodes`` along the longer side."""

    def __init__(self, problem: GeodesicProblem, points: np.ndarray, n_nodes: int) -> None:
        low, high = points.min(0), points.max(0)
        margin = 0.25 * (high - low).max()
        self.low = low - margin
        self.spacing = (high - low + 2.0 * margin).max() / (n_nodes - 1)
        self.shape = np.ceil((high + margin - self.low) / self.spacing).astype(int) + 1
        self.n_nodes = int(self.shape.prod())
        i, j = np.indices(self.shape)
        heads, tails, lengths, densities = [], [], [], []
        shares = (np.arange(_PARTS) + 0.5) / _PARTS
        for a, b in _OFFSETS:
            inside = (i + a < self.shape[0]) & (j + b >= 0) & (j + b < self.shape[1])
            head = np.stack([i[inside], j[inside]], axis=1)
            middle = head[:, None] + shares[:, None] * np.array([a, b])
            x0, x1 = np.moveaxis(self.low + self.spacing * middle, -1, 0)
            densities.append(problem.potential(x0, x1, 1.0)[0])
            heads.append(head @ (self.shape[1], 1))
            tails.append((head + (a, b)) @ (self.shape[1], 1))
            lengths.append(np.full(len(head), self.spacing * math.hypot(a, b)))
        self.edges = np.concatenate(heads), np.concatenate(tails)
        self.lengths, self.densities = np.concatenate(lengths), np.concatenate(densities)

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return the numbers of the nearest nodes."""
        return np.rint((points - self.low) / self.spacing).astype(int) @ (self.shape[1], 1)

    def positions(self, nodes: np.ndarray) -> np.ndarray:
        """Return the points (..., 2) of nodes."""
        return self.low + self.spacing * np.stack(np.divmod(nodes, self.shape[1]), axis=-1)

    def weighted(self, weights: np.ndarray) -> csr_matrix:
        """Return the graph with such weights of its edges."""
        return coo_matrix((weights, self.edges), shape=(self.n_nodes, self.n_nodes)).tocsr()

    def speeds(self, energy: float) -> np.ndarray:
        """Return the speeds along the edges (n_edges, parts)."""
        return np.sqrt(2.0 * (energy + self.densities))

    def distances(self, energy: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return D_E (n,) between the nodes next to x and y."""
        graph = self.weighted(self.lengths * self.speeds(energy).mean(1))
        sources, rows = np.unique(self.nearest(x), return_inverse=True)
        return dijkstra(graph, directed=False, indices=sources)[rows, self.nearest(y)]

    def paths(self, energy: float, x: np.ndarray, y: np.ndarray, n_segments: int) -> np.ndarray:
        """Return polygons (n_segments + 1, 2, n) along shortest paths, at equal times."""
        speeds = self.speeds(energy)
        graph = self.weighted(self.lengths * speeds.mean(1))
        times = self.weighted(self.lengths * (1.0 / speeds).mean(1))
        times = (times + times.T).tocsr()
        at_x, at_y = self.nearest(x), self.nearest(y)
        result = np.empty((n_segments + 1, 2, len(x)))
        for source in np.unique(at_x):
            rows = np.flatnonzero(at_x == source)
            _, before = dijkstra(graph, directed=False, indices=source, return_predecessors=True)
            walk = [at_y[rows]]
            while (walk[-1] != source).any():
                walk.append(np.where(walk[-1] == source, source, before[walk[-1]]))
            walk = np.array(walk[::-1])
            spent = np.asarray(times[walk[:-1].ravel(), walk[1:].ravel()])
            spent = spent.reshape(len(walk) - 1, len(rows))
            points = self.positions(walk)
            for column, row in enumerate(rows):
                clock = np.concatenate([[0.0], np.cumsum(spent[:, column])])
                at = np.linspace(0.0, clock[-1], n_segments + 1)
                for axis in range(2):
                    result[:, axis, row] = np.interp(at, clock, points[:, column, axis])
        result[0], result[-1] = x.T, y.T
        return result
