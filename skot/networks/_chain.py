"""Layers after layers down to one number a row, with their gradient written out by hand."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import PotentialModule
from skot.numerics.affine import affine


class Dense(nn.Module):
    """An affine map of rows.

    `nn.Linear` is not used because its constructor draws from torch's global generator.
    """

    def __init__(self, n_in: int, n_out: int, *, gain: float, generator: Generator) -> None:
        super().__init__()
        weight = torch.empty(n_out, n_in)
        nn.init.normal_(weight, std=gain * n_in**-0.5, generator=generator)
        self.weight = nn.Parameter(weight)
        # Spread over the unit interval, so that in few dimensions the kinks do not all cross
        # the origin.
        self.bias = nn.Parameter(nn.init.uniform_(torch.empty(n_out), -1, 1, generator=generator))

    def forward(self, h: Tensor) -> Tensor:
        return affine(h, self.weight, self.bias)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """Gradient with respect to the input, from that with respect to the output."""
        return affine(gradient, self.weight.T)

    def pull_back_onto(self, gradient: Tensor, base: Tensor) -> Tensor:
        """The same, added to `base` in one operation."""
        return torch.addmm(base, gradient, self.weight)


class Convolution(nn.Module):
    """A strided convolution of images that are flattened to rows, before and after.

    It halves the sides of the image, rounding up. Each unit has a bias of its own: rows are
    centred, and what is subtracted differs from pixel to pixel, so that a threshold that is the
    same everywhere in the image is not the same everywhere in the row.

    With few input channels the kernels of PyTorch for a CPU are slow, above all the transposed
    one: patches and a product of matrices take a third of the time.
    """

    #: Number of input channels up to which patches are faster.
    _FEW_CHANNELS = 3

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        channels: int,
        kernel_size: int,
        *,
        gain: float,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.padding = kernel_size // 2
        sides = input_shape[1:]
        height, width = ((side + 1) // 2 for side in sides)
        self.output_shape = (channels, height, width)
        # An odd side and the even one after it give the same output: say which one it was.
        self.output_padding = tuple(1 - side % 2 for side in sides)
        fan_in = input_shape[0] * kernel_size**2
        weight = torch.empty(channels, input_shape[0], kernel_size, kernel_size)
        nn.init.normal_(weight, std=gain * fan_in**-0.5, generator=generator)
        self.weight = nn.Parameter(weight)
        bias = torch.empty(channels * height * width)
        self.bias = nn.Parameter(nn.init.uniform_(bias, -1, 1, generator=generator))

    def forward(self, h: Tensor) -> Tensor:
        images = h.reshape(-1, *self.input_shape)
        if self.input_shape[0] > self._FEW_CHANNELS:
            convolved = F.conv2d(images, self.weight, None, 2, self.padding)
            return convolved.flatten(1).add_(self.bias)
        channels, height, width = self.output_shape
        padded = F.pad(images, 4 * [self.padding])
        size = self.weight.shape[-1]
        windows = padded.unfold(2, size, 2).unfold(3, size, 2).permute(0, 2, 3, 1, 4, 5)
        patches = windows.reshape(-1, self.weight[0].numel())
        convolved = (patches @ self.weight.flatten(1).T).view(-1, height * width, channels)
        return convolved.transpose(1, 2).flatten(1).add_(self.bias)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """Gradient with respect to the input, from that with respect to the output."""
        if self.input_shape[0] > self._FEW_CHANNELS:
            images = gradient.reshape(-1, *self.output_shape)
            back = F.conv_transpose2d(
                images, self.weight, None, 2, self.padding, self.output_padding
            )
            return back.flatten(1)
        channels, height, width = self.output_shape
        units = gradient.reshape(-1, channels, height * width).transpose(1, 2)
        patches = units.reshape(-1, channels) @ self.weight.flatten(1)
        columns = patches.view(-1, height * width, patches.shape[1]).transpose(1, 2)
        images = F.fold(
            columns, self.input_shape[1:], self.weight.shape[-1], padding=self.padding, stride=2
        )
        return images.flatten(1)

    def pull_back_onto(self, gradient: Tensor, base: Tensor) -> Tensor:
        """The same, added to `base`."""
        return self.pull_back(gradient) + base


class ChainPotential(PotentialModule):
    r"""A network without constraints plus a learned quadratic form, on rows (n, n_features).

    Each layer is followed by the activation. `widths` are those of the outputs that are added up to
    the value: of the last layer only, or of all. With `diagonal` the quadratic form is
    :math:`\sum_i q_i x_i^2 / 2` instead of a full one.
    """

    #: Scale of the output weights: small, so that the quadratic form is all there is at first.
    output_scale = 0.1

    def __init__(
        self,
        layers: Sequence[Dense | Convolution],
        n_features: int,
        widths: Sequence[int],
        *,
        activation: str,
        generator: Generator,
        diagonal: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.layers = nn.ModuleList(layers)
        *inner, last = (
            nn.init.normal_(
                torch.empty(width), std=self.output_scale * width**-0.5, generator=generator
            )
            for width in widths
        )
        self.inner_outputs = nn.ParameterList(inner)
        self.output = nn.Parameter(last)
        self.quadratic = nn.Parameter(torch.ones(n_features) if diagonal else torch.eye(n_features))
        self.input_matrix: Tensor | None
        self.register_buffer("input_matrix", None)

    def forward(self, x: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        h, inner = self._read(x), list(self.inner_outputs)
        values = self._quadratic_value(x, self._apply_quadratic(x))
        for k, layer in enumerate(self.layers):
            h = activation.consume(layer(h))
            if k < len(inner):
                values = torch.addmv(values, h, inner[k])
        return torch.addmv(values, h, self.output)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        activation = ACTIVATIONS[self.activation]
        layers: list[Any] = list(self.layers)
        inner = list(self.inner_outputs)
        h, saved = self._read(x), []
        gradient_of_quadratic = self._apply_quadratic(x)
        values = self._quadratic_value(x, gradient_of_quadratic)
        for k, layer in enumerate(layers):
            h, keep = activation.evaluate(layer(h))
            saved.append(keep)
            if k < len(inner):
                values = torch.addmv(values, h, inner[k])
        values = torch.addmv(values, h, self.output)
        gradient = activation.pull_back(self.output, saved.pop())
        while saved:
            layer = layers.pop()
            if inner:
                gradient = layer.pull_back_onto(gradient, inner.pop())
            else:
                gradient = layer.pull_back(gradient)
            gradient = activation.pull_back(gradient, saved.pop())
        if self.input_matrix is None:
            return values, layers[0].pull_back_onto(gradient, gradient_of_quadratic)
        gradient = layers[0].pull_back(gradient)
        return values, torch.addmm(gradient_of_quadratic, gradient, self.input_matrix.T)

    def precondition_(self, whitening: Tensor, original: Tensor) -> None:
        images = isinstance(self.layers[0], Convolution)
        self.input_matrix = (original if images else whitening).to(self.output)

    def _read(self, x: Tensor) -> Tensor:
        return x if self.input_matrix is None else x @ self.input_matrix

    def _apply_quadratic(self, x: Tensor) -> Tensor:
        if self.quadratic.ndim == 1:
            return x * self.quadratic
        # Only the symmetric part of a matrix has a say in a quadratic form.
        return x @ (0.5 * (self.quadratic + self.quadratic.T))

    @staticmethod
    def _quadratic_value(x: Tensor, applied: Tensor) -> Tensor:
        return 0.5 * torch.linalg.vecdot(x, applied)
