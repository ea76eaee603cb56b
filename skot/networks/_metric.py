"""A Riemannian metric with fixed eigenvalues whose eigenvectors are learned."""

from collections.abc import Sequence
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS
from skot.networks._base import _Architecture
from skot.networks._chain import Dense
from skot.networks._mlp import dense_layers
from skot.numerics.spectral import spectral_map
from skot.utils._sklearn import Interval, InvalidParameterError, StrOptions

#: The cheap direction of the default eigenvalues; the others cost 1.
_CHEAP = 0.1


class NeuralMetric(_Architecture):
    r"""Metric :math:`A(x) = Q(x) \Lambda Q(x)^\top` with fixed eigenvalues :math:`\Lambda`.

    The columns of Q are the eigenvectors of a symmetric matrix that a network predicts from x,
    both in ascending order. So the eigenvectors may be any field of directions: one without
    continuous signs, one that turns around a point.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(192, 192)
        Widths of the hidden layers. Wide ones have little preference for a direction, and go on
        smoothly where there are no data.
    activation : {"softplus", "celu", "elu", "silu", "leaky_relu"}, default="silu"
        Activation of the hidden layers.
    eigenvalues : array-like of float of shape (n_features,), default=None
        Eigenvalues of A, positive. None means one cheap direction: (0.1, 1, ..., 1).
    gauge : float, default=0.04
        Weight of the penalty that keeps the predicted matrix at unit size where paths pass, in
        training. A does not depend on that size, but its continuation to other places does.

    See Also
    --------
    skot.LagrangianMetricLearner : Learns it from populations in sequence.
    skot.costs.RiemannianKinetic : The Lagrangian of a metric.

    Notes
    -----
    Directions are not defined where eigenvalues of the predicted matrix meet: gradients are damped
    there. In two dimensions the matrix has two free entries, which point along the double angle of
    its eigenvector. The published model is a rotation by a learned angle [1]_, which cannot turn
    around a point.

    References
    ----------
    .. [1] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import NeuralMetric
    >>> metric = NeuralMetric((8,)).build(3, generator=torch.Generator().manual_seed(0))
    >>> matrices = metric(torch.randn(5, 3, generator=torch.Generator().manual_seed(1)))
    >>> torch.linalg.eigvalsh(matrices)[0].detach().round(decimals=2)
    tensor([0.1000, 1.0000, 1.0000])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "eigenvalues": ["array-like", None],
        "gauge": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (192, 192),
        *,
        activation: str = "silu",
        eigenvalues: Sequence[float] | None = None,
        gauge: float = 0.04,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.eigenvalues = eigenvalues
        self.gauge = gauge

    def build(self, n_features: int, *, generator: Generator) -> "MetricModule":
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the points.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : MetricModule
            Of float32 parameters, on the CPU.

        Raises
        ------
        InvalidParameterError
            If `eigenvalues` has another length, or not only positive numbers.
        """
        self.validate()
        return MetricModule(
            self._check_eigenvalues(n_features),
            _orthogonal(
                dense_layers(n_features, self.hidden_layer_sizes, self.activation, generator),
                generator,
            ),
            activation=self.activation,
            gauge=float(self.gauge),
            generator=generator,
        )

    def _check_eigenvalues(self, n_features: int) -> np.ndarray:
        if self.eigenvalues is None:
            return np.array([_CHEAP, *(n_features - 1) * [1.0]])
        try:
            eigenvalues = np.asarray(self.eigenvalues, dtype=np.float64)
        except (TypeError, ValueError):
            eigenvalues = np.full(0, np.nan)
        positive = np.isfinite(eigenvalues).all() and (eigenvalues > 0).all()
        if eigenvalues.shape != (n_features,) or not positive:
            raise InvalidParameterError(
                f"The 'eigenvalues' parameter of NeuralMetric must hold {n_features} positive "
                f"numbers, one for each feature: the metric would not be positive definite "
                f"otherwise. Got {self.eigenvalues!r} instead."
            )
        return np.sort(eigenvalues)


class MetricModule(nn.Module):
    """A metric that a network computes; differentiable, of any float dtype.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n_features,)
        Eigenvalues of the metric, ascending.
    layers : sequence of Dense
        Hidden layers.
    activation : str
        Name of the activation.
    gauge : float
        Weight of the penalty of `energy_and_penalty`.
    generator : torch.Generator
        Source of the output weights.
    """

    #: Scale of the output weights: small, so that little of the first draw is left where there
    #: are no data.
    output_scale = 0.03
    #: Gap between eigenvalues of the predicted matrix below which those of the metric blend.
    smallest_gap = 1e-3

    eigenvalues: Tensor
    center: Tensor
    scale: Tensor

    def __init__(
        self,
        eigenvalues: np.ndarray,
        layers: Sequence[Dense],
        *,
        activation: str,
        gauge: float,
        generator: Generator,
    ) -> None:
        super().__init__()
        n_features = len(eigenvalues)
        self.activation = activation
        self.gauge = gauge
        self.layers = nn.ModuleList(layers)
        self.output = Dense(
            len(layers[-1].bias),
            _n_entries(n_features),
            gain=self.output_scale,
            generator=generator,
        )
        nn.init.zeros_(self.output.bias)
        self.register_buffer("eigenvalues", torch.tensor(eigenvalues, dtype=torch.float32))
        self.register_buffer("center", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(()))

    def standardize_(self, points: Tensor) -> None:
        """Let the hidden layers read points relative to those of a sample, in place.

        Parameters
        ----------
        points : Tensor of shape (n, n_features)
            The sample. One scale is taken for all features.
        """
        center = points.mean(0)
        scale = (points - center).square().mean().sqrt()
        self.center = center.to(self.center)
        self.scale = torch.where(scale > 0, scale, torch.ones_like(scale)).to(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Matrix of the metric at each point.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Points.

        Returns
        -------
        matrix : Tensor of shape (..., n_features, n_features)
            Symmetric positive definite.
        """
        return self._matrix(self._entries(x))

    def quadratic_form(self, x: Tensor, v: Tensor) -> Tensor:
        """Squared length of each velocity.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Points.
        v : Tensor of shape (..., n_features)
            Velocities.

        Returns
        -------
        value : Tensor of shape (...,)
            ``v' A(x) v``.
        """
        return self._quadratic_form(self._entries(x), v)

    def energy_and_penalty(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """What training minimises, in one pass through the network.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Points.
        v : Tensor of shape (n, n_features)
            Velocities.

        Returns
        -------
        energy : Tensor of shape ()
            Mean of ``v' A(x) v / 2``.
        penalty : Tensor of shape ()
            What is added to the energy in units of that under the identity.
        """
        entries = self._entries(x)
        penalty = self.gauge * (entries.square().sum(-1) - 1.0).square().mean()
        return 0.5 * self._quadratic_form(entries, v).mean(), penalty

    def _entries(self, x: Tensor) -> Tensor:
        """Free entries of a symmetric matrix: see `_matrix`."""
        activation = ACTIVATIONS[self.activation]
        h = ((x.to(self.center) - self.center) / self.scale).reshape(-1, x.shape[-1])
        for layer in self.layers:
            h = activation.consume(layer(h))
        return self.output(h).reshape(*x.shape[:-1], -1).to(x)

    def _quadratic_form(self, entries: Tensor, v: Tensor) -> Tensor:
        if len(self.eigenvalues) != 2:
            return ((self._matrix(entries) @ v.unsqueeze(-1)).squeeze(-1) * v).sum(-1)
        # Without the matrix, a small one for every point of every curve. With the double angle
        # (c, s) of the cheap direction it is mean |v|^2 - half_gap (c (v0^2 - v1^2) + 2 s v0 v1).
        mean, half_gap = self._mean_and_half_gap()
        twice = self._double_angle(entries)
        v0, v1 = v.unbind(-1)
        squares = v0 * v0, v1 * v1
        twist = twice[..., 0] * (squares[0] - squares[1]) + twice[..., 1] * (2.0 * v0 * v1)
        return mean * (squares[0] + squares[1]) - half_gap * twist

    def _matrix(self, entries: Tensor) -> Tensor:
        """Metric whose eigenvectors are those of a matrix, given by its free entries.

        In two dimensions they are the double angle of the direction with the lower eigenvalue,
        which is all that a matrix without trace can say; otherwise the upper triangle.
        """
        n_features = len(self.eigenvalues)
        if n_features != 2:
            matrix = _symmetric(entries, n_features)
            return spectral_map(matrix, self.eigenvalues, self.smallest_gap)
        mean, half_gap = self._mean_and_half_gap()
        e0, e1 = (half_gap * self._double_angle(entries)).unbind(-1)
        return torch.stack([mean - e0, -e1, -e1, mean + e0], -1).unflatten(-1, (2, 2))

    def _mean_and_half_gap(self) -> tuple[float, float]:
        low, high = self.eigenvalues.tolist()
        return 0.5 * (low + high), 0.5 * (high - low)

    def _double_angle(self, entries: Tensor) -> Tensor:
        # Of length one but near zero, where the direction is not defined: there the eigenvalues
        # blend to their mean, and the gradient stays finite.
        squares = entries.square().sum(-1, keepdim=True)
        return entries * (squares + self.smallest_gap**2).rsqrt()


def _orthogonal(layers: list[Dense], generator: Generator) -> list[Dense]:
    """Redraw weights with orthogonal rows or columns, of the same size.

    All directions weigh the same then, and what a network makes of regular data is regular.
    """
    for layer in layers:
        size = layer.weight.detach().square().mean().sqrt()
        nn.init.orthogonal_(layer.weight, generator=generator)
        with torch.no_grad():
            layer.weight.mul_(size * max(layer.weight.shape) ** 0.5)
    return layers


def _n_entries(n_features: int) -> int:
    return 2 if n_features == 2 else n_features * (n_features + 1) // 2


def _symmetric(entries: Tensor, n: int) -> Tensor:
    """Symmetric matrices from upper triangles, whose Frobenius norm is that of the entries."""
    row, column = torch.triu_indices(n, n, device=entries.device)
    position = torch.empty(n, n, dtype=torch.long, device=entries.device)
    position[row, column] = position[column, row] = torch.arange(len(row), device=entries.device)
    off_diagonal = torch.full((n, n), 0.5**0.5, dtype=entries.dtype, device=entries.device)
    off_diagonal.fill_diagonal_(1.0)
    return entries[..., position] * off_diagonal
