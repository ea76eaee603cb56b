"""What `SinkhornTransport.fit` does besides solving: the two calls that are timed."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FitProblem:
    """Two seeded clouds in the plane, for an estimator with its defaults."""

    n: int
    seed: int = 0

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        return f"n={self.n}"

    def arguments(self) -> tuple:
        """Return the samples."""
        rng = np.random.default_rng([self.seed, self.n])
        return rng.standard_normal((self.n, 2)), 0.8 * rng.standard_normal((self.n, 2)) + 1.0


def fit(x, y):
    """Fit the estimator with its defaults."""
    import torch

    from skot import SinkhornTransport

    torch.set_num_threads(1)

    def run():
        transport = SinkhornTransport().fit(x, y)

        def read():
            g = transport.potentials_.g.double().numpy()
            return g, g, {"n_iter": transport.n_iter_, "dual_value": transport.dual_value_}

        return read

    return run


def solve_only(x, y):
    """Solve what the estimator solves, on its own tensors: same epsilon, precision, tolerance."""
    import torch

    from skot import SinkhornTransport
    from skot.solvers import sinkhorn

    torch.set_num_threads(1)
    transport = SinkhornTransport().fit(x, y)
    found = transport.potentials_
    args = found.x, found.y, found.a, found.b
    options = {
        "epsilon": transport.epsilon_,
        "cost": transport.cost_,
        "max_iter": transport.max_iter,
        "tol": transport.tol,
        # What the estimator asks for at these sizes.
        "dtype": torch.float64,
    }

    def run():
        result = sinkhorn(*args, **options)

        def read():
            g = result.g.double().numpy()
            return g, g, {"n_iter": result.n_iter, "dual_value": float(result.dual_value)}

        return read

    return run


def fit_or_solve(x, y, *, what):
    """One of the two, in one process: a difference of two processes would be mostly theirs."""
    return {"fit": fit, "solve": solve_only}[what](x, y)


FIT_ADAPTERS = {"skot-fit": fit_or_solve}
