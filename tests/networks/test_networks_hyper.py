"""Hyper-networks, and several predicted networks at once."""

import copy
import pickle

import pytest
import torch
from _neural_transports import Bowls
from sklearn.base import clone
from torch.func import functional_call

from skot.networks import ICNN, HyperNetwork, MLPPotential
from skot.numerics.value_and_gradient import value_and_gradient
from skot.transport._meta_w2gn.stacked import StackedPotentials, can_batch
from skot.utils._sklearn import InvalidParameterError

POTENTIALS = {
    "icnn": ICNN((8, 8)),
    "icnn, softplus": ICNN((8, 8), convexity="softplus"),
    "mlp": MLPPotential((8, 8)),
    "third party": Bowls(),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=POTENTIALS)
def template(request):
    return POTENTIALS[request.param].build(3, generator=seeded())


def hyper_of(template, sizes=(16, 16)):
    return HyperNetwork(sizes).build(5, template, generator=seeded(1))


def codes(n=4, scale=1.0):
    return scale * torch.randn(n, 5, generator=seeded(2))


def stacked(template, weights):
    buffers = {
        name: torch.stack(len(codes()) * [buffer]) for name, buffer in template.named_buffers()
    }
    batched = can_batch(template, 3)
    return StackedPotentials(template, {**weights, **buffers}, batched=batched)


def test_predicted_weights_are_those_of_the_template_at_first(template):
    hyper = hyper_of(template)
    weights = hyper.unflatten(hyper(codes()))
    for name, expected in template.named_parameters():
        assert weights[name].shape == (4, *expected.shape)
        scale = expected.square().mean().sqrt() + 1e-12
        assert (weights[name] - expected).square().mean().sqrt() < 0.5 * scale
        assert (weights[name][0] - weights[name][1]).abs().max() > 0.0


@pytest.mark.parametrize("name", ["icnn", "icnn, softplus"])
def test_predicted_maps_are_close_to_the_identity_at_first(name):
    template = POTENTIALS[name].build(3, generator=seeded())
    hyper = hyper_of(template)
    x = torch.randn(4, 200, 3, generator=seeded(3))
    gradients = stacked(template, hyper.unflatten(hyper(codes()))).value_and_gradient(x)[1]
    gap = (gradients - gradients.mean(1, keepdim=True) - x).square().sum((1, 2))
    assert bool((gap < 0.1 * x.square().sum((1, 2))).all())


def test_non_negative_weights_stay_so():
    template = ICNN((8, 8)).build(3, generator=seeded())
    hyper = hyper_of(template)
    weights = hyper.unflatten(hyper(codes(scale=1e3)))
    negative = {name for name, tensor in weights.items() if bool((tensor < 0).any())}
    assert negative == {"factor", "skip", "bias", "root"}
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


def test_predicted_potentials_are_convex():
    template = ICNN((8, 8)).build(3, generator=seeded())
    hyper = hyper_of(template)
    potentials = stacked(template, hyper.unflatten(hyper(codes(scale=30.0))))
    ends = torch.randn(2, 4, 100, 3, generator=seeded(4))
    middle = potentials(ends.mean(0))
    mean = 0.5 * (potentials(ends[0]) + potentials(ends[1]))
    assert bool((middle <= mean + 1e-4 * (1.0 + mean.abs())).all())


def test_stacked_potentials_are_the_single_ones(template):
    hyper = hyper_of(template)
    weights = hyper.unflatten(hyper(codes()))
    potentials = stacked(template, weights)
    x = torch.randn(4, 100, 3, generator=seeded(3))
    values, gradients = potentials.value_and_gradient(x)
    assert not values.requires_grad
    assert not gradients.requires_grad
    torch.testing.assert_close(potentials(x), values, atol=1e-5, rtol=1e-5)
    for i in range(4):
        twin = copy.deepcopy(template)
        twin.load_state_dict({k: w[i] for k, w in weights.items()}, strict=False)
        value, gradient = value_and_gradient(twin, x[i])
        torch.testing.assert_close(values[i], value.detach(), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(gradients[i], gradient.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("batched", [True, False])
def test_the_loss_reaches_the_hyper_network(batched):
    template = ICNN((8, 8)).build(3, generator=seeded())
    hyper = hyper_of(template)
    x = torch.randn(4, 100, 3, generator=seeded(3))
    weights = hyper.unflatten(hyper(codes()))
    StackedPotentials(template, weights, batched=batched)(x).mean().backward()
    got = hyper.output.weight.grad
    hyper.zero_grad()
    weights = hyper.unflatten(hyper(codes()))
    values = [
        functional_call(template, {name: w[i] for name, w in weights.items()}, (x[i],))
        for i in range(4)
    ]
    torch.stack(values).mean().backward()
    assert got.abs().max() > 0.0
    torch.testing.assert_close(got, hyper.output.weight.grad, atol=1e-6, rtol=1e-3)


def test_build_draws_from_its_generator_only(template):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, other = hyper_of(template), hyper_of(template)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one(codes()), other(codes()))


def test_copies(template):
    assert clone(HyperNetwork((4,))).hidden_layer_sizes == (4,)
    hyper = hyper_of(template)
    for twin in (copy.deepcopy(hyper), pickle.loads(pickle.dumps(hyper))):
        assert torch.equal(twin(codes()), hyper(codes()))
    assert can_batch(ICNN((4,)).build(2, generator=seeded()), 2)


class Sphere(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def project_(self):
        self.weight.div_(self.weight.norm())


@pytest.mark.parametrize(
    "template, message", [(Sphere(), "project_"), (torch.nn.Identity(), "no weights")]
)
def test_what_cannot_be_predicted(template, message):
    with pytest.raises(ValueError, match=message):
        hyper_of(template)


@pytest.mark.parametrize(
    "hyper, name",
    [
        (HyperNetwork((0,)), "hidden_layer_sizes"),
        (HyperNetwork(activation="step"), "activation"),
    ],
    ids=str,
)
def test_bad_parameters(hyper, name):
    with pytest.raises(InvalidParameterError, match=f"The {name!r} parameter"):
        hyper.build(5, ICNN((4,)).build(2, generator=seeded()), generator=seeded())
