"""Small generated pairs of samples, for tests and figures."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import Bunch, check_random_state

from skot.utils._sklearn import Interval, validate_params

_SIZE = [Interval(Integral, 1, None, closed="left"), tuple]
_FINITE = [Interval(Real, None, None, closed="neither")]
_NON_NEGATIVE = [Interval(Real, 0, None, closed="left")]


@validate_params(
    {
        "n_samples": _SIZE,
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "shift": _FINITE,
        "random_state": ["random_state"],
        "return_parameters": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_gaussian_pair(
    n_samples: int | tuple[int, int] = 200,
    n_features: int = 2,
    *,
    shift: float = 3.0,
    random_state: int | np.random.RandomState | None = None,
    return_parameters: bool = False,
) -> tuple[np.ndarray, np.ndarray] | tuple[np.ndarray, np.ndarray, Bunch]:
    """Draw from two Gaussians whose covariances do not commute.

    Parameters
    ----------
    n_samples : int or tuple of two int, default=200
        The number of rows of each sample, or of the source and of the target.
    n_features : int, default=2
        The dimension.
    shift : float, default=3.0
        The distance between the two means.
    random_state : int, RandomState instance or None, default=None
        The seed, or the generator that is drawn from.
    return_parameters : bool, default=False
        If True, return the parameters of the two distributions too.

    Returns
    -------
    X : ndarray of shape (n_source, n_features)
        The source sample.
    Y : ndarray of shape (n_target, n_features)
        The target sample.
    parameters : :class:`~sklearn.utils.Bunch`
        Only if `return_parameters` is True: ``mean_source``, ``covariance_source``,
        ``mean_target``, ``covariance_target``.

    Raises
    ------
    ValueError
        If a parameter is invalid.

    Examples
    --------
    >>> from skot.datasets import make_gaussian_pair
    >>> X, Y = make_gaussian_pair((100, 50), random_state=0)
    >>> X.shape, Y.shape
    ((100, 2), (50, 2))
    """
    n_source, n_target = check_sizes(n_samples)
    rng = check_random_state(random_state)
    direction = rng.standard_normal(n_features)
    parameters = Bunch(
        mean_source=np.zeros(n_features),
        covariance_source=_random_covariance(n_features, rng),
        mean_target=shift * direction / np.linalg.norm(direction),
        covariance_target=_random_covariance(n_features, rng),
    )
    X = _draw_gaussian(n_source, parameters.mean_source, parameters.covariance_source, rng)
    Y = _draw_gaussian(n_target, parameters.mean_target, parameters.covariance_target, rng)
    return (X, Y, parameters) if return_parameters else (X, Y)


@validate_params(
    {
        "n_samples": _SIZE,
        "radius": _NON_NEGATIVE,
        "noise": _NON_NEGATIVE,
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_eight_gaussians_pair(
    n_samples: int | tuple[int, int] = 200,
    *,
    radius: float = 4.0,
    noise: float = 0.3,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw from the standard Gaussian and from eight Gaussians on a circle around it.

    Parameters
    ----------
    n_samples : int or tuple of two int, default=200
        The number of rows of each sample, or of the source and of the target.
    radius : float, default=4.0
        The radius of the circle.
    noise : float, default=0.3
        The standard deviation of each of the eight.
    random_state : int, RandomState instance or None, default=None
        The seed, or the generator that is drawn from.

    Returns
    -------
    X : ndarray of shape (n_source, 2)
        The source sample.
    Y : ndarray of shape (n_target, 2)
        The target sample, the eight modes as evenly filled as possible.

    Raises
    ------
    ValueError
        If a parameter is invalid.

    Examples
    --------
    >>> from skot.datasets import make_eight_gaussians_pair
    >>> X, Y = make_eight_gaussians_pair(80, random_state=0)
    >>> X.shape, Y.shape
    ((80, 2), (80, 2))
    """
    n_source, n_target = check_sizes(n_samples)
    rng = check_random_state(random_state)
    X = rng.standard_normal((n_source, 2))
    angle = 2.0 * np.pi * rng.permutation(np.arange(n_target) % 8) / 8.0
    centers = radius * np.column_stack([np.cos(angle), np.sin(angle)])
    return X, centers + noise * rng.standard_normal((n_target, 2))


@validate_params(
    {
        "n_samples": _SIZE,
        "scale": _NON_NEGATIVE,
        "noise": _NON_NEGATIVE,
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_moons_pair(
    n_samples: int | tuple[int, int] = 200,
    *,
    scale: float = 2.0,
    noise: float = 0.1,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw from the standard Gaussian and from two moons centred at the same point.

    Parameters
    ----------
    n_samples : int or tuple of two int, default=200
        The number of rows of each sample, or of the source and of the target.
    scale : float, default=2.0
        The radius of each moon.
    noise : float, default=0.1
        The standard deviation of the noise around the moons.
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

    Examples
    --------
    >>> from skot.datasets import make_moons_pair
    >>> X, Y = make_moons_pair((50, 60), random_state=0)
    >>> X.shape, Y.shape
    ((50, 2), (60, 2))
    """
    n_source, n_target = check_sizes(n_samples)
    rng = check_random_state(random_state)
    X = rng.standard_normal((n_source, 2))
    Y, _ = _draw_moons(n_target, rng)
    return X, scale * Y + noise * rng.standard_normal((n_target, 2))


@validate_params(
    {
        "n_samples": _SIZE,
        "angle": _FINITE,
        "noise": _NON_NEGATIVE,
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_rotated_moons(
    n_samples: int | tuple[int, int] = 200,
    *,
    angle: float = 40.0,
    noise: float = 0.1,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw two moons and their rotated twin: the toy problem of domain adaptation.

    Parameters
    ----------
    n_samples : int or tuple of two int, default=200
        The number of rows of each sample, or of the source and of the target.
    angle : float, default=40.0
        The rotation of the target, in degrees, anticlockwise around the centre of the moons.
    noise : float, default=0.1
        The standard deviation of the noise around the moons.
    random_state : int, RandomState instance or None, default=None
        The seed, or the generator that is drawn from.

    Returns
    -------
    X_source : ndarray of shape (n_source, 2)
        The source sample.
    y_source : ndarray of shape (n_source,)
        The moon, 0 or 1, of each source row.
    X_target : ndarray of shape (n_target, 2)
        The target sample.
    y_target : ndarray of shape (n_target,)
        The moon of each target row.

    Raises
    ------
    ValueError
        If a parameter is invalid.

    Examples
    --------
    >>> from skot.datasets import make_rotated_moons
    >>> X_source, y_source, X_target, y_target = make_rotated_moons(100, random_state=0)
    >>> X_source.shape, y_target.shape
    ((100, 2), (100,))
    """
    n_source, n_target = check_sizes(n_samples)
    rng = check_random_state(random_state)
    X_source, y_source = _draw_moons(n_source, rng)
    X_target, y_target = _draw_moons(n_target, rng)
    X_source += noise * rng.standard_normal(X_source.shape)
    X_target += noise * rng.standard_normal(X_target.shape)
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    rotation = np.array([[cosine, sine], [-sine, cosine]])  # transposed: rows are points
    return X_source, y_source, X_target @ rotation, y_target


def check_sizes(n_samples: int | tuple[int, int]) -> tuple[int, int]:
    """Return the numbers of source and target rows."""
    sizes = n_samples if isinstance(n_samples, tuple) else (n_samples, n_samples)
    if len(sizes) != 2 or not all(isinstance(size, Integral) and size > 0 for size in sizes):
        raise ValueError(
            f"n_samples must be a positive integer or a tuple of two. Got {n_samples!r} instead."
        )
    return int(sizes[0]), int(sizes[1])


def _random_covariance(n_features: int, rng: np.random.RandomState) -> np.ndarray:
    """Draw a covariance with standard deviations between 0.5 and 1.5 in random directions."""
    directions, _ = np.linalg.qr(rng.standard_normal((n_features, n_features)))
    return (directions * rng.uniform(0.5, 1.5, n_features) ** 2) @ directions.T


def _draw_gaussian(
    n_samples: int, mean: np.ndarray, covariance: np.ndarray, rng: np.random.RandomState
) -> np.ndarray:
    factor = np.linalg.cholesky(covariance)
    return mean + rng.standard_normal((n_samples, len(mean))) @ factor.T


def _draw_moons(n_samples: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Draw two interleaved half circles of radius one, centred at the origin."""
    label = rng.permutation(np.arange(n_samples) % 2)
    angle = np.pi * rng.uniform(size=n_samples)
    upper = np.column_stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25])
    return np.where(label[:, None] == 0, upper, -upper), label
