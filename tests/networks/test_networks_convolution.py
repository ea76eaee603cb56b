"""The layer of strided convolutions: with few input channels it goes a way of its own."""

import pytest
import torch
import torch.nn.functional as F

from skot.networks import ConvPotential, MLPPotential
from skot.networks._chain import Convolution


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("n_channels", [1, 2, 5])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("sides", [(6, 4), (5, 7), (1, 2)])
def test_is_the_convolution_of_pytorch_and_its_transpose(n_channels, kernel_size, sides):
    shape = (n_channels, *sides)
    layer = Convolution(shape, 3, kernel_size, gain=1.0, generator=seeded()).double()
    x = torch.randn(4, n_channels * sides[0] * sides[1], dtype=torch.float64, generator=seeded())
    x.requires_grad_(True)

    h = layer(x)

    reference = F.conv2d(x.view(4, *shape), layer.weight, stride=2, padding=kernel_size // 2)
    assert reference.shape[1:] == layer.output_shape
    torch.testing.assert_close(h, reference.flatten(1) + layer.bias)
    gradient = torch.randn(h.shape, dtype=h.dtype, generator=seeded())
    (expected,) = torch.autograd.grad(h, x, gradient)
    torch.testing.assert_close(layer.pull_back(gradient), expected)
    torch.testing.assert_close(layer.pull_back_onto(gradient, x), expected + x)


@pytest.mark.parametrize("n_channels", [1, 5])
def test_gradients_of_the_pull_back_reach_the_kernels(n_channels):
    layer = Convolution((n_channels, 4, 5), 2, 3, gain=1.0, generator=seeded()).double()
    gradient = torch.randn(3, 2 * 2 * 3, dtype=torch.float64, generator=seeded())

    def pulled_back(weight):
        return torch.func.functional_call(_PullBack(layer), {"layer.weight": weight}, (gradient,))

    weight = layer.weight.detach().requires_grad_(True)
    assert torch.autograd.gradcheck(pulled_back, (weight,))


class _PullBack(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, gradient):
        return self.layer.pull_back(gradient)


def test_every_layer_of_images_but_only_the_last_of_rows_is_in_the_output():
    conv = ConvPotential((4, 4), channels=(2, 3), hidden_layer_sizes=(5, 6))
    sizes = [len(w) for w in conv.build(16, generator=seeded()).inner_outputs]
    assert sizes == [2 * 2 * 2, 3, 5]
    assert len(MLPPotential((5, 6)).build(16, generator=seeded()).inner_outputs) == 0
