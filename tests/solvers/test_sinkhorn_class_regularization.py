import numpy as np
import ot
import pytest
import torch
from _problems import random_pair, squared_distances

from skot.solvers import GaussianInitializer, sinkhorn, sinkhorn_class_regularized

X, Y, A, B = random_pair(40, 30, 2, shift=0.4)
LABELS = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


def objective(plan, labels, epsilon, class_reg, smoothing=1e-3):
    """From the definition: <C, P> + epsilon KL + class_reg sum_j b_j sum_c sqrt(q_cj + delta)."""
    a, b = plan.sum(1), plan.sum(0)
    entropy = torch.special.xlogy(plan, plan / (a[:, None] * b)).sum()
    masses = torch.stack([plan[labels == c].sum(0) for c in range(int(labels.max()) + 1)])
    penalty = (b * (masses / b + smoothing).sqrt()).sum()
    return float((plan * squared_distances(X, Y)).sum() + epsilon * entropy + class_reg * penalty)


def mixing(plan, labels):
    """Mean over targets of the mass that does not come from the largest class."""
    masses = torch.stack([plan[labels == c].sum(0) for c in range(int(labels.max()) + 1)])
    return 1.0 - float(masses.amax(0).sum())


@pytest.mark.parametrize("class_reg", [0.0, 1e-9])
def test_without_strength_it_is_plain_sinkhorn(class_reg):
    options = {"epsilon": 0.2, "tol": 1e-9}
    plain = sinkhorn(X, Y, A, B, **options)
    regularized = sinkhorn_class_regularized(X, Y, LABELS, A, B, class_reg=class_reg, **options)
    torch.testing.assert_close(
        regularized.sinkhorn.plan.toarray(), plain.plan.toarray(), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("class_reg", [0.1, 1.0, 5.0])
def test_the_objective_decreases_and_is_the_one_that_is_documented(class_reg):
    result = sinkhorn_class_regularized(
        X, Y, LABELS, A, B, epsilon=0.2, class_reg=class_reg, tol=1e-10, max_iter=20_000
    )
    objectives = np.array(result.objectives)
    assert len(objectives) > 1
    assert (np.diff(objectives) <= 1e-9).all()
    plan = result.sinkhorn.plan.toarray()
    expected = objective(plan, LABELS, 0.2, class_reg)
    assert objectives[-1] == pytest.approx(expected, rel=1e-7)
    # The first problem knows no masses yet: it is the plain one.
    plain = sinkhorn(X, Y, A, B, epsilon=0.2, tol=1e-10).plan.toarray()
    assert objectives[0] == pytest.approx(objective(plain, LABELS, 0.2, class_reg), rel=1e-7)
    assert objectives[-1] < objectives[0]


def test_classes_are_kept_apart():
    plain = sinkhorn(X, Y, A, B, epsilon=0.5, tol=1e-7)
    apart = sinkhorn_class_regularized(X, Y, LABELS, A, B, epsilon=0.5, class_reg=5.0, tol=1e-7)
    assert mixing(apart.sinkhorn.plan.toarray(), LABELS) < 0.5 * mixing(
        plain.plan.toarray(), LABELS
    )


def test_agrees_with_pot_under_matched_constants():
    # POT penalises sum_cj sqrt(mass_cj) of masses of the order 1 / m, with uniform b.
    x, y, _, _ = random_pair(40, 30, 2, shift=0.4, uniform=True)
    m, eta, epsilon = len(y), 0.3, 0.2
    ours = sinkhorn_class_regularized(
        x,
        y,
        LABELS,
        epsilon=epsilon,
        class_reg=eta * np.sqrt(m),
        smoothing=1e-3 * m,
        tol=1e-9,
    )
    a, b = np.full(40, 1 / 40), np.full(m, 1 / m)
    theirs = ot.da.sinkhorn_lpl1_mm(
        a,
        LABELS.numpy(),
        b,
        squared_distances(x, y).numpy(),
        epsilon,
        eta=eta,
        numItermax=30,
        numInnerItermax=5000,
        stopInnerThr=1e-10,
    )
    plain = sinkhorn(x, y, epsilon=epsilon, tol=1e-9).plan.toarray().numpy()
    moved = np.abs(theirs - plain).max()
    assert np.abs(ours.sinkhorn.plan.toarray().numpy() - theirs).max() < 0.02 * moved


def test_duplicated_rows_change_nothing():
    options = {"epsilon": 0.2, "class_reg": 1.0, "tol": 1e-10}
    single = sinkhorn_class_regularized(X, Y, LABELS, A, B, **options)
    double = sinkhorn_class_regularized(
        X.repeat(2, 1), Y.repeat(3, 1), LABELS.repeat(2), A.repeat(2), B.repeat(3), **options
    )
    assert double.objectives[-1] == pytest.approx(single.objectives[-1], rel=1e-7)
    folded = double.sinkhorn.plan.toarray().reshape(2, 40, 3, 30).sum((0, 2))
    torch.testing.assert_close(folded, single.sinkhorn.plan.toarray(), rtol=1e-4, atol=1e-7)


def test_known_targets_take_mass_from_their_class():
    truth = (Y[:, 0] > 0.4).long() + (Y[:, 1] > 0.4).long()
    targets = truth.clone()
    targets[::3] = -1
    targets[1] = 17  # a class without source rows is as good as unknown
    known = (targets >= 0) & (targets < 3)
    options = {"epsilon": 0.3, "class_reg": 2.0, "tol": 1e-8}
    blind = sinkhorn_class_regularized(X, Y, LABELS, A, B, **options)
    told = sinkhorn_class_regularized(X, Y, LABELS, A, B, target_labels=targets, **options)
    right = []
    for result in (blind, told):
        plan = result.sinkhorn.plan.toarray()
        own = torch.stack([plan[c == LABELS].sum(0) for c in range(3)])
        right.append(float(own[targets[known], known].sum() / B[known].sum()))
    assert right[1] > right[0] + 0.05
    unknown = sinkhorn_class_regularized(
        X, Y, LABELS, A, B, target_labels=np.full(30, -1), **options
    )
    assert unknown.objectives == blind.objectives


def test_the_class_cost_that_is_returned_belongs_to_the_plan():
    result = sinkhorn_class_regularized(X, Y, LABELS, A, B, epsilon=0.2, class_reg=1.0, tol=1e-9)
    cost = squared_distances(X, Y) + result.class_cost[LABELS]
    f, g = result.sinkhorn.f, result.sinkhorn.g
    plan = A[:, None] * B * torch.exp((f[:, None] + g - cost) / 0.2)
    torch.testing.assert_close(plan, result.sinkhorn.plan.toarray(), rtol=1e-7, atol=1e-14)


def test_weights_of_zero_and_other_costs():
    a, b = A.clone(), B.clone()
    a[:3], b[5:9] = 0.0, 0.0
    for cost in (None, "cityblock"):
        result = sinkhorn_class_regularized(
            X, Y, LABELS, a, b, cost=cost, epsilon=0.2, class_reg=1.0, tol=1e-8
        )
        assert result.sinkhorn.converged
        assert torch.isfinite(result.sinkhorn.f).all()
        assert torch.isfinite(result.class_cost).all()
        assert np.isfinite(result.objectives).all()


def test_errors_and_passes_of_all_problems_are_counted():
    seen = []
    result = sinkhorn_class_regularized(
        X, Y, LABELS, epsilon=0.2, class_reg=1.0, on_iteration=lambda i, state: seen.append(i)
    )
    assert seen == list(range(len(result.errors)))
    assert len(result.errors) <= result.n_iter
    assert result.n_iter > result.sinkhorn.n_iter


def test_a_stop_ends_all_problems():
    calls = []

    def stop(i, state):
        calls.append(i)
        return i == 2

    result = sinkhorn_class_regularized(
        X, Y, LABELS, epsilon=0.01, class_reg=1.0, on_iteration=stop
    )
    assert calls == [0, 1, 2]
    assert len(result.objectives) == 1


def test_an_initializer_is_for_the_first_problem():
    options = {"epsilon": 0.2, "class_reg": 1.0, "tol": 1e-9}
    ours = sinkhorn_class_regularized(X, Y, LABELS, initializer=GaussianInitializer(), **options)
    theirs = sinkhorn_class_regularized(X, Y, LABELS, **options)
    assert ours.objectives[-1] == pytest.approx(theirs.objectives[-1], rel=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": LABELS[:-1]}, "labels must hold 40 integers, one class index per point"),
        ({"labels": LABELS.double()}, "labels must hold 40 integers"),
        ({"labels": LABELS - 1}, "labels must not be negative"),
        ({"target_labels": [0]}, "target_labels must hold 30 integers"),
        ({"class_reg": -1.0}, "class_reg must be a number of at least 0"),
        ({"class_reg": np.nan}, "class_reg must be a number of at least 0"),
        ({"smoothing": 0.0}, "smoothing a positive number"),
        ({"epsilon": 0.0}, "epsilon must be a positive number"),
    ],
)
def test_bad_input(change, message):
    arguments = {"x": X, "y": Y, "labels": LABELS, "epsilon": 0.2, "class_reg": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        sinkhorn_class_regularized(**arguments)
