"""Pairs of samples with something between them, and the Lagrangians that go with them."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skot.costs import (
    BoxObstacle,
    CircleMetric,
    DiskObstacles,
    HarmonicWell,
    HillObstacle,
    KineticPotential,
    Lagrangian,
    Maze,
    RiemannianKinetic,
    SlitObstacle,
    STunnel,
    VNeck,
)
from skot.datasets._generated import check_sizes, make_eight_gaussians_pair
from skot.utils._sklearn import Interval, StrOptions, validate_params

_POTENTIALS: dict[str, Callable[[], Any]] = {
    "box": BoxObstacle,
    "slit": SlitObstacle,
    "hill": HillObstacle,
    "well": HarmonicWell,
    "gaussian_mixture": DiskObstacles,
    "v_neck": VNeck,
    "s_tunnel": STunnel,
    "maze": Maze,
}
# Mean of the source, mean of the target, standard deviation of both.
_GAUSSIANS = {
    "v_neck": ((-7.0, 0.0), (7.0, 0.0), 0.04),
    "s_tunnel": ((-11.0, -1.0), (11.0, -1.0), 0.25),
    "circle": ((-1.0, 0.0), (1.0, 0.0), 0.09),
}
_NAME = [StrOptions({*_POTENTIALS, "circle"})]


@validate_params(
    {
        "obstacle": _NAME,
        "n_samples": [Interval(Integral, 1, None, closed="left"), tuple],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_obstacle_pair(
    obstacle: str = "box",
    n_samples: int | tuple[int, int] = 200,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw from the two sides of an obstacle in the plane.

    Parameters
    ----------
    obstacle : str, default="box"
        What is between the two: ``"box"``, ``"slit"``, ``"hill"``, ``"well"`` [1]_, ``"maze"``
        (uniform on strips, [-1.25, -1] x [-1, 1] and [1, 1.25] x [-1, 1]);
        ``"gaussian_mixture"`` (the standard Gaussian, and eight of them on a circle of radius 16
        around it), ``"v_neck"``, ``"s_tunnel"`` [2]_ (narrow Gaussians at (-7, 0) and (7, 0), at
        (-11, -1) and (11, -1)); ``"circle"`` (narrow Gaussians at (-1, 0) and (1, 0), for a
        metric under which motion along circles is cheap [3]_).
    n_samples : int or tuple of two int, default=200
        The number of rows of each sample, or of the source and of the target.
    random_state : int, RandomState instance or None, default=None
        The seed, or the generator that is drawn from.

    Returns
    -------
    X : ndarray of shape (n_source, 2)
        The source sample.
    Y : ndarray of shape (n_target, 2)
        The target sample.

    Raises
    ------
    ValueError
        If a parameter is invalid.

    See Also
    --------
    obstacle_lagrangian : The Lagrangian of the same name.

    References
    ----------
    .. [1] Koshizuka, T. and Sato, I. (2023). Neural Lagrangian Schrödinger bridge: diffusion
       modeling for population dynamics. ICLR.
    .. [2] Liu, G.-H., Chen, T., So, O. and Theodorou, E. A. (2022). Deep generalized Schrödinger
       bridge. NeurIPS.
    .. [3] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI.

    Examples
    --------
    >>> from skot.datasets import make_obstacle_pair
    >>> X, Y = make_obstacle_pair("slit", (100, 50), random_state=0)
    >>> X.shape, Y.shape
    ((100, 2), (50, 2))
    """
    n_source, n_target = check_sizes(n_samples)
    rng = check_random_state(random_state)
    if obstacle == "gaussian_mixture":
        return make_eight_gaussians_pair(
            (n_source, n_target), radius=16.0, noise=1.0, random_state=rng
        )
    if obstacle in _GAUSSIANS:
        source, target, deviation = _GAUSSIANS[obstacle]
        X = source + deviation * rng.standard_normal((n_source, 2))
        return X, target + deviation * rng.standard_normal((n_target, 2))
    X = rng.uniform((-1.25, -1.0), (-1.0, 1.0), (n_source, 2))
    return X, rng.uniform((1.0, -1.0), (1.25, 1.0), (n_target, 2))


@validate_params({"obstacle": _NAME}, prefer_skip_nested_validation=True)
def obstacle_lagrangian(obstacle: str = "box") -> Lagrangian:
    """Lagrangian that goes with a pair of `make_obstacle_pair`, with its usual strength.

    Parameters
    ----------
    obstacle : str, default="box"
        As in `make_obstacle_pair`.

    Returns
    -------
    lagrangian : Lagrangian
        A `KineticPotential`; for ``"circle"`` a `RiemannianKinetic`.

    Raises
    ------
    ValueError
        If there is no obstacle of that name.

    See Also
    --------
    make_obstacle_pair : The samples.

    Examples
    --------
    >>> from skot.datasets import obstacle_lagrangian
    >>> obstacle_lagrangian("slit")
    KineticPotential(potential=SlitObstacle())
    """
    if obstacle == "circle":
        return RiemannianKinetic(CircleMetric())
    return KineticPotential(_POTENTIALS[obstacle]())
