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
# The digits that scikit-learn ships stand upright; the target are others of them, turned to the
# left by 10 to 40 degrees. Where the larger sets are at hand (environment variable ``SKOT_DATA``),
# USPS is translated to MNIST instead, in images of 16 x 16 pixels that the digits fill: with the
# margin that MNIST leaves, all its digits would be far from all of USPS.
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import zoom

from skot import NeuralOT
from skot.datasets import fetch_mnist, fetch_usps, load_shifted_digits
from skot.losses import EnergyAugmentation, WeakKernel
from skot.networks import ResNetPotential, UNet
from skot.training import Adam, CosineSchedule, ExponentialMovingAverage

try:
    X, y = fetch_usps(return_X_y=True, download_if_missing=False)
    mnist = fetch_mnist(download_if_missing=False).images[:10_000, 4:-4, 4:-4]
    Y = zoom(mnist, (1, 0.8, 0.8), order=1).reshape(-1, 256)
except FileNotFoundError:
    digits = load_shifted_digits(rotation=25, jitter=8, thickness=0, contrast=1, brightness=0)
    X, y = digits.X_source.astype(np.float32), digits.y_source
    Y = digits.X_target.astype(np.float32)
side = round(X.shape[1] ** 0.5)

# A digit of each class is kept for the figures.
shown = np.array([np.flatnonzero(y == digit)[0] for digit in range(10)])
X_shown, X_train = X[shown], np.delete(X, shown, axis=0)

# %%
# The map is a U-Net, which starts at the identity; its opponent is a deep potential of images. Both
# are small, and the number of steps is: longer training sharpens the images.
channels, n_steps = ((16, 32), 200) if side == 8 else ((8, 16, 32), 120)


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
        n_map_steps=3,
        n_noise_samples=2,
        max_iter=n_steps,
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
# ``sample_transform`` draws translations; ``transform`` gives their mean, which is an average image
# where they differ.
draws = weak.sample_transform(X_shown, 4, random_state=0)
lines = [
    ("source", X_shown, "#0072B2"),
    ("strong", strong.transform(X_shown), "#009E73"),
    *(("weak", draws[:, k], "#009E73") for k in range(4)),
    ("mean of weak", weak.transform(X_shown), "#555555"),
    ("target", Y[:10], "#E69F00"),
]

figure, axes = plt.subplots(len(lines), 10, figsize=(7.6, 0.7 * len(lines)))
figure.subplots_adjust(0.17, 0.01, 0.99, 0.99, wspace=0.06, hspace=0.06)
for row, (name, images, color) in zip(axes, lines, strict=True):
    for ax, image in zip(row, images, strict=True):
        ax.imshow(image.reshape(side, side), cmap="gray", vmin=0, vmax=1, interpolation="bicubic")
        ax.set_axis_off()
    row[0].text(
        -0.15, 0.5, name, transform=row[0].transAxes, ha="right", va="center", color=color, size=11
    )

# %%
# How much of the variance of the target is within the translations of one image:
variance = weak.conditional_variance(X_shown).sum(axis=1).mean()
print(f"{variance / Y.var(axis=0).sum():.0%}")

plt.show()
