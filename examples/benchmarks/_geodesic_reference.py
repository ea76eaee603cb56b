"""Least-action costs between points, to judge those of skot by.

A curve is a polygon with nodes at equal times; its kinetic energy is exact, the potential is
summed by the midpoint rule over equal parts of each segment, finer than the walls are wide. So the
action of every polygon is that of a curve, up to the error of the sum. From several starts (a
straight line, bumps to both sides, shortest paths on a grid), all nodes of a path take damped
Newton steps together, first with blurred walls; the best path of a pair is then refined.

The method shares nothing with skot's: no splines, no quasi-Newton method, no automatic
differentiation, no formula of a potential.
"""

import time
from collections.abc import Iterator

import numpy as np
from _geodesic_graph import GridGraph
from _geodesic_newton import annealed, expansion
from _geodesic_problems import PROBLEMS, GeodesicProblem
from scipy.optimize import linear_sum_assignment

#: Heights of the starts, in units of |y - x|.
HEIGHTS = (0.0, 0.3, -0.3)
#: Energies of the shortest paths among the starts, in units of the mean of |y - x|^2 / 2.
ENERGIES = (0.3, 1.0, 3.0)
#: Segments of a path and parts of a segment, from the coarse paths on: all starts are compared on
#: the first level.
LEVELS = ((24, 4), (48, 4), (96, 4), (400, 2))
#: Those of a whole matrix.
MATRIX_LEVELS = LEVELS[:3]
#: Points in one piece of work, for the caches of the processor.
_CHUNK_POINTS = 150_000

#: Pairs whose reduced cost is below this share of the mean cost are refined.
_MARGIN = 0.03
#: Nodes along the longer side of the grid.
_GRID_NODES = 100


def geodesic_cost(
    problem: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    levels: tuple[tuple[int, int], ...] = LEVELS,
    heights: tuple[float, ...] = HEIGHTS,
    energies: tuple[float, ...] = ENERGIES,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cost (n,) of each pair and its path (n, nodes, 2)."""
    found = PROBLEMS[problem]
    chunk = max(1, _CHUNK_POINTS // (levels[0][0] * levels[0][1]))
    guides = [] if found.potential is None else shortest(found, x, y, energies, levels[0][0])
    costs, paths = [], []
    for rows in pieces(len(x), chunk):
        starts = [started(x[rows].T, y[rows].T, levels[0][0], height) for height in heights]
        starts += [guide[..., rows] for guide in guides]
        best, nodes = from_starts(found, starts, levels[0][1])
        for n_segments, n_parts in levels[1:]:
            nodes = resampled(nodes, n_segments)
            small = max(1, _CHUNK_POINTS // (n_segments * n_parts))
            for part in pieces(nodes.shape[-1], small):
                nodes[..., part], best[part] = annealed(
                    found, nodes[..., part], found.blurs[-2:], n_parts
                )
        costs.append(best)
        paths.append(nodes.transpose(2, 0, 1))
    return np.concatenate(costs), np.concatenate(paths)


def cost_matrix(problem: str, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return the costs (n, n) between all rows.

    Those which an optimal assignment could take (see `slack`) are found on paths of 96 segments,
    the others on paths of 24: these costs are off by less than what keeps them from being taken, so
    neither the assignment nor its cost depends on them.
    """
    if problem == "circle":
        return circle_cost(X[:, None], Y[None])
    i, j = np.indices((len(X), len(Y))).reshape(2, -1)
    matrix, _ = geodesic_cost(problem, X[i], Y[j], levels=LEVELS[:1])
    matrix = matrix.reshape(len(X), len(Y))
    refined = np.zeros(matrix.shape, bool)
    while True:
        near = slack(matrix) <= _MARGIN * discrete_ot_cost(matrix)
        i, j = np.nonzero(near & ~refined)
        if not len(i):
            return matrix
        matrix[i, j], _ = geodesic_cost(problem, X[i], Y[j], levels=MATRIX_LEVELS)
        refined |= near


def slack(costs: np.ndarray) -> np.ndarray:
    """Return the reduced costs: an assignment with a pair costs at least so much more in total."""
    rows, columns = linear_sum_assignment(costs)
    g = np.zeros(len(costs))
    while True:
        f = np.empty(len(costs))
        f[rows] = costs[rows, columns] - g[columns]
        lower = np.minimum(g, (costs - f[:, None]).min(axis=0))
        if np.allclose(lower, g, rtol=0.0, atol=1e-12):
            return costs - f[:, None] - g
        g = lower


def checked_cost_matrix(
    problem: str, X: np.ndarray, Y: np.ndarray, n_checked: int = 200
) -> tuple[np.ndarray, dict]:
    """Return the matrix, and how well pairs on paths of 400 segments agree with it.

    Half of the pairs that are checked are those of the optimal assignment, half are random.
    """
    start = time.process_time()
    matrix = cost_matrix(problem, X, Y)
    seconds = time.process_time() - start
    rng = np.random.RandomState(0)
    i, j = linear_sum_assignment(matrix)
    some = rng.choice(len(i), min(n_checked // 2, len(i)), replace=False)
    i = np.concatenate([i[some], rng.randint(len(X), size=n_checked // 2)])
    j = np.concatenate([j[some], rng.randint(len(Y), size=n_checked // 2)])
    fine, _ = geodesic_cost(problem, X[i], Y[j])
    differences = np.abs(matrix[i, j] / fine - 1.0)
    return matrix, {
        "seconds": seconds,
        "n_segments": MATRIX_LEVELS[-1][0],
        "n_segments_checked": LEVELS[-1][0],
        "n_checked": len(i),
        "difference": float(differences.max()),
        "difference_assigned": float(differences[: len(some)].max()),
    }


def action_along(problem: str, paths: np.ndarray) -> np.ndarray:
    """Return the actions (n,) of paths (n, n_times, 2) at equal times, as polygons."""
    nodes = paths.transpose(1, 2, 0).astype(float)
    rows = pieces(nodes.shape[-1], max(1, _CHUNK_POINTS // (2 * len(nodes))))
    return np.concatenate([expansion(PROBLEMS[problem], nodes[..., k], 1.0, 2)[0] for k in rows])


def discrete_ot_cost(costs: np.ndarray) -> float:
    """Return the mean cost of the best assignment."""
    rows, columns = linear_sum_assignment(costs)
    return float(costs[rows, columns].mean())


def circle_cost(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cost of the circle metric, in closed form: a cone of the angle sqrt(1e-3) 2 pi."""
    r1, r2 = np.linalg.norm(x, axis=-1), np.linalg.norm(y, axis=-1)
    cosine = (x * y).sum(-1) / (r1 * r2)
    angle = np.sqrt(1e-3) * np.arccos(np.clip(cosine, -1.0, 1.0))
    return 0.5 * (r1**2 + r2**2 - 2.0 * r1 * r2 * np.cos(angle))


def well_cost(x: np.ndarray, y: np.ndarray, strength: float = 3.6) -> np.ndarray:
    """Cost of the well, in closed form."""
    k = np.sqrt(2.0 * strength)
    squares = (x**2).sum(-1) + (y**2).sum(-1)
    return k / (2.0 * np.sinh(k)) * (squares * np.cosh(k) - 2.0 * (x * y).sum(-1))


def half_plane_cost(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half the squared hyperbolic distance."""
    squared = ((x - y) ** 2).sum(-1)
    return 0.5 * np.arccosh(1.0 + squared / (2.0 * x[..., -1] * y[..., -1])) ** 2


def sphere_cost(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half the squared angle on the unit sphere, in its stereographic chart."""
    chord = np.linalg.norm(x - y, axis=-1)
    chord = chord / np.sqrt((1.0 + (x**2).sum(-1)) * (1.0 + (y**2).sum(-1)))
    return 2.0 * np.arcsin(np.minimum(chord, 1.0)) ** 2


def pieces(n: int, size: int) -> Iterator[slice]:
    """Cut range(n)."""
    return (slice(k, k + size) for k in range(0, n, size))


def shortest(
    problem: GeodesicProblem, x: np.ndarray, y: np.ndarray, energies, n_segments: int
) -> list[np.ndarray]:
    """Return shortest paths on a grid around all points, for each energy."""
    graph = GridGraph(problem, np.concatenate([x, y]), _GRID_NODES)
    scale = 0.5 * ((x - y) ** 2).sum(1).mean()
    return [graph.paths(energy * scale, x, y, n_segments) for energy in energies]


def from_starts(
    problem: GeodesicProblem, starts: list[np.ndarray], n_parts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest action (n,) and its nodes (n_segments + 1, 2, n), from all starts."""
    best = best_nodes = None
    for k, start in enumerate(starts):
        # Walls that are too blurred would straighten a curve that has been started around one.
        blurs = problem.blurs[-2 if k else 0 :]
        nodes, action = annealed(problem, start.astype(np.float32), blurs, n_parts, tol=1e-4)
        if best is None:
            best, best_nodes = action, nodes
        better = action < best
        best = np.where(better, action, best)
        best_nodes = np.where(better, nodes, best_nodes)
    best_nodes = best_nodes.astype(float)
    best_nodes[0], best_nodes[-1] = starts[0][0], starts[0][-1]  # not rounded
    return best.astype(float), best_nodes


def started(x: np.ndarray, y: np.ndarray, n_segments: int, height: float) -> np.ndarray:
    """Return the line from x to y (2, n) with half a wave of a sine added across."""
    times = np.linspace(0.0, 1.0, n_segments + 1)[:, None, None]
    across = np.stack([x[1] - y[1], y[0] - x[0]])
    sine = np.sin(np.pi * times)
    sine[-1] = 0.0
    return x + times * (y - x) + height * sine * across


def resampled(nodes: np.ndarray, n_segments: int) -> np.ndarray:
    """Return the same polygons with nodes at other times."""
    position = np.linspace(0.0, len(nodes) - 1.0, n_segments + 1)
    left = np.minimum(position.astype(int), len(nodes) - 2)
    share = (position - left)[:, None, None]
    return (1.0 - share) * nodes[left] + share * nodes[left + 1]
