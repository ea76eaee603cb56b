"""Level lines of a potential over a plane, and the arrows of a map."""

from typing import Any

import numpy as np
from scipy.spatial import KDTree

#: Most levels, and their colours: equal steps in CIELAB, light enough for points to be seen.
_N_LEVELS, _SHADES = 12, ("#FBFBFD", "#E4E1F0", "#CEC8E3", "#B7AFD6", "#A197C9", "#8A80BC")
#: Arrows start within this distance of points, in units of that between arrows.
_NEAR = 0.75


def mesh(columns: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """All pairs of a place along a line and a line, line by line."""
    return np.stack(np.meshgrid(columns, lines), axis=-1).reshape(-1, 2)


def draw_levels(ax: Any, sides: list[np.ndarray], height: np.ndarray, highest: float) -> Any:
    """Fill between level lines, from 0 to the highest value that matters."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    # Far from all points potentials may be steep, and would leave no level for the others.
    levels = MaxNLocator(_N_LEVELS).tick_values(0.0, highest)
    below, above = height.min() < levels[0], height.max() > levels[-1]
    filled = ax.contourf(
        *sides,
        height,
        levels=levels,
        cmap=LinearSegmentedColormap.from_list("potential", _SHADES),
        extend={(0, 0): "neither", (0, 1): "max", (1, 0): "min", (1, 1): "both"}[below, above],
        zorder=-1,
    )
    ax.contour(*sides, height, levels=levels, colors="white", linewidths=0.6, zorder=0)
    return filled


def places_near(points: np.ndarray, reach: list[tuple[float, float]], spacing: float) -> np.ndarray:
    """Places of a grid in the middle of a rectangle that are near points."""
    places = mesh(
        *(
            np.arange(low + 0.5 * spacing, high, spacing) + 0.5 * ((high - low) % spacing)
            for low, high in reach
        )
    )
    distances, _ = KDTree(points).query(places)
    return places[distances < _NEAR * spacing]


def draw_arrows(ax: Any, starts: np.ndarray, steps: np.ndarray, length: float) -> Any:
    """Draw steps to a scale at which the longest has the length."""
    longest = np.linalg.norm(steps, axis=1).max()
    return ax.quiver(
        *starts.T,
        *steps.T,
        angles="xy",
        scale_units="xy",
        scale=longest / length or 1.0,
        color="#222222",
        width=0.004,
        zorder=5,
    )
