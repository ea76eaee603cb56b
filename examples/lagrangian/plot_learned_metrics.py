"""
===============================
Which way is cheap? Learning it
===============================

Populations were seen at successive times, nobody saw who went where. Under the Euclidean metric
the next population is reached along straight lines; :class:`~skot.LagrangianMetricLearner` asks
the other way round for the metric under which such a motion is cheapest.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# Three sequences whose true metric is known, from :func:`~skot.datasets.fetch_metric_sequences`
# where its files are at hand; otherwise they are made up in the same manner: a cloud that goes
# around a circle, one that splits in two, and two that cross.
import numpy as np

from skot.costs import CircleMetric, CrossingPathsMetric, MassSplittingMetric
from skot.datasets import fetch_metric_sequences

rng = np.random.RandomState(0)
METRICS = {
    "circle": CircleMetric(),
    "mass_splitting": MassSplittingMetric(),
    "x_paths": CrossingPathsMetric(),
}


def made_up(name):
    """Move clouds along the cheap directions."""
    time = np.repeat(np.arange(25 if name == "circle" else 10), 200)
    if name == "circle":
        angle = 2.0 * np.pi * time / 24
        center = np.column_stack([np.cos(angle), np.sin(angle)])
        return center + rng.normal(scale=0.1, size=center.shape), time
    if name == "mass_splitting":
        start = rng.normal(size=(200, 2))
        way = np.where(start[:, 1:] > 0.0, [[1.0, 1.0]], [[1.0, -1.0]])
        return np.concatenate([start + t / 9 * 10.0 * way for t in range(10)]), time
    slope = np.where(np.arange(len(time)) % 2, 1.0, -1.0)
    along = -1.0 + 2.0 * time / 9
    center = np.column_stack([along, slope * along])
    return center + rng.normal(scale=0.1, size=center.shape), time


def sequence(name):
    """Return the points and their times."""
    try:
        found = fetch_metric_sequences(name)
    except FileNotFoundError:
        return made_up(name)
    return found.X, found.time


sequences = {name: sequence(name) for name in METRICS}

# %%
# A metric assigns a matrix to each place. The learned one has given eigenvalues, cheap in one
# direction and expensive across; the direction is a network of the place.
from skot import LagrangianMetricLearner

learners = {
    name: LagrangianMetricLearner(
        n_knots=3, n_alternations=2, max_iter=200, batch_size=256, random_state=0
    ).fit(X, time)
    for name, (X, time) in sequences.items()
}

# %%
# The cheap directions, learned in blue and true in light grey, over the populations from early
# (dark) to late. The number is their mean absolute cosine in the places of the data.
import matplotlib.pyplot as plt
import torch

from skot.metrics import alignment_score


def cheap_directions(metric, places):
    """Return the eigenvectors of the lesser eigenvalues."""
    with torch.no_grad():
        return torch.linalg.eigh(metric(torch.from_numpy(places)))[1][..., 0].numpy()


def draw_strokes(ax, places, directions, length, **style):
    """Draw a stroke for each direction, which has no sign."""
    ax.quiver(
        *places.T,
        *(directions * length).T,
        angles="xy",
        scale_units="xy",
        scale=1.0,
        pivot="mid",
        headwidth=0,
        headlength=0,
        headaxislength=0,
        **style,
    )


figure, axes = plt.subplots(1, 3, figsize=(8, 3.4), layout="constrained")
for ax, (name, learner) in zip(axes, learners.items(), strict=True):
    X, time = sequences[name]
    low, high = X.min(0), X.max(0)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    grid = np.stack(np.meshgrid(*np.linspace(low, high, 13).T), -1).reshape(-1, 2)
    length = 0.75 * (high - low).min() / 12
    ax.scatter(*X.T, c=time, cmap="Greys_r", vmin=-6, vmax=1.6 * time.max(), s=2, linewidths=0)
    true = cheap_directions(METRICS[name], grid)
    draw_strokes(ax, grid, true, length, color="#D5D5D5", width=0.022)
    learned = cheap_directions(learner.metric_, grid)
    draw_strokes(ax, grid, learned, length, color="#0072B2", width=0.008)
    score = alignment_score(learner.metric_, METRICS[name], X)
    ax.set_title(f"{name.replace('_', ' ')}: {score:.3f}")
    ax.set(aspect="equal", adjustable="datalim")
    ax.set_axis_off()

# %%
# With a metric there are geodesics. Some points of the first population are followed to the last
# time: between two populations they bend, as the learned directions do.
from skot.plots import PathDisplay

figure, axes = plt.subplots(1, 3, figsize=(8, 3.5), layout="constrained")
for ax, (name, learner) in zip(axes, learners.items(), strict=True):
    X, time = sequences[name]
    first, last = X[time == time.min()], X[time == time.max()]
    PathDisplay.from_estimator(learner, first, last, n_times=120, n_lines=60, ax=ax)
    legend = ax.get_legend()
    legend.remove()
    ax.set_title(name.replace("_", " "))
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_axis_off()
figure.legend(handles=legend.legend_handles, loc="outside lower center", ncols=3, frameon=False)

plt.show()
