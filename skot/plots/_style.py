"""What the figures share: colours that mean the same everywhere, and plain axes."""

from typing import Any

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
