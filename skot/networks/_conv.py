"""A potential of images."""

from collections.abc import Sequence
from math import prod
from numbers import Integral
from typing import ClassVar

from torch import Generator

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import Potential, PotentialModule
from skot.networks._chain import ChainPotential, Convolution, Dense
from skot.networks._images import read_image_shape
from skot.networks._mlp import dense_layers
from skot.utils._sklearn import Interval, InvalidParameterError, StrOptions


class ConvPotential(Potential):
    r"""Potential :math:`f(x) = \mathrm{net}(x) + \frac{1}{2} x^\top Q x` of flattened images.

    Convolutions of stride 2 and then dense layers. All of them, not only the last, have weights in
    the output, so that the network is a sum of functions of small patches, of larger ones and of
    the whole image. Q is learned, symmetric and starts at the identity, the output weights start
    small: f is close to :math:`|x|^2 / 2` right after `build`. It need not be convex.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(n_channels, height, width)`` of the images, whose pixels are the
        features in this order. None takes square images of one channel.
    channels : array-like of int, default=(32, 64, 128)
        Number of channels after every convolution; each halves the sides, rounding up.
    hidden_layer_sizes : array-like of int, default=(128,)
        Widths of the dense layers after the convolutions.
    kernel_size : int, default=3
        Side of the kernels, odd.
    activation : {"softplus", "celu", "elu", "silu", "leaky_relu"}, default="elu"
        Activation of all layers.
    quadratic : {"full", "diagonal"}, default="full"
        Shape of Q. A full one has ``n_features ** 2`` entries, which take samples and time to
        learn: choose "diagonal" for images of some hundred pixels and more.

    See Also
    --------
    MLPPotential : The same without the images' neighbourhoods.
    ResNetPotential : Deeper, without a gradient written out.

    References
    ----------
    .. [1] Korotin, A., Li, L., Genevay, A., Solomon, J., Filippov, A. and Burnaev, E. (2021). Do
       neural optimal transport solvers work? A continuous Wasserstein-2 benchmark. NeurIPS.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import ConvPotential
    >>> generator = torch.Generator().manual_seed(0)
    >>> potential = ConvPotential(image_shape=(5, 7), channels=(4, 8))
    >>> potential.build(35, generator=generator)(torch.zeros(3, 35)).shape
    torch.Size([3])
    """

    has_quadratic_term = True

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "image_shape": ["array-like", None],
        "channels": ["array-like"],
        "hidden_layer_sizes": ["array-like"],
        "kernel_size": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "quadratic": [StrOptions({"full", "diagonal"})],
    }

    def __init__(
        self,
        image_shape: Sequence[int] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 128),
        hidden_layer_sizes: Sequence[int] = (128,),
        kernel_size: int = 3,
        activation: str = "elu",
        quadratic: str = "full",
    ) -> None:
        self.image_shape = image_shape
        self.channels = channels
        self.hidden_layer_sizes = hidden_layer_sizes
        self.kernel_size = kernel_size
        self.activation = activation
        self.quadratic = quadratic

    def validate(self) -> None:
        super().validate()
        if self.kernel_size % 2 == 0:
            raise InvalidParameterError(
                "The 'kernel_size' parameter of ConvPotential must be odd. "
                f"Got {self.kernel_size!r} instead."
            )

    def build(self, n_features: int, *, generator: Generator) -> PotentialModule:
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the points, the product of `image_shape`.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : PotentialModule
            The potential, of float32 parameters.

        Raises
        ------
        ValueError
            If `n_features` does not match `image_shape`, or is no square where that is None.
        """
        self.validate()
        gain = ACTIVATIONS[self.activation].mean_square ** -0.5
        shape = read_image_shape(self, n_features)
        layers: list[Convolution | Dense] = []
        widths = []
        for channels in self.channels:
            layer = Convolution(
                shape,
                channels,
                self.kernel_size,
                gain=gain if layers else 1.0,
                generator=generator,
            )
            layers.append(layer)
            shape = layer.output_shape
            widths.append(prod(shape))
        layers += dense_layers(prod(shape), self.hidden_layer_sizes, self.activation, generator)
        return ChainPotential(
            layers,
            n_features,
            [*widths, *self.hidden_layer_sizes],
            activation=self.activation,
            generator=generator,
            diagonal=self.quadratic == "diagonal",
        )
