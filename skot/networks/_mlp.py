"""Multi-layer perceptrons: a potential that may be any function, and a map."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import Map, MapModule, Potential, PotentialModule
from skot.networks._chain import ChainPotential, Dense
from skot.utils._sklearn import StrOptions


class MLPPotential(Potential):
    r"""Potential :math:`f(x) = \mathrm{net}(x) + \frac{1}{2} x^\top Q x`, convex or not.

    The matrix Q is learned, symmetric and starts at the identity; the output weights of the
    network start small. So f is close to :math:`|x|^2 / 2` right after `build`, and its gradient
    to the identity.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(128, 128, 128)
        Widths of the hidden layers.
    activation : {"softplus", "celu", "elu", "silu", "leaky_relu"}, default="elu"
        Activation of the hidden layers. "celu" is "elu", whose map is continuous with kinks in
        its derivative; with "softplus" and "silu" it is smooth; with "leaky_relu", of slope 0.2
        below zero, it jumps.

    See Also
    --------
    ICNN : Convex by construction.
    ConvPotential : For images.

    Notes
    -----
    Nothing forces f to be convex. Where it is not, its conjugate has several stationary points
    and a solver may return a local one; in practice such potentials train better than
    input-convex networks do [1]_.

    References
    ----------
    .. [1] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR,
       Section 5.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import MLPPotential
    >>> generator = torch.Generator().manual_seed(0)
    >>> potential = MLPPotential(hidden_layer_sizes=(8, 8)).build(2, generator=generator)
    >>> with torch.no_grad():
    ...     values, gradients = potential.value_and_gradient(torch.zeros(3, 2))
    >>> values.shape, gradients.shape
    (torch.Size([3]), torch.Size([3, 2]))
    """

    has_quadratic_term = True

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128, 128, 128),
        *,
        activation: str = "elu",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation

    def build(self, n_features: int, *, generator: Generator) -> PotentialModule:
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the points.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : PotentialModule
            The potential, of float32 parameters.
        """
        self.validate()
        layers = dense_layers(n_features, self.hidden_layer_sizes, self.activation, generator)
        return ChainPotential(
            layers,
            n_features,
            self.hidden_layer_sizes[-1:],
            activation=self.activation,
            generator=generator,
        )


class MLPMap(Map):
    r"""Map :math:`y \mapsto A y + \mathrm{net}(y)` with a learned matrix A.

    A starts at the identity and the output weights of the network start small: right after
    `build` the map is close to the identity.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(128, 128, 128)
        Widths of the hidden layers.
    activation : {"softplus", "celu", "elu", "silu", "leaky_relu"}, default="elu"
        Activation of the hidden layers.

    See Also
    --------
    GradientMap : A map that is the gradient of a potential.

    References
    ----------
    .. [1] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR,
       Section 5.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import MLPMap
    >>> generator = torch.Generator().manual_seed(0)
    >>> amortizer = MLPMap(hidden_layer_sizes=(8, 8)).build(2, generator=generator)
    >>> amortizer(torch.zeros(3, 2)).shape
    torch.Size([3, 2])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128, 128, 128),
        *,
        activation: str = "elu",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation

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
        layers = dense_layers(n_features, self.hidden_layer_sizes, self.activation, generator)
        return _ResidualMap(
            layers,
            n_features,
            self.hidden_layer_sizes[-1],
            activation=self.activation,
            generator=generator,
        )


class _ResidualMap(MapModule):
    """A learned linear map plus a network whose output weights start small."""

    output_scale = 0.1

    def __init__(
        self,
        layers: Sequence[Dense],
        n_features: int,
        n_hidden: int,
        *,
        activation: str,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.layers = nn.ModuleList(layers)
        self.output = Dense(n_hidden, n_features, gain=self.output_scale, generator=generator)
        nn.init.zeros_(self.output.bias)
        self.linear = nn.Parameter(torch.eye(n_features))
        self.input_matrix: Tensor | None
        self.output_matrix: Tensor | None
        self.register_buffer("input_matrix", None)
        self.register_buffer("output_matrix", None)

    def forward(self, x: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        h = x if self.input_matrix is None else x @ self.input_matrix
        for layer in self.layers:
            h = activation.consume(layer(h))
        image = self.output(h)
        if self.output_matrix is not None:
            image = image @ self.output_matrix
        return torch.addmm(image, x, self.linear.T)

    def precondition_(self, whitening: Tensor, spread: Tensor) -> None:
        self.input_matrix = whitening.to(self.linear)
        self.output_matrix = spread.to(self.linear)


def dense_layers(
    n_in: int, sizes: Sequence[int], activation: str, generator: Generator
) -> list[Dense]:
    """Draw hidden layers whose outputs keep their scale with depth, for inputs of unit spread."""
    gain = ACTIVATIONS[activation].mean_square ** -0.5
    layers: list[Dense] = []
    for n_out in sizes:
        layers.append(Dense(n_in, n_out, gain=gain if layers else 1.0, generator=generator))
        n_in = n_out
    return layers
