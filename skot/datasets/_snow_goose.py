"""Where snow geese are, month by month."""

import os

import numpy as np
from sklearn.utils import Bunch

from skot.datasets._home import get_data_home, require_file
from skot.utils._sklearn import validate_params

_SOURCE = "https://github.com/cscarv/riemannian-metric-learning-ot/tree/main/data/snow_goose"
_SIGHTINGS = "ebird_snow_goose_data_basemap.npy"
_TRACKS = "movebank_goose_data_basemap_82901.npy"
_DESCR = """Sightings of snow geese in North America by month, and the GPS track of one goose.

Sightings: 1000 of each month, from eBird (Cornell Lab of Ornithology); a place can occur several
times. Track: goose 82901, positions in the order of time over several migrations between the
Sacramento Valley and Banks Island, from Movebank; the times themselves are not in the file.

Coordinates are those of a Mercator map on a sphere of radius 5 whose origin is at 172 degrees
west, 22 degrees north: with longitude and latitude in radians

    x = 5 (longitude - longitude_0),
    y = 5 (log tan(pi / 4 + latitude / 2) - log tan(pi / 4 + latitude_0 / 2)).

Distances are those of the map: a unit is 11.5 degrees of longitude.

Prepared by Scarvelis, C. and Solomon, J. (2023). Riemannian metric learning via optimal
transport. ICLR, Section 5.3.
"""


@validate_params({"data_home": [str, os.PathLike, None]}, prefer_skip_nested_validation=True)
def fetch_snow_goose(*, data_home: str | os.PathLike[str] | None = None) -> Bunch:
    """Load sightings of snow geese by month, and a GPS track.

    Nothing is downloaded: the error says where to get the files.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder in which ``snow_goose/ebird_snow_goose_data_basemap.npy`` and
        ``snow_goose/movebank_goose_data_basemap_82901.npy`` are looked up. None means the
        environment variable ``SKOT_DATA`` if it is set, else ``~/skot_data``.

    Returns
    -------
    geese : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with ``X`` of shape (12000, 2), the sightings; ``month`` of shape
        (12000,), integers from 1 (January) to 12, in ascending order; ``tracks`` of shape
        (78179, 2), the positions of one goose in the order of time; and ``DESCR``, which
        explains the coordinates, those of a Mercator map.

    Raises
    ------
    FileNotFoundError
        If a file is absent.
    ValueError
        If a file does not have the expected layout.

    References
    ----------
    .. [1] Scarvelis, C. and Solomon, J. (2023). Riemannian metric learning via optimal transport.
       ICLR, Section 5.3.

    Examples
    --------
    >>> from skot.datasets import fetch_snow_goose
    >>> geese = fetch_snow_goose()  # doctest: +SKIP
    >>> geese.X.shape, geese.tracks.shape  # doctest: +SKIP
    ((12000, 2), (78179, 2))
    """
    folder = get_data_home(data_home) / "snow_goose"
    path = require_file(
        folder / _SIGHTINGS, layout="one array of shape (12, n_sightings, 2)", source=_SOURCE
    )
    sightings = np.load(path, allow_pickle=False)
    if sightings.ndim != 3 or len(sightings) != 12 or sightings.shape[2] != 2:
        raise ValueError(
            f"{path} should hold an array of shape (12, n_sightings, 2). Got {sightings.shape}."
        )
    path = require_file(
        folder / _TRACKS, layout="one array of shape (n_positions, 2)", source=_SOURCE
    )
    tracks = np.load(path, allow_pickle=False)
    if tracks.ndim != 2 or tracks.shape[1] != 2:
        raise ValueError(
            f"{path} should hold an array of shape (n_positions, 2). Got {tracks.shape}."
        )
    return Bunch(
        X=sightings.reshape(-1, 2),
        month=np.repeat(np.arange(1, 13), sightings.shape[1]),
        tracks=tracks,
        DESCR=_DESCR,
    )
