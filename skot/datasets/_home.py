"""The folder that holds fetched data, and how a missing file gets there."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np


def get_data_home(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that ``fetch_*`` functions read.

    Unlike scikit-learn's function of the same name, nothing is created: a folder that
    does not exist is reported by the function that needs a file in it.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder. None means the environment variable ``SKOT_DATA`` if it is set, else
        ``~/skot_data``.

    Returns
    -------
    path : pathlib.Path
        The folder, with ``~`` expanded.

    Examples
    --------
    >>> from skot.datasets import get_data_home
    >>> get_data_home("my_data").name
    'my_data'
    """
    if data_home is None:
        data_home = os.environ.get("SKOT_DATA") or Path("~", "skot_data")
    return Path(data_home).expanduser()


def require_file(path: Path, *, layout: str, source: str) -> Path:
    """Return `path`, or raise an error that says what to put there and where it is found."""
    if not path.is_file():
        raise FileNotFoundError(
            f"Data not found: {path} does not exist. It should hold {layout}; it can be obtained"
            f" from {source}. Another folder is named by the parameter data_home or by the"
            " environment variable SKOT_DATA."
        )
    return path


def download_file(path: Path, *, url: str, checksum: str) -> None:
    """Download `url`, a stable public address, to `path`, once, and check it before it is there.

    The checksum is ``"sha256:..."`` or ``"md5:..."``; pooch raises ValueError if it is another.
    """
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            f"Downloading {path.name} requires pooch: install it with `pip install pooch`, or put"
            f" the file from {url} at {path} yourself."
        ) from error
    try:
        pooch.retrieve(url, known_hash=checksum, fname=path.name, path=path.parent)
    except OSError as error:
        raise OSError(
            f"{url} could not be downloaded ({error}). Put the file at {path} yourself, or name"
            " the folder that holds it by the parameter data_home or by the environment variable"
            " SKOT_DATA."
        ) from error


def load_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read the named arrays of an ``.npz`` file, without unpickling anything."""
    with np.load(path, allow_pickle=False) as archive:
        return pick_arrays(archive, names, path)


def pick_arrays(
    content: Mapping[str, np.ndarray], names: Iterable[str], path: Path
) -> dict[str, np.ndarray]:
    """Take the named arrays from what the file at `path` held, or say which one it lacks."""
    names = tuple(names)
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(
            f"{path} does not have the expected layout: expected the arrays {', '.join(names)},"
            f" but {', '.join(missing)} not found."
        )
    return {name: content[name] for name in names}
