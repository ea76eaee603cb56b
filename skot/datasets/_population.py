"""World population on a raster."""

import os

import numpy as np
from sklearn.utils import Bunch

from skot.datasets._home import get_data_home, load_arrays, require_file
from skot.utils._sklearn import validate_params

_FILE = "gpw_v4_density_2020_15min.npz"
_DESCR = """Gridded Population of the World, version 4: density in 2020, every 15 minutes of arc.

Persons per square kilometre; 0 on water and where nobody lives. Center for International Earth
Science Information Network, Columbia University (2018), CC BY 4.0."""


@validate_params({"data_home": [str, os.PathLike, None]}, prefer_skip_nested_validation=True)
def fetch_population(*, data_home: str | os.PathLike[str] | None = None) -> Bunch:
    """Load the density of the world's population.

    Nothing is downloaded, as the source asks for a login: the error says where to get the file.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder in which ``population/gpw_v4_density_2020_15min.npz`` is looked up. None means
        the environment variable ``SKOT_DATA`` if it is set, else ``~/skot_data``.

    Returns
    -------
    population : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with ``density`` of shape (720, 1440), float32, persons per square
        kilometre, 0 where nobody lives; ``latitude`` (720,), from north to south, and
        ``longitude`` (1440,), from west to east, the centres of the cells in degrees; and
        ``DESCR``.

    Raises
    ------
    FileNotFoundError
        If the file is absent.
    ValueError
        If the file does not have the expected layout.

    Examples
    --------
    >>> from skot.datasets import fetch_population
    >>> population = fetch_population()  # doctest: +SKIP
    >>> population.density.shape  # doctest: +SKIP
    (720, 1440)
    """
    path = require_file(
        get_data_home(data_home) / "population" / _FILE,
        layout="the array density, (720, 1440), from north to south",
        source="https://sedac.ciesin.columbia.edu/data/collection/gpw-v4"
        " (population density, revision 11, 2020, 15 minutes of arc)",
    )
    density = load_arrays(path, ["density"])["density"].astype(np.float32)
    if density.ndim != 2 or density.shape[1] != 2 * density.shape[0]:
        raise ValueError(f"{path} should hold a raster of the globe. Got shape {density.shape}.")
    n_rows, n_columns = density.shape
    step = 180.0 / n_rows
    return Bunch(
        density=np.nan_to_num(density, nan=0.0),
        latitude=90.0 - step * (np.arange(n_rows) + 0.5),
        longitude=-180.0 + step * (np.arange(n_columns) + 0.5),
        DESCR=_DESCR,
    )
