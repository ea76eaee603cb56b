"""What the neural transports share: seeds, streams, stopping, checkpoints, accidents, callbacks."""

import copy
import io
import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch
from _neural_transports import (
    POTENTIAL,
    Broken,
    Watch,
    X,
    Y,
    forbid_training,
    interrupt_at,
    same,
    strong,
    values,
    w2gn,
    weak,
    wrap_steps,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skot import NeuralOT
from skot.metrics import l2_uvp
from skot.networks import MLPPotential
from skot.training import (
    Adam,
    Checkpoint,
    EarlyStopping,
    ExponentialMovingAverage,
    TimeBudget,
)
from skot.utils import stack_domains

#: With these parameters a transport knows the way back.
WAY_BACK = {
    w2gn: {},
    strong: {"fit_inverse_transform": True},
    weak: {"fit_inverse_transform": True},
}

each = pytest.mark.parametrize("make", [w2gn, weak])
each_cost = pytest.mark.parametrize("make", [w2gn, strong, weak])


def name_of(make):
    return type(make()).__name__


# --- parameters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params, name",
    [
        ({"potential": MLPPotential}, "potential"),
        ({"potential": "icnn"}, "potential"),
        ({"potential": MLPPotential((0,))}, "hidden_layer_sizes"),
        ({"optimizer": Adam}, "optimizer"),
        ({"optimizer": Adam(lr=-1.0)}, "lr"),
        ({"stopping": EarlyStopping(patience=0)}, "patience"),
        ({"averaging": 0.9}, "averaging"),
        ({"checkpoint": "file"}, "checkpoint"),
        ({"preconditioning": "pca"}, "preconditioning"),
        ({"reference": "cauchy"}, "reference"),
        ({"max_iter": 0}, "max_iter"),
        ({"batch_size": 0}, "batch_size"),
        ({"warm_start": 1.5}, "warm_start"),
    ],
    ids=str,
)
@each_cost
def test_bad_parameters(monkeypatch, make, params, name):
    forbid_training(monkeypatch)
    transport = make(**params)
    for fit in (transport.fit, transport.partial_fit):
        with pytest.raises(ValueError, match=f"The {name!r} parameter"):
            fit(X, Y)
    with pytest.raises(NotFittedError):
        transport.transform(X)


@each
def test_averaging(make):
    transport = make(averaging=ExponentialMovingAverage(0.9)).fit(X, Y)
    assert transport.score(X) > -0.5
    assert same(transport, clone(transport).fit(X, Y))
    assert np.abs(transport.transform(X) - make().fit(X, Y).transform(X)).max() > 1e-4


# --- repeatability ---------------------------------------------------------------------


@each_cost
def test_seeds(make):
    assert same(make().fit(X, Y), make().fit(X, Y))
    moved = make().fit(X, Y).transform(X)
    assert np.abs(make(random_state=1).fit(X, Y).transform(X) - moved).max() > 1e-4
    assert_array_equal(make(random_state=np.random.RandomState(0)).fit(X, Y).transform(X), moved)


def further(transport):
    """What a transport with the standard normal as its target gives besides images."""
    given = [transport.inverse_transform(Y).tolist(), transport.score(X)]
    if isinstance(transport, NeuralOT):
        draws = transport.sample_transform(X, 3, random_state=0)
        return [*given, draws.tolist(), transport.diagnose(X, Y)]
    draws = transport.sample(5, random_state=0)
    return [*given, draws.tolist(), transport.score_samples(X).tolist()]


@each
def test_global_state_is_left_alone(make):
    def state():
        return (
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            np.random.get_state()[2],
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )

    before = state()
    further(make(**WAY_BACK[make]).fit(X).partial_fit(X))
    assert state() == before
    with torch.no_grad():
        assert same(make().fit(X, Y), make().fit(X, Y))
        assert len(set(make().fit(X, Y).loss_curve_)) > 1


@pytest.mark.parametrize("make, samples", [(w2gn, (X,)), (strong, (X, Y)), (weak, (X, Y))])
def test_copies(make, samples):
    fitted = make(**WAY_BACK[make]).fit(*samples)
    expected = further(fitted)
    buffer = io.BytesIO()
    joblib.dump(fitted, buffer)
    buffer.seek(0)
    for twin in (joblib.load(buffer), pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert same(twin, fitted)
        assert further(twin) == expected
        # A copy is independent, and trains on as the original does.
        moved = fitted.transform(X)
        twin.partial_fit(*samples)
        assert_array_equal(fitted.transform(X), moved)
        assert same(twin, copy.deepcopy(fitted).partial_fit(*samples))


@each
def test_a_large_sample_is_not_in_the_pickle(make):
    rng = np.random.RandomState(0)
    few = make(max_iter=1).fit(X, Y)
    many = make(max_iter=1).fit(rng.standard_normal((50_000, 2)), Y)
    # The rows that values are computed on are kept, and no more.
    assert len(pickle.dumps(many)) - len(pickle.dumps(few)) < 2 * 4096 * 2 * 8


@each
def test_dtypes_and_tensors(make):
    params = WAY_BACK[make]
    expected = make(**params).fit(X, Y)
    single = make(**params).fit(X.astype("f4"), Y.astype("f4"))
    assert single.transform(X.astype("f4")).dtype == np.float32
    assert single.inverse_transform(Y.astype("f4")).dtype == np.float32
    assert single.transform(X).dtype == np.float64
    assert_allclose(single.transform(X), expected.transform(X), atol=1e-4)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    tensors = make(**params).fit(x, y)
    assert isinstance(tensors.transform(x), torch.Tensor)
    assert tensors.transform(x.float()).dtype == torch.float32
    assert isinstance(tensors.inverse_transform(y.float()), torch.Tensor)
    assert tensors.inverse_transform(y.float()).dtype == torch.float32
    assert same(tensors, expected)
    assert {p.dtype for m in expected._learned.modules.values() for p in m.parameters()} == {
        torch.float64
    }
    assert {p.dtype for m in single._learned.modules.values() for p in m.parameters()} == {
        torch.float32
    }


@pytest.mark.parametrize("make", [w2gn, strong])
def test_sides_of_different_units(make):
    base = make(**WAY_BACK[make]).fit(X, Y)
    transport = make(**WAY_BACK[make]).fit(X, 1e6 * Y)
    assert_allclose(transport.transform(X) / 1e6, base.transform(X), atol=1e-3)
    assert_allclose(transport.inverse_transform(1e6 * Y), base.inverse_transform(Y), atol=1e-2)


# --- small samples ---------------------------------------------------------------------


@each
def test_batches_larger_than_a_sample(make):
    transport = make(batch_size=1000).fit(X[:50], Y[:7])
    assert transport.n_iter_ == 20
    assert np.isfinite(transport.transform(X)).all()


@pytest.mark.parametrize("arguments", [(X[:1], Y), (X, Y[:1]), (X[:0], Y), (X[:1],)])
@each_cost
def test_too_few_rows(make, arguments):
    for fit in (make().fit, make().partial_fit):
        with pytest.raises(ValueError, match="minimum of 2 is required|0 sample"):
            fit(*arguments)


@pytest.mark.parametrize("stopping", [None, EarlyStopping(patience=10, check_every=5)])
@each
def test_two_rows(make, stopping):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport = make(stopping=stopping).fit(X[:2], Y[:2])
    assert np.isfinite(transport.transform(X)).all()


@pytest.mark.parametrize("n_rows", [2, 3, 20])
@pytest.mark.parametrize("make", [w2gn, strong])
def test_fewer_rows_than_features(make, n_rows):
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((n_rows, 30)), rng.standard_normal((n_rows, 30)) + 2.0
    transport = make(**WAY_BACK[make]).fit(X, Y)
    assert_allclose(transport.transform(X).mean(axis=0), Y.mean(axis=0), atol=0.3)
    new = rng.standard_normal((10, 30))
    assert np.isfinite(transport.transform(new)).all()
    assert np.isfinite(transport.inverse_transform(new)).all()


# --- streams ---------------------------------------------------------------------------


def batches(n=6, size=32):
    rng = np.random.RandomState(5)
    return [
        (rng.standard_normal((size, 2)), 0.6 * rng.standard_normal((size, 2)) + 3.0)
        for _ in range(n)
    ]


@each_cost
def test_the_first_partial_fit_is_one_epoch_of_fit(make):
    streamed = make(optimizer=Adam(lr=1e-3)).partial_fit(X, Y)
    assert streamed.n_iter_ == 2
    assert same(streamed, make(optimizer=Adam(lr=1e-3), max_iter=2).fit(X, Y))


@each
def test_streams_count_on(make):
    transport = make()
    for i, (x, y) in enumerate(batches()):
        assert transport.partial_fit(x, y) is transport
        assert transport.n_iter_ == len(transport.loss_curve_) == i + 1
    transport.partial_fit(X, Y[:10])
    assert transport.n_iter_ == 8


@pytest.mark.parametrize("averaging", [None, ExponentialMovingAverage(0.9)])
@each
def test_a_pickle_goes_on_where_the_stream_was(make, averaging):
    whole = make(averaging=averaging)
    parts = make(averaging=averaging)
    for x, y in batches():
        whole.partial_fit(x, y)
        parts = pickle.loads(pickle.dumps(parts)).partial_fit(x, y)
    assert same(whole, parts)


@pytest.mark.parametrize(
    "make, betas, error", [(w2gn, (0.9, 0.999), 5.0), (strong, (0.5, 0.9), 8.0)]
)
def test_streams_learn(make, betas, error):
    rng = np.random.RandomState(0)
    transport = make(preconditioning="identity", optimizer=Adam(lr=1e-2, betas=betas))
    for _ in range(8):
        x = rng.standard_normal((512, 2))
        transport.partial_fit(x, rng.standard_normal((512, 2)) * [0.2, 1.0] + 1.0)
    new = rng.standard_normal((500, 2))
    assert l2_uvp(new * [0.2, 1.0] + 1.0, transport.transform(new)) < error


@each
def test_streams_of_stacked_samples_and_of_the_source_alone(make):
    rows, _, sample_domain = stack_domains(X, Y)
    stacked = make().partial_fit(rows, sample_domain=sample_domain)
    assert same(stacked, make().partial_fit(X, Y))
    flow = make(**WAY_BACK[make]).partial_fit(X).partial_fit(X[:40])
    assert np.isfinite(flow.transform(X)).all()
    if make is w2gn:
        assert np.isfinite(flow.score_samples(X)).all()
    with pytest.raises(ValueError, match="expecting 2 features"):
        flow.partial_fit(X[:, :1])


@each
def test_a_stream_after_a_fit_still_learns(make):
    transport = make().fit(X, Y)
    moved = transport.transform(X)
    transport.partial_fit(X, Y)
    # The schedule of the fit had come to its end, where the learning rate is zero.
    assert np.abs(transport.transform(X) - moved).max() > 1e-4


# --- warm starts -----------------------------------------------------------------------


@each
def test_warm_start(make):
    transport = make(warm_start=True).fit(X, Y)
    moved, curve = transport.transform(X), transport.loss_curve_
    transport.set_params(max_iter=10).fit(X, Y)
    assert transport.n_iter_ == 30
    assert transport.loss_curve_[:20] == curve
    assert 1e-4 < np.abs(transport.transform(X) - moved).max() < 0.5
    # A warm start takes a new optimizer, at the start of its schedule.
    moved = transport.transform(X)
    transport.set_params(optimizer=Adam(lr=1e-10)).fit(X, Y)
    assert 0.0 < np.abs(transport.transform(X) - moved).max() < 1e-6
    cold = clone(transport).set_params(warm_start=False, optimizer=None, max_iter=20)
    assert same(cold.fit(X, Y).fit(X, Y), make().fit(X, Y))


@pytest.mark.parametrize(
    "make, params, expected",
    [
        (w2gn, {"n_amortizer_steps": 3}, {"potential": 20, "amortizer": 60}),
        (strong, {"n_map_steps": 3}, {"potential": 20, "transport_map": 60}),
    ],
)
def test_warm_start_schedules_count_the_updates_of_each_network(make, params, expected):
    transport = make(warm_start=True, **params)
    for _ in range(2):
        transport.fit(X, Y)
        planned = {name: updater.max_iter for name, updater in transport._state.updaters.items()}
        assert planned == expected


@pytest.mark.parametrize("make", [w2gn, strong])
def test_warm_start_with_another_width(make):
    transport = make(warm_start=True).fit(X, Y)
    moved = transport.transform(X)
    with pytest.raises(ValueError, match=f"X has 4 features, but {name_of(make)} is expecting 2"):
        transport.fit(np.hstack([X, X]), np.hstack([Y, Y]))
    assert_array_equal(transport.transform(X), moved)
    wide = transport.set_params(warm_start=False).fit(np.hstack([X, X]), np.hstack([Y, Y]))
    assert wide.transform(np.hstack([X, X])).shape == (64, 4)


# --- stopping --------------------------------------------------------------------------


@each_cost
def test_early_stopping(make):
    stopping = EarlyStopping(patience=2, tol=10.0, check_every=5)
    transport = make(stopping=stopping, max_iter=100).fit(X, Y)
    assert transport.converged_
    # The first check improves on nothing, the two after it do not improve enough.
    assert transport.n_iter_ == 15
    assert np.isfinite(transport.transform(X)).all()


@each
def test_a_fit_that_did_not_converge_warns_once(make):
    transport = make(stopping=EarlyStopping(patience=50, check_every=5))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transport.fit(X, Y)
    (warning,) = caught
    assert warning.category is ConvergenceWarning
    assert "Increase max_iter" in str(warning.message)
    assert warning.filename == __file__
    assert not transport.converged_
    assert transport.n_iter_ == 20


@pytest.mark.parametrize("make, lr", [(w2gn, 0.3), (weak, 0.1)])
def test_the_weights_of_the_best_check_are_kept(make, lr):
    stopping = EarlyStopping(patience=3, check_every=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport = make(stopping=stopping, optimizer=Adam(lr=lr), max_iter=40).fit(X, Y)
    best = transport._state.best
    assert best["iteration"] < transport.n_iter_
    assert best["weights"].keys() == transport._learned.modules.keys()
    for name, module in transport._learned.modules.items():
        for key, value in module.state_dict().items():
            assert_allclose(value, best["weights"][name][key])


@each
def test_time_budget(make):
    transport = make(stopping=TimeBudget(seconds=1e-6), max_iter=10**6).fit(X, Y)
    assert transport.n_iter_ == 1
    assert transport.converged_


# --- checkpoints and accidents ---------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"stopping": EarlyStopping(patience=50, check_every=5)},
        {"averaging": ExponentialMovingAverage(0.9)},
    ],
    ids=str,
)
@each
def test_a_crash_changes_nothing_with_a_checkpoint(monkeypatch, tmp_path, make, params):
    def fit(**checkpoint):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return make(**params, **checkpoint).fit(X, Y)

    expected = fit()
    checkpoint = Checkpoint(tmp_path / "fit.pt", every=7)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 16, RuntimeError("crash"))
        with pytest.raises(RuntimeError, match="crash"):
            fit(checkpoint=checkpoint)
    steps = []
    wrap_steps(monkeypatch, lambda step, i: steps.append(i) or step())
    assert same(fit(checkpoint=checkpoint), expected)
    assert steps == list(range(14, 20))
    # A finished fit is there at once, and other data is not taken for the same fit.
    assert same(fit(checkpoint=checkpoint), expected)
    assert len(steps) == 6
    with pytest.warns(UserWarning, match="other parameters or other data") as caught:
        make(checkpoint=checkpoint, max_iter=3).fit(X + 1.0, Y)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "make, advice", [(w2gn, "Lower the learning rate"), (weak, "GradientPenalty")]
)
def test_a_loss_that_is_not_finite_keeps_the_last_good_state(monkeypatch, make, advice):
    def goes_wrong(step, i):
        value = step()
        return value if i < 7 else torch.full_like(value, torch.nan)

    wrap_steps(monkeypatch, goes_wrong)
    transport = make(**WAY_BACK[make])
    with pytest.warns(ConvergenceWarning, match="loss was not finite at iteration 7") as caught:
        transport.fit(X, Y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert advice in str(caught[0].message)
    assert not transport.converged_
    assert transport.n_iter_ == len(transport.loss_curve_) <= 7
    assert np.isfinite(transport.transform(X)).all()
    assert np.isfinite(transport.inverse_transform(Y)).all()
    assert np.isfinite(values(transport)).all()
    with pytest.warns(ConvergenceWarning, match="Lower the learning rate") as caught:
        make(batch_size=8).partial_fit(X, Y)
    assert caught[0].filename == __file__


@each_cost
def test_nothing_finite_at_all(make):
    transport = make(potential=Broken())
    with pytest.raises(FloatingPointError, match="iteration 0"):
        transport.fit(X, Y)
    with pytest.raises(NotFittedError):
        transport.transform(X)


@pytest.mark.parametrize("iteration", [0, 7])
@each
def test_the_keyboard_leaves_a_usable_transport(monkeypatch, make, iteration):
    with monkeypatch.context() as patch:
        interrupt_at(patch, iteration, KeyboardInterrupt)
        transport = make(**WAY_BACK[make]).fit(X, Y)
    assert transport.n_iter_ == len(transport.loss_curve_) == iteration
    assert not transport.converged_
    assert np.isfinite(transport.transform(X)).all()
    assert np.isfinite(values(transport)).all()
    assert np.isfinite(transport.inverse_transform(Y)).all()
    transport.partial_fit(X, Y)
    assert transport.n_iter_ == iteration + 2


@each_cost
def test_a_failed_refit_leaves_the_fit_before(make):
    transport = make().fit(X, Y)
    twin, score = copy.deepcopy(transport), transport.score(X)
    transport.set_params(potential=Broken())
    for source, target in ((X + 7.0, Y), (X.astype("f4"), Y - 5.0), (X.repeat(2, axis=1),) * 2):
        with pytest.raises(FloatingPointError):
            transport.fit(source, target)
        assert same(transport, twin)
        assert transport.score(X) == score
    # What training goes on from is that fit too.
    transport.set_params(potential=POTENTIAL)
    assert same(transport.partial_fit(X, Y), twin.partial_fit(X, Y))


# --- callbacks -------------------------------------------------------------------------


@each
def test_callbacks_see_the_transport_as_it_stands(make):
    watch = Watch()
    transport = make(max_iter=5).set_callbacks(watch).fit(X, Y)
    assert len(set(watch.scores)) == 5
    assert watch.scores[-1] == transport.score(X)
    assert same(transport, make(max_iter=5).fit(X, Y))


@each
def test_a_callback_stops_training(make):
    transport = make(stopping=EarlyStopping(patience=50)).set_callbacks(Watch(stop_after=3))
    transport.fit(X, Y)  # without a warning: it was asked to stop
    assert transport.n_iter_ == 3
    assert not transport.converged_
    assert np.isfinite(transport.transform(X)).all()
    assert make().set_callbacks(Watch(stop_after=3)).fit(X, Y).n_iter_ == 3


@each
def test_a_callback_that_fails(make):
    class Faulty(Watch):
        def on_fit_task_end(self, estimator, context, **data):
            raise RuntimeError("faulty")

    transport = make().fit(X, Y)
    twin = copy.deepcopy(transport)
    with pytest.raises(RuntimeError, match="faulty"):
        transport.set_callbacks(Faulty()).fit(X + 3.0, Y)
    assert same(transport, twin)
    assert same(transport.set_callbacks(Watch()).fit(X, Y), twin)


@each
def test_progress_bar(capsys, make):
    expected = make().fit(X, Y)
    assert capsys.readouterr().out == ""
    make().set_callbacks(ProgressBar()).fit(X, Y)
    assert f"{name_of(make)} - fit" in capsys.readouterr().out
    verbose = make(verbose=True).fit(X, Y)
    assert f"{name_of(make)} - fit" in capsys.readouterr().out
    assert same(verbose, expected)
    pickle.dumps(verbose)
