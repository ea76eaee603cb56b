"""Errors of a map against closed forms."""

import numpy as np
import pytest
import torch

from skot.metrics import cosine_similarity, l2_uvp


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_true_map_explains_everything(rng):
    T = rng.normal(size=(50, 3))
    assert l2_uvp(T, T) == 0.0


def test_the_constant_map_to_the_mean_explains_nothing(rng):
    T = rng.normal(size=(50, 3)) + 5.0
    assert l2_uvp(T, np.tile(T.mean(axis=0), (50, 1))) == pytest.approx(100.0)


def test_uvp_of_a_shrunk_map(rng):
    """T(x) = 2 x against x, for x of covariance one: 100 d / (4 d)."""
    X = rng.normal(size=(200_000, 2))
    assert l2_uvp(2.0 * X, X, variance=8.0) == pytest.approx(25.0, rel=0.01)
    assert l2_uvp(2.0 * X, X) == pytest.approx(25.0, rel=1e-4)


def test_the_given_variance_divides(rng):
    T, P = rng.normal(size=(2, 20, 4))
    assert l2_uvp(T, P, variance=7.0) == pytest.approx(
        100.0 * np.mean(np.sum((T - P) ** 2, axis=1)) / 7.0
    )


def test_cosine_sees_the_angle_and_not_the_length(rng):
    X = rng.normal(size=(30, 2))
    step = rng.normal(size=(30, 2))
    turned = step @ np.array([[0.6, 0.8], [-0.8, 0.6]])  # the cosine of the angle is 0.6
    assert cosine_similarity(X, X + step, X + 3.0 * turned) == pytest.approx(0.6)
    assert cosine_similarity(X, X + step, X - step) == pytest.approx(-1.0)


def test_cosine_weighs_rows_by_their_displacements():
    X = np.zeros((2, 2))
    T_true = np.array([[3.0, 0.0], [1.0, 0.0]])
    T_pred = np.array([[3.0, 0.0], [0.0, 1.0]])
    assert cosine_similarity(X, T_true, T_pred) == pytest.approx(9.0 / 10.0)


def test_tensors_and_lists_give_the_same_number(rng):
    X, T, P = rng.normal(size=(3, 10, 2))
    expected = l2_uvp(T, P), cosine_similarity(X, T, P)
    for convert in (np.ndarray.tolist, torch.tensor):
        x, t, p = (convert(array) for array in (X, T, P))
        assert (l2_uvp(t, p), cosine_similarity(x, t, p)) == pytest.approx(expected)
    assert l2_uvp(T.astype(np.float32), P) == pytest.approx(expected[0], rel=1e-5)


def test_shapes_must_agree(rng):
    T = rng.normal(size=(5, 2))
    with pytest.raises(ValueError, match=r"T_true and T_pred must have the same shape.*\(5, 1\)"):
        l2_uvp(T, T[:, :1])
    with pytest.raises(ValueError, match="X and T_true and T_pred must have the same shape"):
        cosine_similarity(T, T, T[:3])


@pytest.mark.parametrize("bad", [[[np.nan, 0.0]], [1.0, 2.0], [["a", "b"]], np.empty((0, 2))])
def test_bad_rows(bad):
    with pytest.raises(ValueError):  # noqa: PT011 - scikit-learn's wordings differ
        l2_uvp(bad, bad)


def test_undefined_values(rng):
    X = np.ones((4, 2))
    with pytest.raises(ValueError, match="variance must be positive"):
        l2_uvp(X, X)
    with pytest.raises(ValueError, match="variance must be positive"):
        l2_uvp(X, X, variance=-1.0)
    with pytest.raises(ValueError, match="cosine is undefined"):
        cosine_similarity(X, X + rng.normal(size=(4, 2)), X)
