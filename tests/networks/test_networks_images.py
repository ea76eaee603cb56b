"""Networks of images: the map and the deep potential, and how rows become images."""

import copy
import pickle
from math import prod

import pytest
import torch
from sklearn.base import clone

from skot.networks import ConvPotential, ResNetPotential, UNet
from skot.networks._images import ImageConvolution, ResidualBlock, halve
from skot.numerics.value_and_gradient import value_and_gradient
from skot.utils._sklearn import InvalidParameterError

SHAPES = [(1, 28, 28), (3, 16, 16), (1, 7, 7), (3, 5, 1), (2, 6, 9), (1, 1, 1), (3, 1, 1)]
SHAPE = (3, 5, 7)
N_FEATURES = prod(SHAPE)
ARCHITECTURES = {
    "unet": UNet(SHAPE, channels=(8, 12, 16)),
    "unet, softplus, one resolution": UNet(SHAPE, channels=(6,), activation="softplus"),
    "unet, noise": UNet(SHAPE, channels=(8, 16), noise_channels=2),
    "resnet": ResNetPotential(SHAPE, channels=(8, 12, 16)),
    "resnet, elu": ResNetPotential(SHAPE, channels=(5,), activation="elu"),
    "resnet, no quadratic": ResNetPotential(SHAPE, channels=(4, 8), quadratic="none"),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def points(n=6, n_features=N_FEATURES, seed=1, dtype=torch.float32):
    return torch.randn(n, n_features, generator=seeded(seed), dtype=dtype)


def built(architecture, seed=0, n_features=N_FEATURES):
    return architecture.build(n_features, generator=seeded(seed))


def noise(module, n=6, k=4, dtype=torch.float32):
    return torch.randn(n, k, module.n_noise_features, generator=seeded(2)).to(dtype)


def call(module, x, z=None):
    """Call with noise where the module takes it, the same for every row."""
    if getattr(module, "n_noise_features", 0) == 0:
        return module(x)
    z = noise(module, n=1, dtype=x.dtype) if z is None else z
    return module(x, z.expand(len(x), -1, -1))


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return ARCHITECTURES[request.param]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape):
    x, channels = points(n_features=prod(shape)), (4, 8, 8)
    d = prod(shape)
    assert built(UNet(shape, channels=channels), n_features=d)(x).shape == (6, d)
    assert built(ResNetPotential(shape, channels=channels), n_features=d)(x).shape == (6,)
    noisy = built(UNet(shape, channels=channels, noise_channels=2), n_features=d)
    assert noisy.n_noise_features == 2 * shape[1] * shape[2]
    assert noisy(x, noise(noisy)).shape == (6, 4, d)


def test_a_large_image():
    x = points(2, 3 * 64 * 64)
    assert built(UNet((3, 64, 64)), n_features=x.shape[1])(x).shape == x.shape


@pytest.mark.parametrize("image_shape", [None, (4, 4), [1, 4, 4]])
def test_square_grey_images_are_the_default(image_shape):
    x = points(n_features=16)
    for kind in (UNet, ResNetPotential):
        expected = built(kind(channels=(4,)), n_features=16)(x)
        assert torch.equal(built(kind(image_shape, channels=(4,)), n_features=16)(x), expected)


def test_no_rows(architecture):
    module = built(architecture)
    assert call(module, points()[:0]).shape == (0, *call(module, points()).shape[1:])


@pytest.mark.parametrize("shape", SHAPES)
def test_close_to_the_identity_after_build(shape):
    x = points(30, prod(shape))
    image = built(UNet(shape), n_features=prod(shape))(x).detach()
    gradient = value_and_gradient(built(ResNetPotential(shape), n_features=prod(shape)), x)[1]
    for result in (image, gradient.detach()):
        assert 0.0 < (result - x).square().sum() < 0.02 * x.square().sum()


def test_without_the_quadratic_term_the_gradient_is_that_of_the_network():
    x = points()
    with_term, without = (
        value_and_gradient(built(ResNetPotential(SHAPE, quadratic=quadratic)), x)
        for quadratic in ("diagonal", "none")
    )
    torch.testing.assert_close(with_term[0], without[0] + 0.5 * x.square().sum(1))
    torch.testing.assert_close(with_term[1], without[1] + x, rtol=1e-5, atol=1e-6)


def test_the_gradient_does_not_shrink_with_the_number_of_resolutions():
    x = points(20, 256)
    few, many = (
        value_and_gradient(
            built(ResNetPotential(channels=(8,) * n, quadratic="none"), n_features=256), x
        )[1].norm()
        for n in (1, 4)
    )
    assert many > 0.2 * few


def test_noise_changes_the_image():
    module, x = built(ARCHITECTURES["unet, noise"]), points()
    image = module(x, noise(module))
    assert (image[:, 0] - image[:, 1]).abs().amax(dim=1).min() > 1e-3
    # Every draw by itself, and in its place.
    for j in range(4):
        alone = module(x, noise(module)[:, j : j + 1])
        torch.testing.assert_close(alone[:, 0], image[:, j], rtol=1e-4, atol=1e-5)


def test_noise_of_a_smaller_side_is_repeated():
    unet = UNet((4, 6), channels=(8, 16), noise_channels=2, noise_size=1)
    module, x = built(unet, n_features=24), points(n_features=24)
    assert module.n_noise_features == 2
    full = built(unet.set_params(noise_size=None), n_features=24)
    assert full.n_noise_features == 2 * 24
    z = torch.randn(len(x), 3, 2, generator=torch.Generator().manual_seed(1))
    everywhere = z.repeat_interleave(24, dim=2)
    torch.testing.assert_close(module(x, z), full(x, everywhere))


def test_noise_is_given_where_it_is_taken_and_nowhere_else():
    noisy, plain = (built(ARCHITECTURES[name]) for name in ("unet, noise", "unet"))
    assert plain.n_noise_features == 0
    with pytest.raises(ValueError, match=r"noise_channels=2 is called with noise"):
        noisy(points())
    with pytest.raises(ValueError, match=r"noise_channels=0 is called without noise"):
        plain(points(), noise(noisy))


def test_rows_do_not_influence_each_other(architecture):
    module, x = built(architecture).double(), points(dtype=torch.float64)
    together = call(module, x)
    for i in (0, 4):
        torch.testing.assert_close(call(module, x[[i]])[0], together[i], rtol=1e-10, atol=1e-12)
    strided = x.T.contiguous().T
    torch.testing.assert_close(call(module, strided), together, rtol=1e-10, atol=1e-12)


def test_an_image_pixel_depends_on_far_ones():
    module = built(UNet((16, 16), channels=(4, 8, 8, 8)), n_features=256).double()
    x = torch.zeros(1, 256, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[0, 0], x)
    assert gradient[0, -1] != 0


def test_the_contrast_of_the_image_is_not_normalized_away():
    module, x = built(UNet(SHAPE)).double(), points(dtype=torch.float64)
    residual, at_ten_times = module(x) - x, module(10 * x) - 10 * x
    assert at_ten_times.norm() > 3 * residual.norm()


def test_all_parameters_are_trained(architecture):
    module = built(architecture)
    (call(module, points()) - 1.0).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_gradient_of_the_potential_can_be_trained():
    module = built(ARCHITECTURES["resnet"]).double()
    x = points(3, dtype=torch.float64)
    gradient = value_and_gradient(module, x)[1]
    direction, step = points(3, seed=5, dtype=torch.float64), 1e-5
    with torch.no_grad():
        slope = (module(x + step * direction) - module(x - step * direction)) / (2 * step)
    torch.testing.assert_close(slope, (gradient.detach() * direction).sum(1), rtol=1e-6, atol=1e-6)
    gradient.pow(3).mean().backward()
    assert all(parameter.grad is not None for parameter in module.blocks.parameters())


def test_build_draws_from_its_generator_only(architecture):
    torch.manual_seed(3)
    state, x = torch.get_rng_state(), points()
    first = built(architecture)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert torch.equal(call(built(architecture), x), call(first, x))
    assert not torch.equal(call(built(architecture, seed=1), x), call(first, x))
    assert all(parameter.dtype == torch.float32 for parameter in first.parameters())


def test_pickle_copy_and_precision(architecture):
    module, x = built(architecture), points()
    if isinstance(architecture, ResNetPotential):
        module.precondition_(torch.eye(N_FEATURES), 2.0 * torch.eye(N_FEATURES))
    expected = call(module, x)
    for twin in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert torch.equal(call(twin, x), expected)
    in_double = call(module.to(torch.float64), x.double())
    assert in_double.dtype == torch.float64
    torch.testing.assert_close(in_double.float(), expected, rtol=1e-4, atol=1e-4)


def test_the_potential_reads_the_coordinates_of_the_data():
    module, x = built(ResNetPotential(SHAPE, quadratic="none")), points()
    expected = module(2.0 * x.flip(1))
    module.precondition_(torch.eye(N_FEATURES), 2.0 * torch.eye(N_FEATURES).flip(1))
    torch.testing.assert_close(module(x), expected)


def test_components_are_cloned_and_set(architecture):
    twin = clone(architecture)
    assert twin.get_params() == architecture.get_params()
    assert built(twin.set_params(activation="elu")).activation == "elu"


@pytest.mark.parametrize("normalized", [True, False])
def test_residual_blocks_keep_the_scale_with_depth(normalized):
    h, generator = torch.randn(5, 32, 16, 16, generator=seeded(1)), seeded()
    for _ in range(8):
        block = ResidualBlock(32, 32, activation="silu", normalized=normalized, generator=generator)
        h = block(h).detach()
        assert 0.3 < h.square().mean() ** 0.5 < 1.5


def test_the_convolution_is_that_of_pytorch():
    layer, h = ImageConvolution(2, 3, gain=1.0, generator=seeded()), points(4, 40)
    h = h.view(4, 2, 4, 5)
    expected = torch.nn.functional.conv2d(h, layer.weight, padding=1)
    torch.testing.assert_close(layer(h), expected)
    per_unit = ImageConvolution(2, 3, gain=1.0, generator=seeded(), sides=(4, 5))
    assert per_unit.bias.shape == (3, 4, 5)


def test_halving_rounds_up_and_averages_what_is_there():
    h = torch.arange(3.0).expand(1, 1, 1, 3)
    assert halve(h).flatten().tolist() == [0.5, 2.0]
    assert halve(halve(halve(h))).flatten().tolist() == [1.25]


@pytest.mark.parametrize("kind", [ConvPotential, ResNetPotential, UNet])
def test_images_must_fit_the_features(kind):
    name = kind.__name__
    with pytest.raises(ValueError, match=rf"{name}\(image_shape=\(3, 5\)\) .* 12 features"):
        built(kind((3, 5)), n_features=12)
    with pytest.raises(ValueError, match=rf"{name}\(image_shape=None\) cannot read rows of 12"):
        built(kind(), n_features=12)
    for image_shape in ((12,), (1, 1, 3, 4)):
        with pytest.raises(InvalidParameterError, match=f"'image_shape' parameter of {name} must"):
            built(kind(image_shape), n_features=12)


@pytest.mark.parametrize(
    "architecture, name",
    [
        (UNet(channels=()), "channels"),
        (UNet(channels=(8, 0)), "channels"),
        (UNet(image_shape=(12, 0)), "image_shape"),
        (UNet(noise_channels=-1), "noise_channels"),
        (UNet(activation="tanh"), "activation"),
        (ResNetPotential(quadratic="full"), "quadratic"),
        (ResNetPotential(channels=16), "channels"),
    ],
)
def test_bad_parameters(architecture, name):
    owner = type(architecture).__name__
    with pytest.raises(InvalidParameterError, match=f"{name!r} parameter of {owner}"):
        built(architecture, n_features=16)
