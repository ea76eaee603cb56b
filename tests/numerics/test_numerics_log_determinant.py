import math

import numpy as np
import pytest
import torch

from skot.networks import ICNN, ConvPotential, MLPPotential
from skot.numerics import log_determinant
from skot.numerics.log_determinant import hessian, hessian_log_determinant


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def points(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=seeded(seed), dtype=dtype)


def matrix(eigenvalues, seed=0):
    vectors = torch.linalg.qr(points(len(eigenvalues), len(eigenvalues), seed))[0]
    return (vectors * torch.as_tensor(eigenvalues, dtype=torch.float64)) @ vectors.T


def quadratic(a):
    return lambda x: torch.linalg.vecdot(x, x @ a.to(x)) / 2


def cosh(x):
    """Strictly convex, with a gradient onto the whole space and a Hessian that varies."""
    mixed = x.sum(1, keepdim=True) * 0.7
    return (x**2).sum(1) / 2 + x.cosh().sum(1) + mixed.cosh().sum(1)


def wavy(x):
    return torch.sin(x).sum(1) + x.prod(1) + (x**4).sum(1)


def curved(module, dtype=torch.float64):
    """Make the networks, which start close to the identity, bend."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.rand(parameter.shape, generator=seeded(3))
    return module.to(dtype).requires_grad_(False)


NETWORKS = {
    "icnn": ICNN((16, 8)),
    "icnn-softplus": ICNN((16, 8), activation="softplus", rank=2),
    "mlp": MLPPotential((16, 8)),
    "conv": ConvPotential((3, 3), channels=(4, 5), hidden_layer_sizes=(6,)),
}


def reference_hessians(potential, x):
    rows = [
        torch.autograd.functional.hessian(lambda r: potential(r[None])[0], row, vectorize=False)
        for row in x
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("potential", [cosh, wavy])
def test_hessian_agrees_with_autograd(potential):
    x = points(7, 3)
    expected = reference_hessians(potential, x)
    torch.testing.assert_close(hessian(potential, x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_hessian_of_a_hand_written_gradient_agrees_with_autograd(name):
    module = curved(NETWORKS[name].build(9, generator=seeded()))
    x = points(5, 9)
    expected = reference_hessians(module.forward, x)
    assert (expected - expected[0]).abs().max() > 1e-3
    torch.testing.assert_close(hessian(module, x), expected, rtol=1e-10, atol=1e-10)


def test_hessian_is_exactly_symmetric():
    hessians = hessian(curved(ICNN((16,)).build(5, generator=seeded())), points(6, 5))
    assert torch.equal(hessians, hessians.mT)


@pytest.mark.parametrize("function", [hessian, hessian_log_determinant])
@pytest.mark.parametrize("slope", [torch.zeros(3), torch.ones(3)])
def test_potentials_whose_gradient_does_not_depend_on_the_point(function, slope):
    result = function(lambda x: x @ slope, torch.zeros(2, 3))
    assert (result == (0.0 if function is hessian else -math.inf)).all()


def test_a_gradient_without_a_graph_has_no_curvature():
    class Constant:
        def value_and_gradient(self, x):
            return x.new_zeros(len(x)), torch.ones_like(x).detach()

    assert (hessian(Constant(), points(2, 3)) == 0).all()


@pytest.mark.parametrize("dtype, rtol", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("d", [1, 5, 64])
def test_a_quadratic_has_a_constant_log_determinant(d, dtype, rtol):
    a = matrix(np.linspace(0.5, 8.0, d))
    result = hessian_log_determinant(quadratic(a), points(4, d, dtype=dtype))
    assert result.dtype == dtype
    expected = torch.full((4,), np.log(np.linspace(0.5, 8.0, d)).sum(), dtype=dtype)
    torch.testing.assert_close(result, expected, rtol=rtol, atol=1e-12)


def test_where_the_potential_is_not_convex_the_absolute_value_counts():
    a = matrix([-2.0, 3.0, 1.0])
    result = hessian_log_determinant(quadratic(a), points(2, 3))
    torch.testing.assert_close(result, torch.full((2,), math.log(6.0), dtype=torch.float64))


def test_the_pulled_back_gaussian_integrates_to_one():
    step = 0.05
    axis = torch.arange(-4.0, 4.0, step, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    with torch.enable_grad():
        point = x.clone().requires_grad_()
        (image,) = torch.autograd.grad(cosh(point).sum(), point)
    log_normal = -(image**2).sum(1) / 2 - math.log(2 * math.pi)
    log_density = log_normal + hessian_log_determinant(cosh, x)
    assert float(log_density.exp().sum() * step**2) == pytest.approx(1.0, abs=1e-8)


def test_log_density_of_a_gaussian():
    a = matrix([0.5, 2.0, 3.0])
    x = points(6, 3)
    # The map x -> a x takes N(0, a^-2) to the standard normal.
    standard = torch.distributions.MultivariateNormal(
        torch.zeros(3).double(), torch.eye(3).double()
    )
    normal = torch.distributions.MultivariateNormal(standard.mean, precision_matrix=a @ a)
    result = standard.log_prob(x @ a) + hessian_log_determinant(quadratic(a), x)
    torch.testing.assert_close(result, normal.log_prob(x), rtol=1e-10, atol=1e-10)


# --- the estimate ----------------------------------------------------------------------


def slq_deviation(a, n_probes):
    """Standard deviation of the estimate for a quadratic potential, without the bias."""
    eigenvalues, vectors = torch.linalg.eigh(a)
    logarithm = (vectors * eigenvalues.log()) @ vectors.T
    off_diagonal = logarithm - logarithm.diag().diag()
    return float((2.0 / n_probes * off_diagonal.square().sum()) ** 0.5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("d", [80, 200])
def test_estimate_for_a_quadratic_is_within_its_error(d, dtype):
    eigenvalues = np.linspace(0.2, 10.0, d)
    a = matrix(eigenvalues)
    result = hessian_log_determinant(quadratic(a), points(3, d, dtype=dtype))
    assert result.dtype == dtype
    error = (result - np.log(eigenvalues).sum()).abs().max()
    assert 0.0 < float(error) < 4 * slq_deviation(a, 16)
    assert float(error) < 0.06 * abs(np.log(eigenvalues).sum())


def test_estimates_scatter_around_the_truth_as_stated():
    eigenvalues = np.geomspace(0.1, 10.0, 70)
    a, x = matrix(eigenvalues), points(1, 70)
    errors = [
        float(hessian_log_determinant(quadratic(a), x, n_probes=4, generator=seeded(s)))
        - np.log(eigenvalues).sum()
        for s in range(100)
    ]
    deviation = slq_deviation(a, 4)
    assert abs(np.mean(errors)) < 4 * deviation / 10
    assert np.std(errors) == pytest.approx(deviation, rel=0.3)


@pytest.mark.parametrize("d, condition", [(12, 1e3), (60, 1e7)])
def test_the_quadrature_of_a_probe_is_exact_after_as_many_steps_as_features(d, condition):
    # Without orthogonalisation the largest eigenvalues would be found several times.
    a = matrix(np.geomspace(1.0 / condition, 1.0, d))
    eigenvalues, vectors = torch.linalg.eigh(a)
    probe = torch.ones(d, dtype=torch.float64)
    probe[::3] = -1.0
    expected = (vectors.T @ probe).square() @ eigenvalues.log()
    t = log_determinant._lanczos(lambda v: v @ a, probe[None] / d**0.5, d)
    result = d * float(log_determinant._log_quadrature(*t)[0])
    assert result == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_estimate_is_exact_for_diagonal_hessians_with_few_curvatures(dtype):
    # The Krylov space is exhausted after three steps, after one where the row is the identity.
    curvature = torch.tensor([1.0, 3.0, -0.25]).repeat(30)

    def potential(x):
        return torch.where(x[:, 0] > 0, (curvature.to(x) * x**2).sum(1), (x**2).sum(1)) / 2

    x = points(6, 90, dtype=dtype)
    x[:, 0] = torch.tensor([1.0, -1.0] * 3)
    expected = 30 * math.log(0.75) * (x[:, 0] > 0).to(dtype)
    result = hessian_log_determinant(potential, x)
    # Rounding of every one of the 90 curvatures.
    torch.testing.assert_close(result, expected, rtol=0, atol=4 * 90 * torch.finfo(dtype).eps)


def test_estimate_follows_a_varying_hessian():
    x = points(8, 70)
    exact = hessian_log_determinant(cosh, x, max_exact_features=70)
    estimate = hessian_log_determinant(cosh, x, n_probes=256)
    deviations = torch.tensor([slq_deviation(a, 256) for a in hessian(cosh, x)])
    assert exact.std() > deviations.max()
    assert ((estimate - exact).abs() < 3 * deviations).all()


def test_estimate_of_a_nearly_singular_hessian_is_finite_and_low():
    eigenvalues = np.ones(70)
    eigenvalues[0] = 0.0
    a = matrix(eigenvalues)
    result = hessian_log_determinant(quadratic(a), points(2, 70))
    assert result.isfinite().all()
    assert (result < -10.0).all()


def test_a_linear_potential_has_a_finite_estimate():
    result = hessian_log_determinant(lambda x: x.sum(1), torch.zeros(2, 70))
    assert result.isfinite().all()
    assert (result < -1000.0).all()


@pytest.mark.parametrize("max_exact_features", [0, 64])
def test_a_row_that_is_not_finite_spoils_only_itself(max_exact_features):
    x = points(4, 5)
    clean = hessian_log_determinant(cosh, x, max_exact_features=max_exact_features)
    x[1] = 1e4
    result = hessian_log_determinant(cosh, x, max_exact_features=max_exact_features)
    assert not result[1].isfinite()
    keep = [0, 2, 3]
    torch.testing.assert_close(result[keep], clean[keep], rtol=1e-12, atol=1e-12)


def test_probes_come_from_the_generator_only():
    potential, x = quadratic(matrix(np.geomspace(0.1, 10.0, 70))), points(2, 70)
    before = torch.random.get_rng_state()
    first = hessian_log_determinant(potential, x)
    assert torch.equal(first, hessian_log_determinant(potential, x))
    generator = seeded(1)
    second = hessian_log_determinant(potential, x, generator=generator)
    assert (second - hessian_log_determinant(potential, x, generator=generator)).abs().min() > 1e-3
    assert torch.equal(second, hessian_log_determinant(potential, x, generator=seeded(1)))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("parameter", ["n_probes", "n_steps"])
def test_numbers_have_to_be_positive(parameter):
    with pytest.raises(ValueError, match=f"{parameter} must be at least 1"):
        hessian_log_determinant(cosh, points(1, 2), **{parameter: 0})


# --- what both ways promise ------------------------------------------------------------


@pytest.mark.parametrize("n_features, max_exact_features", [(9, 64), (9, 0), (81, 64)])
@pytest.mark.parametrize("name", ["icnn", "mlp"])
def test_a_row_does_not_depend_on_the_others(name, n_features, max_exact_features, monkeypatch):
    module = curved(NETWORKS[name].build(n_features, generator=seeded()))
    x = points(23, n_features)

    def compute(rows):
        return hessian_log_determinant(module, rows, max_exact_features=max_exact_features)

    whole = compute(x)
    assert whole.std() > 1e-3
    single = torch.cat([compute(row[None]) for row in x])
    torch.testing.assert_close(single, whole, rtol=1e-10, atol=1e-10)
    order = torch.randperm(23, generator=seeded())
    torch.testing.assert_close(compute(x[order]), whole[order], rtol=1e-10, atol=1e-10)
    monkeypatch.setattr(log_determinant, "_TILE_ENTRIES", 3 * 16 * 2**12)
    torch.testing.assert_close(compute(x), whole, rtol=1e-10, atol=1e-10)
    assert compute(x[:0]).shape == (0,)


def test_tiles_bound_what_the_potential_sees(monkeypatch):
    seen = []

    def potential(x):
        seen.append(len(x))
        return cosh(x)

    monkeypatch.setattr(log_determinant, "_TILE_ENTRIES", 4 * 2**12)
    hessian(potential, points(10, 3))
    assert seen == [4, 4, 2]
    seen.clear()
    hessian_log_determinant(potential, points(10, 3), max_exact_features=0, n_probes=2)
    assert seen == [4, 4, 4, 4, 4]


@pytest.mark.parametrize("max_exact_features", [0, 64])
@pytest.mark.parametrize("trainable", [True, False])
def test_gradients_of_the_caller_are_left_alone(trainable, max_exact_features):
    module = curved(ICNN((8,)).build(4, generator=seeded())).requires_grad_(trainable)
    x = points(3, 4)
    expected = hessian_log_determinant(module, x, max_exact_features=max_exact_features)
    with torch.no_grad():
        inside = hessian_log_determinant(module, x, max_exact_features=max_exact_features)
        assert not torch.is_grad_enabled()
    leaf = x.clone().requires_grad_()
    outside = hessian_log_determinant(module, leaf, max_exact_features=max_exact_features)
    for result in (inside, outside):
        assert not result.requires_grad
        assert torch.equal(result, expected)
    assert not hessian(module, leaf).requires_grad
    assert leaf.grad is None
    assert not x.requires_grad
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.gpu
def test_the_device_follows_the_points():
    module = curved(ICNN((16, 8)).build(9, generator=seeded()))
    x = points(5, 9)
    for max_exact_features in (0, 64):
        expected = hessian_log_determinant(module.cpu(), x, max_exact_features=max_exact_features)
        result = hessian_log_determinant(
            module.cuda(), x.cuda(), max_exact_features=max_exact_features
        )
        assert result.is_cuda
        torch.testing.assert_close(result.cpu(), expected, rtol=1e-9, atol=1e-9)
