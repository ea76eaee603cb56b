"""The Wasserstein-2 benchmark: pairs with a known, nonlinear optimal map."""

import os
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skot.datasets._convex_potentials import ConvolutionalPotential, DensePotential
from skot.datasets._home import get_data_home, load_arrays, require_file
from skot.datasets._sources import GaussianMixture, NoisySample
from skot.datasets._transport_pairs import TensorTable, TransportPair, in_chunks
from skot.utils._sklearn import Interval, validate_params
from skot.utils.tensors import to_numpy, to_tensor


class W2Benchmark(TransportPair):
    r"""A pair of distributions with a known, nonlinear optimal map for the quadratic cost.

    Returned by :func:`make_w2_benchmark` and :func:`fetch_w2_benchmark`, not made by hand.

    Parameters
    ----------
    source : object
        With ``n_features``, ``variance`` and ``sample(n_samples, generator, dtype)``.
    convex : object
        A convex function with ``value`` and ``gradient``.
    shift : Tensor of shape (n_features,)
        Taken from the gradient.
    scale : float
        Applied to the difference.
    output_variance : float
        Total variance of the target.

    Attributes
    ----------
    n_features : int
        The dimension.
    input_variance, output_variance : float
        Total variance of the source and of the target.

    Notes
    -----
    The map is :math:`T = s \, (\nabla u - t)` with a convex :math:`u`, so by Brenier's theorem it
    is optimal between the source and its image, the target.

    Examples
    --------
    >>> from skot.datasets import make_w2_benchmark
    >>> benchmark = make_w2_benchmark(4, random_state=0)
    >>> X, Y = benchmark.sample_source(100, 0), benchmark.sample_target(200, 1)
    >>> Y.shape, benchmark.map(X).shape
    ((200, 4), (100, 4))
    """

    def __init__(
        self,
        source: GaussianMixture | NoisySample,
        convex: DensePotential | ConvolutionalPotential,
        shift: Tensor,
        scale: float,
        output_variance: float,
    ) -> None:
        self._source, self._convex, self._scale = source, convex, scale
        self._table = TensorTable(shift=shift)
        self.n_features = source.n_features
        self.input_variance = source.variance
        self.output_variance = output_variance

    def sample_source_tensor(
        self,
        n_samples: int,
        generator: torch.Generator,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        return self._source.sample(n_samples, generator, dtype)

    @torch.no_grad()
    def map_tensor(self, x: Tensor) -> Tensor:
        shift = self._table.like(x)["shift"]
        return (in_chunks(self._convex.gradient, x) - shift).mul_(self._scale)

    def potential(self, X: Any) -> np.ndarray:
        """Evaluate the convex function whose gradient is the map.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Points.

        Returns
        -------
        values : ndarray of shape (n_samples,)
            In float64; fixed up to a constant.

        Raises
        ------
        ValueError
            If `X` is no sample of `n_features` features.
        """
        x = self._check_rows(X)
        values = in_chunks(self._convex.value, x) - x @ self._table.like(x)["shift"]
        return self._scale * to_numpy(values)


_LAYERS = ("quadratic0", "quadratic1", "quadratic2")
_NETWORK_ARRAYS = (
    *(f"{layer}.{part}" for layer in _LAYERS for part in ("factor", "weight", "bias")),
    "convex1.weight",
    "convex2.weight",
    "final.weight",
)
_SOURCE_ARRAYS = ("centers", "maps", "std")
_NUMBERS = ("strong_convexity", "shift", "scale", "output_variance", "input_variance")


@validate_params(
    {
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "data_home": [str, os.PathLike, None],
    },
    prefer_skip_nested_validation=True,
)
def fetch_w2_benchmark(
    n_features: int, *, data_home: str | os.PathLike[str] | None = None
) -> W2Benchmark:
    """Load a pair of the Wasserstein-2 benchmark, Mix3toMix10, with its optimal map.

    Nothing is downloaded, as no public address of this form of the data is known.

    Parameters
    ----------
    n_features : int
        The dimension: 2, 4, 16 or 64.
    data_home : str or path-like, default=None
        The folder in which ``w2_benchmark/<n_features>.npz`` is looked up. None means the
        environment variable ``SKOT_DATA`` if it is set, else ``~/skot_data``.

    Returns
    -------
    benchmark : W2Benchmark
        The source is a mixture of three Gaussians, the target resembles one of ten; its mean is
        zero and its total variance is `n_features`.

    Raises
    ------
    FileNotFoundError
        If the file is absent.
    ValueError
        If the file does not have the expected layout.

    See Also
    --------
    make_w2_benchmark : Random pairs of any dimension.
    skot.metrics.l2_uvp : The error that is reported.

    Notes
    -----
    The optimal map between the Gaussians of the same means and covariances, the linear baseline
    of [1]_, has an L2-UVP of 14.0 (2 features), 14.7 (4), 41.5 (16) and 63.4 per cent (64).

    References
    ----------
    .. [1] Korotin, A., Li, L., Genevay, A., Solomon, J., Filippov, A., Burnaev, E. (2021). Do
       neural optimal transport solvers work? A continuous Wasserstein-2 benchmark. NeurIPS,
       section 4.1.

    Examples
    --------
    >>> from skot.datasets import fetch_w2_benchmark
    >>> benchmark = fetch_w2_benchmark(16)  # doctest: +SKIP
    >>> benchmark.sample_source(100, 0).shape  # doctest: +SKIP
    (100, 16)
    """
    path = require_file(
        get_data_home(data_home) / "w2_benchmark" / f"{n_features}.npz",
        layout="the arrays of the mixture and of the networks v1 and v2",
        source="https://github.com/iamalexkorotin/Wasserstein2Benchmark (convert the weights)",
    )
    networks = [f"{network}.{name}" for network in ("v1", "v2") for name in _NETWORK_ARRAYS]
    loaded = load_arrays(path, (*_SOURCE_ARRAYS, *_NUMBERS, *networks))
    arrays = {name: to_tensor(array, dtype=torch.float64) for name, array in loaded.items()}
    if arrays["centers"].shape[1] != n_features:
        raise ValueError(
            f"{path} does not have the expected layout: expected {n_features} features,"
            f" found {arrays['centers'].shape[1]}."
        )
    return W2Benchmark(
        source=GaussianMixture(arrays["std"] * arrays["maps"], arrays["centers"]),
        convex=DensePotential(
            strong_convexity=float(arrays["strong_convexity"]), **_stack_networks(arrays)
        ),
        shift=arrays["shift"],
        scale=float(arrays["scale"]),
        output_variance=float(arrays["output_variance"]),
    )


def _stack_networks(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put the layers of the two networks side by side, as `DensePotential` stores them."""
    networks = []
    for v in ("v1", "v2"):
        parts = {
            part: [arrays[f"{v}.{layer}.{part}"] for layer in _LAYERS]
            for part in ("factor", "weight", "bias")
        }
        networks.append(
            {
                "factor": torch.cat(parts["factor"], dim=1),
                "weight": torch.cat(parts["weight"]).T,
                "bias": torch.cat(parts["bias"])[None],
                "convex1": arrays[f"{v}.convex1.weight"].T,
                "convex2": arrays[f"{v}.convex2.weight"].T,
                "final": arrays[f"{v}.final.weight"],
            }
        )
    return {name: torch.stack([network[name] for network in networks]) for name in networks[0]}
