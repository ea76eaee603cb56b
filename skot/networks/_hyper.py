"""Hyper-networks: networks whose outputs are the weights of another network."""

import copy
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import _Architecture
from skot.networks._chain import Dense
from skot.networks._mlp import dense_layers
from skot.utils._sklearn import StrOptions


class HyperNetwork(_Architecture):
    r"""From the description of a problem to the weights of the network that solves it.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(256, 256, 256)
        Widths of the hidden layers. Between layers of the same width there are shortcuts.
    activation : {"silu", "softplus", "celu", "elu", "leaky_relu"}, default="silu"
        Activation of the hidden layers.

    See Also
    --------
    DeepSets, ResNetEncoder : Make codes of clouds and images.

    Notes
    -----
    With the code z of a problem, the weights of tensor k of the predicted network are

    .. math::

        \theta_k(z) = \theta_k^0 + s_k \, \big( b_k + A_k \, h(z) \big),

    where :math:`\theta^0` are drawn by its architecture and :math:`s_k` is their root mean square
    in tensor k. The learned :math:`b`, zero at first, are shared by all problems, and the
    initial A is small: right after `build` every predicted network is close to a freshly drawn
    one, and steps of an optimizer are relative to the scale of what they change. Weights that must
    not be negative are cut off at zero. This is the hyper-network of [1]_, Section 3.3, with
    another initialisation.

    References
    ----------
    .. [1] Amos, B., Luise, G., Cohen, S. and Redko, I. (2023). Meta optimal transport. ICML.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import ICNN, HyperNetwork
    >>> generator = torch.Generator().manual_seed(0)
    >>> template = ICNN((8, 8)).build(2, generator=generator)
    >>> hyper = HyperNetwork((16,)).build(4, template, generator=generator)
    >>> weights = hyper.unflatten(hyper(torch.zeros(5, 4)))
    >>> weights["root"].shape
    torch.Size([5, 2, 2])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self, hidden_layer_sizes: Sequence[int] = (256, 256, 256), *, activation: str = "silu"
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation

    def build(self, n_inputs: int, template: nn.Module, *, generator: Generator) -> "HyperModule":
        """Draw a module.

        Parameters
        ----------
        n_inputs : int
            Length of the codes.
        template : torch.nn.Module
            A network like those that are predicted; its weights are where they start.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : HyperModule
            Of float32 parameters, on the CPU.

        Raises
        ------
        ValueError
            If `template` has no parameters, or its ``project_`` does something else than to cut
            off negative weights at zero.
        """
        self.validate()
        layers = dense_layers(n_inputs, self.hidden_layer_sizes, self.activation, generator)
        return HyperModule(layers, template, activation=self.activation, generator=generator)


class HyperModule(nn.Module):
    """The module of a hyper-network.

    Parameters
    ----------
    layers : sequence of Dense
        The hidden layers.
    template : torch.nn.Module
        A network like those that are predicted.
    activation : str
        Activation of the hidden layers.
    generator : torch.Generator
        Source of the weights of the last layer.
    """

    #: Spread of the predicted weights at first, in units of those of the template.
    output_scale = 0.03

    def __init__(
        self, layers: Sequence[Dense], template: nn.Module, *, activation: str, generator: Generator
    ) -> None:
        super().__init__()
        self.activation = activation
        named = {name: weights.detach() for name, weights in template.named_parameters()}
        if not named:
            raise ValueError(f"{type(template).__name__} has no weights that could be predicted.")
        self.shapes = {name: weights.shape for name, weights in named.items()}
        self.layers = nn.ModuleList(layers)
        n_weights = sum(shape.numel() for shape in self.shapes.values())
        gain = self.output_scale * ACTIVATIONS[activation].mean_square ** -0.5
        n_hidden = layers[-1].weight.shape[0]
        self.output = Dense(n_hidden, n_weights, gain=gain, generator=generator)
        nn.init.zeros_(self.output.bias)
        scales = [_scale(weights).expand(weights.numel()) for weights in named.values()]
        self.first_weights: Tensor
        self.scales: Tensor
        self.bounded: Tensor
        self.register_buffer("first_weights", torch.cat([w.flatten() for w in named.values()]))
        self.register_buffer("scales", torch.cat(scales))
        self.register_buffer("bounded", _non_negative(template))

    def forward(self, codes: Tensor) -> Tensor:
        """Predict weights.

        Parameters
        ----------
        codes : Tensor of shape (n, n_inputs)
            Descriptions of problems.

        Returns
        -------
        weights : Tensor of shape (n, n_weights)
            All the weights of a network in a row.
        """
        activation = ACTIVATIONS[self.activation]
        h = codes
        for layer in self.layers:
            image = activation.value(layer(h))
            h = image if image.shape != h.shape else (h + image) * 0.5**0.5
        weights = torch.addcmul(self.first_weights, self.scales, self.output(h))
        return torch.where(self.bounded, weights.relu(), weights)

    def unflatten(self, weights: Tensor) -> dict[str, Tensor]:
        """Part rows of weights by the parameters they are of.

        Parameters
        ----------
        weights : Tensor of shape (..., n_weights)
            Weights of networks.

        Returns
        -------
        parameters : dict of str to Tensor
            By the names that the template has, each in its shape there, after the axes of rows.
        """
        sizes = [shape.numel() for shape in self.shapes.values()]
        return {
            name: part.unflatten(-1, shape) if shape else part.squeeze(-1)
            for (name, shape), part in zip(
                self.shapes.items(), weights.split(sizes, dim=-1), strict=True
            )
        }


def _scale(weights: Tensor) -> Tensor:
    """Root mean square of a tensor; one where all is zero, as biases may be."""
    scale = weights.square().mean().sqrt()
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _non_negative(template: nn.Module) -> Tensor:
    """Find the weights that must not be negative: those that ``project_`` moves from -1 to 0."""
    probe = copy.deepcopy(template)
    project = getattr(probe, "project_", None)
    with torch.no_grad():
        for weights in probe.parameters():
            weights.fill_(-1.0)
        if project is not None:
            project()
        projected = torch.cat([weights.flatten() for weights in probe.parameters()])
    if not bool(((projected == -1.0) | (projected == 0.0)).all()):
        raise ValueError(
            f"The weights of {type(template).__name__} cannot be predicted: its project_ does "
            "something else than to cut off negative weights at zero."
        )
    return projected == 0.0
