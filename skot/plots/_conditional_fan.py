"""Where a transport that splits mass may send a point."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from skot.plots._style import (
    COLORS,
    as_points,
    check_columns,
    draw_cloud,
    draw_ticks,
    legend_above,
    name_axes,
    new_axes,
)
from skot.utils._sklearn import feature_names

#: Fans start in this share of the rows, those nearest to the middle: outliers say little.
_CENTRAL_SHARE = 0.8
#: Most images that are drawn of data with one feature.
_MOST_IMAGES = 10000


class ConditionalFanDisplay:
    """Display of several images of each of a few points, over the source and the target.

    From each of a few source points lines fan out to draws of its image; the middle of a fan, its
    conditional mean, is marked. Data with one feature are drawn as a scatter of all images over
    the points, with the conditional mean as a curve.

    It is recommended to use `ConditionalFanDisplay.from_estimator` or
    `ConditionalFanDisplay.from_predictions` to create a display. All parameters are stored as
    attributes.

    Parameters
    ----------
    X : ndarray of shape (n_source, n_features)
        Source points.
    images : ndarray of shape (n_source, n_samples, n_features)
        Draws of the image of each point.
    means : ndarray of shape (n_source, n_features), default=None
        Conditional means. None takes the means of `images`.
    Y : ndarray of shape (n_target, n_features), default=None
        Points of the target. None draws none.
    features : tuple of two int, default=(0, 1)
        The two columns that are drawn, where there are two or more.
    feature_names : sequence of str, default=None
        Names of the columns, for the axes. None leaves the axes without names.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the points.
    figure_ : matplotlib Figure
        The figure that holds the axes.
    source_ : matplotlib PathCollection
        The source points; with one feature, short lines along the axis of x.
    target_ : matplotlib PathCollection or None
        The points of the target; with one feature, short lines along the other axis.
    points_ : matplotlib PathCollection or None
        The points that fans start from; None with one feature.
    images_ : matplotlib PathCollection
        The images.
    means_ : matplotlib PathCollection or Line2D
        The conditional means: of the points that fans start from, or the curve.
    lines_, mean_lines_ : matplotlib LineCollection or None
        The fans, and the lines to their means; None with one feature.

    See Also
    --------
    TransportMapDisplay : Display of a map, with one image of every point.
    CouplingDisplay : Display of a plan between given points.

    References
    ----------
    .. [1] Korotin, A., Selikhanovych, D., Burnaev, E. (2023). Neural optimal transport. ICLR,
       Section 5.1.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.datasets import make_eight_gaussians_pair
    >>> from skot.plots import ConditionalFanDisplay
    >>> X, Y = make_eight_gaussians_pair(100, random_state=0)
    >>> images = X[:, None] + np.random.RandomState(0).normal(size=(100, 8, 2))
    >>> display = ConditionalFanDisplay(X=X, images=images, Y=Y)
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        X: np.ndarray,
        images: np.ndarray,
        means: np.ndarray | None = None,
        Y: np.ndarray | None = None,
        features: tuple[int, int] = (0, 1),
        feature_names: ArrayLike | None = None,
    ) -> None:
        self.X = X
        self.images = images
        self.means = means
        self.Y = Y
        self.features = features
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        Y: ArrayLike | None = None,
        n_samples: int = 24,
        random_state: Any = None,
        features: tuple[int, int] = (0, 1),
        fans: int | ArrayLike = 5,
        ax: Any = None,
    ) -> "ConditionalFanDisplay":
        """Create a display from a fitted transport and draw it.

        Parameters
        ----------
        estimator : estimator instance
            A fitted transport with ``sample_transform``, such as :class:`~skot.NeuralOT`. Of
            another one ``transform`` gives the only image of a point.
        X : array-like of shape (n_source, n_features)
            Source points.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target, drawn for comparison.
        n_samples : int, default=24
            Images of each point.
        random_state : int, RandomState instance or None, default=None
            Seeds the images.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn, where there are two or more.
        fans : int or array-like of int, default=5
            The number of points that fans start from, or their indices in `X`.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : ConditionalFanDisplay
            The display, drawn.

        Examples
        --------
        >>> from skot import NeuralOT
        >>> from skot.datasets import make_eight_gaussians_pair
        >>> from skot.losses import WeakQuadratic
        >>> from skot.plots import ConditionalFanDisplay
        >>> X, Y = make_eight_gaussians_pair(100, random_state=0)
        >>> transport = NeuralOT(WeakQuadratic(0.9), max_iter=5, random_state=0).fit(X, Y)
        >>> ConditionalFanDisplay.from_estimator(transport, X, Y=Y)  # doctest: +SKIP
        """
        means = estimator.transform(X)
        if hasattr(estimator, "sample_transform"):
            images = estimator.sample_transform(X, n_samples, random_state=random_state)
        else:
            images = as_points(means, min_features=1)[:, None]
        return cls.from_predictions(
            X, images, means=means, Y=Y, features=features, fans=fans, ax=ax
        )

    @classmethod
    def from_predictions(
        cls,
        X: ArrayLike,
        images: ArrayLike,
        *,
        means: ArrayLike | None = None,
        Y: ArrayLike | None = None,
        features: tuple[int, int] = (0, 1),
        fans: int | ArrayLike = 5,
        ax: Any = None,
    ) -> "ConditionalFanDisplay":
        """Create a display from points and draws of their images and draw it.

        Parameters
        ----------
        X : array-like of shape (n_source, n_features)
            Source points.
        images : array-like of shape (n_source, n_samples, n_features)
            Draws of the image of each point.
        means : array-like of shape (n_source, n_features), default=None
            Conditional means. None takes the means of `images`.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target, drawn for comparison.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn, where there are two or more.
        fans : int or array-like of int, default=5
            The number of points that fans start from, or their indices in `X`.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : ConditionalFanDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the points and their images do not match.

        Examples
        --------
        >>> import numpy as np
        >>> from skot.plots import ConditionalFanDisplay
        >>> rng = np.random.RandomState(0)
        >>> X = rng.normal(size=(200, 1))
        >>> images = X[:, None] + rng.normal(size=(200, 10, 1))
        >>> ConditionalFanDisplay.from_predictions(X, images)  # doctest: +SKIP
        """
        points = as_points(X, min_features=1)
        display = cls(
            X=points,
            images=as_points(images, min_features=1, allow_nd=True),
            means=None if means is None else as_points(means, min_features=1),
            Y=None if Y is None else as_points(Y, min_features=1),
            features=features,
            feature_names=feature_names(X),
        )
        check_consistent_length(points, display.images, display.means)
        return display.plot(ax, fans=fans)

    def plot(self, ax: Any = None, *, fans: int | ArrayLike = 5) -> Self:
        """Draw the fans, or the scatter of data with one feature.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.
        fans : int or array-like of int, default=5
            The number of points that fans start from, or their indices in `X`. A number takes
            points of the bulk of the source that are far from each other. Not used for data with
            one feature.

        Returns
        -------
        display : ConditionalFanDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the points and their images do not match, or do not have what is drawn of them.
        """
        self._check_columns()
        in_line = self.X.shape[1] == 1
        rows = np.array([], dtype=int) if in_line else self._rows(fans)
        ax = new_axes(f"{type(self).__name__}.plot", ax)
        self._means = self.images.mean(axis=1) if self.means is None else self.means
        if in_line:
            self._plot_line(ax)
        else:
            self._plot_fans(ax, rows)
        legend_above(ax, [self.source_, self.target_, self.images_, self.means_])
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _check_columns(self) -> None:
        n_columns, shape = self.X.shape[1], self.images.shape
        if len(shape) != 3 or shape[2] != n_columns:
            raise ValueError(
                "images must be of shape (n_source, n_samples, n_features), here "
                f"({len(self.X)}, n_samples, {n_columns}). Got {shape}."
            )
        features = None if n_columns == 1 else self.features
        check_columns({"X": self.X, "means": self.means, "Y": self.Y}, features)

    def _rows(self, fans: int | ArrayLike) -> np.ndarray:
        """Where fans start."""
        if isinstance(fans, Integral):
            return _spread_rows(self.X[:, list(self.features)], int(fans))
        rows, n_rows = np.asarray(fans, int), len(self.X)
        if ((rows < -n_rows) | (rows >= n_rows)).any():
            raise ValueError(f"fans must be indices of the {n_rows} rows of X. Got {fans!r}.")
        return rows

    def _plot_fans(self, ax: Any, rows: np.ndarray) -> None:
        from matplotlib.collections import LineCollection

        pair = list(self.features)
        source, images, means = self.X[:, pair], self.images[:, :, pair], self._means[:, pair]
        starts = np.broadcast_to(source[rows, None], images[rows].shape)
        segments = np.stack([starts, images[rows]], axis=2).reshape(-1, 2, 2)
        self.target_ = None
        if self.Y is not None:
            self.target_ = draw_cloud(ax, self.Y[:, pair], "target", zorder=1, alpha=0.3)
        self.source_ = draw_cloud(ax, source, "source", zorder=1, alpha=0.3)
        self.lines_ = ax.add_collection(
            LineCollection(
                list(segments),
                colors=COLORS["transported"],
                linewidths=0.8,
                alpha=0.45,
                zorder=2,
            )
        )
        # What tells the fans apart where they cross.
        self.mean_lines_ = ax.add_collection(
            LineCollection(
                list(np.stack([source[rows], means[rows]], axis=1)),
                colors="black",
                linewidths=1.6,
                zorder=3,
            )
        )
        self.means_ = ax.scatter(
            *means[rows].T,
            s=80,
            facecolors="white",
            edgecolors="black",
            linewidths=1.6,
            marker="D",
            label="mean",
            zorder=4,
        )
        self.images_ = ax.scatter(
            *segments[:, 1].T,
            s=24,
            color=COLORS["transported"],
            edgecolors="white",
            linewidths=0.4,
            marker="^",
            label="images",
            zorder=5,
        )
        self.points_ = ax.scatter(
            *source[rows].T,
            s=90,
            color=COLORS["source"],
            edgecolors="white",
            linewidths=0.8,
            zorder=6,
        )
        ax.set_aspect("equal", adjustable="box")
        name_axes(ax, self.feature_names, pair)

    def _plot_line(self, ax: Any) -> None:
        self.points_ = self.lines_ = self.mean_lines_ = None
        x, means = self.X[:, 0], self._means[:, 0]
        n_samples = self.images.shape[1]
        n_drawn = int(np.clip(_MOST_IMAGES // len(x), 1, n_samples))
        order = np.argsort(x)
        self.images_ = ax.scatter(
            np.repeat(x, n_drawn),
            self.images[:, :n_drawn, 0].ravel(),
            s=5,
            color=COLORS["transported"],
            alpha=float(np.clip(2000 / (len(x) * n_drawn), 0.2, 0.6)),
            linewidths=0,
            label="images",
            zorder=2,
        )
        (self.means_,) = ax.plot(
            x[order], means[order], color="black", linewidth=2, label="mean", zorder=3
        )
        # Ticks along the axes show how the points and the target are spread.
        self.source_ = draw_ticks(ax, x, "source", axis="x")
        self.target_ = None
        if self.Y is not None:
            self.target_ = draw_ticks(ax, self.Y[:, 0], "target", axis="y")
        name = None if self.feature_names is None else np.asarray(self.feature_names)[0]
        ax.set(xlabel=name or "x", ylabel=f"image of {name or 'x'}")


def _spread_rows(points: np.ndarray, n_rows: int) -> np.ndarray:
    """Indices of points of the bulk that are far from each other: each the farthest from all."""
    distance = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    n_central = min(len(points), max(n_rows, int(_CENTRAL_SHARE * len(points))))
    central = np.argsort(distance, kind="stable")[:n_central]
    chosen: list[int] = []
    nearest = np.full(n_central, np.inf)
    for _ in range(min(n_rows, n_central)):
        # The first is the outermost, so that the next ones surround the middle.
        k = int(nearest.argmax()) if chosen else n_central - 1
        chosen.append(int(central[k]))
        nearest = np.minimum(nearest, np.linalg.norm(points[central] - points[central[k]], axis=1))
        nearest[k] = -1.0
    return np.array(chosen, dtype=int)
