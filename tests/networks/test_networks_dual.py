"""Networks that predict dual potentials."""

import pytest
import torch

from skot.networks import DualMLP, DualUNet
from skot.utils._sklearn import InvalidParameterError


def build(network, n_inputs, n_outputs, seed=0):
    """Return a module with a fixed seed."""
    return network.build(n_inputs, n_outputs, generator=torch.Generator().manual_seed(seed))


SMALL_UNET = {"channels": (4, 8), "hidden_layer_sizes": (8,)}


@pytest.mark.parametrize(
    ("network", "n_inputs", "n_outputs"),
    [
        (DualMLP((8, 8)), 7, 3),
        (DualUNet((5, 9), patch_size=2, **SMALL_UNET), 3 * 45, 45),
        (DualUNet((8, 8), patch_size=4, **SMALL_UNET), 2 * 64, 64),
        (DualUNet(None, patch_size=3, channels=(4,), hidden_layer_sizes=(8,)), 49, 49),
    ],
)
def test_rows_are_independent_and_weights_repeat(network, n_inputs, n_outputs):
    state = torch.get_rng_state()
    module = build(network, n_inputs, n_outputs)
    rows = torch.randn(6, n_inputs, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs = module(rows)
        torch.testing.assert_close(module(rows[2:3]), outputs[2:3], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(build(network, n_inputs, n_outputs)(rows), outputs)
    assert outputs.shape == (6, n_outputs)
    assert torch.equal(torch.get_rng_state(), state)
    assert (build(network, n_inputs, n_outputs, seed=3)(rows) != outputs).any()


def test_outputs_start_small():
    module = build(DualUNet((12, 12)), 3 * 144, 144)
    outputs = module(torch.randn(32, 432, generator=torch.Generator().manual_seed(0)))
    assert outputs.square().mean().sqrt() < 0.5


def test_mass_at_one_corner_is_felt_at_the_other():
    module = build(DualUNet((16, 16), **SMALL_UNET), 256, 256)
    rows = torch.zeros(2, 256)
    rows[1, 0] = 10.0
    with torch.no_grad():
        first, second = module(rows)
    assert first[-1] != second[-1]


@pytest.mark.parametrize(
    ("network", "n_inputs", "n_outputs", "message"),
    [
        (DualUNet((4, 4)), 40, 20, "pass the .height, width"),
        (DualUNet((4, 4)), 40, 16, "pass the .height, width"),
        (DualUNet(), 20, 20, "pass the .height, width"),
    ],
)
def test_rows_that_are_no_images(network, n_inputs, n_outputs, message):
    with pytest.raises(ValueError, match=message):
        build(network, n_inputs, n_outputs)


@pytest.mark.parametrize(
    "network",
    [
        DualMLP(()),
        DualMLP((8, 0)),
        DualMLP(activation="sine"),
        DualUNet((4, 4, 4)),
        DualUNet(channels=(0,)),
        DualUNet(patch_size=0),
        DualUNet(hidden_layer_sizes=(2.5,)),
    ],
)
def test_bad_parameters(network):
    with pytest.raises(InvalidParameterError):
        build(network, 48, 16)
