"""
=====================================
Densities and samples: a map as flow
=====================================

Fitted without a target, :class:`~skot.W2GNTransport` learns the optimal map from a sample to the
standard normal law. The change of variables makes a density of it, and its inverse turns normal
noise into new rows.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# Two samples of 2000 rows whose density is known, to be held against what is learned. The potential
# is a soft maximum of affine functions: it is convex and smooth, so that its gradient is a map
# that can be inverted, and can tear a normal law into the thin curves of a sample.
import matplotlib.pyplot as plt
import numpy as np

from skot import W2GNTransport
from skot.datasets import make_planar_sample, planar_log_density
from skot.networks import LogSumExpPotential
from skot.solvers.conjugate import LBFGSConjugate
from skot.training import Adam, CosineSchedule

names = ["moons", "swiss_roll"]
samples = {name: make_planar_sample(name, 2000, random_state=0) for name in names}
flows = {
    name: W2GNTransport(
        LogSumExpPotential(),
        conjugate_solver=LBFGSConjugate(max_iter=60, tol=1e-2),
        optimizer=Adam(lr=1e-2, schedule=CosineSchedule()),
        max_iter=400,
        batch_size=256,
        random_state=0,
    ).fit(X.astype(np.float32))
    for name, X in samples.items()
}

# %%
# The learned density beside the true one, on the same scale of colours, and rows drawn from the
# flow beside those it was fitted on.
side = np.linspace(-2.8, 2.8, 200)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype(np.float32)
window = (side[0], side[-1]) * 2

figure, axes = plt.subplots(2, 4, figsize=(8, 4.4), layout="constrained")
for row, (name, flow) in zip(axes, flows.items(), strict=True):
    truth = np.exp(planar_log_density(name, grid))
    learned = np.exp(flow.score_samples(grid))
    draws = flow.sample(2000, random_state=0)
    for ax, density in ((row[1], truth), (row[2], learned)):
        image = density.reshape(len(side), len(side))
        ax.imshow(image, extent=window, origin="lower", cmap="cividis", vmin=0.0, vmax=truth.max())
    row[0].scatter(*samples[name].T, s=2, color="#0072B2", linewidths=0)
    row[3].scatter(*draws.T, s=2, color="#009E73", linewidths=0)
    row[0].set_ylabel(name.replace("_", " "), fontsize=12)
    for ax in row:
        ax.set(xlim=window[:2], ylim=window[:2], aspect="equal", xticks=[], yticks=[])
        ax.spines[:].set_color("0.8")
for ax, title in zip(axes[0], ("sample", "true density", "learned", "new rows"), strict=True):
    ax.set_title(title)

# %%
# Mean log-likelihood of rows that the flow has not seen, against the best that any density can
# reach, which is minus the entropy.
for name, flow in flows.items():
    X_new = make_planar_sample(name, 5000, random_state=1)
    best = planar_log_density(name, X_new).mean()
    print(f"{name:10}  learned {flow.score_samples(X_new).mean():.3f}  true {best:.3f} nats")

# %%
# The flow itself: from normal noise to the sample on straight lines, as optimal transport goes. The
# colour of a point is the angle at which it started.
rng = np.random.default_rng(0)
noise = rng.normal(size=(4000, 2)).astype(np.float32)
hue = np.arctan2(noise[:, 1], noise[:, 0])
times = np.linspace(0.0, 1.0, 5)

figure, axes = plt.subplots(2, 5, figsize=(8, 3.7), layout="constrained")
for row, flow in zip(axes, flows.values(), strict=True):
    rows = flow.inverse_transform(noise)
    for ax, t in zip(row, times, strict=True):
        ax.scatter(*((1 - t) * noise + t * rows).T, c=hue, cmap="twilight_shifted", s=2, lw=0)
        ax.set(xlim=window[:2], ylim=window[:2], aspect="equal")
        ax.set_axis_off()
for ax, t in zip(axes[0], times, strict=True):
    ax.set_title(f"t = {t:g}")

plt.show()
