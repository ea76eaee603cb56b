"""Encoders: from a sample, a cloud of points or an image, to one vector of fixed length."""

from collections.abc import Sequence
from numbers import Integral
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import _Architecture
from skot.networks._chain import Dense
from skot.networks._images import ImageConvolution, ResidualBlock, halve
from skot.networks._mlp import dense_layers
from skot.utils._sklearn import Interval, StrOptions


class Encoder(_Architecture):
    """Base class of encoders: components that build modules from samples to vectors.

    A subclass stores its hyper-parameters in ``__init__`` and implements :meth:`build`.
    """

    #: Side of the square thumbnails that are read; None for clouds, whose rows have no order.
    image_size: int | None = None

    def build(self, n_features: int, n_outputs: int, *, generator: Generator) -> nn.Module:
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the rows; of an image, its channels.
        n_outputs : int
            Length of the codes.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : torch.nn.Module
            From rows of shape (n_samples, n_rows, n_features) to codes of shape (n_samples,
            n_outputs), of float32 parameters. Rows of an image are the pixels of a square, line
            by line.
        """
        raise NotImplementedError


class DeepSets(Encoder):
    r"""Encoder of point clouds: a function of the measure, whatever the order of the points.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(64, 64)
        Widths of the layers that every point goes through.
    activation : {"silu", "softplus", "celu", "elu", "leaky_relu"}, default="silu"
        Activation of these layers.

    See Also
    --------
    ResNetEncoder : For images.

    Notes
    -----
    With a network :math:`\varphi`, the code of the points :math:`u_1, \dots, u_n` is

    .. math::

        A \, \Big( \tfrac{1}{n} \sum_i \varphi(u_i), \;
        \big(\tfrac{1}{n} \sum_i \varphi(u_i)^2\big)^{1/2} \Big) + b,

    squares and roots entry by entry. These are moments of the empirical measure, which do not
    grow or drift with the number of points, as sums and maxima would [1]_: a code learned on
    batches of a few hundred points is good for all of them.

    References
    ----------
    .. [1] Zaheer, M., Kottur, S., Ravanbakhsh, S., Poczos, B., Salakhutdinov, R. and Smola, A.
       (2017). Deep sets. NeurIPS, Theorem 2.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import DeepSets
    >>> generator = torch.Generator().manual_seed(0)
    >>> encoder = DeepSets((8, 8)).build(2, 4, generator=generator)
    >>> cloud = torch.randn(1, 50, 2, generator=generator)
    >>> bool(torch.allclose(encoder(cloud), encoder(cloud.flip(1)), atol=1e-5))
    True
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(self, hidden_layer_sizes: Sequence[int] = (64, 64), *, activation: str = "silu"):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation

    def build(self, n_features: int, n_outputs: int, *, generator: Generator) -> nn.Module:
        self.validate()
        sizes = list(self.hidden_layer_sizes)
        layers = dense_layers(n_features, sizes, self.activation, generator)
        return _DeepSetsModule(layers, sizes[-1], n_outputs, self.activation, generator)


class _DeepSetsModule(nn.Module):
    def __init__(
        self,
        layers: Sequence[Dense],
        n_hidden: int,
        n_outputs: int,
        activation: str,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.layers = nn.ModuleList(layers)
        gain = ACTIVATIONS[activation].mean_square ** -0.5
        self.output = Dense(2 * n_hidden, n_outputs, gain=gain, generator=generator)

    def forward(self, rows: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        h = rows.flatten(0, 1)
        for layer in self.layers:
            h = activation.value(layer(h))
        return self.output(_pool(h.unflatten(0, rows.shape[:2])))


class ResNetEncoder(Encoder):
    """Encoder of images: a small residual network on a thumbnail.

    Parameters
    ----------
    image_size : int, default=32
        Side of the thumbnails.
    channels : array-like of int, default=(16, 32)
        Channels of the blocks. Between two blocks the sides are halved.
    activation : {"silu", "softplus", "celu", "elu", "leaky_relu"}, default="silu"
        Activation.

    See Also
    --------
    DeepSets : For clouds of points.

    Notes
    -----
    Blocks are pre-activation residual blocks [1]_ without normalisation. The last one is pooled
    over the image as :class:`DeepSets` pools over points.

    References
    ----------
    .. [1] He, K., Zhang, X., Ren, S. and Sun, J. (2016). Identity mappings in deep residual
       networks. ECCV.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import ResNetEncoder
    >>> generator = torch.Generator().manual_seed(0)
    >>> encoder = ResNetEncoder(image_size=8, channels=(4, 8)).build(3, 5, generator=generator)
    >>> encoder(torch.zeros(2, 64, 3)).shape
    torch.Size([2, 5])
    """

    image_size: int

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "image_size": [Interval(Integral, 1, None, closed="left")],
        "channels": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        *,
        image_size: int = 32,
        channels: Sequence[int] = (16, 32),
        activation: str = "silu",
    ):
        self.image_size = image_size
        self.channels = channels
        self.activation = activation

    def build(self, n_features: int, n_outputs: int, *, generator: Generator) -> nn.Module:
        self.validate()
        return _ResNetEncoderModule(
            n_features,
            n_outputs,
            self.image_size,
            list(self.channels),
            self.activation,
            generator,
        )


class _ResNetEncoderModule(nn.Module):
    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        image_size: int,
        channels: list[int],
        activation: str,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.image_size, self.activation = image_size, activation
        self.stem = ImageConvolution(n_features, channels[0], gain=1.0, generator=generator)
        self.blocks = nn.ModuleList(
            ResidualBlock(n_in, n_out, activation=activation, normalized=False, generator=generator)
            for n_in, n_out in zip([channels[0], *channels], channels, strict=False)
        )
        gain = ACTIVATIONS[activation].mean_square ** -0.5
        self.output = Dense(2 * channels[-1], n_outputs, gain=gain, generator=generator)

    def forward(self, rows: Tensor) -> Tensor:
        sides = (self.image_size, self.image_size)
        h = self.stem(rows.transpose(1, 2).unflatten(2, sides))
        for k, block in enumerate(self.blocks):
            h = block(halve(h) if k else h)
        units = ACTIVATIONS[self.activation].value(h).flatten(2).transpose(1, 2)
        return self.output(_pool(units))


def _pool(units: Tensor) -> Tensor:
    """Mean and root mean square over the rows."""
    # A slope of the root at zero does not exist, hence the small number.
    spread = (units.square().mean(dim=1) + 1e-12).sqrt()
    return torch.cat([units.mean(dim=1), spread], dim=1)
