"""PathDisplay: the paths that are drawn are those that were given."""

import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator

from skot.costs import BoxObstacle, Kinetic, KineticPotential
from skot.datasets import make_obstacle_pair
from skot.plots import PathDisplay
from skot.plots._style import COLORS

matplotlib = pytest.importorskip("matplotlib", reason="the displays draw with matplotlib")
matplotlib.use("Agg")


def straight(X, n_times):
    """Paths that go two to the right."""
    time = np.linspace(0.0, 1.0, n_times)[:, None]
    return np.asarray(X)[:, None] + time * np.eye(np.shape(X)[1])[0] * 2.0


class Walker(BaseEstimator):
    """A transport with paths, and a Lagrangian."""

    def __init__(self, lagrangian=None):
        self.lagrangian = lagrangian

    def fit(self, X, y=None):
        self.lagrangian_ = self.lagrangian
        return self

    def transport_paths(self, X, n_times=50):
        return straight(X, n_times)


class Learner(BaseEstimator):
    """A learner with trajectories."""

    def predict_trajectories(self, X, n_times=50):
        return straight(X, n_times)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def pair():
    return make_obstacle_pair("box", (40, 30), random_state=0)


@pytest.mark.parametrize("estimator", [Walker().fit(None), Learner()])
def test_points_and_lines(pair, estimator):
    X, Y = pair
    display = PathDisplay.from_estimator(estimator, X, Y, n_times=6)
    assert_array_equal(display.source_.get_offsets(), X)
    assert_array_equal(display.transported_.get_offsets(), X + [2.0, 0.0])
    assert_array_equal(display.target_.get_offsets(), Y)
    pieces = np.array(display.lines_.get_segments()).reshape(40, 5, 2, 2)
    paths = straight(X, 6)
    assert_allclose(pieces[:, :, 0], paths[:, :-1])
    assert_allclose(pieces[:, :, 1], paths[:, 1:])
    assert display.background_ is None
    assert display.figure_ is display.ax_.figure
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["source", "target", "transported"]


def test_colors_mean_the_same_everywhere(pair):
    from matplotlib.colors import to_hex

    X, Y = pair
    display = PathDisplay.from_predictions(straight(X, 5), Y)
    for role in ("source", "target", "transported"):
        (color,) = getattr(display, f"{role}_").get_facecolors()
        assert to_hex(color) == COLORS[role].lower()


def test_paths_change_colour_with_time(pair):
    from matplotlib.colors import to_hex

    display = PathDisplay.from_predictions(straight(pair[0], 9))
    assert_allclose(display.lines_.get_array(), np.tile((np.arange(8) + 0.5) / 8, 40))
    ends = display.lines_.cmap(display.lines_.norm([0.0, 1.0]))
    assert [to_hex(color) for color in ends] == [
        COLORS[role].lower() for role in ("source", "transported")
    ]


def test_number_of_lines(pair):
    paths = straight(pair[0], 3)
    display = PathDisplay.from_predictions(paths, n_lines=7)
    pieces = np.array(display.lines_.get_segments())
    assert len(pieces) == 7 * 2
    assert_allclose(pieces[[0, -1], [0, 1]], [paths[0, 0], paths[-1, -1]])
    assert display.target_ is None
    assert PathDisplay.from_predictions(paths, n_lines=0).lines_.get_segments() == []
    assert PathDisplay.from_predictions(paths[:, :1]).lines_.get_segments() == []


@pytest.mark.parametrize("given", [True, False])
def test_background_is_what_it_costs_to_stand(pair, given):
    lagrangian = KineticPotential(BoxObstacle(strength=3.0))
    X, Y = pair
    walker = Walker(None if given else lagrangian).fit(X)
    options = {"lagrangian": lagrangian} if given else {}
    display = PathDisplay.from_estimator(walker, X, Y, n_times=6, **options)
    shades = np.asarray(display.background_.get_array())
    left, right, bottom, top = display.background_.get_extent()
    assert_allclose(display.ax_.get_xlim(), (left, right))
    assert_allclose(display.ax_.get_ylim(), (bottom, top))
    x = torch.from_numpy(
        np.stack(
            np.meshgrid(
                np.linspace(left, right, shades.shape[1]), np.linspace(bottom, top, shades.shape[0])
            ),
            axis=-1,
        )
    )
    assert_allclose(shades, -lagrangian.potential(x))
    assert shades.max() == pytest.approx(3.0)


def test_background_of_other_columns():
    """The columns that are not drawn have the mean of the paths there."""

    def slope(x, v, t):
        return x @ x.new_tensor([0.0, 1.0, 10.0, 100.0]) + t

    X = np.random.default_rng(0).random((5, 4))
    paths = straight(X, 3)
    display = PathDisplay.from_predictions(paths, features=(3, 1), lagrangian=slope)
    shades = np.asarray(display.background_.get_array())
    left, right, bottom, top = display.background_.get_extent()
    constant = 10.0 * X[:, 2].mean() + 0.5
    assert shades[0, 0] == pytest.approx(bottom + constant + 100.0 * left)
    assert shades[-1, -1] == pytest.approx(top + constant + 100.0 * right)


def test_nothing_is_shaded_where_all_places_are_alike(pair):
    display = PathDisplay.from_predictions(straight(pair[0], 3), lagrangian=Kinetic())
    assert display.background_ is None


def test_given_axes_and_columns():
    import matplotlib.pyplot as plt

    X = np.random.default_rng(0).random((5, 4))
    _, ax = plt.subplots()
    display = PathDisplay.from_predictions(straight(X, 3), features=(3, 1), ax=ax)
    assert display.ax_ is ax
    assert_array_equal(display.source_.get_offsets(), X[:, [3, 1]])


def test_scale_is_the_same_on_both_axes(pair):
    lagrangian = KineticPotential(BoxObstacle())
    display = PathDisplay.from_predictions(straight(pair[0], 3), lagrangian=lagrangian)
    display.figure_.canvas.draw()
    unit = display.ax_.transData.transform([[0.0, 0.0], [1.0, 1.0]])
    assert_allclose(*np.diff(unit, axis=0)[0])


def test_constructor_then_plot(pair):
    paths = straight(pair[0], 3)
    display = PathDisplay(paths=paths)
    assert display.plot() is display
    assert_array_equal(display.source_.get_offsets(), paths[:, 0])


def test_data_frames_name_the_axes():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(np.random.default_rng(0).random((5, 2)), columns=["east", "north"])
    display = PathDisplay.from_estimator(Learner(), X)
    assert display.ax_.get_xlabel() == "east"
    assert display.ax_.get_ylabel() == "north"


def test_tensors():
    paths = torch.rand(6, 3, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    display = PathDisplay.from_predictions(paths, lagrangian=KineticPotential(BoxObstacle()))
    assert_allclose(display.source_.get_offsets(), paths[:, 0].detach().numpy())


def test_bad_input(pair):
    X, _ = pair
    with pytest.raises(ValueError, match="must have shape"):
        PathDisplay.from_predictions(X)
    with pytest.raises(ValueError, match="two features"):
        PathDisplay.from_predictions(straight(X, 3)[:, :, :1])
    with pytest.raises(ValueError, match="NaN"):
        PathDisplay.from_predictions(np.full((4, 3, 2), np.nan))
    with pytest.raises(TypeError, match="has neither"):
        PathDisplay.from_estimator(BaseEstimator(), X)


def test_missing_matplotlib_is_explained(monkeypatch, pair):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"PathDisplay.plot requires matplotlib"):
        PathDisplay.from_predictions(straight(pair[0], 3))
