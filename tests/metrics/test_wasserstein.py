import numpy as np
import ot
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from skot.metrics import wasserstein_distance


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def samples(seed, n, m, n_features):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(n, n_features)), 1.0 + 2.0 * rng.normal(size=(m, n_features))
    return X, Y, rng.random(n), rng.random(m)


@pytest.mark.parametrize("p", [1, 2, 3.5])
@pytest.mark.parametrize("n_features", [1, 3])
def test_a_translation_moves_by_its_length(rng, p, n_features):
    X = rng.normal(size=(20, n_features))
    shift = np.arange(1.0, n_features + 1.0)
    distance = wasserstein_distance(X, rng.permutation(X + shift), p=p)
    assert distance == pytest.approx(np.linalg.norm(shift), rel=1e-12)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_one_feature_is_sorting(rng, p):
    x, y = rng.normal(size=50), rng.exponential(size=50)
    expected = np.mean(np.abs(np.sort(x) - np.sort(y)) ** p) ** (1 / p)
    assert wasserstein_distance(x[:, None], y[:, None], p=p) == pytest.approx(expected, rel=1e-12)


def test_one_feature_agrees_with_scipy_for_p_1(rng):
    x, y, a, b = rng.normal(size=30), rng.normal(size=41), rng.random(30), rng.random(41)
    expected = scipy.stats.wasserstein_distance(x, y, a, b)
    assert wasserstein_distance(x[:, None], y[:, None], p=1, a=a, b=b) == pytest.approx(expected)


@pytest.mark.parametrize("p", [1, 2])
def test_a_line_in_the_plane_is_one_feature(rng, p):
    """The quantile functions and the plan are two ways to one number."""
    x, y, a, b = rng.normal(size=30), rng.normal(size=23), rng.random(30), rng.random(23)
    direction = np.array([[3.0, 4.0]]) / 5.0
    expected = wasserstein_distance(x[:, None], y[:, None], p=p, a=a, b=b)
    in_plane = wasserstein_distance(x[:, None] * direction, y[:, None] * direction, p=p, a=a, b=b)
    assert in_plane == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n, m, weighted", [(40, 40, False), (40, 40, True), (30, 45, False)])
@pytest.mark.parametrize("p", [1, 2])
def test_agrees_with_pot(n, m, weighted, p):
    X, Y, a, b = samples(0, n, m, 3)
    if not weighted:
        a, b = np.ones(n), np.ones(m)
    cost = ot.emd2(a / a.sum(), b / b.sum(), cdist(X, Y) ** p)
    given = {"a": a, "b": b} if weighted else {}
    assert wasserstein_distance(X, Y, p=p, **given) == pytest.approx(cost ** (1 / p), rel=1e-9)


def test_weights_are_repeated_rows():
    X, Y, *_ = samples(1, 6, 8, 2)
    counts = np.array([3, 1, 0, 2, 1, 1])
    weighted = wasserstein_distance(X, Y, a=counts)
    assert weighted == pytest.approx(wasserstein_distance(np.repeat(X, counts, axis=0), Y))
    assert wasserstein_distance(X, Y, a=1e300 * counts) == pytest.approx(weighted)


def test_gaussians(rng):
    """W2 between two Gaussians has a closed form; the sample's own error is a few per cent."""
    n, scales = 1000, np.array([1.0, 2.0])
    X = rng.normal(size=(n, 2))
    Y = rng.normal(size=(n, 2)) * scales + [3.0, 0.0]
    assert wasserstein_distance(X, Y) == pytest.approx(np.sqrt(3.0**2 + 1.0**2), rel=0.05)


@given(
    seed=st.integers(0, 2**31),
    sizes=st.tuples(*[st.integers(1, 12)] * 3),
    n_features=st.integers(1, 3),
    p=st.sampled_from([1, 2, 4]),
    scale=st.sampled_from([1e-30, 1.0, 1e30]),
)
@settings(max_examples=30)
def test_is_a_distance(seed, sizes, n_features, p, scale):
    rng = np.random.default_rng(seed)
    X, Y, Z = (scale * rng.integers(0, 4, size=(n, n_features)) for n in sizes)
    X_to_Y = wasserstein_distance(X, Y, p=p)
    assert wasserstein_distance(X, X, p=p) == 0.0
    assert X_to_Y == pytest.approx(wasserstein_distance(Y, X, p=p), rel=1e-7, abs=1e-9 * scale)
    through_Z = wasserstein_distance(X, Z, p=p) + wasserstein_distance(Z, Y, p=p)
    assert X_to_Y <= through_Z * (1 + 1e-9) + 1e-9 * scale
    # Jensen: the distance of the means is a lower bound for every p.
    gap = np.linalg.norm((X.mean(axis=0) - Y.mean(axis=0)) / scale)
    assert X_to_Y / scale >= gap - 1e-7


def test_no_digits_are_lost_to_an_offset(rng):
    X = rng.integers(0, 100, size=(20, 2)) / 4.0
    assert wasserstein_distance(X + 2.0**30, X + 2.0**30 + 0.25) == pytest.approx(0.25 * 2**0.5)


def test_tensors_and_lists(rng):
    X, Y = rng.normal(size=(10, 2)), rng.normal(size=(10, 2))
    expected = wasserstein_distance(X, Y)
    assert wasserstein_distance(torch.from_numpy(X), Y.tolist()) == expected
    assert isinstance(expected, float)


def test_inputs_are_left_alone(rng):
    X, Y, a = rng.normal(size=(10, 2)), rng.normal(size=(10, 2)), rng.random(10)
    copies = X.copy(), Y.copy(), a.copy()
    for array in (X, Y, a):
        array.setflags(write=False)
    wasserstein_distance(X, Y, a=a)
    for array, copy in zip((X, Y, a), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"Y": np.zeros((3, 2))}, "Incompatible dimension for X and Y matrices"),
        ({"X": np.zeros(3)}, "Expected 2D array"),
        ({"X": np.full((2, 3), np.nan)}, "Input X contains NaN"),
        ({"Y": np.zeros((0, 3))}, r"0 sample\(s\)"),
        ({"p": 0.5}, "The 'p' parameter"),
        ({"p": np.inf}, "The 'p' parameter"),
        ({"a": [1.0, -1.0]}, "Negative values"),
        ({"a": [0.0, 0.0]}, "at least one non-zero"),
        ({"a": [1.0]}, "sample_weight.shape"),
    ],
)
def test_bad_input(change, message):
    arguments = {"X": np.zeros((2, 3)), "Y": np.ones((2, 3)), **change}
    with pytest.raises(ValueError, match=message):
        wasserstein_distance(**arguments)
