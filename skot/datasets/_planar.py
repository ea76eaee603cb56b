"""Distributions in the plane: sampling, log-density and entropy."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skot.datasets._generated import check_sizes
from skot.datasets._planar_distributions import DISTRIBUTIONS
from skot.utils._sklearn import Interval, StrOptions, validate_params
from skot.utils.tensors import to_numpy
from skot.utils.validation import check_points

# The distance of the nodes on the longest curve.
_LEAST_NOISE = 0.04
_NAME = [StrOptions(set(DISTRIBUTIONS))]
_NOISE = [Interval(Real, 0, None, closed="left"), None]


@validate_params(
    {
        "name": _NAME,
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "noise": _NOISE,
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_planar_sample(
    name: str,
    n_samples: int = 1000,
    *,
    noise: float | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> np.ndarray:
    """Draw independent points of a distribution in the plane.

    All are about as wide as the standard normal law: the standard deviation per coordinate, over
    both together, is between 0.7 and 1.2.

    =========================  =============================================  =====
    name                       distribution                                   noise
    =========================  =============================================  =====
    ``gaussian``               standard normal                                none
    ``eight_gaussians``        Gaussians on a circle of radius 1.4            0.1
    ``square_corners``         Gaussians at the corners of a square           0.15
                               of side 2.2
    ``square_corners_center``  the same, and one at the centre                0.15
    ``square_sides``           Gaussians at the middles of its sides          0.15
    ``circles``                circles of radius 0.85 and 1.7                 0.1
    ``rings``                  circles of radius 0.5, 1, 1.5 and 2            0.05
    ``moons``                  two half circles of radius 1.4                 0.1
    ``s_curve``                two arcs of 270 degrees, radius 0.9            0.1
    ``swiss_roll``             a spiral of one turn and a half                0.1
    ``checkerboard``           uniform on 8 of the 16 unit squares in         none
                               [-2, 2]^2
    ``five_squares``           uniform on the 5 black unit squares in         none
                               [-1.5, 1.5]^2
    ``four_squares``           uniform on the 4 white ones                    none
    ``maf_moon``               y is standard normal, x is normal around       none
                               y^2 / 2 with standard deviation 0.5
    =========================  =============================================  =====

    Parameters
    ----------
    name : str
        A name of the table. Branches of a distribution weigh the same, and positions on a
        branch are uniform in its angle.
    n_samples : int, default=1000
        Number of rows.
    noise : float, default=None
        Standard deviation of the Gaussian noise in each coordinate. None is that of the table.
    random_state : int, RandomState instance or None, default=None
        The seed, or the generator that is drawn from.

    Returns
    -------
    X : ndarray of shape (n_samples, 2)
        The sample.

    Raises
    ------
    ValueError
        If a parameter is invalid, or `noise` is given for a distribution without.

    See Also
    --------
    make_planar_pair : Two of them, as a transport problem.
    planar_entropy, planar_log_density : The truth to compare a fitted density with.

    References
    ----------
    .. [1] Makkuva, A., Taghvaei, A., Oh, S., Lee, J. (2020). Optimal transport mapping via input
       convex neural networks. ICML, section 4.
    .. [2] Papamakarios, G., Pavlakou, T., Murray, I. (2017). Masked autoregressive flow for
       density estimation. NeurIPS, figure 1.
    .. [3] Grathwohl, W., Chen, R. T. Q., Bettencourt, J., Sutskever, I., Duvenaud, D. (2019).
       FFJORD. ICLR, section 4.1.

    Examples
    --------
    >>> from skot.datasets import make_planar_sample
    >>> make_planar_sample("swiss_roll", 300, random_state=0).shape
    (300, 2)
    """
    distribution, noise = _resolve(name, noise)
    return distribution.sample(n_samples, noise, check_random_state(random_state))


@validate_params(
    {
        "source": _NAME,
        "target": _NAME,
        "n_samples": [Interval(Integral, 1, None, closed="left"), tuple],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_planar_pair(
    source: str = "gaussian",
    target: str = "eight_gaussians",
    n_samples: int | tuple[int, int] = 1000,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw from two distributions in the plane.

    Pairs that are common in the literature:

    =========================  ===================
    source                     target
    =========================  ===================
    ``gaussian``               ``eight_gaussians``
    ``five_squares``           ``four_squares``
    ``square_corners_center``  ``square_sides``
    ``square_corners``         ``square_sides``
    ``gaussian``               ``swiss_roll``
    ``maf_moon``               ``rings``
    ``circles``                ``moons``
    ``s_curve``                ``moons``
    ``moons``                  ``checkerboard``
    =========================  ===================

    Parameters
    ----------
    source, target : str, default="gaussian" and "eight_gaussians"
        Names of the table in :func:`make_planar_sample`.
    n_samples : int or tuple of two int, default=1000
        Number of rows of each sample, or of the source and of the target.
    random_state : int, RandomState instance or None, default=None
        The seed, or the generator that is drawn from.

    Returns
    -------
    X : ndarray of shape (n_source, 2)
        The source sample.
    Y : ndarray of shape (n_target, 2)
        The target sample, independent of `X`.

    Raises
    ------
    ValueError
        If a parameter is invalid.

    Examples
    --------
    >>> from skot.datasets import make_planar_pair
    >>> X, Y = make_planar_pair("maf_moon", "rings", (100, 200), random_state=0)
    >>> X.shape, Y.shape
    ((100, 2), (200, 2))
    """
    n_source, n_target = check_sizes(n_samples)
    rng = check_random_state(random_state)
    return (
        make_planar_sample(source, n_source, random_state=rng),
        make_planar_sample(target, n_target, random_state=rng),
    )


@validate_params({"name": _NAME, "noise": _NOISE}, prefer_skip_nested_validation=True)
def planar_log_density(name: str, X: Any, *, noise: float | None = None) -> np.ndarray:
    """Evaluate the log-density of a distribution in the plane.

    Parameters
    ----------
    name : str
        A name of the table in :func:`make_planar_sample`.
    X : array-like of shape (n_samples, 2)
        Points.
    noise : float, default=None
        As in :func:`make_planar_sample`, but at least 0.04.

    Returns
    -------
    log_density : ndarray of shape (n_samples,)
        In nats; minus infinity where there is no mass.

    Raises
    ------
    ValueError
        If a parameter is invalid, or the noise is too small.

    Notes
    -----
    A curve with noise is a mixture of Gaussians along the curve, and is computed as one of 512
    components at the nodes of a Gauss-Legendre rule.

    Examples
    --------
    >>> from skot.datasets import planar_log_density
    >>> planar_log_density("checkerboard", [[-1.5, -1.5], [-1.5, -0.5]])  # log 8, and no mass
    array([-2.079..., -inf])
    """
    distribution, noise = _resolve(name, noise)
    _check_smooth(noise)
    X = to_numpy(check_points(X)).astype(np.float64)
    if X.shape[1] != 2:
        raise ValueError(f"X has {X.shape[1]} features, but 2 are expected.")
    blocks = [X[start : start + 2000] for start in range(0, len(X), 2000)]
    return np.concatenate([distribution.log_density(block, noise) for block in blocks])


@validate_params({"name": _NAME, "noise": _NOISE}, prefer_skip_nested_validation=True)
def planar_entropy(name: str, *, noise: float | None = None) -> float:
    r"""Return the differential entropy of a distribution in the plane.

    It is the highest mean log-likelihood that a density estimate can reach, with the sign
    changed.

    Parameters
    ----------
    name : str
        A name of the table in :func:`make_planar_sample`.
    noise : float, default=None
        As in :func:`make_planar_sample`, but at least 0.04.

    Returns
    -------
    entropy : float
        In nats: :math:`-\int p \log p`.

    Raises
    ------
    ValueError
        If a parameter is invalid, or the noise is too small.

    Notes
    -----
    Closed forms for the distributions without noise: the logarithm of the area of the
    squares, and :math:`1 + \log(2 \pi \sigma)` for ``gaussian`` (:math:`\sigma = 1`) and
    ``maf_moon`` (:math:`\sigma = 1/2`). For the others, the density of
    :func:`planar_log_density` is summed on a grid of step noise / 3, with an error below 1e-6.

    Examples
    --------
    >>> from skot.datasets import planar_entropy
    >>> planar_entropy("checkerboard"), planar_entropy("moons")
    (2.079..., 1.330...)
    """
    distribution, noise = _resolve(name, noise)
    _check_smooth(noise)
    return float(distribution.entropy(noise))


def _resolve(name: str, noise: float | None) -> tuple[Any, float | None]:
    """Return the distribution and its noise."""
    distribution = DISTRIBUTIONS[name]
    if noise is None:
        return distribution, distribution.noise
    if distribution.noise is None:
        raise ValueError(f"{name!r} has no noise: leave noise at None. Got {noise!r}.")
    return distribution, float(noise)


def _check_smooth(noise: float | None) -> None:
    if noise is not None and noise < _LEAST_NOISE:
        raise ValueError(
            f"The noise must be at least {_LEAST_NOISE}: less is not resolved numerically, and"
            f" without noise there is no density. Got {noise!r}."
        )
