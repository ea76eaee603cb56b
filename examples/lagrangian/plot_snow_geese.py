"""
=======================
Snow geese on their way
=======================

Where snow geese are is known month by month; on which way they got there is not.
:class:`~skot.LagrangianMetricLearner` learns from sightings in which direction it is easy to
travel, and follows the population along it. One goose had a transmitter.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# Sightings and the track come from :func:`~skot.datasets.fetch_snow_goose` where its files are at
# hand; otherwise there are two flocks that were made up. Coordinates are those of a Mercator map.
import numpy as np

from skot.datasets import fetch_snow_goose

MONTHS = "January February March April May June July August September October November December"


def project(longitude, latitude):
    """Turn degrees into coordinates of the map."""
    north = np.log(np.tan(np.pi / 4 + np.deg2rad(latitude) / 2))
    origin = np.log(np.tan(np.pi / 4 + np.deg2rad(22.0) / 2))
    return 5.0 * np.deg2rad(np.asarray(longitude) + 172.0), 5.0 * (north - origin)


def made_up_geese():
    """Fly two flocks north and back, one with a turn half-way."""
    rng = np.random.RandomState(0)
    month = np.repeat(np.arange(1, 13), 600)
    way = np.sin(np.pi * (month - 1) / 11) ** 2
    west = np.tile(np.arange(600) % 2, 12)
    longitude = np.where(west, -122 + 15 * np.sin(np.pi * way), -92 + 8 * way)
    X = np.column_stack(project(longitude, 38 + 30 * way))
    hidden = np.linspace(0.0, 1.0, 300)
    track = np.column_stack(project(-122 + 15 * np.sin(np.pi * hidden), 38 + 30 * hidden))
    return X + rng.normal(scale=0.35, size=X.shape), month, track


try:
    geese = fetch_snow_goose()
    X, month, track = geese.X, geese.month, geese.tracks[::10]
except FileNotFoundError:
    X, month, track = made_up_geese()

# %%
# Where they are in each month, with the track of the goose for the whole year.
import matplotlib.pyplot as plt


def new_map(ax, labels=False):
    """Draw meridians and parallels."""
    for longitude in range(-160, -50, 20):
        ax.axvline(project(longitude, 0.0)[0], color="0.9", lw=0.6, zorder=0)
        if labels:
            ax.text(project(longitude, 0.0)[0], -0.25, f"{-longitude}° W", ha="center", fontsize=8)
    for latitude in range(30, 80, 10):
        ax.axhline(project(0.0, latitude)[1], color="0.9", lw=0.6, zorder=0)
        if labels:
            ax.text(-0.1, project(0.0, latitude)[1], f"{latitude}° N", ha="right", fontsize=8)
    ax.set(xlim=(0.0, 10.5), ylim=(0.0, 9.0), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


figure, axes = plt.subplots(3, 4, figsize=(11, 7.8), layout="constrained")
for k, (ax, name) in enumerate(zip(axes.flat, MONTHS.split(), strict=True), start=1):
    new_map(ax)
    ax.plot(*track.T, color="#D55E00", lw=0.5, alpha=0.6)
    ax.scatter(*X[month == k].T, s=3, color="#0072B2", alpha=0.5, linewidths=0)
    ax.set_title(name, fontsize=10)

# %%
# Every other month is left out. Between two months that were seen, a metric predicts the one that
# was not: geese are half-way on their geodesics. Straight lines are what the same learner predicts
# when all directions cost the same. For populations as wide as the real ones neither is clearly
# better. Most of their divergence is that of June, with geese far north where neither May nor July
# has any: no path between the two leads there. What the metric adds is the way.
from skot import LagrangianMetricLearner
from skot.networks import NeuralMetric

settings = {"n_knots": 3, "batch_size": 256, "transport_size": 500, "random_state": 0}
learners = {
    "learned metric": LagrangianMetricLearner(
        NeuralMetric(eigenvalues=(0.3, 1.0)), n_alternations=2, max_iter=300, **settings
    ),
    "straight lines": LagrangianMetricLearner(
        NeuralMetric(eigenvalues=(1.0, 1.0)), n_alternations=1, max_iter=1, **settings
    ),
}
seen = month % 2 == 1
for learner in learners.values():
    learner.fit(X[seen], month[seen])

hidden_months = [2, 4, 6, 8, 10]
divergence = {
    name: [-learner.score(X[month == k], month[month == k]) for k in hidden_months]
    for name, learner in learners.items()
}

_, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for shift, (name, values) in zip((-0.2, 0.2), divergence.items(), strict=True):
    color = "#0072B2" if name == "learned metric" else "#9A9A9A"
    ax.bar(np.arange(5) + shift, values, width=0.38, color=color, label=name)
    print(f"{name}: mean divergence {np.mean(values):.4f}")
ax.set_xticks(range(5), [MONTHS.split()[k - 1] for k in hidden_months])
ax.set_ylabel("divergence of the prediction")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)

# %%
# The way north: geese of January are followed to July. Grey strokes are the directions that the
# metric makes cheap, near sightings; the track of the goose with the transmitter is drawn in
# orange. The learner has not seen it.
import torch

from skot.plots import PathDisplay

learner = learners["learned metric"]
start = X[month == 1][::5]
paths = learner.predict_trajectories(start, times=np.linspace(1, 7, 121))

figure, ax = plt.subplots(figsize=(8.6, 7.6), layout="constrained")
new_map(ax, labels=True)
grid = np.stack(np.meshgrid(np.linspace(0.3, 10.2, 34), np.linspace(0.3, 8.7, 29)), -1)
grid = grid.reshape(-1, 2)
grid = grid[np.linalg.norm(grid[:, None] - X[::7], axis=2).min(1) < 0.6]
with torch.no_grad():
    cheap = torch.linalg.eigh(learner.metric_(torch.from_numpy(grid)))[1][..., 0].numpy()
strokes = {"angles": "xy", "scale_units": "xy", "scale": 1.0, "pivot": "mid", "headwidth": 0}
ax.quiver(*grid.T, *(0.22 * cheap).T, headlength=0, headaxislength=0, color="0.6", **strokes)
display = PathDisplay.from_predictions(paths, n_lines=200, ax=ax)
(line,) = ax.plot(*track.T, color="#D55E00", lw=0.9, zorder=6)
handles = [display.source_, display.transported_, line]
ax.legend(handles, ["January", "July", "one goose, by GPS"], frameon=False, loc="upper left")
ax.grid(False)
ax.set(xlim=(-0.1, 10.5), ylim=(-0.1, 9.0))

plt.show()
