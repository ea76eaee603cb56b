"""PotentialDisplay: level lines and arrows are those of the potential."""

import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skot import GaussianTransport, LagrangianOT, NeuralOT, SinkhornTransport, W2GNTransport
from skot.datasets import make_moons_pair
from skot.networks import ICNN, MLPMap, MLPPotential
from skot.plots import PotentialDisplay
from skot.plots._style import COLORS

matplotlib = pytest.importorskip("matplotlib", reason="the displays draw with matplotlib")
matplotlib.use("Agg")


def half_square(x):
    return 0.5 * x.square().sum(dim=1)


def slope(x):
    return x[:, 0] + 2.0 * x[:, 1]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def pair():
    return make_moons_pair((60, 50), random_state=0)


@pytest.fixture(scope="module")
def neural_pair():
    return make_moons_pair((60, 50), random_state=0)


def starts_and_steps(display):
    arrows = display.arrows_
    return np.column_stack([arrows.X, arrows.Y]), np.column_stack([arrows.U, arrows.V])


def gradient(potential, rows):
    x = torch.from_numpy(rows).requires_grad_()
    return torch.autograd.grad(potential(x).sum(), x)[0].numpy()


def test_points(pair):
    X, Y = pair
    display = PotentialDisplay.from_potential(half_square, X, Y)
    assert_array_equal(display.source_.get_offsets(), X)
    assert_array_equal(display.target_.get_offsets(), Y)
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["source", "target"]
    assert display.colorbar_.ax.get_ylabel() == "potential"
    assert display.figure_ is display.ax_.figure
    assert PotentialDisplay.from_potential(half_square, X).target_ is None


def test_values_start_at_the_lowest_point(pair):
    X, _ = pair
    display = PotentialDisplay.from_potential(half_square, X)
    lowest = 0.5 * np.square(X).sum(axis=1).min()
    assert_allclose(display.values_, 0.5 * np.square(display.grid_).sum(axis=1) - lowest)
    assert_allclose(display.grid_[0], [display.ax_.get_xlim()[0], display.ax_.get_ylim()[0]])
    assert_allclose(display.grid_[-1], [display.ax_.get_xlim()[1], display.ax_.get_ylim()[1]])


def test_level_lines_are_level(pair):
    X, _ = pair
    display = PotentialDisplay.from_potential(slope, X)
    lowest, highest = (X @ [1.0, 2.0]).min(), (X @ [1.0, 2.0]).max()
    levels = display.levels_.levels
    assert levels[0] <= 0.0
    assert levels[-1] >= highest - lowest
    assert len(levels) > 5
    vertices = np.concatenate([path.vertices for path in display.levels_.get_paths()])
    edges = np.array([display.ax_.get_xlim(), display.ax_.get_ylim()])
    inside = (np.abs(vertices[:, :, None] - edges) > 1e-9).all(axis=(1, 2))
    heights = vertices[inside] @ [1.0, 2.0] - lowest
    assert inside.sum() > 100
    assert np.abs(heights[:, None] - levels).min(axis=1).max() < 1e-9


def test_levels_are_of_places_with_points():
    """What is far from the points, and much higher, has one colour."""
    X = np.random.default_rng(0).uniform(-1.0, 1.0, size=(50, 2))
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    ax.set(xlim=(-10, 10), ylim=(-10, 10))
    display = PotentialDisplay.from_potential(half_square, X, ax=ax)
    assert display.ax_.get_xlim() == (-10, 10)
    assert display.values_.max() > 90.0
    assert display.levels_.levels[-1] < 2.0
    assert display.levels_.extend in ("max", "both")


def test_colours_darken_evenly_and_leave_points_visible(pair):
    display = PotentialDisplay.from_potential(half_square, pair[0], pair[1])
    colors = display.levels_.cmap(np.linspace(0.0, 1.0, 9))[:, :3]
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    lightness = 116.0 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16.0
    steps = np.diff(lightness)
    assert steps.max() < 0.0
    assert_allclose(steps, steps.mean(), rtol=0.1)
    assert lightness[-1] > 50.0


def test_arrows(pair):
    X, _ = pair
    display = PotentialDisplay.from_potential(
        half_square, X, transport=lambda rows: 3.0 * rows + [1.0, 0.0], n_arrows=9
    )
    starts, steps = starts_and_steps(display)
    assert_allclose(steps, 2.0 * starts + [1.0, 0.0])
    (left, right), (bottom, top) = display.ax_.get_xlim(), display.ax_.get_ylim()
    spacing = max(right - left, top - bottom) / 9
    assert_allclose(np.diff(np.unique(starts[:, 0].round(9))).min(), spacing, atol=1e-6)
    # Where there are no points there are no arrows, and the longest one fits between two starts.
    distances = np.linalg.norm(starts[:, None] - X, axis=2).min(axis=1)
    assert distances.max() < 0.75 * spacing
    assert 10 < len(starts) < 81
    assert_allclose(np.linalg.norm(steps, axis=1).max() / display.arrows_.scale, 0.9 * spacing)
    assert display.arrows_.angles == display.arrows_.scale_units == "xy"


def test_no_arrows(pair):
    def no_twist(rows):
        raise NotImplementedError

    X, _ = pair
    for options in ({}, {"transport": half_square, "n_arrows": 0}, {"transport": no_twist}):
        assert PotentialDisplay.from_potential(half_square, X, **options).arrows_ is None
    standing = PotentialDisplay.from_potential(half_square, X, transport=lambda rows: rows)
    assert not np.any(starts_and_steps(standing)[1])


@pytest.mark.parametrize("side", [None, "source", "target"])
def test_sinkhorn(pair, side):
    X, Y = pair
    transport = SinkhornTransport(0.1).fit(X, Y)
    display = PotentialDisplay.from_estimator(transport, X, Y, side=side)
    grid = torch.from_numpy(display.grid_)
    potentials = transport.potentials_
    if side == "target":
        expected, moved = potentials.target_potential(grid), transport.inverse_transform
    else:
        expected, moved = potentials.source_potential(grid), transport.transform
    assert np.ptp(display.values_ - expected.numpy()) < 1e-9
    starts, steps = starts_and_steps(display)
    assert_allclose(steps, moved(starts) - starts)
    # T(x) = x - grad f(x) / 2 for the squared distance.
    assert_allclose(steps, -0.5 * gradient(display.potential, starts), atol=1e-8)
    assert display.name == ("potential g" if side == "target" else "potential f")


def test_w2gn(neural_pair):
    X, Y = neural_pair
    transport = W2GNTransport(ICNN((16, 16)), max_iter=3, random_state=0).fit(X, Y)
    display = PotentialDisplay.from_estimator(transport, X)
    grid = torch.from_numpy(display.grid_)
    with torch.no_grad():
        expected = transport.potential_(grid).numpy() - 0.5 * np.square(display.grid_).sum(axis=1)
    assert np.ptp(display.values_ - expected) < 1e-9
    starts, steps = starts_and_steps(display)
    assert_allclose(steps, transport.transform(starts) - starts)
    assert_allclose(steps, gradient(display.potential, starts), atol=1e-8)
    assert display.colorbar_.ax.get_ylabel() == "potential less the parabola"
    with pytest.raises(ValueError, match="W2GNTransport has no potential on the target"):
        PotentialDisplay.from_estimator(transport, X, Y, side="target")


@pytest.mark.parametrize("offset", [100.0, 1000.0, 10000.0])
def test_w2gn_in_single_precision_far_from_the_origin(offset):
    """The same picture, up to the digits that are left of the data."""
    clouds = make_moons_pair(200, random_state=0)
    transport = W2GNTransport(ICNN((16, 16)), max_iter=30, random_state=0)
    displays = []
    for move in (0.0, offset):
        X, Y = ((rows + move).astype(np.float32) for rows in clouds)
        displays.append(PotentialDisplay.from_estimator(transport.fit(X, Y), X))
    near, far = displays
    digit = np.spacing(np.float32(offset))
    assert_allclose(far.grid_ - offset, near.grid_, rtol=0, atol=2 * digit)
    assert np.ptp(near.values_) > 4.0
    assert_allclose(far.values_, near.values_, rtol=0, atol=1e-5 + 4 * digit)
    assert_array_equal(far.levels_.levels, near.levels_.levels)


@pytest.mark.parametrize("both_ways", [True, False])
def test_neural_ot(neural_pair, both_ways):
    X, Y = neural_pair
    transport = NeuralOT(
        transport_map=MLPMap((8,)),
        potential=MLPPotential((8,)),
        fit_inverse_transform=both_ways,
        max_iter=2,
        random_state=0,
    ).fit(X, Y)
    display = PotentialDisplay.from_estimator(transport, X, Y)
    assert display.side == "target"
    with torch.no_grad():
        expected = transport.potential_(torch.from_numpy(display.grid_)).numpy()
    assert np.ptp(display.values_ - expected) < 1e-9
    if both_ways:
        starts, steps = starts_and_steps(display)
        assert_allclose(steps, transport.inverse_transform(starts) - starts)
        assert np.linalg.norm(starts[:, None] - Y, axis=2).min(axis=1).max() < 0.5
    else:
        assert display.arrows_ is None
    with pytest.raises(ValueError, match="no potential on the source, only on the target"):
        PotentialDisplay.from_estimator(transport, X, Y, side="source")
    with pytest.raises(ValueError, match="pass Y"):
        PotentialDisplay.from_estimator(transport, X)


def test_lagrangian_ot(neural_pair):
    X, Y = neural_pair
    small = {"potential": MLPPotential((8,)), "amortizer": MLPMap((8,))}
    transport = LagrangianOT(**small, max_iter=2, random_state=0).fit(X, Y)
    for side, name in (("source", "source_potential_"), ("target", "potential_")):
        display = PotentialDisplay.from_estimator(transport, X, Y, side=side, n_arrows=4)
        with torch.no_grad():
            expected = getattr(transport, name)(torch.from_numpy(display.grid_)).numpy()
        assert np.ptp(display.values_ - expected) < 1e-9
        assert display.arrows_ is not None
    assert PotentialDisplay.from_estimator(transport, X, Y, n_arrows=0).side == "source"


def test_a_cost_without_a_twist_has_no_arrows(pair):
    X, Y = pair
    transport = SinkhornTransport(0.1, cost="cityblock").fit(X, Y)
    assert PotentialDisplay.from_estimator(transport, X, Y).arrows_ is None


def test_other_columns_are_held_at_their_mean():
    X = np.random.default_rng(0).random((40, 4))
    display = PotentialDisplay.from_potential(
        lambda x: x @ x.new_tensor([0.0, 1.0, 10.0, 100.0]),
        X,
        features=(3, 1),
        transport=lambda rows: rows + rows[:, [2]],
    )
    means = np.tile(X.mean(axis=0), (len(display.grid_), 1))
    assert_allclose(display.grid_[:, [0, 2]], means[:, [0, 2]])
    assert_allclose(display.grid_[[0, -1], 3], display.ax_.get_xlim())
    assert_allclose(display.grid_[[0, -1], 1], display.ax_.get_ylim())
    assert_array_equal(display.source_.get_offsets(), X[:, [3, 1]])
    assert_allclose(starts_and_steps(display)[1], X[:, 2].mean())


def test_side_of_the_target():
    rng = np.random.default_rng(0)
    X, Y = rng.random((40, 3)), rng.random((30, 3)) + 5.0
    display = PotentialDisplay.from_potential(half_square, X, Y, side="target")
    assert_allclose(display.grid_[:, 2], Y[:, 2].mean())


def test_one_feature():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(50, 1)), rng.normal(size=(30, 1)) + 3.0
    display = PotentialDisplay.from_potential(half_square, X, Y, name="cost")
    x, height = display.levels_.get_xydata().T
    lowest = 0.5 * np.square(np.concatenate([X, Y])).min()
    assert_allclose(height, 0.5 * np.square(x) - lowest)
    assert x[0] < X.min()
    assert x[-1] > Y.max()
    assert_array_equal(np.asarray(display.source_.get_offsets())[:, 0], X[:, 0])
    assert_array_equal(np.asarray(display.target_.get_offsets())[:, 0], Y[:, 0])
    assert display.arrows_ is display.colorbar_ is None
    assert display.ax_.get_ylabel() == "cost"
    alone = PotentialDisplay.from_estimator(SinkhornTransport().fit(X, Y), X)
    assert alone.target_ is None
    assert alone.levels_.get_xydata()[-1, 0] < Y.max()


def test_ticks_of_integers_do_not_hide_each_other():
    X, Y = np.arange(5)[:, None], np.arange(3, 9)[:, None]
    display = PotentialDisplay.from_potential(half_square, X, Y)
    heights = [
        np.unique(np.asarray(ticks.get_offsets())[:, 1])
        for ticks in (display.source_, display.target_)
    ]
    assert_allclose(heights, [[0.03], [0.09]])


def reversed_axes(by_limits):
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    if by_limits:
        ax.set(xlim=(3.0, -3.0), ylim=(2.0, -2.5))
    else:
        ax.invert_xaxis()
        ax.invert_yaxis()
    return ax


@pytest.mark.parametrize("by_limits", [True, False])
def test_reversed_axes(pair, by_limits):
    """Axes of images and maps go down; what is drawn in them is the same."""
    ax = reversed_axes(by_limits)
    limits = {"xlim": (-3.0, 3.0), "ylim": (-2.5, 2.0)} if by_limits else {}
    import matplotlib.pyplot as plt

    _, straight = plt.subplots()
    straight.set(**limits)
    options = {"transport": lambda rows: 2.0 * rows}
    display = PotentialDisplay.from_potential(half_square, *pair, **options, ax=ax)
    expected = PotentialDisplay.from_potential(half_square, *pair, **options, ax=straight)
    assert ax.xaxis_inverted()
    assert ax.yaxis_inverted()
    assert_allclose(ax.get_xlim(), straight.get_xlim()[::-1])
    assert_allclose(ax.get_ylim(), straight.get_ylim()[::-1])
    assert_allclose(display.grid_, expected.grid_)
    assert_allclose(display.values_, expected.values_)
    assert_allclose(starts_and_steps(display), starts_and_steps(expected))
    assert len(starts_and_steps(display)[0]) > 10


def test_curves_are_drawn_as_far_as_given_axes_reach():
    import matplotlib.pyplot as plt

    X = np.linspace(-1.0, 1.0, 20)[:, None]
    _, ax = plt.subplots()
    ax.set_xlim(-5.0, 7.0)
    display = PotentialDisplay.from_potential(half_square, X, ax=ax)
    assert_allclose(display.levels_.get_xydata()[[0, -1], 0], [-5.0, 7.0])
    assert ax.get_xlim() == (-5.0, 7.0)
    display = PotentialDisplay.from_potential(half_square, X, ax=reversed_axes(True))
    assert_allclose(display.grid_[[0, -1], 0], [-3.0, 3.0])
    assert display.ax_.get_xlim() == (3.0, -3.0)
    display = PotentialDisplay.from_potential(half_square, X, ax=reversed_axes(False))
    assert_allclose(display.ax_.get_xlim(), display.grid_[[-1, 0], 0])


def test_colors_mean_the_same_everywhere(pair):
    from matplotlib.colors import to_hex

    display = PotentialDisplay.from_potential(half_square, *pair)
    for role in ("source", "target"):
        (color,) = getattr(display, f"{role}_").get_facecolors()
        assert to_hex(color) == COLORS[role].lower()


def test_nothing_is_filled_where_all_places_are_alike(pair):
    display = PotentialDisplay.from_potential(lambda x: 0.0 * x[:, 0], pair[0])
    assert display.levels_ is display.colorbar_ is None
    assert_array_equal(display.values_, 0.0)


def test_scale_is_the_same_on_both_axes(pair):
    display = PotentialDisplay.from_potential(half_square, *pair)
    display.figure_.canvas.draw()
    unit = display.ax_.transData.transform([[0.0, 0.0], [1.0, 1.0]])
    assert_allclose(*np.diff(unit, axis=0)[0])


def test_constructor_then_plot(pair):
    X, Y = pair
    display = PotentialDisplay(potential=half_square, X=X, Y=Y, transport=lambda rows: -rows)
    assert display.plot(n_arrows=5) is display
    assert_array_equal(display.target_.get_offsets(), Y)
    assert display.arrows_ is not None


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_name_the_axes(pair, library):
    frames = pytest.importorskip(library)
    X, Y = (frames.DataFrame({"east": rows[:, 0], "north": rows[:, 1]}) for rows in pair)
    transport = SinkhornTransport().fit(X, Y)
    display = PotentialDisplay.from_estimator(transport, X, Y)
    assert display.ax_.get_xlabel() == "east"
    assert display.ax_.get_ylabel() == "north"
    assert display.arrows_ is not None
    line = PotentialDisplay.from_potential(half_square, X[["north"]])
    assert line.ax_.get_xlabel() == "north"


def test_tensors(pair):
    X, Y = (torch.from_numpy(rows).float().requires_grad_() for rows in pair)
    display = PotentialDisplay.from_estimator(SinkhornTransport().fit(X, Y), X, Y)
    assert_allclose(display.source_.get_offsets(), X.detach().numpy())
    assert display.arrows_ is not None


def test_single_precision_fit(neural_pair):
    X, Y = (rows.astype(np.float32) for rows in neural_pair)
    transport = W2GNTransport(MLPPotential((8,)), max_iter=2, random_state=0).fit(X, Y)
    assert PotentialDisplay.from_estimator(transport, X, Y).levels_ is not None


def test_estimators_without_a_potential(pair):
    X, Y = pair
    with pytest.raises(TypeError, match="GaussianTransport has neither"):
        PotentialDisplay.from_estimator(GaussianTransport().fit(X, Y), X)
    with pytest.raises(NotFittedError):
        PotentialDisplay.from_estimator(SinkhornTransport(), X)
    with pytest.raises(TypeError):
        PotentialDisplay.from_estimator(BaseEstimator(), X)


def test_bad_input(pair):
    X, Y = pair
    transport = SinkhornTransport().fit(X, Y)
    with pytest.raises(ValueError, match="side must be 'source' or 'target'. Got 'left'"):
        PotentialDisplay.from_estimator(transport, X, side="left")
    with pytest.raises(ValueError, match="side must be"):
        PotentialDisplay.from_potential(half_square, X, side="both")
    with pytest.raises(ValueError, match="pass Y"):
        PotentialDisplay.from_estimator(transport, X, side="target")
    with pytest.raises(ValueError, match="Y has 1 features, and X has 2"):
        PotentialDisplay.from_potential(half_square, X, Y[:, :1])
    with pytest.raises(ValueError, match="one finite value for each row"):
        PotentialDisplay.from_potential(lambda x: x, X)
    with pytest.raises(ValueError, match="one finite value for each row"):
        PotentialDisplay.from_potential(lambda x: x[:, 0] / 0.0, X)
    with pytest.raises(ValueError, match="NaN"):
        PotentialDisplay.from_potential(half_square, np.full_like(X, np.nan))


def test_missing_matplotlib_is_explained(monkeypatch, pair):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"PotentialDisplay.plot requires matplotlib"):
        PotentialDisplay.from_potential(half_square, pair[0])
