"""What every potential promises, whatever its architecture."""

import copy
import pickle

import pytest
import torch
from sklearn.base import clone

from skot.networks import (
    ICNN,
    ConvPotential,
    LogSumExpPotential,
    MLPPotential,
    Potential,
    ResNetPotential,
)
from skot.numerics.value_and_gradient import value_and_gradient
from skot.utils._sklearn import InvalidParameterError

N_FEATURES = 12
POTENTIALS = {
    "mlp": MLPPotential((16, 8)),
    "mlp, one layer": MLPPotential((16,), activation="celu"),
    "mlp, elu": MLPPotential((16, 8, 8), activation="elu"),
    "mlp, silu": MLPPotential((16, 8), activation="silu"),
    "mlp, leaky": MLPPotential((16, 8), activation="leaky_relu"),
    "icnn": ICNN((16, 8, 8), convexity="softplus", activation="softplus"),
    "icnn, one layer": ICNN((16,), activation="softplus"),
    "icnn, projected": ICNN((16, 8), activation="celu", convexity="projection"),
    "icnn, rank 0": ICNN((16, 8), rank=0, activation="leaky_relu"),
    "icnn, rank 3": ICNN((16, 8), rank=3, strong_convexity=0.3),
    "conv": ConvPotential((3, 4), channels=(4, 8), hidden_layer_sizes=(8,)),
    "conv, channels": ConvPotential((2, 3, 2), channels=(4,), kernel_size=1),
    "conv, diagonal": ConvPotential(
        (1, 6, 2), channels=(4, 4, 4), kernel_size=5, quadratic="diagonal", activation="softplus"
    ),
    "log-sum-exp": LogSumExpPotential(32, temperature=0.5),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def points(n=7, seed=1, dtype=torch.float64):
    return torch.randn(n, N_FEATURES, generator=seeded(seed), dtype=dtype)


def trained_like(architecture, seed=0):
    """A module far from its initialisation, so that no term is negligible."""
    module = architecture.build(N_FEATURES, generator=seeded(seed)).double()
    generator = seeded(seed + 100)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(0.3 * noise)
    module.project_()
    return module


@pytest.fixture(params=POTENTIALS)
def architecture(request):
    return POTENTIALS[request.param]


def by_autograd(module, x):
    """Value and gradient through the forward pass only."""
    return value_and_gradient(lambda z: module(z), x)


def test_the_hand_written_gradient_is_that_of_autograd(architecture):
    module, x = trained_like(architecture), points()
    values, gradients = module.value_and_gradient(x)
    expected_values, expected_gradients = by_autograd(module, x)
    torch.testing.assert_close(values, expected_values, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-10, atol=1e-12)
    assert (gradients - x).abs().max() > 0.1


def test_differentiating_the_gradient_again(architecture):
    """With respect to all parameters and to the points, for a functional of both results."""
    module, x = trained_like(architecture), points().requires_grad_()
    variables = [*module.parameters(), x]

    def derivatives(values, gradients):
        functional = (values**2).mean() + (gradients - 1.0).pow(3).mean()
        return torch.autograd.grad(functional, variables)

    ours = derivatives(*module.value_and_gradient(x))
    for one, other in zip(ours, derivatives(*by_autograd(module, x)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
        assert one.abs().max() > 0


def test_without_gradients_there_is_no_graph_and_the_same_result(architecture):
    module, x = trained_like(architecture), points()
    expected, before = module.value_and_gradient(x), x.clone()
    with torch.no_grad():
        first, second = module.value_and_gradient(x), module.value_and_gradient(x)
    for one, again, other in zip(first, second, expected, strict=True):
        assert not one.requires_grad
        assert torch.equal(one, again)
        torch.testing.assert_close(one, other.detach(), rtol=1e-12, atol=1e-12)
    assert torch.equal(x, before)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_without_gradients_autograd_is_not_used(architecture, monkeypatch):
    module, x = trained_like(architecture), points()

    def refuse(*args, **kwargs):
        raise AssertionError("autograd was used")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    monkeypatch.setattr(torch.Tensor, "backward", refuse)
    monkeypatch.setattr(torch, "enable_grad", refuse)
    with torch.no_grad():
        assert module.value_and_gradient(x)[1].shape == x.shape


def test_the_gradient_is_that_of_finite_differences():
    """Apart from autograd, for one architecture of each kind."""
    for name in ("mlp", "icnn, rank 3", "conv"):
        module, x = trained_like(POTENTIALS[name]), points(3)
        direction, step = points(3, seed=5), 1e-5
        with torch.no_grad():
            slope = (module(x + step * direction) - module(x - step * direction)) / (2 * step)
            expected = (module.value_and_gradient(x)[1] * direction).sum(1)
        torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-6)


def test_rows_do_not_influence_each_other(architecture):
    module, x = trained_like(architecture), points(9)
    values, gradients = module.value_and_gradient(x)
    order = [4, 0, 7]
    some = module.value_and_gradient(x[order])
    torch.testing.assert_close(some[0], values[order], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(some[1], gradients[order], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(module(x[order]), values[order], rtol=1e-12, atol=1e-12)
    strided = x.T.contiguous().T
    torch.testing.assert_close(module(strided), values, rtol=1e-12, atol=1e-12)
    none = module.value_and_gradient(x[:0])
    assert none[0].shape == (0,)
    assert none[1].shape == (0, N_FEATURES)


def test_build_draws_from_its_generator_only(architecture):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = architecture.build(N_FEATURES, generator=seeded(0))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    second = architecture.build(N_FEATURES, generator=seeded(0))
    other = architecture.build(N_FEATURES, generator=seeded(1))
    parameters = dict(second.named_parameters())
    assert parameters
    for name, parameter in first.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.isfinite(parameter).all()
        assert torch.equal(parameter, parameters[name])
    x = points(dtype=torch.float32)
    assert not torch.equal(first(x), other(x))


def test_pickle_copy_and_precision(architecture):
    module, x = architecture.build(N_FEATURES, generator=seeded()), points(dtype=torch.float32)
    expected = module.value_and_gradient(x)
    for twin in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert torch.equal(twin.value_and_gradient(x)[1], expected[1])
    fresh = architecture.build(N_FEATURES, generator=seeded(5))
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(x), expected[0])
    in_double = module.double().value_and_gradient(x.double())
    assert in_double[0].dtype == in_double[1].dtype == torch.float64
    torch.testing.assert_close(in_double[1].float(), expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_features", [2, 16, 64])
@pytest.mark.parametrize(
    "potential",
    [MLPPotential(), MLPPotential(activation="softplus"), ICNN(), ICNN(convexity="softplus")],
)
def test_right_after_build_the_gradient_is_close_to_the_identity(potential, n_features):
    x = torch.randn(500, n_features, generator=seeded(1))
    with torch.no_grad():
        gradients = potential.build(n_features, generator=seeded()).value_and_gradient(x)[1]
    error = (gradients - x).square().sum() / x.square().sum()
    assert 0.0 < error < 0.01


def test_right_after_build_the_gradient_is_close_to_the_identity_for_images():
    x = torch.randn(200, 256, generator=seeded(1))
    with torch.no_grad():
        gradients = ConvPotential().build(256, generator=seeded()).value_and_gradient(x)[1]
    error = (gradients - x).square().sum() / x.square().sum()
    assert 0.0 < error < 0.01


def test_components_are_cloned_and_set(architecture):
    twin = clone(architecture)
    assert type(twin) is type(architecture)
    assert twin.get_params() == architecture.get_params()
    if isinstance(architecture, LogSumExpPotential):
        assert twin.set_params(n_slopes=3).build(2, generator=seeded()).slopes.shape == (3, 2)
    else:
        twin.set_params(activation="softplus")
        assert twin.build(N_FEATURES, generator=seeded()).activation == "softplus"


def test_which_potentials_grow_quadratically(architecture):
    """They say so, and the gradient far away, where layers are affine, tells."""
    assert architecture.has_quadratic_term
    assert not Potential().has_quadratic_term
    for quadratic, expected in (("diagonal", True), ("none", False)):
        assert ResNetPotential(quadratic=quadratic).has_quadratic_term is expected
    module, x = architecture.build(N_FEATURES, generator=seeded()).double(), points()
    with torch.no_grad():
        near, far = (module.value_and_gradient(scale * x)[1] for scale in (1e3, 2e3))
    assert (far - near).norm() > 500 * x.norm()


@pytest.mark.parametrize(
    "potential, match",
    [
        (MLPPotential(()), "'hidden_layer_sizes' parameter of MLPPotential must hold positive"),
        (MLPPotential((16, 0)), "must hold positive integers"),
        (MLPPotential((16, 2.0)), "must hold positive integers"),
        (MLPPotential(16), "'hidden_layer_sizes' parameter of MLPPotential"),
        (MLPPotential(activation="tanh"), "'activation' parameter of MLPPotential"),
        (ICNN(activation="silu"), "'activation' parameter of ICNN"),
        (ICNN(rank=-1), "'rank' parameter of ICNN"),
        (ICNN(convexity="clip"), "'convexity' parameter of ICNN"),
        (ICNN(strong_convexity=1.0), "'strong_convexity' parameter of ICNN"),
        (ConvPotential((12,)), "'image_shape' parameter of ConvPotential"),
        (ConvPotential(kernel_size=4), "'kernel_size' parameter of ConvPotential must be odd"),
        (ConvPotential(channels=(0,)), "'channels' parameter of ConvPotential"),
        (ConvPotential(quadratic="none"), "'quadratic' parameter of ConvPotential"),
    ],
)
def test_bad_parameters(potential, match):
    with pytest.raises(InvalidParameterError, match=match):
        potential.build(N_FEATURES, generator=seeded())


def test_images_must_fit_the_features():
    with pytest.raises(ValueError, match="rows of 12 features"):
        ConvPotential((3, 5)).build(12, generator=seeded())
    with pytest.raises(ValueError, match="rows of 12 features"):
        ConvPotential().build(12, generator=seeded())
    assert ConvPotential().build(9, generator=seeded())(torch.zeros(2, 9)).shape == (2,)


def test_a_convolution_sees_neighbours():
    """Interactions of distant pixels come through the dense layers only; here there are none."""
    architecture = ConvPotential((8, 8), channels=(4,), hidden_layer_sizes=(8,))
    module = architecture.build(64, generator=seeded()).double()
    first = module.layers[0]
    x = torch.zeros(1, 64, dtype=torch.float64)
    moved = x.clone()
    moved[0, 0] = 1.0
    changed = (first(moved) - first(x)).view(4, 4, 4).abs().sum(0) > 0
    assert changed.nonzero().tolist() == [[0, 0]]
