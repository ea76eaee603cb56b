"""The problems of bench_meta_ot.py: what is learned, from which draws, and what it is tested on."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch.nn.functional import interpolate

from skot import MetaOTRegressor
from skot.costs import GridCost, PrecomputedCost
from skot.datasets import fetch_mnist, fetch_population, fetch_usps
from skot.networks import DualMLP, DualUNet
from skot.training import Adam, CosineSchedule, ExponentialMovingAverage

SIDE = 28
N_SUPPLY, N_DEMAND = 100, 10_000


@dataclass(frozen=True)
class MetaProblem:
    """A distribution of problems, and how its model is trained.

    Attributes
    ----------
    epsilon : float
        Regularisation.
    n_steps, batch_size : int
        Of training.
    n_test : int
        Test problems.
    max_iter : int
        Passes at most.
    learning_rate : float
        Of Adam, at its height.
    """

    name: str
    epsilon: float
    n_steps: int
    batch_size: int
    n_test: int
    max_iter: int
    learning_rate: float

    @property
    def cost(self):
        """The cost between the supports."""
        return GridCost((SIDE, SIDE)) if self.name == "mnist" else globe().cost

    def draw(self, n: int, rng: np.random.RandomState, part: str = "train") -> np.ndarray:
        """Draw rows [a, b]; `part` is "train", "validation" or "test"."""
        if self.name == "mnist":
            rows = digits(part)
            return np.hstack([rows[rng.randint(len(rows), size=n)] for _ in range(2)])
        supply = rng.uniform(size=(n, N_SUPPLY)) * rng.binomial(1, 0.5, size=(n, N_SUPPLY))
        # A world without supply is no problem.
        supply[supply.sum(1) == 0] = 1.0
        demand = rng.uniform(size=(n, N_DEMAND))
        return np.hstack([_normalized(supply), _normalized(demand)]).astype(np.float32)

    def regressor(self) -> MetaOTRegressor:
        """Return the model, unfitted."""
        network = DualUNet((SIDE, SIDE)) if self.name == "mnist" else DualMLP((256, 256))
        return MetaOTRegressor(
            self.cost,
            epsilon=self.epsilon,
            network=network,
            optimizer=Adam(
                lr=self.learning_rate,
                betas=(0.9, 0.99),
                max_grad_norm=1.0,
                schedule=CosineSchedule(length=self.n_steps, warmup=min(200, self.n_steps // 10)),
            ),
            averaging=ExponentialMovingAverage(min(0.999, 1.0 - 10.0 / self.n_steps)),
            batch_size=self.batch_size,
            random_state=0,
        )


PROBLEMS = {
    problem.name: problem
    for problem in (
        MetaProblem("mnist", 0.01, 12_000, 64, 1000, 1000, 2e-3),
        # The network corrects the aggregated problem, by little: it learns that fast.
        MetaProblem("spherical", 1e-3, 240, 16, 20, 20_000, 1e-3),
    )
}


def transfer_sets(n: int) -> dict[str, np.ndarray]:
    """Return rows [a, b] on the grid of MNIST that are no digits of MNIST."""
    rng = np.random.RandomState(3)
    usps = torch.from_numpy(fetch_usps(subset="test").data).view(-1, 1, 16, 16)
    rows = interpolate(usps, size=(SIDE, SIDE), mode="bilinear").flatten(1).clamp_min(0.0).numpy()
    size = SIDE**2
    sparse = rng.uniform(size=(2 * n, size)) * rng.binomial(1, 0.02, size=(2 * n, size))
    sparse[np.arange(2 * n), rng.randint(size, size=2 * n)] = 1.0
    pairs = {
        "USPS": np.hstack([rows[rng.randint(len(rows), size=n)] for _ in range(2)]),
        "random sparse": np.hstack([sparse[:n], sparse[n:]]),
    }
    return {name: values.astype(np.float32) for name, values in pairs.items()}


@cache
def digits(part: str) -> np.ndarray:
    """Return MNIST images as rows; validation images are training images that are left out."""
    if part == "test":
        return fetch_mnist(subset="test").data
    rows = fetch_mnist(subset="train").data
    return rows[:55_000] if part == "train" else rows[55_000:]


@dataclass(frozen=True)
class Globe:
    """Supply and demand points on the sphere.

    Attributes
    ----------
    supply, demand : ndarray of shape (100, 3), (10000, 3)
        Unit vectors.
    """

    supply: np.ndarray
    demand: np.ndarray

    @property
    def cost(self) -> PrecomputedCost:
        """The published cost, arccos(<x, y> / (1 + 1e-4))."""
        return PrecomputedCost(np.arccos(self.supply @ self.demand.T / (1.0 + 1e-4)))


@cache
def globe() -> Globe:
    """Draw supply points uniformly over inhabited land, and demand points by population."""
    population = fetch_population()
    rng = np.random.RandomState(0)
    area = np.cos(np.deg2rad(population.latitude))[:, None] * np.ones(len(population.longitude))
    # The raster has the same zero for the sea as for deserts and ice.
    land = population.density > 0
    people = population.density * area
    points = [
        _draw_cells(weights, n, population, rng)
        for weights, n in ((land * area, N_SUPPLY), (people, N_DEMAND))
    ]
    return Globe(*points)


def _draw_cells(weights, n: int, population, rng) -> np.ndarray:
    """Draw cells of the raster, a point in each of them, as unit vectors."""
    chosen = rng.choice(weights.size, size=n, p=weights.ravel() / weights.sum())
    rows, columns = np.unravel_index(chosen, weights.shape)
    latitude, longitude = population.latitude[rows], population.longitude[columns]
    spacing = abs(population.latitude[1] - population.latitude[0])
    latitude = np.deg2rad(latitude + spacing * rng.uniform(-0.5, 0.5, size=n))
    longitude = np.deg2rad(longitude + spacing * rng.uniform(-0.5, 0.5, size=n))
    return np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        1,
    )


def _normalized(rows: np.ndarray) -> np.ndarray:
    return rows / rows.sum(axis=1, keepdims=True)
