"""Which points a plan joins, and by how much mass."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_scalar, column_or_1d

from skot.plots._coupling_entries import as_coupling, block_means, heaviest
from skot.plots._style import (
    COLORS,
    as_points,
    check_columns,
    colorbar_beside,
    draw_cloud,
    legend_above,
    name_axes,
    new_axes,
)
from skot.utils._labels import as_label_array, check_source_labels
from skot.utils._sklearn import feature_names
from skot.utils.validation import known_labels

#: Shades of the matrix: equal steps in CIELAB.
_SHADES = ("#FBFBFD", "#D1CBDF", "#A99CC1", "#8170A4", "#594687", "#2E1F6B")
#: The line of a pair of points of different classes.
_BETWEEN_CLASSES = "#D55E00"
#: Opacity and width of the heaviest line, while there are not more than so many.
_OPACITY, _WIDTH, _FEW_LINES = 0.8, 1.6, 500


class CouplingDisplay:
    r"""Display of a coupling: how much mass goes from each source point to each target point.

    ``kind="lines"`` joins the heaviest pairs by lines, whose opacity goes with the mass.
    It leaves pairs out, and says how much: `mass_drawn_` is the share of the mass that the lines
    stand for. A plan without regularisation has at most ``n_source + n_target - 1`` pairs with
    mass, of which none need be missing; of an entropic plan lines are a part, and of its sharpest
    places more than of others.

    ``kind="matrix"`` is a heat map of all entries, in the order of the rows, or sorted by the
    classes.

    It is recommended to use `CouplingDisplay.from_estimator` or `CouplingDisplay.from_predictions`
    to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    coupling : ndarray or csr_array of shape (n_source, n_target)
        The mass of each pair.
    X : ndarray of shape (n_source, n_features), default=None
        Source points. A matrix does not need them.
    Y : ndarray of shape (n_target, n_features), default=None
        Points of the target. A matrix does not need them.
    y_source : ndarray of shape (n_source,), default=None
        Classes of the source points.
    y_target : ndarray of shape (n_target,), default=None
        Classes of the points of the target. -1 among integers, unless it is a class of the source,
        NaN among floats and None among objects are unknown.
    features : tuple of two int, default=(0, 1)
        The two columns that are drawn.
    feature_names : sequence of str, default=None
        Names of the columns, for the axes. None leaves the axes without names.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the coupling.
    figure_ : matplotlib Figure
        The figure that holds the axes.
    mass_drawn_ : float
        Share of the mass that is drawn: 1 for a matrix.
    mass_within_classes_ : float or None
        Share of the mass, drawn or not, that stays within a class, of all that reaches points of
        known class. None unless the classes of both sides are given, and some mass reaches such
        points.
    pairs_ : ndarray of shape (n_lines, 2) or None
        Source and target index of each line, from the lightest to the heaviest.
    lines_ : matplotlib LineCollection or None
        The lines; with classes of both sides, those between classes have a colour of their own.
        Those to points of unknown class do not.
    source_, target_ : matplotlib PathCollection or None
        The points.
    image_ : matplotlib AxesImage or None
        The heat map. Of a large coupling a cell is the mean of a block of entries.
    order_ : tuple of two ndarray or None
        Which row of the coupling each line of the heat map is, and which column. Points of unknown
        class come last.
    colorbar_ : matplotlib Colorbar or None
        The scale of the heat map. Colours go with the square root of the mass, so that faint
        entries show.
    separators_ : list of matplotlib Line2D
        Borders between classes in the heat map.

    See Also
    --------
    TransportMapDisplay : Display of a map, with one image of every point.
    ConditionalFanDisplay : Display of a transport that splits mass and was learned.
    PotentialDisplay : Display of the potentials behind a plan.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.plots import CouplingDisplay
    >>> X = np.array([[0.0, 0.0], [1.0, 0.0]])
    >>> display = CouplingDisplay(coupling=np.eye(2) / 2, X=X, Y=X + [0.0, 1.0])
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        coupling: np.ndarray,
        X: np.ndarray | None = None,
        Y: np.ndarray | None = None,
        y_source: np.ndarray | None = None,
        y_target: np.ndarray | None = None,
        features: tuple[int, int] = (0, 1),
        feature_names: ArrayLike | None = None,
    ) -> None:
        self.coupling = coupling
        self.X = X
        self.Y = Y
        self.y_source = y_source
        self.y_target = y_target
        self.features = features
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        Y: ArrayLike,
        *,
        kind: str = "lines",
        y_source: ArrayLike | None = None,
        y_target: ArrayLike | None = None,
        n_lines: int = 2000,
        features: tuple[int, int] = (0, 1),
        ax: Any = None,
    ) -> "CouplingDisplay":
        """Create a display from a fitted transport and draw it.

        Parameters
        ----------
        estimator : estimator instance
            A fitted :class:`~skot.SinkhornTransport`, or another estimator with ``coupling_``.
        X : array-like of shape (n_source, n_features)
            The source points of ``fit``, in their order.
        Y : array-like of shape (n_target, n_features)
            The points of the target of ``fit``, in their order.
        kind : {"lines", "matrix"}, default="lines"
            Lines between the points of the heaviest pairs, or the heat map of the coupling.
        y_source, y_target : array-like of shape (n_source,), (n_target,), default=None
            Classes of the points. A matrix is sorted by them; lines between different classes
            have a colour of their own where both are given. Those of the target may be unknown:
            -1 (unless it is a class of the source), NaN or None.
        n_lines : int, default=2000
            The number of pairs drawn as lines, the heaviest ones.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : CouplingDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no coupling.
        ValueError
            If the points are not those of the coupling.

        Examples
        --------
        >>> from skot import SinkhornTransport
        >>> from skot.datasets import make_moons_pair
        >>> from skot.plots import CouplingDisplay
        >>> X, Y = make_moons_pair(100, random_state=0)
        >>> transport = SinkhornTransport().fit(X, Y)
        >>> CouplingDisplay.from_estimator(transport, X, Y)  # doctest: +SKIP
        """
        if not hasattr(type(estimator), "coupling_") and not hasattr(estimator, "coupling_"):
            raise TypeError(
                "estimator must have coupling_, as a fitted SinkhornTransport has; "
                f"{type(estimator).__name__} has none."
            )
        return cls.from_predictions(
            estimator.coupling_,
            X,
            Y,
            kind=kind,
            y_source=y_source,
            y_target=y_target,
            n_lines=n_lines,
            features=features,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        coupling: ArrayLike,
        X: ArrayLike | None = None,
        Y: ArrayLike | None = None,
        *,
        kind: str = "lines",
        y_source: ArrayLike | None = None,
        y_target: ArrayLike | None = None,
        n_lines: int = 2000,
        features: tuple[int, int] = (0, 1),
        ax: Any = None,
    ) -> "CouplingDisplay":
        """Create a display from a matrix and draw it.

        Parameters
        ----------
        coupling : array-like or sparse array of shape (n_source, n_target)
            The mass of each pair: a plan of POT, one of
            :meth:`skot.MetaOTRegressor.predict_coupling`, or the ``plan`` of
            :meth:`skot.SinkhornTransport.sparse_coupling`, which is not made dense. Shares of
            the mass are those of what is given.
        X : array-like of shape (n_source, n_features), default=None
            Source points. Lines need them.
        Y : array-like of shape (n_target, n_features), default=None
            Points of the target. Lines need them.
        kind : {"lines", "matrix"}, default="lines"
            Lines between the points of the heaviest pairs, or the heat map of the coupling.
        y_source, y_target : array-like of shape (n_source,), (n_target,), default=None
            Classes of the points. A matrix is sorted by them; lines between different classes
            have a colour of their own where both are given. Those of the target may be unknown:
            -1 (unless it is a class of the source), NaN or None.
        n_lines : int, default=2000
            The number of pairs drawn as lines, the heaviest ones.
        features : tuple of two int, default=(0, 1)
            The two columns that are drawn.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.

        Returns
        -------
        display : CouplingDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the coupling has negative entries or no mass, or does not match the points.

        Examples
        --------
        >>> import numpy as np
        >>> from skot.plots import CouplingDisplay
        >>> x = np.arange(30)
        >>> coupling = np.exp(-np.square(x[:, None] - x) / 8)
        >>> CouplingDisplay.from_predictions(coupling, kind="matrix")  # doctest: +SKIP
        """
        display = cls(
            coupling=as_coupling(coupling),
            X=None if X is None else as_points(X, min_features=1),
            Y=None if Y is None else as_points(Y, min_features=1),
            y_source=_as_classes(y_source),
            y_target=_as_classes(y_target),
            features=features,
            feature_names=None if X is None else feature_names(X),
        )
        if display.y_source is not None:
            check_source_labels(display.y_source)
        display._check_sizes()
        return display.plot(ax, kind=kind, n_lines=n_lines)

    def plot(self, ax: Any = None, *, kind: str = "lines", n_lines: int = 2000) -> Self:
        """Draw the lines or the matrix.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.
        kind : {"lines", "matrix"}, default="lines"
            Lines between the points of the heaviest pairs, or the heat map of the coupling.
        n_lines : int, default=2000
            The number of pairs drawn as lines, the heaviest ones.

        Returns
        -------
        display : CouplingDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            For another `kind`, and for lines without points or without the columns that are
            drawn.
        """
        if kind not in ("lines", "matrix"):
            raise ValueError(f"kind must be 'lines' or 'matrix'. Got {kind!r}.")
        if kind == "lines":
            if self.X is None or self.Y is None:
                raise ValueError("kind='lines' joins points: pass X and Y.")
            check_columns({"X": self.X, "Y": self.Y}, self.features)
            check_scalar(n_lines, "n_lines", Integral, min_val=0)
        ax = new_axes(f"{type(self).__name__}.plot", ax)
        nothing: Any = None
        self.source_ = self.target_ = self.lines_ = self.pairs_ = nothing
        self.image_ = self.order_ = self.colorbar_ = nothing
        self.separators_: list[Any] = []
        self.mass_within_classes_ = self._mass_within_classes()
        if kind == "lines":
            self._plot_lines(ax, n_lines)
        else:
            self._plot_matrix(ax)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _check_sizes(self) -> None:
        shape = self.coupling.shape
        sides = zip(("X", "Y"), ("y_source", "y_target"), shape, strict=True)
        for axis, (points, labels, n_rows) in enumerate(sides):
            for name in (points, labels):
                given = getattr(self, name)
                if given is not None and len(given) != n_rows:
                    raise ValueError(
                        f"{name} has {len(given)} rows, and axis {axis} of the coupling, of shape "
                        f"{shape}, has {n_rows}. A coupling leaves out rows of zero weight."
                    )

    def _mass_within_classes(self) -> float | None:
        if self.y_source is None or self.y_target is None:
            return None
        known = known_labels(self.y_target, self.y_source)
        mass = self.coupling.sum(axis=0, dtype=np.float64)[known].sum()
        if not mass > 0.0:
            return None
        # A product with the indicators of the classes holds no mask as large as the coupling.
        classes = np.unique(self.y_source)
        by_class = (self.y_source[:, None] == classes).T.astype(float) @ self.coupling
        within = by_class[(self.y_target == classes[:, None]) & known].sum()
        return float(within / mass)

    def _plot_lines(self, ax: Any, n_lines: int) -> None:
        from matplotlib.collections import LineCollection

        X, Y, pair = np.asarray(self.X), np.asarray(self.Y), list(self.features)
        x, y = X[:, pair], Y[:, pair]
        self.pairs_, mass = heaviest(self.coupling, n_lines)
        rows, columns = self.pairs_.T
        self.mass_drawn_ = float(mass.sum() / self.coupling.sum())
        share = mass / mass.max() if len(mass) else mass
        thinned = min(1.0, _FEW_LINES / max(len(mass), 1)) ** 0.25
        colors = _faded(COLORS["reference"], thinned * share)
        if self.y_source is not None and self.y_target is not None:
            known = known_labels(self.y_target, self.y_source)[columns]
            between = known & (self.y_source[rows] != self.y_target[columns])
            colors[between] = _faded(_BETWEEN_CLASSES, thinned * share[between])
        self.lines_ = ax.add_collection(
            LineCollection(
                list(np.stack([x[rows], y[columns]], axis=1)),
                colors=colors,
                linewidths=_WIDTH * thinned,
                zorder=1,
            )
        )
        self.target_ = draw_cloud(ax, y, "target", zorder=2, alpha=0.9)
        self.source_ = draw_cloud(ax, x, "source", zorder=3, alpha=0.9)
        ax.set_aspect("equal", adjustable="box")
        name_axes(ax, self.feature_names, pair)
        legend_above(ax, [self.source_, self.target_])

    def _plot_matrix(self, ax: Any) -> None:
        from matplotlib.colors import LinearSegmentedColormap, PowerNorm
        from matplotlib.ticker import MaxNLocator

        n, m = self.coupling.shape
        # A label of the source is taken literally.
        known = None if self.y_target is None else known_labels(self.y_target, self.y_source)
        sides = _by_class(self.y_source, None, n), _by_class(self.y_target, known, m)
        self.order_ = tuple(order for order, _, _ in sides)
        self.mass_drawn_ = 1.0
        cells = block_means(self.coupling, *self.order_)
        self.image_ = ax.imshow(
            cells,
            extent=(0, m, n, 0),
            aspect="auto",
            cmap=LinearSegmentedColormap.from_list("mass", _SHADES),
            norm=PowerNorm(0.5, vmin=0.0, vmax=cells.max()),
            # Cells smaller than a pixel are averaged, not dropped.
            interpolation="antialiased",
        )
        ax.set_box_aspect(float(np.clip(n / m, 0.5, 2.0)))
        ax.grid(False)
        ax.set(xlabel="target", ylabel="source")
        for axis, (_, counts, names) in zip((ax.yaxis, ax.xaxis), sides, strict=True):
            if names:
                self._separate(ax, axis, counts, names)
        self.colorbar_ = colorbar_beside(ax, self.image_, "mass of a pair", MaxNLocator(4))

    def _separate(self, ax: Any, axis: Any, counts: np.ndarray, names: list[str]) -> None:
        """Draw the borders of the classes, and name them."""
        ends = np.cumsum(counts)
        draw = ax.axhline if axis is ax.yaxis else ax.axvline
        self.separators_ += [
            draw(end, color=COLORS["reference"], linewidth=0.8) for end in ends[:-1]
        ]
        axis.set_ticks(ends - 0.5 * counts, names)
        axis.set_tick_params(length=0)


def _as_classes(labels: Any) -> np.ndarray | None:
    return None if labels is None else column_or_1d(as_label_array(labels))


def _by_class(
    labels: np.ndarray | None, known: np.ndarray | None, n_rows: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The order of rows by class, unknown ones last; how many each class has, and its name."""
    if labels is None:
        return np.arange(n_rows), np.array([n_rows]), []
    known = np.ones(n_rows, dtype=bool) if known is None else known
    classes, codes = np.unique(labels[known], return_inverse=True)
    places = np.full(n_rows, len(classes))
    places[known] = codes
    names = [str(one) for one in classes]
    if not known.all():
        names.append("unknown")
    return np.argsort(places, kind="stable"), np.bincount(places), names


def _faded(color: str, share: np.ndarray) -> np.ndarray:
    """Colours whose opacity grows with a share."""
    from matplotlib.colors import to_rgba_array

    colors = np.tile(to_rgba_array(color), (len(share), 1))
    colors[:, 3] = _OPACITY * share
    return colors
