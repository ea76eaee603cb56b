"""
======================================================
From one sample to another: the map and its smoothness
======================================================

:class:`~skot.SinkhornTransport` moves one sample onto another at the least squared distance. Its
parameter ``epsilon`` decides how smooth the plan is, and the map takes back what smoothing does to
a single sample.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# The source is one Gaussian, the target eight of them. Each grey line joins a point to where it
# is moved. With ``residual=0``, above, every point goes to the average of the targets that it is
# coupled with: the larger ``epsilon``, the closer to the mean of all. The default, below, adds what
# the point itself differs from the average of *its* sample under the same smoothing: with large
# ``epsilon`` the source keeps its shape, and with a small one, where such averages are over single
# rows and say little, the two maps are the same.
import matplotlib.pyplot as plt

from skot import SinkhornTransport
from skot.datasets import make_eight_gaussians_pair
from skot.plots import LossCurveDisplay, TransportMapDisplay

X, Y = make_eight_gaussians_pair(500, random_state=0)

epsilons = [0.5, 0.05, 0.005]
figure, grid = plt.subplots(2, 3, figsize=(8, 6), layout="constrained", sharex=True, sharey=True)
for residual, axes in zip([0.0, "auto"], grid, strict=True):
    transports = [SinkhornTransport(value, residual=residual).fit(X, Y) for value in epsilons]
    for ax, transport in zip(axes, transports, strict=True):
        TransportMapDisplay.from_estimator(transport, X, Y, n_lines=120, ax=ax)
        legend = ax.get_legend()
        legend.remove()
        share = f"{transport.residual_:.2f}"
        ax.set_title(f"epsilon = {transport.epsilon:g}, residual {share}", fontsize="medium")
figure.legend(handles=legend.legend_handles, loc="outside upper center", ncols=3, frameon=False)

# %%
# The map is defined for points that were not in the sample. Here the lines of a grid are moved:
# they bend and draw together where the target has its modes. The averages in the middle are the
# gradient of a convex function, so lines cross only where they crossed before; what is added on
# the right carries the grid farther, and may fold it.
import numpy as np

lines, fine = np.linspace(-2.4, 2.4, 17), np.linspace(-2.4, 2.4, 161)
columns = [np.column_stack([np.full_like(fine, value), fine]) for value in lines]

_, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
for line in columns + [column[:, ::-1] for column in columns]:
    axes[0].plot(*line.T, color="#0072B2", linewidth=1)
for ax, residual in zip(axes[1:], [0.0, "auto"], strict=True):
    smooth = SinkhornTransport(epsilon=0.15, residual=residual).fit(X, Y)
    for line in columns + [column[:, ::-1] for column in columns]:
        ax.plot(*smooth.transform(line).T, color="#009E73", linewidth=1)
for ax, title in zip(axes, ("a grid in the source", "its averages", "its images"), strict=True):
    ax.set(title=title, aspect="equal")
    ax.set_axis_off()

# %%
# A smaller ``epsilon`` needs more iterations. The error is the distance between the marginals of
# the plan and the weights of the samples; it rises where the solver, which starts with a large
# ``epsilon``, passes to the next smaller one.
_, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
for transport in transports:
    LossCurveDisplay.from_estimator(transport, name=f"epsilon = {transport.epsilon:g}", ax=ax)

plt.show()
