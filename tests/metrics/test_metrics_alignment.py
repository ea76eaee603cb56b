"""alignment_score: closed forms, invariances, bad input."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skot.costs import CircleMetric, ConstantMetric
from skot.metrics import alignment_score

POINTS = np.random.RandomState(0).normal(size=(50, 2))


def turned(angle, low=0.1, high=1.0):
    """Matrix whose cheap direction has an angle to the first axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    return rotation @ np.diag([low, high]) @ rotation.T


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, 2.0])
def test_constant_metrics_give_the_cosine_of_their_angle(angle):
    a, b = (ConstantMetric(tuple(map(tuple, turned(phi)))) for phi in (0.2, 0.2 + angle))
    assert_allclose(alignment_score(a, b, POINTS), abs(np.cos(angle)))


def test_values_of_eigenvalues_do_not_count_but_their_order_does():
    a = np.broadcast_to(turned(0.4), (50, 2, 2))
    b = np.broadcast_to(turned(0.4, 3.0, 50.0), (50, 2, 2))
    assert_allclose(alignment_score(a, b, POINTS), 1.0)
    swapped = np.broadcast_to(turned(0.4, 50.0, 3.0), (50, 2, 2))
    assert_allclose(alignment_score(a, swapped, POINTS), 0.0, atol=1e-12)


def test_functions_arrays_and_tensors_agree():
    matrices = CircleMetric()(torch.from_numpy(POINTS))
    constant = np.broadcast_to(turned(0.4), (50, 2, 2))
    scores = [
        alignment_score(metric, constant, points)
        for metric in (CircleMetric(), matrices, matrices.numpy())
        for points in (POINTS, torch.from_numpy(POINTS))
    ]
    assert_allclose(scores, scores[0])
    assert scores[0] == alignment_score(constant, matrices, POINTS)


def test_mean_over_all_eigenvectors():
    rng = np.random.RandomState(1)
    a, b = (np.linalg.qr(rng.normal(size=(5, 3, 3)))[0] for _ in range(2))
    values = np.array([1.0, 2.0, 3.0])
    matrices = [(q * values) @ q.swapaxes(1, 2) for q in (a, b)]
    expected = np.abs(np.einsum("nik,nik->nk", a, b)).mean()
    assert_allclose(alignment_score(*matrices, rng.normal(size=(5, 3))), expected)


def test_bad_input_raises():
    matrices = np.broadcast_to(turned(0.4), (50, 2, 2))
    with pytest.raises(ValueError, match=r"metric_b must give one matrix for each point"):
        alignment_score(matrices, matrices[:3], POINTS)
    with pytest.raises(ValueError, match="metric_a contains NaN"):
        alignment_score(matrices * np.nan, matrices, POINTS)
    with pytest.raises(ValueError, match="metric_a must give symmetric"):
        alignment_score(matrices + [[0.0, 1.0], [0.0, 0.0]], matrices, POINTS)
    with pytest.raises(ValueError, match="NaN"):
        alignment_score(matrices, matrices, POINTS * np.nan)
