"""Rows as images: their shape, and the layers from which networks of images are made."""

from math import isqrt, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.utils._sklearn import InvalidParameterError

#: Channels that are normalised together. With one channel a group, an image of one pixel would
#: be normalised to zero.
_GROUP_SIZE = 8


def read_image_shape(architecture: Any, n_features: int) -> tuple[int, int, int]:
    """Channels, height and width of the images that rows of `n_features` hold, or an error.

    The parameter `image_shape` of the architecture is ``(height, width)``, ``(n_channels, height,
    width)``, or None for square images of one channel.
    """
    name, image_shape = type(architecture).__name__, architecture.image_shape
    if image_shape is None:
        side = isqrt(n_features)
        image_shape = (side, side)
    elif len(image_shape) not in (2, 3):
        raise InvalidParameterError(
            f"The 'image_shape' parameter of {name} must be (height, width) or "
            f"(n_channels, height, width). Got {image_shape!r} instead."
        )
    if prod(image_shape) != n_features:
        raise ValueError(
            f"{name}(image_shape={architecture.image_shape!r}) cannot read rows of "
            f"{n_features} features as images: pass the image_shape whose product is "
            f"{n_features}."
        )
    n_channels, height, width = (1, *image_shape)[-3:]
    return n_channels, height, width


class ImageConvolution(nn.Module):
    """A convolution that keeps the sides of the images (n, n_in, height, width); n_out channels.

    `nn.Conv2d` is not used because its constructor draws from torch's global generator. `gain` is
    the scale of the outputs for inputs of unit spread. Biases start at zero, one for each of
    `sides`: those of the images give one to each unit, which the first layer needs, as rows are
    centred and what is subtracted differs from pixel to pixel.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int = 3,
        *,
        gain: float,
        generator: Generator,
        sides: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.padding = kernel_size // 2
        weight = torch.empty(n_out, n_in, kernel_size, kernel_size)
        std = gain * (n_in * kernel_size**2) ** -0.5
        self.weight = nn.Parameter(nn.init.normal_(weight, std=std, generator=generator))
        self.bias = nn.Parameter(torch.zeros(n_out, *sides))

    def forward(self, h: Tensor) -> Tensor:
        return F.conv2d(h, self.weight, padding=self.padding).add_(self.bias)


class ResidualBlock(nn.Module):
    """Two convolutions after activations, plus a shortcut.

    Only the branch of the convolutions is normalised, so that the shortcuts carry the contrast
    and the brightness of the image to the end of the network.
    """

    def __init__(
        self, n_in: int, n_out: int, *, activation: str, normalized: bool, generator: Generator
    ) -> None:
        super().__init__()
        self.activation = activation
        gain = ACTIVATIONS[activation].mean_square ** -0.5
        self.first_norm = _group_norm(n_in) if normalized else nn.Identity()
        self.first = ImageConvolution(n_in, n_out, gain=gain, generator=generator)
        self.second_norm = _group_norm(n_out) if normalized else nn.Identity()
        self.second = ImageConvolution(n_out, n_out, gain=gain, generator=generator)
        self.shortcut: nn.Module = nn.Identity()
        if n_in != n_out:
            self.shortcut = ImageConvolution(n_in, n_out, 1, gain=1.0, generator=generator)

    def forward(self, h: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        branch = self.first(activation.value(self.first_norm(h)))
        branch = self.second(activation.value(self.second_norm(branch)))
        # The variance of a sum of two: without the factor it would grow with every block.
        return (self.shortcut(h) + branch) * 0.5**0.5


def halve(h: Tensor) -> Tensor:
    """Average over squares of two by two; sides are rounded up, and a side of one stays."""
    return F.avg_pool2d(h, 2, ceil_mode=True)


def _group_norm(n_channels: int) -> nn.GroupNorm:
    most = max(n_channels // _GROUP_SIZE, 1)
    n_groups = next(n for n in range(most, 0, -1) if n_channels % n == 0)
    return nn.GroupNorm(n_groups, n_channels)
