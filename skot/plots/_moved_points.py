"""Where an estimator moves points, and how they are told apart: colours, and pictures."""

from typing import Any

import numpy as np
from sklearn.utils import check_array, column_or_1d

from skot.plots._style import COLORS, CURVE_COLORS, as_array, as_points
from skot.utils._labels import as_label_array

#: Times at which paths that are not straight are asked for. Straight lines run between them.
_PATH_TIMES = 101
#: Colours of labels: those of curves, and the two that are left of the palette.
_LABEL_COLORS = (*CURVE_COLORS, "#000000", "#F0E442")
#: Colours of more labels than that, and of values.
_VALUE_COLORS = "viridis"


def paths_of(estimator: Any, X: Any) -> np.ndarray:
    for name in ("transport_paths", "predict_trajectories"):
        if hasattr(estimator, name):
            return getattr(estimator, name)(X, _PATH_TIMES)
    if not hasattr(estimator, "transform"):
        raise TypeError(
            "estimator must have transport_paths, predict_trajectories or transform; "
            f"{type(estimator).__name__} has none of them."
        )
    before, after = as_points(X), as_points(estimator.transform(X))
    if before.shape != after.shape:
        raise ValueError(
            f"transform takes points of shape {before.shape} to {after.shape}: there is no way "
            "between them."
        )
    return np.stack([before, after], axis=1)


def points_at(paths: np.ndarray, time: float) -> np.ndarray:
    """Where points are at a time, on straight lines between the times of their paths."""
    n_times = paths.shape[1]
    place = time * (n_times - 1)
    before = min(int(place), max(n_times - 2, 0))
    after = min(before + 1, n_times - 1)
    part = place - before
    return (1.0 - part) * paths[:, before] + part * paths[:, after]


def as_colors(colors: Any) -> np.ndarray:
    """Take values or labels to an array without a missing one, which could have no colour."""
    colors = column_or_1d(as_label_array(as_array(colors)))
    colors = check_array(colors, ensure_2d=False, dtype=None, input_name="colors")
    if colors.dtype == object and any(one is None for one in colors):
        raise ValueError("Input colors contains None.")
    return colors


def point_colors(colors: np.ndarray | None, time: float) -> np.ndarray:
    """Colours of points by their values or labels, or by the time."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap, to_rgba_array

    if colors is None:
        ends = [COLORS["source"], COLORS["transported"]]
        return LinearSegmentedColormap.from_list("time", ends)([float(time)])
    if colors.dtype.kind == "f":
        values = colors.astype(np.float64) - colors.min()
        return colormaps[_VALUE_COLORS](values / (values.max() or 1.0))
    labels, codes = np.unique(colors, return_inverse=True)
    if len(labels) <= len(_LABEL_COLORS):
        return to_rgba_array(_LABEL_COLORS)[codes]
    return colormaps[_VALUE_COLORS](codes / (len(labels) - 1))


def mosaic(pictures: np.ndarray, n_columns: int) -> np.ndarray:
    """Put pictures, (n_pictures, height, width) or with channels, into one, line by line."""
    n_pictures, height, width, *channels = pictures.shape
    gap = 1 + height // 16
    n_lines = -(-n_pictures // n_columns)
    # What is not a number is not drawn, and white among colours.
    blank = 1.0 if channels else np.nan
    cells = np.full((n_lines * n_columns, height + gap, width + gap, *channels), blank)
    cells[:n_pictures, :height, :width] = pictures.clip(0.0, 1.0) if channels else pictures
    cells = cells.reshape(n_lines, n_columns, *cells.shape[1:]).swapaxes(1, 2)
    whole = cells.reshape(n_lines * (height + gap), n_columns * (width + gap), *channels)
    return whole[:-gap, :-gap]
