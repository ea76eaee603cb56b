"""Colour transfer between two photographs, for the demo."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import Bunch

from skot import SinkhornTransport
from skot.datasets import load_color_palettes
from skot.metrics import sinkhorn_divergence

N_PIXELS = 427 * 640


@dataclass(frozen=True)
class Palettes:
    """The pixels of two photographs: weighted colours to fit on, and pixels held out."""

    source: np.ndarray
    source_weights: np.ndarray
    target: np.ndarray
    target_weights: np.ndarray
    held_out_source: np.ndarray
    held_out_target: np.ndarray
    photographs: Bunch


def bin_colors(pixels, n_bins=32):
    """Summarise pixels by the mean colour and the share of each occupied cell of a grid."""
    cells = np.minimum((pixels * n_bins).astype(int), n_bins - 1)
    _, cell, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    sums = np.column_stack([np.bincount(cell.ravel(), channel) for channel in pixels.T])
    return sums / counts[:, None], counts / len(pixels)


def load_palettes(n_held_out=100_000):
    """Split the pixels of the two photographs of scikit-learn."""
    photographs = load_color_palettes(N_PIXELS)
    source, target = photographs.X_source, photographs.X_target
    return Palettes(
        *bin_colors(source[n_held_out:]),
        *bin_colors(target[n_held_out:]),
        source[:n_held_out],
        target[:n_held_out],
        photographs,
    )


def fit_transport(palettes, callbacks=()):
    """Fit the transport from the weighted colours of one photograph to those of the other."""
    X = np.concatenate([palettes.source, palettes.target])
    sample_domain = np.repeat([1, -1], [len(palettes.source), len(palettes.target)])
    transport = SinkhornTransport(epsilon=0.01)
    transport.set_callbacks(*callbacks)
    return transport.fit(
        X,
        sample_domain=sample_domain,
        sample_weight=np.concatenate([palettes.source_weights, palettes.target_weights]),
    )


def recolor(transport, image):
    """Move every pixel of a photograph; equal pixels are moved once."""
    colors, place = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)
    return transport.transform(colors)[place.ravel()].reshape(image.shape).clip(0.0, 1.0)
