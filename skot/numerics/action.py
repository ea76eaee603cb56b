"""The action of curves under a Lagrangian."""

from collections.abc import Callable

import torch
from torch import Tensor

from skot.numerics.splines import PathBasis


def curve(x: Tensor, y: Tensor, z: Tensor, basis: PathBasis) -> tuple[Tensor, Tensor]:
    r"""Return points and velocities of curves from x to y.

    .. math:: \gamma(t) = (1 - t) x + t y + \sum_k z_k \delta_k(t)

    Parameters
    ----------
    x, y : Tensor of shape (n, n_features)
        Where the curves start and end.
    z : Tensor of shape (n, n_features, n_knots)
        Coordinates of the deviations from the straight line.
    basis : PathBasis
        The shapes and the times.

    Returns
    -------
    positions, velocities : Tensor of shape (n, n_times, n_features)
        At the times of the basis. Memory O(n * n_times * n_features).

    Examples
    --------
    >>> import torch
    >>> from skot.numerics.action import curve
    >>> from skot.numerics.splines import path_basis
    >>> x, y, z = torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(1, 2, 3)
    >>> basis = path_basis(3).at(torch.tensor([0.0, 0.5, 1.0])).to(x)
    >>> curve(x, y, z, basis)[0]
    tensor([[[0.0000, 0.0000],
             [0.5000, 0.5000],
             [1.0000, 1.0000]]])
    """
    chord = (y - x)[:, :, None]
    positions = torch.addcmul(x[:, :, None], chord, basis.times)
    if basis.n_knots == 0:
        velocities = chord.expand(positions.shape)
        return positions.transpose(1, 2), velocities.transpose(1, 2)
    positions = positions + z @ basis.position.T
    velocities = chord + z @ basis.velocity.T
    return positions.transpose(1, 2), velocities.transpose(1, 2)


def action(
    lagrangian: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    z: Tensor,
    basis: PathBasis,
) -> Tensor:
    r"""Integrate a Lagrangian along curves.

    .. math:: S(\gamma) = \int_0^1 L(\gamma(t), \gamma'(t), t) \, dt

    Parameters
    ----------
    lagrangian : callable
        L, called with positions and velocities of shape (n, n_times, n_features) and times of
        shape (n_times,).
    x, y : Tensor of shape (n, n_features)
        Where the curves start and end.
    z : Tensor of shape (n, n_features, n_knots)
        Coordinates of the deviations from the straight line.
    basis : PathBasis
        The shapes and the quadrature.

    Returns
    -------
    action : Tensor of shape (n,)
        One number a curve, differentiable in `x`, `y` and `z`.

    References
    ----------
    .. [1] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI, equation 4.

    Examples
    --------
    >>> import torch
    >>> from skot.numerics.action import action
    >>> from skot.numerics.splines import path_basis
    >>> def kinetic(x, v, t):
    ...     return 0.5 * v.square().sum(-1)
    >>> x, y, z = torch.zeros(1, 2), torch.ones(1, 2), torch.full((1, 2, 3), 0.5)
    >>> action(kinetic, x, y, z, path_basis(3).to(x))  # |y - x|^2 / 2 + |z|^2 / 2
    tensor([1.7500])
    """
    positions, velocities = curve(x, y, z, basis)
    return lagrangian(positions, velocities, basis.times) @ basis.weights
