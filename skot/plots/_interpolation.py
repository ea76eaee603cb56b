"""A cloud of points, or pictures, at successive times of a transport."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length, check_scalar, column_or_1d

from skot.plots._moved_points import as_colors, mosaic, paths_of, point_colors, points_at
from skot.plots._style import (
    as_points,
    check_columns,
    draw_cloud,
    legend_above,
    like_points,
    name_axes,
    new_axes,
    set_limits,
    spread_rows,
)
from skot.utils._sklearn import feature_names
from skot.utils.tensors import to_numpy

#: Rows drawn as pictures in an animation, unless it is told another number.
_ANIMATED_IMAGES = 16
#: The area of all markers together, and the least and largest of one.
_SIZE, _SIZES = 8000.0, (4.0, 20.0)


class InterpolationDisplay:
    r"""Display of points on their way from the source to the target, time by time.

    Points are drawn in one panel for each time, all of them with the same limits. Their colours go
    from that of the source to that of transported points, or tell the points apart from panel to
    panel. Rows that are images are drawn as pictures, one below the other.

    It is recommended to use `InterpolationDisplay.from_estimator` or
    `InterpolationDisplay.from_predictions` to create a display. All parameters are stored as
    attributes.

    Parameters
    ----------
    paths : ndarray of shape (n_rows, n_path_times, n_features)
        Where each point is at times that are equally spaced from 0 to 1. Between them points move
        along straight lines.
    times : ndarray of shape (n_times,), default=None
        Times of the panels, from 0 to 1. None takes those of the paths.
    Y : ndarray of shape (n_target, n_features), default=None
        Points of the target, drawn faintly in each panel. None draws none. Not used for pictures.
    colors : ndarray of shape (n_rows,), default=None
        What tells points apart: finite values, if they are floats, else labels. None colours the
        points by the time. Not used for pictures.
    image_shape : tuple of int, default=None
        The shape (height, width) or (height, width, 3) of a row, drawn as a picture: grey levels,
        or colours from 0 to 1. None draws points.
    features : tuple of two int, default=(0, 1)
        The two columns that are drawn as points.
    feature_names : sequence of str, default=None
        Names of the columns, for the axes. None leaves the axes without names.

    Attributes
    ----------
    axes_ : ndarray of shape (n_times,) of matplotlib Axes
        The panels.
    figure_ : matplotlib Figure
        The figure that holds them.
    points_ : list of matplotlib PathCollection or None
        The points of each panel; None for pictures.
    target_ : list of matplotlib PathCollection or None
        The points of the target in each panel.
    images_ : list of matplotlib AxesImage or None
        The pictures of each panel, as one; None for points.
    animation_ : matplotlib FuncAnimation
        The last animation. Only after :meth:`animate`.

    See Also
    --------
    PathDisplay : Display of the paths, in one panel.
    TransportMapDisplay : Display of the points before and after.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.datasets import make_moons_pair
    >>> from skot.plots import InterpolationDisplay
    >>> X, Y = make_moons_pair(100, random_state=0)
    >>> display = InterpolationDisplay(paths=np.stack([X, X + 1.0], axis=1), times=[0.0, 0.5, 1.0])
    >>> display.plot()  # doctest: +SKIP
    >>> animation = display.animate()  # doctest: +SKIP
    >>> animation.save("moved.gif", writer="pillow")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        paths: np.ndarray,
        times: ArrayLike | None = None,
        Y: np.ndarray | None = None,
        colors: np.ndarray | None = None,
        image_shape: tuple[int, ...] | None = None,
        features: tuple[int, int] = (0, 1),
        feature_names: ArrayLike | None = None,
    ) -> None:
        self.paths = paths
        self.times = times
        self.Y = Y
        self.colors = colors
        self.image_shape = image_shape
        self.features = features
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        Y: ArrayLike | None = None,
        *,
        times: ArrayLike = (0.0, 0.25, 0.5, 0.75, 1.0),
        colors: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
        n_images: int = 6,
        features: tuple[int, int] = (0, 1),
        axes: Any = None,
    ) -> "InterpolationDisplay":
        r"""Create a display from a fitted transport and draw it.

        Points move along the paths of the estimator, of ``transport_paths(X, n_times)`` or
        ``predict_trajectories(X, n_times)``, if it has any. Otherwise they move along straight
        lines at constant speed: at time t a point is at :math:`(1 - t) \, x + t \, T(x)`, the
        displacement interpolation [1]_, with ``transform`` for T.

        Parameters
        ----------
        estimator : estimator instance
            A fitted transport, :class:`~skot.LagrangianMetricLearner`, or another transformer that
            keeps the number of columns.
        X : array-like of shape (n_source, n_features)
            Source points.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target, drawn faintly for comparison.
        times : array-like of shape (n_times,), default=(0, 0.25, 0.5, 0.75, 1)
            Times of the panels, from 0 (the source) to 1 (the target, or the last time of the
            learner).
        colors : array-like of shape (n_source,), default=None
            What tells points apart: finite values, if they are floats, else labels. None colours
            the points by the time.
        image_shape : tuple of int, default=None
            The shape (height, width) or (height, width, 3) of a row, to draw rows as pictures.
        n_images : int, default=6
            The number of rows drawn as pictures, spread evenly over the rows. Only so many rows are
            moved and kept in the display, or the 16 that :meth:`animate` draws if those are more.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn as points.
        axes : array-like of shape (n_times,) of matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : InterpolationDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator can move no points.
        ValueError
            If a time is not in [0, 1], or what is given does not match.

        References
        ----------
        .. [1] McCann, R. (1997). A convexity principle for interacting gases. Advances in
           Mathematics, 128(1), 153-179.

        Examples
        --------
        >>> from skot import SinkhornTransport
        >>> from skot.datasets import make_moons_pair
        >>> from skot.plots import InterpolationDisplay
        >>> X, Y = make_moons_pair(100, random_state=0)
        >>> transport = SinkhornTransport().fit(X, Y)
        >>> InterpolationDisplay.from_estimator(transport, X, Y)  # doctest: +SKIP
        """
        check_consistent_length(X, colors)
        if image_shape is not None:
            # To move a picture may take long: those that are never drawn are left where they are.
            points = as_points(X)
            rows = spread_rows(len(points), max(n_images, _ANIMATED_IMAGES))
            X = like_points(points[rows], X)
            colors = None if colors is None else as_colors(colors)[rows]
        display = cls._from(
            paths_of(estimator, X),
            Y,
            times,
            colors,
            image_shape,
            features,
            feature_names(X),
        )
        return display.plot(axes, n_images=n_images)

    @classmethod
    def from_predictions(
        cls,
        paths: ArrayLike,
        Y: ArrayLike | None = None,
        *,
        times: ArrayLike | None = None,
        colors: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
        n_images: int = 6,
        features: tuple[int, int] = (0, 1),
        axes: Any = None,
    ) -> "InterpolationDisplay":
        """Create a display from paths and draw it.

        Parameters
        ----------
        paths : array-like of shape (n_rows, n_path_times, n_features)
            Where each point is at times that are equally spaced from 0 to 1.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target, drawn faintly for comparison.
        times : array-like of shape (n_times,), default=None
            Times of the panels, from 0 to 1. None takes those of the paths.
        colors : array-like of shape (n_rows,), default=None
            What tells points apart: finite values, if they are floats, else labels. None colours
            the points by the time.
        image_shape : tuple of int, default=None
            The shape (height, width) or (height, width, 3) of a row, to draw rows as pictures.
        n_images : int, default=6
            The number of rows drawn as pictures, spread evenly over the rows.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn as points.
        axes : array-like of shape (n_times,) of matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : InterpolationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the paths are not of three axes, or do not match what is drawn of them.

        Examples
        --------
        >>> import numpy as np
        >>> from skot.plots import InterpolationDisplay
        >>> X = np.random.RandomState(0).normal(size=(100, 2))
        >>> paths = np.stack([X, X + 5.0], axis=1)
        >>> InterpolationDisplay.from_predictions(paths, times=[0, 0.5, 1])  # doctest: +SKIP
        """
        display = cls._from(paths, Y, times, colors, image_shape, features, None)
        return display.plot(axes, n_images=n_images)

    @classmethod
    def _from(
        cls,
        paths: Any,
        Y: Any,
        times: Any,
        colors: Any,
        image_shape: tuple[int, ...] | None,
        features: tuple[int, int],
        names: Any,
    ) -> Self:
        paths = as_points(paths, min_features=1, allow_nd=True)
        if paths.ndim != 3 or paths.shape[2] < 2:
            raise ValueError(
                "paths must have shape (n_rows, n_times, n_features), of two features or more. Got "
                f"{paths.shape}."
            )
        colors = None if colors is None else as_colors(colors)
        check_consistent_length(paths, colors)
        return cls(
            paths=paths,
            times=times,
            Y=None if Y is None else as_points(Y),
            colors=colors,
            image_shape=image_shape,
            features=features,
            feature_names=names,
        )

    def plot(self, axes: Any = None, *, n_images: int = 6) -> Self:
        """Draw one panel for each time.

        Parameters
        ----------
        axes : array-like of shape (n_times,) of matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.
        n_images : int, default=6
            The number of rows drawn as pictures, spread evenly over the rows.

        Returns
        -------
        display : InterpolationDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a time is not in [0, 1], or there are not as many axes as times, or the points or
            pictures do not have what is drawn of them.
        """
        times = self._panel_times()
        self._check(n_images)
        if axes is None:
            axes = self._new_panels(len(times), n_images)
        axes = np.ravel(axes)
        if len(axes) != len(times):
            raise ValueError(f"There are {len(times)} times, and {len(axes)} axes to draw on.")
        nothing: Any = None
        self.points_ = self.target_ = self.images_ = nothing
        for ax, time in zip(axes, times, strict=True):
            new_axes(f"{type(self).__name__}.plot", ax)
            ax.set_title(f"t = {time:.3g}")
        if self.image_shape is not None:
            rows = self._image_rows(n_images)
            self.images_ = [
                self._draw_images(ax, rows, time, 1) for ax, time in zip(axes, times, strict=True)
            ]
        else:
            if self.Y is not None:
                self.target_ = [self._draw_target(ax) for ax in axes]
                legend_above(axes[0], self.target_[:1])
            self.points_ = [
                self._draw_points(ax, time) for ax, time in zip(axes, times, strict=True)
            ]
            for ax in axes:
                name_axes(ax, self.feature_names, self.features)
            for ax in axes[1:]:
                ax.set_ylabel("")
        self.axes_ = axes
        self.figure_ = axes[0].figure
        return self

    def animate(
        self,
        *,
        n_frames: int = 40,
        interval: int = 50,
        there_and_back: bool = True,
        n_images: int = _ANIMATED_IMAGES,
        ax: Any = None,
    ) -> Any:
        """Animate the points, or the pictures, from the first time to the last.

        Parameters
        ----------
        n_frames : int, default=40
            Frames of the way there, at equally spaced times from 0 to 1.
        interval : int, default=50
            Time between two frames, in milliseconds.
        there_and_back : bool, default=True
            Whether the points come back, in ``n_frames - 2`` further frames, so that the animation
            can go round without a jump.
        n_images : int, default=16
            The number of rows drawn as pictures, spread evenly over the rows.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        animation : matplotlib.animation.FuncAnimation
            ``animation.save("moved.gif", writer="pillow")`` writes it to a file, and
            ``animation.to_jshtml()`` shows it in a notebook. The display keeps it as `animation_`:
            matplotlib drops animations that nobody keeps.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the points or pictures do not have what is drawn of them.

        Examples
        --------
        >>> import numpy as np
        >>> from skot.plots import InterpolationDisplay
        >>> X = np.random.RandomState(0).normal(size=(100, 2))
        >>> display = InterpolationDisplay(paths=np.stack([X, X + 5.0], axis=1))
        >>> display.animate().save("moved.gif", writer="pillow")  # doctest: +SKIP
        """
        self._check(n_images)
        check_scalar(n_frames, "n_frames", Integral, min_val=1)
        ax = new_axes(f"{type(self).__name__}.animate", ax)
        from matplotlib.animation import FuncAnimation

        times = np.linspace(0.0, 1.0, n_frames)
        if there_and_back:
            times = np.concatenate([times, times[-2:0:-1]])
        if self.image_shape is not None:
            rows = self._image_rows(n_images)
            n_columns = int(np.ceil(np.sqrt(len(rows))))
            image = self._draw_images(ax, rows, 0.0, n_columns)
        else:
            if self.Y is not None:
                legend_above(ax, [self._draw_target(ax)])
            points = self._draw_points(ax, 0.0)
            name_axes(ax, self.feature_names, self.features)
        title = ax.set_title("t = 0.00")

        def show(time: float) -> None:
            title.set_text(f"t = {time:.2f}")
            if self.image_shape is not None:
                image.set_data(self._pictures(rows, time, n_columns))
                return
            points.set_offsets(points_at(self.paths, time)[:, list(self.features)])
            points.set_facecolor(point_colors(self.colors, time))

        self.animation_ = FuncAnimation(ax.figure, show, frames=times, interval=interval)
        return self.animation_

    def _check(self, n_images: int) -> None:
        n_columns = self.paths.shape[2]
        if self.image_shape is None:
            check_columns({"a path": self.paths, "Y": self.Y}, self.features)
            return
        if len(self.image_shape) not in (2, 3) or np.prod(self.image_shape) != n_columns:
            raise ValueError(
                f"Rows of {n_columns} features are no pictures of shape {self.image_shape}."
            )
        check_scalar(n_images, "n_images", Integral, min_val=1)

    def _panel_times(self) -> np.ndarray:
        if self.times is None:
            return np.linspace(0.0, 1.0, self.paths.shape[1])
        times = column_or_1d(to_numpy(self.times), dtype=np.float64)
        if not len(times) or not ((times >= 0.0) & (times <= 1.0)).all():
            raise ValueError(f"times must be between 0 and 1. Got {self.times!r}.")
        return times

    def _new_panels(self, n_times: int, n_images: int) -> Any:
        # The first call explains what is missing, if matplotlib is.
        figure = new_axes(f"{type(self).__name__}.plot").figure
        figure.clear()
        if self.image_shape is None:
            (left, right), (bottom, top) = self._limits()
            width, height = 2.6, 2.6 * float(np.clip((top - bottom) / (right - left), 0.3, 3.0))
        else:
            height = 1.1 * len(self._image_rows(n_images))
            width = 1.1 * self.image_shape[1] / self.image_shape[0]
        figure.set_size_inches(n_times * (width + 0.2), height + 0.5)
        return figure.subplots(1, n_times, sharex=True, sharey=True)

    def _limits(self, *, upside_down: bool = False) -> np.ndarray:
        """Least and largest value of the two columns at any time, with a margin."""
        pair = list(self.features)
        points = self.paths[:, :, pair].reshape(-1, 2)
        if self.Y is not None:
            points = np.concatenate([points, self.Y[:, pair]])
        limits = np.stack([points.min(axis=0), points.max(axis=0)], axis=1).astype(np.float64)
        margin = 0.05 * np.ptp(limits, axis=1).max() or 1.0
        limits += [-margin, margin]
        if self.Y is not None:  # there is a legend, above the points
            limits[1] += [-margin, 0.0] if upside_down else [0.0, margin]
        return limits

    def _draw_points(self, ax: Any, time: float) -> Any:
        points = points_at(self.paths, time)[:, list(self.features)]
        drawn = ax.scatter(
            *points.T,
            s=float(np.clip(_SIZE / len(points), *_SIZES)),
            color=point_colors(self.colors, time),
            alpha=0.8,
            linewidths=0,
            zorder=2,
        )
        set_limits(ax, *self._limits(upside_down=ax.yaxis_inverted()))
        ax.set_aspect("equal", adjustable="box")
        return drawn

    def _draw_target(self, ax: Any) -> Any:
        points = np.asarray(self.Y)[:, list(self.features)]
        return draw_cloud(ax, points, "target", zorder=1, alpha=0.3, size=_SIZE, sizes=_SIZES)

    def _image_rows(self, n_images: int) -> np.ndarray:
        return spread_rows(len(self.paths), n_images)

    def _draw_images(self, ax: Any, rows: np.ndarray, time: float, n_columns: int) -> Any:
        paths = self.paths[rows]
        ax.set_axis_off()
        return ax.imshow(
            self._pictures(rows, time, n_columns),
            cmap="gray",
            vmin=paths.min(),
            vmax=paths.max(),
        )

    def _pictures(self, rows: np.ndarray, time: float, n_columns: int) -> np.ndarray:
        pictures = points_at(self.paths[rows], time)
        return mosaic(pictures.reshape(len(rows), *np.asarray(self.image_shape)), n_columns)
