"""Encoders: codes of clouds and images."""

import copy
import pickle

import pytest
import torch
from sklearn.base import clone

from skot.networks import DeepSets, Encoder, ResNetEncoder
from skot.utils._sklearn import InvalidParameterError

ENCODERS = {
    "deep sets": DeepSets((16, 16)),
    "deep sets, elu": DeepSets((8,), activation="elu"),
    "resnet": ResNetEncoder(image_size=8, channels=(4, 8)),
    "resnet, odd sides": ResNetEncoder(image_size=5, channels=(4, 4, 6)),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_for(encoder, n=3, n_features=2, seed=1):
    n_rows = 50 if encoder.image_size is None else encoder.image_size**2
    return torch.randn(n, n_rows, n_features, generator=seeded(seed))


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return ENCODERS[request.param]


def test_codes(encoder):
    module = encoder.build(2, 7, generator=seeded())
    rows = rows_for(encoder)
    with torch.no_grad():
        codes = module(rows)
        assert codes.shape == (3, 7)
        assert 0.05 < codes.std() < 5.0
        # A code depends on its own sample only.
        torch.testing.assert_close(module(rows[1:2]), codes[1:2], atol=1e-5, rtol=1e-5)
    assert all(p.dtype == torch.float32 for p in module.parameters())
    module(rows).square().sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in module.parameters())


def test_build_draws_from_its_generator_only(encoder):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, other = (encoder.build(2, 4, generator=seeded()) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    rows = rows_for(encoder)
    assert torch.equal(one(rows), other(rows))
    assert not torch.equal(encoder.build(2, 4, generator=seeded(1))(rows), one(rows))


def test_copies(encoder):
    assert clone(encoder).get_params() == encoder.get_params()
    assert isinstance(encoder, Encoder)
    module = encoder.build(2, 4, generator=seeded())
    rows = rows_for(encoder)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(rows), module(rows))


def test_a_cloud_has_no_order_and_no_size():
    module = DeepSets((16, 16)).build(2, 4, generator=seeded())
    rows = rows_for(DeepSets())
    with torch.no_grad():
        codes = module(rows)
        order = torch.randperm(50, generator=seeded())
        torch.testing.assert_close(module(rows[:, order]), codes, atol=1e-5, rtol=1e-4)
        # Every point twice is the same measure.
        torch.testing.assert_close(module(rows.repeat(1, 2, 1)), codes, atol=1e-5, rtol=1e-4)
        # And the code of a large sample is close to that of a small one.
        large = torch.randn(1, 20000, 2, generator=seeded(5))
        gap = (module(large) - module(large[:, :2000])).norm() / module(large).norm()
    assert gap < 0.05


def test_an_image_has_an_order():
    encoder = ResNetEncoder(image_size=8, channels=(4, 8))
    module = encoder.build(2, 4, generator=seeded())
    rows = rows_for(encoder)
    order = torch.randperm(64, generator=seeded())
    assert (module(rows[:, order]) - module(rows)).abs().max() > 1e-3


def test_equal_rows_have_a_gradient():
    module = DeepSets((8,)).build(1, 2, generator=seeded())
    for parameter in module.parameters():
        parameter.data.zero_()
    module(torch.zeros(1, 4, 1)).sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in module.parameters())


@pytest.mark.parametrize(
    "encoder, name",
    [
        (DeepSets(()), "hidden_layer_sizes"),
        (DeepSets((4, 0)), "hidden_layer_sizes"),
        (DeepSets(activation="step"), "activation"),
        (ResNetEncoder(image_size=0), "image_size"),
        (ResNetEncoder(channels=(4, -1)), "channels"),
        (ResNetEncoder(activation="step"), "activation"),
    ],
    ids=str,
)
def test_bad_parameters(encoder, name):
    with pytest.raises(InvalidParameterError, match=f"The {name!r} parameter"):
        encoder.build(2, 4, generator=seeded())
