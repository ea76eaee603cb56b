"""LossCurveDisplay: the curve, its scale and the tolerance."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skot.plots import LossCurveDisplay

matplotlib = pytest.importorskip("matplotlib", reason="the displays draw with matplotlib")
matplotlib.use("Agg")


class Iterative(BaseEstimator):
    """An estimator with a loss curve."""

    def __init__(self, tol=1e-3):
        self.tol = tol

    def fit(self, X=None, y=None):
        self.loss_curve_ = [1.0, 0.1, 1e-4]
        return self


class Solver(Iterative):
    """One that stops on its marginal error."""

    def fit(self, X=None, y=None):
        self.marginal_error_ = 1e-4
        return super().fit()


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_curve_of_a_solver():
    display = LossCurveDisplay.from_estimator(Solver(tol=0.01).fit())
    assert_array_equal(display.line_.get_xydata(), [[1, 1.0], [2, 0.1], [3, 1e-4]])
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_ylabel() == "marginal error"
    assert_array_equal(display.tol_line_.get_ydata(), [0.01, 0.01])
    assert display.line_.get_label() == "Solver"


def test_loss_has_no_line_of_a_tolerance_in_other_units():
    display = LossCurveDisplay.from_estimator(Iterative().fit(), name="mine")
    assert display.tol_line_ is None
    assert display.ax_.get_ylabel() == "loss"
    assert display.ax_.get_legend().get_texts()[0].get_text() == "mine"


def test_negative_losses_have_a_linear_scale():
    display = LossCurveDisplay(loss_curve=[1.0, -1.0]).plot()
    assert display.ax_.get_yscale() == "linear"
    assert display.ax_.get_legend() is None


def test_curves_share_axes_in_different_colors():
    first = LossCurveDisplay.from_estimator(Solver().fit(), name="one")
    second = LossCurveDisplay.from_estimator(Solver().fit(), name="two", ax=first.ax_)
    assert second.figure_ is first.figure_
    assert second.line_.get_color() != first.line_.get_color()
    # They have the same tolerance, whose line is drawn once.
    names = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert names == ["one", "tol=0.001", "two"]
    assert second.tol_line_ is first.tol_line_


def test_ticks_are_whole_iterations():
    display = LossCurveDisplay(loss_curve=np.array([3.0, 2.0, 1.0])).plot()
    display.figure_.canvas.draw()
    ticks = display.ax_.get_xticks()
    assert_array_equal(ticks, np.round(ticks))


def test_not_fitted():
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(Solver())


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, skot.plots; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
