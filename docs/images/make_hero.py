"""Draw hero.png, the picture at the top of the README and of the documentation.

Three fits, which take about twenty seconds: python docs/images/make_hero.py
"""

import io
import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from sklearn.svm import SVC

from skot import DomainAdaptation, LagrangianOT, SinkhornTransport
from skot.datasets import (
    make_eight_gaussians_pair,
    make_obstacle_pair,
    make_rotated_moons,
    obstacle_lagrangian,
)
from skot.losses import EnergyAugmentation
from skot.plots._style import COLORS
from skot.training import ExponentialMovingAverage
from skot.utils import stack_domains

SOURCE, TARGET, MOVED = (COLORS[role] for role in ("source", "target", "transported"))
ON_THE_WAY = LinearSegmentedColormap.from_list("on_the_way", [SOURCE, MOVED])
INK, GREY = "#1F2A36", "#5A6472"

# Twice the size at which it is shown, for sharp screens.
WIDTH, HEIGHT, DPI = 16.0, 5.6, 100

# Of the window of the last panel.
HALF = 1.72


def draw_paths(ax, paths, linewidth, alpha):
    """Draw paths of shape (n, n_times, 2), from the colour of the source to that of the moved."""
    pieces = np.stack([paths[:, :-1], paths[:, 1:]], axis=2).reshape(-1, 2, 2)
    time = np.tile(np.linspace(0.0, 1.0, paths.shape[1] - 1), len(paths))
    lines = LineCollection(
        pieces, cmap=ON_THE_WAY, linewidths=linewidth, alpha=alpha, capstyle="butt", zorder=1
    )
    lines.set_array(time)
    ax.add_collection(lines)


def draw_points(ax, points, color, size, marker="o"):
    """Draw points with a thin white border, which keeps them apart."""
    ax.scatter(*points.T, s=size, c=color, marker=marker, edgecolors="white", linewidths=0.5)


def draw_map(ax):
    """Draw where one Gaussian goes if the target is eight of them."""
    X, Y = make_eight_gaussians_pair(320, random_state=2)
    moved = SinkhornTransport(epsilon=0.005).fit(X, Y).transform(X)
    time = np.linspace(0.0, 1.0, 30)[:, None]
    draw_paths(ax, X[:, None] + time * (moved - X)[:, None], 1.1, 0.45)
    draw_points(ax, Y, TARGET, 40, "s")
    draw_points(ax, X, SOURCE, 34)
    draw_points(ax, moved, MOVED, 40, "^")
    ax.set(xlim=(-5.1, 5.1), ylim=(-5.1, 5.1))


def draw_detour(ax):
    """Draw paths of least action around a box."""
    X, Y = make_obstacle_pair("box", 4000, random_state=0)
    X_new, Y_new = make_obstacle_pair("box", 130, random_state=1)
    transport = LagrangianOT(
        obstacle_lagrangian("box"),
        augmentation=EnergyAugmentation(30.0),
        averaging=ExponentialMovingAverage(0.97),
        max_iter=200,
        batch_size=128,
        random_state=0,
    ).fit(X, Y)
    paths = transport.transport_paths(X_new, n_times=80)
    ax.add_patch(
        FancyBboxPatch((-0.5, -0.5), 1.0, 1.0, "round,pad=0,rounding_size=0.06", fc="#C9CED6")
    ).set_edgecolor("none")
    draw_paths(ax, paths, 1.5, 0.6)
    draw_points(ax, Y_new, TARGET, 40, "s")
    draw_points(ax, X_new, SOURCE, 34)
    draw_points(ax, paths[:, -1], MOVED, 40, "^")
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))


def draw_adaptation(ax):
    """Draw the border of a classifier before and after; return both accuracies."""
    X_source, y_source, X_target, y_target = make_rotated_moons(400, angle=40.0, random_state=0)
    X, y, sample_domain = stack_domains(X_source, X_target, y_source)
    before = SVC().fit(X_source, y_source)
    after = DomainAdaptation(SVC(), SinkhornTransport(epsilon=0.3))
    after.fit(X, y, sample_domain=sample_domain)

    side = np.linspace(-HALF, HALF, 300)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    old, new = (
        model.decision_function(grid).reshape(len(side), len(side)) for model in (before, after)
    )
    frame = FancyBboxPatch(
        (-HALF, -HALF), 2 * HALF, 2 * HALF, "round,pad=0,rounding_size=0.15", visible=False
    )
    ax.add_patch(frame)
    regions = ListedColormap(["#F0F1F4", "#D9EFE6"])
    for layer in (
        ax.contourf(side, side, new, levels=[-99.0, 0.0, 99.0], cmap=regions),
        ax.contour(side, side, old, levels=[0.0], colors=SOURCE, linewidths=2.5, linestyles="--"),
        ax.contour(side, side, new, levels=[0.0], colors=MOVED, linewidths=4.0),
    ):
        layer.set_clip_path(frame)
    for label, marker in ((0, "o"), (1, "D")):
        draw_points(ax, X_target[y_target == label], TARGET, 40, marker)
    ax.set(xlim=(-HALF, HALF), ylim=(-HALF, HALF))
    return before.score(X_target, y_target), after.score(X_target, y_target)


def main():
    """Fit, draw and save."""
    figure = plt.figure(figsize=(WIDTH, HEIGHT))
    height = 4.2
    axes = [
        figure.add_axes(((x - height / 2) / WIDTH, 0.25 / HEIGHT, height / WIDTH, height / HEIGHT))
        for x in (2.8, 8.0, 13.2)
    ]
    for ax in axes:
        ax.set_aspect("equal")
        ax.set_axis_off()
    draw_map(axes[0])
    draw_detour(axes[1])
    before, after = draw_adaptation(axes[2])
    names = ("SinkhornTransport", "LagrangianOT", "DomainAdaptation")
    for ax, name in zip(axes, names, strict=True):
        ax.text(0.5, 1.135, name, transform=ax.transAxes, ha="center", fontsize=25, color=INK)
    for ax, x, text, align, color in (
        (axes[0], 0.5, "a map between two samples", "center", GREY),
        (axes[1], 0.5, "a detour around obstacles", "center", GREY),
        (axes[2], 0.47, f"before: {100 * before:.0f} %", "right", SOURCE),
        (axes[2], 0.53, f"after: {100 * after:.0f} %", "left", MOVED),
    ):
        ax.text(x, 1.045, text, transform=ax.transAxes, ha=align, fontsize=19, color=color)
    path = Path(__file__).with_name("hero.png")
    memory = io.BytesIO()
    figure.savefig(memory, dpi=DPI)
    # A palette of 256 colours, which no eye tells from the original, takes a third of the space.
    picture = Image.open(memory).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
