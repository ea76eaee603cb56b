"""The figure of bench_flows.py: densities, draws, and where the rows go."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from skot.datasets import planar_log_density

HALF_WIDTH, N_NODES, N_POINTS = 3.0, 301, 2000
COLUMNS = (
    "2000 rows",
    "true density",
    "flow by optimal transport",
    "fine-tuned",
    "draws from the flow",
    "the rows in latent space",
)


def flows_figure(fitted: dict) -> Figure:
    """Draw one row of panels for each distribution.

    Parameters
    ----------
    fitted : dict
        By name of the distribution: training rows, unseen rows, the flow and the fine-tuned flow.

    Returns
    -------
    figure : Figure
        To be saved.
    """
    size = (2.2 * len(COLUMNS), 2.35 * len(fitted))
    figure, axes = plt.subplots(
        len(fitted), len(COLUMNS), figsize=size, squeeze=False, layout="constrained"
    )
    nodes = np.linspace(-HALF_WIDTH, HALF_WIDTH, N_NODES)
    points = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2).astype(np.float32)
    for row, (name, (rows, test, flow, tuned)) in zip(axes, fitted.items(), strict=True):
        truth = planar_log_density(name, points)
        highest = np.exp(truth).max()
        colors = position_colors(rows)
        scatter(row[0], rows, colors)
        row[0].set_ylabel(name.replace("_", " "), fontsize=12)
        show_density(row[1], truth, highest, float(planar_log_density(name, test).mean()))
        for ax, estimate in zip(row[2:4], (flow, tuned), strict=True):
            reached = float(estimate.score_samples(test.astype(np.float32)).mean())
            show_density(ax, estimate.score_samples(points), highest, reached)
        scatter(row[4], tuned.sample(N_POINTS, random_state=0))
        scatter(row[5], tuned.transform(rows), colors)
        mark_reference(row[5])
    for ax, title in zip(axes[0], COLUMNS, strict=True):
        ax.set_title(title, fontsize=12)
    return figure


def bare(ax) -> None:
    """Give all panels the same window, without ticks."""
    ax.set(xlim=(-HALF_WIDTH, HALF_WIDTH), ylim=(-HALF_WIDTH, HALF_WIDTH), aspect="equal")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("0.8")


def scatter(ax, points: np.ndarray, colors="0.25") -> None:
    """Draw points."""
    ax.scatter(*points.T, s=2.0, c=colors, linewidths=0, alpha=0.8, rasterized=True)
    bare(ax)


def position_colors(points: np.ndarray) -> np.ndarray:
    """Return a hue for the angle of each point, so that it is known again where it is moved."""
    hue = (np.arctan2(points[:, 1], points[:, 0]) / np.pi + 1.0) / 2.0
    return hsv_to_rgb(np.column_stack([hue, np.full_like(hue, 0.85), np.full_like(hue, 0.8)]))


def show_density(ax, log_density: np.ndarray, highest: float, likelihood: float) -> None:
    """Draw a density, all of a row on the scale of the true one."""
    values = np.exp(log_density).reshape(N_NODES, N_NODES)
    window = (-HALF_WIDTH, HALF_WIDTH) * 2
    # The root shows low densities too, where the estimates differ.
    ax.imshow(
        np.sqrt(values), extent=window, origin="lower", cmap="magma", vmin=0, vmax=highest**0.5
    )
    ax.text(0.03, 0.03, f"{likelihood:.2f} nats", transform=ax.transAxes, color="w", fontsize=10)
    bare(ax)


def mark_reference(ax) -> None:
    """Draw the circles that hold half and 95 per cent of the standard normal law."""
    for share in (0.5, 0.95):
        radius = (-2.0 * np.log(1.0 - share)) ** 0.5
        ax.add_patch(plt.Circle((0, 0), radius, fill=False, color="0.3", linewidth=0.8))
