"""The course of an iterative fit."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skot.plots._style import COLORS, CURVE_COLORS, new_axes


class LossCurveDisplay:
    """Display of the loss, or of the marginal error, by iteration.

    The curve of a solver that lowers its regularisation in stages rises at the start of each:
    the error is that of the current stage.

    It is recommended to use `LossCurveDisplay.from_estimator` to create a display. All
    parameters are stored as attributes.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iterations,)
        The values by iteration.
    tol : float, default=None
        The value at which the fit stops, drawn as a horizontal line. None draws none.
    name : str, default=None
        The name of the curve in the legend. None gives it none.
    loss_name : str, default="loss"
        What the values are, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the curve.
    figure_ : matplotlib Figure
        The figure that holds the axes.
    line_ : matplotlib Line2D
        The curve.
    tol_line_ : matplotlib Line2D or None
        The line of the tolerance.

    See Also
    --------
    TransportMapDisplay : Display of what the fitted map does to points.

    Examples
    --------
    >>> from skot.plots import LossCurveDisplay
    >>> display = LossCurveDisplay(loss_curve=[1.0, 0.1, 0.01], tol=0.02, name="fit")
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        loss_curve: ArrayLike,
        tol: float | None = None,
        name: str | None = None,
        loss_name: str = "loss",
    ) -> None:
        self.loss_curve = loss_curve
        self.tol = tol
        self.name = name
        self.loss_name = loss_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Any = None
    ) -> "LossCurveDisplay":
        """Create a display from a fitted estimator and draw it.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with the attribute ``loss_curve_``.
        name : str, default=None
            The name of the curve in the legend. None means the name of the class.
        ax : matplotlib Axes, default=None
            The axes to draw on; curves of several estimators can share them. None makes a
            new figure.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        AttributeError
            If the estimator has no ``loss_curve_``.

        Examples
        --------
        >>> from skot import SinkhornTransport
        >>> from skot.datasets import make_gaussian_pair
        >>> from skot.plots import LossCurveDisplay
        >>> transport = SinkhornTransport().fit(*make_gaussian_pair(50, random_state=0))
        >>> LossCurveDisplay.from_estimator(transport)  # doctest: +SKIP
        """
        check_is_fitted(estimator)
        # A transport that solves for marginals stops on their error, not on a loss.
        solves_marginals = hasattr(estimator, "marginal_error_")
        display = cls(
            loss_curve=estimator.loss_curve_,
            tol=getattr(estimator, "tol", None) if solves_marginals else None,
            name=type(estimator).__name__ if name is None else name,
            loss_name="marginal error" if solves_marginals else "loss",
        )
        return display.plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the curve, on a logarithmic scale if all values are positive.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : LossCurveDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        loss_curve = np.asarray(self.loss_curve, dtype=float)
        ax = new_axes(f"{type(self).__name__}.plot", ax)
        n_curves = sum(line.get_gid() == "loss_curve" for line in ax.lines)
        (self.line_,) = ax.plot(
            np.arange(1, len(loss_curve) + 1),
            loss_curve,
            color=CURVE_COLORS[n_curves % len(CURVE_COLORS)],
            linewidth=2,
            # A single value has no line: it needs its marker.
            marker="o" if len(loss_curve) <= 30 else None,
            markersize=4,
            label=self.name,
            gid="loss_curve",
        )
        self.tol_line_ = self._draw_tol(ax)
        if (loss_curve > 0).all() and ax.get_yscale() != "log":
            ax.set_yscale("log")
        ax.set(xlabel="iteration", ylabel=self.loss_name)
        ax.xaxis.get_major_locator().set_params(integer=True)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _draw_tol(self, ax: Any) -> Any:
        """Draw the line of the tolerance, once for all curves that share it."""
        if self.tol is None:
            return None
        gid = f"tol={self.tol:g}"
        for line in ax.lines:
            if line.get_gid() == gid:
                return line
        return ax.axhline(
            self.tol,
            color=COLORS["reference"],
            linestyle="--",
            linewidth=1.2,
            label=gid,
            gid=gid,
        )
