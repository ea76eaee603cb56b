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
X_new, Y_new = make_eight_gaussians_pair(1000, random_state=1)

transport = W2GNTransport(max_iter=300, random_state=0).fit(X, Y)

# %%
# The map, which is the gradient of the potential, and the way back, the gradient of its conjugate:
# ``inverse_transform`` finds the points that the map sends to the given ones.
X_moved = transport.transform(X_new)
Y_back = transport.inverse_transform(Y_new)

figure, axes = plt.subplots(1, 2, figsize=(8, 4.5), layout="constrained", sharex=True, sharey=True)
TransportMapDisplay.from_predictions(X_new, X_moved, Y_new, ax=axes[0], n_lines=300)
back = TransportMapDisplay.from_predictions(Y_new, Y_back, X_new, ax=axes[1], n_lines=300)
back.source_.set_color("#E69F00")
back.target_.set_color("#0072B2")
handles = axes[0].get_legend().legend_handles
for ax, title in zip(axes, ("there: transform", "and back: inverse_transform"), strict=True):
    ax.get_legend().remove()
    ax.set(title=title, xlim=(-5.2, 5.2), ylim=(-5.2, 5.2))
    ax.set_axis_off()
figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)

# %%
# Mass moves along straight lines at constant speed: at time t the point x is at
# ``x + t * (T(x) - x)``. The colour says to which of the eight a point goes.
from skot.plots import InterpolationDisplay

angle = np.arctan2(X_moved[:, 1], X_moved[:, 0])
goal = np.round(4.0 * angle / np.pi).astype(int) % 8

_, axes = plt.subplots(1, 5, figsize=(8, 2.1), layout="constrained", sharex=True, sharey=True)
InterpolationDisplay.from_estimator(transport, X_new, colors=goal, axes=axes)
for ax in axes:
    ax.set_axis_off()

# %%
# The potential itself. Its level lines are drawn after the parabola ``|x|^2 / 2`` is taken away,
# which alone would leave every point where it is. The arrows are the gradient of what is left:
# they say where the map moves a point.
from skot.plots import PotentialDisplay

_, ax = plt.subplots(figsize=(6.4, 5.4), layout="constrained")
ax.set(xlim=(-3.3, 3.3), ylim=(-3.3, 3.3), title="where points are pushed")
PotentialDisplay.from_estimator(transport, X_new[:400], ax=ax)
ax.get_legend().remove()
ax.set_axis_off()

plt.show()
