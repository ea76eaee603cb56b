"""Barycentres of normal distributions: closed forms, the fixed point, symmetries."""

import pytest
import torch

from skot.numerics.gaussian_barycenter import gaussian_barycenter
from skot.numerics.linalg import bures_squared_distance, symmetric_power

WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)


def random_covariances(k=3, d=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(k, d, d, generator=generator, dtype=torch.float64)
    return roots @ roots.mT + 0.05 * torch.eye(d, dtype=torch.float64)


def random_means(k=3, d=4):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(k, d, generator=generator, dtype=torch.float64)


def test_on_the_line_standard_deviations_are_averaged():
    means = torch.tensor([[-1.0], [0.0], [1.5]], dtype=torch.float64)
    variances = torch.tensor([0.25, 1.0, 2.25], dtype=torch.float64)[:, None, None]
    found = gaussian_barycenter(means, variances, WEIGHTS)
    assert found.converged
    assert float(found.mean) == pytest.approx(0.25, abs=1e-15)
    assert float(found.covariance) == pytest.approx(1.1025, abs=1e-14)


def test_commuting_covariances():
    generator = torch.Generator().manual_seed(2)
    basis, _ = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))
    spreads = 0.1 + torch.rand(3, 4, generator=generator, dtype=torch.float64)
    covariances = basis @ torch.diag_embed(spreads**2) @ basis.T
    found = gaussian_barycenter(random_means(), covariances, WEIGHTS)
    assert found.converged
    # One step, and one that sees that nothing changes.
    assert found.n_iter == 2
    expected = basis @ torch.diag((WEIGHTS @ spreads) ** 2) @ basis.T
    torch.testing.assert_close(found.covariance, expected, rtol=0, atol=1e-13)


def test_the_fixed_point_equation():
    covariances = random_covariances()
    found = gaussian_barycenter(random_means(), covariances, WEIGHTS)
    assert found.converged
    root = symmetric_power(found.covariance, 0.5)
    images = symmetric_power(root @ covariances @ root, 0.5)
    mean = torch.einsum("k,kij->ij", WEIGHTS, images)
    torch.testing.assert_close(mean, found.covariance, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.covariance, found.covariance.T, rtol=0, atol=0)


def test_no_other_covariance_has_a_lower_mean_distance():
    covariances = random_covariances()
    found = gaussian_barycenter(random_means(), covariances, WEIGHTS).covariance

    def objective(covariance):
        distances = [bures_squared_distance(covariance, other) for other in covariances]
        return float(WEIGHTS @ torch.stack(distances))

    for seed in range(10):
        other = found + 0.01 * random_covariances(1, seed=seed)[0]
        assert objective(other) > objective(found) + 1e-8


def test_two_measures_are_the_ends_of_a_geodesic():
    covariances, weights = random_covariances(2), torch.tensor([0.3, 0.7], dtype=torch.float64)
    found = gaussian_barycenter(random_means(2), covariances, weights).covariance
    total = bures_squared_distance(*covariances)
    for covariance, share in zip(covariances, weights, strict=True):
        distance = bures_squared_distance(found, covariance)
        assert float(distance) == pytest.approx(float((1.0 - share) ** 2 * total), rel=1e-8)


@pytest.mark.parametrize("unit", [1e-12, 1e8])
def test_units_order_and_rotation(unit):
    means, covariances = random_means(), random_covariances()
    found = gaussian_barycenter(means, covariances, WEIGHTS)
    generator = torch.Generator().manual_seed(3)
    basis, _ = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))
    turned = unit**2 * basis @ covariances.flip(0) @ basis.T
    other = gaussian_barycenter(unit * means.flip(0) @ basis.T, turned, WEIGHTS.flip(0))
    assert other.converged
    expected = basis @ found.covariance @ basis.T
    torch.testing.assert_close(other.covariance / unit**2, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(other.mean / unit, basis @ found.mean, rtol=0, atol=1e-12)


def test_singular_covariances_and_copies():
    line = torch.zeros(2, 3, 3, dtype=torch.float64)
    line[0, 0, 0], line[1, 0, 0] = 1.0, 9.0
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    found = gaussian_barycenter(torch.zeros(2, 3, dtype=torch.float64), line, half)
    expected = torch.zeros(3, 3, dtype=torch.float64)
    expected[0, 0] = 4.0
    torch.testing.assert_close(found.covariance, expected, rtol=0, atol=1e-12)
    copies = random_covariances(1).expand(3, 4, 4)
    found = gaussian_barycenter(random_means(), copies, WEIGHTS)
    torch.testing.assert_close(found.covariance, copies[0], rtol=0, atol=1e-11)


def test_too_few_steps_do_not_raise():
    found = gaussian_barycenter(random_means(), random_covariances(), WEIGHTS, max_iter=3)
    assert not found.converged
    assert found.n_iter == 3
