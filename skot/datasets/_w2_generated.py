"""Random pairs in the manner of the Wasserstein-2 benchmark."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from skot.datasets._convex_potentials import (
    ConvolutionalPotential,
    DensePotential,
    draw_convolutional_potential,
    draw_dense_potential,
)
from skot.datasets._sources import GaussianMixture, NoisySample
from skot.datasets._w2_benchmark import W2Benchmark
from skot.utils._sklearn import Interval, validate_params
from skot.utils.random import check_generator
from skot.utils.tensors import to_tensor

_CALIBRATION_ROWS = 2**16
_N_TRIES = 40
_REQUIRED, _REQUIRED_OF_IMAGES = 15.0, 34.0

_Convex = TypeVar("_Convex", DensePotential, ConvolutionalPotential)


@validate_params(
    {
        "n_features": [Interval(Integral, 1, None, closed="left"), None],
        "images": ["array-like", None],
        "noise": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_w2_benchmark(
    n_features: int | None = None,
    *,
    images: Any = None,
    noise: float = 0.1,
    random_state: int | np.random.RandomState | None = None,
) -> W2Benchmark:
    """Draw a pair with a nonlinear optimal map, from a random input-convex network.

    Without images, the source is a mixture of three Gaussians, the map is the gradient of the
    sum of two input-convex networks, and the target has mean zero and total variance
    `n_features`. With images, the source is their empirical distribution with a little noise,
    and the map is the gradient of a sum of convex functions of small patches; the target has the
    mean and the total variance of the source.

    Parameters
    ----------
    n_features : int, default=None
        The dimension. None is 2, or the number of pixels of the images.
    images : array-like of shape (n, height, width) or (n, side ** 2), default=None
        Grey images; flat ones are square.
    noise : float, default=0.1
        Standard deviation of the noise on each pixel. Without images it is not used.
    random_state : int, RandomState instance or None, default=None
        The seed of the distributions, or the generator that is drawn from.

    Returns
    -------
    benchmark : W2Benchmark
        Draws samples, and has the map.

    Raises
    ------
    ValueError
        If a parameter is invalid.

    See Also
    --------
    fetch_w2_benchmark : The published pairs.
    make_location_scatter_pair : A pair with a linear map.

    Notes
    -----
    Of up to 40 random networks, the first is taken whose gradient is far from linear: the best
    linear map leaves at least about 15 per cent (with images, 34) of its variance
    unexplained. If none does, which happens with images without edges, it is the one that comes
    closest.

    References
    ----------
    .. [1] Korotin, A., Li, L., Genevay, A., Solomon, J., Filippov, A., Burnaev, E. (2021). Do
       neural optimal transport solvers work? A continuous Wasserstein-2 benchmark. NeurIPS,
       section 4.1.

    Examples
    --------
    >>> from skot.datasets import make_w2_benchmark
    >>> benchmark = make_w2_benchmark(2, random_state=0)
    >>> benchmark.sample_target(5, random_state=1).shape, benchmark.output_variance
    ((5, 2), 2.0)
    """
    generator = check_generator(random_state)
    if images is None:
        mixture = _draw_mixture(2 if n_features is None else n_features, generator)
        x = _draw_rows(mixture, generator)
        dense = _far_from_linear(lambda: draw_dense_potential(x, generator), x, _REQUIRED)
        center, variance = torch.zeros_like(mixture.mean), float(mixture.n_features)
        return _calibrate(mixture, dense, center, variance, generator)
    pixels, image_shape = _check_images(images, n_features)
    sample = NoisySample(pixels, noise)
    x = _draw_rows(sample, generator)
    convolutional = _far_from_linear(
        lambda: draw_convolutional_potential(x, image_shape, generator), x, _REQUIRED_OF_IMAGES
    )
    return _calibrate(sample, convolutional, sample.mean, sample.variance, generator)


def _draw_rows(source: GaussianMixture | NoisySample, generator: torch.Generator) -> Tensor:
    """Draw enough rows for a linear fit that does not follow them too closely."""
    return source.sample(max(2**11, 32 * source.n_features), generator, torch.float64)


def _draw_mixture(n_features: int, generator: torch.Generator) -> GaussianMixture:
    """Draw three Gaussians, with total variance `n_features` together."""
    centers = torch.randn(3, n_features, generator=generator, dtype=torch.float64)
    centers -= centers.mean(dim=0)
    maps = torch.randn(3, n_features, n_features, generator=generator, dtype=torch.float64)
    maps = 0.4 * torch.linalg.qr(maps).Q
    mixture = GaussianMixture(maps, centers)
    within = 0.16 * n_features
    centers *= ((n_features - within) / (mixture.variance - within)) ** 0.5
    return GaussianMixture(maps, centers)


def _check_images(images: Any, n_features: int | None) -> tuple[Tensor, tuple[int, int]]:
    pixels = to_tensor(images, dtype=torch.float64)
    if pixels.ndim not in (2, 3) or pixels.numel() == 0 or not bool(pixels.isfinite().all()):
        raise ValueError(
            "images must be a finite array of shape (n, height, width) or (n, side ** 2). Got"
            f" shape {tuple(pixels.shape)}."
        )
    side = round(pixels.shape[1] ** 0.5)
    shape = (side, side) if pixels.ndim == 2 else (pixels.shape[1], pixels.shape[2])
    flat = pixels.flatten(1)
    if shape[0] * shape[1] != flat.shape[1]:
        raise ValueError(
            f"Flat images must be square. Got {flat.shape[1]} pixels; pass an array of shape"
            " (n, height, width)."
        )
    if n_features not in (None, flat.shape[1]):
        raise ValueError(
            f"n_features must be None or the number of pixels, {flat.shape[1]}. Got {n_features}."
        )
    return flat, shape


def _far_from_linear(draw: Callable[[], _Convex], x: Tensor, required: float) -> _Convex:
    """Draw potentials until the gradient of one is far enough from every linear map."""
    best = draw()
    found = _unexplained_by_linear(x, best.gradient(x))
    for _ in range(_N_TRIES - 1):
        if found >= required:
            break
        candidate = draw()
        unexplained = _unexplained_by_linear(x, candidate.gradient(x))
        if unexplained > found:
            best, found = candidate, unexplained
    return best


def _unexplained_by_linear(x: Tensor, y: Tensor) -> float:
    """Percentage of the variance of y that the best affine map of x leaves, on unseen rows."""
    design = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    half = len(x) // 2
    solution = torch.linalg.lstsq(design[:half], y[:half], driver="gelsd").solution
    error = (design[half:] @ solution - y[half:]).square().sum(dim=1).mean()
    return float(100.0 * error / (y - y.mean(dim=0)).square().sum(dim=1).mean())


def _calibrate(
    source: GaussianMixture | NoisySample,
    convex: DensePotential | ConvolutionalPotential,
    mean: Tensor,
    variance: float,
    generator: torch.Generator,
) -> W2Benchmark:
    """Choose shift and scale such that the target has a given mean and total variance."""
    n_chunks = 16
    rows = _CALIBRATION_ROWS // n_chunks
    total, square = torch.zeros_like(mean), 0.0
    for _ in range(n_chunks):
        gradient = convex.gradient(source.sample(rows, generator, torch.float64))
        total += gradient.sum(dim=0)
        square += float(gradient.square().sum())
    center = total / _CALIBRATION_ROWS
    scale = (variance / (square / _CALIBRATION_ROWS - float(center @ center))) ** 0.5
    return W2Benchmark(source, convex, center - mean / scale, scale, float(variance))
