"""skot's side of the Wasserstein-2 benchmark: W2GNTransport on a stream of fresh batches."""

import json
import math
import os
from itertools import islice

import numpy as np
from _w2_pairs import BATCH_SIZE, SOURCE, TARGET, BudgetClock, Pair, batches, evaluation_times

from skot import W2GNTransport
from skot.losses import ObjectiveAmortization
from skot.networks import MLPMap, MLPPotential
from skot.solvers.conjugate import LBFGSConjugate
from skot.training import Adam, ExponentialMovingAverage, Schedule

# Settled on runs of 40 processor seconds. In 16 dimensions and more, small batches learn more in
# the same time at first; towards the end larger ones average out their noise.
SETTINGS = {
    2: {"width": (128, 128, 128), "activation": "silu", "lr": 1e-2, "first_batch": 1024},
    4: {"width": (128, 128, 128), "activation": "silu", "lr": 1e-2, "first_batch": 1024},
    16: {"width": (256, 256), "activation": "elu", "lr": 5e-3, "first_batch": 256},
    64: {"width": (256, 256), "activation": "elu", "lr": 5e-3, "first_batch": 256},
}
COMMON = {"max_iter": 10, "tol": 0.03, "decay": 0.999, "grow_at": 0.5}
ROWS_A_CALL = 2**17

_clock = BudgetClock(math.inf)


class BudgetCosine(Schedule):
    """Half a cosine of the budget spent, as for the other libraries: down to 1 %."""

    def factor(self, i: int, max_iter: int | None) -> float:
        spent = min(_clock.cpu / _clock.budget, 1.0)
        return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * spent))


def settings(n_features: int) -> dict:
    """Return the settings of a dimension; W2_SETTING, in JSON, overrides some for an experiment."""
    return {**COMMON, **SETTINGS[n_features], **json.loads(os.environ.get("W2_SETTING", "{}"))}


def transport(n_features: int, schedule: Schedule | None = None, seed: int = 0) -> W2GNTransport:
    """Return the estimator with the settings of a dimension."""
    setting = settings(n_features)
    return W2GNTransport(
        MLPPotential(setting["width"], activation=setting["activation"]),
        amortizer=MLPMap(setting["width"], activation=setting["activation"]),
        amortization=ObjectiveAmortization() if setting.get("objective") else None,
        conjugate_solver=LBFGSConjugate(max_iter=setting["max_iter"], tol=setting["tol"]),
        optimizer=Adam(lr=setting["lr"], schedule=schedule),
        averaging=ExponentialMovingAverage(setting["decay"]),
        batch_size=setting["first_batch"],
        random_state=seed,
    )


def train_skot(n_features: int, budget_cpu_s: float = 720.0, seed: int = 0) -> dict:
    """Train until the budget is spent; return the curve (steps, processor s, wall s, L2-UVP)."""
    global _clock
    pair = Pair(n_features)
    points = pair.test_points()
    _clock = clock = BudgetClock(budget_cpu_s)
    sides = [batches(pair, side, seed, clock) for side in (SOURCE, TARGET)]
    estimator, setting = transport(n_features, BudgetCosine(), seed), settings(n_features)
    times, curve, due = evaluation_times(budget_cpu_s), [], False
    while not clock.spent:
        if clock.cpu >= setting["grow_at"] * budget_cpu_s:
            estimator.set_params(batch_size=BATCH_SIZE)
        # Short calls at first, so that the early part of the curve is seen.
        n_batches = min(ROWS_A_CALL // BATCH_SIZE, 8 * 2 ** len(curve))
        with clock:
            x, y = (np.concatenate(list(islice(side, n_batches))) for side in sides)
        estimator.partial_fit(x, y)
        while times and clock.cpu >= times[0]:
            times.pop(0)
            due = True
        if due or clock.spent:
            due = False
            with clock:
                error = pair.l2_uvp(estimator.transform(points), points)
                curve.append((estimator.n_iter_, clock.cpu, clock.wall, error))
    return {"curve": curve}
