"""The debiased Sinkhorn cost."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from _problems import numpy_samples, plain_sinkhorn, random_pair
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning

from skot.metrics import (
    energy_distance,
    maximum_mean_discrepancy,
    sinkhorn_divergence,
    wasserstein_distance,
)

X, Y = numpy_samples(shift=0.8)
TIGHT = {"epsilon": 0.5, "tol": 1e-10, "max_iter": 20_000}


def entropic_value(x, y, a, b, epsilon):
    """From the definition, by Cuturi's algorithm."""
    cost = cdist(x, y, "sqeuclidean")
    _, plan = plain_sinkhorn(cost, a, b, epsilon, 3000)
    return (plan * (cost + epsilon * np.log(plan / (a[:, None] * b)))).sum()


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "cityblock"])
def test_zero_on_itself(cost):
    assert sinkhorn_divergence(X, X, cost=cost) == pytest.approx(0.0, abs=1e-12)
    shuffled = X[np.random.RandomState(0).permutation(len(X))]
    assert sinkhorn_divergence(X, shuffled, cost=cost) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("epsilon", [None, 0.01, 0.5, 50.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_positive_and_symmetric(seed, epsilon):
    x, y, a, b = (part.numpy() for part in random_pair(seed=seed, shift=0.1))
    options = {"epsilon": epsilon, "tol": 1e-6}
    forth = sinkhorn_divergence(x, y, a=a, b=b, **options)
    back = sinkhorn_divergence(y, x, a=b, b=a, **options)
    assert isinstance(forth, float)
    assert forth > 1e-3
    assert forth == pytest.approx(back, rel=1e-4)


def test_definition():
    x, y, a, b = (part.numpy() for part in random_pair())
    expected = entropic_value(x, y, a, b, 0.5)
    expected -= 0.5 * (entropic_value(x, x, a, a, 0.5) + entropic_value(y, y, b, b, 0.5))
    assert sinkhorn_divergence(x, y, a=a, b=b, **TIGHT) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("shift", [[0.0, 0.0], [0.1, 0.0], [3.0, -4.0], [1e3, 2e3]])
@pytest.mark.parametrize("epsilon", [None, 0.5, 10.0])
def test_translation(shift, epsilon):
    squared = float(np.sum(np.square(shift)))
    divergence = sinkhorn_divergence(X, X + shift, epsilon=epsilon)
    assert divergence == pytest.approx(squared, rel=1e-6, abs=1e-6)


def test_shifting_one_of_two_samples():
    """|x - y - t|^2 = |x - y|^2 - 2 <t, x - y> + |t|^2, and the plans stay what they are."""
    t = np.array([2.0, -1.0])
    gap = Y.mean(axis=0) - X.mean(axis=0)
    expected = sinkhorn_divergence(X, Y, **TIGHT) + 2.0 * t @ gap + t @ t
    assert sinkhorn_divergence(X, Y + t, **TIGHT) == pytest.approx(expected, rel=1e-8)


def test_a_large_epsilon_leaves_the_distance_of_the_means():
    gap = X.mean(axis=0) - Y.mean(axis=0)
    assert sinkhorn_divergence(X, Y, epsilon=1e5) == pytest.approx(gap @ gap, rel=1e-3)


def test_default_epsilon():
    epsilon = 0.025 * (cdist(X, X, "sqeuclidean").mean() + cdist(Y, Y, "sqeuclidean").mean())
    expected = sinkhorn_divergence(X, Y, epsilon=epsilon)
    assert sinkhorn_divergence(X, Y) == pytest.approx(expected, rel=1e-9)
    assert sinkhorn_divergence(X, Y, epsilon=4 * epsilon) != pytest.approx(expected, rel=1e-3)


def test_weights_are_repeated_rows():
    counts = np.random.RandomState(0).randint(0, 4, size=len(X))
    weighted = sinkhorn_divergence(X, Y, a=counts / counts.sum(), **TIGHT)
    repeated = sinkhorn_divergence(np.repeat(X, counts, axis=0), Y, **TIGHT)
    assert weighted == pytest.approx(repeated, rel=1e-8)


def test_single_points():
    assert sinkhorn_divergence([[1.0, 2.0]], [[4.0, 6.0]]) == pytest.approx(25.0)


def central_differences(function, at, step=1e-5):
    gradient = torch.empty_like(at)
    flat = gradient.view(-1)
    for k in range(at.numel()):
        shift = torch.zeros_like(at)
        shift.view(-1)[k] = step
        flat[k] = (function(at + shift) - function(at - shift)) / (2.0 * step)
    return gradient


def test_gradient_with_respect_to_points():
    x, y, a, b = random_pair(7, 6, 2)
    options = {"a": a, "b": b, **TIGHT}
    x.requires_grad_()
    y.requires_grad_()
    divergence = sinkhorn_divergence(x, y, **options)
    assert isinstance(divergence, torch.Tensor)
    assert divergence.shape == ()
    divergence.backward()
    fixed_x, fixed_y = x.detach(), y.detach()
    expected = central_differences(lambda z: sinkhorn_divergence(z, fixed_y, **options), fixed_x)
    torch.testing.assert_close(x.grad, expected, rtol=1e-5, atol=1e-7)
    expected = central_differences(lambda z: sinkhorn_divergence(fixed_x, z, **options), fixed_y)
    torch.testing.assert_close(y.grad, expected, rtol=1e-5, atol=1e-7)


def test_gradient_with_respect_to_weights():
    """Along directions that keep the total mass, which is where it is defined."""
    x, y, a, b = random_pair(7, 6, 2)
    a.requires_grad_()
    sinkhorn_divergence(x, y, a=a, b=b, **TIGHT).backward()
    direction = torch.linspace(-1.0, 1.0, len(a), dtype=a.dtype) * 0.01
    fixed, step = a.detach(), 1e-4
    ahead, behind = (
        sinkhorn_divergence(x, y, a=fixed + sign * step * direction, b=b, **TIGHT)
        for sign in (1, -1)
    )
    expected = (ahead - behind) / (2.0 * step)
    assert float(a.grad @ direction) == pytest.approx(expected, rel=1e-5)


def test_gradient_vanishes_on_itself():
    x = torch.from_numpy(X).requires_grad_()
    sinkhorn_divergence(x, torch.from_numpy(X), **TIGHT).backward()
    torch.testing.assert_close(x.grad, torch.zeros_like(x), rtol=0, atol=1e-9)


def test_default_epsilon_keeps_the_gradient():
    x = torch.from_numpy(X).requires_grad_()
    sinkhorn_divergence(x, torch.from_numpy(Y)).backward()
    assert x.grad.abs().max() > 1e-3


def test_tensors_without_gradient_give_a_number():
    value = sinkhorn_divergence(torch.from_numpy(X), torch.from_numpy(Y))
    assert isinstance(value, float)
    assert value == pytest.approx(sinkhorn_divergence(X, Y), rel=1e-12)


def test_the_three_solves():
    x, y, a, b = random_pair(7, 6, 2)
    options = {"a": a, "b": b, **TIGHT}
    result = sinkhorn_divergence(x, y, return_result=True, **options)
    assert result.value == sinkhorn_divergence(x, y, **options)
    parts = (result.cross, result.first, result.second)
    assert [part.plan.shape for part in parts] == [(7, 6), (7, 7), (6, 6)]
    assert result.converged
    assert result.marginal_error == max(part.marginal_error for part in parts) <= 1e-10
    x.requires_grad_()
    result = sinkhorn_divergence(x, y, return_result=True, **options)
    assert result.value.requires_grad


def test_too_few_passes_are_one_warning_at_the_line_of_the_user():
    options = {"epsilon": 1e-3, "max_iter": 3}
    with pytest.warns(ConvergenceWarning, match="max_iter") as caught:
        value = sinkhorn_divergence(X, Y, **options)
    assert [warning.filename for warning in caught] == [__file__]
    assert "epsilon (here 0.001)" in str(caught[0].message)
    result = sinkhorn_divergence(X, Y, return_result=True, **options)
    assert result.value == value
    assert not result.converged
    assert f"{result.marginal_error:.2g}" in str(caught[0].message)


@pytest.mark.parametrize("failed", ["cross", "first", "second"])
def test_each_of_the_three_solves_counts(failed):
    result = sinkhorn_divergence(X, Y, return_result=True)
    part = replace(getattr(result, failed), converged=False, marginal_error=0.5)
    spoilt = replace(result, **{failed: part})
    assert result.converged
    assert not spoilt.converged
    assert spoilt.marginal_error == 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"epsilon": 0.0},
        {"epsilon": -1.0},
        {"a": -np.ones(len(X))},
        {"a": np.ones(len(X) - 1)},
        {"cost": "minkowski"},
        {"max_iter": 0},
    ],
    ids=str,
)
def test_bad_parameters(change):
    with pytest.raises(ValueError):  # noqa: PT011
        sinkhorn_divergence(X, Y, **change)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_points(value):
    spoilt = X.copy()
    spoilt[3, 1] = value
    for pair in ((spoilt, Y), (X, spoilt)):
        with pytest.raises(ValueError, match=r"NaN|infinity|finite"):
            sinkhorn_divergence(*pair)
    with pytest.raises(ValueError, match="features|width|dimension|columns"):
        sinkhorn_divergence(X, Y[:, :1])


@pytest.mark.parametrize("epsilon", [None, 0.5, [0.1, 0.3, 2.0]])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean"])
def test_a_batch_of_pairs(epsilon, cost):
    pairs = [random_pair(n, m, seed=n) for n, m in ((9, 12), (20, 7), (5, 5))]
    x, y, a, b = ([getattr(pair, name) for pair in pairs] for name in "xyab")
    x[2], a[2] = x[2][:1], a[2][:1]
    options = {"cost": cost, "tol": 1e-9}
    batch = sinkhorn_divergence(x, y, a=a, b=b, epsilon=epsilon, **options)
    own = epsilon if isinstance(epsilon, list) else [epsilon] * 3
    singles = [
        sinkhorn_divergence(x[i], y[i], a=a[i], b=b[i], epsilon=own[i], **options) for i in range(3)
    ]
    assert batch.tolist() == pytest.approx(singles, rel=1e-6)


def test_a_batch_of_pairs_that_are_single_points():
    points = torch.zeros(2, 3, 2, dtype=torch.float64)
    divergence = sinkhorn_divergence(points, points + 1.0)
    assert divergence.tolist() == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize(
    "distance",
    [sinkhorn_divergence, wasserstein_distance, energy_distance, maximum_mean_discrepancy],
)
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_weights_of_bfloat16(distance, needs_gradient):
    a, b = (torch.arange(1.0, n + 1.0) % 7 for n in (len(X), len(Y)))
    expected = distance(X, Y, a=a, b=b)
    half = a.bfloat16().requires_grad_(needs_gradient)
    found = distance(torch.from_numpy(X), torch.from_numpy(Y), a=half, b=b.bfloat16())
    found = found.item() if isinstance(found, torch.Tensor) else found
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_batch_warns_of_the_worst_of_its_pairs():
    x = np.stack([X, 2.0 * X])
    options = {"epsilon": [10.0, 0.01], "max_iter": 3}
    with pytest.warns(ConvergenceWarning, match=r"epsilon \(here 0.01\)"):
        sinkhorn_divergence(x, np.stack([Y[:30], Y[:30]]), **options)
    result = sinkhorn_divergence(x, np.stack([Y, Y]), **options, return_result=True)
    assert result.converged.tolist() == [True, False]
    assert result.marginal_error.shape == result.value.shape == (2,)
