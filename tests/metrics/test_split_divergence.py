"""The divergence of laws from halves of samples."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning

from skot import GaussianTransport, SinkhornTransport
from skot.metrics import sinkhorn_divergence, split_sinkhorn_divergence
from skot.metrics._split_divergence import _block_sizes, _blocks, _Rows
from skot.solvers import sinkhorn


def draws(n=120, m=150, d=2, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + shift


def repeated(n_draws, **laws):
    """Results of many independent draws of both samples."""
    return [
        split_sinkhorn_divergence(
            *draws(seed=100 + seed, **laws), epsilon=0.1 * laws["d"], return_result=True
        )
        for seed in range(n_draws)
    ]


def mean_square(errors):
    return np.sqrt(np.mean(np.square(errors)))


# --- closed forms ----------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 30])
def test_shifted_normals_are_the_squared_shift_apart(d):
    """For equal covariances the divergence is the squared distance of the means."""
    X, Y = draws(400, 500, d=d, shift=3.0)
    result = split_sinkhorn_divergence(X, Y, return_result=True)
    assert result.converged
    assert abs(result.value - 9.0 * d) < 3.0 * result.standard_error < 0.3 * 9.0 * d


@pytest.mark.parametrize(
    "laws", [{"d": 2}, {"d": 20}, {"n": 41, "m": 200, "d": 5}, {"n": 301, "m": 61, "d": 60}]
)
def test_zero_in_expectation_for_one_law(laws):
    values = [result.value for result in repeated(50, **laws)]
    assert abs(np.mean(values)) < 3.0 * np.std(values, ddof=1) / np.sqrt(50)
    # Of either sign, as an estimate of zero has to be.
    assert min(values) < 0.0 < max(values)


def test_the_value_is_made_of_six_solves_on_halves():
    """Rows at four places, so that halves show in the values of the solves."""
    X, Y = np.array([[0.0], [1.0]]), np.array([[5.0], [9.0]])
    # One row a half: all plans are trivial, and each value is a squared distance.
    cross = cdist(X, Y, "sqeuclidean").mean()
    assert split_sinkhorn_divergence(X, Y, epsilon=0.3) == pytest.approx(cross - 0.5 - 8.0)
    result = split_sinkhorn_divergence(X, Y, epsilon=0.3, return_result=True)
    assert np.isnan(result.standard_error)


def test_collapse_is_far_behind_the_true_map():
    """500 rows a side of a Gaussian pair in 64 dimensions, judged on held-out rows."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(64, 64)) / 8.0
    matrix = factor @ factor.T + 0.3 * np.eye(64)
    new, Y = rng.normal(size=(500, 64)), rng.normal(size=(500, 64)) @ matrix + 1.0
    total = Y.var(axis=0).sum()
    epsilon = 0.05 * cdist(Y, Y, "sqeuclidean").mean()
    moved = {"true": new @ matrix + 1.0, "collapsed": np.tile(Y.mean(axis=0), (500, 1))}
    fit = rng.normal(size=(500, 64)), rng.normal(size=(500, 64)) @ matrix + 1.0
    moved["smooth"] = SinkhornTransport(epsilon=50.0, residual=0).fit(*fit).transform(new)
    results = {
        name: split_sinkhorn_divergence(rows, Y, epsilon=epsilon, return_result=True)
        for name, rows in moved.items()
    }
    assert abs(results["true"].value) < 2.0 * results["true"].standard_error
    for name in ("collapsed", "smooth"):
        behind = results[name].value - results["true"].value
        error = np.hypot(results[name].standard_error, results["true"].standard_error)
        assert behind > 10.0 * error
        assert behind > 0.1 * total
        # What it replaces prefers the collapse.
        plain = {key: sinkhorn_divergence(moved[key], Y, epsilon=epsilon) for key in (name, "true")}
        assert plain[name] < plain["true"]


# --- standard error --------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 10])
def test_the_standard_error_is_the_spread_of_repeated_draws(d):
    results = repeated(50, n=80, m=100, d=d, shift=1.0)
    spread = np.std([result.value for result in results], ddof=1)
    # The spread of 50 draws is itself known to a tenth.
    expected = mean_square([result.standard_error for result in results])
    assert 0.8 < expected / spread < 1.3


@pytest.mark.parametrize("laws", [{"d": 2}, {"d": 20}, {"n": 41, "m": 200, "d": 5}])
def test_the_standard_error_is_too_large_for_one_law(laws):
    results = repeated(50, **laws)
    spread = np.std([result.value for result in results], ddof=1)
    expected = mean_square([result.standard_error for result in results])
    assert 1.0 < expected / spread < 2.0


# --- weights ---------------------------------------------------------------------------


def test_weights_turn_one_law_into_another():
    """Draws of N(0, 1), weighted by the ratio of densities, are draws of N(1/2, 1)."""
    values = []
    for seed in range(40):
        X, Y = draws(200, 200, d=1, seed=seed, shift=0.5)
        a = np.exp(0.5 * X[:, 0] - 0.125)
        values.append(split_sinkhorn_divergence(X, Y, epsilon=0.2, a=a))
    # Up to a bias like one over the number of rows, as every weighted mean has.
    assert abs(np.mean(values)) < 0.03
    # Without them the squared distance of the means is left.
    unweighted = [
        split_sinkhorn_divergence(*draws(200, 200, d=1, seed=seed, shift=0.5), epsilon=0.2)
        for seed in range(40)
    ]
    assert np.mean(unweighted) == pytest.approx(0.25, abs=0.05)


def test_rows_without_weight_are_not_there():
    X, Y = draws()
    a, b = np.ones(len(X)), np.full(len(Y), 2.0)
    a[::3], b[:5] = 0.0, 0.0
    far = np.where(a[:, None] > 0, X, 1e6)
    weighted = split_sinkhorn_divergence(far, Y, epsilon=0.3, a=a, b=b)
    assert weighted == pytest.approx(
        split_sinkhorn_divergence(X[a > 0], Y[b > 0], epsilon=0.3), rel=1e-9
    )
    result = split_sinkhorn_divergence(X, Y, epsilon=0.3, a=7.0, return_result=True)
    assert result == split_sinkhorn_divergence(X, Y, epsilon=0.3, return_result=True)


def test_heavy_rows_are_in_all_blocks_alike():
    weights = torch.from_numpy(np.random.default_rng(0).pareto(1.5, size=101) + 0.01)
    sample = _Rows(torch.arange(101.0, dtype=torch.float64)[:, None], weights)
    blocks = _blocks(sample, 4, 25)
    ids = torch.cat([block.points[:, 0] for block in blocks]).long()
    assert len(set(ids.tolist())) == 100
    totals = weights[ids].reshape(4, 25).sum(1)
    assert totals.max() - totals.min() < weights.max()
    for block, rows in zip(blocks, ids.reshape(4, 25), strict=True):
        assert float(block.weights.sum()) == pytest.approx(1.0)
        assert torch.allclose(block.weights, weights[rows] / weights[rows].sum())


@pytest.mark.parametrize(("n", "m", "expected"), [(40, 40, [20, 20]), (41, 300, [20, 20])])
def test_blocks_have_as_many_rows_on_both_sides(n, m, expected):
    X, Y = (_Rows(torch.zeros(k, 1), torch.ones(k)) for k in (n, m))
    assert _block_sizes(X, Y) == expected
    # Half of the rows with nine times the weight of the others count as .61 times as many.
    uneven = _Rows(Y.points, torch.tensor([1.0, 9.0]).repeat(m // 2))
    counting = m / 1.64
    size, own = _block_sizes(X, uneven)
    assert own == pytest.approx(m / counting * min(n, counting) / 2, abs=1)
    assert size == pytest.approx(min(n, counting) / 2, abs=1)


# --- repeats, gradients, errors --------------------------------------------------------


def test_the_same_halves_in_every_call_and_no_trace():
    X, Y = draws()
    before = np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()
    first = split_sinkhorn_divergence(X, Y)
    assert split_sinkhorn_divergence(X, Y) == first
    assert split_sinkhorn_divergence(X, Y, random_state=1) != first
    state = np.random.RandomState(0)
    assert split_sinkhorn_divergence(X, Y, random_state=state) == first
    assert split_sinkhorn_divergence(X, Y, random_state=state) != first
    after = np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()
    assert before == after


def test_gradients():
    X, Y = (torch.from_numpy(Z[:8]) for Z in draws(shift=0.5))
    a = torch.linspace(1.0, 2.0, 8, dtype=torch.float64)
    inputs = [tensor.clone().requires_grad_() for tensor in (X, Y, a)]

    def value(x, y, weights):
        return split_sinkhorn_divergence(x, y, a=weights, epsilon=0.5, tol=1e-11)

    assert value(*inputs).requires_grad
    assert value(*inputs).item() == pytest.approx(value(X.numpy(), Y.numpy(), a.numpy()), rel=1e-9)
    torch.autograd.gradcheck(value, inputs, atol=1e-6)
    assert isinstance(value(X, Y, a), float)


def test_the_units_are_those_of_the_cost():
    X, Y = draws(shift=1.0)
    assert split_sinkhorn_divergence(10.0 * X, 10.0 * Y) == pytest.approx(
        100.0 * split_sinkhorn_divergence(X, Y), rel=1e-6
    )
    assert split_sinkhorn_divergence(X, Y, cost="euclidean") > 0.5


@pytest.mark.parametrize("side", ["X", "Y"])
def test_two_rows_a_side_are_needed(side):
    X, Y = draws()
    few = {"X": (X[:1], Y), "Y": (X, Y[:1])}[side]
    with pytest.raises(ValueError, match=f"at least 2 rows of positive weight in {side}"):
        split_sinkhorn_divergence(*few)
    weights = {"XY".index(side): np.eye(1, len((X, Y)["XY".index(side)]))[0]}
    with pytest.raises(ValueError, match=f"at least 2 rows of positive weight in {side}"):
        split_sinkhorn_divergence(X, Y, a=weights.get(0), b=weights.get(1))
    with pytest.raises(ValueError, match="at least 2 rows of positive weight a side"):
        GaussianTransport().fit(X, Y).score(*few)


def test_bad_input():
    X, Y = draws()
    with pytest.raises(ValueError, match="NaN"):
        split_sinkhorn_divergence(np.full_like(X, np.nan), Y)
    with pytest.raises(ValueError, match="Negative"):
        split_sinkhorn_divergence(X, Y, b=-np.ones(len(Y)))
    with pytest.raises(ValueError, match="X has 2 features, but Y has 1"):
        split_sinkhorn_divergence(np.ones((4, 2)), np.ones((4, 1)))
    with pytest.raises(ValueError, match="epsilon"):
        split_sinkhorn_divergence(X, Y, epsilon=-1.0)


def test_what_was_not_solved_warns_and_never_says_converged(monkeypatch):
    X, Y = draws()
    with pytest.warns(ConvergenceWarning, match="split_sinkhorn_divergence did not converge"):
        split_sinkhorn_divergence(X, Y, max_iter=1, epsilon=1e-3)
    hasty = split_sinkhorn_divergence(X, Y, max_iter=1, epsilon=1e-3, return_result=True)
    assert not hasty.converged
    assert hasty.marginal_error > 1e-4

    def broken(*args, **options):
        result = sinkhorn(*args, **options)
        object.__setattr__(result, "dual_value", torch.full((6,), torch.nan))
        return result

    monkeypatch.setattr("skot.metrics._split_divergence.sinkhorn", broken)
    assert not split_sinkhorn_divergence(X, Y, return_result=True).converged
