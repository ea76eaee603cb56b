"""What scikit-learn and this package ask of every transport."""

import copy
import io
import pickle
from dataclasses import replace
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
import torch
from _problems import numpy_samples
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skot import (
    GaussianTransport,
    LagrangianOT,
    MetaOTRegressor,
    NeuralOT,
    SinkhornTransport,
    W2GNTransport,
)
from skot.costs import HillObstacle, KineticPotential
from skot.losses import WeakQuadratic
from skot.metrics import split_sinkhorn_divergence
from skot.model_selection import DomainKFold
from skot.networks import ConditionalMLP, DualMLP, MLPMap, MLPPotential, SplinePath
from skot.training import Adam, CosineSchedule
from skot.utils import stack_domains
from skot.utils.estimator_checks import parametrize_with_transport_checks


def small_w2gn(**params):
    """Return a neural transport that is fitted in a tenth of a second."""
    networks = {"potential": MLPPotential((16, 16)), "amortizer": MLPMap((16, 16))}
    return W2GNTransport(**networks, max_iter=20, **params)


def small_neural_ot(**params):
    """Return one for a strong cost, fitted as fast."""
    networks = {"potential": MLPPotential((16, 16)), "transport_map": MLPMap((16, 16))}
    return NeuralOT(**{**networks, "max_iter": 10, "n_map_steps": 2, **params})


def small_weak_ot(**params):
    """Return one for a weak cost, fitted as fast."""
    return small_neural_ot(
        cost=WeakQuadratic(gamma=0.9), transport_map=ConditionalMLP((16, 16)), **params
    )


def small_lagrangian(lagrangian=None, **params):
    """Return one with least-action costs."""
    networks = {
        "potential": MLPPotential((16, 16)),
        "amortizer": MLPMap((16, 16)),
        "path": SplinePath(4, hidden_layer_sizes=(16,)),
    }
    return LagrangianOT(lagrangian, **{**networks, "max_iter": 20, **params})


HILL = KineticPotential(HillObstacle(strength=0.1))


def small_meta(**params):
    """Return a regressor that is fitted as fast."""
    return MetaOTRegressor(network=DualMLP((32, 32)), max_iter=200, **params)


TRANSPORTS = [
    SinkhornTransport(random_state=0),
    GaussianTransport(random_state=0),
    small_w2gn(random_state=0),
    small_neural_ot(fit_inverse_transform=True, random_state=0),
    small_weak_ot(fit_inverse_transform=True, random_state=0),
    small_lagrangian(random_state=0),
    small_lagrangian(HILL, max_iter=5, random_state=0),
]
each_transport = pytest.mark.parametrize(
    "transport", TRANSPORTS, ids=lambda transport: type(transport).__name__
)
each_weighted_transport = pytest.mark.parametrize(
    "transport", TRANSPORTS[:2], ids=lambda transport: type(transport).__name__
)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture
def samples():
    return numpy_samples()


@pytest.fixture
def stacked(samples):
    rows, _, sample_domain = stack_domains(*samples)
    return rows, sample_domain


# Scikit-learn's checks, as some of ours, look at other things than the covariance of few rows.
few_rows = pytest.mark.filterwarnings("ignore:GaussianTransport estimates:UserWarning")

# --- the checks of scikit-learn and of skot --------------------------------------------

ALL_ESTIMATORS = [
    SinkhornTransport(),
    GaussianTransport(),
    small_w2gn(),
    small_neural_ot(),
    small_weak_ot(),
    small_lagrangian(),
    small_lagrangian(HILL, max_iter=5),
    small_meta(),
]


@few_rows
@parametrize_with_checks(ALL_ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    with sklearn.config_context(enable_metadata_routing=False):
        check(estimator)


@few_rows
@parametrize_with_checks(ALL_ESTIMATORS)
def test_scikit_learn_checks_with_routing(estimator, check):
    with sklearn.config_context(enable_metadata_routing=True):
        check(estimator)


@parametrize_with_transport_checks(
    [
        SinkhornTransport(),
        SinkhornTransport(reference="uniform"),
        GaussianTransport(),
        small_w2gn(),
        small_w2gn(preconditioning="identity"),
        small_neural_ot(),
        small_weak_ot(),
        small_weak_ot(fit_inverse_transform=True),
        small_lagrangian(),
        small_lagrangian(HILL),
    ]
)
def test_transport_checks(estimator, check):
    check(estimator)


# --- shapes, containers, copies --------------------------------------------------------


@each_transport
def test_not_fitted(transport, samples):
    for method in ("transform", "inverse_transform", "score"):
        with pytest.raises(NotFittedError):
            getattr(clone(transport), method)(samples[0])


def plain_params(estimator):
    """Parameters, those of components among them, without the components themselves."""
    params = estimator.get_params().items()
    return {key: value for key, value in params if not isinstance(value, BaseEstimator)}


@each_transport
def test_clone_keeps_parameters(transport):
    twin = clone(transport.set_params(reference="uniform"))
    transport.set_params(reference="normal")
    assert plain_params(twin) == plain_params(transport) | {"reference": "uniform"}


@each_transport
def test_sample_domain_is_requested_by_default(transport, routing):
    requests = transport.get_metadata_routing()
    for method in ("fit", "transform", "score"):
        assert getattr(requests, method).requests["sample_domain"] is True
    if isinstance(transport, W2GNTransport | NeuralOT | LagrangianOT):
        assert requests.partial_fit.requests["sample_domain"] is True
    else:
        assert requests.fit.requests["sample_weight"] is None


@each_transport
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(transport, library, samples):
    frame = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[library]
    X, Y = (frame(dict(zip(("width", "height"), rows.T, strict=True))) for rows in samples)
    expected = clone(transport).fit(*samples).transform(samples[0])
    fitted = clone(transport).set_output(transform=library).fit(X, Y)
    moved = fitted.transform(X)
    assert isinstance(moved, frame)
    assert list(moved.columns) == ["width", "height"]
    assert list(fitted.feature_names_in_) == ["width", "height"]
    assert_allclose(moved.to_numpy(), expected, rtol=1e-12)
    assert isinstance(clone(transport).set_output(transform=library).fit_transform(X, Y), frame)
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(X[["height", "width"]])


def test_set_output_keeps_the_index(samples):
    X = pd.DataFrame(samples[0], index=np.arange(len(samples[0])) + 100, columns=["u", "v"])
    fitted = GaussianTransport().set_output(transform="pandas").fit(X, samples[1])
    assert_array_equal(fitted.transform(X).index, X.index)


def arrow_frame(columns):
    pytest.importorskip("pyarrow")
    return pd.DataFrame(columns).astype("float32[pyarrow]")


FLOAT32_FRAMES = {
    "polars": pl.DataFrame,
    "pandas": pd.DataFrame,
    "pandas, nullable": lambda columns: pd.DataFrame(columns).astype("Float32"),
    "pandas, one nullable": lambda columns: pd.DataFrame(columns).astype({"u": "Float32"}),
    "pandas, arrow": arrow_frame,
}


@each_transport
@pytest.mark.parametrize("kind", FLOAT32_FRAMES)
def test_float32_frames_stay_float32(transport, kind, samples):
    """As arrays do; scikit-learn's own checks make float64 of what is not NumPy's."""
    X, Y = (rows.astype(np.float32) for rows in samples)
    frames = [FLOAT32_FRAMES[kind](dict(zip("uv", rows.T, strict=True))) for rows in (X, Y)]
    plain = clone(transport).fit(X, Y)
    fitted = clone(transport).fit(*frames)
    for moved in (fitted.transform(frames[0]), clone(transport).fit_transform(*frames)):
        assert moved.dtype == np.float32
        assert_allclose(moved, plain.transform(X), rtol=1e-4, atol=1e-5)
    assert fitted.inverse_transform(frames[1]).dtype == np.float32
    library = kind.partition(",")[0]
    moved = fitted.set_output(transform=library).transform(frames[0])
    types = {"pandas": [np.float32] * 2, "polars": [pl.Float32] * 2}[library]
    assert list(moved.dtypes) == types


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"u": [0.0, 1.0], "v": [1.0, 2.0]}, schema={"u": pl.Float32, "v": pl.Float64}),
        pl.DataFrame({"u": [0, 1], "v": [1.0, 2.0]}, schema={"u": pl.Int32, "v": pl.Float32}),
        pd.DataFrame({"u": [0.0, 1.0], "v": [1.0, 2.0]}).astype({"u": "Float32"}),
        pd.DataFrame({"u": [0.0, 1.0], "v": [1.0, 2.0]}).astype({"u": "Float32", "v": "Float64"}),
    ],
    ids=["polars", "polars integers", "pandas", "pandas nullable"],
)
def test_mixed_frames_are_float64(frame):
    moved = (
        GaussianTransport(shrinkage=0.1)
        .fit(frame, np.array([[3.0, 4.0], [5.0, 7.0]]))
        .transform(frame)
    )
    assert moved.dtype == np.float64


@each_transport
def test_feature_names_out(transport, samples):
    fitted = clone(transport).fit(*samples)
    assert fitted.n_features_in_ == 2
    assert fitted.get_feature_names_out().tolist() == ["x0", "x1"]
    assert fitted.get_feature_names_out(["a", "b"]).tolist() == ["a", "b"]


@each_transport
def test_copies_transform_identically(transport, samples):
    fitted = clone(transport).fit(*samples)
    buffer = io.BytesIO()
    joblib.dump(fitted, buffer)
    buffer.seek(0)
    copies = joblib.load(buffer), pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)
    for twin in copies:
        assert_array_equal(twin.transform(samples[0]), fitted.transform(samples[0]))
        assert_array_equal(twin.inverse_transform(samples[1]), fitted.inverse_transform(samples[1]))
        assert twin.score(samples[0]) == fitted.score(samples[0])


@each_transport
def test_tensors_give_tensors_with_the_numbers_of_arrays(transport, stacked):
    rows, sample_domain = stacked
    arrays = clone(transport).fit(rows, sample_domain=sample_domain)
    tensor, domain = torch.from_numpy(rows), torch.from_numpy(sample_domain)
    tensors = clone(transport).fit(tensor, sample_domain=domain)
    moved = tensors.transform(tensor, sample_domain=domain)
    assert isinstance(moved, torch.Tensor)
    assert moved.dtype == torch.float64
    assert_allclose(moved, arrays.transform(rows, sample_domain=sample_domain), rtol=1e-12)
    back = tensors.inverse_transform(tensor.float())
    assert back.dtype == torch.float32
    assert_allclose(back, arrays.inverse_transform(rows), rtol=1e-3, atol=1e-5)
    expected = arrays.score(rows, sample_domain=sample_domain)
    assert tensors.score(tensor, sample_domain=domain) == pytest.approx(expected, rel=1e-9)


@each_transport
def test_set_output_wins_over_tensors(transport, samples):
    X, Y = map(torch.from_numpy, samples)
    moved = clone(transport).set_output(transform="pandas").fit(X, Y).transform(X)
    assert isinstance(moved, pd.DataFrame)


@each_transport
def test_float32(transport, stacked):
    rows, sample_domain = stacked
    single = rows.astype(np.float32)
    fitted = clone(transport).fit(single, sample_domain=sample_domain)
    moved = fitted.transform(single, sample_domain=sample_domain)
    assert moved.dtype == np.float32
    assert fitted.inverse_transform(single).dtype == np.float32
    assert fitted.transform(rows).dtype == np.float64
    expected = clone(transport).fit(rows, sample_domain=sample_domain)
    assert_allclose(
        moved, expected.transform(rows, sample_domain=sample_domain), rtol=1e-3, atol=1e-3
    )


@each_transport
def test_target_rows_come_back_as_they_are(transport, stacked):
    rows, sample_domain = stacked
    target = sample_domain < 0
    both = clone(transport).fit_transform(rows, sample_domain=sample_domain)
    assert both.shape == rows.shape
    assert_array_equal(both[target], rows[target])
    fitted = clone(transport).fit(rows, sample_domain=sample_domain)
    assert_allclose(fitted.transform(rows)[~target], both[~target], rtol=1e-12)
    # Rows are source rows unless they are marked; a call may hold one side only.
    assert np.abs(fitted.transform(rows)[target] - rows[target]).max() > 0.1
    only = fitted.transform(rows[target], sample_domain=sample_domain[target])
    assert_array_equal(only, rows[target])


@each_transport
def test_zero_counts_as_source_and_values_of_a_sign_are_pooled(transport, stacked):
    rows, sample_domain = stacked
    pooled = np.where(sample_domain > 0, np.arange(len(rows)) % 3, -1 - np.arange(len(rows)) % 3)
    assert 0 in pooled
    expected = clone(transport).fit(rows, sample_domain=sample_domain).transform(rows)
    for domain in (pooled, pooled.tolist(), pd.Series(pooled)):
        moved = clone(transport).fit(rows, sample_domain=domain).transform(rows)
        assert_array_equal(moved, expected)


@each_transport
def test_refit_forgets_the_first_fit(transport, samples):
    X, Y = samples
    wide = np.hstack([X, X])
    refitted = clone(transport).fit(wide, wide + 5.0).fit(X, Y)
    assert refitted.n_features_in_ == 2
    assert_array_equal(refitted.transform(X), clone(transport).fit(X, Y).transform(X))


@each_transport
def test_reference(transport, samples):
    X, _ = samples
    if isinstance(transport, NeuralOT):
        pytest.skip("trained for longer, and judged by its accuracy, in test_transport_neural_ot")
    if isinstance(transport, W2GNTransport):
        transport = clone(transport).set_params(max_iter=300)
    if isinstance(transport, LagrangianOT):
        slow = Adam(lr=2e-3, schedule=CosineSchedule())
        transport = clone(transport).set_params(max_iter=300, optimizer=slow)
    uniform = clone(transport).set_params(reference="uniform").fit(X)
    moved = uniform.transform(X)
    assert_allclose(moved.mean(axis=0), 0.5, atol=0.02)
    with pytest.warns(UserWarning, match="takes it for labels"):
        transport = clone(transport).fit(X, np.arange(len(X)) % 2)
    normal = transport.transform(X)
    assert_allclose(normal.mean(axis=0), 0.0, atol=0.02)
    if isinstance(transport, SinkhornTransport):
        # Averages of targets stay among them; what rows differ from theirs is added to them.
        averages = uniform.set_params(residual=0).fit(X).transform(X)
        assert ((averages > 0) & (averages < 1)).all()
        assert uniform.potentials_.y.shape == (1024, 2)


@each_transport
def test_seeds_of_the_reference(transport, samples):
    X, _ = samples

    def moved(random_state):
        return clone(transport).set_params(random_state=random_state).fit(X).transform(X)

    assert_array_equal(moved(0), moved(0))
    assert np.abs(moved(0) - moved(1)).max() > 1e-9
    assert_array_equal(moved(0), moved(np.random.RandomState(0)))
    # None takes one draw from the global generator of NumPy, so seeding that one repeats it.
    state = np.random.get_state()
    try:
        np.random.seed(3)
        first, second = moved(None), moved(None)
        np.random.seed(3)
        assert_array_equal(moved(None), first)
    finally:
        np.random.set_state(state)
    assert np.abs(first - second).max() > 1e-9


# --- weights ---------------------------------------------------------------------------


@few_rows
@each_weighted_transport
def test_weights_are_repeated_rows(transport, stacked):
    rows, sample_domain = stacked
    counts = np.random.RandomState(0).randint(0, 4, size=len(rows))
    assert (counts == 0).any()
    weighted = clone(transport).fit(rows, None, 2.5 * counts, sample_domain=sample_domain)
    repeated = clone(transport).fit(
        np.repeat(rows, counts, axis=0), sample_domain=np.repeat(sample_domain, counts)
    )
    assert_allclose(weighted.transform(rows), repeated.transform(rows), rtol=1e-6)
    assert_allclose(weighted.inverse_transform(rows), repeated.inverse_transform(rows), rtol=1e-6)
    plain = clone(transport).fit(rows, sample_domain=sample_domain)
    assert np.abs(plain.transform(rows) - weighted.transform(rows)).max() > 1e-2


@each_weighted_transport
def test_weights_count_in_the_score(transport, stacked):
    rows, sample_domain = stacked
    fitted = clone(transport).fit(rows, sample_domain=sample_domain)
    plain = fitted.score(rows, sample_domain=sample_domain)
    same = fitted.score(rows, None, np.full(len(rows), 7.0), sample_domain=sample_domain)
    assert same == pytest.approx(plain, rel=1e-6)
    weights = np.random.RandomState(0).randint(0, 4, size=len(rows)).astype(float)
    weighted = fitted.score(rows, None, weights, sample_domain=sample_domain)
    assert abs(weighted - plain) > 1e-3
    # Rows without weight are not there.
    kept = weights > 0
    again = fitted.score(rows[kept], None, weights[kept], sample_domain=sample_domain[kept])
    far = np.where(kept[:, None], rows, 1e6)
    ignored = fitted.score(far, None, weights, sample_domain=sample_domain)
    expected = expected_score(
        fitted.transform(rows[sample_domain >= 0]),
        rows[sample_domain < 0],
        weights[sample_domain >= 0],
        weights[sample_domain < 0],
    )
    assert weighted == pytest.approx(expected, rel=1e-6)
    assert again == pytest.approx(weighted, rel=1e-6)
    assert ignored == pytest.approx(weighted, rel=1e-6)


@each_weighted_transport
def test_the_target_of_the_fit_keeps_its_weights_in_the_score(transport, stacked):
    rows, sample_domain = stacked
    weights = np.where(rows[:, 0] > 0, 3.0, 1.0)
    fitted = clone(transport).fit(rows, None, weights, sample_domain=sample_domain)
    X, Y = rows[sample_domain >= 0], rows[sample_domain < 0]
    a, b = weights[sample_domain >= 0], weights[sample_domain < 0]
    own = replace(fitted._target, is_stacked=False)
    fitted._target = own
    expected = expected_score(fitted.transform(X), Y, a, b)
    assert fitted.score(X, None, a) == pytest.approx(expected, rel=1e-6)


@each_weighted_transport
def test_weights_of_the_fit_that_score_does_not_get_are_warned_of(transport, samples):
    X, Y = samples
    weights = np.linspace(1.0, 2.0, len(X))
    fitted = clone(transport).fit(X, Y, weights)
    with pytest.warns(UserWarning, match="score has none, so all rows count equally") as caught:
        fitted.score(X)
    assert caught[0].filename == __file__
    fitted.score(X, None, weights)
    clone(transport).fit(X, Y, np.full(len(X), 3.0)).score(X)


def test_weights_reach_the_score_of_a_search_by_routing(samples, routing):
    X, Y = samples
    X, Y = X[: len(Y)], Y[: len(X)]
    weights = np.linspace(0.1, 3.0, len(X))
    transport = GaussianTransport().set_fit_request(sample_weight=True)
    transport.set_score_request(sample_weight=True)
    search = GridSearchCV(transport, {"shrinkage": [0.5]}, cv=2, error_score="raise")
    found = search.fit(X, Y, sample_weight=weights).cv_results_["split0_test_score"][0]
    train, test = next(KFold(2).split(X))
    alone = GaussianTransport(shrinkage=0.5).fit(X[train], Y[train], weights[train])
    assert found == pytest.approx(alone.score(X[test], Y[test], weights[test]), rel=1e-9)


@each_weighted_transport
def test_a_row_of_weight_zero_is_not_there(transport, samples):
    X, Y = samples
    weights = np.ones(len(X))
    weights[:7] = 0.0
    outlier = X.copy()
    outlier[:7] = 1e6
    weighted = clone(transport).fit(outlier, Y, weights)
    assert_allclose(weighted.transform(X), clone(transport).fit(X[7:], Y).transform(X), rtol=1e-6)


# --- score -----------------------------------------------------------------------------


def expected_score(moved, Y, a=None, b=None):
    """In total variances of the target, half the mean squared distance of its rows."""
    share = np.full(len(Y), 1.0 / len(Y)) if b is None else b / b.sum()
    spread = share @ cdist(Y, Y, "sqeuclidean") @ share
    divergence = split_sinkhorn_divergence(moved, Y, epsilon=0.02 * spread, a=a, b=b)
    return -divergence / (0.5 * spread)


def moved_to_score(fitted, X):
    """What the score looks at: one seeded draw of a plan that splits mass."""
    if isinstance(fitted, NeuralOT):
        return fitted.sample_transform(X, 1, random_state=0)[:, 0]
    return fitted.transform(X)


@each_transport
def test_score_is_the_split_divergence_in_units_of_the_target(transport, samples):
    X, Y = samples
    fitted = clone(transport).fit(X, Y)
    assert fitted.score(X) == pytest.approx(expected_score(moved_to_score(fitted, X), Y), rel=1e-6)
    new = X[:20] + 0.3
    expected = expected_score(moved_to_score(fitted, new), Y)
    assert fitted.score(new) == pytest.approx(expected, rel=1e-6)


def test_score_does_not_use_the_cost_of_the_estimator(samples):
    X, Y = samples
    fitted = SinkhornTransport(1.0, scale_cost=3.0).fit(X, Y)
    assert fitted.score(X) == pytest.approx(expected_score(fitted.transform(X), Y), rel=1e-6)


@each_transport
def test_which_target_is_scored(transport, samples, stacked):
    (X, Y), (rows, sample_domain) = samples, stacked
    fitted = clone(transport).fit(X, Y)
    own = fitted.score(X)
    moved = moved_to_score(fitted, X)
    other = Y + 2.0
    assert fitted.score(X, np.arange(len(X)) % 2) == own
    assert fitted.score(X, other) == pytest.approx(expected_score(moved, other), rel=1e-6)
    elsewhere, _, domain = stack_domains(X, other)
    in_call = fitted.score(elsewhere, sample_domain=domain)
    assert in_call == pytest.approx(expected_score(moved, other), rel=1e-6)
    assert in_call < own
    # Source rows only, marked as such: the target of fit.
    assert fitted.score(X, sample_domain=np.ones(len(X), dtype=int)) == own
    from_stack = clone(transport).fit(rows, sample_domain=sample_domain)
    assert from_stack.score(rows, sample_domain=sample_domain) == pytest.approx(own, rel=1e-6)
    assert from_stack.score(X, Y) == pytest.approx(own, rel=1e-6)


@each_transport
def test_score_against_the_reference(transport, samples):
    X, _ = samples
    fitted = clone(transport).fit(X)
    # Rows that were fitted to the reference may lie better than independent ones. Of a plan that
    # splits mass one draw a row is looked at, from the few steps of these fits.
    splits_mass = getattr(getattr(fitted, "cost_", None), "splits_mass", False)
    assert (-0.35 if splits_mass else -0.1) < fitted.score(X) < 0.1
    assert fitted.score(X) > fitted.score(X + 1.0)


@each_transport
def test_score_never_guesses_the_target(transport, stacked):
    rows, sample_domain = stacked
    fitted = clone(transport).fit(rows, sample_domain=sample_domain)
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        fitted.score(rows)
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        fitted.score(rows, np.zeros(len(rows)))
    with pytest.raises(ValueError, match="score needs source rows"):
        fitted.score(rows, sample_domain=-np.ones(len(rows), dtype=int))


@each_transport
def test_diagnose_says_what_score_does_and_more(transport):
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((150, 2)), rng.standard_normal((120, 2)) + [3.0, -2.0]
    fitted = clone(transport).fit(X, Y)
    near, far = fitted.diagnose(X), fitted.diagnose(X, Y + 10.0)
    assert set(near.verdicts) == {"arrival", "spread", "outside", "convergence", "conditioning"}
    assert [line.split()[0] for line in str(near).splitlines()][:5] == list(near.verdicts)
    assert near.divergence < far.divergence
    assert near.target_variance == pytest.approx(Y.var(axis=0).sum())
    # Of a plan that splits mass each draws images of its own.
    if not isinstance(fitted, NeuralOT):
        assert near.divergence == pytest.approx(-fitted.score(X) * near.target_variance)
    # Rows of the fit are not outside of it, and others far away are.
    assert near.outside == 0.0
    assert fitted.diagnose(X + 100.0).outside == pytest.approx(1.0)


def test_score_looks_at_2000_rows_a_side_drawn_with_a_fixed_seed(monkeypatch):
    seen = []

    def spy(X, Y, **options):
        seen.append((X, Y, options["a"], options["b"]))
        return SimpleNamespace(value=0.0, converged=True)

    monkeypatch.setattr("skot.metrics._divergence_to.split_sinkhorn_divergence", spy)
    X = np.random.RandomState(0).standard_normal((2500, 2))
    fitted = GaussianTransport().fit(X, X[:2100] + 1.0)
    for _ in range(2):
        fitted.score(X)
    first, second = seen
    assert [len(part) for part in first] == [2000] * 4
    for one, other in zip(first, second, strict=True):
        assert_array_equal(one, other)
    assert len(np.unique(first[0], axis=0)) == 2000
    assert float(first[2].sum()) == pytest.approx(1.0)
    # Not the first rows: samples may be sorted.
    assert not np.array_equal(first[1], X[:2000] + 1.0)


def test_a_search_does_not_pick_a_useless_epsilon(routing):
    X, Y = numpy_samples(90, 75, seed=1)
    rows, _, sample_domain = stack_domains(X, Y)
    grid = {"epsilon": [0.01, 0.05, 0.5, 50]}
    # The plain map collapses there; the debiased one comes to be a shift and a scale, no bad map.
    plain = SinkhornTransport(residual=0)
    search = GridSearchCV(plain, grid, cv=DomainKFold(3), error_score="raise")
    search.fit(rows, sample_domain=sample_domain)
    assert search.best_params_["epsilon"] != 50
    assert search.cv_results_["rank_test_score"][3] == 4
    moved = search.best_estimator_.transform(rows, sample_domain=sample_domain)
    assert_array_equal(moved[sample_domain < 0], rows[sample_domain < 0])


@few_rows
def test_a_search_on_stacked_data_without_routing_says_what_to_do(stacked):
    rows, sample_domain = stacked
    search = GridSearchCV(GaussianTransport(), {"shrinkage": [0.0]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        search.fit(rows, sample_domain=sample_domain)


# --- in the company of scikit-learn ----------------------------------------------------


@each_transport
def test_pipeline(transport, samples, stacked):
    X, _ = samples
    rows, sample_domain = stacked
    pipeline = make_pipeline(StandardScaler(), clone(transport)).fit(X)
    expected = clone(transport).fit_transform(StandardScaler().fit_transform(X))
    assert_allclose(pipeline.transform(X), expected, rtol=1e-9)
    step = type(transport).__name__.lower()
    pipeline.fit(rows, **{f"{step}__sample_domain": sample_domain})
    scaled = StandardScaler().fit_transform(rows)
    stacked_fit = clone(transport).fit(scaled, sample_domain=sample_domain)
    assert_allclose(pipeline.transform(rows), stacked_fit.transform(scaled), rtol=1e-9)


@each_transport
def test_pipeline_with_routing(transport, stacked, routing):
    rows, sample_domain = stacked
    pipeline = make_pipeline(StandardScaler(), clone(transport))
    pipeline.fit(rows, sample_domain=sample_domain)
    scaled = StandardScaler().fit_transform(rows)
    moved = pipeline.transform(rows, sample_domain=sample_domain)
    assert_allclose(moved[sample_domain < 0], scaled[sample_domain < 0], rtol=1e-12)
    expected = clone(transport).fit(scaled, sample_domain=sample_domain)
    score = pipeline.score(rows, sample_domain=sample_domain)
    assert score == pytest.approx(expected.score(scaled, sample_domain=sample_domain))


@pytest.mark.slow
def test_parallel_search_equals_the_sequential_one(stacked, routing):
    rows, sample_domain = stacked
    grid = {"epsilon": [0.05, 0.5]}
    scores = [
        GridSearchCV(SinkhornTransport(), grid, cv=DomainKFold(2), n_jobs=n_jobs)
        .fit(rows, sample_domain=sample_domain)
        .cv_results_["mean_test_score"]
        for n_jobs in (1, 2)
    ]
    assert_allclose(scores[1], scores[0], rtol=1e-9)


# --- bad input -------------------------------------------------------------------------


def with_value(rows, value):
    rows = np.array(rows, dtype=np.result_type(rows, type(value)))
    rows[3, 1] = value
    return rows


BAD_ROWS = {
    "NaN": (lambda rows: with_value(rows, np.nan), "contains NaN"),
    "infinity": (lambda rows: with_value(rows, np.inf), "contains infinity"),
    "complex": (lambda rows: with_value(rows, 1j), "Complex data not supported"),
    "sparse": (scipy.sparse.csr_array, "Sparse data was passed"),
    "empty": (lambda rows: rows[:0], r"Found array with 0 sample\(s\)"),
    "one row": (lambda rows: rows[:1], "minimum of 2 is required"),
    "no features": (lambda rows: rows[:, :0], "0 feature"),
    "text": (lambda rows: rows.astype(str).astype(object) + "a", "could not convert string"),
    "three-dimensional": (lambda rows: rows[None], "dim"),
}


@each_transport
@pytest.mark.parametrize("fault", BAD_ROWS)
def test_bad_rows(transport, fault, samples):
    X, Y = samples
    spoil, message = BAD_ROWS[fault]
    kind = TypeError if fault == "sparse" else ValueError
    with pytest.raises(kind, match=message):
        clone(transport).fit(spoil(X), Y)
    fitted = clone(transport).fit(X, Y)
    if fault != "one row":
        with pytest.raises(kind):
            fitted.transform(spoil(X))
        with pytest.raises(kind):
            fitted.inverse_transform(spoil(Y))


@each_transport
@pytest.mark.parametrize("fault", sorted(set(BAD_ROWS) - {"no features", "three-dimensional"}))
def test_bad_target(transport, fault, samples):
    X, Y = samples
    spoil, message = BAD_ROWS[fault]
    kind = TypeError if fault == "sparse" else ValueError
    with pytest.raises(kind, match=message):
        clone(transport).fit(X, spoil(Y))


@each_transport
@pytest.mark.parametrize("fault", ["NaN", "infinity", "complex", "empty", "one row"])
def test_bad_tensor(transport, fault, samples):
    X, Y = samples
    spoil, message = BAD_ROWS[fault]
    with pytest.raises(ValueError, match=message):
        clone(transport).fit(torch.from_numpy(spoil(X)), torch.from_numpy(Y))


@each_transport
def test_wrong_width(transport, samples):
    X, Y = samples
    with pytest.raises(ValueError, match="expecting 2 features"):
        clone(transport).fit(X, Y[:, :1])
    fitted = clone(transport).fit(X, Y)
    for method in (fitted.transform, fitted.inverse_transform, fitted.score):
        with pytest.raises(ValueError, match="X has 3 features, but .* is expecting 2 features"):
            method(np.ones((4, 3)))


@each_transport
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: np.abs(d), r"only source rows \(>= 0\)"),
        (lambda d: -np.abs(d), r"only target rows \(< 0\)"),
        (lambda d: d > 0, "booleans"),
        (lambda d: (d > 0).tolist(), "booleans"),
        (lambda d: [True, *d[1:].tolist()], "booleans"),
        (lambda d: np.where(d > 0, "source", "target"), "strings"),
        (lambda d: [str(value) for value in d], "strings"),
        (lambda d: np.abs(d).astype(np.uint8), "unsigned"),
        (lambda d: d.astype(float), "floating point"),
        (lambda d: d[1:], "inconsistent numbers of samples"),
        (lambda d: np.stack([d, d], axis=1), "1d array"),
        (lambda d: np.where(np.arange(len(d)) == 0, 1, -1), "minimum of 2 .* on the source side"),
    ],
)
def test_bad_sample_domain(transport, change, message, stacked):
    rows, sample_domain = stacked
    with pytest.raises(ValueError, match=message):
        clone(transport).fit(rows, sample_domain=change(sample_domain))


@each_transport
def test_both_ways_to_pass_a_target(transport, samples, stacked):
    rows, sample_domain = stacked
    with pytest.raises(ValueError, match="pass one of the two"):
        clone(transport).fit(rows, np.resize(samples[1], rows.shape), sample_domain=sample_domain)


@each_weighted_transport
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w, source: np.where(np.arange(len(w)) == 3, -1.0, w), "Negative values"),
        (lambda w, source: 0.0 * w, "at least one non-zero"),
        (lambda w, source: np.where(source, 0.0, w), "all zero on the source side"),
        (lambda w, source: np.where(source, w, 0.0), "all zero on the target side"),
        (lambda w, source: w[1:], "sample_weight.shape"),
        (lambda w, source: w[:, None], "1D array or scalar"),
        (lambda w, source: np.where(np.arange(len(w)) == 3, np.nan, w), "NaN"),
    ],
)
def test_bad_weights(transport, change, message, stacked):
    rows, sample_domain = stacked
    weights = change(np.ones(len(rows)), sample_domain >= 0)
    with pytest.raises(ValueError, match=message):
        clone(transport).fit(rows, None, weights, sample_domain=sample_domain)
    fitted = clone(transport).fit(rows, sample_domain=sample_domain)
    with pytest.raises(ValueError, match=message):
        fitted.score(rows, None, weights, sample_domain=sample_domain)


@each_transport
@pytest.mark.parametrize(
    "labels, message",
    [
        (lambda code: np.where(code == 0, np.nan, code), "contains NaN"),
        (lambda code: np.where(code == 0, None, "cat"), "contains None"),
        (lambda code: code[1:], "inconsistent numbers of samples"),
    ],
)
def test_missing_source_label(transport, labels, message, stacked):
    rows, sample_domain = stacked
    code = np.arange(len(rows)) % 2
    with pytest.raises(ValueError, match=message):
        clone(transport).fit(rows, labels(code), sample_domain=sample_domain)


@each_transport
@pytest.mark.parametrize(
    "parameter, value", [("reference", "cauchy"), ("random_state", "seed"), ("device", 3)]
)
def test_bad_parameter(transport, parameter, value, samples):
    broken = clone(transport).set_params(**{parameter: value})
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of"):
        broken.fit(*samples)


@each_weighted_transport
def test_nothing_is_written_to_the_data_of_a_failed_fit(transport, stacked):
    rows, sample_domain = stacked
    labels = np.where(sample_domain > 0, np.arange(len(rows)) % 2, -1)
    weights = np.ones(len(rows))
    spoilt = with_value(rows, np.nan)
    kept = [array.copy() for array in (spoilt, labels, weights, sample_domain)]
    with pytest.raises(ValueError, match="NaN"):
        clone(transport).fit(spoilt, labels, weights, sample_domain=sample_domain)
    for array, before in zip((spoilt, labels, weights, sample_domain), kept, strict=True):
        assert_array_equal(array, before)
