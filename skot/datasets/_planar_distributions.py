"""What is known of each distribution in the plane."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# Nodes per branch of a curve.
_N_NODES = 512


@dataclass(frozen=True)
class _Mixture:
    """Isotropic Gaussian noise around points of branches: curves, or single points.

    ``branches(u)`` gives the points of all branches at positions u in [0, 1], of shape
    (n_branches, len(u), 2). All branches weigh the same.
    """

    branches: Callable[[np.ndarray], np.ndarray]
    noise: float
    is_curve: bool = True

    def sample(self, n: int, noise: float, rng: np.random.RandomState) -> np.ndarray:
        points = self.branches(rng.uniform(size=n))
        return points[rng.randint(len(points), size=n), np.arange(n)] + noise * (
            rng.standard_normal((n, 2))
        )

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the points of a quadrature of the curves, and weights that sum to one."""
        if not self.is_curve:
            points = self.branches(np.zeros(1)).reshape(-1, 2)
            return points, np.full(len(points), 1.0 / len(points))
        position, weight = np.polynomial.legendre.leggauss(_N_NODES)
        points = self.branches((position + 1.0) / 2.0)
        weights = np.tile(weight / 2.0 / len(points), len(points))
        return points.reshape(-1, 2), weights

    def log_density(self, X: np.ndarray, noise: float) -> np.ndarray:
        points, weights = self.nodes()
        # Minus half the squared distance, up to a term of the row: one product instead of two.
        logits = (X @ points.T - 0.5 * np.square(points).sum(axis=1)) / noise**2
        highest = logits.max(axis=1)
        logits -= highest[:, None]
        logs = np.log(np.exp(logits, out=logits) @ weights) + highest
        logs -= 0.5 * np.square(X).sum(axis=1) / noise**2
        return logs - np.log(2.0 * np.pi * noise**2)

    def entropy(self, noise: float) -> float:
        points, weights = self.nodes()
        # The trapezoidal rule converges faster than any power on a smooth function that
        # vanishes at the border, once the step is below the width of its features.
        axes = [
            np.arange(low - 8.0 * noise, high + 8.0 * noise, noise / 3.0)
            for low, high in zip(points.min(axis=0), points.max(axis=0), strict=True)
        ]
        kernels = [
            np.exp(-0.5 * np.square((axis[:, None] - points[:, j]) / noise))
            for j, axis in enumerate(axes)
        ]
        density = (kernels[0] * weights) @ kernels[1].T / (2.0 * np.pi * noise**2)
        logs = np.log(density, out=np.zeros_like(density), where=density > 0)
        return float(-(density * logs).sum() * (noise / 3.0) ** 2)


@dataclass(frozen=True)
class _Squares:
    """The uniform law on some unit squares, given by their lower left corners."""

    corners: tuple[tuple[float, float], ...]
    noise = None

    def sample(self, n: int, noise: None, rng: np.random.RandomState) -> np.ndarray:
        chosen = np.asarray(self.corners)[rng.randint(len(self.corners), size=n)]
        return chosen + rng.uniform(size=(n, 2))

    def log_density(self, X: np.ndarray, noise: None) -> np.ndarray:
        offset = X[:, None] - np.asarray(self.corners)
        inside = ((offset >= 0.0) & (offset < 1.0)).all(axis=2).any(axis=1)
        return np.where(inside, -np.log(len(self.corners)), -np.inf)

    def entropy(self, noise: None) -> float:
        return float(np.log(len(self.corners)))


@dataclass(frozen=True)
class _Parabola:
    """The second coordinate is standard normal, the first is normal around half its square.

    With a curvature of zero and a spread of one: the standard normal law.
    """

    curvature: float
    spread: float
    noise = None

    def sample(self, n: int, noise: None, rng: np.random.RandomState) -> np.ndarray:
        second, first = rng.standard_normal((2, n))
        return np.column_stack([self.curvature * second**2 + self.spread * first, second])

    def log_density(self, X: np.ndarray, noise: None) -> np.ndarray:
        first = (X[:, 0] - self.curvature * X[:, 1] ** 2) / self.spread
        return -0.5 * (first**2 + X[:, 1] ** 2) - np.log(2.0 * np.pi * self.spread)

    def entropy(self, noise: None) -> float:
        return float(1.0 + np.log(2.0 * np.pi * self.spread))


def _circles(radii: tuple[float, ...]) -> Callable[[np.ndarray], np.ndarray]:
    def branches(u: np.ndarray) -> np.ndarray:
        angle = 2.0 * np.pi * u
        unit = np.column_stack([np.cos(angle), np.sin(angle)])
        return np.asarray(radii)[:, None, None] * unit

    return branches


def _points(*points: tuple[float, float]) -> Callable[[np.ndarray], np.ndarray]:
    centers = np.array(points)[:, None]
    return lambda u: np.broadcast_to(centers, (len(points), len(u), 2))


def _moons(u: np.ndarray) -> np.ndarray:
    angle = np.pi * u
    upper = 1.4 * np.column_stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25])
    return np.stack([upper, -upper])


def _s_curve(u: np.ndarray) -> np.ndarray:
    angle = 3.0 * np.pi * (u - 0.5)
    return 0.9 * np.stack([np.sin(angle), np.sign(angle) * (np.cos(angle) - 1.0)], axis=-1)[None]


def _swiss_roll(u: np.ndarray) -> np.ndarray:
    angle = 1.5 * np.pi * (1.0 + 2.0 * u)
    return angle[:, None] / 7.0 * np.column_stack([np.cos(angle), np.sin(angle)])[None]


_EIGHT = tuple((1.4 * np.cos(k * np.pi / 4), 1.4 * np.sin(k * np.pi / 4)) for k in range(8))
_BOARD = tuple((i - 2.0, j - 2.0) for i in range(4) for j in range(4) if (i + j) % 2 == 0)
_BLACK = tuple((i - 0.5, j - 0.5) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i + j) % 2 == 0)
_WHITE = tuple((i - 0.5, j - 0.5) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i + j) % 2 == 1)
_CORNERS = ((1.1, 1.1), (-1.1, 1.1), (-1.1, -1.1), (1.1, -1.1))
_SIDES = ((1.1, 0.0), (0.0, 1.1), (-1.1, 0.0), (0.0, -1.1))

DISTRIBUTIONS: dict[str, Any] = {
    "gaussian": _Parabola(0.0, 1.0),
    "eight_gaussians": _Mixture(_points(*_EIGHT), 0.1, is_curve=False),
    "square_corners": _Mixture(_points(*_CORNERS), 0.15, is_curve=False),
    "square_corners_center": _Mixture(_points((0.0, 0.0), *_CORNERS), 0.15, is_curve=False),
    "square_sides": _Mixture(_points(*_SIDES), 0.15, is_curve=False),
    "circles": _Mixture(_circles((1.7, 0.85)), 0.1),
    "rings": _Mixture(_circles((0.5, 1.0, 1.5, 2.0)), 0.05),
    "moons": _Mixture(_moons, 0.1),
    "s_curve": _Mixture(_s_curve, 0.1),
    "swiss_roll": _Mixture(_swiss_roll, 0.1),
    "checkerboard": _Squares(_BOARD),
    "five_squares": _Squares(_BLACK),
    "four_squares": _Squares(_WHITE),
    "maf_moon": _Parabola(0.5, 0.5),
}
