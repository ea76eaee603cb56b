"""A map of images."""

from collections.abc import Sequence
from math import prod
from numbers import Integral
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import Map, MapModule
from skot.networks._images import ImageConvolution, ResidualBlock, halve, read_image_shape
from skot.utils._sklearn import Interval, StrOptions


class UNet(Map):
    r"""Map :math:`T(x) = x + \mathrm{net}(x)`, or :math:`T(x, z)` with noise, of flattened images.

    The network goes down to coarse images and up again, and what it saw on the way down is joined
    on the way up: an output pixel depends on its neighbourhood in detail, and on the whole image
    roughly. Its last convolution starts small, so that T is close to the identity right after
    `build`.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(n_channels, height, width)`` of the images, whose pixels are the
        features in this order. None takes square images of one channel.
    channels : array-like of int, default=(16, 32, 64)
        Number of channels at every resolution, from the full one down; each next one halves the
        sides, rounding up.
    noise_channels : int, default=0
        Number of channels of noise that are joined to the image. With 0 the map has no noise.
    noise_size : int, default=None
        Side of the noise, whose pixels are repeated up to the size of the image. None is noise in
        every pixel, which tells neighbours apart; 1 is the same noise in all pixels, which is for
        what an image has as a whole, such as its style.
    activation : {"softplus", "celu", "elu", "silu", "leaky_relu"}, default="silu"
        Activation of all layers.

    See Also
    --------
    MLPMap : Without the images' neighbourhoods.
    ResNetPotential : A potential of images, as its counterpart.

    Notes
    -----
    At the resolutions :math:`k = 0, \dots, K`, with :math:`B_k` and :math:`C_k` residual blocks
    [2]_, :math:`\downarrow` the mean over two by two pixels and :math:`\uparrow` its opposite that
    repeats them,

    .. math:: h_0 = B_0(\mathrm{conv}(x, z)), \quad h_k = B_k(\downarrow h_{k-1}), \quad
        u_K = h_K, \quad u_k = C_k(\uparrow u_{k+1}, h_k), \quad
        T(x, z) = x + \mathrm{conv}(\sigma(u_0)).

    This is the U-Net [1]_ with residual blocks, padded convolutions, means for maxima, and group
    normalisation, which knows nothing of the other rows. As a map of optimal transport, with or
    without noise, it is used in [3]_.

    References
    ----------
    .. [1] Ronneberger, O., Fischer, P. and Brox, T. (2015). U-Net: convolutional networks for
       biomedical image segmentation. MICCAI.
    .. [2] He, K., Zhang, X., Ren, S. and Sun, J. (2016). Identity mappings in deep residual
       networks. ECCV.
    .. [3] Korotin, A., Selikhanovych, D. and Burnaev, E. (2023). Neural optimal transport. ICLR,
       Section 5.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import UNet
    >>> generator = torch.Generator().manual_seed(0)
    >>> transport_map = UNet((3, 5, 7), channels=(4, 8)).build(105, generator=generator)
    >>> transport_map(torch.zeros(2, 105)).shape
    torch.Size([2, 105])

    With noise, here ten draws for each of two images:

    >>> noisy = UNet((5, 7), channels=(4, 8), noise_channels=1).build(35, generator=generator)
    >>> noise = torch.randn(2, 10, noisy.n_noise_features, generator=generator)
    >>> noisy(torch.zeros(2, 35), noise).shape
    torch.Size([2, 10, 35])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "image_shape": ["array-like", None],
        "channels": ["array-like"],
        "noise_channels": [Interval(Integral, 0, None, closed="left")],
        "noise_size": [Interval(Integral, 1, None, closed="left"), None],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    reads_images = True

    def __init__(
        self,
        image_shape: Sequence[int] | None = None,
        *,
        channels: Sequence[int] = (16, 32, 64),
        noise_channels: int = 0,
        noise_size: int | None = None,
        activation: str = "silu",
    ) -> None:
        self.image_shape = image_shape
        self.channels = channels
        self.noise_channels = noise_channels
        self.noise_size = noise_size
        self.activation = activation

    @property
    def takes_noise(self) -> bool:
        """Whether there are channels of noise; see :class:`Map`."""
        return self.noise_channels > 0

    def build(self, n_features: int, *, generator: Generator) -> MapModule:
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the points, the product of `image_shape`.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : MapModule
            The map, of float32 parameters. Its attribute ``n_noise_features`` is
            ``noise_channels * height * width``, or ``noise_channels * noise_size ** 2``. Where
            that is not 0, ``forward(x, z)`` takes noise of shape (n, k, n_noise_features) and
            returns images of shape (n, k, n_features).

        Raises
        ------
        ValueError
            If `n_features` does not match `image_shape`, or is no square where that is None.
        """
        self.validate()
        return _UNetModule(
            read_image_shape(self, n_features),
            list(self.channels),
            self.noise_channels,
            self.noise_size,
            activation=self.activation,
            generator=generator,
        )


class _UNetModule(MapModule):
    #: Scale of the last convolution: small, so that the identity is all there is at first.
    output_scale = 0.1

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: list[int],
        noise_channels: int,
        noise_size: int | None,
        *,
        activation: str,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.image_shape, self.noise_channels = image_shape, noise_channels
        self.activation = activation
        n_channels, height, width = image_shape
        self.noise_sides = (height, width) if noise_size is None else (noise_size, noise_size)
        self.n_noise_features = noise_channels * prod(self.noise_sides)
        #: Numbers that one layer holds per row, by which rows are cut into tiles.
        self.row_width = channels[0] * height * width

        def block(n_in: int, n_out: int) -> ResidualBlock:
            return ResidualBlock(
                n_in, n_out, activation=activation, normalized=True, generator=generator
            )

        first, coarser = channels[0], channels[1:]
        self.stem = ImageConvolution(
            n_channels + noise_channels,
            first,
            gain=1.0,
            generator=generator,
            sides=(height, width),
        )
        steps = list(zip(channels, coarser, strict=False))
        self.down = nn.ModuleList([block(first, first), *(block(*step) for step in steps)])
        self.up = nn.ModuleList(block(low + fine, fine) for fine, low in reversed(steps))
        gain = self.output_scale * ACTIVATIONS[activation].mean_square ** -0.5
        self.output = ImageConvolution(first, n_channels, gain=gain, generator=generator)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Images (n, d) of rows (n, d), or (n, k, d) with noise (n, k, n_noise_features)."""
        self._check_noise(z)
        images = x.reshape(-1, *self.image_shape)
        if z is None:
            return x + self._residual(images).flatten(1)
        n, k = z.shape[:2]
        noise = z.reshape(n * k, self.noise_channels, *self.noise_sides)
        if self.noise_sides != self.image_shape[1:]:
            noise = F.interpolate(noise, size=self.image_shape[1:], mode="nearest")
        copies = images[:, None].expand(-1, k, -1, -1, -1).flatten(0, 1)
        residual = self._residual(torch.cat([copies, noise], dim=1))
        return x[:, None] + residual.reshape(n, k, x.shape[1])

    def _check_noise(self, z: Tensor | None) -> None:
        if (z is None) != (self.noise_channels == 0):
            raise ValueError(
                f"A UNet of noise_channels={self.noise_channels} is called "
                + ("with noise: forward(x, z)." if z is None else "without noise: forward(x).")
            )

    def _residual(self, images: Tensor) -> Tensor:
        h = self.stem(images)
        seen: list[Tensor] = []
        for block in self.down:
            h = block(halve(h) if seen else h)
            seen.append(h)
        h = seen.pop()
        for block in self.up:
            skip = seen.pop()
            # Repeated pixels: the backward pass of a bilinear one is not deterministic on CUDA.
            h = F.interpolate(h, size=skip.shape[-2:], mode="nearest")
            h = block(torch.cat([h, skip], dim=1))
        return self.output(ACTIVATIONS[self.activation].value(h))
