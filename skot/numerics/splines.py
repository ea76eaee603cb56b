"""Curves between two points as cubic splines, in coordinates that know their kinetic energy.

A curve from x to y is the straight line at constant speed plus a deviation that vanishes at both
ends. Deviations are natural cubic splines. Their coordinates z are chosen such that

    int_0^1 |delta'(t)|^2 dt = |z|^2,

with the smoothest shapes first, close to the sines ``sqrt(2) sin(k pi t) / (k pi)``. A solver that
starts from the identity for a Hessian, and a network that predicts z, both profit.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

#: Nodes in each interval with which the kinetic energy of a cubic spline is exact.
_EXACT_NODES = 3


@dataclass(frozen=True)
class PathBasis:
    """Shapes of deviations from the straight line, at the nodes of a quadrature.

    `times` (n_times,) ascend in [0, 1]; `weights` (n_times,) sum to one, or are zeros for times of
    one's own choice; `position`, `velocity` (n_times, n_knots) are the shapes and their
    derivatives.
    """

    times: Tensor
    weights: Tensor
    position: Tensor
    velocity: Tensor

    @property
    def n_knots(self) -> int:
        """Number of inner knots, and of coordinates for each feature."""
        return self.position.shape[1]

    def at(self, times: Tensor) -> "PathBasis":
        """Evaluate the same shapes at other times (n_times,) in [0, 1]; without weights."""
        position, velocity = _shapes(self.n_knots, times.double().cpu().numpy())
        like = self.position
        return PathBasis(
            times.to(like), torch.zeros_like(times).to(like), *_tensors(like, position, velocity)
        )

    def to(self, like: Tensor) -> "PathBasis":
        """Move to the precision and device of a tensor."""
        names = ("times", "weights", "position", "velocity")
        return replace(self, **{name: getattr(self, name).to(like) for name in names})


def path_basis(n_knots: int, n_nodes: int = 4) -> PathBasis:
    """Shapes of splines with equally spaced knots, and a quadrature in time.

    There are ``(n_knots + 1) * n_nodes`` times. Without inner knots there is nothing but the
    straight line. With 3 or more Gauss-Legendre nodes between two knots the kinetic energy of a
    spline is exact; barriers want a resolution of their own. In float64, on the CPU. Splines for
    the paths: Section 3.2 of Pooladian, Domingo-Enrich, Chen and Amos (2024), Neural optimal
    transport with Lagrangian costs, UAI.
    """
    times, weights = _quadrature(n_knots + 1, n_nodes)
    position, velocity = _shapes(n_knots, times)
    return PathBasis(
        *_tensors(torch.zeros((), dtype=torch.float64), times, weights),
        *_tensors(torch.zeros((), dtype=torch.float64), position, velocity),
    )


def _quadrature(n_intervals: int, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights in each of equal intervals of [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    starts = np.arange(n_intervals)[:, None]
    times = (starts + 0.5 * (nodes + 1.0)) / n_intervals
    return times.ravel(), np.tile(0.5 * weights / n_intervals, n_intervals)


def _shapes(n_knots: int, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and derivatives of the shapes."""
    if n_knots == 0:
        return np.zeros((len(times), 0)), np.zeros((len(times), 0))
    knots = np.linspace(0.0, 1.0, n_knots + 2)
    # One spline a knot, one there and zero at the others: the coordinates are values at the knots.
    cardinal = CubicSpline(knots, np.eye(n_knots + 2)[:, 1:-1], bc_type="natural")
    nodes, weights = _quadrature(n_knots + 1, _EXACT_NODES + 1)
    values, slopes = cardinal(nodes), cardinal(nodes, 1)
    mass = values.T @ (weights[:, None] * values)
    energy = slopes.T @ (weights[:, None] * slopes)
    # Gram matrices E of delta' and M of delta. The pencil M v = mu E v makes E the identity and M
    # diagonal: int |delta'|^2 = |z|^2 and int delta^2 = sum_k mu_k z_k^2, with mu_k falling, about
    # 1 / (k pi)^2. Of unit energy, from the smoothest to the roughest, all of them rising at first.
    modes = scipy.linalg.eigh(mass, energy)[1][:, ::-1]
    modes = modes * np.sign(cardinal(0.0, 1) @ modes)
    return cardinal(times) @ modes, cardinal(times, 1) @ modes


def _tensors(like: Tensor, *arrays: np.ndarray) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(array)).to(like) for array in arrays)
