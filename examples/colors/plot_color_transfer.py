"""
=================================
The colours of another photograph
=================================

A photograph is a cloud of colours. :class:`~skot.SinkhornTransport`, fitted on a sample of the
pixels of two photographs, moves all of them: the first gets the colours of the second, and
similar colours stay similar.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
import matplotlib.pyplot as plt

from skot import SinkhornTransport
from skot.datasets import load_color_palettes
from skot.metrics import sinkhorn_divergence

# The first 1500 pixels are fitted on, the others are kept to see how well it went.
palettes = load_color_palettes(3000)
X, X_held_out = palettes.X_source[:1500], palettes.X_source[1500:]
Y, Y_held_out = palettes.X_target[:1500], palettes.X_target[1500:]

transport = SinkhornTransport(epsilon=0.01).fit(X, Y)

# %%
# The divergence between the two clouds, before and after, on pixels that were not fitted on:
before = sinkhorn_divergence(X_held_out, Y_held_out)
after = sinkhorn_divergence(transport.transform(X_held_out), Y_held_out)
print(f"before {before:.4f}, after {after:.4f}")

# %%
# All the pixels are moved by the same map.
image = palettes.image_source
recolored = transport.transform(image.reshape(-1, 3)).reshape(image.shape).clip(0, 1)

_, axes = plt.subplots(1, 3, figsize=(8, 2.1), layout="constrained")
for ax, picture, title in zip(
    axes,
    (image, palettes.image_target, recolored),
    ("source", "target", "source, recoloured"),
    strict=True,
):
    ax.imshow(picture)
    ax.set_title(title)
    ax.set_axis_off()

# %%
# The clouds themselves, each point in its own colour.
_, axes = plt.subplots(1, 3, figsize=(8, 3.1), layout="constrained", sharex=True, sharey=True)
for ax, points, title in zip(
    axes, (X, Y, transport.transform(X)), ("source", "target", "transported"), strict=True
):
    ax.scatter(points[:, 0], points[:, 2], c=points.clip(0, 1), s=5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set(title=title, xlabel="red", aspect="equal")
axes[0].set_ylabel("blue")

plt.show()
