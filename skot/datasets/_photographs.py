"""Photographs: the features of Office-Caltech10, and the Kodak suite."""

import os

import numpy as np
from scipy.io import loadmat
from sklearn.utils import Bunch

from skot.datasets._home import get_data_home, pick_arrays, require_file
from skot.datasets._images import read_image
from skot.utils._sklearn import StrOptions, validate_params

_OFFICE_CALTECH_DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
_OFFICE_CALTECH_CLASSES = (
    "backpack",
    "bike",
    "calculator",
    "headphones",
    "keyboard",
    "laptop",
    "monitor",
    "mouse",
    "mug",
    "projector",
)

_OFFICE_CALTECH_DESCR = """Office-Caltech10, domain {domain}: SURF bag-of-words histograms.

{n_samples} photographs of 10 kinds of objects, each described by the counts of 800 visual words.
B. Gong, Y. Shi, F. Sha, K. Grauman, Geodesic flow kernel for unsupervised domain adaptation,
CVPR 2012."""

_KODAK_DESCR = """Kodak lossless true color image suite: 24 photographs of 768 x 512 pixels.

Released by the Eastman Kodak Company for unrestricted use."""


@validate_params(
    {
        "domain": [StrOptions(set(_OFFICE_CALTECH_DOMAINS))],
        "data_home": [str, os.PathLike, None],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_office_caltech(
    domain: str,
    *,
    data_home: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load one domain of Office-Caltech10 as SURF histograms (classification).

    Nothing is downloaded, as no public address with a checksum is known: the error says where
    to get the files.

    Parameters
    ----------
    domain : {"amazon", "caltech10", "dslr", "webcam"}
        Where the photographs come from.
    data_home : str or path-like, default=None
        The folder in which ``office_caltech/<domain>.mat`` is looked up. None means the
        environment variable ``SKOT_DATA`` if it is set, else ``~/skot_data``.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    office_caltech : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with ``data`` of shape (n_samples, 800), the counts as float64,
        not normalised; ``target`` of shape (n_samples,), the class as 0 to 9; ``target_names``
        and ``DESCR``.
    (data, target) : tuple if ``return_X_y`` is True
        The two arrays.

    Raises
    ------
    FileNotFoundError
        If the file is absent.
    ValueError
        If `domain` is unknown or the file does not have the expected layout.

    Notes
    -----
    The usual preparation, as in the reference, divides each row by its sum and then
    standardises each feature within the domain.

    References
    ----------
    .. [1] B. Gong, Y. Shi, F. Sha, K. Grauman, "Geodesic flow kernel for unsupervised domain
       adaptation", CVPR 2012.

    Examples
    --------
    >>> from skot.datasets import fetch_office_caltech
    >>> X, y = fetch_office_caltech("dslr", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (157, 800)
    """
    path = require_file(
        get_data_home(data_home) / "office_caltech" / f"{domain}.mat",
        layout="the arrays fts, (n_samples, 800), and labels, 1 to 10",
        source="https://github.com/jindongwang/transferlearning/tree/master/data"
        " (Office+Caltech10, SURF features)",
    )
    names = ("fts", "labels")
    arrays = pick_arrays(loadmat(path, variable_names=names), names, path)
    data = arrays["fts"].astype(np.float64)
    target = arrays["labels"].ravel().astype(np.int64) - 1
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        target_names=np.array(_OFFICE_CALTECH_CLASSES),
        DESCR=_OFFICE_CALTECH_DESCR.format(domain=domain, n_samples=len(data)),
    )


@validate_params({"data_home": [str, os.PathLike, None]}, prefer_skip_nested_validation=True)
def fetch_kodak(*, data_home: str | os.PathLike[str] | None = None) -> Bunch:
    """Load the 24 photographs of the Kodak suite.

    Nothing is downloaded, as no public address with a checksum is known: the error says where
    to get the files.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder in which ``kodak/01.png`` to ``kodak/24.png`` are looked up. None means the
        environment variable ``SKOT_DATA`` if it is set, else ``~/skot_data``.

    Returns
    -------
    kodak : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with ``images``, a list of 24 arrays of shape
        (height, width, 3), uint8; ``filenames``, in the same order; and ``DESCR``.

    Raises
    ------
    FileNotFoundError
        If a photograph is absent.
    ImportError
        If Pillow is not installed.

    Examples
    --------
    >>> from skot.datasets import fetch_kodak
    >>> kodak = fetch_kodak()  # doctest: +SKIP
    >>> kodak.images[0].shape  # doctest: +SKIP
    (512, 768, 3)
    """
    folder = get_data_home(data_home) / "kodak"
    paths = [
        require_file(
            folder / f"{number:02d}.png",
            layout="a photograph, red, green and blue",
            source=f"https://r0k.us/graphics/kodak/ (there named kodim{number:02d}.png)",
        )
        for number in range(1, 25)
    ]
    return Bunch(
        images=[read_image(path) for path in paths],
        filenames=[str(path) for path in paths],
        DESCR=_KODAK_DESCR,
    )
