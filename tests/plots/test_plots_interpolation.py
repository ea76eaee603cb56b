"""InterpolationDisplay: points are where they should be at every time, in panels and frames."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin

from skot import LagrangianMetricLearner, LagrangianOT, SinkhornTransport
from skot.datasets import make_moons_pair
from skot.networks import MLPMap, MLPPotential
from skot.plots import InterpolationDisplay
from skot.plots._style import COLORS

matplotlib = pytest.importorskip("matplotlib", reason="the displays draw with matplotlib")
matplotlib.use("Agg")


class Double(TransformerMixin, BaseEstimator):
    """A transport that doubles."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return 2.0 * X


class Turn(Double):
    """A transport along a quarter of a circle."""

    def transport_paths(self, X, n_times=50):
        angle = np.linspace(0.0, 0.5 * np.pi, n_times)[:, None]
        X = np.asarray(X)[:, None]
        return X * np.cos(angle) + X[..., ::-1] * [-1.0, 1.0] * np.sin(angle)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def pair():
    return make_moons_pair((40, 30), random_state=0)


def test_displacement_interpolation(pair):
    X, Y = pair
    display = InterpolationDisplay.from_estimator(Double(), X, Y, times=(0, 0.2, 1))
    for points, target, t in zip(display.points_, display.target_, (0, 0.2, 1), strict=True):
        assert_allclose(points.get_offsets(), (1.0 - t) * X + t * 2.0 * X)
        assert_array_equal(target.get_offsets(), Y)
    assert [ax.get_title() for ax in display.axes_] == ["t = 0", "t = 0.2", "t = 1"]
    assert display.figure_ is display.axes_[0].figure
    assert display.images_ is None
    (name,) = display.axes_[0].get_legend().get_texts()
    assert name.get_text() == "target"


def test_panels_of_a_quarter_by_default(pair):
    display = InterpolationDisplay.from_estimator(Double(), pair[0])
    assert [ax.get_title() for ax in display.axes_] == [
        "t = 0",
        "t = 0.25",
        "t = 0.5",
        "t = 0.75",
        "t = 1",
    ]
    assert display.target_ is None
    assert display.axes_[0].get_legend() is None


def test_paths_of_an_estimator_come_first(pair):
    X, _ = pair
    display = InterpolationDisplay.from_estimator(Turn(), X, times=(0, 0.5, 0.75))
    for points, t in zip(display.points_, (0, 0.5, 0.75), strict=True):
        c, s = np.cos(0.5 * np.pi * t), np.sin(0.5 * np.pi * t)
        assert_allclose(points.get_offsets(), X @ [[c, s], [-s, c]], atol=1e-12)


def test_panels_share_limits_that_hold_everything(pair):
    X, Y = pair
    display = InterpolationDisplay.from_estimator(Turn(), X, Y)
    everything = np.concatenate([display.paths.reshape(-1, 2), Y])
    for ax in display.axes_:
        limits = np.array([ax.get_xlim(), ax.get_ylim()])
        assert_array_equal(limits, [display.axes_[0].get_xlim(), display.axes_[0].get_ylim()])
        assert (limits[:, 0] < everything.min(axis=0)).all()
        assert (limits[:, 1] > everything.max(axis=0)).all()
    display.figure_.canvas.draw()
    unit = display.axes_[1].transData.transform([[0.0, 0.0], [1.0, 1.0]])
    assert_allclose(*np.diff(unit, axis=0)[0])


def test_colours_go_from_the_source_to_the_transported(pair):
    from matplotlib.colors import to_hex

    X, Y = pair
    display = InterpolationDisplay.from_estimator(Double(), X, Y)
    colors = [to_hex(points.get_facecolors()[0]) for points in display.points_]
    assert colors[0] == COLORS["source"].lower()
    assert colors[-1] == COLORS["transported"].lower()
    assert len(set(colors)) == 5
    assert to_hex(display.target_[0].get_facecolors()[0]) == COLORS["target"].lower()


@pytest.mark.parametrize("n_labels", [2, 8, 10])
@pytest.mark.parametrize("kind", [int, str])
def test_labels_tell_points_apart(pair, n_labels, kind):
    labels = np.array([kind(k % n_labels) for k in range(40)])
    display = InterpolationDisplay.from_estimator(Double(), pair[0], colors=labels)
    for points in display.points_:
        colors = points.get_facecolors()
        assert len(np.unique(colors, axis=0)) == n_labels
        assert_array_equal(colors, display.points_[0].get_facecolors())
        for one in np.unique(labels):
            assert len(np.unique(colors[labels == one], axis=0)) == 1


def test_values_are_on_a_scale(pair):
    X, _ = pair
    display = InterpolationDisplay.from_estimator(Double(), X, colors=X[:, 0])
    colors = display.points_[2].get_facecolors()[:, :3]
    scale = (X[:, 0] - X[:, 0].min()) / np.ptp(X[:, 0])
    assert_allclose(colors, matplotlib.colormaps["viridis"](scale)[:, :3])
    same = InterpolationDisplay.from_estimator(Double(), X, colors=np.zeros(40))
    assert len(np.unique(same.points_[0].get_facecolors(), axis=0)) == 1


@pytest.mark.parametrize("missing", [np.nan, np.inf, None])
def test_no_colour_is_missing(pair, missing):
    """One value that is none would leave all points without a colour."""
    import matplotlib.pyplot as plt

    X, _ = pair
    colors = ["a"] * 39 + [None] if missing is None else np.append(X[1:, 0], missing)
    words = {"nan": "NaN", "inf": "infinity", "None": "None"}[str(missing)]
    with pytest.raises(ValueError, match=f"Input colors contains {words}"):
        InterpolationDisplay.from_estimator(Double(), X, colors=colors)
    assert plt.get_fignums() == []


def test_times_of_paths():
    paths = np.random.default_rng(0).random((7, 4, 3))
    display = InterpolationDisplay.from_predictions(paths, features=(2, 0))
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["t = 0", "t = 0.333", "t = 0.667", "t = 1"]
    for k, points in enumerate(display.points_):
        assert_allclose(points.get_offsets(), paths[:, k, [2, 0]])
    between = InterpolationDisplay.from_predictions(paths, times=[0.5])
    assert_allclose(between.points_[0].get_offsets(), paths[:, 1:3, :2].mean(axis=1))
    standing = InterpolationDisplay.from_predictions(paths[:, :1], times=[0.0, 0.7, 1.0])
    assert_allclose(standing.points_[1].get_offsets(), paths[:, 0, :2])


@pytest.mark.parametrize("shape", [(2, 4), (4, 2), (1, 8)])
def test_images_are_pictures(shape):
    height, width = shape
    rows = np.random.default_rng(0).random((9, 8))
    display = InterpolationDisplay.from_estimator(
        Double(), rows, times=(0, 0.5), image_shape=shape, n_images=3
    )
    assert display.points_ is display.target_ is None
    for image, factor in zip(display.images_, (1.0, 1.5), strict=True):
        picture = np.ma.filled(image.get_array(), np.nan)
        assert picture.shape == (3 * height + 2, width)
        for k, row in enumerate((0, 4, 8)):
            start = k * (height + 1)
            assert_allclose(picture[start : start + height], factor * rows[row].reshape(shape))
        assert np.isnan(picture[height]).all()
        # One scale for all times.
        assert image.get_clim() == (rows[[0, 4, 8]].min(), 2.0 * rows[[0, 4, 8]].max())


def test_images_in_colour():
    rows = np.random.default_rng(0).random((2, 12))
    display = InterpolationDisplay.from_estimator(
        Double(), rows, times=[1.0], image_shape=(2, 2, 3)
    )
    picture = np.asarray(display.images_[0].get_array())
    assert picture.shape == (5, 2, 3)
    assert_allclose(picture[:2], np.minimum(2.0 * rows[0].reshape(2, 2, 3), 1.0))
    assert_array_equal(picture[2], 1.0)


class Counting(Double):
    """A transport that counts what it moves."""

    def transport_paths(self, X, n_times=50):
        self.n_moved_ = len(X)
        return np.asarray(X)[:, None] + np.linspace(0.0, 1.0, n_times)[:, None]


@pytest.mark.parametrize("n_images, n_moved", [(6, 16), (20, 20), (200, 100)])
@pytest.mark.parametrize("library", ["numpy", "torch", "pandas", "polars"])
def test_only_pictures_that_are_drawn_are_moved(n_images, n_moved, library):
    module = pytest.importorskip(library)
    rows = np.repeat(np.arange(100.0)[:, None], 4, axis=1)
    if library == "torch":
        X = module.from_numpy(rows)
    elif library == "numpy":
        X = rows
    else:
        X = module.DataFrame({name: rows[:, k] for k, name in enumerate("abcd")})
    transport = Counting()
    display = InterpolationDisplay.from_estimator(
        transport, X, colors=np.arange(100), image_shape=(2, 2), n_images=n_images, times=[0.0]
    )
    assert transport.n_moved_ == n_moved
    first = np.ma.filled(display.images_[0].get_array(), np.nan)[::3, 0]
    expected = np.linspace(0, 99, min(n_images, 100))
    assert_allclose(first, expected, atol=0.5 if n_images > 16 else 1.0)
    assert_array_equal(display.colors, display.paths[:, 0, 0])
    assert len(np.unique(first)) == min(n_images, 100)
    animation = display.animate(n_frames=2)
    assert len(list(frames_of(animation))) == 2
    assert animation._fig.axes[0].images[0].get_array().shape == (4 * 3 - 1, 4 * 3 - 1)
    # Points are all drawn.
    InterpolationDisplay.from_estimator(transport, X)
    assert transport.n_moved_ == 100


def test_given_axes_keep_their_direction(pair):
    import matplotlib.pyplot as plt

    X, Y = pair
    straight = InterpolationDisplay.from_estimator(Double(), X, Y)
    _, axes = plt.subplots(1, 5)
    for ax in axes:
        ax.invert_yaxis()
    display = InterpolationDisplay.from_estimator(Double(), X, Y, axes=axes)
    everything = np.concatenate([display.paths.reshape(-1, 2), Y])
    for ax in axes:
        assert ax.yaxis_inverted()
        assert not ax.xaxis_inverted()
        assert ax.get_xlim() == straight.axes_[0].get_xlim()
        assert_allclose(np.diff(ax.get_ylim()), -np.diff(straight.axes_[0].get_ylim()))
        bottom, top = ax.get_ylim()
        assert top < everything[:, 1].min()
        assert bottom > everything[:, 1].max()
        # The legend is above the points.
        assert everything[:, 1].min() - top > 1.5 * (bottom - everything[:, 1].max())
    _, ax = plt.subplots()
    ax.invert_xaxis()
    assert len(list(frames_of(display.animate(n_frames=2, ax=ax)))) == 2
    assert ax.xaxis_inverted()


def test_given_axes(pair):
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(2, 2)
    display = InterpolationDisplay.from_estimator(
        Double(), pair[0], times=(0, 0.1, 0.9, 1), axes=axes
    )
    assert_array_equal(display.axes_, axes.ravel())
    _, ax = plt.subplots()
    single = InterpolationDisplay.from_estimator(Double(), pair[0], times=[0.5], axes=ax)
    assert single.axes_[0] is ax
    with pytest.raises(ValueError, match="There are 5 times, and 1 axes to draw on"):
        InterpolationDisplay.from_estimator(Double(), pair[0], axes=ax)


def test_a_new_figure_is_the_only_one(pair):
    import matplotlib.pyplot as plt

    display = InterpolationDisplay.from_estimator(Double(), pair[0])
    assert plt.get_fignums() == [display.figure_.number]
    assert display.figure_.axes == list(display.axes_)


def test_constructor_then_plot(pair):
    X, _ = pair
    display = InterpolationDisplay(paths=np.stack([X, X + 1.0], axis=1), times=[0.5])
    assert display.plot() is display
    assert_allclose(display.points_[0].get_offsets(), X + 0.5)


def test_sinkhorn(pair):
    X, Y = pair
    transport = SinkhornTransport().fit(X, Y)
    display = InterpolationDisplay.from_estimator(transport, X, times=[1.0])
    assert_allclose(display.points_[0].get_offsets(), transport.transform(X))


def test_lagrangian(pair):
    X, Y = pair
    small = {"potential": MLPPotential((8,)), "amortizer": MLPMap((8,))}
    transport = LagrangianOT(**small, max_iter=2, random_state=0).fit(X, Y)
    display = InterpolationDisplay.from_estimator(transport, X)
    paths = transport.transport_paths(X, 5)
    for k, points in enumerate(display.points_):
        assert_allclose(points.get_offsets(), paths[:, k], rtol=1e-6, atol=1e-9)


def test_metric_learner():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(30, 2)) + [k, 0.0] for k in range(3)])
    learner = LagrangianMetricLearner(max_iter=2, n_alternations=1, random_state=0)
    learner.fit(X, np.repeat([0.0, 1.0, 2.0], 30))
    display = InterpolationDisplay.from_estimator(learner, X[:30], times=(0, 0.5, 1))
    trajectories = learner.predict_trajectories(X[:30], 3)
    for k, points in enumerate(display.points_):
        assert_allclose(points.get_offsets(), trajectories[:, k], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("there_and_back, n_frames", [(True, 8), (False, 5)])
def test_animation_is_saved(pair, tmp_path, there_and_back, n_frames):
    image_module = pytest.importorskip("PIL.Image")
    X, Y = pair
    display = InterpolationDisplay.from_estimator(Double(), X, Y)
    animation = display.animate(n_frames=5, there_and_back=there_and_back)
    assert display.animation_ is animation
    animation.save(tmp_path / "moved.gif", writer="pillow", dpi=30)
    with image_module.open(tmp_path / "moved.gif") as picture:
        assert picture.n_frames == n_frames


def frames_of(animation):
    """Draw one frame after the other."""
    animation._init_draw()
    for time in animation.new_frame_seq():
        animation._draw_frame(time)
        yield time


def test_frames_show_the_points(pair):
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_hex

    X, Y = pair
    display = InterpolationDisplay(paths=Turn().transport_paths(X, 101), Y=Y)
    _, ax = plt.subplots()
    animation = display.animate(n_frames=5, interval=20, ax=ax)
    times = []
    for t in frames_of(animation):
        (points,) = [drawn for drawn in ax.collections if drawn.get_label() != "target"]
        c, s = np.cos(0.5 * np.pi * t), np.sin(0.5 * np.pi * t)
        assert_allclose(points.get_offsets(), X @ [[c, s], [-s, c]], atol=1e-12)
        assert ax.get_title() == f"t = {t:.2f}"
        times.append(t)
        if t == 1.0:
            assert to_hex(points.get_facecolors()[0]) == COLORS["transported"].lower()
    assert_allclose(times, [0.0, 0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25])
    assert animation._interval == 20
    assert ax.get_legend().get_texts()[0].get_text() == "target"


def test_frames_show_the_pictures():
    rows = np.random.default_rng(0).random((5, 6))
    display = InterpolationDisplay(paths=np.stack([rows, -rows], axis=1), image_shape=(2, 3))
    animation = display.animate(n_frames=3, there_and_back=False)
    ax = animation._fig.axes[0]
    for t in frames_of(animation):
        picture = np.ma.filled(ax.images[0].get_array(), np.nan)
        assert picture.shape == (2 * 2 + 1, 3 * 3 + 2)
        expected = ((1.0 - 2.0 * t) * rows).reshape(5, 2, 3)
        assert_allclose(picture[:2, 4:7], expected[1])
        assert_allclose(picture[3:, :3], expected[3])
        assert np.isnan(picture[3:, 8:]).all()


def test_labels_keep_their_colours_in_an_animation(pair):
    X, _ = pair
    labels = np.arange(40) % 3
    display = InterpolationDisplay.from_estimator(Double(), X, colors=labels)
    animation = display.animate(n_frames=3)
    ax = animation._fig.axes[0]
    for _ in frames_of(animation):
        assert_allclose(
            ax.collections[0].get_facecolors()[:, :3],
            display.points_[0].get_facecolors()[:, :3],
        )
        assert_array_equal(ax.collections[0].get_alpha(), display.points_[0].get_alpha())


def test_data_frames_name_the_axes(pair):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(pair[0], columns=["east", "north"])
    display = InterpolationDisplay.from_estimator(Double(), X)
    assert [ax.get_xlabel() for ax in display.axes_] == ["east"] * 5
    assert [ax.get_ylabel() for ax in display.axes_] == ["north"] + [""] * 4


def test_tensors(pair):
    import torch

    X = torch.from_numpy(pair[0]).requires_grad_()
    display = InterpolationDisplay.from_estimator(Double(), X, colors=torch.arange(40) % 2)
    assert_allclose(display.points_[-1].get_offsets(), 2.0 * pair[0])


def test_bad_input(pair):
    X, _ = pair
    paths = np.stack([X, X], axis=1)
    with pytest.raises(ValueError, match="must have shape"):
        InterpolationDisplay.from_predictions(X)
    with pytest.raises(ValueError, match="two features or more"):
        InterpolationDisplay.from_predictions(paths[:, :, :1])
    with pytest.raises(ValueError, match="NaN"):
        InterpolationDisplay.from_predictions(np.full((4, 3, 2), np.nan))
    for times in ([0.0, 1.5], [-0.1], [np.nan], []):
        with pytest.raises(ValueError, match="times must be between 0 and 1"):
            InterpolationDisplay.from_predictions(paths, times=times)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        InterpolationDisplay.from_predictions(paths, colors=np.zeros(3))
    with pytest.raises(ValueError, match=r"Rows of 2 features are no pictures of shape \(2, 2\)"):
        InterpolationDisplay.from_predictions(paths, image_shape=(2, 2))
    with pytest.raises(ValueError, match=r"no pictures of shape \(2,\)"):
        InterpolationDisplay.from_predictions(paths, image_shape=(2,))
    with pytest.raises(TypeError, match="BaseEstimator has none of them"):
        InterpolationDisplay.from_estimator(BaseEstimator(), X)

    class Pick(Double):
        def transform(self, X):
            return np.tile(X, 2)

    with pytest.raises(ValueError, match=r"points of shape \(40, 2\) to \(40, 4\)"):
        InterpolationDisplay.from_estimator(Pick(), X)


def test_missing_matplotlib_is_explained(monkeypatch, pair):
    display = InterpolationDisplay(paths=np.stack([pair[0]] * 2, axis=1))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"InterpolationDisplay.plot requires matplotlib"):
        display.plot()
    with pytest.raises(ImportError, match=r"InterpolationDisplay.animate requires matplotlib"):
        display.animate()
