"""
==================================
Supply and demand around the globe
==================================

Depots deliver to where people live, every day from other stocks. Each day is a transport problem
on the same supports. :class:`~skot.MetaOTRegressor` predicts the dual potentials of a day it has
not seen, and Sinkhorn's iteration needs only a few more passes.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# The world comes from :func:`~skot.datasets.fetch_population` where its file is at hand; otherwise
# one is made up, with continents and cities from random waves. Depots are spread evenly over
# inhabited land, customers live where people do.
import numpy as np

from skot.datasets import fetch_population

N_DEPOTS, N_CUSTOMERS = 60, 6000
rng = np.random.RandomState(0)


def unit_vectors(latitude, longitude):
    """Turn degrees into points on the sphere."""
    latitude, longitude = np.deg2rad(latitude), np.deg2rad(longitude)
    z = np.sin(latitude) * np.ones_like(longitude)
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), z], -1
    )


def made_up_density(latitude, longitude):
    """Sum waves: long ones for the continents, short ones for the cities."""
    points = unit_vectors(latitude[:, None], longitude[None])
    land, cities = (
        np.cos(points @ rng.normal(scale=scale, size=(3, 30)) + rng.uniform(0, 6.3, 30)).sum(-1)
        for scale in (2.5, 25.0)
    )
    return np.where(land > np.quantile(land, 0.7), np.exp(0.5 * cities), 0.0)


def draw_points(weights, n):
    """Draw cells of the raster, and a point in each."""
    rows, columns = np.unravel_index(
        rng.choice(weights.size, n, p=weights.ravel() / weights.sum()), weights.shape
    )
    shift = rng.uniform(-0.5, 0.5, size=(2, n)) * 180 / weights.shape[0]
    return unit_vectors(latitude[rows] + shift[0], longitude[columns] + shift[1])


try:
    world = fetch_population()
    latitude, longitude, density = world.latitude, world.longitude, world.density
except FileNotFoundError:
    latitude, longitude = 89.5 - np.arange(180.0), np.arange(360.0) - 179.5
    density = made_up_density(latitude, longitude)

area = np.cos(np.deg2rad(latitude))[:, None]
depots = draw_points(area * (density > 0), N_DEPOTS)
customers = draw_points(area * density, N_CUSTOMERS)

# %%
# The cost is the distance over the sphere. On any day half of the depots have stock, and demand
# varies from place to place. The regressor is trained on days drawn at random, without a single
# solution. As there are many more customers than depots, it gathers them into groups with nearly
# the same costs, solves the small problem that is left, and its network learns what that leaves
# out.
from skot import MetaOTRegressor
from skot.costs import PrecomputedCost
from skot.networks import DualMLP

EPSILON = 1e-3
cost = PrecomputedCost(np.arccos(np.clip(depots @ customers.T, -1.0, 1.0)))


def draw_days(n):
    """Draw rows of stocks and demands."""
    stock = rng.uniform(size=(n, N_DEPOTS)) * rng.binomial(1, 0.5, size=(n, N_DEPOTS))
    demand = rng.uniform(size=(n, N_CUSTOMERS))
    return np.hstack([w / w.sum(1, keepdims=True) for w in (stock, demand)])


meta = MetaOTRegressor(
    cost, epsilon=EPSILON, network=DualMLP((128,)), max_iter=20, batch_size=32, random_state=0
)
meta.fit(draw_days(320))

# %%
# Two new days. Every customer has the colour of the depot that delivers most to them according to
# the predicted coupling, and a line to it; circles are stocks. Where a stock runs out, customers
# turn to depots further away.
import matplotlib.pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.colors import hsv_to_rgb

days = draw_days(20)
couplings = meta.predict_coupling(days[:2])

hues = (0.618 * np.arange(N_DEPOTS)) % 1.0
colors = hsv_to_rgb(np.column_stack([hues, np.full(N_DEPOTS, 0.6), np.full(N_DEPOTS, 1.0)]))


def axes_of_view(latitude, longitude):
    """Return the directions right, up and to the eye of someone above a place."""
    eye = unit_vectors(latitude, longitude)
    right = np.cross([0.0, 0.0, 1.0], eye)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(eye, right), eye], 1)


def draw_globe(ax, view, coupling, stock):
    """Draw one side of the globe with its deliveries."""
    supplier = coupling.argmax(0)
    steps = np.linspace(0.0, 1.0, 12)[:, None, None]
    arcs = (1 - steps) * depots[supplier] + steps * customers
    arcs = (arcs / np.linalg.norm(arcs, axis=2, keepdims=True)) @ view
    seen = (arcs[..., 2] > 0.0).all(0)
    ax.add_patch(plt.Circle((0, 0), 1.0, color="#0d1b30"))
    ground = land @ view
    ax.scatter(*ground[ground[:, 2] > 0.0, :2].T, s=0.6, color="#2b4f7a", linewidths=0)
    ax.add_collection(
        LineCollection(
            arcs[:, seen, :2].swapaxes(0, 1),
            colors=colors[supplier[seen]],
            linewidths=0.4,
            alpha=0.5,
        )
    )
    ax.scatter(*arcs[-1, seen, :2].T, s=1.2, color=colors[supplier[seen]], linewidths=0)
    at = depots @ view
    seen = (at[:, 2] > 0.0) & (stock > 0)
    ax.scatter(
        *at[seen, :2].T, s=2.2e3 * stock[seen], color=colors[seen], edgecolor="white", zorder=3
    )
    ax.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
    ax.set_axis_off()


land = draw_points(area * (density > 0), 20_000)
views = [axes_of_view(20.0, longitude) for longitude in (-90.0, 20.0, 105.0)]
figure, axes = plt.subplots(2, 3, figsize=(9, 6.2), layout="constrained", facecolor="#050b14")
for day, (row, title) in enumerate(zip(axes, ("one day", "the next day"), strict=True)):
    for ax, view in zip(row, views, strict=True):
        draw_globe(ax, view, couplings[day], days[day, :N_DEPOTS])
    row[0].set_title(title, color="white", loc="left", fontsize=14)

# %%
# The marginal error after each pass over the kernel, for the first day: from zero potentials and
# from the prediction, by Sinkhorn's iteration as published and by the accelerated one. From zeros
# the latter goes through larger regularisations first: the jumps are where it passes on.
from skot.solvers import sinkhorn

starts = {"zeros": None, "prediction": meta.predict_target_potential(days[:1])[0]}
solvers = {"as published": {"anderson_memory": 0, "annealing": False}, "accelerated": {}}
styles = {"zeros": "#888888", "prediction": "#0072B2", "as published": "--", "accelerated": "-"}

_, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
for start, g in starts.items():
    for solver, options in solvers.items():
        result = sinkhorn(
            a=days[0, :N_DEPOTS],
            b=days[0, N_DEPOTS:],
            cost=cost,
            epsilon=EPSILON,
            initializer=g,
            tol=1e-2,
            max_iter=5000,
            **options,
        )
        passes = np.arange(1, len(result.errors) + 1)
        label = f"{start}, {solver}: {len(passes)} passes"
        ax.loglog(passes, result.errors, color=styles[start], ls=styles[solver], label=label)
ax.axhline(1e-2, color="k", lw=0.5)
ax.spines[["top", "right"]].set_visible(False)
ax.set(xlabel="passes", ylabel="marginal error", ylim=(1e-4, 3.0))
ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 0.02))

# %%
# Over twenty new days, with the accelerated solver. Passes over the small problem, which has a
# fifth of the entries, are not counted as passes; the time is that of everything.
import time


def report(name, solve):
    """Print the median number of passes, and the time of a day."""
    start = time.perf_counter()
    passes = solve().passes
    milliseconds = 1e3 * (time.perf_counter() - start) / len(days)
    print(f"from {name:10}: {passes.median():2.0f} passes, {milliseconds:.0f} ms")


a, b = days[:, :N_DEPOTS], days[:, N_DEPOTS:]
report("zeros", lambda: sinkhorn(a=a, b=b, cost=cost, epsilon=EPSILON, tol=1e-2))
report("prediction", lambda: meta.solve(days, tol=1e-2))

plt.show()
