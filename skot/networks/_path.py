"""A network that predicts the path between two points."""

from collections.abc import Sequence
from numbers import Integral
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import _Architecture
from skot.networks._chain import Dense
from skot.networks._mlp import dense_layers
from skot.numerics.splines import PathBasis, path_basis
from skot.utils._sklearn import Interval, StrOptions


class SplinePath(_Architecture):
    r"""Paths as cubic splines, and the network that predicts them from their ends.

    .. math::

        \gamma(t) = (1 - t) x + t y + \sum_k z_k(x, y) \, \delta_k(t),
        \qquad z = \mathrm{net}(x, y)

    with the shapes :math:`\delta_k` of ``skot.numerics.splines.path_basis``.
    Right after `build` paths are close to straight lines.

    Parameters
    ----------
    n_knots : int, default=30
        Inner knots of the splines.
    hidden_layer_sizes : array-like of int, default=(128, 128)
        Widths of the hidden layers.
    n_nodes : int, default=4
        Nodes of the quadrature between two knots. Sharp barriers want more.
    activation : {"softplus", "celu", "elu", "silu", "leaky_relu"}, default="silu"
        Activation of the hidden layers.

    References
    ----------
    .. [1] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI, Section 3.2.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import SplinePath
    >>> generator = torch.Generator().manual_seed(0)
    >>> path = SplinePath(n_knots=5, hidden_layer_sizes=(8,)).build(2, generator=generator)
    >>> path(torch.zeros(3, 2), torch.ones(3, 2)).shape
    torch.Size([3, 2, 5])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "n_knots": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like"],
        "n_nodes": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        n_knots: int = 30,
        *,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        n_nodes: int = 4,
        activation: str = "silu",
    ) -> None:
        self.n_knots = n_knots
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_nodes = n_nodes
        self.activation = activation

    def basis(self) -> PathBasis:
        """Return the shapes and the quadrature.

        Returns
        -------
        basis : PathBasis
            In float64, on the CPU.
        """
        return path_basis(self.n_knots, self.n_nodes)

    def build(self, n_features: int, *, generator: Generator) -> nn.Module:
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the points.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : torch.nn.Module
            Of float32 parameters; takes two tensors of shape (n, n_features) to coordinates of
            shape (n, n_features, n_knots).
        """
        self.validate()
        return _PathModule(
            n_features,
            self.n_knots,
            self.hidden_layer_sizes,
            activation=self.activation,
            generator=generator,
        )


class _PathModule(nn.Module):
    """A network whose output weights start small, the smaller the rougher the shape."""

    output_scale = 0.01

    def __init__(
        self,
        n_features: int,
        n_knots: int,
        sizes: Sequence[int],
        *,
        activation: str,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.shape = (n_features, n_knots)
        self.layers = nn.ModuleList(dense_layers(2 * n_features, sizes, activation, generator))
        n_out = n_features * n_knots
        self.output = Dense(sizes[-1], n_out, gain=self.output_scale, generator=generator)
        nn.init.zeros_(self.output.bias)
        # Smooth paths have coordinates that fall about like this.
        self.register_buffer("decay", 1.0 / torch.arange(1, n_knots + 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        h = torch.cat([x, y], dim=1)
        for layer in self.layers:
            h = activation.consume(layer(h))
        return self.output(h).unflatten(1, self.shape) * self.decay
