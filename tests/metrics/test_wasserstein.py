from functools import partial

import numpy as np
import ot
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning

from skot.metrics import wasserstein_distance
from skot.solvers._exact.network_simplex import network_simplex


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


@pytest.mark.parametrize("far", [1e4, 1e6])
@pytest.mark.parametrize("p", [1, 2])
def test_a_far_row_costs_no_digits(far, p):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)) + 1
    X[0, 0] = Y[0, 0] = far
    # The far rows meet each other: everything else has more than the distance to lose.
    inner = cdist(X[1:], Y[1:]) ** p
    total = inner[linear_sum_assignment(inner)].sum() + abs(X[0, 1] - Y[0, 1]) ** p
    expected = (total / 30) ** (1 / p)
    assert wasserstein_distance(X, Y, p=p) == pytest.approx(expected, rel=1e-12)
    assert wasserstein_distance(np.vstack([X, X]), Y, p=p) == pytest.approx(expected, rel=1e-12)
    if (far, p) == (1e4, 2):
        assert expected == pytest.approx(1.6190, abs=5e-5)


def test_small_weights_are_feasible():
    rng = np.random.default_rng(239)
    X, Y = rng.random((4, 2)), rng.random((4, 2))
    a, b = np.exp(-30 * rng.random(4)), np.exp(-30 * rng.random(4))
    assert wasserstein_distance(X, Y, p=1, a=a, b=b) == pytest.approx(0.7907, abs=5e-5)


@pytest.mark.parametrize("p", [1, 2])
def test_softmax_weights_agree_with_pot(p):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, Y = rng.random((20, 2)), rng.random((25, 2))
        a, b = np.exp(-30 * rng.random(20)), np.exp(-30 * rng.random(25))
        expected = ot.emd2(a / a.sum(), b / b.sum(), cdist(X, Y) ** p) ** (1 / p)
        found = wasserstein_distance(X, Y, p=p, a=a, b=b)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n_features", [1, 2])
def test_a_light_row_that_is_far_away_counts_in_full(n_features):
    """Its weight is 1e-14, its squared cost 1e20: it is nearly all of the distance."""
    X, Y = np.zeros((3, n_features)), np.zeros((2, n_features))
    X[:, 0], Y[:, 0] = [0.0, 1.0, 1e10], [0.25, 0.5]
    a = np.array([0.3, 0.7, 1e-14])
    shares = a / a.sum()
    order = shares[0] * 0.25**2, (0.5 - shares[0]) * 0.75**2, (0.5 - shares[2]) * 0.5**2
    expected = np.sqrt(sum(order) + shares[2] * (1e10 - 0.5) ** 2)
    assert wasserstein_distance(X, Y, a=a) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_features", [1, 2])
def test_the_order_of_weighted_rows_is_nothing(rng, n_features):
    X, a, order = rng.normal(size=(30, n_features)), rng.random(30), rng.permutation(30)
    assert wasserstein_distance(X, X[order], a=a, b=a[order]) == 0.0
    # The square root of what rounding leaves of 1 / 30 - 3 / 90.
    assert wasserstein_distance(X, np.repeat(X, 3, axis=0)) == pytest.approx(0.0, abs=3e-8)


def test_says_how_far_it_is_from_exact(rng, monkeypatch):
    X, Y, a, b = samples(0, 20, 25, 2)
    optimum = wasserstein_distance(X, Y, a=a, b=b)
    stopped = partial(network_simplex, max_pivots=20)
    monkeypatch.setattr("skot.solvers._exact.solve.network_simplex", stopped)
    with pytest.warns(ConvergenceWarning, match=r"too large by up to .*e-.* of itself") as caught:
        found = wasserstein_distance(X, Y, a=a, b=b)
    assert caught[0].filename == __file__
    share = float(str(caught[0].message).split("up to ")[1].split()[0])
    assert optimum < found <= optimum * (1 + 2 * share)


@pytest.mark.parametrize("p", [1, 2, 3.5])
@pytest.mark.parametrize("n, m, n_features", [(6, 5, 2), (6, 5, 1), (5, 5, 2), (1, 4, 2)])
def test_gradients(n, m, n_features, p):
    X, Y, a, b = (
        torch.from_numpy(array).requires_grad_() for array in samples(0, n, m, n_features)
    )

    def distance(X, Y, a=None, b=None):
        return wasserstein_distance(X, Y, p=p, a=a, b=b)

    assert torch.autograd.gradcheck(distance, (X, Y, a, b))
    assert torch.autograd.gradcheck(distance, (X, Y))
    value = distance(X, Y, a, b)
    assert value.shape == ()
    assert value.item() == distance(X.detach(), Y.detach(), a.detach(), b.detach())


def test_a_gradient_for_what_requires_one_only(rng):
    X, Y = rng.normal(size=(6, 2)), torch.from_numpy(rng.normal(size=(4, 2)))
    X_float = torch.tensor(X, dtype=torch.float32, requires_grad=True)
    value = wasserstein_distance(X_float, Y)
    (2 * value).backward()
    assert (value.dtype, X_float.grad.dtype) == (torch.float64, torch.float32)
    X_double = torch.tensor(X, requires_grad=True)
    (gradient,) = torch.autograd.grad(wasserstein_distance(X_double, Y.tolist()), X_double)
    torch.testing.assert_close(X_float.grad.double(), 2 * gradient, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        assert not wasserstein_distance(X_double, Y).requires_grad
    assert isinstance(wasserstein_distance(X_double.detach(), Y), float)


def test_gradient_of_a_row_without_weight():
    """The derivative in a weight that is zero is that of giving it some."""
    X, Y, a, b = samples(0, 6, 5, 2)
    a[2] = 0.0
    weights = torch.tensor(a, requires_grad=True)
    points = torch.tensor(X, requires_grad=True)
    wasserstein_distance(points, Y, a=weights, b=b).backward()
    step = 1e-7 * np.eye(6)[2]
    slope = wasserstein_distance(X, Y, a=a + step, b=b) - wasserstein_distance(X, Y, a=a, b=b)
    assert weights.grad[2].item() == pytest.approx(slope / 1e-7, rel=1e-4)
    assert weights.grad @ weights.detach() == pytest.approx(0.0, abs=1e-12)
    assert not points.grad[2].any()


@pytest.mark.parametrize("p", [1, 1.5, 2])
@pytest.mark.parametrize("n_features", [1, 2])
def test_gradient_between_equal_samples_is_zero(rng, p, n_features):
    X = torch.tensor(rng.normal(size=(5, n_features)), requires_grad=True)
    a = torch.rand(5, dtype=torch.float64).requires_grad_()
    wasserstein_distance(X, X.detach().clone(), p=p, a=a, b=a.detach()).backward()
    assert not X.grad.any()
    assert not a.grad.any()
    # Some rows coincide, others do not.
    Y = X.detach().clone()
    Y[0] += 1.0
    (gradient,) = torch.autograd.grad(wasserstein_distance(X, Y, p=p), X)
    assert gradient.isfinite().all()
    assert gradient.any()


def test_no_second_derivative(rng):
    X = torch.tensor(rng.normal(size=(5, 2)), requires_grad=True)
    value = wasserstein_distance(X, rng.normal(size=(5, 2)))
    (gradient,) = torch.autograd.grad(value, X, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        gradient.square().sum().backward()


def test_gradient_descent_moves_one_sample_onto_the_other(rng):
    Y = rng.normal(size=(20, 2))
    X = torch.zeros(20, 2, dtype=torch.float64) + 0.01 * torch.from_numpy(rng.normal(size=(20, 2)))
    for _ in range(30):
        X.requires_grad_()
        (gradient,) = torch.autograd.grad(wasserstein_distance(X, Y) ** 2, X)
        X = X.detach() - 5.0 * gradient
    assert wasserstein_distance(X, Y) < 1e-3


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
