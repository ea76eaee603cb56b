"""Every display finds bad input before it opens a figure."""

import numpy as np
import pytest
import torch

from skot.datasets import make_moons_pair
from skot.plots import (
    ConditionalFanDisplay,
    CouplingDisplay,
    InterpolationDisplay,
    PathDisplay,
    PotentialDisplay,
    TransportMapDisplay,
)

matplotlib = pytest.importorskip("matplotlib", reason="the displays draw with matplotlib")
matplotlib.use("Agg")

X, Y = make_moons_pair(60, random_state=0)
PATHS = np.stack([X, X + 1.0], axis=1)
WIDE = np.column_stack([Y, Y[:, 0]])


def half_square(x):
    return 0.5 * x.square().sum(dim=1)


def draw(name, Y=Y, **options):
    """Draw with one of the displays that take points and the columns that are drawn."""
    return {
        "ConditionalFanDisplay": lambda: ConditionalFanDisplay.from_predictions(
            X, X[:, None], Y=Y, **options
        ),
        "CouplingDisplay": lambda: CouplingDisplay.from_predictions(np.eye(60), X, Y, **options),
        "InterpolationDisplay": lambda: InterpolationDisplay.from_predictions(PATHS, Y, **options),
        "PathDisplay": lambda: PathDisplay.from_predictions(PATHS, Y, **options),
        "PotentialDisplay": lambda: PotentialDisplay.from_potential(half_square, X, Y, **options),
        "TransportMapDisplay": lambda: TransportMapDisplay.from_predictions(
            X, X + 1.0, Y, **options
        ),
    }[name]()


DISPLAYS = [
    "ConditionalFanDisplay",
    "CouplingDisplay",
    "InterpolationDisplay",
    "PathDisplay",
    "PotentialDisplay",
    "TransportMapDisplay",
]


@pytest.fixture(autouse=True)
def no_figure_is_left_open():
    import matplotlib.pyplot as plt

    plt.close("all")
    yield
    left = plt.get_fignums()
    plt.close("all")
    assert left == []


@pytest.mark.parametrize("name", DISPLAYS)
@pytest.mark.parametrize("features", [(0, 2), (-3, 1), (0,), (0, 1, 1), (0.0, 1.0), 1, "ab"])
def test_features_are_two_columns(name, features):
    with pytest.raises(ValueError, match="features must be two columns, and .* has 2. Got"):
        draw(name, features=features)


@pytest.mark.parametrize("name", DISPLAYS)
def test_the_target_has_the_columns_of_the_source(name):
    with pytest.raises(ValueError, match="Y has 3 features, and (X|a path) has 2"):
        draw(name, Y=WIDE)


@pytest.mark.parametrize("name", DISPLAYS)
def test_columns_may_be_counted_from_the_end(name):
    import matplotlib.pyplot as plt

    draw(name, features=(-1, np.int64(0)))
    plt.close("all")


@pytest.mark.parametrize("name", ["CouplingDisplay", "PathDisplay", "TransportMapDisplay"])
def test_number_of_lines(name):
    with pytest.raises(ValueError, match="n_lines == -1, must be >= 0"):
        draw(name, n_lines=-1)


def test_images_have_the_columns_of_the_points():
    with pytest.raises(ValueError, match="X_transported has 3 features, and X has 2"):
        TransportMapDisplay.from_predictions(X, WIDE)


def test_a_display_made_by_hand():
    with pytest.raises(ValueError, match="features must be two columns"):
        InterpolationDisplay(paths=PATHS, features=(0, 2)).animate()
    with pytest.raises(ValueError, match="images must be of shape"):
        ConditionalFanDisplay(X=X, images=X).plot()


@pytest.mark.parametrize(
    "potential",
    [lambda x: x[:, 0] / 0.0, lambda x: x, lambda x: torch.full_like(x[:, 0], torch.nan)],
)
@pytest.mark.parametrize("columns", [[0], [0, 1]])
def test_potentials_have_one_finite_value(potential, columns):
    with pytest.raises(ValueError, match="one finite value for each row"):
        PotentialDisplay.from_potential(potential, X[:, columns], Y[:, columns])


@pytest.mark.parametrize("n_images", [0, -1])
def test_number_of_pictures(n_images):
    options = {"image_shape": (1, 2), "n_images": n_images}
    with pytest.raises(ValueError, match="n_images == .*, must be >= 1"):
        InterpolationDisplay.from_predictions(PATHS, **options)
    with pytest.raises(ValueError, match="n_images == .*, must be >= 1"):
        InterpolationDisplay(paths=PATHS, image_shape=(1, 2)).animate(n_images=n_images)
    with pytest.raises(ValueError, match="n_frames == 0, must be >= 1"):
        InterpolationDisplay(paths=PATHS).animate(n_frames=0)


@pytest.mark.parametrize("fans", [[60], [0, -61]])
def test_fans_start_in_rows(fans):
    with pytest.raises(ValueError, match="fans must be indices of the 60 rows of X"):
        draw("ConditionalFanDisplay", fans=fans)
