"""What the figures share: colours that mean the same everywhere, plain axes, points, legends."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_array

from skot.utils._sklearn import feature_names
from skot.utils.tensors import to_numpy

# From the palette of Okabe and Ito, which stays distinct under colour blindness.
COLORS = {
    "source": "#0072B2",
    "target": "#E69F00",
    "transported": "#009E73",
    "displacement": "#9A9A9A",
    "reference": "#555555",
}

# The shapes of points, for those who see no colours.
MARKERS = {"source": "o", "target": "s", "transported": "^"}

# The order in which several curves of one figure take their colours.
CURVE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def new_axes(caller: str, ax: Any = None) -> Any:
    """Return `ax`, or the axes of a new figure, without the frame's upper and right lines."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} requires matplotlib. You can install matplotlib with"
            " `pip install matplotlib`"
        ) from error
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(color="0.92", linewidth=0.8)
    return ax


def as_array(values: Any) -> Any:
    """Take tensors to arrays, and what is no tensor to itself.

    Half precision becomes single: NumPy does not have all kinds of it.
    """
    if not hasattr(values, "detach"):
        return values
    if values.is_floating_point() and values.element_size() < 4:
        values = values.float()
    return to_numpy(values)


def as_points(values: Any, *, min_features: int = 2, allow_nd: bool = False) -> np.ndarray:
    """Take what is to be drawn, (n_rows, n_features), to a finite array of enough columns."""
    return check_array(as_array(values), ensure_min_features=min_features, allow_nd=allow_nd)


def like_points(rows: np.ndarray, given: Any) -> Any:
    """Put rows into a data frame, if points came in one: an estimator knows them by their names."""
    names = feature_names(given)
    if names is None:
        return rows
    return type(given)(rows, **{"columns" if hasattr(given, "iloc") else "schema": list(names)})


def check_columns(clouds: Mapping[str, np.ndarray | None], features: Any = None) -> None:
    """Find out, before there is a figure, whether points have the columns that are drawn.

    The clouds, by the name for the message and with columns on the last axis, have as many columns
    as the first; None is left out. `features` are two of them; None does not check them.
    """
    widths = {name: points.shape[-1] for name, points in clouds.items() if points is not None}
    first, n_columns = next(iter(widths.items()))
    for name, width in widths.items():
        if width != n_columns:
            raise ValueError(f"{name} has {width} features, and {first} has {n_columns}.")
    if features is None:
        return
    if np.shape(features) != (2,) or not all(
        isinstance(one, Integral) and -n_columns <= one < n_columns for one in features
    ):
        raise ValueError(
            f"features must be two columns, and {first} has {n_columns}. Got {features!r}."
        )


def spread_rows(n_rows: int, n_chosen: int) -> np.ndarray:
    """Choose rows that are spread evenly: ascending indices (min(n_rows, n_chosen),)."""
    return np.linspace(0, n_rows - 1, min(n_rows, n_chosen)).round().astype(int)


def draw_cloud(
    ax: Any,
    points: np.ndarray,
    role: str,
    *,
    zorder: int,
    alpha: float | None = None,
    size: float = 4000.0,
    sizes: tuple[float, float] = (4.0, 26.0),
    edge: float = 0.0,
) -> Any:
    """Draw points (n, 2), smaller ones for larger clouds, so that their shape stays visible.

    `size` is the area of all markers together, in points squared, `sizes` the least and the largest
    of one, and `edge` the width of a white line around it.
    """
    return ax.scatter(
        points[:, 0],
        points[:, 1],
        s=float(np.clip(size / len(points), *sizes)),
        color=COLORS[role],
        marker=MARKERS[role],
        alpha=alpha,
        edgecolors="white" if edge else None,
        linewidths=edge,
        label=role,
        zorder=zorder,
    )


def draw_ticks(ax: Any, values: np.ndarray, role: str, *, axis: str, place: float = 0.0) -> Any:
    """Draw short lines along an axis, at values (n,), which show how values are spread.

    Across the axis they are at `place`, from 0 to 1.
    """
    across = np.full(len(values), place)
    along_x = axis == "x"
    return ax.scatter(
        *((values, across) if along_x else (across, values)),
        s=120,
        color=COLORS[role],
        marker="|" if along_x else "_",
        alpha=float(np.clip(100.0 / len(values), 0.08, 0.8)),
        linewidths=1.0,
        label=role,
        transform=ax.get_xaxis_transform() if along_x else ax.get_yaxis_transform(),
        zorder=4,
    )


def name_axes(ax: Any, names: Any, features: Any) -> None:
    """Write the names of the two columns drawn along the axes; without names, nothing."""
    if names is not None:
        names = np.asarray(names)
        ax.set(xlabel=names[features[0]], ylabel=names[features[1]])


def set_limits(ax: Any, xlim: Any, ylim: Any) -> None:
    """Set how far axes reach, least and largest, and leave them their direction."""
    ax.set_xlim(xlim[::-1] if ax.xaxis_inverted() else xlim)
    ax.set_ylim(ylim[::-1] if ax.yaxis_inverted() else ylim)


def colorbar_beside(ax: Any, drawn: Any, label: str, ticks: Any = None) -> Any:
    """Draw a scale of colours to the right of axes.

    In axes of its own that are as high as the first, whatever the shape of those.
    """
    beside = ax.inset_axes((1.03, 0.0, 0.045, 1.0))
    colorbar = ax.figure.colorbar(drawn, cax=beside, label=label, ticks=ticks)
    colorbar.outline.set_visible(False)
    return colorbar


def legend_above(ax: Any, handles: list[Any]) -> None:
    """Put one row of names above the points, into the margin, in this order and without None."""
    handles = [handle for handle in handles if handle is not None]
    ax.margins(x=0.05, y=0.12)
    legend = ax.legend(
        handles=handles,
        frameon=False,
        ncols=len(handles),
        loc="upper center",
        borderaxespad=0.2,
        columnspacing=1.2,
        handletextpad=0.3,
    )
    for handle in legend.legend_handles:
        # Points may be faint and small, their names not.
        handle.set_alpha(1.0)
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([36.0])
