"""Problems with known solutions, and small random ones, that several tests share."""

from typing import NamedTuple

import numpy as np
import torch


class WeightedPair(NamedTuple):
    """Two weighted clouds, float64 tensors; the weights sum to one."""

    x: torch.Tensor
    y: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor


def random_pair(n=30, m=22, d=3, *, seed=0, shift=0.7, scale=0.6, uniform=False) -> WeightedPair:
    """Gaussian clouds of different sizes with weights that vary by a factor of ten."""
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    x = torch.randn(n, d, **options)
    y = scale * torch.randn(m, d, **options) + shift
    a, b = torch.rand(n, **options) + 0.1, torch.rand(m, **options) + 0.1
    if uniform:
        a, b = torch.ones_like(a), torch.ones_like(b)
    return WeightedPair(x, y, a / a.sum(), b / b.sum())


def numpy_samples(n=40, m=30, d=2, *, seed=0, shift=3.0, scale=0.6):
    """Source and target arrays: Gaussian samples of different location, spread and size."""
    rng = np.random.RandomState(seed)
    return rng.standard_normal((n, d)), scale * rng.standard_normal((m, d)) + shift


def squared_distances(x, y) -> torch.Tensor:
    """Straight from the definition, one coordinate at a time."""
    return (x[:, None, :] - y[None, :, :]).square().sum(-1)


def plain_sinkhorn(cost, a, b, epsilon, n_iter):
    """Cuturi's algorithm on arrays; the L1 error of the target marginal before each update."""
    kernel = np.exp(-cost / epsilon)
    v = np.ones(len(b))
    errors = []
    for _ in range(n_iter):
        u = 1.0 / (kernel @ (b * v))
        column = kernel.T @ (a * u)
        errors.append(float(np.abs(v * column - 1.0) @ b))
        v = 1.0 / column
    return np.array(errors), (a * u)[:, None] * kernel * (b * v)[None]


class EntropicGaussian(NamedTuple):
    """Entropic transport between N(mean_a, sd_a^2) and N(mean_b, sd_b^2) on the line.

    Cost |x - y|^2, penalty epsilon KL(P | a x b): Janati et al. (2020), Theorem 1 with
    sigma^2 = epsilon / 2.
    """

    mean_a: float
    sd_a: float
    mean_b: float
    sd_b: float
    epsilon: float

    @property
    def _root(self):
        return np.sqrt(4.0 * (self.sd_a * self.sd_b) ** 2 + (0.5 * self.epsilon) ** 2)

    @property
    def value(self):
        sigma2, root = 0.5 * self.epsilon, self._root
        bures = self.sd_a**2 + self.sd_b**2 - root
        bures += sigma2 * (1.0 - np.log(2.0 * sigma2)) + sigma2 * np.log(root + sigma2)
        return (self.mean_a - self.mean_b) ** 2 + bures

    @property
    def transport_cost(self):
        covariance = 0.5 * (self._root - 0.5 * self.epsilon)
        spread = self.sd_a**2 + self.sd_b**2 - 2.0 * covariance
        return (self.mean_a - self.mean_b) ** 2 + spread

    @property
    def slope(self):
        """Of the conditional mean of the target given the source."""
        return 0.5 * (self._root - 0.5 * self.epsilon) / self.sd_a**2

    def map(self, x):
        return self.mean_b + self.slope * (x - self.mean_a)

    def source_potential(self, x):
        """Up to a constant: its derivative is twice the mean displacement x - T(x)."""
        centred = x - self.mean_a
        return (1.0 - self.slope) * centred**2 + 2.0 * (self.mean_a - self.mean_b) * centred

    @property
    def swapped(self):
        return EntropicGaussian(self.mean_b, self.sd_b, self.mean_a, self.sd_a, self.epsilon)


def normal_weights(points, mean, sd) -> torch.Tensor:
    """A normal density as weights on evenly spaced points: a very accurate quadrature."""
    weights = torch.exp(-0.5 * ((points - mean) / sd) ** 2)
    return weights / weights.sum()


def up_to_a_constant(potential, weights):
    """Potential with weighted mean zero."""
    return potential - (potential * weights).sum()
