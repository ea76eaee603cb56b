"""NeuralMetric and the spectral map: eigenvalues, gradients, bad input."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.testing import assert_close

from skot.networks import NeuralMetric
from skot.numerics.spectral import spectral_map
from skot.utils._sklearn import InvalidParameterError


def build(n_features, seed=0, **params):
    """Return a metric of double precision that varies from place to place, and points."""
    generator = torch.Generator().manual_seed(seed)
    module = NeuralMetric((16, 16), **params).build(n_features, generator=generator).double()
    with torch.no_grad():
        module.output.weight.mul_(30.0)
    return module, torch.randn(7, n_features, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("n_features", [1, 2, 3, 5])
def test_eigenvalues_are_as_given_everywhere(n_features):
    module, x = build(n_features)
    expected = torch.tensor([0.1] + (n_features - 1) * [1.0]).double()
    assert_close(torch.linalg.eigvalsh(module(x)), expected.expand(7, -1), atol=1e-5, rtol=0.0)
    assert_close(module(x), module(x).mT)
    if n_features > 1:  # and the eigenvectors vary
        assert module(x).std(0).max() > 0.05


@pytest.mark.parametrize("n_features", [1, 2, 3])
def test_quadratic_form_is_that_of_the_matrix(n_features):
    module, x = build(n_features, eigenvalues=np.arange(n_features, 0, -1.0))
    v = torch.randn(7, n_features, generator=torch.Generator().manual_seed(1)).double()
    expected = torch.einsum("ni,nij,nj->n", v, module(x), v)
    assert_close(module.quadratic_form(x, v), expected)
    energy, penalty = module.energy_and_penalty(x, v)
    assert_close(energy, 0.5 * expected.mean())
    assert penalty > 0


@pytest.mark.parametrize("n_features", [2, 3])
def test_gradients_are_those_of_the_values(n_features):
    module, x = build(n_features, eigenvalues=[0.1, 0.5, 2.0][:n_features])
    v = torch.randn_like(x)

    def value(x):
        return module.quadratic_form(x, v)

    assert torch.autograd.gradcheck(value, (x.requires_grad_(),))


def test_points_of_any_shape_and_precision():
    module, x = build(2)
    assert module(x.view(7, 1, 2)).shape == (7, 1, 2, 2)
    assert module(x.float()).dtype == torch.float32
    assert_close(module(x.float()), module(x).float(), atol=1e-4, rtol=0.0)


def test_directions_may_turn_around_a_point():
    """The directions of a circle have a double angle, and no angle that is continuous."""
    module, _ = build(2)
    angle = torch.linspace(0.0, 2.0 * torch.pi, 50).double()
    x = torch.stack([angle.cos(), angle.sin()], 1)
    tangent = torch.stack([-x[:, 1], x[:, 0]], 1)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        module.quadratic_form(x, tangent).mean().backward()
        optimizer.step()
    assert module.quadratic_form(x, tangent).max() < 0.11


def test_standardization_moves_with_the_points():
    module, x = build(2)
    module.standardize_(x)
    before = module(x)
    module.standardize_(3.0 * x + 5.0)
    assert_close(module(3.0 * x + 5.0), before)
    module.standardize_(torch.ones(4, 2).double())  # no spread
    assert torch.isfinite(module(torch.ones(4, 2).double())).all()


def test_spectral_map_of_equal_eigenvalues_has_a_finite_gradient():
    matrix = torch.eye(3, dtype=torch.float64).requires_grad_()
    spectral_map(matrix, torch.tensor([0.1, 1.0, 1.0])).sum().backward()
    assert torch.isfinite(matrix.grad).all()


def test_same_seed_same_weights_and_global_state_stays():
    state = torch.get_rng_state()
    one, x = build(2)
    other, _ = build(2)
    assert_close(one(x), other(x), rtol=0.0, atol=0.0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "eigenvalues", [(0.1,), (0.0, 1.0), (-1.0, 1.0), (np.nan, 1.0), ("a", "b"), ((1.0, 1.0),)]
)
def test_bad_eigenvalues_raise(eigenvalues):
    with pytest.raises(InvalidParameterError, match="must hold 2 positive numbers"):
        NeuralMetric(eigenvalues=eigenvalues).build(2, generator=torch.Generator())


def test_bad_parameters_raise():
    with pytest.raises(InvalidParameterError, match="hidden_layer_sizes"):
        NeuralMetric(()).build(2, generator=torch.Generator())
    with pytest.raises(InvalidParameterError, match="gauge"):
        NeuralMetric(gauge=-1.0).build(2, generator=torch.Generator())
    assert clone(NeuralMetric((8,), eigenvalues=(1.0, 2.0))).eigenvalues == (1.0, 2.0)
