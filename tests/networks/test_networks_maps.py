"""Maps, and pre-training to the identity."""

import copy
import pickle

import pytest
import torch
from sklearn.base import clone

from skot.networks import ICNN, GradientMap, MLPMap, MLPPotential, Potential, pretrain_identity
from skot.utils._sklearn import InvalidParameterError

MAPS = {
    "mlp": MLPMap((16, 16)),
    "mlp, silu": MLPMap((16,), activation="silu"),
    "gradient": GradientMap(),
    "gradient of an icnn": GradientMap(ICNN((16, 16), convexity="projection")),
}


class Quartic(Potential):
    """A third party's potential: a module with a forward pass and nothing else."""

    def build(self, n_features, *, generator):
        return QuarticModule(n_features)


class QuarticModule(torch.nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.weight = torch.nn.Parameter(0.1 * torch.ones(n_features))
        self.quadratic = torch.nn.Parameter(torch.ones(n_features))

    def forward(self, x):
        return 0.25 * (x**4) @ self.weight + (x**2) @ self.quadratic


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sample(n=300, n_features=4, dtype=torch.float32):
    return torch.randn(n, n_features, generator=seeded(1), dtype=dtype)


@pytest.fixture(params=MAPS)
def architecture(request):
    return MAPS[request.param]


def test_close_to_the_identity_after_build(architecture):
    x = sample()
    with torch.no_grad():
        gap = architecture.build(4, generator=seeded())(x) - x
    assert 0.0 < gap.square().sum() < 0.05 * x.square().sum()


def test_build_draws_from_its_generator_only(architecture):
    x = sample()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = architecture.build(4, generator=seeded(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first(x), architecture.build(4, generator=seeded(0))(x))
    assert not torch.equal(first(x), architecture.build(4, generator=seeded(1))(x))
    assert first(x).dtype == torch.float32


def test_pickle_copy_and_precision(architecture):
    module, x = architecture.build(4, generator=seeded()), sample()
    expected = module(x)
    for twin in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert torch.equal(twin(x), expected)
    in_double = module.double()(x.double())
    assert in_double.dtype == torch.float64
    torch.testing.assert_close(in_double.float(), expected, rtol=1e-4, atol=1e-5)


def test_all_parameters_are_trained(architecture):
    module = architecture.build(4, generator=seeded())
    (module(sample()) - 1.0).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_gradient_map_projects_its_potential():
    module = GradientMap(ICNN((4, 4), convexity="projection")).build(2, generator=seeded())
    with torch.no_grad():
        module.potential.output.fill_(-1.0)
    module.project_()
    assert (module.potential.output == 0).all()


def test_the_gradient_map_of_a_third_party():
    module, x = GradientMap(Quartic()).build(3, generator=seeded()), sample(n_features=3)
    torch.testing.assert_close(module(x), 0.1 * x**3 + 2 * x)
    with torch.no_grad():
        torch.testing.assert_close(module(x), 0.1 * x**3 + 2 * x)
    module.project_()


def test_nested_parameters():
    search = clone(GradientMap(MLPPotential())).set_params(potential__hidden_layer_sizes=(3,))
    assert search.build(2, generator=seeded()).potential.output.shape == (3,)
    with pytest.raises(ValueError, match=r"GradientMap\(potential=MLPPotential\(\)\)"):
        GradientMap().set_params(potential__activation="elu")
    with pytest.raises(InvalidParameterError, match="'potential' parameter"):
        GradientMap("icnn").build(2, generator=seeded())
    with pytest.raises(InvalidParameterError, match="positive integers"):
        MLPMap((-1,)).build(2, generator=seeded())


@pytest.mark.parametrize(
    "architecture",
    [MLPPotential((16,)), ICNN((16, 16), convexity="projection"), MLPMap((16,)), Quartic()],
)
def test_pretraining_gets_closer_to_the_identity(architecture):
    module, x = architecture.build(4, generator=seeded()), 2.0 * sample()

    def error():
        with torch.no_grad():
            image = module(x)
        if image.ndim == 1:
            point = x.clone().requires_grad_()
            (image,) = torch.autograd.grad(module(point).sum(), point)
        return float((image - x).square().sum() / x.square().sum())

    before = error()
    state = torch.get_rng_state()
    reported = pretrain_identity(module, x, generator=seeded(2), max_iter=400, lr=1e-2)
    assert torch.equal(torch.get_rng_state(), state)
    assert reported == pytest.approx(error(), rel=1e-3, abs=1e-9)
    assert reported < min(0.01, 0.5 * before)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_pretraining_repeats():
    x, architecture = sample(), MLPMap((8,))
    errors = [
        pretrain_identity(
            architecture.build(4, generator=seeded()), x, generator=seeded(2), max_iter=20
        )
        for _ in range(2)
    ]
    assert errors[0] == errors[1]
