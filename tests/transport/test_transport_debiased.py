"""The debiased entropic map, rows far outside, and problems that are thinned."""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer

from skot import SinkhornTransport
from skot.costs import PNorm, SphereGeodesic
from skot.utils import stack_domains
from tests._problems import EntropicGaussian, normal_weights


def gaussians(n, d, seed, *, m=None):
    """Two samples of normal distributions, and new source rows, with the optimal map."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d)) / np.sqrt(d)
    linear, shift = root @ root.T + 0.3 * np.eye(d), 2.0 * rng.normal(size=d)
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(m or n, d)) @ linear + shift
    return X, Y, rng.normal(size=(500, d)), lambda x: x @ linear + shift


def error(moved, right):
    return ((moved - right) ** 2).sum(axis=1).mean() / right.var(axis=0).sum()


# --- the map ---------------------------------------------------------------------------


def test_closed_form_between_gaussians():
    """The entropic maps of normal distributions are affine, and so is what is subtracted."""
    between = EntropicGaussian(mean_a=0.5, sd_a=1.0, mean_b=2.0, sd_b=0.6, epsilon=0.8)
    own = EntropicGaussian(mean_a=0.5, sd_a=1.0, mean_b=0.5, sd_b=1.0, epsilon=0.8 / 0.6)
    back = EntropicGaussian(mean_a=2.0, sd_a=0.6, mean_b=2.0, sd_b=0.6, epsilon=0.8 * 0.6)
    x = torch.linspace(-8.0, 9.0, 1201, dtype=torch.float64)
    y = torch.linspace(-3.5, 7.5, 1301, dtype=torch.float64)
    weights = torch.cat([normal_weights(x, 0.5, 1.0), normal_weights(y, 2.0, 0.6)])
    rows, sample_domain = torch.cat([x, y])[:, None].numpy(), np.repeat([1, -1], [1201, 1301])
    new = np.array([[-0.7], [0.31], [2.2]])
    for r in (0.4, 1.0):
        transport = SinkhornTransport(0.8, residual=r, scale_cost=None, tol=1e-9)
        transport.fit(rows, None, weights.numpy(), sample_domain=sample_domain)
        # The sizes are medians of grids: right to a step.
        there = between.map(new) + 0.6 * r * (new - own.map(new))
        assert_allclose(transport.transform(new), there, atol=0.01)
        home = between.swapped.map(new) + r / 0.6 * (new - back.map(new))
        assert_allclose(transport.inverse_transform(new), home, atol=0.01)
        smooth = back.map(new) + r * (new - back.map(new))
        assert_allclose(transport.smooth_target(new), smooth, atol=0.01)


@pytest.mark.parametrize("factor", [1e-3, 0.3, 20.0])
def test_the_size_of_the_target_is_followed(factor):
    """The plan to c y at epsilon c is the plan to y at epsilon, and so is the map."""
    X, Y, new, _ = gaussians(150, 4, 12)
    options = {"scale_cost": None, "tol": 1e-10, "max_iter": 20_000}
    transport = SinkhornTransport(0.8, **options).fit(X, Y)
    scaled = SinkhornTransport(0.8 * factor, **options).fit(X, factor * Y)
    assert_allclose(scaled.coupling_, transport.coupling_, atol=1e-9)
    assert scaled.residual_ == pytest.approx(transport.residual_, rel=1e-6)
    assert_allclose(scaled.transform(new), factor * transport.transform(new), rtol=1e-5)
    there, back = factor * Y, transport.inverse_transform(Y)
    assert_allclose(scaled.inverse_transform(there), back, rtol=1e-5)


@pytest.mark.parametrize("factor", [0.1, 10.0])
@pytest.mark.parametrize("d", [2, 10, 64])
def test_small_and_large_targets(factor, d):
    X, Y, new, right = gaussians(300, d, d)
    for epsilon in (0.05, 0.2):
        auto = SinkhornTransport(epsilon).fit(X, factor * Y)
        plain = SinkhornTransport(epsilon, residual=0).fit(X, factor * Y)
        image = factor * right(new)
        assert error(auto.transform(new), image) < 0.8 * error(plain.transform(new), image)


def test_it_never_collapses():
    X, Y, new, _ = gaussians(200, 5, 0)
    transport = SinkhornTransport(1e4, residual=1.0).fit(X, Y)
    size = [np.linalg.norm(rows - np.median(rows, axis=0), axis=1) for rows in (Y, X)]
    size = np.divide(*(np.median(distances) for distances in size))
    there = Y.mean(axis=0) + size * (new - X.mean(axis=0))
    assert_allclose(transport.transform(new), there, rtol=0.02, atol=0.02)
    assert SinkhornTransport(1e4).fit(X, Y).residual_ > 0.99


@pytest.mark.parametrize(("n", "d"), [(300, 2), (300, 10), (300, 64)])
def test_it_is_closer_to_the_optimal_map(n, d):
    X, Y, new, right = gaussians(n, d, d)
    debiased = SinkhornTransport(0.1).fit(X, Y)
    plain = SinkhornTransport(0.1, residual=0).fit(X, Y)
    ratio = error(debiased.transform(new), right(new)) / error(plain.transform(new), right(new))
    assert ratio < 0.8
    there = error(debiased.transform(X), right(X))
    assert there == pytest.approx(error(debiased.transform(new), right(new)), rel=0.35)
    assert_array_equal(SinkhornTransport(0.1).fit_transform(X, Y), debiased.transform(X))


def test_a_plan_on_single_rows_has_no_residual_to_trust():
    X, Y, new, right = gaussians(200, 10, 3)
    auto = SinkhornTransport(0.01).fit(X, Y)
    full = SinkhornTransport(0.01, residual=1.0).fit(X, Y)
    plain = SinkhornTransport(0.01, residual=0).fit(X, Y)
    assert 0.0 < auto.residual_ < 0.6
    errors = [error(t.transform(new), right(new)) for t in (auto, plain, full)]
    assert errors[0] < 1.05 * errors[1] < 0.95 * errors[2]


@pytest.mark.parametrize("cost", [PNorm(power=2.0), PNorm(p=3.0, power=1.5)])
def test_other_costs_follow_a_shift(cost):
    X, Y, _, _ = gaussians(150, 2, 4)
    Y = np.random.default_rng(1).permutation(X) + [3.0, -1.0]
    options = {"cost": cost, "tol": 1e-9}
    transport = SinkhornTransport(0.3, residual=1.0, **options).fit(X, Y)
    plain = SinkhornTransport(0.3, residual=0, **options).fit(X, Y)
    wrong = [np.abs(t.transform(X) - X - [3.0, -1.0]).mean() for t in (transport, plain)]
    # Gradients are averaged, and only for power 2 they are linear in the shift.
    assert wrong[0] < (0.25 if cost.power == 2.0 else 0.9) * wrong[1]
    if cost.power == 2.0:
        squared = SinkhornTransport(transport.epsilon_, residual=1.0, scale_cost=None, tol=1e-9)
        assert_allclose(transport.transform(X), squared.fit(X, Y).transform(X), rtol=1e-6)


def test_the_sphere_is_not_left():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(80, 3)) + [3.0, 0.0, 0.0], rng.normal(size=(70, 3)) + [0.0, 0.0, 2.0]
    X, Y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, Y))
    transport = SinkhornTransport(0.2, cost=SphereGeodesic()).fit(X, Y)
    assert 0.5 < transport.residual_ <= 1.0
    assert_allclose(np.linalg.norm(transport.transform(X), axis=1), 1.0, rtol=1e-9)
    assert_allclose(np.linalg.norm(transport.smooth_target(Y), axis=1), 1.0, rtol=1e-9)


def test_repeated_rows_are_one_row_of_more_weight():
    X, Y, new, _ = gaussians(40, 3, 5)
    times = np.random.default_rng(0).integers(0, 4, size=40)
    options = {"tol": 1e-10, "max_iter": 10_000}
    repeated = SinkhornTransport(**options).fit(np.repeat(X, times, axis=0), Y)
    weighted = SinkhornTransport(**options).fit(X, Y, sample_weight=times)
    assert repeated.residual_ == pytest.approx(weighted.residual_, rel=1e-7)
    assert_allclose(repeated.transform(new), weighted.transform(new), rtol=1e-6)
    assert_allclose(repeated.transform(X), weighted.transform(X), rtol=1e-6)


@pytest.mark.parametrize("d", [2, 10, 50])
@pytest.mark.parametrize("jitter", [1e-8, 1e-3, 1e-2])
def test_rows_that_are_rounded_are_the_same_rows(d, jitter):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(300, d)), 2.0 * rng.normal(size=(300, d))
    for residual in ("auto", 1.0):
        transport = SinkhornTransport(residual=residual).fit(X, Y)
        again = transport.transform(X + jitter * rng.normal(size=X.shape))
        moved = np.linalg.norm(again - transport.transform(X), axis=1)
        assert np.median(moved) < 30 * jitter * np.sqrt(d)


def test_rows_that_went_through_float32_are_the_same_rows():
    X, Y, _, _ = gaussians(200, 30, 6)
    transport = SinkhornTransport(residual=1.0).fit(X, Y)
    rounded = transport.transform(np.float32(X))
    assert_allclose(rounded, transport.transform(X), atol=1e-4)


@pytest.mark.parametrize("d", [2, 30])
def test_target_rows_are_seen_as_the_map_shows_source_rows(d):
    """Two samples of one law go through the same filter."""
    X, Y, new, _ = np.split(np.random.default_rng(7).normal(size=(1000, d)), 4)
    transport = SinkhornTransport(0.2, residual=0.3).fit(X, Y)
    smooth = [
        (transport.transform(X), X),
        (transport.smooth_target(Y), Y),
        (transport.smooth_target(new), new),
    ]
    kept = [after.var(axis=0).sum() / before.var(axis=0).sum() for after, before in smooth]
    assert max(kept) < 0.9
    assert kept[0] == pytest.approx(kept[1], rel=0.1)
    assert kept[2] == pytest.approx(kept[1], rel=0.1)
    assert_allclose(SinkhornTransport(residual=1.0).fit(X, Y).smooth_target(new), new, rtol=1e-9)


def test_nothing_to_smooth_without_a_twist():
    X, Y, _, _ = gaussians(20, 2, 8)
    transport = SinkhornTransport(cost="euclidean").fit(X, Y)
    assert transport.residual_ == 0.0
    for fitted in (transport, SinkhornTransport(residual=0).fit(X, Y)):
        with pytest.raises(NotImplementedError, match="a cost without a twist"):
            fitted.smooth_target(Y)


def test_equal_rows():
    for X in (np.ones((5, 2)), np.repeat([[0.0, 1.0], [2.0, 1.0]], 3, axis=0)):
        transport = SinkhornTransport().fit(X, X + 4.0)
        assert_allclose(transport.transform(X).mean(axis=0), X.mean(axis=0) + 4.0, atol=1e-6)
        assert np.isfinite(transport.smooth_target(X)).all()


# --- the unit, and rows far outside ------------------------------------------------------


def with_far_rows(rows, share, distance, seed):
    rng = np.random.default_rng(seed)
    rows, n = rows.copy(), max(1, round(share * len(rows)))
    directions = rng.normal(size=(n, rows.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    spread = rows.std(axis=0).mean()
    rows[:n] = rows.mean(axis=0) + distance * spread * np.sqrt(rows.shape[1]) * directions
    return rows, np.arange(len(rows)) >= n


@pytest.mark.parametrize("share", [0.003, 0.05])
@pytest.mark.parametrize("distance", [30.0, 100.0])
@pytest.mark.parametrize("d", [2, 10])
def test_a_median_is_not_moved_by_far_rows(share, distance, d):
    X, Y, _, right = gaussians(400, d, 20 + d)
    far_X, kept = with_far_rows(X, share, distance, 1)
    far_Y, _ = with_far_rows(Y, share, distance, 2)
    options = {"scale_cost": "median", "outlier_radius": 5.0}
    clean = SinkhornTransport(scale_cost="median").fit(X, Y)
    dropped = SinkhornTransport(**options).fit(far_X, far_Y)
    robust = SinkhornTransport(scale_cost="median", max_iter=20_000).fit(far_X, far_Y)

    def row_errors(transport):
        return ((transport.transform(X[kept]) - right(X[kept])) ** 2).sum(axis=1)

    assert np.median(row_errors(robust)) < 1.5 * np.median(row_errors(clean))
    assert np.median(row_errors(dropped)) < 1.5 * np.median(row_errors(clean))
    assert row_errors(dropped).mean() < 1.5 * row_errors(clean).mean()
    assert kept[dropped.source_indices_].all()


def test_a_row_that_sets_the_unit_is_warned_of():
    """One row at 1000 raised epsilon 740 times, and every row went to the mean."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(300, 2)), 1.0 + 2.0 * rng.normal(size=(300, 2))
    clean = SinkhornTransport().fit(X, Y)
    X[0] = [1000.0, 0.0]
    with pytest.warns(UserWarning, match=r"1 row\(s\) more than 10 times .* up 100% of the mean"):
        transport = SinkhornTransport().fit(X, Y)
    assert transport.epsilon_ > 100 * clean.epsilon_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for params in ({"scale_cost": "median"}, {"outlier_radius": 5}, {"scale_cost": 10.0}):
            SinkhornTransport(**params).fit(X, Y)


def test_two_clusters_are_no_outliers():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    X[::3] += 500.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SinkhornTransport(residual=0).fit(X, X + 1.0)


@pytest.mark.parametrize("d", [1, 2, 10])
@pytest.mark.parametrize("draw", ["normal", "exponential", "uniform", "laplace"])
def test_distributions_without_outliers_are_not_warned_of(draw, d):
    rng = np.random.default_rng(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(10):
            X, Y = (getattr(rng, draw)(size=(200, d)) for _ in range(2))
            SinkhornTransport(1.0, residual=0, max_iter=500).fit(X, Y)


def test_the_median_of_weighted_rows_is_that_of_repeated_ones():
    X, Y, _, _ = gaussians(60, 2, 9)
    times = np.random.default_rng(1).integers(0, 4, size=60)
    options = {"scale_cost": "median", "outlier_radius": 3.5}
    weighted = SinkhornTransport(**options).fit(X, Y, sample_weight=times)
    repeated = SinkhornTransport(**options).fit(np.repeat(X, times, axis=0), Y)
    assert weighted.epsilon_ == pytest.approx(repeated.epsilon_, rel=1e-9)
    kept = np.repeat(X, times, axis=0)[repeated.source_indices_]
    used = [i for i in weighted.source_indices_ if times[i]]
    assert_array_equal(np.unique(kept, axis=0), np.unique(X[used], axis=0))


def test_half_a_sample_in_one_point_has_no_radius():
    X = np.vstack([np.zeros((30, 2)), np.random.default_rng(0).normal(size=(20, 2))])
    with pytest.raises(ValueError, match="half of a sample is one point"):
        SinkhornTransport(outlier_radius=5).fit(X, X + 1.0)


def test_two_lone_rows_do_not_decide_the_share_of_the_residual():
    """Of next to one neighbour each, which says little of their noise, and that is a lot."""
    X = load_breast_cancer().data[np.random.default_rng(0).permutation(569)]
    X, Y = X[:284], X[284:]
    shares = [SinkhornTransport().fit(X[k:], Y).residual_ for k in range(0, 40, 8)]
    assert min(shares) > 0.4
    assert np.ptp(shares) < 0.2


def test_noise_that_all_rows_have_counts():
    """Between equal spaces rows lie on the averages of the others: there is nothing but noise."""
    grid = np.linspace(0.0, 1.0, 300)[:, None]
    assert SinkhornTransport(0.001).fit(grid, grid + 1.0).residual_ < 0.05


# --- fewer rows ------------------------------------------------------------------------


def test_a_thinned_problem():
    X, Y, new, right = gaussians(600, 2, 10, m=50)
    transport = SinkhornTransport(max_samples=200, random_state=0).fit(X, Y)
    assert transport.source_indices_.shape == (200,)
    assert_array_equal(transport.target_indices_, np.arange(50))
    assert_array_equal(transport.potentials_.x.numpy(), X[transport.source_indices_])
    assert transport.coupling_.shape == (200, 50)
    assert transport.transform(X).shape == X.shape
    again = SinkhornTransport(max_samples=200, random_state=0).fit(X, Y)
    assert_array_equal(again.transform(new), transport.transform(new))
    other = SinkhornTransport(max_samples=200, random_state=1).fit(X, Y)
    assert (other.source_indices_ != transport.source_indices_).any()
    all_rows = SinkhornTransport().fit(X, Y)
    assert error(transport.transform(new), all_rows.transform(new)) < 0.02


def test_rows_keep_their_weights_and_labels():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    X, Y = rng.normal(size=(200, 2)) + 4.0 * labels[:, None], rng.normal(size=(150, 2)) + 2.0
    rows, y, domain = stack_domains(X, Y, labels)
    weights = rng.random(len(rows)) * (rng.random(len(rows)) < 0.5)
    transport = SinkhornTransport(0.2, class_reg=0.5, max_samples=60, random_state=0)
    moved = transport.fit_transform(rows, y, weights, sample_domain=domain)
    assert moved.shape == rows.shape
    of_source = weights[domain >= 0][transport.source_indices_]
    assert (of_source > 0).all()
    assert_allclose(transport.potentials_.a.numpy(), of_source / of_source.sum())


@pytest.mark.parametrize("far_class", ["a", "b", "c"])
def test_a_class_that_is_left_out_moves_like_new_rows(far_class):
    """It has no index in the problem; those of the others stay theirs."""
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b", "c"])[np.arange(90) % 3]
    labels[labels == far_class] = [name for name in "abc" if name != far_class][0]
    labels[0] = far_class
    X, Y = rng.normal(size=(90, 2)), rng.normal(size=(90, 2)) + 2.0
    X[0] = 1e3
    rows, y, domain = stack_domains(X, Y, labels)
    transport = SinkhornTransport(0.2, class_reg=1.0, outlier_radius=5)
    moved = transport.fit_transform(rows, y, sample_domain=domain)[domain >= 0]
    assert_allclose(moved[:1], transport.transform(X[:1]))
    kept, y, domain = stack_domains(X[1:], Y, labels[1:])
    alone = SinkhornTransport(0.2, class_reg=1.0).fit_transform(kept, y, sample_domain=domain)
    assert_allclose(moved[1:], alone[domain >= 0], rtol=1e-6)


def test_a_part_of_a_sample_is_not_left_out_without_a_word():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, 100, 2))
    X[:40] += 20.0
    with pytest.warns(UserWarning, match="leaves out 40 of 100 source rows, 40% of the mass"):
        SinkhornTransport(outlier_radius=5).fit(X, Y)


def test_no_draw_where_nothing_is_left_out():
    X, Y, _, _ = gaussians(30, 2, 11)
    state = np.random.RandomState(0)
    SinkhornTransport(max_samples=30, random_state=state).fit(X, Y)
    assert state.randint(1000) == np.random.RandomState(0).randint(1000)


def test_a_fit_of_minutes_is_announced(monkeypatch):
    """Before it begins, and with what makes it shorter."""

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skot.transport._sinkhorn.estimator.sinkhorn", stop)
    rows = np.random.default_rng(0).normal(size=(60_000, 2))
    with (
        pytest.warns(UserWarning, match=r"about \d+ minutes on one core.*max_samples"),
        pytest.raises(KeyboardInterrupt),
    ):
        SinkhornTransport().fit(rows, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyboardInterrupt):
            SinkhornTransport(max_samples=2000).fit(rows, rows)
