import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skot.networks import ICNN


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def hessians(module, x):
    rows = [torch.autograd.functional.hessian(lambda z: module(z[None])[0], row) for row in x]
    return torch.stack(rows)


def perturbed(architecture, n_features, seed, size):
    """A module after steps into any direction, projected as the training does."""
    module = architecture.build(n_features, generator=seeded(seed)).double()
    generator = seeded(seed + 1)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(size * noise)
    module.project_()
    return module


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**20),
    n_features=st.integers(1, 5),
    rank=st.integers(0, 2),
    activation=st.sampled_from(["softplus", "celu", "leaky_relu"]),
    convexity=st.sampled_from(["softplus", "projection"]),
    size=st.sampled_from([0.0, 0.1, 2.0]),
    spread=st.sampled_from([0.1, 3.0, 50.0]),
)
def test_convex_whatever_the_parameters(
    seed, n_features, rank, activation, convexity, size, spread
):
    architecture = ICNN((6, 5, 4), rank=rank, activation=activation, convexity=convexity)
    module = perturbed(architecture, n_features, seed, size)
    ends = spread * torch.randn(2, 20, n_features, generator=seeded(seed + 2), dtype=torch.float64)
    with torch.no_grad():
        weight = 0.5 * module.strong_convexity
        gap = 0.5 * (module(ends[0]) + module(ends[1])) - module(ends.mean(0))
        # Strong convexity in the form of the midpoint: mu / 8 times the squared distance.
        bound = weight / 4 * (ends[0] - ends[1]).square().sum(1)
        rounding = 1e-12 * (module(ends[0]).abs() + module(ends[1]).abs() + 1)
        # A convex function is monotone along lines.
        slopes = [module.value_and_gradient(end)[1] for end in ends]
        monotone = ((slopes[0] - slopes[1]) * (ends[0] - ends[1])).sum(1)
    assert (gap >= bound - rounding).all()
    assert (monotone >= -1e-9 * (1 + monotone.abs())).all()


def test_negative_weights_would_not_be_convex():
    """The property test can fail: without the projection it does."""
    module = ICNN((6, 6), convexity="projection", strong_convexity=0.0).build(2, generator=seeded())
    with torch.no_grad():
        module.output.fill_(-5.0)
    x = torch.randn(40, 2, generator=seeded(1))
    assert torch.linalg.eigvalsh(hessians(module, x)).min() < -0.1
    module.project_()
    assert (module.output == 0).all()
    assert torch.linalg.eigvalsh(hessians(module, x)).min() > 0


def test_projection_leaves_free_parameters_alone():
    module = ICNN((6, 6), convexity="softplus").build(2, generator=seeded())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.project_()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert before["output"].max() < 0  # the softplus of these is small and positive


@pytest.mark.parametrize("strong_convexity", [0.0, 0.2, 0.9])
def test_strong_convexity_bounds_the_hessian(strong_convexity):
    architecture = ICNN((8, 8), convexity="softplus", strong_convexity=strong_convexity)
    module = architecture.build(3, generator=seeded()).double()
    with torch.no_grad():
        module.root.zero_()
        module.output.fill_(-1e3)
    x = torch.randn(5, 3, generator=seeded(1), dtype=torch.float64)
    expected = strong_convexity * torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    torch.testing.assert_close(hessians(module, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("convexity", ["softplus", "projection"])
@pytest.mark.parametrize("activation", ["softplus", "celu"])
def test_activations_keep_their_scale_with_depth(activation, convexity):
    sizes = (64,) * 12
    architecture = ICNN(sizes, activation=activation, convexity=convexity)
    module = architecture.build(8, generator=seeded())
    x = torch.randn(500, 8, generator=seeded(1))
    inputs = []
    original = torch.addmm

    def record(*args, **kwargs):
        inputs.append(original(*args, **kwargs))
        return inputs[-1]

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(torch, "addmm", record)
        module(x)
    layers = [one for one in inputs if one.shape == (500, 64)]
    assert len(layers) == 11
    for layer in layers:
        assert layer.mean().abs() < 0.5
        assert 0.8 < layer.std() < 2.0


def test_the_squared_factors_are_summed_over_the_rank():
    """Against the formula of the docstring, layer by layer."""
    module = perturbed(
        ICNN((5, 4), rank=3, activation="softplus", convexity="softplus"), 2, seed=0, size=0.3
    )
    x = torch.randn(6, 2, generator=seeded(1), dtype=torch.float64)
    softplus = torch.nn.functional.softplus
    factors = module.factor.view(3, 9, 2)
    skip = torch.einsum("rhd,nd->nhr", factors, x).square().sum(-1) + x @ module.skip.T
    skip = skip + module.bias
    h = softplus(skip[:, :5])
    h = softplus(h @ softplus(module.hidden[0]).T + skip[:, 5:])
    quadratic = 0.5 * (x @ module.root.T).square().sum(1) + 0.5e-4 * x.square().sum(1)
    expected = h @ softplus(module.output) + quadratic
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)
