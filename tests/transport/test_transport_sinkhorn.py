"""The entropic transport: its map, its labels, its parameters, its progress."""

import io
import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch
from _problems import EntropicGaussian, normal_weights, numpy_samples
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline

from skot import SinkhornTransport
from skot.costs import Cost, Euclidean, PNorm, SquaredEuclidean
from skot.solvers import GaussianInitializer, ZerosInitializer
from skot.utils import stack_domains

X, Y = numpy_samples()
LABELS = (X[:, 0] > 0).astype(int)


class DiagonalMahalanobis(Cost):
    """A user's own cost: two methods."""

    def __init__(self, precision=(4.0, 0.25)):
        self.precision = precision

    def pairwise(self, x, y):
        return (x[:, None] - y[None]).square() @ x.new_tensor(self.precision)

    def twist(self, x, gradient):
        return x - 0.5 * gradient / x.new_tensor(self.precision)


# --- what fit leaves behind ------------------------------------------------------------


def test_fitted_attributes():
    transport = SinkhornTransport().fit(X, Y)
    assert transport.coupling_.shape == (len(X), len(Y))
    assert transport.converged_
    assert transport.marginal_error_ <= transport.tol
    assert len(transport.loss_curve_) <= transport.n_iter_ < transport.max_iter
    assert transport.loss_curve_[-1] == pytest.approx(transport.marginal_error_, abs=1e-4)
    assert isinstance(transport.cost_, SquaredEuclidean)
    assert transport.transform(X).shape == X.shape
    assert transport.inverse_transform(Y).shape == Y.shape
    assert transport.dual_value_ == pytest.approx(transport.potentials_.dual_value, rel=1e-9)


def test_marginals_of_the_coupling():
    weights = np.random.RandomState(0).rand(len(X)) + 0.1
    transport = SinkhornTransport(tol=1e-8).fit(X, Y, weights)
    coupling = transport.coupling_
    assert (coupling >= 0).all()
    assert_allclose(coupling.sum(axis=1), weights / weights.sum(), rtol=1e-12)
    assert np.abs(coupling.sum(axis=0) - 1.0 / len(Y)).sum() <= 1.1e-8


def test_zero_weights_keep_their_rows_in_the_coupling():
    rows, _, sample_domain = stack_domains(X, Y)
    weights = np.ones(len(rows))
    source, target = np.flatnonzero(sample_domain > 0), np.flatnonzero(sample_domain < 0)
    weights[source[3]] = weights[target[5]] = 0.0
    coupling = SinkhornTransport().fit(rows, None, weights, sample_domain=sample_domain).coupling_
    assert coupling.shape == (len(X), len(Y))
    assert_array_equal(coupling[3], 0.0)
    assert_array_equal(coupling[:, 5], 0.0)
    removed = SinkhornTransport().fit(np.delete(X, 3, 0), np.delete(Y, 5, 0)).coupling_
    kept = np.delete(np.delete(coupling, 3, 0), 5, 1)
    assert_allclose(kept, removed, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("class_reg", [0.0, 1.0])
def test_sparse_coupling_holds_the_heaviest_entries_of_the_coupling(class_reg):
    rows, labels, sample_domain = stack_domains(X, Y, LABELS)
    transport = SinkhornTransport(class_reg=class_reg)
    transport.fit(rows, labels, sample_domain=sample_domain)
    dense = transport.coupling_
    sparse = transport.sparse_coupling(0.9)
    kept = sparse.plan.toarray()
    assert_array_equal(kept[kept > 0], dense[kept > 0])
    # No entry that is left out of a row is heavier than one that is kept, or could have been too.
    lightest = np.where(kept > 0, kept, np.inf).min(axis=1)
    assert (np.where(kept > 0, 0.0, dense).max(axis=1) <= lightest).all()
    share = kept.sum(axis=1) / dense.sum(axis=1)
    assert share.min() >= 0.9 - 1e-12
    assert ((kept.sum(axis=1) - lightest) / dense.sum(axis=1)).max() < 0.9
    assert sparse.lost_mass == pytest.approx(1.0 - kept.sum(), abs=1e-12)
    capped = transport.sparse_coupling(0.9, max_per_row=2)
    assert_array_equal(np.diff(capped.plan.indptr), np.minimum(np.diff(sparse.plan.indptr), 2))
    assert capped.lost_mass > sparse.lost_mass
    assert_array_equal(transport.sparse_coupling(1.0).plan.toarray(), dense)
    with pytest.raises(ValueError, match="mass"):
        transport.sparse_coupling(1.5)


def test_sparse_coupling_needs_a_fit():
    with pytest.raises(NotFittedError):
        SinkhornTransport().sparse_coupling()


@pytest.mark.parametrize("class_reg", [0.0, 1.0])
def test_cost_value_is_the_cost_of_the_coupling(class_reg):
    rows, labels, sample_domain = stack_domains(X, Y, LABELS)
    transport = SinkhornTransport(class_reg=class_reg)
    transport.fit(rows, labels, sample_domain=sample_domain)
    expected = (cdist(X, Y, "sqeuclidean") * transport.coupling_).sum()
    assert transport.cost_value_ == pytest.approx(expected, rel=1e-10)


def test_dual_value_is_the_primal_value():
    transport = SinkhornTransport(tol=1e-9).fit(X, Y)
    coupling = transport.coupling_
    entropy = (coupling * np.log(coupling * coupling.size)).sum()
    primal = transport.cost_value_ + transport.epsilon_ * entropy
    assert transport.dual_value_ == pytest.approx(primal, rel=1e-7)


# --- the map ---------------------------------------------------------------------------


def test_closed_form_between_gaussians():
    """Normal densities as weights on grids; the entropic map between normals is affine."""
    solution = EntropicGaussian(mean_a=0.5, sd_a=1.0, mean_b=2.0, sd_b=0.6, epsilon=0.8)
    x = torch.linspace(-8.0, 9.0, 320, dtype=torch.float64)
    y = torch.linspace(-3.5, 7.5, 300, dtype=torch.float64)
    weights = torch.cat([normal_weights(x, 0.5, 1.0), normal_weights(y, 2.0, 0.6)])
    rows = torch.cat([x, y])[:, None].numpy()
    sample_domain = np.repeat([1, -1], [320, 300])
    transport = SinkhornTransport(0.8, residual=0, scale_cost=None, tol=1e-9)
    transport.fit(rows, None, weights.numpy(), sample_domain=sample_domain)
    new = np.array([[-0.7], [0.31], [2.2]])
    assert_allclose(transport.transform(new), solution.map(new), rtol=1e-6)
    assert_allclose(transport.inverse_transform(new), solution.swapped.map(new), rtol=1e-6)
    assert transport.dual_value_ == pytest.approx(solution.value, rel=1e-6)
    assert transport.cost_value_ == pytest.approx(solution.transport_cost, rel=1e-6)


def test_training_rows_go_to_the_barycentre_of_the_plan():
    transport = SinkhornTransport(residual=0).fit(X, Y)
    expected = transport.coupling_ @ Y * len(X)
    assert_allclose(transport.transform(X), expected, rtol=1e-9)
    assert_allclose(SinkhornTransport(residual=0).fit_transform(X, Y), expected, rtol=1e-9)


def test_a_translation_is_found():
    moved = SinkhornTransport(0.001, residual=0).fit(X, X + [30.0, -7.0]).transform(X)
    assert_allclose(moved - X, np.tile([30.0, -7.0], (len(X), 1)), atol=0.02)


@pytest.mark.parametrize("size", [1e3, 1e100, 1e200, 1e300])
def test_rows_far_away_go_to_the_farthest_target_in_their_direction(size):
    transport = SinkhornTransport(residual=0).fit(X, Y)
    directions = np.array([[1.0, 0.0], [-1.0, 0.5], [0.3, -1.0]])
    expected = Y[(directions @ Y.T).argmax(axis=1)]
    assert_allclose(transport.transform(size * directions), expected, rtol=1e-9)
    back = X[(directions @ X.T).argmax(axis=1)]
    assert_allclose(transport.inverse_transform(size * directions), back, rtol=1e-9)


@pytest.mark.parametrize("cost", [PNorm(p=2.0, power=1.5), PNorm(p=3.0, power=2.0)])
def test_rows_far_away_stay_finite_for_other_costs(cost):
    transport = SinkhornTransport(0.2, cost=cost).fit(X, Y)
    far = transport.transform([[1e200, 0.0], [-1e30, 1e200], [0.0, 0.0]])
    assert np.isfinite(far).all()


def test_cost_without_a_twist_has_a_plan_but_no_map():
    transport = SinkhornTransport(cost="euclidean").fit(X, Y)
    expected = (cdist(X, Y) * transport.coupling_).sum()
    assert transport.cost_value_ == pytest.approx(expected, rel=1e-10)
    for method, rows in (("transform", X), ("inverse_transform", Y), ("score", X)):
        with pytest.raises(NotImplementedError, match="Euclidean"):
            getattr(transport, method)(rows)


def test_cost_of_a_user():
    root = np.sqrt([4.0, 0.25])
    cost = DiagonalMahalanobis()
    # Only the squared Euclidean cost knows of the sizes of samples, by which residuals are scaled.
    options = {"residual": 0, "scale_cost": None, "tol": 1e-8}
    transport = SinkhornTransport(0.3, cost=cost, **options).fit(X, Y)
    plain = SinkhornTransport(0.3, **options).fit(X * root, Y * root)
    assert_allclose(transport.transform(X), plain.transform(X * root) / root, rtol=1e-5)
    assert_allclose(
        transport.inverse_transform(Y), plain.inverse_transform(Y * root) / root, rtol=1e-5
    )
    assert_array_equal(pickle.loads(pickle.dumps(transport)).transform(X), transport.transform(X))


def test_power_of_the_euclidean_distance_is_the_squared_euclidean_cost():
    power = SinkhornTransport(0.3, cost=PNorm(power=2.0), scale_cost=None, tol=1e-9).fit(X, Y)
    plain = SinkhornTransport(0.3, scale_cost=None, tol=1e-9).fit(X, Y)
    assert_allclose(power.transform(X), plain.transform(X), rtol=1e-6)


# --- labels ----------------------------------------------------------------------------


def fit_labelled(labels, target_labels, **params):
    rows, _, sample_domain = stack_domains(X, Y)
    stacked = np.empty(len(rows), dtype=np.result_type(labels, target_labels))
    stacked[sample_domain > 0], stacked[sample_domain < 0] = labels, target_labels
    transport = SinkhornTransport(**{"class_reg": 1.0, "epsilon": 0.2, "residual": 0} | params)
    moved = transport.fit_transform(rows, stacked, sample_domain=sample_domain)
    return transport, moved[sample_domain > 0]


UNKNOWN = np.full(len(Y), -1)
HALF_KNOWN = np.where(np.arange(len(Y)) % 2, (Y[:, 0] > 3.0).astype(int), -1)


@pytest.mark.parametrize("target_labels", [UNKNOWN, HALF_KNOWN], ids=["unknown", "half known"])
def test_labelled_rows_go_to_the_barycentre_of_their_plan(target_labels):
    transport, moved = fit_labelled(LABELS, target_labels)
    coupling = transport.coupling_
    assert_allclose(coupling.sum(axis=1), 1.0 / len(X), rtol=1e-9)
    assert np.abs(coupling.sum(axis=0) - 1.0 / len(Y)).sum() <= 2e-4
    assert_allclose(moved, coupling @ Y * len(X), rtol=1e-9)
    assert np.abs(transport.transform(X) - moved).max() > 0.01


def test_labelled_rows_with_weights():
    weights = np.random.RandomState(1).rand(len(X)) + 0.1
    rows, labels, sample_domain = stack_domains(X, Y, LABELS)
    all_weights = np.ones(len(rows))
    all_weights[sample_domain > 0] = weights
    transport = SinkhornTransport(0.2, residual=0, class_reg=1.0)
    moved = transport.fit_transform(rows, labels, all_weights, sample_domain=sample_domain)
    expected = transport.coupling_ @ Y / (weights / weights.sum())[:, None]
    assert_allclose(moved[sample_domain > 0], expected, rtol=1e-9)


def test_classes_are_kept_apart():
    def largest_share(transport):
        coupling = transport.coupling_
        shares = np.stack([coupling[c == LABELS].sum(axis=0) for c in (0, 1)])
        return shares.max(axis=0).sum()

    plain, _ = fit_labelled(LABELS, UNKNOWN, class_reg=0.0)
    apart, _ = fit_labelled(LABELS, UNKNOWN, class_reg=2.0)
    assert largest_share(apart) > largest_share(plain) + 0.05


def test_known_targets_take_mass_from_their_class():
    known = (Y[:, 0] > np.median(Y[:, 0])).astype(int)
    known = 1 - known if LABELS.mean() < 0.5 else known
    transport, _ = fit_labelled(LABELS, known, class_reg=5.0, epsilon=0.2)
    unlabelled, _ = fit_labelled(LABELS, UNKNOWN, class_reg=5.0, epsilon=0.2)
    same = np.equal.outer(LABELS, known)
    assert transport.coupling_[same].sum() > unlabelled.coupling_[same].sum() + 0.05


def test_labels_are_not_used_without_class_reg():
    transport, moved = fit_labelled(LABELS, UNKNOWN, class_reg=0.0, residual="auto")
    plain = SinkhornTransport(0.2).fit(X, Y)
    assert_allclose(moved, plain.transform(X), rtol=1e-6)
    assert_allclose(transport.transform(X), moved, rtol=1e-12)


def test_the_marks_of_unknown_labels():
    _, expected = fit_labelled(LABELS, HALF_KNOWN)
    _, nothing_known = fit_labelled(LABELS, UNKNOWN)
    assert np.abs(expected - nothing_known).max() > 1e-3
    as_floats = np.where(HALF_KNOWN < 0, np.nan, HALF_KNOWN)
    names = np.array(["cat", "dog"], dtype=object)
    as_strings = np.where(HALF_KNOWN < 0, None, names[HALF_KNOWN])
    for labels, target_labels in ((LABELS.astype(float), as_floats), (names[LABELS], as_strings)):
        assert_allclose(fit_labelled(labels, target_labels)[1], expected, rtol=1e-12)
    # A class that the source does not have tells nothing about where mass comes from.
    elsewhere = np.where(HALF_KNOWN < 0, -7, HALF_KNOWN)
    assert_allclose(fit_labelled(LABELS, elsewhere)[1], expected, rtol=1e-12)


def test_minus_one_is_a_class_when_the_source_has_it():
    known = (Y[:, 0] > 3.0).astype(int)
    _, expected = fit_labelled(LABELS, known)
    _, moved = fit_labelled(2 * LABELS - 1, 2 * known - 1)
    assert_allclose(moved, expected, rtol=1e-12)


def test_fixed_width_strings_and_tensors_as_labels():
    _, expected = fit_labelled(LABELS, (Y[:, 0] > 3.0).astype(int))
    names = np.array(["cat", "horse"])
    _, moved = fit_labelled(names[LABELS], names[(Y[:, 0] > 3.0).astype(int)])
    assert_allclose(moved, expected, rtol=1e-12)
    rows, labels, sample_domain = stack_domains(X, Y, LABELS)
    arrays = SinkhornTransport(class_reg=1.0)
    tensors = clone(arrays)
    moved = tensors.fit_transform(
        torch.from_numpy(rows), torch.from_numpy(labels), sample_domain=sample_domain
    )
    assert_allclose(
        moved, arrays.fit_transform(rows, labels, sample_domain=sample_domain), rtol=1e-12
    )


def test_labelled_rows_and_the_reference():
    transport = SinkhornTransport(0.2, residual=0, class_reg=1.0, random_state=0)
    moved = transport.fit_transform(X, LABELS)
    points = transport.potentials_.y.numpy()
    assert_allclose(moved, transport.coupling_ @ points * len(X), rtol=1e-9)


@pytest.mark.parametrize("y", [None, Y], ids=["nothing", "target"])
def test_class_reg_without_labels(y):
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        SinkhornTransport(class_reg=1.0).fit(X, y)


def test_class_reg_with_a_regression_target():
    with pytest.raises(ValueError, match="Unknown label type"):
        SinkhornTransport(class_reg=1.0).fit(X, X[:, 0])


def test_a_refit_without_class_reg_forgets_the_classes():
    rows, labels, sample_domain = stack_domains(X, Y, LABELS)
    transport = SinkhornTransport(class_reg=1.0).fit(rows, labels, sample_domain=sample_domain)
    transport.set_params(class_reg=0.0)
    moved = transport.fit_transform(rows, labels, sample_domain=sample_domain)
    expected = SinkhornTransport().fit_transform(rows, sample_domain=sample_domain)
    assert_array_equal(moved, expected)


# --- parameters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scale_cost, unit",
    [
        ("mean", X.var(axis=0).sum() + Y.var(axis=0).sum()),
        (None, 1.0),
        (2.5, 2.5),
    ],
)
def test_scale_cost(scale_cost, unit):
    transport = SinkhornTransport(0.1, scale_cost=scale_cost).fit(X, Y)
    assert transport.epsilon_ == pytest.approx(0.1 * unit)
    assert transport.potentials_.epsilon == transport.epsilon_
    assert SinkhornTransport(0.1, scale_cost=scale_cost).fit(X, Y + 50.0).epsilon_ == pytest.approx(
        transport.epsilon_
    )


def test_scale_cost_of_another_cost_is_its_mean():
    transport = SinkhornTransport(0.1, cost="euclidean").fit(X, Y)
    assert transport.epsilon_ == pytest.approx(0.1 * cdist(X, Y).mean())


def test_scale_cost_is_weighted():
    counts = 1 + np.arange(len(X)) % 3
    weighted = SinkhornTransport(0.1).fit(X, Y, counts)
    assert weighted.epsilon_ == pytest.approx(
        SinkhornTransport(0.1).fit(np.repeat(X, counts, axis=0), Y).epsilon_
    )
    assert weighted.epsilon_ != pytest.approx(SinkhornTransport(0.1).fit(X, Y).epsilon_, rel=1e-3)


@pytest.mark.parametrize("initializer", [GaussianInitializer(), ZerosInitializer()])
def test_the_start_does_not_change_the_solution(initializer):
    transport = SinkhornTransport(0.1, initializer=initializer, tol=1e-9).fit(X, Y)
    assert transport.get_params()["initializer"] is initializer
    assert_allclose(
        transport.transform(X), SinkhornTransport(0.1, tol=1e-9).fit(X, Y).transform(X), rtol=1e-6
    )
    assert transport.loss_curve_ != SinkhornTransport(0.1, tol=1e-9).fit(X, Y).loss_curve_


def test_gaussian_initializer_needs_the_squared_cost():
    with pytest.raises(ValueError, match="squared Euclidean"):
        SinkhornTransport(cost="euclidean", initializer=GaussianInitializer()).fit(X, Y)


@pytest.mark.parametrize(
    "params",
    [
        {"epsilon": 0.0},
        {"epsilon": -1.0},
        {"epsilon": float("nan")},
        {"epsilon": "small"},
        {"scale_cost": 0.0},
        {"scale_cost": "mode"},
        {"residual": 1.5},
        {"residual": "all"},
        {"outlier_radius": 0.5},
        {"max_samples": 1},
        {"class_reg": -0.1},
        {"initializer": "gaussian"},
        {"initializer": GaussianInitializer},
        {"max_iter": 0},
        {"max_iter": 2.5},
        {"tol": 0.0},
        {"cost": 3},
        {"verbose": "yes"},
    ],
    ids=str,
)
def test_bad_parameters(params):
    transport = SinkhornTransport(**params)
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter"):
        transport.fit(X, Y)
    assert not hasattr(transport, "n_features_in_")


def test_bad_costs():
    with pytest.raises(ValueError, match="minkowski"):
        SinkhornTransport(cost="minkowski").fit(X, Y)
    with pytest.raises(ValueError, match="The 'p' parameter of PNorm"):
        SinkhornTransport(cost=PNorm(p=0.5)).fit(X, Y)
    with pytest.raises(ValueError, match=r"Pass an instance, for example SinkhornTransport\(cost="):
        SinkhornTransport().set_params(cost__p=3.0)
    assert SinkhornTransport(cost=PNorm()).set_params(cost__p=3.0).cost.p == 3.0


def test_the_cost_of_the_user_is_cloned():
    cost = Euclidean()
    transport = SinkhornTransport(cost=cost).fit(X, Y)
    assert transport.cost is cost
    assert transport.cost_ is not cost


# --- convergence and progress ----------------------------------------------------------


@pytest.mark.parametrize("class_reg", [0.0, 1.0])
def test_one_warning_without_convergence(class_reg):
    rows, labels, sample_domain = stack_domains(X, Y, LABELS)
    transport = SinkhornTransport(0.01, residual=0, class_reg=class_reg, max_iter=2, tol=1e-13)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transport.fit(rows, labels, sample_domain=sample_domain)
    (warning,) = caught
    assert warning.category is ConvergenceWarning
    assert f"{transport.marginal_error_:.1e}" in str(warning.message)
    assert "Increase max_iter" in str(warning.message)
    assert not transport.converged_
    # The error is that of the plan, and the estimator is usable.
    achieved = np.abs(transport.coupling_.sum(axis=0) - 1.0 / len(Y)).sum()
    assert transport.marginal_error_ == pytest.approx(achieved, rel=1e-6)
    assert np.isfinite(transport.transform(X)).all()


@pytest.mark.parametrize("wrap", [lambda transport: transport, make_pipeline])
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_the_warning_points_to_the_line_of_the_caller(wrap, method):
    transport = wrap(SinkhornTransport(0.01, max_iter=2, tol=1e-13))
    with pytest.warns(ConvergenceWarning) as caught:
        getattr(transport, method)(X, Y)
    assert [warning.filename for warning in caught] == [__file__]


def test_no_more_passes_than_allowed():
    with pytest.warns(ConvergenceWarning, match="after 3 iterations"):
        transport = SinkhornTransport(0.01, max_iter=3, tol=1e-13).fit(X, Y)
    assert len(transport.loss_curve_) <= transport.n_iter_ == 3


class Stop:
    """Ends the fit after some iterations."""

    def __init__(self, after):
        self.after = after
        self.n_seen = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "iteration":
            self.n_seen += 1
        return context.task_name == "iteration" and self.n_seen >= self.after


@pytest.mark.parametrize("class_reg", [0.0, 1.0])
def test_a_callback_stops_the_fit(class_reg):
    rows, labels, sample_domain = stack_domains(X, Y, LABELS)
    transport = SinkhornTransport(0.01, class_reg=class_reg, tol=1e-13).set_callbacks(Stop(2))
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        transport.fit(rows, labels, sample_domain=sample_domain)
    # The solver closes with one more pass, for potentials that belong together.
    assert 2 <= len(transport.loss_curve_) <= 3
    assert np.isfinite(transport.transform(X)).all()


@pytest.mark.parametrize("class_reg", [0.0, 1.0])
def test_callbacks_change_nothing(class_reg):
    rows, labels, sample_domain = stack_domains(X, Y, LABELS)
    watched, plain = (SinkhornTransport(class_reg=class_reg) for _ in range(2))
    watcher = Stop(after=10**9)
    watched.set_callbacks(watcher).fit(rows, labels, sample_domain=sample_domain)
    plain.fit(rows, labels, sample_domain=sample_domain)
    assert_array_equal(watched.coupling_, plain.coupling_)
    assert watched.n_iter_ == plain.n_iter_
    assert watcher.n_seen >= len(plain.loss_curve_)


def test_progress_bar(capsys):
    SinkhornTransport().fit(X, Y)
    assert capsys.readouterr().out == ""
    SinkhornTransport().set_callbacks(ProgressBar()).fit(X, Y)
    assert "SinkhornTransport - fit" in capsys.readouterr().out
    verbose = SinkhornTransport(verbose=True).fit(X, Y)
    assert "SinkhornTransport - fit" in capsys.readouterr().out
    assert_array_equal(verbose.transform(X), SinkhornTransport().fit(X, Y).transform(X))
    pickle.dumps(verbose)


# --- size ------------------------------------------------------------------------------


def test_a_large_fit_is_small_on_disk():
    x, y = numpy_samples(3000, 3000)
    transport = SinkhornTransport(tol=1e-2).fit(x, y)
    buffer = io.BytesIO()
    joblib.dump(transport, buffer)
    assert buffer.tell() < 1e6
    assert len(pickle.dumps(transport)) < 1e6
    buffer.seek(0)
    assert_array_equal(joblib.load(buffer).transform(x[:50]), transport.transform(x[:50]))
