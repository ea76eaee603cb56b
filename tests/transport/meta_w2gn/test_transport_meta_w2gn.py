"""Predicted Wasserstein-2 maps: what is learned, the contract, images, accidents."""

import copy
import io
import pickle
import time

import joblib
import numpy as np
import pytest
import torch
from _neural_transports import Bowls, Broken
from _problems import squared_distances
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skot import GaussianTransport, MetaW2GN, W2GNTransport
from skot.metrics import l2_uvp
from skot.networks import ICNN, DeepSets, GradientMap, HyperNetwork, MLPPotential, ResNetEncoder
from skot.training import (
    Adam,
    Checkpoint,
    CosineSchedule,
    EarlyStopping,
    ExponentialMovingAverage,
    TimeBudget,
)
from skot.transport._meta_w2gn import measures
from skot.transport._meta_w2gn.stacked import stacked_conjugates, stacked_dual_loss
from skot.transport._meta_w2gn.training import PairLoss
from skot.transport._neural import fit as neural_fit


def bend(rows, a):
    """A monotone map of each feature: the optimal one to what comes out."""
    return rows + a * np.abs(rows) * rows


def clouds(n_clouds=4, n=120, seed=0):
    rng = np.random.RandomState(seed)
    return [bend(rng.standard_normal((n, 2)), a) for a in np.linspace(0.0, 2.0, n_clouds)]


def images(n_images=3, side=12, seed=0):
    rng = np.random.RandomState(seed)
    return [
        rng.randint(0, 255 // (k + 1), size=(side, side + k, 3)).astype(np.uint8)
        for k in range(n_images)
    ]


CLOUDS, IMAGES = clouds(), images()
X, Y = clouds(2, 80, seed=1)


def meta(**params):
    """Return an estimator that is fitted in no time."""
    small = {
        "potential": ICNN((8, 8)),
        "hyper_network": HyperNetwork((16,)),
        "code_size": 8,
        "max_iter": 6,
        "batch_size": 2,
        "n_points": 32,
        "random_state": 0,
    }
    return MetaW2GN(**{**small, **params})


def numbers(fitted):
    transport = fitted.predict_transport(X, Y)
    given = [transport.transform(X), transport.inverse_transform(Y), fitted.loss_curve_]
    return [*given, transport.wasserstein_distance_]


def same(one, other):
    return all(np.array_equal(*pair) for pair in zip(numbers(one), numbers(other), strict=True))


def forbid_training(monkeypatch):
    def train(*args, **options):
        raise AssertionError("trained")

    monkeypatch.setattr(neural_fit, "train", train)


def wrap_losses(monkeypatch, wrap):
    """Replace the losses of training; ``wrap(loss, k)`` returns that of the k-th call."""
    loss, calls = PairLoss._loss, []

    def wrapped(self, *arguments):
        calls.append(len(calls))
        return wrap(lambda: loss(self, *arguments), calls[-1])

    monkeypatch.setattr(PairLoss, "_loss", wrapped)


# --- the loss --------------------------------------------------------------------------


class Quadratics:
    """Potentials x' D_k x / 2, with diagonal D_k."""

    def __init__(self, diagonals):
        self.diagonals = diagonals

    def __call__(self, x):
        return 0.5 * (x.square() * self.diagonals[:, None]).sum(dim=2)

    def value_and_gradient(self, x):
        return self(x), x * self.diagonals[:, None]


def test_conjugates_of_quadratics():
    generator = torch.Generator().manual_seed(0)
    potentials = Quadratics(torch.tensor([[1.0, 2.0], [0.5, 4.0]]))
    x, y = torch.randn(2, 2, 40, 2, generator=generator)
    exact = y / potentials.diagonals[:, None]
    start = torch.zeros_like(y)
    solution = stacked_conjugates(potentials, x, y, start, n_steps=20)
    torch.testing.assert_close(solution, exact, atol=1e-2, rtol=1e-2)
    expected = potentials(x).mean() + 0.5 * (y * exact).sum(dim=2).mean()
    loss = stacked_dual_loss(potentials, x, y, solution)
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)
    # Every step brings the value of the conjugate up, and a good prediction is kept.
    losses = [
        stacked_dual_loss(
            potentials, x, y, stacked_conjugates(potentials, x, y, start, n_steps=n)
        ).item()
        for n in (0, 1, 3, 20)
    ]
    assert losses == sorted(losses)
    assert torch.equal(stacked_conjugates(potentials, x, y, exact, n_steps=0), exact)


@pytest.mark.parametrize("n_steps", [0, 2])
def test_the_loss_is_at_least_the_cost_of_the_samples(n_steps):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 1, 30, 2, generator=generator)
    rows, columns = linear_sum_assignment(-(x[0] @ y[0].T).numpy())
    bound = (x[0, rows] * y[0, columns]).sum(dim=1).mean()
    for diagonal in (1e-6, 1e-2, 1.0, 10.0):
        potentials = Quadratics(torch.tensor([[diagonal, diagonal]]))
        solution = stacked_conjugates(potentials, x, y, torch.zeros_like(y), n_steps=n_steps)
        assert stacked_dual_loss(potentials, x, y, solution) >= bound - 1e-5


# --- what is learned -------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned():
    return meta(
        potential=ICNN((16, 16)),
        hyper_network=HyperNetwork((64, 64)),
        code_size=32,
        optimizer=Adam(lr=5e-3, max_grad_norm=1.0, schedule=CosineSchedule(warmup=10)),
        max_iter=150,
        batch_size=5,
        n_points=256,
    ).fit(clouds(6, 1000))


def test_an_unseen_pair(learned):
    rng = np.random.RandomState(5)
    new = rng.standard_normal((2000, 2))
    X, Y = (rng.standard_normal((2000, 2)) for _ in range(2))
    Y, expected = bend(Y, 1.5), bend(new, 1.5)
    transport = learned.predict_transport(X, Y)
    gaussian = GaussianTransport().fit(X, Y)
    error, baseline = (l2_uvp(expected, fitted.transform(new)) for fitted in (transport, gaussian))
    assert error < 0.6 * baseline  # it was 0.37
    back = transport.inverse_transform(expected)
    assert (
        np.square(back - new).mean()
        < 0.3 * np.square(gaussian.inverse_transform(expected) - new).mean()
    )
    matched = squared_distances(*(torch.from_numpy(s) for s in (X[:1000], Y[:1000]))).numpy()
    cost = matched[linear_sum_assignment(matched)].mean()
    assert abs(transport.wasserstein_distance_**2 - cost) < 0.1 * cost
    assert transport.score(X) > gaussian.score(X)
    assert np.mean(learned.loss_curve_[-20:]) < 0.0


def test_fine_tuning_goes_on_from_the_prediction(learned):
    rng = np.random.RandomState(6)
    X, Y = rng.standard_normal((500, 2)), bend(rng.standard_normal((500, 2)), 1.5)
    transport = learned.predict_transport(X, Y)
    assert transport.n_iter_ == 0
    assert transport.loss_curve_ == []
    predicted = transport.transform(X)
    tuned = copy.deepcopy(transport).set_params(
        warm_start=True, max_iter=5, optimizer=Adam(lr=1e-10)
    )
    assert_allclose(tuned.fit(X, Y).transform(X), predicted, atol=1e-5)
    tuned.set_params(max_iter=50, optimizer=Adam(lr=1e-3)).fit(X, Y)
    assert tuned.n_iter_ == 55
    assert 1e-4 < np.abs(tuned.transform(X) - predicted).mean() < 0.3
    scratch = clone(tuned).set_params(warm_start=False, max_iter=5).fit(X, Y)
    assert tuned.loss_curve_[0] < scratch.loss_curve_[0]


def test_predictions_take_no_training(learned, monkeypatch):
    X, Y = clouds(2, 10_000)
    transport = learned.predict_transport(X, Y)
    start = time.process_time()
    learned.predict_transport(X, Y)
    assert time.process_time() - start < 0.5  # 0.02 on a free machine
    forbid_training(monkeypatch)
    assert transport.loss_curve_ == []
    assert transport.converged_


def test_units_and_shifts_do_not_matter(learned):
    base = learned.predict_transport(X, Y).transform(X)
    moved = learned.predict_transport(1e3 * X + 5e3, 1e-3 * Y - 7.0).transform(1e3 * X + 5e3)
    assert_allclose(1e3 * (moved + 7.0), base, atol=2e-3)


def test_gaussians_are_exact_up_to_what_is_learned():
    rng = np.random.RandomState(0)
    samples = [rng.standard_normal((1000, 3)) @ np.diag(s) + s for s in rng.uniform(1, 3, (4, 3))]
    fitted = meta(max_iter=1, hyper_network=HyperNetwork((16,))).fit(samples)
    transport = fitted.predict_transport(samples[0], samples[1])
    expected = GaussianTransport().fit(samples[0], samples[1]).transform(samples[0])
    assert l2_uvp(expected, transport.transform(samples[0])) < 3.0


def test_the_way_back_is_the_pair_in_the_other_order(learned):
    ahead, back = learned.predict_transport(X, Y), learned.predict_transport(Y, X)
    frame, rows = ahead._learned.frame, torch.from_numpy(Y)
    amortized = ahead._learned.modules["amortizer"](frame.target_rows(rows))
    assert_allclose(
        frame.source_rows_back(amortized).numpy(), back.transform(Y), rtol=1e-4, atol=1e-4
    )


# --- the transport that is predicted ---------------------------------------------------


def test_it_is_a_fitted_transport():
    transport = meta().fit(CLOUDS).predict_transport(X, Y)
    assert isinstance(transport, W2GNTransport)
    assert isinstance(transport.potential, ICNN)
    assert isinstance(transport.amortizer, GradientMap)
    moved = transport.transform(X)
    assert_allclose(transport.inverse_transform(moved), X, atol=1e-2)
    assert np.isfinite([transport.score(X), transport.wasserstein_distance_]).all()
    twin = pickle.loads(pickle.dumps(transport))
    assert_array_equal(twin.transform(X), moved)
    twin.set_params(warm_start=True, max_iter=3).fit(X, Y)
    copied = copy.deepcopy(transport).set_params(warm_start=True, max_iter=3).fit(X, Y)
    assert_array_equal(twin.transform(X), copied.transform(X))
    assert_array_equal(transport.transform(X), moved)
    with pytest.raises(ValueError, match="needs a target of known density"):
        transport.sample()
    assert clone(transport).set_params(max_iter=2).fit(X, Y).n_iter_ == 2


def test_dtypes_and_tensors():
    fitted = meta().fit(CLOUDS)
    expected = fitted.predict_transport(X, Y).transform(X)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    moved = fitted.predict_transport(x, y).transform(x)
    assert isinstance(moved, torch.Tensor)
    assert_allclose(moved.numpy(), expected, rtol=1e-6)
    single = fitted.predict_transport(X.astype("f4"), Y.astype("f4"))
    assert single.transform(X.astype("f4")).dtype == np.float32
    assert_allclose(single.transform(X), expected, atol=1e-3)
    tensors = meta().fit([torch.from_numpy(cloud) for cloud in CLOUDS])
    assert same(tensors, fitted)


# --- images ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoder", [None, ResNetEncoder(image_size=4, channels=(4,)), DeepSets((8,))]
)
def test_images(encoder):
    fitted = meta(encoder=encoder).fit(IMAGES)
    assert isinstance(fitted.encoder_, ResNetEncoder if encoder is None else type(encoder))
    assert fitted.n_features_in_ == 3
    transport = fitted.predict_transport(IMAGES[0], IMAGES[1])
    rows = IMAGES[0].reshape(-1, 3)
    moved = transport.transform(rows)
    assert moved.shape == rows.shape
    assert_allclose(moved.mean(axis=0), IMAGES[1].mean(axis=(0, 1)), atol=5.0)
    floats = meta(encoder=encoder).fit([image / 255.0 for image in IMAGES])
    other = floats.predict_transport(IMAGES[0] / 255.0, IMAGES[1] / 255.0)
    assert_allclose(255.0 * other.transform(rows / 255.0), moved, atol=0.5)
    with pytest.raises(ValueError, match="fitted on images, not on point clouds"):
        fitted.predict_transport(rows, rows)


def test_thumbnails_hold_pixels_of_the_image():
    image = torch.arange(7 * 5 * 3).reshape(7, 5, 3)
    thumbnail = measures.thumbnail(image, 4)
    assert thumbnail.shape == (4, 4, 3)
    assert set(thumbnail[..., 0].flatten().tolist()) <= set(image[..., 0].flatten().tolist())
    assert torch.equal(measures.thumbnail(image[:3, :3], 3), image[:3, :3])


# --- the contract ----------------------------------------------------------------------


def test_pairs_can_be_given():
    pairs = [(0, 1), (2, 3), (0, 3)]
    given = meta().fit([CLOUDS[i] for i, _ in pairs], [CLOUDS[j] for _, j in pairs])
    assert given.converged_
    assert not same(given, meta().fit(CLOUDS))
    # All pairs that there are, in the same order, are what is drawn inside.
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    given = meta().fit([CLOUDS[i] for i, _ in pairs], [CLOUDS[j] for _, j in pairs])
    assert same(given, meta().fit(CLOUDS))
    assert same(given, meta().fit(tuple(CLOUDS)))
    assert same(given, meta().fit(np.stack(CLOUDS)))
    assert meta().fit([CLOUDS[0]], [CLOUDS[1]]).n_iter_ == 6


def test_params_and_clones():
    estimator = meta(encoder=DeepSets((8,)), averaging=ExponentialMovingAverage(0.5))
    twin = clone(estimator)
    assert twin.get_params()["encoder__hidden_layer_sizes"] == (8,)
    assert same(estimator.fit(CLOUDS), twin.fit(CLOUDS))
    estimator.set_params(potential__hidden_layer_sizes=(4, 4))
    assert estimator.fit(CLOUDS).potential_.hidden_layer_sizes == (4, 4)
    with pytest.raises(ValueError, match="Pass an instance, for example"):
        meta().set_params(encoder__activation="elu")
    assert not estimator.__sklearn_tags__().input_tags.two_d_array


@pytest.mark.parametrize(
    "params, name",
    [
        ({"potential": ICNN}, "potential"),
        ({"potential": ICNN((0,))}, "hidden_layer_sizes"),
        ({"encoder": "deep"}, "encoder"),
        ({"encoder": DeepSets(())}, "hidden_layer_sizes"),
        ({"hyper_network": HyperNetwork(activation="step")}, "activation"),
        ({"optimizer": Adam(lr=-1.0)}, "lr"),
        ({"averaging": 0.9}, "averaging"),
        ({"stopping": 3}, "stopping"),
        ({"checkpoint": "file"}, "checkpoint"),
        ({"code_size": 0}, "code_size"),
        ({"n_conjugate_steps": -1}, "n_conjugate_steps"),
        ({"max_iter": 0}, "max_iter"),
        ({"batch_size": 0}, "batch_size"),
        ({"n_points": 1}, "n_points"),
        ({"warm_start": 1.5}, "warm_start"),
    ],
    ids=str,
)
def test_bad_parameters(monkeypatch, params, name):
    forbid_training(monkeypatch)
    estimator = meta(**params)
    for fit in (estimator.fit, estimator.partial_fit):
        with pytest.raises(ValueError, match=f"The {name!r} parameter"):
            fit(CLOUDS)
    with pytest.raises(NotFittedError):
        estimator.predict_transport(X, Y)


BAD = {
    "X is an empty list": ([],),
    "must be a list of point clouds": (X,),
    "at least two": ([X],),
    r"X\[1\] must be a point cloud": ([X, X[0]],),
    "mixes point clouds and images": ([CLOUDS[0], IMAGES[0]],),
    r"X\[0\] has 2, X\[1\] has 1": ([X, Y[:, :1]],),
    r"Input X\[1\] contains NaN": ([X, np.where(Y > 2, np.nan, Y)],),
    "minimum of 2 is required": ([X, Y[:1]],),
    "X has 2 measures, but y has 1": ([X, Y], [X]),
    "y is an empty list": ([X, Y], []),
    r"Input y\[0\] contains infinity": ([X], [Y + np.inf]),
    "same number of features": ([X], [Y[:, :1]]),
    "mixes": ([X], [IMAGES[0]]),
    "could not convert|dtype": ([[["a"], ["b"]], X],),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(monkeypatch, message):
    forbid_training(monkeypatch)
    estimator = meta()
    for fit in (estimator.fit, estimator.partial_fit):
        with pytest.raises(ValueError, match=message):
            fit(*BAD[message])
    assert not hasattr(estimator, "_learned")


def test_bad_encoder_and_bad_predictions():
    with pytest.raises(ValueError, match="reads images, but X holds point clouds"):
        meta(encoder=ResNetEncoder()).fit(CLOUDS)
    fitted = meta().fit(CLOUDS)
    with pytest.raises(ValueError, match="expecting 2 features"):
        fitted.predict_transport(X[:, :1], Y[:, :1])
    with pytest.raises(ValueError, match="Y contains NaN"):
        fitted.predict_transport(X, np.full_like(Y, np.nan))
    with pytest.raises(ValueError, match="fitted on point clouds, not on images"):
        fitted.predict_transport(IMAGES[0], IMAGES[1])
    with pytest.raises(ValueError, match="expecting 2 features"):
        fitted.set_params(warm_start=True).fit([rows[:, :1] for rows in CLOUDS])


# --- repeatability ---------------------------------------------------------------------


def test_seeds():
    assert same(meta().fit(CLOUDS), meta().fit(CLOUDS))
    assert not same(meta().fit(CLOUDS), meta(random_state=1).fit(CLOUDS))
    assert same(meta(random_state=np.random.RandomState(0)).fit(CLOUDS), meta().fit(CLOUDS))


def test_global_state_and_data_are_left_alone():
    def state():
        return (
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )

    before, data = state(), copy.deepcopy(CLOUDS)
    numbers(meta().fit(CLOUDS).partial_fit(CLOUDS))
    assert state() == before
    assert all(np.array_equal(*pair) for pair in zip(CLOUDS, data, strict=True))
    for cloud in data:
        cloud.setflags(write=False)
    with torch.no_grad():
        assert same(meta().fit(data), meta().fit(CLOUDS))


def test_copies():
    fitted = meta().fit(CLOUDS)
    buffer = io.BytesIO()
    joblib.dump(fitted, buffer)
    buffer.seek(0)
    for twin in (joblib.load(buffer), pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert same(twin, fitted)
        assert same(twin.partial_fit(CLOUDS), copy.deepcopy(fitted).partial_fit(CLOUDS))
    many = meta().fit(clouds(4, 20_000))
    assert len(pickle.dumps(many)) - len(pickle.dumps(fitted)) < 10_000


def test_streams_and_warm_starts():
    estimator = meta().partial_fit(CLOUDS)
    assert estimator.n_iter_ == 3
    estimator.partial_fit(CLOUDS[:1], CLOUDS[1:2])
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 4
    estimator = meta(warm_start=True).fit(CLOUDS)
    curve = estimator.loss_curve_
    estimator.fit(CLOUDS)
    assert estimator.n_iter_ == 12
    assert estimator.loss_curve_[:6] == curve
    assert same(clone(estimator).set_params(warm_start=False).fit(CLOUDS), meta().fit(CLOUDS))


# --- components ------------------------------------------------------------------------


@pytest.mark.parametrize("potential", [MLPPotential((8, 8)), Bowls(), ICNN((8,), rank=0)], ids=str)
def test_potentials(potential):
    fitted = meta(potential=potential).fit(CLOUDS)
    transport = fitted.predict_transport(X, Y)
    assert isinstance(transport.potential, type(potential))
    assert np.isfinite(transport.transform(X)).all()
    assert same(fitted, pickle.loads(pickle.dumps(fitted)))


def test_potentials_together_or_one_by_one(monkeypatch):
    together = meta(max_iter=2).fit(CLOUDS)
    monkeypatch.setattr("skot.transport._meta_w2gn.training.can_batch", lambda *_: False)
    assert_allclose(meta(max_iter=2).fit(CLOUDS).loss_curve_, together.loss_curve_, rtol=1e-3)


def test_one_feature_and_few_rows():
    samples = [rows[:, :1] for rows in CLOUDS]
    transport = meta().fit(samples).predict_transport(samples[0], samples[1])
    order = np.argsort(samples[0][:, 0])
    assert (np.diff(transport.transform(samples[0])[order, 0]) >= -1e-6).all()
    few = meta().fit([rows[:2] for rows in CLOUDS]).predict_transport(X[:2], Y[:3])
    assert np.isfinite(few.transform(X)).all()
    flat = [np.column_stack([rows[:, 0], np.ones(len(rows))]) for rows in CLOUDS]
    moved = meta().fit(flat).predict_transport(flat[0], flat[1]).transform(flat[0])
    assert np.isfinite(moved).all()


# --- accidents -------------------------------------------------------------------------


def test_divergence(monkeypatch):
    wrap_losses(monkeypatch, lambda loss, k: loss() * (torch.nan if k == 4 else 1.0))
    with pytest.warns(ConvergenceWarning, match="not finite at iteration 4.*learning rate"):
        fitted = meta().fit(CLOUDS)
    assert not fitted.converged_
    assert np.isfinite(fitted.predict_transport(X, Y).transform(X)).all()


def test_no_finite_state():
    with pytest.raises(FloatingPointError, match="not finite at iteration 0"):
        meta(potential=Broken()).fit(CLOUDS)


def test_a_failed_fit_leaves_the_one_before(monkeypatch):
    fitted = meta().fit(CLOUDS)
    twin = copy.deepcopy(fitted)

    def fail(loss, k):
        raise RuntimeError("no")

    wrap_losses(monkeypatch, fail)
    with pytest.raises(RuntimeError, match="no"):
        fitted.fit([rows[:, :1] for rows in CLOUDS])
    assert same(fitted, twin)


def test_the_keyboard(monkeypatch):
    def interrupt(loss, k):
        if k == 3:
            raise KeyboardInterrupt
        return loss()

    wrap_losses(monkeypatch, interrupt)
    fitted = meta().fit(CLOUDS)
    assert fitted.n_iter_ == 3
    assert not fitted.converged_
    assert np.isfinite(fitted.predict_transport(X, Y).transform(X)).all()


def test_stopping():
    with pytest.warns(ConvergenceWarning, match="held-out loss was still falling"):
        meta(stopping=EarlyStopping(patience=50, check_every=2)).fit(CLOUDS)
    budget = meta(stopping=TimeBudget(seconds=1e-6), max_iter=1000).fit(CLOUDS)
    assert budget.n_iter_ < 10
    meta(stopping=TimeBudget(seconds=100.0)).fit(CLOUDS[:1], CLOUDS[1:2])


def test_checkpoint(tmp_path):
    path = tmp_path / "fit.pt"
    whole = meta().fit(CLOUDS)
    saved = meta(checkpoint=Checkpoint(path, every=2)).fit(CLOUDS)
    assert path.exists()
    assert same(saved, whole)
    assert same(meta(checkpoint=Checkpoint(path, every=2)).fit(CLOUDS), whole)


class Watch:
    """A callback that looks at predictions as training stands, and stops it after some steps."""

    def __init__(self, stop_after):
        self.stop_after = stop_after
        self.distances = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **data):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, **data):
        if context.task_name != "iteration":
            return False
        transport = fitted_estimator.predict_transport(X, Y)
        self.distances.append(transport.wasserstein_distance_)
        return len(self.distances) >= self.stop_after

    def teardown(self, estimator, context):
        pass


def test_callbacks():
    watch = Watch(stop_after=3)
    fitted = meta().set_callbacks(watch).fit(CLOUDS)
    assert fitted.n_iter_ == 3
    assert len(set(watch.distances)) == 3
    assert watch.distances[-1] == fitted.predict_transport(X, Y).wasserstein_distance_
    assert meta().set_callbacks(Watch(stop_after=100)).fit(CLOUDS).n_iter_ == 6


def test_progress_bar(capsys):
    expected = meta().fit(CLOUDS)
    assert capsys.readouterr().out == ""
    verbose = meta(verbose=True).fit(CLOUDS)
    assert "MetaW2GN - fit" in capsys.readouterr().out
    assert same(verbose, expected)
    pickle.dumps(verbose)


def test_many_clouds_make_some_of_their_pairs(monkeypatch):
    monkeypatch.setattr(measures, "_MOST_PAIRS", 5)
    pairs = measures.some_pairs(6)
    assert len(set(pairs)) == 5
    assert pairs == measures.some_pairs(6)
    assert len(measures.some_pairs(3)) == 3
    assert meta(max_iter=2).fit(clouds(6)).predict_transport(X, Y).transform(X).shape == X.shape
