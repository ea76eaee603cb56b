"""A penalty on the slope of a potential."""

from numbers import Real
from typing import Any, ClassVar

from torch import Tensor

from skot.base import Component
from skot.numerics.value_and_gradient import value_and_gradient
from skot.utils._sklearn import Interval


class GradientPenalty(Component):
    r"""Mean squared gradient of the potential in target rows, :math:`w \, E_y |\nabla g(y)|^2`.

    It keeps a potential from growing steep where maximin training would otherwise oscillate [1]_,
    at the price of a bias.

    Parameters
    ----------
    weight : float, default=0.01
        The weight w, at least 0.

    References
    ----------
    .. [1] Mescheder, L., Geiger, A., Nowozin, S. (2018). Which training methods for GANs do
       actually converge? ICML, Equation 9.

    Examples
    --------
    >>> import torch
    >>> from skot.losses import GradientPenalty
    >>> def square(y):
    ...     return y.square().sum(dim=1)
    >>> GradientPenalty(weight=0.5).evaluate(square, torch.ones(3, 2)).item()
    4.0
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "weight": [Interval(Real, 0, None, closed="left")]
    }

    def __init__(self, weight: float = 0.01):
        self.weight = weight

    def evaluate(self, potential: Any, y: Tensor) -> Tensor:
        """Return the penalty.

        Parameters
        ----------
        potential : torch.nn.Module or callable
            The potential g.
        y : Tensor of shape (n, n_features)
            Target rows.

        Returns
        -------
        penalty : Tensor of shape ()
            Differentiable in the parameters of the potential.
        """
        return self.weight * value_and_gradient(potential, y)[1].square().sum(dim=1).mean()
