"""The pairs of the Wasserstein-2 benchmark, their error, and the clock of a budget.

Needs ``SKOT_DATA``, the folder that holds ``w2_benchmark/{D}.npz``. Every library gets the same
rows in the same way, as NumPy arrays.
"""

import time
from collections.abc import Iterator

import numpy as np
import torch

from skot import GaussianTransport
from skot.datasets import fetch_w2_benchmark

BATCH_SIZE = 1024
CHUNK = 32
N_TEST = 2**14
N_MOMENTS = 2**17
DIMENSIONS = (2, 4, 16, 64)

# Streams of one seed: no batch, test or moment sample shares its numbers with another.
SOURCE, TARGET, TEST, MOMENTS = range(4)


class Pair:
    """One pair of `fetch_w2_benchmark`, drawn from as the benchmarks need it."""

    def __init__(self, n_features: int) -> None:
        self._benchmark = fetch_w2_benchmark(n_features)
        self.n_features = n_features

    def source(self, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Return samples of the source in float32."""
        return self._benchmark.sample_source_tensor(n_samples, torch_generator(rng)).numpy()

    def target(self, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Return samples of the target in float32, independent of any source sample."""
        return self._benchmark.sample_target_tensor(n_samples, torch_generator(rng)).numpy()

    def test_points(self) -> np.ndarray:
        """Return the source samples on which every map is judged."""
        return self.source(N_TEST, np.random.default_rng([TEST, self.n_features]))

    def l2_uvp(self, mapped: np.ndarray, x: np.ndarray) -> float:
        """Return the squared error of a map in per cent of the variance of the target."""
        # Not `skot.metrics.l2_uvp`, which refuses the infinite values of a run that diverged.
        error = np.asarray(mapped, dtype=np.float64) - self._benchmark.map(x)
        return float(100.0 * (error**2).sum(1).mean() / self._benchmark.output_variance)

    def linear_l2_uvp(self) -> float:
        """Return the L2-UVP of the best linear map, from the moments of both sides."""
        rng = np.random.default_rng([MOMENTS, self.n_features])
        x, y = self.source(N_MOMENTS, rng), self.target(N_MOMENTS, rng)
        points = self.test_points()
        return self.l2_uvp(GaussianTransport().fit(x, y).transform(points), points)


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """Return a generator with a seed drawn from NumPy's, whose streams are named by tuples."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


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
