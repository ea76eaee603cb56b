"""What bench_neural_ot.py measures: one function, one cell of its tables."""

import time
import warnings

import numpy as np
import scipy.linalg
import torch
from _weak_problems import draw
from _weak_reference import squared_power, weak_kernel, weak_quadratic
from sklearn.exceptions import ConvergenceWarning

from skot import GaussianTransport, NeuralOT
from skot.datasets import fetch_w2_benchmark, make_gaussian_pair
from skot.losses import WeakKernel, WeakQuadratic
from skot.metrics import l2_uvp
from skot.networks import ConditionalMLP, MLPMap, MLPPotential
from skot.training import Adam, CosineSchedule, ExponentialMovingAverage

N_TEST = 2**14
N_IMAGES = 64
#: At gamma = 1 the quadratic cost is all in the means, and small.
ITERATIONS = {"quadratic": 1500, "kernel": 700}


def timed_fit(transport: NeuralOT, X: np.ndarray, Y: np.ndarray) -> float:
    """Fit and return the processor seconds; a deterministic plan is not news here."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport.fit(X, Y)
    return time.process_time() - start


def strong_cell(n_features: int, preconditioning: str) -> dict:
    """Gaussian to Gaussian with the strong quadratic cost: error of the map in per cent."""
    X, Y, law = make_gaussian_pair(20000, n_features, random_state=0, return_parameters=True)
    root = scipy.linalg.sqrtm(law.covariance_source)
    middle = scipy.linalg.sqrtm(root @ law.covariance_target @ root)
    linear = np.linalg.solve(root, np.linalg.solve(root, middle).T)
    normal = np.random.RandomState(1).multivariate_normal
    new = normal(law.mean_source, law.covariance_source, N_TEST)
    expected = (new - law.mean_source) @ linear + law.mean_target
    transport = NeuralOT(max_iter=500, preconditioning=preconditioning, random_state=0)
    seconds = timed_fit(transport, X, Y)
    baseline = GaussianTransport().fit(X, Y)
    return {
        "n_features": n_features,
        "preconditioning": preconditioning,
        "l2_uvp": l2_uvp(expected, transport.transform(new)),
        "linear": l2_uvp(expected, baseline.transform(new)),
        "seconds": seconds,
    }


def weak_plan(gamma: float, s: float, t: float) -> tuple[float, float, float]:
    """Slope of the conditional mean, conditional variance and cost per coordinate."""
    if gamma < s / t:
        return t / s, 0.0, (t - s) ** 2 / 2
    cost = (1 - gamma) * t**2 / 2 + (1 - 1 / gamma) * s**2 / 2
    return 1 / gamma, t**2 - s**2 / gamma**2, cost


def weak_samples(n_features: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return source and target rows to train on, and source rows to judge by."""
    rng = np.random.RandomState(100 + seed)
    X, Y = rng.normal(size=(20000, n_features)), 2.0 * rng.normal(size=(20000, n_features))
    # Of unit variance to the last digit: the cost is judged more sharply than 4096 rows allow.
    new = rng.normal(size=(4096, n_features))
    return X, Y, (new - new.mean(axis=0)) / new.std(axis=0)


def weak_plan_of_samples(gamma: float, n_features: int, seed: int) -> tuple[float, float, float]:
    """The same for the standard deviations of the samples, which are off by half a per cent."""
    X, Y, _ = weak_samples(n_features, seed)
    s, t = (float(np.sqrt(rows.var(axis=0).mean())) for rows in (X, Y))
    return weak_plan(gamma, s, t)


def weak_cell(gamma: float, n_features: int, seed: int) -> dict:
    """N(0, 1) to N(0, 4) with the weak quadratic cost, per coordinate."""
    X, Y, new = weak_samples(n_features, seed)
    cost = WeakQuadratic(gamma)
    transport = NeuralOT(
        cost,
        transport_map=ConditionalMLP((64, 64)),
        potential=MLPPotential((64, 64)),
        n_map_steps=4,
        max_iter=2000,
        random_state=seed,
    )
    seconds = timed_fit(transport, X, Y)
    images = transport.sample_transform(new, N_IMAGES, random_state=0)
    value = cost.evaluate(torch.from_numpy(new), torch.from_numpy(images)).mean()
    return {
        "gamma": gamma,
        "n_features": n_features,
        "seed": seed,
        "slope": float((images.mean(axis=1) * new).sum() / np.square(new).sum()),
        "variance": float(images.var(axis=1, ddof=1).mean()),
        "cost": float(value) / n_features,
        "expected": weak_plan(gamma, 1.0, 2.0),
        "expected_of_samples": weak_plan_of_samples(gamma, n_features, seed),
        "seconds": seconds,
    }


def discrete_cell(kind: str, problem: str, gamma: float, seed: int) -> dict:
    """Learned on 500 points a side, beside the solution of the discrete problem on them."""
    X, Y = draw(problem, 500, 0)
    if kind == "quadratic":
        cost, reference = WeakQuadratic(gamma), weak_quadratic(X, Y, gamma)
    else:
        cost, reference = WeakKernel(gamma), weak_kernel(X, Y, gamma, squared_power(1.0))
    transport = NeuralOT(
        cost,
        transport_map=ConditionalMLP((64, 64, 64)),
        potential=MLPPotential((64, 64, 64)),
        optimizer=Adam(lr=2e-3, betas=(0.5, 0.9), schedule=CosineSchedule()),
        max_iter=ITERATIONS[kind],
        random_state=seed,
    )
    seconds = timed_fit(transport, X, Y)
    images = transport.sample_transform(X, N_IMAGES, random_state=0)
    means = images.mean(axis=1)
    value = cost.evaluate(torch.from_numpy(X), torch.from_numpy(images)).mean()
    correlation = np.corrcoef(means.ravel(), reference.means.ravel())[0, 1]
    moved = np.square(X - reference.means).sum()
    return {
        "cost_kind": kind,
        "problem": problem,
        "gamma": gamma,
        "seed": seed,
        "cost": float(value),
        "reference": float(reference.value),
        "mean_error": float(np.square(means - reference.means).sum() / moved),
        "correlation": float(correlation),
        "variance": float(images.var(axis=1, ddof=1).sum(axis=1).mean()),
        "reference_variance": float(reference.variances.mean()),
        "seconds": seconds,
    }


def w2_cell(n_features: int, budget: float, seed: int) -> dict:
    """The pair of the Wasserstein-2 benchmark, learned from fresh rows for `budget` seconds."""
    pair = fetch_w2_benchmark(n_features)
    new = pair.sample_source(N_TEST, random_state=1)
    expected = pair.map(new)
    # A first call of a few iterations tells how many fit into the budget, for the schedule.
    rate = seconds_per_iteration(pair, n_features)
    n_iter = int(budget / rate)
    transport = w2_transport(n_iter, seed)
    seconds, call, rows_a_call = 0.0, 0, 2**16
    while seconds < budget:
        X = pair.sample_source(rows_a_call, random_state=1000 + 2 * call)
        Y = pair.sample_target(rows_a_call, random_state=1001 + 2 * call)
        start = time.process_time()
        transport.partial_fit(X, Y)
        seconds += time.process_time() - start
        call += 1
    error = l2_uvp(expected, transport.transform(new))
    return {"n_features": n_features, "seed": seed, "l2_uvp": error, "seconds": seconds}


def w2_transport(n_iter: int, seed: int) -> NeuralOT:
    """The estimator of the benchmark: the published objective's networks, our augmentation."""
    schedule = CosineSchedule(final=0.01, length=10 * n_iter)
    return NeuralOT(
        transport_map=MLPMap((128, 128, 128)),
        potential=MLPPotential((128, 128, 128)),
        optimizer=Adam(lr=5e-3, betas=(0.5, 0.9), schedule=schedule),
        averaging=ExponentialMovingAverage(0.99),
        batch_size=512,
        random_state=seed,
    )


def seconds_per_iteration(pair, n_features: int) -> float:
    """Processor seconds of one iteration, in a call of 32."""
    X, Y = pair.sample_source(2**14, random_state=0), pair.sample_target(2**14, random_state=1)
    start = time.process_time()
    w2_transport(100, 0).partial_fit(X, Y)
    return (time.process_time() - start) / 32
