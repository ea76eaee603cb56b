"""Reading and resampling of images."""

from pathlib import Path

import numpy as np
import torch


def read_image(path: Path) -> np.ndarray:
    """Read a colour photograph: uint8, of shape (height, width, 3)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Reading photographs requires Pillow: install it with `pip install pillow`."
        ) from error
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def resize_images(images: np.ndarray, size: int) -> np.ndarray:
    """Resample grey images (n, side, side), floats, with an anti-aliased bilinear filter."""
    resized = torch.nn.functional.interpolate(
        torch.tensor(images)[:, None], (size, size), mode="bilinear", antialias=True
    )
    return resized[:, 0].numpy()
