import copy
import pickle

import numpy as np
import pytest
import torch

from skot.measures import EmpiricalMeasure, normalize_weights

POINTS = np.arange(6.0).reshape(3, 2)


def test_equal_weights_by_default():
    measure = EmpiricalMeasure.from_points(POINTS)
    torch.testing.assert_close(measure.weights, torch.full((3,), 1 / 3, dtype=torch.float64))
    torch.testing.assert_close(measure.points, torch.from_numpy(POINTS))


def test_the_callers_arrays_are_copied():
    points, weights = POINTS.copy(), np.array([1.0, 2.0, 1.0])
    measure = EmpiricalMeasure.from_points(points, weights)
    measure.points[:] = 0.0
    measure.weights[:] = 0.0
    np.testing.assert_array_equal(points, POINTS)
    np.testing.assert_array_equal(weights, [1.0, 2.0, 1.0])


@pytest.mark.parametrize("dtype, expected", [("f4", torch.float32), ("f8", torch.float64)])
def test_points_keep_their_precision_and_weights_are_float64(dtype, expected):
    measure = EmpiricalMeasure.from_points(POINTS.astype(dtype), np.ones(3, dtype=dtype))
    assert measure.points.dtype == expected
    assert measure.weights.dtype == torch.float64
    forced = EmpiricalMeasure.from_points(POINTS.astype(dtype), dtype=torch.float64)
    assert forced.points.dtype == torch.float64


@pytest.mark.parametrize(
    "weights",
    [[1, 2, 1], [1e-320, 2e-320, 1e-320], [8e307, 1.6e308, 8e307], torch.tensor([0.25, 0.5, 0.25])],
)
def test_weights_are_normalised_at_any_scale(weights):
    measure = EmpiricalMeasure.from_points(POINTS, weights)
    expected = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    torch.testing.assert_close(measure.weights, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "weights, message",
    [
        ([1.0, 2.0], r"weights must have shape \(3,\), one per point. Got \(2,\)"),
        ([[1.0, 2.0, 1.0]], r"weights must have shape \(3,\)"),
        ([1.0, -1.0, 1.0], "Negative values in data passed to weights"),
        ([0.0, 0.0, 0.0], "Weights must contain at least one non-zero number"),
        ([1.0, np.nan, 1.0], "Weights contain NaN or infinity"),
        ([1.0, np.inf, 1.0], "Weights contain NaN or infinity"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        EmpiricalMeasure.from_points(POINTS, weights)


def test_without_zero_weights():
    measure = EmpiricalMeasure.from_points(POINTS, [1.0, 0.0, 3.0])
    kept = measure.without_zero_weights()
    np.testing.assert_array_equal(kept.points, POINTS[[0, 2]])
    np.testing.assert_array_equal(kept.weights, [0.25, 0.75])
    assert kept.without_zero_weights() is kept


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(twin):
    measure = EmpiricalMeasure.from_points(POINTS, [1.0, 2.0, 3.0])
    other = twin(measure)
    torch.testing.assert_close(other.points, measure.points)
    torch.testing.assert_close(other.weights, measure.weights)
    with pytest.raises(AttributeError):
        other.points = None


def test_normalize_weights_of_a_batch_keeps_the_graph():
    weights = torch.tensor([[1.0, 3.0], [2.0, 2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normalize_weights, (weights,))
    torch.testing.assert_close(normalize_weights(weights).sum(1), torch.ones(2).double())
    with pytest.raises(ValueError, match="at least one non-zero"):
        normalize_weights(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
