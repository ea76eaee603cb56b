"""The pairs of the Wasserstein-2 benchmark, their error, and the clock of a budget.

Needs ``SKOT_DATA``, the folder that holds ``w2_benchmark/{D}.npz``. NumPy only, so that every
library draws the same batches in the same way.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

BATCH_SIZE = 1024
CHUNK = 32
N_TEST = 2**14
N_MOMENTS = 2**17
DIMENSIONS = (2, 4, 16, 64)

# Streams of one seed: no batch, test or moment sample shares its numbers with another.
SOURCE, TARGET, TEST, MOMENTS = range(4)


class Pair:
    """One source and target of the benchmark, with the true map between them."""

    def __init__(self, n_features: int) -> None:
        path = Path(os.environ["SKOT_DATA"]) / "w2_benchmark" / f"{n_features}.npz"
        with np.load(path) as stored:
            self._arrays = {name: stored[name] for name in stored.files}
        self.n_features = n_features
        self.output_variance = float(self._arrays["output_variance"])

    def source(self, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Return samples of the source in float32."""
        maps, centers = (self._arrays[name].astype(np.float32) for name in ("maps", "centers"))
        component = rng.integers(len(maps), size=n_samples)
        x = rng.standard_normal((n_samples, self.n_features), dtype=np.float32)
        x *= np.float32(self._arrays["std"])
        for k in range(len(maps)):
            rows = component == k
            x[rows] = x[rows] @ maps[k].T + centers[k]
        return x

    def target(self, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Return samples of the target in float32, independent of any source sample."""
        return self.true_map(self.source(n_samples, rng))

    def true_map(self, x: np.ndarray) -> np.ndarray:
        """Return the optimal map at the rows of `x`, in its dtype."""
        gradient = self._gradient("v1", x) + self._gradient("v2", x)
        shift, scale = (self._arrays[name].astype(x.dtype) for name in ("shift", "scale"))
        return scale * (gradient - shift)

    def _gradient(self, potential: str, x: np.ndarray) -> np.ndarray:
        """Return the gradient of one of the two convex potentials."""
        weight = {
            name.removeprefix(potential + "."): array.astype(x.dtype, copy=False)
            for name, array in self._arrays.items()
            if name.startswith(potential + ".")
        }
        projections = [x @ weight[f"quadratic{layer}.factor"] for layer in range(3)]
        quadratic = [
            p**2 + x @ weight[f"quadratic{layer}.weight"].T + weight[f"quadratic{layer}.bias"]
            for layer, p in enumerate(projections)
        ]
        z, slopes = quadratic[0], []
        for layer in (1, 2):
            before = z @ weight[f"convex{layer}.weight"].T + quadratic[layer]
            decay = np.exp(np.minimum(before, 0.0))
            z = np.where(before > 0.0, before, decay - 1.0)
            slopes.append(decay)  # the slope of CELU: one above zero, exp below
        result = self._arrays["strong_convexity"].astype(x.dtype) * x
        backward = np.broadcast_to(weight["final.weight"], slopes[1].shape)
        for layer in (2, 1, 0):
            if layer:
                backward = backward * slopes[layer - 1]
            factor = weight[f"quadratic{layer}.factor"]
            result += (2.0 * backward * projections[layer]) @ factor.T
            result += backward @ weight[f"quadratic{layer}.weight"]
            if layer:
                backward = backward @ weight[f"convex{layer}.weight"]
        return result

    def test_points(self) -> np.ndarray:
        """Return the source samples on which every map is judged."""
        return self.source(N_TEST, np.random.default_rng([TEST, self.n_features]))

    def l2_uvp(self, mapped: np.ndarray, x: np.ndarray) -> float:
        """Return the squared error of a map in per cent of the variance of the target."""
        error = np.asarray(mapped, dtype=np.float64) - self.true_map(x.astype(np.float64))
        return float(100.0 * (error**2).sum(1).mean() / self.output_variance)

    def linear_l2_uvp(self) -> float:
        """Return the L2-UVP of the best linear map, from the moments of both sides."""
        rng = np.random.default_rng([MOMENTS, self.n_features])
        x, y = self.source(N_MOMENTS, rng), self.target(N_MOMENTS, rng)
        cov_x, cov_y = (np.cov(v, rowvar=False, dtype=np.float64) for v in (x, y))
        root = symmetric_power(cov_x, 0.5)
        inverse = symmetric_power(cov_x, -0.5)
        matrix = inverse @ symmetric_power(root @ cov_y @ root, 0.5) @ inverse
        points = self.test_points()
        centred = points - x.mean(0, dtype=np.float64)
        return self.l2_uvp(centred @ matrix + y.mean(0, dtype=np.float64), points)


def symmetric_power(matrix: np.ndarray, power: float) -> np.ndarray:
    """Return a power of a positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


class BudgetClock:
    """Processor seconds of this process, all threads, without what happens in a pause.

    Drawing the batches and judging the map are paused for every library; compiling is not.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    @property
    def cpu(self) -> float:
        """Processor seconds spent."""
        return time.process_time() - self._cpu

    @property
    def wall(self) -> float:
        """Seconds gone by."""
        return time.perf_counter() - self._wall

    @property
    def spent(self) -> bool:
        """Whether the budget is used up."""
        return self.cpu >= self.budget

    def __enter__(self) -> None:
        """Pause."""
        self._paused = self.cpu, self.wall

    def __exit__(self, *error: object) -> None:
        """Go on."""
        cpu, wall = self._paused
        self._cpu, self._wall = time.process_time() - cpu, time.perf_counter() - wall


def batches(pair: Pair, side: int, seed: int, clock: BudgetClock) -> Iterator[np.ndarray]:
    """Yield fresh batches of the source (`side` SOURCE) or of the target (TARGET)."""
    rng = np.random.default_rng([side, pair.n_features, seed])
    draw = pair.source if side == SOURCE else pair.target
    while True:
        with clock:
            chunk = draw(CHUNK * BATCH_SIZE, rng)
        yield from chunk.reshape(CHUNK, BATCH_SIZE, pair.n_features)


def evaluation_times(budget: float, n_times: int = 16) -> list[float]:
    """Return processor seconds, evenly spaced in the logarithm, up to the budget."""
    return list(np.geomspace(budget / 64.0, budget, n_times)[:-1])
