"""The action of curves under a Lagrangian."""

from collections.abc import Callable

import torch
from torch import Tensor

from skot.numerics.splines import PathBasis


def curve(x: Tensor, y: Tensor, z: Tensor, basis: PathBasis) -> tuple[Tensor, Tensor]:
    r"""Positions and velocities of curves from x to y (n, d), both of shape (n, n_times, d).

    .. math:: \gamma(t) = (1 - t) x + t y + \sum_k z_k \delta_k(t), \quad z: (n, d, n_{knots})
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
    r"""Integrate a Lagrangian along curves from x to y (n, d) with coordinates z (n, d, n_knots).

    .. math:: S(\gamma) = \int_0^1 L(\gamma(t), \gamma'(t), t) \, dt

    Shape (n,), differentiable in x, y and z; equation 4 of Pooladian et al. (2024), Neural optimal
    transport with Lagrangian costs, UAI. L takes positions, velocities (n, n_times, d) and times.
    """
    positions, velocities = curve(x, y, z, basis)
    return lagrangian(positions, velocities, basis.times) @ basis.weights
