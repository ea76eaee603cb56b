"""What the figures share: colours that mean the same everywhere, plain axes, points, legends."""

from typing import Any

import numpy as np
from sklearn.utils import check_array

from skot.utils.tensors import to_numpy

# From the palette of Okabe and Ito, which stays distinct under colour blindness.
COLORS = {
    "source": "#0072B2",
    "target": "#E69F00",
    "transported": "#009E73",
    "displacement": "#9A9A9A",
    "reference": "#555555",
}

# The order in which several curves of one figure take their colours.
CURVE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def new_axes(caller: str, ax: Any = None) -> Any:
    """Return `ax`, or the axes of a new figure, without the frame's upper and right lines.

    Parameters
    ----------
    caller : str
        The method that plots, for the message of the error.
    ax : matplotlib Axes, default=None
        The axes to draw on.

    Returns
    -------
    ax : matplotlib Axes
        The axes to draw on.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
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


def as_points(values: Any, *, min_features: int = 2, allow_nd: bool = False) -> np.ndarray:
    """Take arrays, data frames and tensors to arrays of enough columns.

    Parameters
    ----------
    values : array-like of shape (n_rows, n_features)
        What is to be drawn.
    min_features : int, default=2
        The least number of columns.
    allow_nd : bool, default=False
        Whether there may be more axes than two.

    Returns
    -------
    points : ndarray
        The same, finite.

    Raises
    ------
    ValueError
        If there are too few columns, or values that are not finite.
    """
    if hasattr(values, "detach"):
        values = to_numpy(values)
    return check_array(values, ensure_min_features=min_features, allow_nd=allow_nd)


def legend_above(ax: Any, handles: list[Any]) -> None:
    """Put one row of names above the points.

    Parameters
    ----------
    ax : matplotlib Axes
        The axes, whose margin makes room.
    handles : list of matplotlib Artist or None
        What is named, in this order; None is left out.
    """
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
