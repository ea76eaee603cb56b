"""Networks that predict a dual potential from the two histograms of a transport problem."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import isqrt
from numbers import Integral
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import _Architecture
from skot.networks._chain import Dense
from skot.networks._images import ImageConvolution, ResidualBlock, halve
from skot.networks._mlp import dense_layers
from skot.utils._sklearn import Interval, InvalidParameterError, StrOptions


class DualNetwork(_Architecture, ABC):
    """Base class of the architectures that read rows of one width and write rows of another.

    A subclass stores its hyper-parameters in ``__init__`` and implements :meth:`build`.
    """

    @abstractmethod
    def build(self, n_inputs: int, n_outputs: int, *, generator: Generator) -> nn.Module:
        """Draw a module.

        Parameters
        ----------
        n_inputs : int
            Width of the rows that it reads.
        n_outputs : int
            Width of the rows that it writes.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : torch.nn.Module
            Of float32 parameters, on the CPU; maps (n, n_inputs) to (n, n_outputs).
        """


class DualMLP(DualNetwork):
    """Dense layers from the weights of both measures to a potential.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(1024, 1024, 1024)
        Widths of the hidden layers; the default is the published one [1]_.
    activation : {"softplus", "celu", "elu", "silu", "leaky_relu"}, default="silu"
        Activation of the hidden layers.

    See Also
    --------
    DualUNet : For measures on a grid.

    References
    ----------
    .. [1] Amos, B., Luise, G., Cohen, S. and Redko, I. (2023). Meta optimal transport. ICML,
       Appendix B.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import DualMLP
    >>> network = DualMLP((8, 8)).build(5, 3, generator=torch.Generator().manual_seed(0))
    >>> network(torch.zeros(2, 5)).shape
    torch.Size([2, 3])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (1024, 1024, 1024),
        *,
        activation: str = "silu",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation

    def build(self, n_inputs: int, n_outputs: int, *, generator: Generator) -> nn.Module:
        self.validate()
        return _DenseNetwork(
            n_inputs,
            n_outputs,
            list(self.hidden_layer_sizes),
            activation=self.activation,
            generator=generator,
        )


class _DenseNetwork(nn.Module):
    #: Scale of the output weights: small, so that training starts at what is known without it.
    output_scale = 0.1

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        sizes: list[int],
        *,
        activation: str,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.layers = nn.ModuleList(dense_layers(n_inputs, sizes, activation, generator))
        self.output = Dense(sizes[-1], n_outputs, gain=self.output_scale, generator=generator)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        for layer in self.layers:
            x = activation.consume(layer(x))
        return self.output(x)


class DualUNet(DualNetwork):
    r"""U-Net on patches, for measures on the pixels of a grid.

    The rows it reads are channels of images one after the other: the two measures, and what else
    is known of the problem at every pixel.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` of the grid; None takes a square.
    channels : array-like of int, default=(64, 128)
        Number of channels of every resolution, from the patches down; each next one halves the
        sides, rounding up.
    patch_size : int, default=4
        Side of the squares of pixels that are one place of the finest resolution. An entropic
        potential varies over lengths of :math:`\sqrt{\epsilon}`: where patches are not wider
        than that, they cost no accuracy, and save convolutions at full resolution.
    hidden_layer_sizes : array-like of int, default=(512, 512)
        Widths of the dense layers across the coarsest resolution, through which mass at one end of
        the image is felt at the other.
    activation : {"softplus", "celu", "elu", "silu", "leaky_relu"}, default="silu"
        Activation of all layers.

    See Also
    --------
    DualMLP : Without a grid.

    References
    ----------
    .. [1] Ronneberger, O., Fischer, P. and Brox, T. (2015). U-Net: convolutional networks for
       biomedical image segmentation. MICCAI.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import DualUNet
    >>> network = DualUNet((6, 8), channels=(4, 8), patch_size=2, hidden_layer_sizes=(8,))
    >>> module = network.build(3 * 48, 48, generator=torch.Generator().manual_seed(0))
    >>> module(torch.zeros(2, 144)).shape
    torch.Size([2, 48])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "image_shape": ["array-like", None],
        "channels": ["array-like"],
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        image_shape: Sequence[int] | None = None,
        *,
        channels: Sequence[int] = (64, 128),
        patch_size: int = 4,
        hidden_layer_sizes: Sequence[int] = (512, 512),
        activation: str = "silu",
    ) -> None:
        self.image_shape = image_shape
        self.channels = channels
        self.patch_size = patch_size
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation

    def validate(self) -> None:
        """Check the parameters; see :meth:`skot.base.Component.validate`."""
        super().validate()
        if self.image_shape is not None and len(self.image_shape) != 2:
            raise InvalidParameterError(
                "The 'image_shape' parameter of DualUNet must be (height, width). "
                f"Got {self.image_shape!r} instead."
            )

    def build(self, n_inputs: int, n_outputs: int, *, generator: Generator) -> nn.Module:
        """Draw a module; see :meth:`DualNetwork.build`.

        Parameters
        ----------
        n_inputs : int
            A multiple of `n_outputs`.
        n_outputs : int
            Number of pixels.
        generator : torch.Generator
            Source of the weights.

        Returns
        -------
        module : torch.nn.Module
            Of float32 parameters.

        Raises
        ------
        ValueError
            If the rows are not images of `image_shape`.
        """
        self.validate()
        side = isqrt(n_outputs)
        height, width = (side, side) if self.image_shape is None else self.image_shape
        if height * width != n_outputs or n_inputs % n_outputs:
            raise ValueError(
                f"DualUNet(image_shape={self.image_shape!r}) cannot read rows of {n_inputs} as "
                f"channels of images and write rows of {n_outputs}: pass the (height, width) of "
                "the grid, or a DualMLP where there is none."
            )
        return _PatchUNet(
            n_inputs // n_outputs,
            (height, width),
            list(self.channels),
            self.patch_size,
            list(self.hidden_layer_sizes),
            activation=self.activation,
            generator=generator,
        )


class _PatchUNet(nn.Module):
    #: Scale of the outputs: small, so that training starts at what is known without them.
    output_scale = 0.1

    def __init__(
        self,
        n_channels: int,
        sides: tuple[int, int],
        channels: list[int],
        patch_size: int,
        sizes: list[int],
        *,
        activation: str,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.n_channels, self.sides, self.patch_size = n_channels, sides, patch_size
        self.activation = activation
        first, coarser = channels[0], channels[1:]
        coarse_sides = [-(-side // patch_size) for side in sides]
        padding = [n * patch_size - side for n, side in zip(coarse_sides, sides, strict=True)]
        self.padding = (0, padding[1], 0, padding[0])

        def block(n_in: int, n_out: int) -> ResidualBlock:
            return ResidualBlock(
                n_in, n_out, activation=activation, normalized=True, generator=generator
            )

        self.stem = ImageConvolution(
            n_channels * patch_size**2,
            first,
            gain=1.0,
            generator=generator,
            sides=(coarse_sides[0], coarse_sides[1]),
        )
        steps = list(zip(channels, coarser, strict=False))
        self.down = nn.ModuleList([block(first, first), *(block(*step) for step in steps)])
        for _ in coarser:
            coarse_sides = [-(-side // 2) for side in coarse_sides]
        n_coarse = channels[-1] * coarse_sides[0] * coarse_sides[1]
        self.across = _DenseNetwork(
            n_coarse, n_coarse, sizes, activation=activation, generator=generator
        )
        self.up = nn.ModuleList(block(low + fine, fine) for fine, low in reversed(steps))
        gain = self.output_scale * ACTIVATIONS[activation].mean_square ** -0.5
        self.output = ImageConvolution(first, patch_size**2, gain=gain, generator=generator)
        # Twice as fast on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        images = F.pad(x.reshape(-1, self.n_channels, *self.sides), self.padding)
        h = self.stem(F.pixel_unshuffle(images, self.patch_size))
        seen: list[Tensor] = []
        for block in self.down:
            h = block(halve(h) if seen else h)
            seen.append(h)
        h = seen.pop()
        h = h + self.across(h.flatten(1)).view_as(h)
        for block in self.up:
            skip = seen.pop()
            h = F.interpolate(h, size=skip.shape[-2:], mode="nearest")
            h = block(torch.cat([h, skip], dim=1))
        patches = self.output(ACTIVATIONS[self.activation].value(h))
        height, width = self.sides
        return F.pixel_shuffle(patches, self.patch_size)[:, 0, :height, :width].flatten(1)
