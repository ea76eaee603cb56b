"""What a map does to a cloud of points."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length, check_scalar

from skot.plots._style import (
    COLORS,
    as_points,
    check_columns,
    draw_cloud,
    legend_above,
    name_axes,
    new_axes,
    spread_rows,
)
from skot.utils._sklearn import feature_names


class TransportMapDisplay:
    """Display of points before and after a transport, joined by lines.

    It is recommended to use `TransportMapDisplay.from_estimator` or
    `TransportMapDisplay.from_predictions` to create a display. All parameters are stored as
    attributes.

    Parameters
    ----------
    X : ndarray of shape (n_source, n_features)
        The points before the transport.
    X_transported : ndarray of shape (n_source, n_features)
        The same points after it.
    Y : ndarray of shape (n_target, n_features), default=None
        Points of the target. None draws none.
    features : tuple of two int, default=(0, 1)
        The two columns that are drawn.
    feature_names : sequence of str, default=None
        Names of the columns, for the axes. None leaves the axes without names.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the points.
    figure_ : matplotlib Figure
        The figure that holds the axes.
    source_, transported_ : matplotlib PathCollection
        The points before and after.
    target_ : matplotlib PathCollection or None
        The points of the target.
    lines_ : matplotlib LineCollection
        The displacements.

    See Also
    --------
    ConditionalFanDisplay : Display of a transport that splits mass.
    CouplingDisplay : Display of the plan between the points of a fit.
    InterpolationDisplay : Display of the points on their way, time by time.
    PotentialDisplay : Display of the potential behind a map.
    LossCurveDisplay : Display of how a fit converged.

    Examples
    --------
    >>> from skot.datasets import make_moons_pair
    >>> from skot.plots import TransportMapDisplay
    >>> X, Y = make_moons_pair(100, random_state=0)
    >>> display = TransportMapDisplay(X=X, X_transported=X + 1.0, Y=Y)
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        X: np.ndarray,
        X_transported: np.ndarray,
        Y: np.ndarray | None = None,
        features: tuple[int, int] = (0, 1),
        feature_names: ArrayLike | None = None,
    ) -> None:
        self.X = X
        self.X_transported = X_transported
        self.Y = Y
        self.features = features
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        Y: ArrayLike | None = None,
        *,
        features: tuple[int, int] = (0, 1),
        n_lines: int = 200,
        ax: Any = None,
    ) -> "TransportMapDisplay":
        """Create a display from a fitted transport and draw it.

        Parameters
        ----------
        estimator : estimator instance
            A fitted transport, or another transformer that keeps the number of columns.
        X : array-like of shape (n_source, n_features)
            Source points; they are transported by ``estimator.transform``.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target, drawn for comparison.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn.
        n_lines : int, default=200
            The number of displacements drawn, spread evenly over the rows.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : TransportMapDisplay
            The display, drawn.

        Examples
        --------
        >>> from skot import SinkhornTransport
        >>> from skot.datasets import make_moons_pair
        >>> from skot.plots import TransportMapDisplay
        >>> X, Y = make_moons_pair(100, random_state=0)
        >>> transport = SinkhornTransport().fit(X, Y)
        >>> TransportMapDisplay.from_estimator(transport, X, Y)  # doctest: +SKIP
        """
        return cls.from_predictions(
            X, estimator.transform(X), Y, features=features, n_lines=n_lines, ax=ax
        )

    @classmethod
    def from_predictions(
        cls,
        X: ArrayLike,
        X_transported: ArrayLike,
        Y: ArrayLike | None = None,
        *,
        features: tuple[int, int] = (0, 1),
        n_lines: int = 200,
        ax: Any = None,
    ) -> "TransportMapDisplay":
        """Create a display from points and their images and draw it.

        Parameters
        ----------
        X : array-like of shape (n_source, n_features)
            Source points.
        X_transported : array-like of shape (n_source, n_features)
            Where they go.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target, drawn for comparison.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn.
        n_lines : int, default=200
            The number of displacements drawn, spread evenly over the rows.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : TransportMapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the points and their images do not match, or have fewer than two columns.

        Examples
        --------
        >>> from skot.datasets import make_gaussian_pair
        >>> from skot.plots import TransportMapDisplay
        >>> X, Y = make_gaussian_pair(100, random_state=0)
        >>> X_moved = X - X.mean(axis=0) + Y.mean(axis=0)
        >>> TransportMapDisplay.from_predictions(X, X_moved, Y)  # doctest: +SKIP
        """
        display = cls(
            X=as_points(X),
            X_transported=as_points(X_transported),
            Y=None if Y is None else as_points(Y),
            features=features,
            feature_names=feature_names(X),
        )
        check_consistent_length(display.X, display.X_transported)
        return display.plot(ax, n_lines=n_lines)

    def plot(self, ax: Any = None, *, n_lines: int = 200) -> Self:
        """Draw the points and the displacements.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.
        n_lines : int, default=200
            The number of displacements drawn, spread evenly over the rows.

        Returns
        -------
        display : TransportMapDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If points do not have the columns that are drawn.
        """
        clouds = {"X": self.X, "X_transported": self.X_transported, "Y": self.Y}
        check_columns(clouds, self.features)
        check_scalar(n_lines, "n_lines", Integral, min_val=0)
        ax = new_axes(f"{type(self).__name__}.plot", ax)
        from matplotlib.collections import LineCollection

        pair = list(self.features)
        before, after = self.X[:, pair], self.X_transported[:, pair]
        rows = spread_rows(len(before), n_lines)
        self.lines_ = ax.add_collection(
            LineCollection(
                list(np.stack([before[rows], after[rows]], axis=1)),
                colors=COLORS["displacement"],
                linewidths=0.7,
                alpha=0.55,
                zorder=1,
            )
        )
        self.target_ = None
        if self.Y is not None:
            self.target_ = draw_cloud(ax, self.Y[:, pair], "target", zorder=2, alpha=0.85)
        self.source_ = draw_cloud(ax, before, "source", zorder=3, alpha=0.85)
        self.transported_ = draw_cloud(ax, after, "transported", zorder=4, alpha=0.85)
        ax.set_aspect("equal", adjustable="box")
        name_axes(ax, self.feature_names, pair)
        legend_above(ax, [self.source_, self.target_, self.transported_])
        self.ax_ = ax
        self.figure_ = ax.figure
        return self
