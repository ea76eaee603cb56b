"""A potential, and where it pushes points."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skot.plots._potential_plane import draw_arrows, draw_levels, mesh, places_near
from skot.plots._potential_values import evaluate, potentials_of
from skot.plots._style import (
    COLORS,
    as_points,
    check_columns,
    colorbar_beside,
    draw_cloud,
    draw_ticks,
    legend_above,
    like_points,
    name_axes,
    new_axes,
)
from skot.utils._sklearn import feature_names

#: Points along an axis at which the potential is evaluated; of data with one feature.
_RESOLUTION, _CURVE_RESOLUTION = 120, 400


class PotentialDisplay:
    r"""Display of a potential over two features, with the displacements that go with it.

    Potentials are defined up to a constant: the least value at a point is 0. Data with one feature
    are drawn as the curve of the potential.

    It is recommended to use `PotentialDisplay.from_estimator` or `PotentialDisplay.from_potential`
    to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    potential : callable
        What is drawn: takes a float64 tensor of shape (n_rows, n_features) to one of shape
        (n_rows,).
    X : ndarray of shape (n_source, n_features)
        Source points.
    Y : ndarray of shape (n_target, n_features), default=None
        Points of the target. None draws none.
    transport : callable, default=None
        Takes an array of shape (n_rows, n_features) to where its rows go, of the same shape, for
        the arrows. None draws none.
    side : {"source", "target"}, default="source"
        The points that the potential is a function of: `X` or `Y`.
    name : str, default="potential"
        What the values are, for the colour bar.
    features : tuple of two int, default=(0, 1)
        The two columns that are drawn, where there are two or more. The others are held at the
        mean of the points of `side`.
    feature_names : sequence of str, default=None
        Names of the columns, for the axes. None leaves the axes without names.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the potential.
    figure_ : matplotlib Figure
        The figure that holds the axes.
    grid_ : ndarray of shape (n_grid, n_features)
        The points at which the potential was evaluated, row by row from the least values of both
        columns.
    values_ : ndarray of shape (n_grid,)
        Its values there, less the least of those at the points.
    levels_ : matplotlib ContourSet or Line2D or None
        The filled level lines, which cover the values at the points, or the curve; None for a
        potential that is constant.
    colorbar_ : matplotlib Colorbar or None
        The scale of the values; None for a curve.
    arrows_ : matplotlib Quiver or None
        The displacements, of the points of a grid that are near points of `side`. They are drawn
        to a scale of their own, at which the longest ones just do not touch.
    source_ : matplotlib PathCollection
        The source points; with one feature, short lines along the axis.
    target_ : matplotlib PathCollection or None
        The points of the target, likewise.

    See Also
    --------
    TransportMapDisplay : Display of the map that follows from a potential.
    CouplingDisplay : Display of the plan that follows from two.
    skot.potentials : The potentials, on tensors.

    References
    ----------
    .. [1] Peyre, G. and Cuturi, M. (2019). Computational optimal transport. Foundations and
       Trends in Machine Learning, 11(5-6), Sections 2.5 and 5.1.

    Examples
    --------
    >>> from skot.datasets import make_moons_pair
    >>> from skot.plots import PotentialDisplay
    >>> X, _ = make_moons_pair(100, random_state=0)
    >>> display = PotentialDisplay(potential=lambda x: 0.5 * x.square().sum(dim=1), X=X)
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        potential: Callable[[torch.Tensor], torch.Tensor],
        X: np.ndarray,
        Y: np.ndarray | None = None,
        transport: Callable[[np.ndarray], ArrayLike] | None = None,
        side: str = "source",
        name: str = "potential",
        features: tuple[int, int] = (0, 1),
        feature_names: ArrayLike | None = None,
    ) -> None:
        self.potential = potential
        self.X = X
        self.Y = Y
        self.transport = transport
        self.side = side
        self.name = name
        self.features = features
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        Y: ArrayLike | None = None,
        *,
        side: str | None = None,
        features: tuple[int, int] = (0, 1),
        n_arrows: int = 12,
        ax: Any = None,
    ) -> "PotentialDisplay":
        r"""Create a display from a fitted transport and draw it.

        What is drawn depends on the estimator:

        ================================  ==================================  ====================
        estimator                         source                              target
        ================================  ==================================  ====================
        :class:`~skot.SinkhornTransport`  f of the entropic problem           g of the same
        :class:`~skot.W2GNTransport`      Brenier's potential less            none
                                          :math:`|x|^2 / 2`
        :class:`~skot.NeuralOT`           none                                g
        :class:`~skot.LagrangianOT`       f, learned from slopes of the       g
                                          c-transform of g
        ================================  ==================================  ====================

        f and g are Kantorovich potentials in the units of the cost, prices at which mass is taken
        up and put down: a Sinkhorn map for the squared cost leads down f, by
        :math:`T(x) = x - \nabla f(x) / 2`. The gradient of Brenier's potential is the map itself;
        without the parabola, which leaves every point in its place, it is the displacement
        :math:`T(x) - x`, and points are pushed up. Values away from the data are extrapolated. With
        ``class_reg > 0``, f and g are seen by a row without a label.

        Parameters
        ----------
        estimator : estimator instance
            A fitted transport with potentials. Of another one it takes ``potentials_`` with
            ``source_potential`` and ``target_potential``, or ``potential_`` on the target and
            ``source_potential_``, called on tensors.
        X : array-like of shape (n_source, n_features)
            Source points.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target. They are needed to draw a potential of the target.
        side : {"source", "target"}, default=None
            Which potential is drawn. None is that of the source, if there is one.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn, where there are two or more.
        n_arrows : int, default=12
            Arrows along the longer side of the axes, of ``transform`` minus the identity on the
            source and of ``inverse_transform`` minus the identity on the target. 0 draws none, and
            there are none where the estimator has no such map.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure. If it has limits of its own, the
            potential is drawn as far as they reach.

        Returns
        -------
        display : PotentialDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no potential.
        ValueError
            If it has none on that side.

        Examples
        --------
        >>> from skot import SinkhornTransport
        >>> from skot.datasets import make_moons_pair
        >>> from skot.plots import PotentialDisplay
        >>> X, Y = make_moons_pair(100, random_state=0)
        >>> transport = SinkhornTransport().fit(X, Y)
        >>> PotentialDisplay.from_estimator(transport, X, Y)  # doctest: +SKIP
        """
        check_is_fitted(estimator)
        potentials = potentials_of(estimator)
        if side is None:
            side = next(iter(potentials))
        _check_side(side)
        if side not in potentials:
            raise ValueError(
                f"{type(estimator).__name__} has no potential on the {side}, only on the "
                f"{next(iter(potentials))}."
            )
        potential, name = potentials[side]
        method = "transform" if side == "source" else "inverse_transform"
        transport = None
        if hasattr(estimator, method):

            def transport(rows: np.ndarray) -> ArrayLike:
                return getattr(estimator, method)(like_points(rows, X))

        return cls._from(potential, X, Y, transport, side, name, features).plot(
            ax, n_arrows=n_arrows
        )

    @classmethod
    def from_potential(
        cls,
        potential: Callable[[torch.Tensor], torch.Tensor],
        X: ArrayLike,
        Y: ArrayLike | None = None,
        *,
        transport: Callable[[np.ndarray], ArrayLike] | None = None,
        side: str = "source",
        name: str = "potential",
        features: tuple[int, int] = (0, 1),
        n_arrows: int = 12,
        ax: Any = None,
    ) -> "PotentialDisplay":
        """Create a display from a function and draw it.

        Parameters
        ----------
        potential : callable
            What is drawn, as it is: takes a float64 tensor of shape (n_rows, n_features) to one of
            shape (n_rows,).
        X : array-like of shape (n_source, n_features)
            Source points.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target. They are needed to draw a potential of the target.
        transport : callable, default=None
            Takes an array of shape (n_rows, n_features) to where its rows go, for the arrows. None
            draws none.
        side : {"source", "target"}, default="source"
            The points that the potential is a function of: `X` or `Y`.
        name : str, default="potential"
            What the values are, for the colour bar.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn, where there are two or more.
        n_arrows : int, default=12
            Arrows along the longer side of the axes.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure. If it has limits of its own, the
            potential is drawn as far as they reach.

        Returns
        -------
        display : PotentialDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the potential does not give one finite value for each row.

        Examples
        --------
        >>> from skot.datasets import make_gaussian_pair
        >>> from skot.plots import PotentialDisplay
        >>> X, Y = make_gaussian_pair(100, random_state=0)
        >>> PotentialDisplay.from_potential(  # doctest: +SKIP
        ...     lambda x: x.square().sum(dim=1), X, transport=lambda rows: 3 * rows
        ... )
        """
        _check_side(side)
        return cls._from(potential, X, Y, transport, side, name, features).plot(
            ax, n_arrows=n_arrows
        )

    @classmethod
    def _from(
        cls,
        potential: Callable[[torch.Tensor], torch.Tensor],
        X: Any,
        Y: Any,
        transport: Callable[[np.ndarray], ArrayLike] | None,
        side: str,
        name: str,
        features: tuple[int, int],
    ) -> Self:
        if side == "target" and Y is None:
            raise ValueError("A potential of the target is drawn around its points: pass Y.")
        return cls(
            potential=potential,
            X=as_points(X, min_features=1),
            Y=None if Y is None else as_points(Y, min_features=1),
            transport=transport,
            side=side,
            name=name,
            features=features,
            feature_names=feature_names(X),
        )

    def plot(self, ax: Any = None, *, n_arrows: int = 12) -> Self:
        """Draw the potential, the arrows and the points.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure. If it has limits of its own, the
            potential is drawn as far as they reach.
        n_arrows : int, default=12
            Arrows along the longer side of the axes. Not used for data with one feature.

        Returns
        -------
        display : PotentialDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the potential does not give one finite value for each row, or points do not have the
            columns that are drawn.
        """
        in_line = self.X.shape[1] == 1
        check_columns({"X": self.X, "Y": self.Y}, None if in_line else self.features)
        places = [points[:, self._columns] for points in (self.X, self.Y) if points is not None]
        at_points = evaluate(self.potential, self._at(np.concatenate(places)))
        ax = new_axes(f"{type(self).__name__}.plot", ax)
        nothing: Any = None
        self.target_ = self.arrows_ = self.levels_ = self.colorbar_ = nothing
        if in_line:
            self._plot_curve(ax, at_points)
        else:
            self._plot_plane(ax, at_points, n_arrows)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    @property
    def _points(self) -> np.ndarray:
        """The points of the side that the potential lives on."""
        if self.side == "target" and self.Y is not None:
            return self.Y
        return self.X

    @property
    def _columns(self) -> list[int]:
        """The columns that are drawn."""
        return [0] if self.X.shape[1] == 1 else list(self.features)

    def _plot_plane(self, ax: Any, at_points: np.ndarray, n_arrows: int) -> None:
        if self.Y is not None:
            self.target_ = _draw(ax, self.Y[:, self._columns], "target", 3)
        self.source_ = _draw(ax, self.X[:, self._columns], "source", 4)
        ax.set_aspect("equal", adjustable="box")
        name_axes(ax, self.feature_names, self._columns)
        legend_above(ax, [self.source_, self.target_])
        xlim, ylim = ax.get_xlim(), ax.get_ylim()
        # Axes may have a direction of their own, as those of images and maps do.
        reach = [(min(ends), max(ends)) for ends in (xlim, ylim)]
        sides = [np.linspace(low, high, _RESOLUTION) for low, high in reach]
        self.grid_ = self._at(mesh(*sides))
        self._fill(ax, sides, self._set_values(at_points))
        self._push(ax, reach, n_arrows)
        ax.grid(False)
        ax.set(xlim=xlim, ylim=ylim)

    def _fill(self, ax: Any, sides: list[np.ndarray], highest: float) -> None:
        if highest > 0.0:
            height = self.values_.reshape(_RESOLUTION, _RESOLUTION)
            self.levels_ = draw_levels(ax, sides, height, highest)
            self.colorbar_ = colorbar_beside(ax, self.levels_, self.name)

    def _push(self, ax: Any, reach: list[tuple[float, float]], n_arrows: int) -> None:
        """Draw where points of the plane go, as far as there are data."""
        if self.transport is None or n_arrows < 1:
            return
        spacing = max(high - low for low, high in reach) / n_arrows
        rows = self._at(places_near(self._points[:, self._columns], reach, spacing))
        if not len(rows):
            return
        try:
            moved = as_points(self.transport(rows))
        except NotImplementedError:  # a cost without a twist has potentials, and no map
            return
        steps = (moved - rows)[:, self._columns]
        self.arrows_ = draw_arrows(ax, rows[:, self._columns], steps, 0.9 * spacing)

    def _plot_curve(self, ax: Any, at_points: np.ndarray) -> None:
        clouds = {"target": self.Y, "source": self.X}
        drawn = {role: points for role, points in clouds.items() if points is not None}
        # Ticks along the axis show how the points are spread.
        for (role, points), place in zip(drawn.items(), (0.09, 0.03)[-len(drawn) :], strict=True):
            ticks = draw_ticks(ax, points[:, 0], role, axis="x", place=place)
            setattr(self, f"{role}_", ticks)
        low, high = self._reach_of_curve(ax, np.concatenate(list(drawn.values())))
        self.grid_ = np.linspace(low, high, _CURVE_RESOLUTION)[:, None]
        self._set_values(at_points)
        (self.levels_,) = ax.plot(
            self.grid_[:, 0], self.values_, color=COLORS["reference"], linewidth=2, label=self.name
        )
        legend_above(ax, [self.source_, self.target_])
        ax.margins(x=0.0, y=0.16)
        name = None if self.feature_names is None else np.asarray(self.feature_names)[0]
        ax.set(xlabel=name or "x", ylabel=self.name)

    def _reach_of_curve(self, ax: Any, points: np.ndarray) -> tuple[float, float]:
        if not ax.get_autoscalex_on():
            low, high = sorted(ax.get_xlim())
            return low, high
        low, high = float(points.min()), float(points.max())
        margin = 0.05 * (high - low) or 1.0
        return low - margin, high + margin

    def _at(self, places: np.ndarray) -> np.ndarray:
        """Rows at places of the plane, with the mean of the points in the other columns."""
        rows = np.tile(self._points.mean(axis=0, dtype=np.float64), (len(places), 1))
        rows[:, self._columns] = places
        return rows

    def _set_values(self, at_points: np.ndarray) -> float:
        """Evaluate the potential on the grid, from its least value at the points; the highest."""
        values = evaluate(self.potential, self.grid_)
        if not np.ptp(at_points) > 0.0:
            at_points = values
        self.values_ = values - at_points.min()
        return float(np.ptp(at_points))


def _check_side(side: str) -> None:
    if side not in ("source", "target"):
        raise ValueError(f"side must be 'source' or 'target'. Got {side!r}.")


def _draw(ax: Any, points: np.ndarray, role: str, zorder: int) -> Any:
    # Smaller than in other displays: the potential is what is shown.
    return draw_cloud(ax, points, role, zorder=zorder, sizes=(7.0, 26.0), edge=0.3)
