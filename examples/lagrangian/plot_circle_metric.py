"""
=========================
Paths that keep to a road
=========================

Under a Riemannian metric some directions are cheaper than others. Here motion along circles around
the origin costs a thousandth of motion across them, and :class:`~skot.LagrangianOT` takes the
detour.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# Two narrow Gaussians on opposite sides of a circle, at squared Euclidean cost and under the
# metric. The first is the transport along straight lines, and is known to be: no paths are
# learned.
from skot import LagrangianOT
from skot.costs import CircleMetric, Kinetic, RiemannianKinetic
from skot.datasets import make_obstacle_pair

X, Y = make_obstacle_pair("circle", 4000, random_state=0)
X_new, Y_new = make_obstacle_pair("circle", 200, random_state=1)

lagrangians = {
    "Euclidean": Kinetic(),
    "circles are cheap": RiemannianKinetic(CircleMetric(cheap=1e-3)),
}
transports = {
    name: LagrangianOT(lagrangian, max_iter=250, batch_size=192, random_state=0).fit(X, Y)
    for name, lagrangian in lagrangians.items()
}

# %%
# The paths of points that were not seen in ``fit``. A straight line costs little under the one
# metric and much under the other.
import matplotlib.pyplot as plt

from skot.plots import PathDisplay

figure, axes = plt.subplots(1, 2, figsize=(8, 4.6), layout="constrained", sharex=True, sharey=True)
for ax, (name, transport) in zip(axes, transports.items(), strict=True):
    PathDisplay.from_estimator(transport, X_new, Y_new, n_times=80, ax=ax)
    for radius in (0.5, 1.0, 1.5):
        circle = plt.Circle((0, 0), radius, fill=False, color="0.8", lw=0.8, ls=":", zorder=0)
        ax.add_patch(circle)
    legend = ax.get_legend()
    legend.remove()
    ax.set(title=name, xlim=(-1.55, 1.55), ylim=(-1.55, 1.55))
    ax.set_axis_off()
figure.legend(handles=legend.legend_handles, loc="outside lower center", ncols=3, frameon=False)

# %%
# How far the paths are from the origin on their way. On a circle that would not change.
import numpy as np

time = np.linspace(0.0, 1.0, 80)
colors = {"Euclidean": "#9A9A9A", "circles are cheap": "#0072B2"}
_, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for name, transport in transports.items():
    radii = np.linalg.norm(transport.transport_paths(X_new, n_times=80), axis=2)
    low, middle, high = np.quantile(radii, [0.05, 0.5, 0.95], axis=0)
    ax.fill_between(time, low, high, color=colors[name], alpha=0.25, linewidth=0)
    ax.plot(time, middle, color=colors[name], label=name)
ax.spines[["top", "right"]].set_visible(False)
ax.set(xlabel="time", ylabel="distance to the origin", ylim=(0.0, 1.4))
ax.legend(frameon=False, loc="lower left")

# %%
# What both ways cost under the metric: the action of the paths, piece by piece.
import torch


def mean_action(paths):
    """Integrate the Lagrangian of the metric along sampled paths."""
    steps = (paths[:, 1:] - paths[:, :-1]) * (paths.shape[1] - 1)
    middles = 0.5 * (paths[:, 1:] + paths[:, :-1])
    lagrangian = lagrangians["circles are cheap"]
    return lagrangian(torch.from_numpy(middles), torch.from_numpy(steps), 0.0).mean().item()


for name, transport in transports.items():
    print(f"{name:18}: {mean_action(transport.transport_paths(X_new, n_times=400)):.4f}")

plt.show()
