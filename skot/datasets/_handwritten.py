"""MNIST and USPS: handwritten digits of two origins."""

import os
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from skot.datasets._home import download_file, get_data_home, load_arrays, require_file
from skot.datasets._images import resize_images
from skot.utils._sklearn import Interval, StrOptions, validate_params

_SPLIT_ARRAYS = ("x_train", "y_train", "x_test", "y_test")

# The address and the checksum are those of keras.datasets.mnist.
_MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
_MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"

# The addresses and the checksums are those of torchvision.datasets.USPS.
_USPS_URL = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
_USPS_MD5 = {
    "usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197",
    "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118",
}

_PARAMETER_CONSTRAINTS = {
    "subset": [StrOptions({"train", "test", "all"})],
    "image_size": [Interval(Integral, 1, None, closed="left"), None],
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
}

_MNIST_DESCR = """MNIST: 70000 handwritten digits on a 28 x 28 grid, values in [0, 1].

60000 training and 10000 test images by different writers.
Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document
recognition, Proceedings of the IEEE 86(11), 1998."""

_USPS_DESCR = """USPS: 9298 digits from envelopes on a 16 x 16 grid, values in [0, 1].

7291 training and 2007 test images; the digits fill the frame.
J. J. Hull, A database for handwritten text recognition research, IEEE Transactions on Pattern
Analysis and Machine Intelligence 16(5), 1994."""


@validate_params(_PARAMETER_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_mnist(
    *,
    subset: str = "train",
    image_size: int | None = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load the MNIST digits (classification), downloading them if necessary.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The 60000 training images, the 10000 test images, or both in this order.
    image_size : int, default=None
        Resample the images to this width and height, with an anti-aliased bilinear filter.
        None keeps 28.
    data_home : str or path-like, default=None
        The folder in which ``mnist/mnist.npz`` is looked up. None means the environment
        variable ``SKOT_DATA`` if it is set, else ``~/skot_data``.
    download_if_missing : bool, default=True
        If False, raise an error where the file is absent instead of downloading it.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    mnist : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with ``data`` of shape (n_samples, image_size ** 2), float32 in
        [0, 1]; ``target`` of shape (n_samples,), the digits; ``images``, the same values
        of shape (n_samples, image_size, image_size); ``target_names`` and ``DESCR``.
    (data, target) : tuple if ``return_X_y`` is True
        The two arrays.

    Raises
    ------
    FileNotFoundError
        If the file is absent and `download_if_missing` is False.
    ValueError
        If a parameter is invalid or a file does not have the expected layout.

    See Also
    --------
    fetch_usps : Digits of another origin, the usual partner for domain adaptation.

    Examples
    --------
    >>> from skot.datasets import fetch_mnist
    >>> mnist = fetch_mnist()  # doctest: +SKIP
    >>> mnist.data.shape  # doctest: +SKIP
    (60000, 784)
    """
    path = get_data_home(data_home) / "mnist" / "mnist.npz"
    if download_if_missing and not path.is_file():
        download_file(path, url=_MNIST_URL, checksum=f"sha256:{_MNIST_SHA256}")
    require_file(
        path, layout=f"the arrays {', '.join(_SPLIT_ARRAYS)} of the digits", source=_MNIST_URL
    )
    arrays = load_arrays(path, _SPLIT_ARRAYS)
    return _digits_bunch(arrays, subset, 255.0, image_size, _MNIST_DESCR, return_X_y)


@validate_params(_PARAMETER_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_usps(
    *,
    subset: str = "train",
    image_size: int | None = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load the USPS digits (classification), downloading them if necessary.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The 7291 training images, the 2007 test images, or both in this order.
    image_size : int, default=None
        Resample the images to this width and height, with an anti-aliased bilinear filter.
        None keeps 16.
    data_home : str or path-like, default=None
        The folder in which ``usps/usps.npz`` is looked up. None means the environment
        variable ``SKOT_DATA`` if it is set, else ``~/skot_data``.
    download_if_missing : bool, default=True
        If False, raise an error where the file is absent instead of downloading it.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    usps : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with ``data`` of shape (n_samples, image_size ** 2), float32 in
        [0, 1]; ``target`` of shape (n_samples,), the digits; ``images``, the same values
        of shape (n_samples, image_size, image_size); ``target_names`` and ``DESCR``.
    (data, target) : tuple if ``return_X_y`` is True
        The two arrays.

    Raises
    ------
    FileNotFoundError
        If the file is absent and `download_if_missing` is False.
    ValueError
        If a parameter is invalid or a file does not have the expected layout.

    See Also
    --------
    fetch_mnist : Digits of another origin, the usual partner for domain adaptation.

    Examples
    --------
    >>> from skot.datasets import fetch_usps
    >>> usps = fetch_usps(subset="test")  # doctest: +SKIP
    >>> usps.data.shape  # doctest: +SKIP
    (2007, 256)
    """
    path = get_data_home(data_home) / "usps" / "usps.npz"
    if download_if_missing and not path.is_file():
        _download_usps(path)
    require_file(
        path,
        layout=f"the arrays {', '.join(_SPLIT_ARRAYS)} of the digits",
        source=f"{_USPS_URL} as usps.bz2 and usps.t.bz2 (convert them, or let"
        " download_if_missing=True do both)",
    )
    arrays = load_arrays(path, _SPLIT_ARRAYS)
    return _digits_bunch(arrays, subset, 1.0, image_size, _USPS_DESCR, return_X_y)


def _digits_bunch(
    arrays: dict[str, np.ndarray],
    subset: str,
    maximum: float,
    image_size: int | None,
    description: str,
    return_X_y: bool,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Put the digits of a subset in the form that scikit-learn's loaders return."""
    parts = ("train", "test") if subset == "all" else (subset,)
    pixels = np.concatenate([arrays[f"x_{part}"] for part in parts])
    target = np.concatenate([arrays[f"y_{part}"] for part in parts]).astype(np.int64)
    side = round((pixels.size / len(pixels)) ** 0.5)
    images = pixels.reshape(-1, side, side).astype(np.float32)
    images /= np.float32(maximum)
    if image_size is not None:
        images = resize_images(images, image_size)
    data = images.reshape(len(images), -1)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        images=images,
        target_names=np.array([str(digit) for digit in range(10)]),
        DESCR=description,
    )


def _download_usps(path: Path) -> None:
    """Download the two text files and keep them as one archive of arrays."""
    from sklearn.datasets import load_svmlight_file

    arrays = {}
    for part, (name, md5) in zip(("train", "test"), _USPS_MD5.items(), strict=True):
        archive = path.with_name(name)
        download_file(archive, url=_USPS_URL + name, checksum=f"md5:{md5}")
        pixels, target = load_svmlight_file(archive, n_features=256, zero_based=False)
        # The text holds values in [-1, 1] and the classes as 1 to 10.
        arrays[f"x_{part}"] = ((pixels.toarray() + 1.0) / 2.0).astype(np.float32)
        arrays[f"y_{part}"] = target.astype(np.int32) - 1
        archive.unlink()
    np.savez_compressed(path, **arrays)
