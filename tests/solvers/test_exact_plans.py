"""Exact plans, judged in rational arithmetic: no rounding hides behind another."""

from fractions import Fraction

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from skot.solvers._exact import assignment as assignment_module
from skot.solvers._exact.assignment import assignment
from skot.solvers._exact.monotone import monotone
from skot.solvers._exact.network_simplex import network_simplex
from skot.solvers._exact.plan import slacks


def fractions(array):
    return [Fraction(float(entry)) for entry in array]


def shares(weights):
    weights = fractions(weights)
    return [weight / sum(weights) for weight in weights]


def error_in_rationals(plan, cost, a, b):
    """Relative excess of the value over a dual bound, and of the marginals, without any rounding.

    The duals are those of the entries, which must be a tree.
    """
    n, m = cost.shape
    C = [fractions(row) for row in cost]
    f, g = {0: Fraction(0)}, {}
    entries = list(zip(plan.rows.tolist(), plan.columns.tolist(), strict=True))
    for _ in range(n + m):
        for i, j in entries:
            if i in f and j not in g:
                g[j] = C[i][j] - f[i]
            elif j in g and i not in f:
                f[i] = C[i][j] - g[j]
    assert (len(f), len(g)) == (n, m)
    g = [min(C[i][j] - f[i] for i in range(n)) for j in range(m)]
    bound = sum(w * f[i] for i, w in enumerate(shares(a)))
    bound += sum(w * g[j] for j, w in enumerate(shares(b)))
    return float((Fraction(plan.value) - bound) / bound)


def marginal_errors(plan, a, b):
    """Largest error of a row or column, relative to its own weight."""
    rows = np.bincount(plan.rows, plan.mass, len(a))
    columns = np.bincount(plan.columns, plan.mass, len(b))
    return max(np.abs(rows / a * a.sum() - 1).max(), np.abs(columns / b * b.sum() - 1).max())


def hard_problem(seed, *, spread=30.0, far=0.0, n_max=25):
    """Two samples with weights exp(-spread u) and one row far away on each side."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(2, n_max, size=2)
    X, Y = rng.normal(size=(n, 2)), rng.normal(size=(m, 2)) + 1
    X[0, 0] += far
    Y[-1, 0] += far * rng.choice([0, 1, -1])
    return X, Y, np.exp(-spread * rng.random(n)), np.exp(-spread * rng.random(m))


@pytest.mark.parametrize("far", [0.0, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("spread", [1.0, 30.0, 300.0])
@pytest.mark.parametrize("p", [1, 2])
def test_far_rows_and_small_weights_cost_no_digits(far, spread, p):
    for seed in range(3):
        X, Y, a, b = hard_problem(seed, spread=spread, far=far)
        cost = cdist(X, Y) ** p
        plan = network_simplex(cost, a, b)
        assert marginal_errors(plan, a, b) < 1e-14
        assert abs(error_in_rationals(plan, cost, a, b)) < 1e-13
        assert plan.relative_gap < 1e-10


@given(seed=st.integers(0, 2**31))
@settings(max_examples=100)
def test_hard_problems(seed):
    far = 10 ** np.random.default_rng(seed).uniform(0, 8)
    X, Y, a, b = hard_problem(seed, far=far, n_max=12)
    cost = cdist(X, Y) ** 2
    plan = network_simplex(cost, a, b)
    assert marginal_errors(plan, a, b) < 1e-14
    assert abs(error_in_rationals(plan, cost, a, b)) < 1e-13


@given(
    seed=st.integers(0, 2**31),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    largest=st.integers(1, 5),
)
@settings(max_examples=60)
def test_integers_and_ties(seed, sizes, largest):
    """Counts as weights are repeated rows, for which a matching is exact in integers."""
    rng = np.random.default_rng(seed)
    n, m = sizes
    a, b = rng.integers(1, 5, size=n), rng.integers(1, 5, size=m)
    cost = rng.integers(0, largest + 1, size=(n, m)).astype(float)
    total, other = a.sum(), b.sum()
    repeated = np.repeat(np.repeat(cost, a * other, axis=0), b * total, axis=1)
    expected = repeated[linear_sum_assignment(repeated)].sum() / (total * other)
    plan = network_simplex(cost, a.astype(float), b.astype(float))
    assert plan.value == pytest.approx(expected, rel=1e-14, abs=0)
    assert plan.gap == 0.0
    assert len(plan.mass) <= n + m - 1
    assert plan.mass.min() > 0
    assert np.all(cost - plan.f[:, None] - plan.g >= 0.0)


@pytest.mark.parametrize("n, m, n_features", [(60, 60, 2), (50, 75, 5), (1, 20, 2), (20, 1, 2)])
def test_agrees_with_pot(n, m, n_features):
    rng = np.random.default_rng(0)
    a, b = rng.random(n), rng.random(m)
    cost = cdist(rng.normal(size=(n, n_features)), rng.normal(size=(m, n_features)))
    plan = network_simplex(cost, a, b)
    expected, log = ot.emd2(a / a.sum(), b / b.sum(), cost, log=True)
    assert plan.value == pytest.approx(expected, rel=1e-12)
    # With weights in general position the duals are unique but for a constant.
    np.testing.assert_allclose(plan.f - plan.f[0], log["u"] - log["u"][0], atol=1e-12)
    np.testing.assert_allclose(plan.g + plan.f[0], log["v"] + log["u"][0], atol=1e-12)


def test_rows_of_weight_zero_get_nothing():
    rng = np.random.default_rng(0)
    cost = rng.random((6, 7))
    a, b = rng.random(6), rng.random(7)
    a[[0, 3]] = b[6] = 0.0
    plan = network_simplex(cost, a, b)
    kept = network_simplex(cost[np.ix_(a > 0, b > 0)], a[a > 0], b[b > 0])
    assert plan.value == pytest.approx(kept.value, rel=1e-14)
    assert not {0, 3} & set(plan.rows.tolist())
    assert 6 not in plan.columns


def test_weights_may_be_of_any_size():
    rng = np.random.default_rng(0)
    cost, a, b = rng.random((6, 7)), rng.random(6), rng.random(7)
    expected = network_simplex(cost, a, b).value
    for scale in (1e-300, 1e-30, 1e300):
        assert network_simplex(cost, scale * a, b).value == pytest.approx(expected, rel=1e-13)


def test_few_pivots_leave_a_gap_that_bounds_the_error():
    X, Y, a, b = hard_problem(0, spread=2.0)
    cost = cdist(X, Y)
    optimum = network_simplex(cost, a, b).value
    gaps = []
    for max_pivots in range(0, 12, 3):
        plan = network_simplex(cost, a, b, max_pivots=max_pivots)
        assert plan.n_pivots == max_pivots
        assert marginal_errors(plan, a, b) < 1e-14
        assert 0.0 < plan.value - optimum <= plan.gap
        gaps.append(plan.gap)
    # A shift of the costs does not hide it.
    shifted = network_simplex(cost + 1e6, a, b, max_pivots=0)
    plan = network_simplex(cost, a, b, max_pivots=0)
    assert shifted.relative_gap == pytest.approx(plan.relative_gap, rel=1e-6)


def test_two_groups_far_from_each_other():
    """Their duals differ by the square of the distance, and would lose the digits of each."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) + 1
    X[20:] += 2.0**24
    Y[20:] += 2.0**24
    expected = (
        assignment(cdist(X[:20], Y[:20]) ** 2).value + assignment(cdist(X[20:], Y[20:]) ** 2).value
    ) / 2
    cost = cdist(X, Y) ** 2
    equal = np.full(40, 1 / 40)
    for plan in (assignment(cost), network_simplex(cost, equal, equal)):
        assert plan.value == pytest.approx(expected, rel=1e-12)
        assert plan.relative_gap < 1e-10


@pytest.mark.parametrize("far", [0.0, 1e4, 1e6])
@pytest.mark.parametrize("p", [1, 2])
def test_assignment_and_its_duals(far, p):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)) + 1
    X[0, 0] += far
    Y[0, 0] += far
    cost = cdist(X, Y) ** p
    plan = assignment(cost)
    np.testing.assert_array_equal(np.sort(plan.columns), np.arange(30))
    without = np.ones(30, dtype=bool)
    without[0] = far == 0.0
    inner = cost[np.ix_(without, without)]
    expected = inner[linear_sum_assignment(inner)].sum() + (cost[0, 0] if far else 0.0)
    assert plan.value == pytest.approx(expected / 30, rel=1e-14)
    assert plan.relative_gap < 1e-13
    slack = slacks(cost, plan.f, plan.g)
    assert slack.min() > -1e-13 * cost.max()
    assert np.abs(slack[plan.rows, plan.columns]).max() < 1e-13 * cost.max()


def test_a_matching_that_is_not_optimal_is_found_out(monkeypatch):
    """The certificate does not believe the solver."""
    rng = np.random.default_rng(0)
    cost = rng.random((20, 20))

    def swapped(matrix):
        rows, columns = linear_sum_assignment(matrix)
        columns[[0, 1]] = columns[[1, 0]]
        return rows, columns

    monkeypatch.setattr(assignment_module, "linear_sum_assignment", swapped)
    plan = assignment(cost)
    optimum = cost[linear_sum_assignment(cost)].mean()
    assert plan.relative_gap > 1e-2
    assert plan.value - optimum <= plan.gap * (1 + 1e-12)


@pytest.mark.parametrize("spread", [0.0, 30.0])
@pytest.mark.parametrize("far", [0.0, 1e10])
@pytest.mark.parametrize("p", [1, 2])
def test_one_feature_in_rationals(spread, far, p):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=40), np.round(rng.normal(size=31), 1)
    a, b = np.exp(-spread * rng.random(40)), np.exp(-spread * rng.random(31))
    a[7] = a.max() * 1e-14
    x[7] += far
    a, b = a / a.sum(), b / b.sum()
    plan = monotone(x, y, a, b, p)
    assert marginal_errors(plan, a, b) < 1e-14
    assert plan.value == pytest.approx(northwest_corner(x, y, a, b, p), rel=1e-13)
    cost = np.abs(x[:, None] - y) ** p
    slack = cost - plan.f[:, None] - plan.g
    assert slack.min() > -1e-14 * cost.max()
    assert np.abs(slack[plan.rows, plan.columns]).max() < 1e-14 * cost.max()
    assert network_simplex(cost, a, b).value == pytest.approx(plan.value, rel=1e-13)


def northwest_corner(x, y, a, b, p):
    order_x, order_y = np.argsort(x), np.argsort(y)
    x, y = fractions(x[order_x]), fractions(y[order_y])
    a = np.array(shares(a), dtype=object)[order_x]
    b = np.array(shares(b), dtype=object)[order_y]
    i = j = 0
    total = Fraction(0)
    while i < len(x) and j < len(y):
        mass = min(a[i], b[j])
        total += mass * abs(x[i] - y[j]) ** p
        a[i] -= mass
        b[j] -= mass
        i, j = i + (a[i] == 0), j + (b[j] == 0)
    return float(total)


def test_slacks_keep_digits_where_potentials_cancel():
    cost = np.array([[1.25, 3.0]])
    f, g = np.array([1e16 + 2]), np.array([-1e16, 1.0])
    np.testing.assert_array_equal(slacks(cost, f, g), [[-0.75, -1e16]])


@pytest.mark.slow
def test_many_hard_problems():
    for seed in range(1000):
        far = 10 ** np.random.default_rng(seed).uniform(0, 8)
        X, Y, a, b = hard_problem(seed, far=far)
        cost = cdist(X, Y) ** 2
        plan = network_simplex(cost, a, b)
        assert abs(error_in_rationals(plan, cost, a, b)) < 1e-13
