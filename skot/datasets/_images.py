"""Reading and resampling of images."""

from pathlib import Path

import numpy as np
import torch


def read_image(path: Path) -> np.ndarray:
    """Read a colour photograph.

    Parameters
    ----------
    path : pathlib.Path
        An image file.

    Returns
    -------
    image : ndarray of shape (height, width, 3), uint8
        Red, green and blue.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Reading photographs requires Pillow: install it with `pip install pillow`."
        ) from error
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def resize_images(images: np.ndarray, size: int) -> np.ndarray:
    """Resample square grey images with an anti-aliased bilinear filter.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width)
        Floating-point images.
    size : int
        The new height and width.

    Returns
    -------
    resized : ndarray of shape (n_images, size, size)
        Images of the same dtype.
    """
    resized = torch.nn.functional.interpolate(
        torch.tensor(images)[:, None], (size, size), mode="bilinear", antialias=True
    )
    return resized[:, 0].numpy()
