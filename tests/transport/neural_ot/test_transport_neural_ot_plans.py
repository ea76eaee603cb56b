"""Neural optimal transport: plans that split mass, their draws and diagnostics, the way back."""

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from _neural_transports import Noisies, QuarterTurn, Watch, X, Y, gaussian_problem, strong, weak
from _problems import numpy_samples
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skot import GaussianTransport
from skot.losses import WeakQuadratic
from skot.metrics import l2_uvp
from skot.networks import ResNetPotential, UNet
from skot.potentials import TranslationFrame
from skot.training import Adam
from skot.transport import PlanDiagnostics, TransportDiagnostics

# --- closed forms ----------------------------------------------------------------------


def standardized(rows):
    """Rows with exactly the mean and the covariance of the standard normal."""
    centred = rows - rows.mean(axis=0)
    factor = np.linalg.cholesky(np.cov(centred.T, bias=True).reshape(2 * rows.shape[1:]))
    return np.linalg.solve(factor, centred.T).T


GAMMAS = (0.6, 0.75, 0.9)


@pytest.fixture(scope="module")
def weak_fits():
    """N(0, 1) to N(1, 4) on the line, for the weak quadratic cost."""
    rng = np.random.RandomState(0)
    X = standardized(rng.standard_normal((2000, 1)))
    Y = 2.0 * standardized(rng.standard_normal((2000, 1))) + 1.0
    params = {"max_iter": 200, "n_map_steps": 4, "batch_size": 128}
    return X, {gamma: weak(gamma, **params).fit(X, Y) for gamma in GAMMAS}


@pytest.mark.parametrize("gamma", GAMMAS)
def test_weak_quadratic_on_the_line(weak_fits, gamma):
    """Conditional means are x / gamma + 1, and the rest of the variance is split."""
    X, fits = weak_fits
    transport = fits[gamma]
    slope, offset = np.polyfit(X[:, 0], transport.transform(X)[:, 0], 1)
    assert slope == pytest.approx(1.0 / gamma, rel=0.04)
    assert offset == pytest.approx(1.0, abs=0.08)
    variance = 4.0 - 1.0 / gamma**2
    # 6 % and 8 % of the variance of the target: it takes 1000 iterations to be more accurate.
    assert transport.conditional_variance(X).mean() == pytest.approx(variance, abs=0.25)
    draws = transport.sample_transform(X, 20, random_state=0)
    assert draws.var(axis=1, ddof=1).mean() == pytest.approx(variance, abs=0.32)
    assert draws.std() == pytest.approx(2.0, rel=0.05)
    cost = 0.5 + 0.5 * (1.0 - gamma) * 4.0 + 0.5 * (1.0 - 1.0 / gamma)
    assert transport.dual_value_ == pytest.approx(cost, abs=0.12)


def test_more_mass_is_split_the_larger_gamma(weak_fits):
    X, fits = weak_fits
    variances = [fits[gamma].conditional_variance(X).mean() for gamma in GAMMAS]
    assert_array_equal(np.sort(variances), variances)
    assert variances[-1] > 1.5 * variances[0]
    # Between gamma 1/2, where mass begins to be split, and the whole variance of the target.
    assert 0.0 < variances[0] < variances[-1] < 4.0


def test_weak_quadratic_of_small_gamma_splits_nothing():
    rng = np.random.RandomState(0)
    X = standardized(rng.standard_normal((1000, 1)))
    Y = 2.0 * standardized(rng.standard_normal((1000, 1)))
    with warnings.catch_warnings():
        # It may be found out, and is what is wanted here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport = weak(0.25, max_iter=150, n_map_steps=4, batch_size=128).fit(X, Y)
    assert transport.conditional_variance(X).mean() < 0.08 * 4.0
    assert np.polyfit(X[:, 0], transport.transform(X)[:, 0], 1)[0] == pytest.approx(2.0, rel=0.06)


# --- plans that split mass -------------------------------------------------------------


@pytest.fixture(scope="module")
def split_plan():
    """Of a target that is more spread than the source: there mass is split."""
    return weak(max_iter=80, n_map_steps=4).fit(Y, X)


def test_draws(split_plan):
    draws = split_plan.sample_transform(X, 5, random_state=0)
    assert draws.shape == (64, 5, 2)
    assert draws.dtype == np.float64
    assert_array_equal(split_plan.sample_transform(X, 5, random_state=0), draws)
    other = split_plan.sample_transform(X, 5, random_state=1)
    assert np.abs(other - draws).min() > 0.0
    assert np.abs(draws[:, 0] - draws[:, 1]).min() > 0.0
    assert split_plan.sample_transform(X).shape == (64, 1, 2)
    # Without a seed the noise is fresh.
    assert np.abs(split_plan.sample_transform(X) - split_plan.sample_transform(X)).max() > 0.0


def test_kinds_of_draws(split_plan):
    expected = split_plan.sample_transform(X, 3, random_state=0)
    single = split_plan.sample_transform(X.astype("f4"), 3, random_state=0)
    assert single.dtype == np.float32
    assert_allclose(single, expected, atol=1e-5)
    tensor = split_plan.sample_transform(torch.from_numpy(X).float(), 3, random_state=0)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.float32
    assert_allclose(tensor, expected, atol=1e-5)
    variance = split_plan.conditional_variance(torch.from_numpy(X))
    assert isinstance(variance, torch.Tensor)
    assert_allclose(variance, split_plan.conditional_variance(X))
    assert split_plan.conditional_variance(X.astype("f4")).dtype == np.float32


@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "two", None])
def test_bad_numbers_of_draws(split_plan, n_samples):
    with pytest.raises(ValueError, match="n_samples must be a positive integer"):
        split_plan.sample_transform(X, n_samples)


def test_moments_are_those_of_the_bank(split_plan):
    module, frame = split_plan._learned.modules["transport_map"], split_plan._learned.frame
    bank = split_plan.noise_bank_
    assert bank.shape == (64, 2)
    with torch.no_grad():
        drawn = module(frame.source_rows(torch.from_numpy(X)), bank.expand(len(X), -1, -1))
    images = frame.target_rows_back(drawn).numpy()
    assert_allclose(split_plan.transform(X), images.mean(axis=1), rtol=1e-10)
    variance = images.var(axis=1, ddof=1)
    assert_allclose(split_plan.conditional_variance(X), variance, rtol=1e-9)
    assert variance.min() > 0.0


def test_moments_agree_with_many_draws(split_plan):
    draws = split_plan.sample_transform(X[:5], 20_000, random_state=0)
    error = 4.0 * draws.std(axis=1) / math.sqrt(20_000)
    # The bank is a sample too, if a good one.
    assert (np.abs(split_plan.transform(X[:5]) - draws.mean(axis=1)) < 3.0 * error).all()
    assert_allclose(split_plan.conditional_variance(X[:5]), draws.var(axis=1), rtol=0.15)


def test_moments_do_not_depend_on_the_tiles(split_plan):
    rng = np.random.RandomState(3)
    rows = rng.standard_normal((500, 2))  # of which 64 fit into a tile
    assert_allclose(split_plan.transform(rows)[170:180], split_plan.transform(rows[170:180]))
    variance = split_plan.conditional_variance(rows)
    assert_allclose(variance[170:180], split_plan.conditional_variance(rows[170:180]))


def test_a_deterministic_map():
    transport = strong().fit(X, Y)
    assert_array_equal(transport.conditional_variance(X), np.zeros_like(X))
    draws = transport.sample_transform(X, 4, random_state=0)
    for j in range(4):
        assert_array_equal(draws[:, j], transport.transform(X))


def test_the_score_looks_at_draws(split_plan):
    # Conditional means are less spread than the target, which the images follow.
    assert split_plan.score(Y) == split_plan.score(Y)
    means, draws = split_plan.transform(Y), split_plan.sample_transform(Y, 1, random_state=0)[:, 0]
    assert means.var(axis=0).sum() < 0.9 * draws.var(axis=0).sum()
    drawn = GaussianTransport().fit(X, X)
    assert drawn.score(draws) == pytest.approx(split_plan.score(Y), abs=1e-3)
    assert drawn.score(means) < split_plan.score(Y)


def test_values_are_those_of_the_plan(split_plan):
    images = split_plan.sample_transform(Y, 16, random_state=0)
    cost = split_plan.cost_.evaluate(torch.from_numpy(Y), torch.from_numpy(images)).mean()
    assert split_plan.cost_value_ == pytest.approx(float(cost))
    g = split_plan.potential_
    gap = g(torch.from_numpy(images).flatten(0, 1)).mean() - g(torch.from_numpy(X)).mean()
    assert split_plan.duality_gap_ == pytest.approx(float(gap))
    assert split_plan.dual_value_ == pytest.approx(float(cost - gap))


def test_a_warm_start_keeps_the_noise():
    transport = weak(warm_start=True).fit(X, Y)
    bank = transport.noise_bank_
    assert transport.set_params(max_iter=10).fit(X, Y).noise_bank_ is bank


# --- diagnostics -----------------------------------------------------------------------


def test_diagnose(split_plan):
    other, new = numpy_samples(150, 200, seed=1)
    result = split_plan.diagnose(new, other)
    assert isinstance(result, PlanDiagnostics)
    assert isinstance(result, TransportDiagnostics)
    assert result.dual_value == pytest.approx(result.cost_value - result.duality_gap)
    assert result.target_variance == pytest.approx(other.var(axis=0).sum())
    draws = split_plan.sample_transform(new, 16, random_state=0)
    variance = draws.var(axis=1).sum(axis=1).mean()
    assert result.conditional_variance == pytest.approx(variance, rel=1e-6)
    assert 0.0 < result.divergence_floor == result.divergence_error < 0.3
    assert result.divergence < 0.05 * result.divergence_before
    score = -split_plan.score(new, other) * result.target_variance
    assert result.divergence == pytest.approx(score, abs=6 * result.divergence_error)
    assert result.divergence_before == pytest.approx(18.0, rel=0.15)
    assert split_plan.diagnose(new, other) == result
    assert split_plan.diagnose(new, other, random_state=1) != result
    lines = dict(line.split(maxsplit=1) for line in str(result).splitlines())
    assert list(lines)[-2:] == ["cost", "noise"]
    assert lines["cost"].startswith(f"{result.cost_value:.4g}, dual value")
    assert lines["noise"] == f"conditional variance {result.conditional_variance:.3g}"
    tensors = split_plan.diagnose(torch.from_numpy(new), torch.from_numpy(other))
    assert tensors == result
    # Labels are no target: that of the fit is.
    assert split_plan.diagnose(new, np.zeros(200)) == split_plan.diagnose(new)
    with pytest.raises(NotFittedError):
        strong().diagnose(new, other)


def test_diagnose_does_not_depend_on_the_order_of_the_target(split_plan):
    """A sorted target has halves that differ: each has to be a sample of the whole."""
    other, new = numpy_samples(150, 200, seed=1)
    ordered = other[np.argsort(other[:, 0])]
    floor = split_plan.diagnose(new, ordered).divergence_floor
    # Halves by the first feature would be more than a standard deviation apart, here 1.
    assert floor < 0.3


def test_diagnose_of_a_deterministic_map():
    result = strong().fit(X, Y).diagnose(X, Y)
    assert result.conditional_variance == 0.0


def test_a_map_that_does_not_use_its_noise_is_reported():
    deaf = {"transport_map": Noisies(hears=False), "max_iter": 100}
    with pytest.warns(ConvergenceWarning, match="the map does not use its noise") as caught:
        transport = weak(**deaf).fit(X, Y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "increase gamma" in str(caught[0].message)
    with pytest.warns(ConvergenceWarning, match="does not use its noise") as caught:
        transport.partial_fit(X, Y)
    assert caught[0].filename == __file__
    weak(**{**deaf, "max_iter": 99}).fit(X, Y)  # without a warning: it may just have begun
    assert_array_equal(transport.conditional_variance(X), np.zeros_like(X))
    weak(**deaf, cost=None).fit(X, Y)  # without a warning: nothing is to be split


class Steep(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, y):
        return 200.0 * self.weight * y.square().sum(dim=1).sqrt()


class Steeps:
    def build(self, n_features, *, generator):
        return Steep()


def test_a_potential_that_ran_away_is_reported():
    with pytest.warns(ConvergenceWarning, match="the potential ran away") as caught:
        transport = strong(potential=Steeps()).fit(X, Y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "GradientPenalty" in str(caught[0].message)
    assert transport.converged_
    # One iteration of the same is not reported where training was interrupted on purpose.
    strong(potential=Steeps()).set_callbacks(Watch(stop_after=2)).fit(X, Y)


@pytest.mark.parametrize("shift", [1e2, 1e4, 1e7])
@pytest.mark.parametrize("cost", [None, "sqeuclidean"])
def test_samples_that_are_far_apart_are_nothing_to_report(cost, shift):
    """The slightest difference of means is worth a lot then, whatever the potential."""
    base = strong(cost).fit(X, Y)
    transport = strong(cost).fit(X, Y + shift)  # without a warning
    assert_allclose(transport.transform(X) - shift, base.transform(X), atol=1e-6)
    assert abs(transport.duality_gap_) < 1e-2 * transport.cost_value_


# --- the way back ----------------------------------------------------------------------


def test_no_inverse_unless_it_is_asked_for():
    transport = strong().fit(X, Y)
    assert not hasattr(transport, "inverse_transform")
    assert hasattr(strong(fit_inverse_transform=True), "inverse_transform")
    with pytest.raises(NotFittedError, match="instance is not fitted"):
        strong(fit_inverse_transform=True).inverse_transform(Y)
    transport.set_params(fit_inverse_transform=True)
    with pytest.raises(NotFittedError, match="fitted with fit_inverse_transform=False"):
        transport.inverse_transform(Y)
    pipeline = make_pipeline(StandardScaler(), strong())
    assert not hasattr(pipeline, "inverse_transform")


def test_the_way_back():
    X, Y, _, _ = gaussian_problem(1000)
    transport = strong(fit_inverse_transform=True, max_iter=100, n_map_steps=4, batch_size=128).fit(
        X, Y
    )
    assert l2_uvp(X, transport.inverse_transform(transport.transform(X))) < 1.0
    # It is a map of its own, and not the way there.
    assert l2_uvp(X, transport.transform(transport.transform(X))) > 50.0


def test_the_way_back_does_not_change_the_way_there_in_kind():
    both = weak(fit_inverse_transform=True).fit(X, Y)
    assert_allclose(both.transform(X).mean(axis=0), Y.mean(axis=0), atol=0.2)
    assert_allclose(both.inverse_transform(Y).mean(axis=0), X.mean(axis=0), atol=0.3)
    single = both.inverse_transform(Y.astype("f4"))
    assert single.dtype == np.float32
    assert_allclose(single, both.inverse_transform(Y), atol=1e-5)


def test_the_way_back_has_the_reversed_cost():
    """The cost taken as it is would turn on, to -x, instead of back."""
    rng = np.random.RandomState(0)
    X, again = rng.standard_normal((2, 500, 2)) * [2.0, 1.0]
    Y = np.stack([-again[:, 1], again[:, 0]], axis=1)
    transport = strong(
        QuarterTurn(),
        fit_inverse_transform=True,
        optimizer=Adam(lr=2e-2, betas=(0.5, 0.9)),
        max_iter=120,
        n_map_steps=3,
        batch_size=128,
    ).fit(X, Y)
    turned = np.stack([-X[:, 1], X[:, 0]], axis=1)
    assert l2_uvp(turned, transport.transform(X)) < 10.0
    assert l2_uvp(X, transport.inverse_transform(turned)) < 10.0
    assert l2_uvp(-X, transport.inverse_transform(turned)) > 100.0


# --- images, devices -------------------------------------------------------------------


@pytest.mark.parametrize("noise_channels", [0, 1])
def test_images(noise_channels):
    rng = np.random.RandomState(0)
    X, Y = rng.uniform(size=(40, 18)), rng.uniform(size=(40, 18)) ** 2
    networks = {
        "transport_map": UNet((2, 3, 3), channels=(4, 4), noise_channels=noise_channels),
        "potential": ResNetPotential((2, 3, 3), channels=(4, 4)),
    }
    cost = WeakQuadratic() if noise_channels else None
    transport = strong(cost, **networks, max_iter=5).fit(X, Y)
    assert_allclose(transport.transform(X).mean(axis=0), Y.mean(axis=0), atol=0.3)
    # A linear change of coordinates would mix pixels, and not fit into memory.
    assert isinstance(transport._learned.frame, TranslationFrame)
    if noise_channels:
        assert transport.noise_bank_.shape == (64, 9)


@pytest.mark.gpu
@pytest.mark.parametrize("images", [False, True])
def test_cuda(images):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(64, 16)), 2.0 * rng.normal(size=(64, 16))
    networks = {}
    if images:
        networks = {
            "transport_map": UNet((4, 4), channels=(4, 8), noise_channels=1),
            "potential": ResNetPotential((4, 4), channels=(4, 8)),
        }
    transport = weak(**networks, device="cuda", fit_inverse_transform=True).fit(X, Y)
    moved = transport.transform(X)
    assert isinstance(moved, np.ndarray)
    loaded = pickle.loads(pickle.dumps(transport))
    assert loaded.potential_.frame.source_mean.device.type == "cpu"
    assert_allclose(loaded.transform(X), moved, rtol=1e-5, atol=1e-5)
    assert_allclose(loaded.inverse_transform(Y), transport.inverse_transform(Y), atol=1e-5)
    assert_allclose(loaded.conditional_variance(X), transport.conditional_variance(X), atol=1e-5)
