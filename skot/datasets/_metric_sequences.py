"""Populations in motion under a known Riemannian metric."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skot.costs import CircleMetric, CrossingPathsMetric, MassSplittingMetric
from skot.datasets._home import get_data_home, require_file
from skot.utils._sklearn import StrOptions, validate_params

_SOURCE = "https://github.com/cscarv/riemannian-metric-learning-ot/tree/main/data/synthetic"
_METRICS: dict[str, Callable[[], Any]] = {
    "circle": CircleMetric,
    "mass_splitting": MassSplittingMetric,
    "x_paths": CrossingPathsMetric,
}
_ORIGINALS = {
    "circle": "data_gic_24_gaussians_radius_1_std_0p1_100_samples_closed.pt",
    "mass_splitting": "data_mass_split_std_1_100_samples_8_intermediate_scale_x10.pt",
    "x_paths": "data_xpath_std_0p1_100_samples_8_intermediate.pt",
}
_CONTENT = {
    "circle": """A narrow Gaussian goes once around the unit circle, anticlockwise: 25 times, 100
points each; the points of the last time are those of the first.""",
    "mass_splitting": """A standard Gaussian splits into two halves, which leave to the upper and
to the lower right, up to about (10, 10) and (10, -10): 10 times, 100 points each.""",
    "x_paths": """Two narrow Gaussians go from (-1, -1) to (1, 1) and from (-1, 1) to (1, -1), and
meet at the origin: 10 times, 200 points each. The rows of one time are not told apart by path.""",
}
_DESCR = """Populations in sequence under a known Riemannian metric: {name}.

{content}

From Scarvelis, C. and Solomon, J. (2023). Riemannian metric learning via optimal transport. ICLR.
"""


@validate_params(
    {"name": [StrOptions(set(_METRICS))], "data_home": [str, os.PathLike, None]},
    prefer_skip_nested_validation=True,
)
def fetch_metric_sequences(
    name: str = "circle", *, data_home: str | os.PathLike[str] | None = None
) -> Bunch:
    """Load a sequence of populations that moved under a known metric of the plane.

    Nothing is downloaded, as the originals are pickled tensors: the error says where to get them.

    Parameters
    ----------
    name : {"circle", "mass_splitting", "x_paths"}, default="circle"
        Which sequence [1]_.
    data_home : str or path-like, default=None
        The folder in which ``scarvelis/<name>.npy`` is looked up. None means the environment
        variable ``SKOT_DATA`` if it is set, else ``~/skot_data``.

    Returns
    -------
    sequence : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with ``X`` of shape (n_rows, 2), the points of all times; ``time``
        of shape (n_rows,), integers from 0, in ascending order; ``metric``, the true metric, a
        `MetricTensor`; and ``DESCR``.

    Raises
    ------
    FileNotFoundError
        If the file is absent.
    ValueError
        If a parameter is invalid, or the file does not have the expected layout.

    References
    ----------
    .. [1] Scarvelis, C. and Solomon, J. (2023). Riemannian metric learning via optimal transport.
       ICLR, Section 5.1.

    Examples
    --------
    >>> from skot.datasets import fetch_metric_sequences
    >>> sequence = fetch_metric_sequences("circle")  # doctest: +SKIP
    >>> sequence.X.shape, sequence.metric  # doctest: +SKIP
    ((2500, 2), CircleMetric())
    """
    has_paths = name == "x_paths"
    shape = "(n_paths, n_times, n_points, 2)" if has_paths else "(n_times, n_points, 2)"
    path = require_file(
        get_data_home(data_home) / "scarvelis" / f"{name}.npy",
        layout=f"one array of shape {shape}",
        source=f"{_SOURCE} (the tensor of {_ORIGINALS[name]}, saved by numpy.save)",
    )
    points = np.load(path, allow_pickle=False)
    if points.ndim != 3 + has_paths or points.shape[-1] != 2:
        raise ValueError(f"{path} should hold an array of shape {shape}. Got {points.shape}.")
    if has_paths:
        points = np.concatenate(points, axis=1)
    n_times, n_points, _ = points.shape
    return Bunch(
        X=points.reshape(-1, 2),
        time=np.repeat(np.arange(n_times), n_points),
        metric=_METRICS[name](),
        DESCR=_DESCR.format(name=name, content=_CONTENT[name]),
    )
