"""Elliptical distributions that an affine map carries into each other."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skot.datasets._transport_pairs import TensorTable, TransportPair
from skot.utils._sklearn import Interval, StrOptions, validate_params
from skot.utils.random import check_generator
from skot.utils.tensors import to_numpy, to_tensor

_DEGREES_OF_FREEDOM = 5


class LocationScatterPair(TransportPair):
    r"""A pair of elliptical distributions of one family, with its affine optimal map.

    Drawn by :func:`make_location_scatter_pair`.

    Parameters
    ----------
    mean_source : ndarray of shape (n_features,)
        Mean of the source.
    covariance_source : ndarray of shape (n_features, n_features)
        Covariance of the source, positive definite.
    mean_target : ndarray of shape (n_features,)
        Mean of the target.
    matrix : ndarray of shape (n_features, n_features)
        The linear part of the map, symmetric and positive definite.
    family : {"gaussian", "student_t", "uniform"}, default="gaussian"
        See :func:`make_location_scatter_pair`.

    Attributes
    ----------
    n_features : int
        The dimension.
    covariance_target : ndarray of shape (n_features, n_features)
        Covariance of the target.
    input_variance, output_variance : float
        Total variance of the source and of the target.
    wasserstein_distance : float
        The exact :math:`W_2` between the two, not squared.

    Notes
    -----
    :math:`T(x) = m_2 + A (x - m_1)` is the gradient of a convex function, so it is the optimal
    map for the quadratic cost between any law of mean :math:`m_1` and its image, whose
    covariance is :math:`A \Sigma_1 A`; and
    :math:`W_2^2 = \lVert m_2 - m_1 \rVert^2 + \operatorname{tr} (A - I) \Sigma_1 (A - I)`.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.datasets import LocationScatterPair
    >>> pair = LocationScatterPair(np.zeros(2), np.eye(2), np.ones(2), 2.0 * np.eye(2))
    >>> pair.map([[1.0, 0.0]]), pair.wasserstein_distance
    (array([[3., 1.]]), 2.0)
    """

    def __init__(
        self,
        mean_source: np.ndarray,
        covariance_source: np.ndarray,
        mean_target: np.ndarray,
        matrix: np.ndarray,
        family: str = "gaussian",
    ) -> None:
        self.family = family
        self.mean_source, self.covariance_source = mean_source, covariance_source
        self.mean_target, self.matrix = mean_target, matrix
        self.n_features = len(mean_source)
        self.covariance_target = matrix @ covariance_source @ matrix
        self.input_variance = float(np.trace(covariance_source))
        self.output_variance = float(np.trace(self.covariance_target))
        self._table = TensorTable(
            mean_source=to_tensor(mean_source, dtype=torch.float64),
            mean_target=to_tensor(mean_target, dtype=torch.float64),
            factor=to_tensor(np.linalg.cholesky(covariance_source), dtype=torch.float64),
            matrix=to_tensor(matrix, dtype=torch.float64),
            inverse=to_tensor(np.linalg.inv(matrix), dtype=torch.float64),
        )

    @property
    def wasserstein_distance(self) -> float:
        """The exact Wasserstein-2 distance between source and target."""
        stretch = self.matrix - np.eye(self.n_features)
        spread = np.trace(stretch @ self.covariance_source @ stretch)
        return float(np.sqrt(np.sum((self.mean_target - self.mean_source) ** 2) + spread))

    def sample_source_tensor(
        self,
        n_samples: int,
        generator: torch.Generator,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        rows = _standard_rows(self.family, n_samples, self.n_features, generator, dtype)
        table = self._table.like(rows)
        return table["mean_source"] + rows @ table["factor"].T

    def map_tensor(self, x: Tensor) -> Tensor:
        """Apply the optimal map to a tensor.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Source rows.

        Returns
        -------
        y : Tensor of shape (n_samples, n_features)
            Their images, of the type and on the device of `x`.
        """
        table = self._table.like(x)
        return table["mean_target"] + (x - table["mean_source"]) @ table["matrix"]

    def inverse_map(self, Y: Any) -> np.ndarray:
        """Apply the inverse of the optimal map, from the target to the source.

        Parameters
        ----------
        Y : array-like of shape (n_samples, n_features)
            Target rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The rows they are images of, in float64.

        Raises
        ------
        ValueError
            If `Y` is no sample of `n_features` features.
        """
        y = self._check_rows(Y)
        table = self._table.like(y)
        return to_numpy(table["mean_source"] + (y - table["mean_target"]) @ table["inverse"])


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "family": [StrOptions({"gaussian", "student_t", "uniform"})],
        "shift": [Interval(Real, None, None, closed="neither")],
        "random_state": ["random_state"],
        "return_map": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_location_scatter_pair(
    n_samples: int = 200,
    n_features: int = 2,
    *,
    family: str = "gaussian",
    shift: float = 1.0,
    random_state: int | np.random.RandomState | None = None,
    return_map: bool = False,
) -> tuple[np.ndarray, np.ndarray] | tuple[np.ndarray, np.ndarray, LocationScatterPair]:
    """Draw from two elliptical distributions with a known affine optimal map.

    The covariance of the source has standard deviations between 0.5 and 1.5, the linear part of
    the map has eigenvalues between 0.5 and 2, each in random directions of its own.

    Parameters
    ----------
    n_samples : int, default=200
        Number of rows of each sample. The two are independent.
    n_features : int, default=2
        The dimension.
    family : {"gaussian", "student_t", "uniform"}, default="gaussian"
        The law before the covariance is applied: Gaussian, Student's t with 5 degrees of
        freedom, or uniform in a ball.
    shift : float, default=1.0
        The distance between the two means.
    random_state : int, RandomState instance or None, default=None
        The seed, or the generator that is drawn from.
    return_map : bool, default=False
        If True, return the pair of distributions too.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        The source sample.
    Y : ndarray of shape (n_samples, n_features)
        The target sample, not the images of `X`.
    pair : LocationScatterPair
        Only if `return_map` is True: draws further samples, and has the map.

    Raises
    ------
    ValueError
        If a parameter is invalid.

    See Also
    --------
    make_gaussian_pair : Two Gaussians of unrelated covariances.
    make_w2_benchmark : A pair with a nonlinear map.

    Examples
    --------
    >>> from skot.datasets import make_location_scatter_pair
    >>> X, Y, pair = make_location_scatter_pair(100, 8, random_state=0, return_map=True)
    >>> Y.shape, pair.map(X).shape
    ((100, 8), (100, 8))
    """
    generator = check_generator(random_state)
    direction = _normal(generator, n_features)
    deviations = 0.5 + _uniform(generator, n_features)
    # Evenly spread over the octaves: the harmonic and the arithmetic means are both near one.
    stretches = 2.0 ** (2.0 * _uniform(generator, n_features) - 1.0)
    pair = LocationScatterPair(
        mean_source=np.zeros(n_features),
        covariance_source=_symmetric(deviations**2, generator),
        mean_target=shift * direction / np.linalg.norm(direction),
        matrix=_symmetric(stretches, generator),
        family=family,
    )
    X, Y = (
        to_numpy(sample(n_samples, generator, dtype=torch.float64))
        for sample in (pair.sample_source_tensor, pair.sample_target_tensor)
    )
    return (X, Y, pair) if return_map else (X, Y)


def _standard_rows(
    family: str, n: int, d: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Draw rows of mean zero and covariance one from a spherical law."""
    options: dict[str, Any] = {"generator": generator, "dtype": dtype, "device": generator.device}
    rows = torch.randn(n, d, **options)
    if family == "student_t":
        nu = _DEGREES_OF_FREEDOM
        chi_square = torch.randn(n, nu, **options).square().sum(dim=1, keepdim=True)
        return rows * torch.sqrt((nu - 2) / chi_square)
    if family == "uniform":
        radius = torch.rand(n, 1, **options) ** (1.0 / d)
        return rows / rows.norm(dim=1, keepdim=True) * radius * (d + 2) ** 0.5
    return rows


def _normal(generator: torch.Generator, *shape: int) -> np.ndarray:
    return torch.randn(*shape, generator=generator, dtype=torch.float64).numpy()


def _uniform(generator: torch.Generator, *shape: int) -> np.ndarray:
    return torch.rand(*shape, generator=generator, dtype=torch.float64).numpy()


def _symmetric(eigenvalues: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """Draw a symmetric matrix with given eigenvalues in random directions."""
    directions, _ = np.linalg.qr(_normal(generator, len(eigenvalues), len(eigenvalues)))
    matrix = (directions * eigenvalues) @ directions.T
    return (matrix + matrix.T) / 2.0
