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
from skot.plots import InterpolationDisplay

angle = np.arctan2(X_moved[:, 1], X_moved[:, 0])
goal = np.round(4.0 * angle / np.pi).astype(int) % 8

interpolation = InterpolationDisplay.from_estimator(transport, X_new, colors=goal)
for ax in interpolation.axes_:
    ax.set_axis_off()

# %%
# The potential itself. Its level lines are drawn after the parabola ``|x|^2 / 2`` is taken away,
# which alone would leave every point where it is. The arrows are the gradient of what is left:
# they say where the map moves a point.
from skot.plots import PotentialDisplay

_, ax = plt.subplots(figsize=(6.4, 5.8), layout="constrained")
ax.set(xlim=(-3.3, 3.3), ylim=(-3.3, 3.7), title="where points are pushed")
PotentialDisplay.from_estimator(transport, X_new[:400], ax=ax)
ax.set_axis_off()

plt.show()
