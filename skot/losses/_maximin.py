"""The two losses of maximin training: of the map, and of the potential."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from skot.numerics.value_and_gradient import value_and_gradient


def potential_values(module: Any, y: Tensor, *, coefficient: float) -> Tensor:
    r"""Evaluate the potential :math:`g(y) = c |y|^2 / 2 - \psi(y)` of the target.

    For the quadratic cost, where c = 1, :math:`\psi` is the potential of Brenier's theorem: what
    networks of potentials start from, half a square, belongs to the identity map.

    Parameters
    ----------
    module : torch.nn.Module or callable
        The function :math:`\psi`, from (n, n_features) to (n,).
    y : Tensor of shape (n, n_features)
        Points.
    coefficient : float
        The coefficient c of :math:`|y|^2 / 2` in the cost.

    Returns
    -------
    values : Tensor of shape (n,)
        Differentiable in `y` and in the parameters of the module.
    """
    return 0.5 * coefficient * y.square().sum(dim=-1) - module(y)


def maximin_map_loss(
    cost: Callable[[Tensor, Tensor], Tensor],
    module: Any,
    x: Tensor,
    images: Tensor,
    *,
    coefficient: float = 0.0,
) -> Tensor:
    r"""Compute the loss of the map, :math:`E_x [C(x, T(x, \cdot)) - E_z \, g(T(x, z))]`.

    Parameters
    ----------
    cost : callable
        Takes `x` and ``images`` to the cost of each row, such as
        :meth:`skot.losses.WeakCost.evaluate`.
    module : torch.nn.Module or callable
        The potential; see :func:`potential_values`.
    x : Tensor of shape (n, n_features)
        Source rows.
    images : Tensor of shape (n, n_samples, n_features)
        Images of the rows, with their graph to the map.
    coefficient : float, default=0.0
        The coefficient c of :func:`potential_values`.

    Returns
    -------
    loss : Tensor of shape ()
        Of the right gradient in the images; its value lacks that of the potential.

    Notes
    -----
    The potential is linearised about the images: one evaluation of its gradient without a graph,
    instead of a pass back through it.

    References
    ----------
    .. [1] Korotin, A., Selikhanovych, D., Burnaev, E. (2023). Neural optimal transport. ICLR,
       Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from skot.losses import WeakQuadratic, maximin_map_loss
    >>> x = torch.zeros(2, 1)
    >>> images = torch.ones(2, 1, 1, requires_grad=True)
    >>> cost = WeakQuadratic(gamma=0.0).evaluate
    >>> loss = maximin_map_loss(cost, lambda y: 0.5 * y.square().sum(1), x, images)
    >>> torch.autograd.grad(loss, images)[0].flatten()  # (y - x + y) / 2
    tensor([1., 1.])
    """
    points = images.detach().flatten(0, 1)
    with torch.no_grad():
        slope = value_and_gradient(module, points)[1] - coefficient * points
    linear = (slope.view_as(images) * images).sum(dim=2).mean()
    return cost(x, images).mean() + linear


def maximin_dual(module: Any, y: Tensor, images: Tensor, *, coefficient: float = 0.0) -> Tensor:
    r"""Compute what the potential is trained to increase, :math:`E_y \, g(y) - E \, g(T)`.

    Parameters
    ----------
    module : torch.nn.Module or callable
        The potential; see :func:`potential_values`.
    y : Tensor of shape (m, n_features)
        Target rows.
    images : Tensor of shape (n, n_samples, n_features)
        Images of source rows.
    coefficient : float, default=0.0
        The coefficient c of :func:`potential_values`.

    Returns
    -------
    dual : Tensor of shape ()
        With the mean cost of the images added, the value of the maximin objective.

    References
    ----------
    .. [1] Korotin, A., Selikhanovych, D., Burnaev, E. (2023). Neural optimal transport. ICLR,
       Equation 10.

    Examples
    --------
    >>> import torch
    >>> from skot.losses import maximin_dual
    >>> maximin_dual(lambda y: y.sum(1), torch.ones(2, 1), torch.zeros(3, 1, 1))
    tensor(-1.)
    """
    points = torch.cat([y, images.flatten(0, 1)])
    values = potential_values(module, points, coefficient=coefficient)
    return values[: len(y)].mean() - values[len(y) :].mean()
