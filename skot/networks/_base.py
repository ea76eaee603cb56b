"""What potentials and maps are: components that build modules, and what the modules can do.

A component holds the hyper-parameters of an architecture and no weights; ``build`` draws a module
from an explicit generator. A user's own architecture is any object with
``build(n_features, *, generator)`` whose module maps rows to numbers (a potential) or rows to rows
(a map); the methods beyond ``forward`` make it faster or better initialised, and may be missing.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from torch import Generator, Tensor, nn

from skot.base import Component
from skot.utils._sklearn import InvalidParameterError


class PotentialModule(nn.Module):
    """Base class of the modules of potentials: row-wise, differentiable, of any float dtype.

    Notes
    -----
    A module of this class has a hand-written `value_and_gradient`. A module that has only
    ``forward`` should derive from `torch.nn.Module` directly: automatic differentiation is used
    for it then.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the potential.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Points.

        Returns
        -------
        values : Tensor of shape (n,)
            ``f(x[i])``.
        """
        raise NotImplementedError

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the potential and its gradient, written out by hand.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Points.

        Returns
        -------
        values : Tensor of shape (n,)
            ``f(x[i])``.
        gradients : Tensor of shape (n, n_features)
            The gradient of f in ``x[i]``. Where gradients are enabled, both can be differentiated
            with respect to the parameters and `x`; under `torch.no_grad` no graph is made.
        """
        raise NotImplementedError

    def project_(self) -> None:
        """Move the parameters back to where they are allowed, in place; none are forbidden here."""

    def precondition_(self, whitening: Tensor, original: Tensor) -> None:
        """Choose the coordinates in which the hidden layers read points, in place.

        The quadratic term is not touched. Here nothing is done; networks of dense layers take the
        first matrix, those that read images the second.

        Parameters
        ----------
        whitening : Tensor of shape (n_features, n_features)
            Rows times this matrix have about unit covariance.
        original : Tensor of shape (n_features, n_features)
            Rows times this matrix are as in the data, up to a shift and a scale.
        """


class MapModule(nn.Module):
    """Base class of the modules of maps: row-wise, differentiable, of any float dtype."""

    def forward(self, x: Tensor) -> Tensor:
        """Image of every row.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Points.

        Returns
        -------
        image : Tensor of shape (n, n_features)
            Images of the points.
        """
        raise NotImplementedError

    def project_(self) -> None:
        """Move the parameters back to where they are allowed, in place; none are forbidden here."""

    def precondition_(self, whitening: Tensor, spread: Tensor) -> None:
        """Choose the coordinates in which the hidden layers read and write points, in place.

        The linear term is not touched. Here nothing is done.

        Parameters
        ----------
        whitening : Tensor of shape (n_features, n_features)
            Rows times this matrix have about unit covariance.
        spread : Tensor of shape (n_features, n_features)
            Rows of unit covariance times this matrix are spread like the images.
        """


class _Architecture(Component):
    """Checks that potentials and maps share."""

    def validate(self) -> None:
        super().validate()
        for name, value in self.get_params(deep=False).items():
            if name in _SIZES and value is not None:
                _check_sizes(value, name, type(self).__name__)


class Potential(_Architecture):
    """Base class of the architectures of potentials.

    A subclass stores its hyper-parameters in ``__init__`` and implements :meth:`build`.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import Potential
    >>> class Quadratic(Potential):
    ...     def build(self, n_features, *, generator):
    ...         module = torch.nn.Module()
    ...         module.root = torch.nn.Parameter(torch.eye(n_features))
    ...         module.forward = lambda x: 0.5 * (x @ module.root).square().sum(1)
    ...         return module
    >>> Quadratic().build(2, generator=torch.Generator())(torch.tensor([[1.0, 2.0]]))
    tensor([2.5000], grad_fn=<MulBackward0>)
    """

    @property
    def has_quadratic_term(self) -> bool:
        """Whether it grows quadratically away from the data."""
        return False

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
            Of float32 parameters, on the CPU: see `PotentialModule`.
        """
        raise NotImplementedError


class Map(_Architecture):
    """Base class of the architectures of maps from rows to rows of the same width.

    A subclass stores its hyper-parameters in ``__init__`` and implements :meth:`build`.
    """

    #: Whether features are pixels, which a linear change of coordinates must not mix.
    reads_images: bool = False

    @property
    def takes_noise(self) -> bool:
        """Whether the module takes noise too, and gives every row several images."""
        return False

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
            Of float32 parameters, on the CPU: see `MapModule`. If it `takes_noise`, it has the
            attribute ``n_noise_features``, and ``forward(x, z)`` takes noise of shape
            (n, n_samples, n_noise_features) to images of shape (n, n_samples, n_features).
        """
        raise NotImplementedError


#: Parameters that are tuples of sizes.
_SIZES = ("hidden_layer_sizes", "channels", "image_shape")


def _check_sizes(value: Sequence[Any], name: str, owner: str) -> None:
    sizes = list(value)
    if not sizes or not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        raise InvalidParameterError(
            f"The {name!r} parameter of {owner} must hold positive integers. Got {value!r} instead."
        )
