"""Colour transfer between two photographs, for the demo."""

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
    """Two photographs: a palette of each to fit on, and pixels that it was not made from."""

    source: np.ndarray
    target: np.ndarray
    held_out_source: np.ndarray
    held_out_target: np.ndarray
    photographs: Bunch


def load_palettes(n_held_out=100_000):
    """Split the pixels of the two photographs that scikit-learn ships."""
    photographs = load_color_palettes(N_PIXELS)
    source, target = photographs.X_source, photographs.X_target
    return Palettes(
        make_palette(source[n_held_out:]),
        make_palette(target[n_held_out:]),
        source[:n_held_out],
        target[:n_held_out],
        photographs,
    )


def make_palette(pixels, n_cuts=12):
    """Summarise pixels by 2 ** n_cuts colours, each the mean of as many pixels (median cut)."""
    if n_cuts == 0:
        return pixels.mean(axis=0, keepdims=True)
    half = len(pixels) // 2
    order = np.argpartition(pixels[:, pixels.var(axis=0).argmax()], half)
    parts = pixels[order[:half]], pixels[order[half:]]
    return np.concatenate([make_palette(part, n_cuts - 1) for part in parts])


def fit_transport(palettes, callbacks=()):
    """Fit the transport from the palette of one photograph to that of the other."""
    transport = SinkhornTransport(epsilon=0.0005)
    transport.set_callbacks(*callbacks)
    return transport.fit(palettes.source, palettes.target)


def divergences(palettes, transport, n_samples=10_000, n_draws=30):
    """Return the mean Sinkhorn divergence to held-out pixels of the target.

    Before and after the transport, and that of other pixels of the target: no map can be
    expected to come closer than two samples of the same photograph are to each other. The last
    two are so small that single draws differ by as much as their mean, hence the many draws.
    """
    rng = np.random.default_rng(0)
    source, target = palettes.held_out_source, palettes.held_out_target
    moved = transport.transform(source)
    # Set by the target alone, so that the values can be compared.
    epsilon = 0.05 * 2.0 * target.var(axis=0).sum()

    def draw(pixels, size):
        return pixels[rng.choice(len(pixels), size, replace=False)]

    tasks = []
    for _ in range(n_draws):
        first, second = np.split(draw(target, 2 * n_samples), 2)
        tasks += [
            delayed(divergence)(sample, first, epsilon)
            for sample in (draw(moved, n_samples), second)
        ]
    after, floor = np.reshape(Parallel(n_jobs=2)(tasks), (n_draws, 2)).mean(axis=0)
    return {
        "before": divergence(draw(source, n_samples), first, epsilon),
        "after": after,
        "two samples of the target": floor,
    }


def divergence(X, Y, epsilon):
    """Return the Sinkhorn divergence of two sets of pixels.

    Pixels of the same cell of a fine grid are merged: this is much faster, and changes the
    value by one part in a thousand.
    """
    (X, a), (Y, b) = merge_pixels(X), merge_pixels(Y)
    return sinkhorn_divergence(X, Y, epsilon=epsilon, a=a, b=b, tol=1e-3)


def merge_pixels(pixels, n_cells=48):
    """Return the mean colour and the share of the pixels in each cell of a grid."""
    cells = (pixels * n_cells).astype(int)
    _, cell, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    sums = np.column_stack([np.bincount(cell.ravel(), channel) for channel in pixels.T])
    return sums / counts[:, None], counts / len(pixels)


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
