"""What bench_lagrangian.py measures of learned metrics: sequences with a known one, snow geese."""

import time
from functools import cache

import numpy as np
from sklearn.base import clone

from skot import LagrangianMetricLearner
from skot.costs import ConstantMetric
from skot.datasets import fetch_metric_sequences, fetch_snow_goose
from skot.metrics import alignment_score
from skot.networks import NeuralMetric
from skot.training import AdamW, CosineSchedule

#: The square or rectangle over which a metric is compared with the true one.
SIDES = {
    "circle": ((-1.5, 1.5), (-1.5, 1.5)),
    "mass_splitting": ((-2.5, 15.0), (-15.0, 15.0)),
    "x_paths": ((-1.5, 1.5), (-1.5, 1.5)),
}
N_SIDE, N_ANGLES = 100, 180


def learner_for(seed: int) -> LagrangianMetricLearner:
    """Return the estimator for sequences with a known metric: its defaults."""
    return LagrangianMetricLearner(random_state=seed)


def geese_learner_for(seed: int) -> LagrangianMetricLearner:
    """Return the estimator for the geese, whose few transitions are far apart.

    The metric is smooth and not far from Euclidean, and paths are straight: geodesics would bend
    through places where no bird was seen, and where nothing is known of the metric.
    """
    return LagrangianMetricLearner(
        NeuralMetric((32, 32), eigenvalues=(0.3, 1.0)),
        n_knots=0,
        optimizer=AdamW(lr=1e-2, betas=(0.9, 0.999), weight_decay=3.0, schedule=CosineSchedule()),
        n_alternations=2,
        max_iter=400,
        random_state=seed,
    )


def grid_of(name: str) -> np.ndarray:
    """Return the points over which alignment is measured."""
    sides = [np.linspace(*side, N_SIDE) for side in SIDES[name]]
    return np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2)


@cache
def best_constant_alignment(name: str) -> float:
    """Return the highest alignment that a metric can have that is the same everywhere."""
    points, metric = grid_of(name), fetch_metric_sequences(name).metric
    return max(
        alignment_score(_constant(angle), metric, points)
        for angle in np.arange(N_ANGLES) * np.pi / N_ANGLES
    )


def metric_cell(name: str, seed: int) -> dict[str, float]:
    """Learn the metric of a sequence; its alignment on a grid, at the end of the fit."""
    sequence = fetch_metric_sequences(name)
    start = time.process_time()
    learner = learner_for(seed).fit(sequence.X, sequence.time)
    seconds = time.process_time() - start
    return {
        "alignment": alignment_score(learner.metric_, sequence.metric, grid_of(name)),
        "best_constant": best_constant_alignment(name),
        "seconds": seconds,
    }


def geese_cell(seed: int) -> dict[str, float]:
    """Learn from the odd months, and predict the even ones between them.

    Straight lines are what the same estimator predicts when all directions cost the same. Both go
    straight: the difference is where from and where to.
    """
    geese = fetch_snow_goose()
    seen = geese.month % 2 == 1
    held_out = ~seen & (geese.month < geese.month[seen].max())
    start = time.process_time()
    learner = geese_learner_for(seed).fit(geese.X[seen], geese.month[seen])
    seconds = time.process_time() - start
    straight = clone(learner).set_params(metric=NeuralMetric(eigenvalues=(1.0, 1.0)), max_iter=1)
    straight.set_params(n_alternations=1).fit(geese.X[seen], geese.month[seen])
    cell = {"seconds": seconds}
    for name, fitted in (("", learner), ("_straight", straight)):
        months = {
            month: -fitted.score(geese.X[geese.month == month], geese.month[geese.month == month])
            for month in np.unique(geese.month[held_out])
        }
        cell[f"divergence{name}"] = float(np.mean(list(months.values())))
        cell.update({f"month_{month}{name}": value for month, value in months.items()})
    return cell


def _constant(angle: float) -> ConstantMetric:
    """Metric whose cheap direction has an angle to the first axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.eye(2) - 0.9 * np.outer([cos, sin], [cos, sin])
    return ConstantMetric(tuple(map(tuple, matrix.tolist())))
