"""
=========================================
Digits translated into other handwriting
=========================================

:class:`~skot.NeuralOT` learns a map between two sets of images that nobody paired. With a strong
cost each image gets one translation; with a weak cost the map takes noise, and gives as many as
one likes.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# The digits that scikit-learn ships are to become bold, at the slant of any hand: the target are
# others of them with wider strokes, turned by 25 degrees to either side. Where the larger sets are
# at hand (environment variable ``SKOT_DATA``), USPS is translated to MNIST, in images of 16 x 16
# pixels.
import os

import matplotlib.pyplot as plt
import numpy as np

from skot import NeuralOT
from skot.datasets import fetch_mnist, fetch_usps, load_shifted_digits
from skot.losses import EnergyAugmentation, WeakKernel
from skot.networks import ResNetPotential, UNet
from skot.training import Adam, CosineSchedule, ExponentialMovingAverage

if os.environ.get("SKOT_DATA"):
    X, y = fetch_usps(return_X_y=True)
    Y = fetch_mnist(image_size=16).data
else:
    digits = load_shifted_digits(rotation=0, jitter=25, contrast=1, brightness=0)
    X, y = digits.X_source.astype(np.float32), digits.y_source
    Y = digits.X_target.astype(np.float32)
side = round(X.shape[1] ** 0.5)

# A digit of each class is kept for the figures.
shown = np.array([np.flatnonzero(y == digit)[0] for digit in range(10)])
X_shown, X_train = X[shown], np.delete(X, shown, axis=0)

# %%
# The map is a U-Net, which starts at the identity; its opponent is a deep potential of images. Both
# are small enough for a laptop, and `max_iter` is: longer training sharpens the images.
channels = (16, 32) if side == 8 else (8, 16, 32)


def translation(cost=None, noise_channels=0):
    """Return a transport of images that is not fitted."""
    return NeuralOT(
        cost,
        transport_map=UNet(
            (side, side), channels=channels, noise_channels=noise_channels, noise_size=1
        ),
        potential=ResNetPotential((side, side), channels=channels),
        augmentation=EnergyAugmentation(30.0),
        optimizer=Adam(lr=1e-3, betas=(0.5, 0.9), schedule=CosineSchedule()),
        averaging=ExponentialMovingAverage(0.99),
        n_map_steps=2,
        n_noise_samples=2,
        max_iter=150,
        batch_size=64,
        random_state=0,
    )


# %%
# The strong cost is half the squared distance: each image changes as little as it can, and stays
# the digit it was.
strong = translation().fit(X_train, Y)

# %%
# A weak cost judges all translations of an image together, and rewards that they differ. That of
# a kernel has only one optimal plan.
weak = translation(WeakKernel(0.8), noise_channels=4).fit(X_train, Y)

# %%
# ``transform`` of a stochastic transport is the mean of the translations, ``sample_transform``
# draws them.
n_draws = 4
translations = {
    "source": X_shown[:, None],
    "strong": strong.transform(X_shown)[:, None],
    "weak": weak.sample_transform(X_shown, n_draws, random_state=0),
    "target": Y[:10, None],
}
colors = {"source": "#0072B2", "strong": "#009E73", "weak": "#009E73", "target": "#E69F00"}


def draw_grid(images_of, colors):
    """Draw one line of digits for each draw of each method."""
    lines = [
        (name, k, images[:, k])
        for name, images in images_of.items()
        for k in range(images.shape[1])
    ]
    figure, axes = plt.subplots(len(lines), 10, figsize=(7.4, 0.74 * len(lines)))
    figure.subplots_adjust(0.1, 0.01, 0.99, 0.99, wspace=0.06, hspace=0.06)
    for row, (name, k, images) in zip(axes, lines, strict=True):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image.reshape(side, side), cmap="gray", vmin=0, vmax=1)
            ax.set_axis_off()
        row[0].annotate(
            name if k == 0 else "",
            (-0.15, 0.5),
            xycoords="axes fraction",
            ha="right",
            va="center",
            color=colors[name],
        )


draw_grid(translations, colors)

# %%
# Where the translations of a digit differ: the standard deviation of each pixel.
spread = np.sqrt(weak.conditional_variance(X_shown))

_, axes = plt.subplots(1, 10, figsize=(9, 1.1), layout="constrained")
for ax, image in zip(axes, spread, strict=True):
    ax.imshow(image.reshape(side, side), cmap="cividis", vmin=0, vmax=spread.max())
    ax.set_axis_off()

plt.show()
