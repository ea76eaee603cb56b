"""A deep potential of images."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import Potential
from skot.networks._images import ImageConvolution, ResidualBlock, halve, read_image_shape
from skot.utils._sklearn import StrOptions


class ResNetPotential(Potential):
    r"""Potential :math:`f(x) = \mathrm{net}(x) + \frac{1}{2} \sum_i q_i x_i^2` of flattened images.

    Residual blocks of convolutions, each at half the resolution of the one before, then the
    sum over the pixels and one linear output. The learned weights q start at one and the output
    starts small: f is close to :math:`|x|^2 / 2` right after `build`, or to zero without the
    quadratic term. It need not be convex.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(n_channels, height, width)`` of the images, whose pixels are the
        features in this order. None takes square images of one channel.
    channels : array-like of int, default=(16, 32, 64)
        Number of channels of every block, from the full resolution down; each next one halves the
        sides, rounding up.
    activation : {"softplus", "celu", "elu", "silu", "leaky_relu"}, default="silu"
        Activation of all layers.
    quadratic : {"diagonal", "none"}, default="diagonal"
        Whether there is a quadratic term. A potential whose gradient is the map needs one; that of
        a dual that only compares two samples does not.

    See Also
    --------
    ConvPotential : Shallower, and faster where gradients in the points are needed.
    UNet : A map of images, as its counterpart.

    Notes
    -----
    With :math:`B_k` residual blocks [1]_, :math:`\downarrow` the mean over two by two pixels and
    :math:`\sigma` the activation,

    .. math:: h_0 = B_0(\mathrm{conv}(x)), \quad h_k = B_k(\downarrow h_{k-1}), \quad
        \mathrm{net}(x) = \frac{|P_0|}{|P_K|} \sum_{p \in P_K} w^\top \sigma(h_K)_p,

    where :math:`P_k` are the pixels at the resolution k. The ratio makes up for the means: without
    it the gradient in a pixel of x would be the smaller, and the slower to learn, the more
    resolutions there are. Nothing is normalised: the potential is to know how far away a point
    is. Such networks are the potentials of [2]_.

    References
    ----------
    .. [1] He, K., Zhang, X., Ren, S. and Sun, J. (2016). Identity mappings in deep residual
       networks. ECCV.
    .. [2] Korotin, A., Selikhanovych, D. and Burnaev, E. (2023). Neural optimal transport. ICLR,
       Section 5.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import ResNetPotential
    >>> generator = torch.Generator().manual_seed(0)
    >>> potential = ResNetPotential((3, 5, 7), channels=(4, 8))
    >>> potential.build(105, generator=generator)(torch.zeros(2, 105)).shape
    torch.Size([2])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "image_shape": ["array-like", None],
        "channels": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "quadratic": [StrOptions({"diagonal", "none"})],
    }

    def __init__(
        self,
        image_shape: Sequence[int] | None = None,
        *,
        channels: Sequence[int] = (16, 32, 64),
        activation: str = "silu",
        quadratic: str = "diagonal",
    ) -> None:
        self.image_shape = image_shape
        self.channels = channels
        self.activation = activation
        self.quadratic = quadratic

    @property
    def has_quadratic_term(self) -> bool:
        """Whether it grows quadratically away from the data: unless `quadratic` is "none"."""
        return self.quadratic != "none"

    def build(self, n_features: int, *, generator: Generator) -> nn.Module:
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the points, the product of `image_shape`.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : torch.nn.Module
            The potential, of float32 parameters. Its gradient is left to automatic differentiation.

        Raises
        ------
        ValueError
            If `n_features` does not match `image_shape`, or is no square where that is None.
        """
        self.validate()
        return _ResNetModule(
            read_image_shape(self, n_features),
            list(self.channels),
            activation=self.activation,
            has_quadratic_term=self.has_quadratic_term,
            generator=generator,
        )


class _ResNetModule(nn.Module):
    #: Scale of the output weights: small, so that the quadratic form is all there is at first.
    output_scale = 0.1

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: list[int],
        *,
        activation: str,
        has_quadratic_term: bool,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.image_shape, self.activation = image_shape, activation
        n_channels, height, width = image_shape
        self.n_pixels = height * width
        #: Numbers that one layer holds per row, by which rows are cut into tiles.
        self.row_width = channels[0] * height * width
        self.stem = ImageConvolution(
            n_channels, channels[0], gain=1.0, generator=generator, sides=(height, width)
        )
        self.blocks = nn.ModuleList(
            ResidualBlock(n_in, n_out, activation=activation, normalized=False, generator=generator)
            for n_in, n_out in zip([channels[0], *channels], channels, strict=False)
        )
        output = torch.empty(channels[-1])
        std = self.output_scale * channels[-1] ** -0.5
        self.output = nn.Parameter(nn.init.normal_(output, std=std, generator=generator))
        quadratic = torch.ones(n_channels * height * width)
        self.quadratic = nn.Parameter(quadratic) if has_quadratic_term else None
        self.input_matrix: Tensor | None
        self.register_buffer("input_matrix", None)

    def forward(self, x: Tensor) -> Tensor:
        rows = x if self.input_matrix is None else x @ self.input_matrix
        h = self.stem(rows.reshape(-1, *self.image_shape))
        for k, block in enumerate(self.blocks):
            h = block(halve(h) if k else h)
        pooled = ACTIVATIONS[self.activation].value(h).mean(dim=(2, 3))
        values = self.n_pixels * (pooled @ self.output)
        if self.quadratic is None:
            return values
        return values + 0.5 * torch.linalg.vecdot(x, x * self.quadratic)

    def precondition_(self, whitening: Tensor, original: Tensor) -> None:
        """Read rows in the coordinates of the data, which are images; see `PotentialModule`."""
        self.input_matrix = original.to(self.output)
