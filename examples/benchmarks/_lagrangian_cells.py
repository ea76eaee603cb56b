"""What bench_lagrangian.py measures: one function, one cell of its tables."""

import time
import warnings
from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from _geodesic_problems import PROBLEMS
from _geodesic_reference import (
    action_along,
    checked_cost_matrix,
    circle_cost,
    discrete_ot_cost,
    geodesic_cost,
    half_plane_cost,
    sphere_cost,
    well_cost,
)
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import pdist
from sklearn.exceptions import ConvergenceWarning

from skot import GaussianTransport, LagrangianOT
from skot.costs import (
    ConformalMetric,
    ConstantMetric,
    HarmonicWell,
    HyperbolicHalfPlane,
    Kinetic,
    KineticPotential,
    Lagrangian,
    RiemannianKinetic,
    StereographicSphere,
)
from skot.datasets import make_obstacle_pair, obstacle_lagrangian
from skot.metrics import l2_uvp, sinkhorn_divergence

N_TRAIN = 10000
#: Rows of the reference samples, and the seed they are drawn with.
N_REFERENCE, REFERENCE_SEED = 200, 12345
N_DRAWS, N_DRAWN = 20, 2000
#: Times of the paths on which walls are looked for.
N_TIMES = 1000


# Settings of the estimator


def transport_for(problem: str, seed: int = 0) -> LagrangianOT:
    """Return the estimator for a problem of make_obstacle_pair."""
    return LagrangianOT(obstacle_lagrangian(problem), random_state=seed)


def gaussian_transport_for(lagrangian: Lagrangian, seed: int = 0) -> LagrangianOT:
    """Return the estimator for Gaussians and for closed forms of costs."""
    return LagrangianOT(lagrangian, random_state=seed)


def timed_fit(transport: LagrangianOT, X: np.ndarray, Y: np.ndarray) -> float:
    """Fit and return the processor seconds."""
    start = time.process_time()
    transport.fit(X, Y)
    return time.process_time() - start


def quietly(measure: Callable, *arguments) -> tuple:
    """Call, and return what was returned with the number of warnings of no convergence."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        value = measure(*arguments)
    return value, sum(issubclass(w.category, ConvergenceWarning) for w in caught)


# Costs


def ones(x: torch.Tensor) -> torch.Tensor:
    """The factor of a metric that is Euclidean, which the solvers cannot know."""
    return torch.ones_like(x[..., 0])


MATRIX = np.array([[1.0, 0.4], [0.4, 0.5]])


def constant_metric(x: torch.Tensor) -> torch.Tensor:
    """A constant metric of which the solvers cannot know that it is one."""
    return x.new_tensor(MATRIX).expand(*x.shape, x.shape[-1])


def constant_cost(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Its cost."""
    return 0.5 * np.einsum("...i,ij,...j->...", x - y, MATRIX, x - y)


#: Lagrangian, closed form of the cost, means of source and target, standard deviation.
CLOSED_FORMS = {
    "Euclidean": (
        RiemannianKinetic(ConformalMetric(ones)),
        lambda x, y: 0.5 * ((x - y) ** 2).sum(-1),
        ((-1.0, 0.0), (1.0, 0.5), 0.3),
    ),
    "constant metric": (
        RiemannianKinetic(constant_metric),
        constant_cost,
        ((-1.0, 0.0), (1.0, 0.5), 0.3),
    ),
    "half-plane": (
        RiemannianKinetic(HyperbolicHalfPlane()),
        half_plane_cost,
        ((-1.0, 1.0), (1.0, 1.5), 0.15),
    ),
    "sphere": (
        RiemannianKinetic(StereographicSphere()),
        sphere_cost,
        ((-0.7, 0.0), (0.7, 0.3), 0.15),
    ),
    "well": (
        KineticPotential(HarmonicWell()),
        well_cost,
        ((-1.0, 0.0), (1.0, 0.5), 0.3),
    ),
}


def closed_form_cell(name: str, seed: int) -> dict:
    """Costs of the solver and of the networks, on pairs (x, T(x)) and on independent pairs."""
    lagrangian, closed_form, (source, target, deviation) = CLOSED_FORMS[name]
    rng = np.random.RandomState(100 + seed)
    X = source + deviation * rng.normal(size=(N_TRAIN, 2))
    Y = target + deviation * rng.normal(size=(N_TRAIN, 2))
    transport = gaussian_transport_for(lagrangian, seed)
    seconds = timed_fit(transport, X, Y)
    X, Y = (mean + deviation * rng.normal(size=(1000, 2)) for mean in (source, target))
    images, n_warnings = quietly(transport.transform, X)
    result = {"problem": name, "seed": seed, "seconds": seconds}
    for pairs, ends in (("transported", images), ("independent", Y)):
        expected = closed_form(X, ends)
        solved, n_more = quietly(transport.path_cost, X, ends)
        amortized = transport.path_cost(X, ends, amortized=True)
        n_warnings += n_more
        for kind, costs in (("solved", solved), ("amortized", amortized)):
            errors = np.abs(costs / expected - 1.0)
            result[f"{pairs}_{kind}_mean"] = float(errors.mean())
            result[f"{pairs}_{kind}_largest"] = float(errors.max())
    return {**result, "n_warnings": n_warnings}


# Maps between Gaussians


def gaussian_law(rng: np.random.RandomState, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a mean and a covariance with eigenvalues between 0.5 and 2."""
    basis, _ = np.linalg.qr(rng.normal(size=(n_features, n_features)))
    values = np.geomspace(0.5, 2.0, n_features)
    return rng.normal(size=n_features), (basis * values) @ basis.T


def bures_map(source: np.ndarray, target: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Return M of the optimal map x -> M x for the cost (x - y)' metric (x - y) / 2."""
    root = scipy.linalg.sqrtm(metric).real
    source, target = root @ source @ root, root @ target @ root
    half = scipy.linalg.sqrtm(source).real
    middle = scipy.linalg.sqrtm(half @ target @ half).real
    linear = np.linalg.solve(half, np.linalg.solve(half, middle).T)
    return np.linalg.solve(root, linear @ root)


def exact_rows(
    rng: np.random.RandomState, n: int, mean: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """Draw Gaussian rows with exactly this mean and covariance.

    The mean cost of 10000 rows that are drawn freely is off by a per cent.
    """
    rows = rng.normal(size=(n, len(mean)))
    rows -= rows.mean(axis=0)
    rows = np.linalg.solve(np.linalg.cholesky(np.cov(rows.T, bias=True)), rows.T).T
    return rows @ np.linalg.cholesky(covariance).T + mean


def map_cell(name: str, n_features: int, seed: int) -> dict:
    """Gaussian to Gaussian: the map, the cost, and the midpoints of the well."""
    rng = np.random.RandomState(200 + n_features)
    (mean_x, source), (mean_y, target) = (gaussian_law(rng, n_features) for _ in range(2))
    _, metric = gaussian_law(rng, n_features)
    lagrangians = {
        "Kinetic": Kinetic(),
        "ConstantMetric": RiemannianKinetic(ConstantMetric(tuple(map(tuple, metric.tolist())))),
        "well": KineticPotential(HarmonicWell()),
    }
    if name != "ConstantMetric":
        metric = np.eye(n_features)
    linear = bures_map(source, target, metric)

    def expected_map(rows: np.ndarray) -> np.ndarray:
        return (rows - mean_x) @ linear.T + mean_y

    def expected_cost(rows: np.ndarray) -> np.ndarray:
        if name == "well":
            return well_cost(rows, expected_map(rows))
        moved = rows - expected_map(rows)
        return 0.5 * np.einsum("ni,ij,nj->n", moved, metric, moved)

    rng = np.random.RandomState(300 + seed)
    X, Y = exact_rows(rng, N_TRAIN, mean_x, source), exact_rows(rng, N_TRAIN, mean_y, target)
    # The rows of `cost_value_` are spread over all: in this order they have the mean cost of all.
    X = X[np.argsort(expected_cost(X))]
    transport = gaussian_transport_for(lagrangians[name], seed)
    seconds = timed_fit(transport, X, Y)
    new = exact_rows(rng, 2**13, mean_x, source)
    images, n_warnings = quietly(transport.transform, new)
    cost, n_more = quietly(transport.path_cost, new, images)
    expected = float(expected_cost(X).mean())
    result = {
        "problem": name,
        "n_features": n_features,
        "seed": seed,
        "l2_uvp": l2_uvp(expected_map(new), images),
        "linear": l2_uvp(expected_map(new), GaussianTransport().fit(X, Y).transform(new)),
        "cost_expected": expected,
        "cost_error": float(cost.mean() / expected - 1.0),
        "cost_value_error": float(transport.cost_value_ / expected - 1.0),
        "dual_value_error": float(transport.dual_value_ / expected - 1.0),
        "seconds": seconds,
        "n_warnings": n_warnings + n_more,
    }
    if name == "well":
        middle = (new + expected_map(new)) / (
            2.0 * np.cosh(0.5 * np.sqrt(2.0 * HarmonicWell().strength))
        )
        found, _ = quietly(transport.transport_at, new, 0.5)
        spread = np.square(middle - middle.mean(0)).sum()
        result["midpoint_error"] = float(np.square(found - middle).sum() / spread)
    return result


# Obstacles


def reference_cell(problem: str) -> dict:
    """Discrete transport on 200 points a side, with costs of the independent solver."""
    X, Y = make_obstacle_pair(problem, N_REFERENCE, random_state=REFERENCE_SEED)
    matrix, checked = checked_cost_matrix(problem, X, Y)
    _, columns = linear_sum_assignment(np.square(X[:, None] - Y).sum(-1))
    return {
        "problem": problem,
        "n_points": N_REFERENCE,
        "sample_seed": REFERENCE_SEED,
        "cost": discrete_ot_cost(matrix),
        # What it costs to ignore the Lagrangian: in the plan, and also in the paths.
        "euclidean_plan": float(matrix[np.arange(len(X)), columns].mean()),
        "straight_paths": float(action_along(problem, straight(X, Y[columns])).mean()),
        **checked,
    }


def straight(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return straight paths at constant speed, at the times that walls are looked for."""
    times = np.linspace(0.0, 1.0, N_TIMES)[:, None]
    return X[:, None] + times * (Y - X)[:, None]


def divergences(problem: str, transport: LagrangianOT) -> dict:
    """Sinkhorn divergences to fresh target samples, over draws of 2000 rows."""
    X, Y = make_obstacle_pair(problem, N_DRAWN, random_state=1000)
    epsilon = 0.05 * float(np.square(pdist(Y)).mean())
    before = sinkhorn_divergence(X, Y, epsilon=epsilon)
    after, floor = [], []
    for draw in range(N_DRAWS):
        X, Y = make_obstacle_pair(problem, N_DRAWN, random_state=2000 + draw)
        _, Y_other = make_obstacle_pair(problem, N_DRAWN, random_state=3000 + draw)
        images, _ = quietly(transport.transform, X)
        after.append(sinkhorn_divergence(images, Y, epsilon=epsilon))
        floor.append(sinkhorn_divergence(Y_other, Y, epsilon=epsilon))
    return {
        "epsilon": epsilon,
        "divergence_before": before,
        "divergence": float(np.mean(after)),
        "divergence_spread": float(np.std(after)),
        "divergence_floor": float(np.mean(floor)),
    }


def depths(problem: str, paths: np.ndarray) -> np.ndarray | None:
    """Return how deep in a wall each path gets; None where nothing has an edge."""
    depth = PROBLEMS[problem].depth
    if depth is None:
        return None
    return np.maximum(depth(paths[..., 0], paths[..., 1]).max(axis=1), 0.0)


def obstacle_cell(problem: str, seed: int) -> dict:
    """Where the rows arrive, what it costs, and what they go through."""
    X, Y = make_obstacle_pair(problem, N_TRAIN, random_state=seed)
    transport = transport_for(problem, seed)
    seconds = timed_fit(transport, X, Y)
    result = {"problem": problem, "seed": seed, "seconds": seconds}
    result |= divergences(problem, transport)
    # The paths of 1000 fresh rows, under the formulas of the reference.
    X, _ = make_obstacle_pair(problem, 1000, random_state=4000)
    paths, n_warnings = quietly(transport.transport_paths, X, N_TIMES)
    result["followed_cost_fresh"] = float(action_along(problem, paths).mean())
    inside = depths(problem, paths)
    if inside is not None:
        result["deepest"] = float(inside.max())
        result["share_deeper"] = float((inside > 0.02).mean())
    # The rows of the reference: the mean cost beside that of discrete transport.
    X, Y = make_obstacle_pair(problem, N_REFERENCE, random_state=REFERENCE_SEED)
    paths, _ = quietly(transport.transport_paths, X, N_TIMES)
    best, best_paths = geodesic_cost(problem, X, paths[:, -1])
    inside = depths(problem, best_paths)
    if inside is not None:
        result["deepest_reference"] = float(inside.max())
    result["followed_cost"] = float(action_along(problem, paths).mean())
    result["pair_cost"] = float(best.mean())
    result["cost_value"] = float(transport.cost_value_)
    result["dual_value"] = float(transport.dual_value_)
    # Independent pairs: the solver of the library beside the reference.
    best, _ = geodesic_cost(problem, X, Y)
    found, n_more = quietly(transport.geodesic, X, Y, N_TIMES)
    excess = action_along(problem, found) / best - 1.0
    result["geodesic_excess_mean"] = float(excess.mean())
    result["geodesic_excess_largest"] = float(excess.max())
    costs, _ = quietly(transport.path_cost, X, Y)
    result["path_cost_error_mean"] = float(np.abs(costs / best - 1.0).mean())
    result["path_cost_error_largest"] = float(np.abs(costs / best - 1.0).max())
    if problem == "box":
        ends = np.array([[-1.1, 0.0]]), np.array([[1.1, 0.0]])
        result["box_middle"] = float(transport.path_cost(*ends)[0])
        result["box_middle_reference"] = float(geodesic_cost(problem, *ends)[0][0])
    return {**result, "n_warnings": n_warnings + n_more}


def circle_cell(seed: int) -> dict:
    """The circle metric: paths that stay on circles, and the cost in closed form."""
    X, Y = make_obstacle_pair("circle", N_TRAIN, random_state=seed)
    transport = transport_for("circle", seed)
    seconds = timed_fit(transport, X, Y)
    result = {"seed": seed, "seconds": seconds, **divergences("circle", transport)}
    X, Y = make_obstacle_pair("circle", 1000, random_state=REFERENCE_SEED)
    paths, n_warnings = quietly(transport.transport_paths, X, N_TIMES)
    radii = np.linalg.norm(paths, axis=-1)
    drift = np.abs(radii / radii[:, :1] - 1.0)
    matrix = circle_cost(X[:, None], Y[None])
    rows, columns = linear_sum_assignment(matrix)
    reference_drift = np.abs(
        np.linalg.norm(Y[columns], axis=1) / np.linalg.norm(X[rows], axis=1) - 1.0
    )
    _, euclidean = linear_sum_assignment(np.square(X[:, None] - Y).sum(-1))
    return {
        **result,
        "drift": float(drift.mean()),
        "drift_largest": float(drift.max()),
        # The radius at the end over that at the start, of the discrete plan.
        "drift_reference": float(reference_drift.mean()),
        "cost": float(circle_cost(X, paths[:, -1]).mean()),
        "followed_cost": float(action_along("circle", paths).mean()),
        "cost_value": float(transport.cost_value_),
        "discrete": float(matrix[rows, columns].mean()),
        "euclidean_plan": float(matrix[np.arange(len(X)), euclidean].mean()),
        "straight_paths": float(action_along("circle", straight(X, Y[euclidean])).mean()),
        "n_warnings": n_warnings,
    }
