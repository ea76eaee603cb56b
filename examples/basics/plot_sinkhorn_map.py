"""
======================================================
From one sample to another: the map and its smoothness
======================================================

:class:`~skot.SinkhornTransport` moves one sample onto another at the least squared distance. Its
parameter ``epsilon`` decides how smooth the map is: small values reproduce every detail of the
target, large ones only its outline.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# The source is one Gaussian, the target eight of them. Each grey line joins a point to where it
# is moved.
import matplotlib.pyplot as plt

from skot import SinkhornTransport
from skot.datasets import make_eight_gaussians_pair
from skot.plots import LossCurveDisplay, TransportMapDisplay

X, Y = make_eight_gaussians_pair(500, random_state=0)

epsilons = [0.5, 0.05, 0.005]
transports = [SinkhornTransport(epsilon=epsilon).fit(X, Y) for epsilon in epsilons]

_, axes = plt.subplots(1, 3, figsize=(13, 4.6), layout="constrained", sharex=True, sharey=True)
for ax, transport in zip(axes, transports, strict=True):
    TransportMapDisplay.from_estimator(transport, X, Y, ax=ax)
    ax.set_title(f"epsilon={transport.epsilon:g}")

# %%
# The map is defined for points that were not in the sample. Here a regular grid is moved: it is
# bent, and the map does not fold it, as the gradient of a convex function cannot.
import numpy as np

lines = np.linspace(-2.0, 2.0, 13)
fine = np.linspace(-2.0, 2.0, 121)
transport = transports[1]

_, axes = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
for value in lines:
    for line in (
        np.column_stack([np.full_like(fine, value), fine]),
        np.column_stack([fine, np.full_like(fine, value)]),
    ):
        axes[0].plot(*line.T, color="#0072B2", linewidth=1)
        axes[1].plot(*transport.transform(line).T, color="#009E73", linewidth=1)
axes[0].set_title("a grid in the source")
axes[1].set_title("where it is moved")
for ax in axes:
    ax.set_aspect("equal")

# %%
# A smaller ``epsilon`` needs more iterations. The error is the distance between the marginals of
# the plan and the weights of the samples.
_, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
for transport in transports:
    LossCurveDisplay.from_estimator(transport, name=f"epsilon={transport.epsilon:g}", ax=ax)

plt.show()
