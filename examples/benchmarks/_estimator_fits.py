"""A short fit of each estimator, on seeded data: what is timed by bench_estimators.py."""

from dataclasses import dataclass

import numpy as np

ESTIMATORS = (
    "GaussianTransport",
    "SinkhornTransport",
    "W2GNTransport",
    "NeuralOT",
    "LagrangianOT",
    "LagrangianMetricLearner",
    "MetaOTRegressor",
    "MetaW2GN",
)


@dataclass(frozen=True)
class EstimatorProblem:
    """An estimator by its name, with data for it."""

    name: str
    seed: int = 0

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        return self.name

    def arguments(self) -> tuple:
        """Return the name and two samples."""
        rng = np.random.default_rng(self.seed)
        x, y = rng.standard_normal((512, 2)), 0.8 * rng.standard_normal((512, 2)) + 1.0
        return self.name, x, y


def fit(name, x, y):
    """Fit with defaults for a tenth of a second or so."""
    import torch

    import skot
    from skot.costs import SupportCost

    torch.set_num_threads(1)
    support = SupportCost(x[:20], y[:16])
    weights = np.abs(np.random.default_rng(1).standard_normal((64, 36))) + 0.1
    data = {
        "LagrangianMetricLearner": (np.concatenate([x, y]), np.repeat([0.0, 1.0], 512)),
        "MetaOTRegressor": (weights,),
        "MetaW2GN": ([x, y, x[::-1] * [1.0, 2.0]],),
    }.get(name, (x, y))
    params = {
        "GaussianTransport": {},
        "SinkhornTransport": {},
        "W2GNTransport": {"max_iter": 10},
        "NeuralOT": {"max_iter": 5},
        "LagrangianOT": {"max_iter": 5},
        "LagrangianMetricLearner": {"max_iter": 20, "n_alternations": 1, "transport_size": 200},
        "MetaOTRegressor": {"max_iter": 30, "cost": support, "epsilon": 0.5},
        "MetaW2GN": {"max_iter": 2},
    }[name]
    if name not in ("GaussianTransport", "SinkhornTransport"):
        params = {**params, "random_state": 0}

    def run():
        fitted = getattr(skot, name)(**params).fit(*data)

        def read():
            curve = np.asarray(getattr(fitted, "loss_curve_", [0.0]), dtype=float)
            return curve, curve, {"n_iter": int(getattr(fitted, "n_iter_", 0))}

        return read

    return run


ESTIMATOR_ADAPTERS = {"skot-estimator": fit}
