"""
===========================
Transport around obstacles
===========================

What is in the way makes paths bend. :class:`~skot.LagrangianOT` moves one sample to another at the
least action: kinetic energy, plus what it costs to be where one is.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# Two strips, and between them a box that is expensive to cross, a wall with a slit, a hill, or a
# valley: in the well it is the cheaper the nearer one is to the origin. The fits are short, so that
# the page is made in half a minute, and follow the target sample more closely than by default.
# Walls take more steps than slopes: they rise and sharpen while the networks learn.
from skot import LagrangianOT
from skot.datasets import make_obstacle_pair, obstacle_lagrangian
from skot.losses import EnergyAugmentation
from skot.training import ExponentialMovingAverage

STEPS = {"box": 150, "slit": 200, "hill": 80, "well": 100}

X, Y = make_obstacle_pair("box", 4000, random_state=0)
X_new, Y_new = make_obstacle_pair("box", 300, random_state=1)

transports = {
    name: LagrangianOT(
        obstacle_lagrangian(name),
        augmentation=EnergyAugmentation(30.0),
        averaging=ExponentialMovingAverage(0.97),
        max_iter=max_iter,
        batch_size=128,
        random_state=0,
    ).fit(X, Y)
    for name, max_iter in STEPS.items()
}

# %%
# The paths of points that were not seen in ``fit``, over -U: the darker, the more it costs to be
# there.
import matplotlib.pyplot as plt

from skot.plots import PathDisplay

figure, axes = plt.subplots(2, 2, figsize=(8, 8.4), layout="constrained")
for ax, (name, transport) in zip(axes.flat, transports.items(), strict=True):
    ax.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), title=name)
    PathDisplay.from_estimator(transport, X_new, Y_new, n_lines=100, ax=ax)
    legend = ax.get_legend()
    legend.remove()
    ax.set_axis_off()
figure.legend(handles=legend.legend_handles, loc="outside lower center", ncols=3, frameon=False)

# %%
# The same as a crowd at successive times. Colours tell where a point started: who was above stays
# above.
import numpy as np
import torch

TIMES = np.linspace(0.0, 1.0, 5)

line = torch.linspace(-1.7, 1.7, 200)
grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
figure, axes = plt.subplots(4, len(TIMES), figsize=(8, 6.8), layout="constrained")
for row, (name, transport) in zip(axes, transports.items(), strict=True):
    paths = transport.transport_paths(X[:600], n_times=len(TIMES))
    height = -transport.lagrangian_.potential(grid).numpy()
    for k, ax in enumerate(row):
        ax.imshow(height, extent=(-1.7, 1.7) * 2, origin="lower", cmap="Greys", alpha=0.35)
        ax.scatter(*paths[:, k].T, c=paths[:, 0, 1], cmap="viridis", s=3, linewidths=0)
        ax.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), aspect="equal", xticks=[], yticks=[])
        ax.spines[:].set_color("0.8")
    row[0].set_ylabel(name, fontsize=12)
for ax, t in zip(axes[0], TIMES, strict=True):
    ax.set_title(f"t = {t:g}")

plt.show()
