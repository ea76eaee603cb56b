"""Pairs of samples with a known map, on which ways to judge transports are judged."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.decomposition import PCA

from skot.datasets import fetch_mnist, fetch_office_caltech, make_w2_benchmark

#: Rows on which the error of a map is taken, where as many as wanted can be drawn.
N_ERROR = 1000
_N_DIGITS, _COMPONENTS = 10000, 50


@dataclass(frozen=True)
class Problem:
    """Rows to fit with, as many to judge by, and rows with their true images."""

    name: str
    x: np.ndarray
    y: np.ndarray
    x_new: np.ndarray
    y_new: np.ndarray
    x_error: np.ndarray
    true_map: Callable[[np.ndarray], np.ndarray]

    def error(self, moved: np.ndarray) -> float:
        """Error of the images of `x_error`, in % of the variance of the true ones."""
        truth = self.true_map(self.x_error)
        return float(100.0 * ((moved - truth) ** 2).sum(1).mean() / truth.var(0).sum())


def generated_problem(kind: str, d: int, n: int, seed: int) -> Problem:
    """Draw a problem of the kind of the Wasserstein-2 benchmark, or a linear one."""
    if kind == "w2":
        pair = make_w2_benchmark(d, random_state=seed)
        draws = [pair.sample_source(n, random_state=100 * seed + k) for k in range(4)]
        error_rows = pair.sample_source(N_ERROR, random_state=100 * seed + 4)
        return _problem(f"w2 d={d} n={n}", draws, error_rows, pair.map)
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(d, d)) / np.sqrt(d)
    matrix, shift = factor @ factor.T + 0.3 * np.eye(d), 2.0 * rng.normal(size=d)
    draws = [rng.normal(size=(n, d)) for _ in range(4)]
    return _problem(
        f"linear d={d} n={n}", draws, rng.normal(size=(N_ERROR, d)), lambda z: z @ matrix + shift
    )


def halves_problem(domain: str, n: int, seed: int) -> Problem:
    """Part a data set, and deform one part by the gradient of a convex function."""
    rows = _real_rows(domain)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    draws = [rows[order[k * n : (k + 1) * n]] for k in range(4)]
    return _problem(f"{domain} d={rows.shape[1]} n={n}", draws, draws[2], _deformation(rows, rng))


def _problem(name, draws, error_rows, true_map) -> Problem:
    x, y, x_new, y_new = draws
    return Problem(name, x, true_map(y), x_new, true_map(y_new), error_rows, true_map)


@cache
def _real_rows(domain: str) -> np.ndarray:
    """Principal components of a data set, scaled by one number."""
    if domain == "mnist":
        rows = fetch_mnist().data[:_N_DIGITS].astype(float)
    else:
        rows = fetch_office_caltech(domain).data
        rows = (rows - rows.mean(0)) / (rows.std(0) + 1e-9)
    rows = PCA(_COMPONENTS, random_state=0).fit_transform(rows)
    return rows / rows.std()


def _deformation(rows: np.ndarray, rng) -> Callable[[np.ndarray], np.ndarray]:
    """Draw a stretch along axes of its own, plus ridges that saturate, plus a shift."""
    d = rows.shape[1]
    axes, _ = np.linalg.qr(rng.normal(size=(d, d)))
    stretch = axes * np.exp(rng.uniform(-0.7, 0.7, size=d)) @ axes.T
    ridges = rng.normal(size=(10, d)) / np.sqrt(d)
    shift = rng.normal(size=d)

    def deform(z: np.ndarray) -> np.ndarray:
        return z @ stretch + 2.0 * np.tanh(2.0 * z @ ridges.T) @ ridges + shift

    return deform
