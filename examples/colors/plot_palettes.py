"""
===========================================
Palettes for pictures, in a blink of an eye
===========================================

The optimal map between the colours of two pictures takes seconds to train. :class:`~skot.MetaW2GN`
trains once, on many pairs of pictures, a network that predicts the weights of such maps. After
that a map between two new pictures takes a few milliseconds.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# The two photographs that scikit-learn ships are cut into tiles, which have palettes of their own:
# sky, roofs, leaves, petals. Tiles of almost one colour are left out, and four are kept aside.
import itertools
import time

import matplotlib.pyplot as plt
import numpy as np

from skot import GaussianTransport, MetaW2GN
from skot.datasets import load_color_palettes
from skot.metrics import sinkhorn_divergence
from skot.networks import DeepSets


def cut(picture, n_rows=4, n_columns=6):
    """Cut a picture into equal tiles."""
    height, width = picture.shape[0] // n_rows, picture.shape[1] // n_columns
    corners = itertools.product(range(n_rows), range(n_columns))
    return [picture[i * height : (i + 1) * height, j * width : (j + 1) * width] for i, j in corners]


photographs = load_color_palettes()
tiles = cut(photographs.image_source) + cut(photographs.image_target)
aside = [8, 18, 33, 44]
new = [tiles[k] for k in aside]
known = [
    tile for k, tile in enumerate(tiles) if k not in aside and tile.std(axis=(0, 1)).mean() > 0.06
]

# %%
# The network is trained on all pairs of the others, by the dual of optimal transport: no pair is
# solved. It reads a picture as a cloud of colours.
meta = MetaW2GN(encoder=DeepSets(), max_iter=400, random_state=0).fit(known)
print(f"{len(known)} tiles, {meta.n_iter_} steps")

# %%
# Every new tile in the colours of every other: the map of each of these pairs is predicted.
transports = {}
start = time.perf_counter()
for i, j in itertools.permutations(range(len(new)), 2):
    transports[i, j] = meta.predict_transport(new[i], new[j])
seconds = (time.perf_counter() - start) / len(transports)
print(f"{1000 * seconds:.0f} ms for a map")


def recolor(picture, transport):
    """Move every pixel of a picture."""
    return transport.transform(picture.reshape(-1, 3)).reshape(picture.shape).clip(0.0, 1.0)


n = len(new)
figure, axes = plt.subplots(
    n + 1, n + 1, figsize=(7.6, 7.6), gridspec_kw={"hspace": 0.04, "wspace": 0.04}
)
figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99)
for ax in axes.flat:
    ax.set_axis_off()
for i in range(n):
    axes[0, i + 1].imshow(new[i])
    axes[i + 1, 0].imshow(new[i])
    for j in range(n):
        shown = new[i] if i == j else recolor(new[i], transports[i, j])
        axes[i + 1, j + 1].imshow(shown)
axes[0, 0].text(0.5, 0.66, "palette \N{RIGHTWARDS ARROW}", ha="center", fontsize=13)
axes[0, 0].text(0.5, 0.26, "picture \N{DOWNWARDS ARROW}", ha="center", fontsize=13)

# %%
# How near the colours come to the palette: the Sinkhorn divergence, against that of the linear map
# between the two Gaussians, which is where the network starts.
rng = np.random.default_rng(0)
pixels = [picture.reshape(-1, 3) for picture in new]
samples = [rng.choice(rows, 1000, replace=False) for rows in pixels]
divergences = {"as they are": [], "Gaussian map": [], "predicted map": []}
for (i, j), transport in transports.items():
    gaussian = GaussianTransport().fit(pixels[i], pixels[j])
    for name, rows in zip(
        divergences,
        (samples[i], gaussian.transform(samples[i]), transport.transform(samples[i])),
        strict=True,
    ):
        divergences[name].append(sinkhorn_divergence(rows, samples[j]))
for name, values in divergences.items():
    print(f"{name:14} {np.mean(values):.4f}")

# %%
# A prediction can be trained on as any other transport. And as the map is optimal, colours move
# along straight lines: a picture on its way from one palette to another.
tuned = transports[0, 2].set_params(warm_start=True, max_iter=200, batch_size=512)
tuned.fit(pixels[0], pixels[2])
moved = recolor(new[0], tuned)

_, axes = plt.subplots(1, 5, figsize=(8, 2.0), layout="constrained")
for ax, t in zip(axes, np.linspace(0.0, 1.0, 5), strict=True):
    ax.imshow((1.0 - t) * new[0] + t * moved)
    ax.set_title(f"t = {t:g}")
    ax.set_axis_off()

plt.show()
