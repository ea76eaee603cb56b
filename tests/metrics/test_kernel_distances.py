import tracemalloc
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
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


def test_unbiased_energy_by_hand(rng):
    X, Y, a = rng.normal(size=(7, 2)), rng.normal(size=(5, 2)), rng.random(7)
    a /= a.sum()
    within = a @ cdist(X, X) @ a / (1 - a @ a) + cdist(Y, Y).sum() / 20
    expected = 2 * (a @ cdist(X, Y)).mean() - within
    assert energy_distance(X, Y, a=a, unbiased=True) == pytest.approx(expected, rel=1e-10)


def test_unbiased_energy_has_mean_zero_under_the_null():
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(200):
        X, Y = rng.normal(size=(20, 30)), rng.normal(size=(15, 30))
        draws.append((energy_distance(X, Y, unbiased=True), energy_distance(X, Y) ** 2))
    (unbiased, biased), error = np.mean(draws, axis=0), np.std(draws, axis=0)[0] / np.sqrt(200)
    assert abs(unbiased) < 4 * error < biased


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


GRADIENTS = {
    "energy": energy_distance,
    "mmd": partial(maximum_mean_discrepancy, gamma=0.3),
    "unbiased mmd": partial(maximum_mean_discrepancy, gamma=0.3, unbiased=True),
    "unbiased energy": partial(energy_distance, unbiased=True),
}


@pytest.fixture
def problem(rng):
    """Samples and weights that require gradients."""
    arrays = rng.normal(size=(6, 2)), rng.normal(size=(5, 2)) + 1, rng.random(6), rng.random(5)
    return [torch.from_numpy(array).requires_grad_() for array in arrays]


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name, problem):
    def distance(X, Y, a=None, b=None):
        return GRADIENTS[name](X, Y, a=a, b=b)

    assert torch.autograd.gradcheck(distance, problem)
    assert torch.autograd.gradcheck(distance, problem[:2])
    value = distance(*problem)
    assert (value.shape, value.dtype) == ((), torch.float64)
    assert value.item() == distance(*[part.detach() for part in problem])
    # Of one input only, and through one that is both samples.
    X, Y, a, b = problem
    (gradient,) = torch.autograd.grad(distance(X.detach(), Y, a.detach(), b.numpy(force=True)), Y)
    torch.testing.assert_close(gradient, torch.autograd.grad(value, Y)[0])
    both = torch.autograd.gradcheck(lambda X: distance(X, X, a.detach(), a.detach().flip(0)), X)
    assert both


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_where_rows_have_no_weight_or_coincide(name, problem):
    X, Y, a, b = (part.detach().clone() for part in problem)
    a[2], Y[0], Y[1] = 0.0, X[2], X[3]
    X.requires_grad_()
    a.requires_grad_()
    GRADIENTS[name](X, Y, a=a, b=b).backward()
    assert X.grad.isfinite().all()
    assert not X.grad[2].any()
    step = torch.zeros(6, dtype=torch.float64)
    step[2] = 1e-7
    weights = a.detach()
    slope = GRADIENTS[name](X.detach(), Y, a=weights + step, b=b)
    slope -= GRADIENTS[name](X.detach(), Y, a=weights, b=b)
    assert a.grad[2].item() == pytest.approx(slope / 1e-7, rel=1e-4)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_between_equal_samples_are_finite(name, problem):
    X, _, a, _ = problem
    value = GRADIENTS[name](X, X.detach().clone(), a=a, b=a.detach())
    value.backward()
    assert X.grad.isfinite().all()
    assert a.grad.isfinite().all()
    if not name.startswith("unbiased"):
        assert X.grad.abs().max() < 1e-7


@pytest.mark.parametrize("name", GRADIENTS)
def test_no_second_derivative(name, problem):
    X, Y, *_ = problem
    (gradient,) = torch.autograd.grad(GRADIENTS[name](X, Y), X, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_far_from_the_origin(name, problem):
    X, Y, *_ = (part.detach() for part in problem)
    near, far = X.clone().requires_grad_(), (X + 2.0**20).requires_grad_()
    GRADIENTS[name](near, Y).backward()
    GRADIENTS[name](far, Y + 2.0**20).backward()
    torch.testing.assert_close(near.grad, far.grad, rtol=1e-8, atol=1e-8)


def test_the_default_bandwidth_is_a_constant(problem):
    X, Y, *_ = problem
    squared = scipy.spatial.distance.pdist(torch.cat([X, Y]).numpy(force=True), "sqeuclidean")
    (by_default,) = torch.autograd.grad(maximum_mean_discrepancy(X, Y), X)
    fixed = maximum_mean_discrepancy(X, Y, gamma=0.5 / np.median(squared))
    torch.testing.assert_close(by_default, torch.autograd.grad(fixed, X)[0])


def test_no_gradient_through_a_function(problem):
    X, Y, *_ = problem
    with pytest.raises(ValueError, match="no gradient with a function as kernel"):
        maximum_mean_discrepancy(X, Y, kernel=linear_kernel)
    assert isinstance(maximum_mean_discrepancy(X.detach(), Y.detach(), kernel=linear_kernel), float)


@pytest.mark.parametrize("name", ["energy", "mmd"])
def test_memory_of_the_gradient_stays_far_below_the_matrix_of_pairs(name, rng):
    X, Y = torch.from_numpy(rng.normal(size=(2, 4000, 2))).requires_grad_()
    value = GRADIENTS[name](X, Y)
    tracemalloc.start()
    torch.autograd.grad(value, X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000 * 4000 * 8 / 4


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
