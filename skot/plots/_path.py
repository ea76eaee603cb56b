"""On which paths a transport moves a cloud of points."""

from collections.abc import Callable
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_scalar

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
from skot.utils.tensors import to_numpy

#: Points along an axis at which the Lagrangian is evaluated.
_RESOLUTION = 300
#: Shades of the background, and contours at these shares of its height.
_SHADES, _LEVELS = ("#FFFFFF", "#BEBEBE"), (0.25, 0.5, 0.75)


class PathDisplay:
    """Display of points on their way, from the source to where a transport takes them.

    It is recommended to use `PathDisplay.from_estimator` or `PathDisplay.from_predictions` to
    create a display. All parameters are stored as attributes.

    Parameters
    ----------
    paths : ndarray of shape (n_rows, n_times, n_features)
        Where each point is at successive times.
    Y : ndarray of shape (n_target, n_features), default=None
        Points of the target. None draws none.
    lagrangian : Lagrangian or callable, default=None
        Shades the places where it is expensive to be: the background is ``L(x, v, t)`` at zero
        velocity and at half of the time, -U(x) for a :class:`~skot.costs.KineticPotential`.
        Nothing is shaded for None, and where that does not depend on x.
    features : tuple of two int, default=(0, 1)
        The two columns that are drawn. The background has the mean of the paths in the others.
    feature_names : sequence of str, default=None
        Names of the columns, for the axes. None leaves the axes without names.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the paths.
    figure_ : matplotlib Figure
        The figure that holds the axes.
    source_, transported_ : matplotlib PathCollection
        The points at the first and the last time.
    target_ : matplotlib PathCollection or None
        The points of the target.
    lines_ : matplotlib LineCollection
        The paths, piece by piece, in colours that go from that of the source to that of the
        transported points.
    background_ : matplotlib AxesImage or None
        The shading.

    See Also
    --------
    TransportMapDisplay : Display of a transport by straight lines.
    InterpolationDisplay : Display of the points on their way, time by time, and animation.
    PotentialDisplay : Display of the potentials behind the paths.
    skot.LagrangianOT.transport_paths : Paths of least action.
    skot.LagrangianMetricLearner.predict_trajectories : Paths under a learned metric.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.datasets import make_moons_pair
    >>> from skot.plots import PathDisplay
    >>> X, Y = make_moons_pair(100, random_state=0)
    >>> time = np.linspace(0.0, 1.0, 20)[:, None]
    >>> display = PathDisplay(paths=(1 - time) * X[:, None] + time * Y[:, None])
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        paths: np.ndarray,
        Y: np.ndarray | None = None,
        lagrangian: Callable[..., torch.Tensor] | None = None,
        features: tuple[int, int] = (0, 1),
        feature_names: ArrayLike | None = None,
    ) -> None:
        self.paths = paths
        self.Y = Y
        self.lagrangian = lagrangian
        self.features = features
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        Y: ArrayLike | None = None,
        *,
        n_times: int = 50,
        n_lines: int = 100,
        features: tuple[int, int] = (0, 1),
        lagrangian: Callable[..., torch.Tensor] | None = None,
        ax: Any = None,
    ) -> "PathDisplay":
        """Create a display from a fitted estimator and draw it.

        Parameters
        ----------
        estimator : estimator instance
            A fitted :class:`~skot.LagrangianOT` or :class:`~skot.LagrangianMetricLearner`, or
            another estimator with ``transport_paths(X, n_times)`` or
            ``predict_trajectories(X, n_times)``.
        X : array-like of shape (n_source, n_features)
            Source points.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target, drawn for comparison.
        n_times : int, default=50
            Points along each path.
        n_lines : int, default=100
            The number of paths drawn, spread evenly over the rows.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn.
        lagrangian : Lagrangian or callable, default=None
            Shades the places where it is expensive to be. None takes that of the estimator, if it
            has one.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : PathDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator knows no paths.

        Examples
        --------
        >>> from skot import LagrangianOT
        >>> from skot.datasets import make_obstacle_pair, obstacle_lagrangian
        >>> from skot.plots import PathDisplay
        >>> X, Y = make_obstacle_pair("hill", 100, random_state=0)
        >>> transport = LagrangianOT(obstacle_lagrangian("hill"), max_iter=5).fit(X, Y)
        >>> PathDisplay.from_estimator(transport, X, Y)  # doctest: +SKIP
        """
        for name in ("transport_paths", "predict_trajectories"):
            if hasattr(estimator, name):
                paths = getattr(estimator, name)(X, n_times)
                break
        else:
            raise TypeError(
                "estimator must have transport_paths or predict_trajectories; "
                f"{type(estimator).__name__} has neither."
            )
        if lagrangian is None:
            lagrangian = getattr(estimator, "lagrangian_", None)
        display = cls(
            paths=_as_paths(paths),
            Y=None if Y is None else as_points(Y),
            lagrangian=lagrangian,
            features=features,
            feature_names=feature_names(X),
        )
        return display.plot(ax, n_lines=n_lines)

    @classmethod
    def from_predictions(
        cls,
        paths: ArrayLike,
        Y: ArrayLike | None = None,
        *,
        n_lines: int = 100,
        features: tuple[int, int] = (0, 1),
        lagrangian: Callable[..., torch.Tensor] | None = None,
        ax: Any = None,
    ) -> "PathDisplay":
        """Create a display from paths and draw it.

        Parameters
        ----------
        paths : array-like of shape (n_rows, n_times, n_features)
            Where each point is at successive times.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target, drawn for comparison.
        n_lines : int, default=100
            The number of paths drawn, spread evenly over the rows.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn.
        lagrangian : Lagrangian or callable, default=None
            Shades the places where it is expensive to be.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : PathDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the paths are not of three axes, or of fewer than two columns.

        Examples
        --------
        >>> import numpy as np
        >>> from skot.plots import PathDisplay
        >>> angle = np.linspace(0.0, np.pi, 40)
        >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        >>> paths = np.linspace(0.5, 1.0, 10)[:, None, None] * circle
        >>> PathDisplay.from_predictions(paths)  # doctest: +SKIP
        """
        display = cls(
            paths=_as_paths(paths),
            Y=None if Y is None else as_points(Y),
            lagrangian=lagrangian,
            features=features,
        )
        return display.plot(ax, n_lines=n_lines)

    def plot(self, ax: Any = None, *, n_lines: int = 100) -> Self:
        """Draw the paths, their ends and the background.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.
        n_lines : int, default=100
            The number of paths drawn, spread evenly over the rows.

        Returns
        -------
        display : PathDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If points do not have the columns that are drawn.
        """
        check_columns({"a path": self.paths, "Y": self.Y}, self.features)
        check_scalar(n_lines, "n_lines", Integral, min_val=0)
        ax = new_axes(f"{type(self).__name__}.plot", ax)
        pair = list(self.features)
        paths = self.paths[:, :, pair]
        rows = spread_rows(len(paths), n_lines)
        self.lines_ = ax.add_collection(_time_colored(paths[rows]))
        self.target_ = None
        if self.Y is not None:
            self.target_ = _draw(ax, self.Y[:, pair], "target", 3)
        self.source_ = _draw(ax, paths[:, 0], "source", 4)
        self.transported_ = _draw(ax, paths[:, -1], "transported", 5)
        ax.set_aspect("equal", adjustable="box")
        name_axes(ax, self.feature_names, pair)
        legend_above(ax, [self.source_, self.target_, self.transported_])
        self.background_ = self._shade(ax)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _shade(self, ax: Any) -> Any:
        """Draw what it costs to be somewhere, as far as the axes reach."""
        if self.lagrangian is None:
            return None
        from matplotlib.colors import LinearSegmentedColormap

        xlim, ylim = ax.get_xlim(), ax.get_ylim()
        columns = np.linspace(xlim[0], xlim[1], _RESOLUTION)
        lines = np.linspace(ylim[0], ylim[1], _RESOLUTION)
        points = np.tile(self.paths.mean(axis=(0, 1)), (_RESOLUTION, _RESOLUTION, 1))
        points[..., self.features[0]] = columns
        points[..., self.features[1]] = lines[:, None]
        height = _standing(self.lagrangian, points)
        low, high = height.min(), height.max()
        if not high > low:
            return None
        ax.grid(False)
        image = ax.imshow(
            height,
            extent=(*xlim, *ylim),
            origin="lower",
            cmap=LinearSegmentedColormap.from_list("barriers", _SHADES),
            interpolation="bilinear",
            zorder=-1,
        )
        levels = [low + share * (high - low) for share in _LEVELS]
        ax.contour(columns, lines, height, levels, colors="#9A9A9A", linewidths=0.5, zorder=0)
        ax.set(xlim=xlim, ylim=ylim)
        return image


def _as_paths(paths: Any) -> np.ndarray:
    paths = as_points(paths, min_features=1, allow_nd=True)
    if paths.ndim != 3 or paths.shape[2] < 2:
        raise ValueError(
            "paths must have shape (n_rows, n_times, n_features), of two features or more. Got "
            f"{paths.shape}."
        )
    return paths


def _standing(lagrangian: Callable[..., torch.Tensor], points: np.ndarray) -> np.ndarray:
    """Evaluate a Lagrangian at points that do not move, half-way in time."""
    x = torch.from_numpy(points)
    with torch.no_grad():
        height = lagrangian(x, torch.zeros_like(x), x.new_full(x.shape[:-1], 0.5))
    return to_numpy(height)


def _time_colored(paths: np.ndarray) -> Any:
    """Cut paths into pieces between times, and colour them by the time."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    pieces = np.stack([paths[:, :-1], paths[:, 1:]], axis=2)
    n_rows, n_pieces = pieces.shape[:2]
    cmap = LinearSegmentedColormap.from_list("time", [COLORS["source"], COLORS["transported"]])
    lines = LineCollection(
        list(pieces.reshape(-1, 2, 2)),
        cmap=cmap,
        linewidths=0.8,
        alpha=0.6,
        zorder=2,
    )
    lines.set_array(np.tile((np.arange(n_pieces) + 0.5) / max(n_pieces, 1), n_rows))
    lines.set_clim(0.0, 1.0)
    return lines


def _draw(ax: Any, points: np.ndarray, role: str, zorder: int) -> Any:
    # Smaller than in other displays: the paths are what is shown.
    return draw_cloud(ax, points, role, zorder=zorder, alpha=0.8, size=2000.0, sizes=(3.0, 16.0))
