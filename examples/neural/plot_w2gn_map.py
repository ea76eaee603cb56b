"""
=============================================
A map that is learned: there, back, and along
=============================================

:class:`~skot.W2GNTransport` learns a convex function whose gradient is the optimal map. One network
gives the map, its inverse, and every position on the way from one distribution to the other.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# One Gaussian is moved to eight of them. What is fitted on are 4000 points of each side; all points
# that are drawn below are new.
import matplotlib.pyplot as plt
import numpy as np

from skot import W2GNTransport
from skot.datasets import make_eight_gaussians_pair
from skot.plots import TransportMapDisplay

X, Y = make_eight_gaussians_pair(4000, random_state=0)
X_new, Y_new = make_eight_gaussians_pair(1500, random_state=1)

transport = W2GNTransport(max_iter=300, random_state=0).fit(X, Y)

# %%
# The map, and the way back: ``inverse_transform`` finds the points that the map sends to the given
# ones. Blue is the source, orange the target, green what was moved.
X_moved = transport.transform(X_new)
Y_back = transport.inverse_transform(Y_new)

_, axes = plt.subplots(1, 2, figsize=(10, 5.2), layout="constrained", sharex=True, sharey=True)
TransportMapDisplay.from_predictions(X_new, X_moved, Y_new, ax=axes[0], n_lines=300)
back = TransportMapDisplay.from_predictions(Y_new, Y_back, X_new, ax=axes[1], n_lines=300)
back.source_.set_color("#E69F00")
back.target_.set_color("#0072B2")
axes[1].get_legend().remove()
axes[0].set_title("source to target: the gradient of the potential")
axes[1].set_title("target to source: the gradient of its conjugate")
for ax in axes:
    ax.set_axis_off()

# %%
# Mass moves along straight lines at constant speed: at time t the point x is at
# ``x + t * (T(x) - x)``. The colour says to which of the eight a point goes.
palette = np.array(
    ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442"]
)
angle = np.arctan2(X_moved[:, 1], X_moved[:, 0])
colors = palette[np.round(4.0 * angle / np.pi).astype(int) % 8]

_, axes = plt.subplots(1, 5, figsize=(15, 3.4), layout="constrained", sharex=True, sharey=True)
for ax, t in zip(axes, np.linspace(0.0, 1.0, 5), strict=True):
    ax.scatter(*(X_new + t * (X_moved - X_new)).T, c=colors, s=5)
    ax.set(title=f"t = {t:g}", aspect="equal")
    ax.set_axis_off()

# %%
# The potential itself. Its level lines are drawn after the parabola ``|x|^2 / 2`` is taken away,
# which alone would leave every point where it is. The arrows are the gradient of what is left:
# they say where the map moves a point.
import torch

side = np.linspace(-3.0, 3.0, 121)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
with torch.no_grad():
    values = transport.potential_(torch.as_tensor(grid)).numpy()
height = (values - 0.5 * np.square(grid).sum(axis=1)).reshape(len(side), len(side))
coarse = grid.reshape(121, 121, 2)[10::20, 10::20].reshape(-1, 2)
arrows = transport.transform(coarse) - coarse

_, ax = plt.subplots(figsize=(6.4, 5.4), layout="constrained")
levels = ax.contourf(side, side, height - height.min(), levels=14, cmap="cividis")
ax.contour(side, side, height, levels=14, colors="white", linewidths=0.6, alpha=0.6)
ax.quiver(*coarse.T, *arrows.T, color="white", width=0.004, angles="xy")
ax.figure.colorbar(levels, ax=ax, label="potential less the parabola")
ax.set(aspect="equal", title="where points are pushed")
ax.set_axis_off()

plt.show()
