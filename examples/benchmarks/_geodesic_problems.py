"""The obstacles and metrics of the Lagrangian benchmarks, written a second time in NumPy.

Nothing here comes from skot: the reference solutions of ``_geodesic_reference.py`` are to judge
its formulas too. A potential is given by the density V = -U >= 0 that it adds to the action, and
returns V with its first and second derivatives. ``blur`` multiplies the sharpness of the walls.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: V, (dV/dx0, dV/dx1), (d2V/dx0^2, d2V/dx0dx1, d2V/dx1^2)
Jet = tuple[np.ndarray, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
Potential = Callable[[np.ndarray, np.ndarray, float], Jet]
#: R (2, 2, ...) with A = R'R at the points (x0, x1).
Factor = Callable[[np.ndarray, np.ndarray], np.ndarray]

#: A direction of the metrics below costs this share of the Euclidean length squared.
CHEAP = 1e-3


@dataclass(frozen=True)
class GeodesicProblem:
    """Minimise the integral of g'A(g)g'/2 + V(g) over the curves g from x to y.

    ``blurs`` are the sharpness factors of the annealing, from the first to the final 1;
    ``depth`` is how deep a point lies in a wall with a hard edge, negative outside.
    """

    potential: Potential | None = None
    factor: Factor | None = None
    blurs: tuple[float, ...] = (1.0,)
    depth: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


def logistic(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 1 / (1 + exp(-z)) with two derivatives."""
    s = 0.5 + 0.5 * np.tanh(0.5 * z)
    slope = s * (1.0 - s)
    return s, slope, slope * (1.0 - 2.0 * s)


def interval(x: np.ndarray, low: float, high: float, width: float) -> tuple[np.ndarray, ...]:
    """Return the smoothed indicator of [low, high] with two derivatives."""
    enter, leave = logistic((x - low) / width), logistic((x - high) / width)
    value, first, second = (a - b for a, b in zip(enter, leave, strict=True))
    return value, first / width, second / width**2


def outside(x: np.ndarray, low: float, high: float, width: float) -> tuple[np.ndarray, ...]:
    """Return the smoothed indicator of all but [low, high] with two derivatives."""
    value, first, second = interval(x, low, high, width)
    return 1.0 - value, -first, -second


def product(scale: float, p: tuple[np.ndarray, ...], q: tuple[np.ndarray, ...]) -> Jet:
    """Return scale p(x0) q(x1)."""
    first = (scale * p[1] * q[0], scale * p[0] * q[1])
    second = (scale * p[2] * q[0], scale * p[1] * q[1], scale * p[0] * q[2])
    return scale * p[0] * q[0], first, second


def composed(scale: float, width: float, level: Jet) -> Jet:
    """Return scale s(level / width)."""
    g, (g0, g1), (g00, g01, g11) = level
    s, slope, bend = logistic(g / width)
    slope, bend = scale * slope / width, scale * bend / width**2
    second = (bend * g0**2 + slope * g00, bend * g0 * g1 + slope * g01, bend * g1**2 + slope * g11)
    return scale * s, (slope * g0, slope * g1), second


def added(*jets: Jet) -> Jet:
    """Return the sum."""
    value = sum(jet[0] for jet in jets)
    first = tuple(sum(parts) for parts in zip(*(jet[1] for jet in jets), strict=True))
    return value, first, tuple(sum(parts) for parts in zip(*(jet[2] for jet in jets), strict=True))


def quadratic(x0, x1, constant: float, w0: float, w1: float, c0: float, c1: float) -> Jet:
    """Return constant + w0 (x0 - c0)^2 + w1 (x1 - c1)^2."""
    a, b = x0 - c0, x1 - c1
    one = np.ones_like(a)
    value = constant + w0 * a**2 + w1 * b**2
    return value, (2.0 * w0 * a, 2.0 * w1 * b), (2.0 * w0 * one, 0.0 * one, 2.0 * w1 * one)


def box(x0, x1, blur: float) -> Jet:
    """A square of side 1."""
    width = 0.01 * blur
    return product(3.6, interval(x0, -0.5, 0.5, width), interval(x1, -0.5, 0.5, width))


def slit(x0, x1, blur: float) -> Jet:
    """A wall with a gap."""
    width = 0.01 * blur
    return product(361.0, interval(x0, -0.1, 0.1, width), outside(x1, -0.25, 0.25, width))


def maze(x0, x1, blur: float) -> Jet:
    """Two walls, whose gaps are one below and one above."""
    width = 0.01 * blur
    return added(
        product(3610.0, interval(x0, -0.5, -0.3, width), outside(x1, -1.99, -0.15, width)),
        product(3610.0, interval(x0, 0.3, 0.5, width), outside(x1, 0.15, 1.99, width)),
    )


def hill(x0, x1, blur: float) -> Jet:
    """A Gaussian."""
    value = 18.0 * np.exp(-(x0**2) - x1**2)
    second = (4.0 * x0**2 - 2.0, 4.0 * x0 * x1, 4.0 * x1**2 - 2.0)
    return value, (-2.0 * x0 * value, -2.0 * x1 * value), tuple(h * value for h in second)


def well(x0, x1, blur: float) -> Jet:
    """The inverted oscillator."""
    return quadratic(x0, x1, 0.0, 3.6, 3.6, 0.0, 0.0)


CENTERS = ((6.0, 6.0), (6.0, -6.0), (-6.0, -6.0))


def disks(x0, x1, blur: float) -> Jet:
    """Three disks of radius 1.5."""
    return added(*(composed(36.0, 0.1 * blur, disk_level(x0, x1, *center)) for center in CENTERS))


def disk_level(x0, x1, c0: float, c1: float) -> Jet:
    """Return 1.5 - |x - c|, rounded at c."""
    a, b = x0 - c0, x1 - c1
    r = np.sqrt(a**2 + b**2 + 1e-12)
    u, v = a / r, b / r
    return 1.5 - r, (-u, -v), ((u * u - 1.0) / r, u * v / r, (v * v - 1.0) / r)


def v_neck(x0, x1, blur: float) -> Jet:
    """Everything but a passage with hyperbolic walls."""
    return composed(36.0, 0.1 * blur, quadratic(x0, x1, -0.36, -5.0, 1.0, 0.0, 0.0))


TUNNEL_CENTERS = ((5.0, 6.0), (-5.0, -6.0))


def s_tunnel(x0, x1, blur: float) -> Jet:
    """Two long ellipses side by side."""
    levels = (quadratic(x0, x1, 90.0, -20.0, -1.0, *center) for center in TUNNEL_CENTERS)
    return added(*(composed(36.0, 0.1 * blur, level) for level in levels))


def wall_depth(x0, x1, wall: tuple[float, float], gap: tuple[float, float]) -> np.ndarray:
    """Depth in a vertical wall with a gap."""
    across = np.minimum(x0 - wall[0], wall[1] - x0)
    return np.minimum(across, np.maximum(gap[0] - x1, x1 - gap[1]))


def level_depth(level: Jet) -> np.ndarray:
    """Depth in {level > 0} to first order."""
    value, (g0, g1), _ = level
    return value / np.maximum(np.hypot(g0, g1), 1e-9)


def box_depth(x0, x1) -> np.ndarray:
    """Depth in the box."""
    return 0.5 - np.maximum(np.abs(x0), np.abs(x1))


def slit_depth(x0, x1) -> np.ndarray:
    """Depth in the wall with a slit."""
    return wall_depth(x0, x1, (-0.1, 0.1), (-0.25, 0.25))


def maze_depth(x0, x1) -> np.ndarray:
    """Depth in the walls of the maze."""
    first = wall_depth(x0, x1, (-0.5, -0.3), (-1.99, -0.15))
    return np.maximum(first, wall_depth(x0, x1, (0.3, 0.5), (0.15, 1.99)))


def disks_depth(x0, x1) -> np.ndarray:
    """Depth in the disks."""
    return np.max([1.5 - np.hypot(x0 - a, x1 - b) for a, b in CENTERS], axis=0)


def v_neck_depth(x0, x1) -> np.ndarray:
    """Depth beyond the hyperbola."""
    return level_depth(quadratic(x0, x1, -0.36, -5.0, 1.0, 0.0, 0.0))


def s_tunnel_depth(x0, x1) -> np.ndarray:
    """Depth in the ellipses."""
    levels = (quadratic(x0, x1, 90.0, -20.0, -1.0, *center) for center in TUNNEL_CENTERS)
    return np.max([level_depth(level) for level in levels], axis=0)


def cheap_along(v0: np.ndarray, v1: np.ndarray) -> np.ndarray:
    """Return the square root of I - (1 - CHEAP) v v'."""
    squared = v0**2 + v1**2
    share = (1.0 - np.sqrt(1.0 - (1.0 - CHEAP) * squared)) / np.maximum(squared, 1e-300)
    return np.array(
        [[1.0 - share * v0**2, -share * v0 * v1], [-share * v0 * v1, 1.0 - share * v1**2]]
    )


def circle_factor(x0, x1) -> np.ndarray:
    """Cheap along circles."""
    r = np.maximum(np.hypot(x0, x1), 1e-12)
    return cheap_along(-x1 / r, x0 / r)


def mass_splitting_factor(x0, x1) -> np.ndarray:
    """Cheap along one diagonal above, the other below the axis."""
    return cheap_along(np.full_like(x0, np.sqrt(0.5)), np.sqrt(0.5) * np.sign(x1))


def crossing_paths_factor(x0, x1) -> np.ndarray:
    """Cheap along the diagonals, the more so the further out."""
    a, b = np.tanh(np.maximum(x0 * x1, 0.0)), -np.tanh(np.maximum(-x0 * x1, 0.0))
    return cheap_along((a + b) / np.sqrt(2.0), (a - b) / np.sqrt(2.0))


def conformal(root: np.ndarray) -> np.ndarray:
    """Return root times the identity."""
    return np.array([[root, 0.0 * root], [0.0 * root, root]])


def half_plane_factor(x0, x1) -> np.ndarray:
    """Poincare's half-plane."""
    return conformal(1.0 / x1)


def sphere_factor(x0, x1) -> np.ndarray:
    """The stereographic chart of the unit sphere."""
    return conformal(2.0 / (1.0 + x0**2 + x1**2))


_WALLS = (30.0, 10.0, 3.0, 1.0)
_LEVELS = (200.0, 30.0, 5.0, 1.0)

PROBLEMS = {
    "box": GeodesicProblem(box, blurs=_WALLS, depth=box_depth),
    "slit": GeodesicProblem(slit, blurs=_WALLS, depth=slit_depth),
    "hill": GeodesicProblem(hill),
    "well": GeodesicProblem(well),
    "gaussian_mixture": GeodesicProblem(disks, blurs=(10.0, 3.0, 1.0), depth=disks_depth),
    "v_neck": GeodesicProblem(v_neck, blurs=_LEVELS, depth=v_neck_depth),
    "s_tunnel": GeodesicProblem(s_tunnel, blurs=_LEVELS, depth=s_tunnel_depth),
    "maze": GeodesicProblem(maze, blurs=_WALLS, depth=maze_depth),
    "circle": GeodesicProblem(factor=circle_factor),
    "mass_splitting": GeodesicProblem(factor=mass_splitting_factor),
    "crossing_paths": GeodesicProblem(factor=crossing_paths_factor),
    "half_plane": GeodesicProblem(factor=half_plane_factor),
    "sphere": GeodesicProblem(factor=sphere_factor),
}
