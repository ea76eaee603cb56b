"""The dual loss: closed forms, and which gradients it has."""

import numpy as np
import pytest
import torch

from skot.datasets import make_location_scatter_pair
from skot.losses import DualBatch, dual_loss


class Quadratic(torch.nn.Module):
    """f(x) = x' A x / 2 + b' x; its conjugate is attained at A^-1 (y - b)."""

    def __init__(self, matrix, offset):
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.as_tensor(matrix, dtype=torch.float64))
        self.offset = torch.nn.Parameter(torch.as_tensor(offset, dtype=torch.float64))

    def forward(self, x):
        return 0.5 * (x @ self.matrix * x).sum(dim=1) + x @ self.offset

    def conjugate_point(self, y):
        return ((y - self.offset) @ torch.linalg.inv(self.matrix)).detach()


def gaussian_batch(n_samples=200_000, n_features=3):
    """A sample of a Gaussian pair, and the potential whose gradient is the map."""
    X, Y, pair = make_location_scatter_pair(n_samples, n_features, random_state=0, return_map=True)
    x, y = torch.tensor(X), torch.tensor(Y)
    f = Quadratic(pair.matrix, pair.mean_target - pair.matrix @ pair.mean_source)
    point = f.conjugate_point(y)
    return DualBatch(x, y, f, torch.nn.Identity(), point, point, refined=False), pair


def test_the_optimal_potential_gives_the_distance_of_gaussians():
    batch, pair = gaussian_batch()
    squares = sum(
        np.trace(covariance) + mean @ mean
        for mean, covariance in [
            (pair.mean_source, pair.covariance_source),
            (pair.mean_target, pair.covariance_target),
        ]
    )
    expected = 0.5 * (squares - pair.wasserstein_distance**2)
    assert dual_loss(batch).item() == pytest.approx(expected, rel=5e-3)


def test_the_optimal_potential_is_stationary_and_lowest():
    batch, pair = gaussian_batch()
    loss = dual_loss(batch)
    loss.backward()
    assert batch.potential.matrix.grad.abs().max() < 0.02
    assert batch.potential.offset.grad.abs().max() < 0.02
    worse = Quadratic(1.2 * pair.matrix, batch.potential.offset.detach())
    point = worse.conjugate_point(batch.y)
    moved = DualBatch(batch.x, batch.y, worse, batch.amortizer, point, point, refined=False)
    assert dual_loss(moved) > loss + 0.01


def test_the_value_is_the_mean_of_f_and_of_its_conjugate():
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64}
    f = Quadratic(torch.diag(torch.tensor([1.0, 2.0])), [0.3, -0.2])
    x, y = torch.randn(7, 2, **options), torch.randn(5, 2, **options)
    point = f.conjugate_point(y)
    batch = DualBatch(x, y, f, torch.nn.Identity(), point, point, refined=True)
    shifted = y - f.offset
    conjugate = 0.5 * (shifted @ torch.linalg.inv(f.matrix) * shifted).sum(dim=1)
    torch.testing.assert_close(dual_loss(batch), f(x).mean() + conjugate.mean())


def test_the_gradient_is_that_of_the_conjugate():
    """Danskin: differentiating at the fixed conjugate point is differentiating the conjugate."""
    generator = torch.Generator().manual_seed(1)
    options = {"generator": generator, "dtype": torch.float64}
    f = Quadratic(torch.tensor([[2.0, 0.5], [0.5, 1.0]]), [0.1, 0.2])
    x, y = torch.randn(6, 2, **options), torch.randn(6, 2, **options)
    point = f.conjugate_point(y)
    batch = DualBatch(x, y, f, torch.nn.Identity(), point, point, refined=True)
    got = torch.autograd.grad(dual_loss(batch), f.parameters())
    shifted = y - f.offset
    conjugate = 0.5 * (shifted @ torch.linalg.inv(f.matrix) * shifted).sum(dim=1)
    expected = torch.autograd.grad(f(x).mean() + conjugate.mean(), f.parameters())
    # The matrix of a quadratic form has a gradient up to its antisymmetric part.
    torch.testing.assert_close(got[0] + got[0].T, expected[0] + expected[0].T)
    torch.testing.assert_close(got[1], expected[1])


def test_one_forward_pass():
    calls = []

    def potential(x):
        calls.append(len(x))
        return x.square().sum(dim=1)

    x, y = torch.zeros(4, 2), torch.zeros(3, 2)
    batch = DualBatch(x, y, potential, torch.nn.Identity(), y, y, refined=False)
    dual_loss(batch)
    source, target = batch.potential_values
    assert calls == [7]
    assert (len(source), len(target)) == (4, 3)
