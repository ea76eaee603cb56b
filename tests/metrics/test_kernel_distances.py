import tracemalloc

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import laplacian_kernel, linear_kernel, rbf_kernel

from skot.metrics import energy_distance, maximum_mean_discrepancy


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_mmd_by_hand(rng):
    X, Y = rng.normal(size=(7, 2)), rng.normal(size=(5, 2))
    K, L, M = (rbf_kernel(*pair, gamma=0.3) for pair in ((X, X), (Y, Y), (X, Y)))
    biased = K.mean() + L.mean() - 2 * M.mean()
    assert maximum_mean_discrepancy(X, Y, gamma=0.3) == pytest.approx(biased, rel=1e-12)
    off_diagonal = [(G.sum() - np.trace(G)) / (len(G) * (len(G) - 1)) for G in (K, L)]
    unbiased = sum(off_diagonal) - 2 * M.mean()
    found = maximum_mean_discrepancy(X, Y, gamma=0.3, unbiased=True)
    assert found == pytest.approx(unbiased, rel=1e-10)


def test_mmd_of_a_linear_kernel_is_the_distance_of_the_means(rng):
    X, Y, a = rng.normal(size=(30, 3)), rng.normal(size=(20, 3)), rng.random(30)
    gap = np.average(X, axis=0, weights=a) - Y.mean(axis=0)
    found = maximum_mean_discrepancy(X, Y, kernel=linear_kernel, a=a)
    assert found == pytest.approx(gap @ gap, rel=1e-10)


def test_mmd_of_two_gaussians():
    """Closed form for N(0, 1) and N(m, 1), with the quantiles of each as a sample."""
    m, bandwidth = 1.5, 0.8
    X = scipy.stats.norm.ppf((np.arange(2000) + 0.5) / 2000)[:, None]
    spread = bandwidth**2 + 2
    expected = 2 * bandwidth / np.sqrt(spread) * (1 - np.exp(-(m**2) / (2 * spread)))
    found = maximum_mean_discrepancy(X, X + m, gamma=0.5 / bandwidth**2)
    assert found == pytest.approx(expected, rel=1e-3)


def test_unbiased_has_mean_zero_under_the_null():
    rng = np.random.default_rng(0)
    draws = [
        [maximum_mean_discrepancy(X, Y, gamma=0.5, unbiased=unbiased) for unbiased in (True, False)]
        for X, Y in rng.normal(size=(200, 2, 10, 2))
    ]
    (unbiased, biased), error = np.mean(draws, axis=0), np.std(draws, axis=0)[0] / np.sqrt(200)
    assert abs(unbiased) < 4 * error < biased


def test_median_bandwidth(rng):
    X, Y = rng.normal(size=(40, 2)), 1 + rng.normal(size=(30, 2))
    squared = scipy.spatial.distance.pdist(np.concatenate([X, Y]), "sqeuclidean")
    gamma = 0.5 / np.median(squared)
    by_hand = maximum_mean_discrepancy(X, Y, gamma=gamma)
    assert maximum_mean_discrepancy(X, Y) == pytest.approx(by_hand, rel=1e-12)
    # So the default does not depend on the unit, and finds one where most pairs coincide.
    assert maximum_mean_discrepancy(1e6 * X, 1e6 * Y) == pytest.approx(by_hand, rel=1e-9)
    assert maximum_mean_discrepancy(np.zeros((9, 2)), np.eye(2)) > 0.1
    assert maximum_mean_discrepancy(np.ones((3, 2)), np.ones((4, 2))) == 0.0


def test_energy_distance_is_scipys_in_one_dimension(rng):
    x, y, a, b = rng.normal(size=30), rng.normal(size=41), rng.random(30), rng.random(41)
    expected = scipy.stats.energy_distance(x, y, a, b)
    assert energy_distance(x[:, None], y[:, None], a=a, b=b) == pytest.approx(expected, rel=1e-9)


def test_energy_distance_of_two_points():
    assert energy_distance([[0.0, 0.0]], [[3.0, 4.0]]) == pytest.approx(np.sqrt(10.0))


@pytest.mark.parametrize("distance", [energy_distance, maximum_mean_discrepancy])
@given(
    seed=st.integers(0, 2**31),
    sizes=st.tuples(st.integers(1, 10), st.integers(1, 10)),
    scale=st.sampled_from([1e-30, 1.0, 1e30]),
)
@settings(max_examples=20)
def test_properties(distance, seed, sizes, scale):
    rng = np.random.default_rng(seed)
    X, Y = (scale * rng.normal(size=(n, 2)) for n in sizes)
    value = distance(X, Y)
    assert np.isfinite(value)
    assert value >= -1e-12
    assert value == pytest.approx(distance(Y, rng.permutation(X)), rel=1e-6)
    assert distance(X, X) <= 1e-6 * value + 1e-12
    doubled = distance(np.repeat(X, 2, axis=0), Y)
    weighted = distance(np.concatenate([X, X]), Y, a=np.repeat([1.0, 3.0], len(X)))
    if distance is energy_distance:  # the bandwidth of the other one sees the rows
        assert [doubled, weighted] == pytest.approx([value, value], rel=1e-6)


@pytest.mark.parametrize("distance", [energy_distance, maximum_mean_discrepancy])
def test_memory_stays_far_below_the_matrix_of_pairs(distance, rng):
    X, Y = rng.normal(size=(4000, 2)), rng.normal(size=(4000, 2))
    tracemalloc.start()
    distance(X, Y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000 * 4000 * 8 / 4


@pytest.mark.parametrize("distance", [energy_distance, maximum_mean_discrepancy])
def test_tensors(distance, rng):
    X, Y = rng.normal(size=(10, 2)), rng.normal(size=(12, 2))
    assert distance(torch.from_numpy(X), torch.from_numpy(Y)) == distance(X, Y)


def test_any_kernel(rng):
    X, Y = rng.normal(size=(10, 2)), rng.normal(size=(12, 2))
    K, L, M = (laplacian_kernel(*pair) for pair in ((X, X), (Y, Y), (X, Y)))
    expected = K.mean() + L.mean() - 2 * M.mean()
    found = maximum_mean_discrepancy(X, Y, kernel=laplacian_kernel)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"Y": np.zeros((3, 2))}, "Incompatible dimension for X and Y matrices"),
        ({"X": np.full((2, 3), np.inf)}, "Input X contains infinity"),
        ({"kernel": "cubic"}, "The 'kernel' parameter"),
        ({"gamma": 0.0}, "The 'gamma' parameter"),
        ({"X": np.zeros((1, 3)), "unbiased": True}, "at least 2 rows"),
    ],
)
def test_bad_input(change, message):
    arguments = {"X": np.zeros((2, 3)), "Y": np.ones((2, 3)), **change}
    with pytest.raises(ValueError, match=message):
        maximum_mean_discrepancy(**arguments)
