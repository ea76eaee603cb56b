"""Seeded batches of different clouds with weights of their own, and the errors of a solution."""

from dataclasses import dataclass

import numpy as np
from _problems import target_error


@dataclass(frozen=True)
class BatchProblem:
    """Pairs of clouds in the plane, none of them like another, all of one size.

    Epsilon is one number, relative to the mean centred cost over the batch, as not every library
    takes one for each problem.
    """

    n_problems: int
    n: int
    epsilon: float
    tol: float
    seed: int = 0

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        return f"B={self.n_problems} n={self.n} epsilon={self.epsilon:g} tol={self.tol:g}"

    def arguments(self) -> tuple:
        """Return the points, the weights, the absolute regularisation and the tolerance."""
        rng = np.random.default_rng([self.seed, self.n_problems, self.n])
        shape = (self.n_problems, self.n, 2)
        # Every pair has a scale, an anisotropy and a shift of its own.
        x, y = (
            rng.standard_normal(shape) * rng.uniform(0.7, 1.3, (self.n_problems, 1, 2))
            for _ in range(2)
        )
        y += rng.standard_normal((self.n_problems, 1, 2))
        a, b = (rng.uniform(0.2, 1.8, shape[:2]) for _ in range(2))
        a, b = (weights / weights.sum(1, keepdims=True) for weights in (a, b))
        mean_cost = float(np.mean(x.var(1).sum(1) + y.var(1).sum(1)))
        return x, y, a, b, self.epsilon * mean_cost, self.tol

    def target_error(self, log_v) -> float:
        """Return the largest L1 error of the target marginals of the problems that were solved."""
        x, y, a, b, epsilon, _ = self.arguments()
        solved = range(len(log_v))
        return max(target_error(x[k], y[k], a[k], b[k], epsilon, log_v[k]) for k in solved)
