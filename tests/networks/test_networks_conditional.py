"""The map with noise."""

import copy
import pickle

import pytest
import torch
from sklearn.base import clone

from skot.networks import ConditionalMLP
from skot.utils._sklearn import InvalidParameterError

MAPS = {
    "as many": ConditionalMLP((16, 16)),
    "fewer, silu": ConditionalMLP((16,), n_noise_features=2, activation="silu"),
    "more": ConditionalMLP((16, 8), n_noise_features=7),
}
N_FEATURES = 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def built(architecture, seed=0):
    return architecture.build(N_FEATURES, generator=seeded(seed))


def sample(module, n=30, n_samples=5, dtype=torch.float32):
    """Rows, and noise for them."""
    options = {"generator": seeded(1), "dtype": dtype}
    x = torch.randn(n, N_FEATURES, **options)
    return x, torch.randn(n, n_samples, module.n_noise_features, **options)


@pytest.fixture(params=MAPS)
def architecture(request):
    return MAPS[request.param]


def trained_like(architecture):
    """A module far from its initialisation, so that no term is negligible."""
    module, generator = built(architecture).double(), seeded(5)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.3 * noise)
    return module


@pytest.mark.parametrize(
    "n_features, n_noise_features, expected",
    [(3, None, 3), (40, None, 16), (3, 5, 5), (40, 20, 20)],
)
def test_features_of_the_noise(n_features, n_noise_features, expected):
    architecture = ConditionalMLP((8,), n_noise_features=n_noise_features)
    assert architecture.takes_noise
    module = architecture.build(n_features, generator=seeded())
    assert module.n_noise_features == expected
    z = torch.zeros(2, 6, expected)
    assert module(torch.zeros(2, n_features), z).shape == (2, 6, n_features)


def test_close_to_the_identity_after_build_with_a_little_noise(architecture):
    module = built(architecture)
    x, z = sample(module, n=300)
    with torch.no_grad():
        images = module(x, z)
    gap = images.mean(dim=1) - x
    assert 0.0 < gap.square().sum() < 0.05 * x.square().sum()
    variance = images.var(dim=1).sum(dim=1).mean() / x.var(dim=0).sum()
    # No noise at all would be a fixed point of training without splitting.
    assert 1e-3 < variance < 0.1


def test_every_row_and_every_draw_by_itself(architecture):
    module = trained_like(architecture)
    x, z = sample(module, dtype=torch.float64)
    images = module(x, z)
    for i, j in ((0, 0), (3, 4), (29, 2)):
        alone = module(x[i : i + 1], z[i : i + 1, j : j + 1])
        torch.testing.assert_close(alone[0, 0], images[i, j], rtol=1e-10, atol=1e-12)
    # As the bank of noise is given: the same for every row, without copies.
    bank = z[0]
    shared = module(x, bank.expand(len(x), -1, -1))
    torch.testing.assert_close(shared[0], images[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(shared[7], module(x[7:8], bank[None])[0], rtol=1e-10, atol=1e-12)
    strided = module(x.T.contiguous().T, z.transpose(0, 1).contiguous().transpose(0, 1))
    torch.testing.assert_close(strided, images, rtol=1e-10, atol=1e-12)


def test_it_is_the_formula_of_the_docstring():
    """A x + B z + net(x, z), with the first layer of the joined input."""
    module = trained_like(MAPS["fewer, silu"])
    x, z = sample(module, n_samples=1, dtype=torch.float64)
    weight = torch.cat([module.row_weight, module.noise_weight], dim=1)
    joined = torch.cat([x, z[:, 0]], dim=1)
    hidden = torch.nn.functional.silu(joined @ weight.T + module.bias)
    expected = x @ module.linear.T + z[:, 0] @ module.noise_linear.T + module.output(hidden)
    torch.testing.assert_close(module(x, z)[:, 0], expected)


@pytest.mark.parametrize("n, n_samples", [(0, 5), (3, 0)])
def test_nothing_to_map(architecture, n, n_samples):
    module = built(architecture)
    x, z = sample(module, n, n_samples)
    assert module(x, z).shape == (n, n_samples, N_FEATURES)


def test_forward_changes_nothing_it_is_given(architecture):
    module = built(architecture)
    x, z = sample(module)
    x_before, z_before = x.clone(), z.clone()
    first = module(x, z)
    assert torch.equal(module(x, z), first)
    assert torch.equal(x, x_before)
    assert torch.equal(z, z_before)


def test_build_draws_from_its_generator_only(architecture):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = built(architecture)
    assert torch.equal(torch.get_rng_state(), state)
    x, z = sample(first)
    assert torch.equal(first(x, z), built(architecture)(x, z))
    assert not torch.equal(first(x, z), built(architecture, seed=1)(x, z))
    assert first(x, z).dtype == torch.float32


def test_pickle_copy_and_precision(architecture):
    module = built(architecture)
    x, z = sample(module)
    expected = module(x, z)
    for twin in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert torch.equal(twin(x, z), expected)
    in_double = module.double()(x.double(), z.double())
    assert in_double.dtype == torch.float64
    torch.testing.assert_close(in_double.float(), expected, rtol=1e-4, atol=1e-5)


def test_all_parameters_are_trained(architecture):
    module = built(architecture)
    (module(*sample(module)) - 1.0).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_gradients(architecture):
    module = trained_like(architecture)
    x, z = sample(module, n=2, n_samples=2, dtype=torch.float64)
    assert torch.autograd.gradcheck(module, (x.requires_grad_(), z.requires_grad_()))


def test_preconditioning_changes_what_the_network_reads_and_writes(architecture):
    module = trained_like(architecture)
    x, z = sample(module, dtype=torch.float64)
    before = module(x, z)
    linear = (x @ module.linear.T)[:, None] + z @ module.noise_linear.T
    whitening = torch.diag(torch.tensor([2.0, 1.0, 0.5, 3.0], dtype=torch.float64))
    spread = torch.diag(torch.tensor([0.1, 1.0, 2.0, 1.0], dtype=torch.float64))
    module.precondition_(whitening, spread)
    # The linear terms are as they were, in any coordinates.
    read = torch.linalg.solve(whitening, x, left=False)
    image = module(read, z)
    own = (read @ module.linear.T)[:, None] + z @ module.noise_linear.T
    torch.testing.assert_close(image - own, (before - linear) @ spread)
    twin = pickle.loads(pickle.dumps(module))
    torch.testing.assert_close(twin(x, z), module(x, z), rtol=0, atol=0)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"hidden_layer_sizes": (0,)}, "positive integers"),
        ({"hidden_layer_sizes": ()}, "positive integers"),
        ({"n_noise_features": 0}, "'n_noise_features' parameter"),
        ({"n_noise_features": 1.5}, "'n_noise_features' parameter"),
        ({"activation": "relu"}, "'activation' parameter"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InvalidParameterError, match=message):
        clone(ConditionalMLP()).set_params(**params).build(2, generator=seeded())
