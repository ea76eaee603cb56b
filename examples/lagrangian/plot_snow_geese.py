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
    X, month, track, track_name = geese.X, geese.month, geese.tracks[::10], "one goose, by GPS"
except FileNotFoundError:
    X, month, track = made_up_geese()
    track_name = "the way of the western flock"

# %%
# Where they are in each month, with the track of the goose for the whole year.
import matplotlib.pyplot as plt

# Some sightings are far from all others, and left outside the map.
left, bottom = np.quantile(X, 0.002, axis=0) - 0.4
right, top = np.quantile(X, 0.998, axis=0) + 0.4


def new_map(ax, labels=False):
    """Draw meridians and parallels."""
    longitudes, latitudes = np.arange(-160, -50, 20), np.arange(30, 80, 10)
    x, y = project(longitudes, 0.0)[0], project(0.0, latitudes)[1]
    ax.set_xticks(x, [f"{-longitude}° W" for longitude in longitudes] if labels else len(x) * [""])
    ax.set_yticks(y, [f"{latitude}° N" for latitude in latitudes] if labels else len(y) * [""])
    ax.tick_params(length=0)
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[:].set_visible(False)
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")


figure, axes = plt.subplots(3, 4, figsize=(8, 5.8), layout="constrained")
for k, (ax, name) in enumerate(zip(axes.flat, MONTHS.split(), strict=True), start=1):
    new_map(ax)
    ax.plot(*track.T, color="#D55E00", lw=0.5, alpha=0.6)
    ax.scatter(*X[month == k].T, s=2, color="#0072B2", alpha=0.5, linewidths=0)
    ax.set_title(name, fontsize=11)

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
# metric makes cheap, near sightings. The red line, the track of the goose with the transmitter or
# the way that was made up, is not known to the learner.
import torch

from skot.plots import PathDisplay

learner = learners["learned metric"]
start = X[month == 1][::5]
paths = learner.predict_trajectories(start, times=np.linspace(1, 7, 121))

figure, ax = plt.subplots(figsize=(7, 6.4), layout="constrained")
grid = np.stack(np.meshgrid(np.arange(left, right, 0.3), np.arange(bottom, top, 0.3)), -1)
grid = grid.reshape(-1, 2)
grid = grid[np.linalg.norm(grid[:, None] - X[::7], axis=2).min(1) < 0.6]
with torch.no_grad():
    cheap = torch.linalg.eigh(learner.metric_(torch.from_numpy(grid)))[1][..., 0].numpy()
strokes = {"angles": "xy", "scale_units": "xy", "scale": 1.0, "pivot": "mid", "headwidth": 0}
ax.quiver(*grid.T, *(0.22 * cheap).T, headlength=0, headaxislength=0, color="0.6", **strokes)
display = PathDisplay.from_predictions(paths, n_lines=200, ax=ax)
(line,) = ax.plot(*track.T, color="#D55E00", lw=0.9, zorder=6)
handles = [display.source_, display.transported_, line]
names = ["January", "July", track_name]
figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, markerscale=2)
ax.get_legend().remove()
new_map(ax, labels=True)

plt.show()

# sphinx_gallery_thumbnail_number = 3  # noqa: ERA001
