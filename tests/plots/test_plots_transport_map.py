"""TransportMapDisplay: what is drawn is what was given."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin

from skot.datasets import make_moons_pair
from skot.plots import TransportMapDisplay
from skot.plots._style import COLORS

matplotlib = pytest.importorskip("matplotlib", reason="the displays draw with matplotlib")
matplotlib.use("Agg")


class Shift(TransformerMixin, BaseEstimator):
    """A transport that adds one."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X + 1.0


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def pair():
    return make_moons_pair((40, 30), random_state=0)


def test_points_and_lines(pair):
    X, Y = pair
    display = TransportMapDisplay.from_estimator(Shift().fit(X), X, Y)
    assert_array_equal(display.source_.get_offsets(), X)
    assert_array_equal(display.transported_.get_offsets(), X + 1.0)
    assert_array_equal(display.target_.get_offsets(), Y)
    segments = np.array(display.lines_.get_segments())
    assert_allclose(segments[:, 0], X)
    assert_allclose(segments[:, 1], X + 1.0)
    assert display.figure_ is display.ax_.figure
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["source", "target", "transported"]


def test_colors_mean_the_same_everywhere(pair):
    from matplotlib.colors import to_hex

    X, Y = pair
    display = TransportMapDisplay.from_predictions(X, X + 1.0, Y)
    for role in ("source", "target", "transported"):
        (color,) = getattr(display, f"{role}_").get_facecolors()
        assert to_hex(color) == COLORS[role].lower()


def test_number_of_lines(pair):
    X, _ = pair
    display = TransportMapDisplay.from_predictions(X, 2 * X, n_lines=7)
    segments = np.array(display.lines_.get_segments())
    assert len(segments) == 7
    assert_allclose(segments[[0, -1], 0], X[[0, -1]])
    assert display.target_ is None
    assert TransportMapDisplay.from_predictions(X, 2 * X, n_lines=0).lines_.get_segments() == []


def test_given_axes_and_columns():
    import matplotlib.pyplot as plt

    X = np.random.default_rng(0).random((5, 4))
    _, ax = plt.subplots()
    display = TransportMapDisplay.from_predictions(X, -X, features=(3, 1), ax=ax)
    assert display.ax_ is ax
    assert_array_equal(display.source_.get_offsets(), X[:, [3, 1]])


@pytest.mark.parametrize("shared", [True, False])
def test_scale_is_the_same_on_both_axes(pair, shared):
    import matplotlib.pyplot as plt

    X, _ = pair
    figure, axes = plt.subplots(1, 2, sharex=shared, sharey=shared)
    for ax in axes:
        TransportMapDisplay.from_predictions(X, X + [5.0, 0.0], ax=ax)
    figure.canvas.draw()
    for ax in axes:
        unit = ax.transData.transform([[0.0, 0.0], [1.0, 1.0]])
        assert_allclose(*np.diff(unit, axis=0)[0])


def test_constructor_then_plot(pair):
    X, Y = pair
    display = TransportMapDisplay(X=X, X_transported=X + 1.0, Y=Y)
    assert display.plot() is display
    assert_array_equal(display.target_.get_offsets(), Y)


def test_data_frames_name_the_axes():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(np.random.default_rng(0).random((5, 2)), columns=["red", "green"])
    display = TransportMapDisplay.from_estimator(Shift(), X)
    assert display.ax_.get_xlabel() == "red"
    assert display.ax_.get_ylabel() == "green"


def test_tensors():
    import torch

    X = torch.rand(6, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    display = TransportMapDisplay.from_predictions(X, X + 1.0)
    assert_allclose(display.source_.get_offsets(), X.detach().numpy())


def test_bad_input(pair):
    X, _ = pair
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TransportMapDisplay.from_predictions(X, X[:-1])
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        TransportMapDisplay.from_predictions(X[:, :1], X[:, :1])
    with pytest.raises(ValueError, match="NaN"):
        TransportMapDisplay.from_predictions(X, np.full_like(X, np.nan))


def test_missing_matplotlib_is_explained(monkeypatch, pair):
    X, _ = pair
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="TransportMapDisplay.plot requires matplotlib"):
        TransportMapDisplay.from_predictions(X, X)
