"""A map that takes noise: every row has a distribution of images."""

from collections.abc import Sequence
from numbers import Integral
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import Map, MapModule
from skot.networks._chain import Dense
from skot.networks._mlp import dense_layers
from skot.utils._sklearn import Interval, StrOptions

#: Noise of more features than this seldom pays, whatever the number of features of the data.
_MOST_NOISE_FEATURES = 16


class ConditionalMLP(Map):
    r"""Map with noise, :math:`(x, z) \mapsto A x + B z + \mathrm{net}(x, z)`.

    The matrix A is learned and starts at the identity, B and the output weights of the network
    start small: right after `build` the map is close to the identity, with a little noise.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(128, 128, 128)
        Widths of the hidden layers.
    n_noise_features : int, default=None
        Features of the noise z. None is as many as the data has, and at most 16.
    activation : {"softplus", "celu", "elu", "silu", "leaky_relu"}, default="elu"
        Activation of the hidden layers.

    See Also
    --------
    MLPMap : Without noise.
    UNet : For images, with and without noise.

    Notes
    -----
    The module has the attribute ``n_noise_features`` and takes rows of shape (n, n_features) and
    noise of shape (n, n_samples, n_noise_features) to images of shape (n, n_samples,
    n_features). What depends on the row alone in the first layer is computed once a row.

    References
    ----------
    .. [1] Korotin, A., Selikhanovych, D., Burnaev, E. (2023). Neural optimal transport. ICLR,
       Section 4.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import ConditionalMLP
    >>> generator = torch.Generator().manual_seed(0)
    >>> transport_map = ConditionalMLP((8, 8)).build(2, generator=generator)
    >>> transport_map(torch.zeros(3, 2), torch.zeros(3, 5, 2)).shape
    torch.Size([3, 5, 2])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "hidden_layer_sizes": ["array-like"],
        "n_noise_features": [Interval(Integral, 1, None, closed="left"), None],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128, 128, 128),
        *,
        n_noise_features: int | None = None,
        activation: str = "elu",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_noise_features = n_noise_features
        self.activation = activation

    @property
    def takes_noise(self) -> bool:
        """Always; see :class:`Map`."""
        return True

    def build(self, n_features: int, *, generator: Generator) -> MapModule:
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the points.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : MapModule
            The map, of float32 parameters.
        """
        self.validate()
        return _ConditionalMap(
            n_features,
            self.n_noise_features or min(n_features, _MOST_NOISE_FEATURES),
            self.hidden_layer_sizes,
            activation=self.activation,
            generator=generator,
        )


class _ConditionalMap(MapModule):
    """A learned linear map of row and noise plus a network whose output weights start small."""

    output_scale = 0.1

    def __init__(
        self,
        n_features: int,
        n_noise_features: int,
        sizes: Sequence[int],
        *,
        activation: str,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.n_noise_features = n_noise_features
        self.activation = activation
        width = n_features + n_noise_features
        first, *rest = dense_layers(width, sizes, activation, generator)
        weight = first.weight.detach()
        self.row_weight = nn.Parameter(weight[:, :n_features].clone())
        self.noise_weight = nn.Parameter(weight[:, n_features:].clone())
        self.bias = first.bias
        self.layers = nn.ModuleList(rest)
        self.output = Dense(sizes[-1], n_features, gain=self.output_scale, generator=generator)
        nn.init.zeros_(self.output.bias)
        self.linear = nn.Parameter(torch.eye(n_features))
        self.noise_linear = nn.Parameter(
            self.output_scale * torch.eye(n_features, n_noise_features)
        )
        self.input_matrix: Tensor | None
        self.output_matrix: Tensor | None
        self.register_buffer("input_matrix", None)
        self.register_buffer("output_matrix", None)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:  # type: ignore[override]
        activation = ACTIVATIONS[self.activation]
        n, n_samples, n_noise_features = z.shape
        noise = z.reshape(n * n_samples, n_noise_features)
        read = x if self.input_matrix is None else x @ self.input_matrix
        of_rows = torch.addmm(self.bias, read, self.row_weight.T)
        h = (noise @ self.noise_weight.T).view(n, n_samples, of_rows.shape[1]) + of_rows[:, None]
        h = activation.consume(h.flatten(0, 1))
        for layer in self.layers:
            h = activation.consume(layer(h))
        image = self.output(h)
        if self.output_matrix is not None:
            image = image @ self.output_matrix
        image = torch.addmm(image, noise, self.noise_linear.T)
        return image.view(n, n_samples, x.shape[1]) + (x @ self.linear.T)[:, None]

    def precondition_(self, whitening: Tensor, spread: Tensor) -> None:
        self.input_matrix = whitening.to(self.linear)
        self.output_matrix = spread.to(self.linear)
