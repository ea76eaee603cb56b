"""Colour transfer between two photographs, for the demo."""

import itertools
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from joblib import Parallel, delayed
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


def bin_colors(pixels, n_bins=24):
    """Summarise pixels by the mean colour and the share of each occupied cell of a grid."""
    cells = np.minimum((pixels * n_bins).astype(int), n_bins - 1)
    _, cell, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    sums = np.column_stack([np.bincount(cell.ravel(), channel) for channel in pixels.T])
    return sums / counts[:, None], counts / len(pixels)


def load_palettes(n_held_out=100_000):
    """Split the pixels of the two photographs that scikit-learn ships."""
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
    transport = SinkhornTransport(epsilon=0.002)
    transport.set_callbacks(*callbacks)
    return transport.fit(
        np.concatenate([palettes.source, palettes.target]),
        sample_domain=np.repeat([1, -1], [len(palettes.source), len(palettes.target)]),
        sample_weight=np.concatenate([palettes.source_weights, palettes.target_weights]),
    )


def divergences(palettes, transport, n_samples=10_000, n_draws=20):
    """Return the mean Sinkhorn divergence to held-out pixels of the target.

    Before and after the transport, and that of other pixels of the target: no map can be
    expected to come closer than two samples of the same photograph are to each other.
    """
    rng = np.random.default_rng(0)
    source, target = palettes.held_out_source, palettes.held_out_target
    moved = transport.transform(source)

    def draw(pixels, size):
        return pixels[rng.choice(len(pixels), size, replace=False)]

    pairs = {
        "before": [(draw(source, n_samples), draw(target, n_samples))],  # one is enough
        "after": [(draw(moved, n_samples), draw(target, n_samples)) for _ in range(n_draws)],
        "two samples of the target": [
            np.split(draw(target, 2 * n_samples), 2) for _ in range(n_draws)
        ],
    }
    # The scale of the target alone, so that the values can be compared.
    epsilon = 0.05 * 2.0 * target.var(axis=0).sum()
    values = iter(
        Parallel(n_jobs=2)(
            delayed(sinkhorn_divergence)(X, Y, epsilon=epsilon, tol=1e-3)
            for X, Y in itertools.chain.from_iterable(pairs.values())
        )
    )
    return {name: np.mean([next(values) for _ in drawn]) for name, drawn in pairs.items()}


def recolor(transport, image):
    """Move every pixel of a photograph; equal colours are moved once."""
    colors, place = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)
    return transport.transform(colors)[place.ravel()].reshape(image.shape).clip(0.0, 1.0)


def draw(palettes, transport, path):
    """Save a picture: the photographs, and under them the clouds of their colours."""
    source, target = palettes.photographs.image_source, palettes.photographs.image_target
    images = {
        "source": source,
        "target": target,
        "source in the colours of the target": recolor(transport, source),
    }
    figure, axes = plt.subplots(
        2, 3, figsize=(12, 6.4), layout="constrained", height_ratios=[1.1, 1.3]
    )
    rows = np.random.default_rng(0).permutation(N_PIXELS)[:4000]
    for (top, bottom), (title, image) in zip(axes.T, images.items(), strict=True):
        top.imshow(image)
        top.set(title=title)
        top.set_axis_off()
        pixels = image.reshape(-1, 3)[rows]
        bottom.scatter(pixels[:, 0], pixels[:, 2], c=pixels, s=5)
        bottom.spines[["top", "right"]].set_visible(False)
        bottom.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="red", ylabel="blue")
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path
