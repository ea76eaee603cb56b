"""The seeded problems of the benchmarks, and the errors of a solution in float64."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch


@dataclass(frozen=True)
class Problem:
    """Two seeded clouds with uniform weights and a relative regularisation."""

    n: int
    d: int
    epsilon: float
    tol: float
    seed: int = 0

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        return f"n={self.n} d={self.d} epsilon={self.epsilon:g} tol={self.tol:g}"

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a standard normal source and a shifted four-component mixture."""
        rng = np.random.default_rng([self.seed, self.n, self.d])
        x = rng.standard_normal((self.n, self.d))
        centres = 0.5 + 0.7 * rng.standard_normal((4, self.d))
        y = 0.8 * rng.standard_normal((self.n, self.d)) + centres[rng.integers(4, size=self.n)]
        return x, y

    def arguments(self) -> tuple:
        """Return the points, the absolute regularisation and the tolerance."""
        x, y = self.points()
        mean_cost = (x**2).sum(1).mean() + (y**2).sum(1).mean() - 2 * x.mean(0) @ y.mean(0)
        return x, y, float(self.epsilon * mean_cost), self.tol

    def marginal_errors(self, log_u, log_v, tile=256) -> tuple[float, float]:
        r"""Return the L1 errors of the row and the column marginal of a plan.

        The plan is :math:`P_{ij} = \exp(\log u_i + \log v_j - |x_i - y_j|^2 / \epsilon)` and both
        targets are uniform. A plan which is not finite has infinite errors.
        """
        x, y, epsilon, _ = self.arguments()
        x, y, log_u, log_v = (torch.from_numpy(v).double() for v in (x, y, log_u, log_v))
        log_rows = log_u - (x * x).sum(1) / epsilon
        log_columns = log_v - (y * y).sum(1) / epsilon
        column_sums = torch.zeros(len(y), dtype=torch.float64)
        row_sums = []
        for start in range(0, len(x), tile):
            rows = slice(start, start + tile)
            exponent = (2.0 / epsilon) * (x[rows] @ y.T) + log_rows[rows, None] + log_columns
            # Subnormal results would be a hundred times slower and change nothing.
            plan = exponent.clamp_(min=-700.0).exp_()
            row_sums.append(plan.sum(1))
            column_sums += plan.sum(0)
        row = float((torch.cat(row_sums) - 1.0 / len(x)).abs().sum())
        column = float((column_sums - 1.0 / len(y)).abs().sum())
        return (row, column) if np.isfinite(row + column) else (float("inf"), float("inf"))

    def target_error(self, log_v) -> float:
        """Return the L1 error of the target marginal once every row is exact, from `log_v`."""
        x, y, epsilon, _ = self.arguments()
        uniform = np.full(self.n, 1.0 / self.n)
        return target_error(x, y, uniform, uniform, epsilon, log_v)


def target_error(x, y, a, b, epsilon: float, log_v) -> float:
    """Return the L1 error of the target marginal of a plan whose rows are normalised exactly.

    The plan is proportional to exp(log_v_j - |x_i - y_j|^2 / epsilon) in every row; everything
    is in float64 and in the log domain. A plan which is not finite has an infinite error.
    """
    exponent = (2.0 / epsilon) * (x @ y.T) + (
        np.asarray(log_v, np.float64) - (y * y).sum(1) / epsilon
    )
    rows = torch.from_numpy(exponent).softmax(1).numpy()
    error = float(np.abs(a @ rows - b).sum())
    return error if np.isfinite(error) else float("inf")


@dataclass(frozen=True)
class GridProblem:
    """Seeded pairs of MNIST digits as histograms on the 28 x 28 grid of the unit square."""

    n_pairs: int
    epsilon: float
    tol: float
    seed: int = 0

    @cached_property
    def axis_cost(self) -> np.ndarray:
        """Squared distances between the 28 coordinates of an axis."""
        coordinates = np.linspace(0.0, 1.0, 28)
        return (coordinates[:, None] - coordinates) ** 2

    def cost(self) -> np.ndarray:
        """Return the full cost matrix."""
        axis = self.axis_cost
        return (axis[:, None, :, None] + axis[None, :, None, :]).reshape(784, 784)

    def arguments(self) -> tuple:
        """Return the two batches of histograms, the regularisation and the tolerance."""
        from skot.datasets import fetch_mnist

        images = fetch_mnist(subset="test").data
        rng = np.random.default_rng(self.seed)
        chosen = rng.permutation(len(images))[: 2 * self.n_pairs]
        histograms = images[chosen].reshape(len(chosen), -1).astype(np.float64)
        histograms /= histograms.sum(1, keepdims=True)
        return histograms[::2], histograms[1::2], self.epsilon, self.tol

    def marginal_errors(self, log_u, log_v) -> tuple[float, float]:
        """Return the largest L1 errors of the two marginals over the pairs that were solved."""
        a, b, epsilon, _ = self.arguments()
        kernel = np.exp(-self.cost() / epsilon)
        rows, columns = [], []
        for k in range(len(log_u)):
            # A common shift keeps the scalings in range: it cancels in the product.
            shift = log_u[k].max()
            u, v = np.exp(log_u[k] - shift), np.exp(log_v[k] + shift)
            rows.append(np.abs(u * (kernel @ v) - a[k]).sum())
            columns.append(np.abs(v * (u @ kernel) - b[k]).sum())
        errors = float(np.max(rows)), float(np.max(columns))
        return errors if np.isfinite(sum(errors)) else (float("inf"), float("inf"))
