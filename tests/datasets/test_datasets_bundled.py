"""The pairs made from what scikit-learn ships."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skot.datasets import load_color_palettes, load_shifted_digits


@pytest.fixture(scope="module")
def digits():
    return load_shifted_digits()


def test_digits_shapes_and_range(digits):
    assert digits.X_source.shape == (898, 64)
    assert digits.X_target.shape == (899, 64)
    assert_array_equal(digits.images_target.reshape(899, 64), digits.X_target)
    for X in (digits.X_source, digits.X_target):
        assert X.dtype == np.float64
        assert X.min() >= 0.0
        assert X.max() <= 1.0
    assert "20.0" in digits.DESCR


def test_digits_images_are_disjoint_and_classes_balanced():
    unchanged = load_shifted_digits(
        rotation=0.0, jitter=0.0, thickness=0.0, contrast=1.0, brightness=0.0
    )
    shipped = load_digits().data / 16.0
    assert_allclose(np.bincount(unchanged.y_source), np.bincount(unchanged.y_target), atol=1)
    used = (unchanged.X_source[:, None, :] == shipped[None]).all(axis=2).any(axis=0)
    assert used.sum() == 898
    # Without a shift the resampling still blurs the target a little: its originals are near.
    nearest = cdist(unchanged.X_target, shipped).argmin(axis=1)
    assert used[nearest].mean() < 0.02
    assert len(np.unique(nearest)) > 880


def test_digits_are_reproducible_and_seeded(digits):
    assert_array_equal(load_shifted_digits().X_target, digits.X_target)
    other = load_shifted_digits(random_state=1)
    assert not np.array_equal(other.y_source, digits.y_source)


def test_digits_shift_is_a_rotation_a_dilation_and_an_affine_change_of_values():
    plain = load_shifted_digits(jitter=0.0, thickness=0.0, contrast=1.0, brightness=0.0)
    wide = load_shifted_digits(jitter=0.0, thickness=0.5, contrast=1.0, brightness=0.0)
    pale = load_shifted_digits(jitter=0.0, thickness=0.0, contrast=0.5, brightness=0.2)
    assert (wide.X_target >= plain.X_target - 1e-12).all()
    assert wide.X_target.mean() > 1.1 * plain.X_target.mean()
    assert_allclose(pale.X_target, 0.2 + 0.5 * plain.X_target)
    half_turn = load_shifted_digits(
        rotation=180.0, jitter=0.0, thickness=0.0, contrast=1.0, brightness=0.0
    )
    upright = load_shifted_digits(
        rotation=0.0, jitter=0.0, thickness=0.0, contrast=1.0, brightness=0.0
    )
    assert_allclose(half_turn.images_target, upright.images_target[:, ::-1, ::-1], atol=1e-6)


@pytest.mark.parametrize("random_state", [0, 1])
def test_digits_shift_costs_a_classifier_25_points(random_state):
    digits = load_shifted_digits(random_state=random_state)
    classifier = LogisticRegression(max_iter=1000).fit(digits.X_source[::2], digits.y_source[::2])
    on_source = classifier.score(digits.X_source[1::2], digits.y_source[1::2])
    on_target = classifier.score(digits.X_target, digits.y_target)
    assert on_source - on_target >= 0.25


def test_digits_stacked(digits):
    X, y, sample_domain = load_shifted_digits(return_stacked=True)
    source = np.asarray(sample_domain) >= 0
    assert_array_equal(X[source], digits.X_source)
    assert_array_equal(y[~source], digits.y_target)


@pytest.mark.parametrize(
    "bad", [{"thickness": -1.0}, {"contrast": 0.0}, {"brightness": 1.0}, {"rotation": np.inf}]
)
def test_digits_parameters_are_validated(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        load_shifted_digits(**bad)


def test_palettes_are_distinct_pixels_of_the_photographs():
    pytest.importorskip("PIL", reason="the photographs are read by Pillow")
    n_pixels = 427 * 640
    palettes = load_color_palettes(n_pixels)
    assert palettes.image_source.shape == (427, 640, 3)
    # All of the pixels, each once, in another order.
    for side in ("source", "target"):
        pixels = palettes[f"image_{side}"].reshape(-1, 3)
        drawn = palettes[f"X_{side}"]
        assert not np.array_equal(drawn, pixels)
        assert_array_equal(drawn[np.lexsort(drawn.T)], pixels[np.lexsort(pixels.T)])
    assert_array_equal(load_color_palettes(5).X_source, palettes.X_source[:5])
    with pytest.raises(ValueError, match="n_samples"):
        load_color_palettes(n_pixels + 1)
