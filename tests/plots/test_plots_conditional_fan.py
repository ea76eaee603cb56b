"""ConditionalFanDisplay: what is drawn is what was given."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin

from skot.datasets import make_moons_pair
from skot.plots import ConditionalFanDisplay
from skot.plots._style import COLORS

matplotlib = pytest.importorskip("matplotlib", reason="the displays draw with matplotlib")
matplotlib.use("Agg")


class Shift(TransformerMixin, BaseEstimator):
    """A transport that adds one."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X + 1.0


class NoisyShift(Shift):
    """A transport that adds one, and noise."""

    def sample_transform(self, X, n_samples=1, random_state=None):
        rng = np.random.RandomState(random_state)
        X = np.asarray(X)
        return X[:, None] + 1.0 + rng.normal(size=(len(X), n_samples, X.shape[1]))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def pair():
    return make_moons_pair((40, 30), random_state=0)


def names_of(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_fans(pair):
    X, Y = pair
    transport, rows = NoisyShift().fit(X), [3, 17]
    display = ConditionalFanDisplay.from_estimator(
        transport, X, Y=Y, n_samples=6, random_state=0, fans=rows
    )
    images = transport.sample_transform(X, 6, random_state=0)[rows]
    assert_array_equal(display.source_.get_offsets(), X)
    assert_array_equal(display.target_.get_offsets(), Y)
    assert_array_equal(display.points_.get_offsets(), X[rows])
    assert_array_equal(display.means_.get_offsets(), X[rows] + 1.0)
    assert_array_equal(display.images_.get_offsets(), images.reshape(-1, 2))
    segments = np.array(display.lines_.get_segments())
    assert_allclose(segments[:, 0], np.repeat(X[rows], 6, axis=0))
    assert_allclose(segments[:, 1], images.reshape(-1, 2))
    to_means = np.array(display.mean_lines_.get_segments())
    assert_allclose(to_means, np.stack([X[rows], X[rows] + 1.0], axis=1))
    assert display.figure_ is display.ax_.figure
    assert names_of(display) == ["source", "target", "images", "mean"]


def test_random_state(pair):
    X, _ = pair
    one, same, other = (
        ConditionalFanDisplay.from_estimator(NoisyShift(), X, random_state=seed).images
        for seed in (0, 0, 1)
    )
    assert one.shape == (40, 24, 2)
    assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1


def test_a_transport_without_noise_has_one_image(pair):
    X, _ = pair
    display = ConditionalFanDisplay.from_estimator(Shift(), X, fans=[0])
    assert_array_equal(display.images_.get_offsets(), X[:1] + 1.0)
    assert display.target_ is None
    assert names_of(display) == ["source", "images", "mean"]


def test_means_are_those_of_the_images_unless_given(pair):
    X, _ = pair
    images = NoisyShift().sample_transform(X, 5, random_state=0)
    display = ConditionalFanDisplay.from_predictions(X, images, fans=[2])
    assert_allclose(display.means_.get_offsets(), images[2:3].mean(axis=1))
    display = ConditionalFanDisplay.from_predictions(X, images, means=-X, fans=[2])
    assert_allclose(display.means_.get_offsets(), -X[2:3])


def test_points_of_the_fans_are_of_the_bulk_and_apart():
    rng = np.random.RandomState(0)
    X = np.concatenate([rng.normal(size=(200, 2)), np.full((3, 2), 50.0)])
    display = ConditionalFanDisplay.from_predictions(X, X[:, None], fans=5)
    points = np.asarray(display.points_.get_offsets())
    assert len(points) == 5
    assert np.linalg.norm(points, axis=1).max() < 3.0
    distances = np.linalg.norm(points[:, None] - points, axis=2)[np.triu_indices(5, 1)]
    assert distances.min() > 1.0


@pytest.mark.parametrize("fans, expected", [(0, 0), (1, 1), (3, 3), (9, 3), ([], 0)])
def test_number_of_fans(fans, expected):
    X = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])  # two rows agree
    display = ConditionalFanDisplay.from_predictions(X, X[:, None], fans=fans)
    assert len(display.points_.get_offsets()) == expected
    assert len(display.lines_.get_segments()) == expected


def test_one_feature():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(50, 1)), rng.normal(size=(30, 1))
    display = ConditionalFanDisplay.from_estimator(
        NoisyShift(), X, Y=Y, n_samples=4, random_state=0
    )
    images = NoisyShift().sample_transform(X, 4, random_state=0)
    expected = np.column_stack([np.repeat(X[:, 0], 4), images.ravel()])
    assert_array_equal(display.images_.get_offsets(), expected)
    x = np.sort(X[:, 0])
    assert_allclose(display.means_.get_xydata(), np.column_stack([x, x + 1.0]))
    assert_array_equal(np.asarray(display.source_.get_offsets())[:, 0], X[:, 0])
    assert_array_equal(np.asarray(display.target_.get_offsets())[:, 1], Y[:, 0])
    assert display.points_ is display.lines_ is display.mean_lines_ is None
    assert names_of(display) == ["source", "target", "images", "mean"]


def test_one_feature_of_many_rows_is_thinned():
    X = np.linspace(0.0, 1.0, 4000)[:, None]
    images = np.zeros((4000, 10, 1))
    display = ConditionalFanDisplay.from_predictions(X, images)
    assert len(display.images_.get_offsets()) == 8000


def test_colors_mean_the_same_everywhere(pair):
    from matplotlib.colors import to_hex

    X, Y = pair
    display = ConditionalFanDisplay.from_estimator(NoisyShift(), X, Y=Y)
    drawn = {"source_": "source", "points_": "source", "target_": "target"}
    for name, role in {**drawn, "images_": "transported"}.items():
        (color,) = getattr(display, name).get_facecolors()
        assert to_hex(color) == COLORS[role].lower()
    for handle in display.ax_.get_legend().legend_handles:
        assert handle.get_alpha() == 1.0  # names are not as faint as the clouds


def test_given_axes_and_columns():
    import matplotlib.pyplot as plt

    X = np.random.default_rng(0).random((5, 4))
    _, ax = plt.subplots()
    display = ConditionalFanDisplay.from_predictions(
        X, -X[:, None], features=(3, 1), fans=[4, 0], ax=ax
    )
    assert display.ax_ is ax
    assert_array_equal(display.source_.get_offsets(), X[:, [3, 1]])
    assert_array_equal(display.images_.get_offsets(), -X[[4, 0]][:, [3, 1]])


def test_constructor_then_plot(pair):
    X, Y = pair
    display = ConditionalFanDisplay(X=X, images=X[:, None] + 1.0, Y=Y)
    assert display.plot(fans=2) is display
    assert len(display.points_.get_offsets()) == 2
    assert_array_equal(display.target_.get_offsets(), Y)


@pytest.mark.parametrize("columns", [["red", "green"], ["red"]])
def test_data_frames_name_the_axes(columns):
    pandas = pytest.importorskip("pandas")
    values = np.random.default_rng(0).random((5, len(columns)))
    X = pandas.DataFrame(values, columns=columns)
    display = ConditionalFanDisplay.from_estimator(NoisyShift(), X)
    assert display.ax_.get_xlabel() == "red"
    assert display.ax_.get_ylabel() == ("green" if len(columns) == 2 else "image of red")


def test_tensors():
    import torch

    X = torch.rand(6, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    display = ConditionalFanDisplay.from_predictions(X, X[:, None] + 1.0)
    assert_allclose(display.source_.get_offsets(), X.detach().numpy())


def test_a_fitted_transport(pair):
    from skot import NeuralOT
    from skot.losses import WeakQuadratic
    from skot.networks import ConditionalMLP

    X, Y = pair
    transport = NeuralOT(
        WeakQuadratic(0.9), transport_map=ConditionalMLP((8,)), max_iter=2, random_state=0
    ).fit(X, Y)
    display = ConditionalFanDisplay.from_estimator(transport, X, Y=Y, random_state=0, fans=[1])
    expected = transport.sample_transform(X, 24, random_state=0)[1]
    assert_array_equal(display.images_.get_offsets(), expected)
    assert_array_equal(display.means_.get_offsets(), transport.transform(X)[1:2])


def test_bad_input(pair):
    X, _ = pair
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ConditionalFanDisplay.from_predictions(X, X[:-1, None])
    with pytest.raises(ValueError, match=r"images must be of shape .* \(40, n_samples, 2\)"):
        ConditionalFanDisplay.from_predictions(X, X)
    with pytest.raises(ValueError, match=r"Got \(40, 1, 1\)"):
        ConditionalFanDisplay.from_predictions(X, X[:, None, :1])
    with pytest.raises(ValueError, match="NaN"):
        ConditionalFanDisplay.from_predictions(X, np.full((40, 2, 2), np.nan))
    with pytest.raises(ValueError, match="Y has 1 features, and X has 2"):
        ConditionalFanDisplay.from_predictions(X, X[:, None], Y=X[:, :1])


def test_missing_matplotlib_is_explained(monkeypatch, pair):
    X, _ = pair
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="ConditionalFanDisplay.plot requires matplotlib"):
        ConditionalFanDisplay.from_predictions(X, X[:, None])
