"""What every transport says about itself."""

import copy
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skot import GaussianTransport, SinkhornTransport
from skot.measures import EmpiricalMeasure
from skot.transport import BaseTransport
from skot.transport._diagnostics import (
    arrival_verdict,
    outside_share,
    outside_verdict,
    spread_verdict,
)
from skot.utils import split_domains, stack_domains


class Affine(BaseTransport):
    """Somebody's transport, with one factor for all directions and a shift by one."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y=None, *, sample_domain=None):
        split = split_domains(self, X, y, sample_domain)
        _, self._target = self._read_samples(X, split, "normal", 0)
        return self

    def _map(self, x, labels):
        return self.scale * x + 1.0


def samples(seed=0, n=300, d=3):
    """Fitted and new rows of both sides; the target has twice the scale."""
    rng = np.random.default_rng(seed)
    X, Y, X_new, Y_new = rng.normal(size=(4, n, d))
    return X, 2.0 * Y + 1.0, X_new, 2.0 * Y_new + 1.0


@pytest.fixture(scope="module")
def gaussian():
    X, Y, *_ = samples()
    return GaussianTransport().fit(X, Y)


def test_numbers_are_those_of_the_definitions(gaussian):
    *_, X_new, Y_new = samples()
    found = gaussian.diagnose(X_new, Y_new)
    moved = gaussian.transform(X_new)
    variance = Y_new.var(axis=0).sum()
    assert found.target_variance == pytest.approx(variance)
    assert found.spread == pytest.approx(moved.var(axis=0).sum())
    assert found.divergence == pytest.approx(-gaussian.score(X_new, Y_new) * variance)
    # A shift by one and twice the scale of three features are 6 apart.
    assert found.divergence_before == pytest.approx(6.0, abs=1.5)
    assert found.converged is None
    stretch = np.linalg.eigvalsh(gaussian.linear_)
    assert found.conditioning == pytest.approx(stretch.max() / stretch.min())


def test_a_good_fit_is_within_noise_and_a_shift_is_not():
    X, Y, X_new, Y_new = samples(n=1000)
    exact = Affine(2.0).fit(X, Y)
    assert exact.diagnose(X_new, Y_new).verdicts == {
        "arrival": "within sampling noise of the target",
        "spread": "as spread as the target",
        "outside": "inside the data of the fit",
        "convergence": "nothing iterates",
        "conditioning": "not known",
    }
    assert GaussianTransport().fit(X, Y).diagnose(X_new, Y_new).verdicts["conditioning"] == (
        "no direction is lost or blown up"
    )
    half = Affine(1.0).fit(X, Y).diagnose(X_new, Y_new)
    assert half.verdicts["arrival"].startswith("beside the target by")
    assert half.verdicts["spread"].startswith("collapsed: 0.2")
    assert half.verdicts["conditioning"] == "not known"


def test_a_collapsed_map_is_said_to_be_one():
    X, Y, X_new, Y_new = samples(n=200, d=20)
    found = SinkhornTransport(50.0, residual=0).fit(X, Y).diagnose(X_new, Y_new)
    assert found.verdicts["spread"].startswith("collapsed")
    assert found.verdicts["conditioning"].startswith("nearly all targets in every average")
    assert found.conditioning == pytest.approx(200.0, rel=0.01)
    assert "within" not in found.verdicts["arrival"]
    sharp = SinkhornTransport(1e-4, residual=0, max_iter=5000).fit(X, Y)
    verdict = sharp.diagnose(X_new, Y_new).verdicts["conditioning"]
    assert verdict.startswith("averages of single targets")


def test_a_fit_that_did_not_converge_says_so():
    X, Y, X_new, Y_new = samples()
    with pytest.warns(ConvergenceWarning):
        transport = SinkhornTransport(1e-3, max_iter=1).fit(X, Y)
    found = transport.diagnose(X_new, Y_new)
    assert found.converged is False
    assert found.verdicts["convergence"].startswith("not converged")


def test_rows_outside_of_the_fit():
    fitted = torch.arange(101.0, dtype=torch.float64)[:, None]
    rows = torch.tensor([[50.5], [101.0], [101.5], [-2.0]], dtype=torch.float64)
    source = EmpiricalMeasure.from_points(rows, [1.0, 1.0, 2.0, 4.0])
    # Neighbours are one apart: the last two rows are farther.
    assert outside_share(source, fitted) == pytest.approx(6.0 / 8.0)
    assert outside_share(EmpiricalMeasure.from_points(fitted), fitted) == 0.0
    # As many as the quantile says, of rows of the same law.
    rng = np.random.default_rng(0)
    fitted, new = (torch.from_numpy(rng.normal(size=(1000, 5))) for _ in range(2))
    assert outside_share(EmpiricalMeasure.from_points(new), fitted) < 0.03


def test_outside_is_found_by_the_transports(gaussian):
    *_, X_new, Y_new = samples()
    assert gaussian.diagnose(X_new, Y_new).outside < 0.05
    far = gaussian.diagnose(np.concatenate([X_new, X_new + 8.0]), Y_new)
    assert far.outside == pytest.approx(0.5, abs=0.03)
    assert far.verdicts["outside"].startswith("outside the data of the fit")


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ((0.1, 5.0, (0.1, 0.1), 10.0), "within sampling noise"),
        ((-0.5, 5.0, (0.1, 0.1), 10.0), "closer to the target than another sample"),
        ((1.0, 5.0, (0.1, 0.1), 10.0), "beside the target by 10 % of its variance"),
        ((1.0, 5.0, (0.1, 0.1), 0.0), "beside the target"),
        ((4.9, 5.0, (0.1, 0.1), 10.0), "no nearer to the target than before"),
        ((9.0, 5.0, (0.1, 0.1), 10.0), "farther from the target than before"),
        ((9.0, 5.0, (np.nan, np.nan), 10.0), "too few rows"),
    ],
)
def test_verdicts_of_arrival(numbers, verdict):
    assert arrival_verdict(*numbers).startswith(verdict)


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(0.0, "collapsed"), (0.6, "less spread"), (1.0, "as spread"), (2.0, "more spread")],
)
def test_verdicts_of_spread(ratio, verdict):
    assert spread_verdict(3.0 * ratio, 3.0).startswith(verdict)
    assert spread_verdict(1.0, 0.0) == "the target has none"


def test_verdicts_of_rows_outside():
    assert outside_verdict(None).startswith("not known")
    assert outside_verdict(0.02).startswith("inside")
    assert outside_verdict(0.2).startswith("outside")


def test_print_is_a_line_for_each_verdict(gaussian):
    *_, X_new, Y_new = samples()
    found = gaussian.diagnose(X_new, Y_new)
    lines = str(found).splitlines()
    assert [line.split()[0] for line in lines] == list(found.verdicts)
    for line, verdict in zip(lines, found.verdicts.values(), strict=True):
        assert line.endswith(verdict)


def test_it_is_frozen_hashable_and_can_be_copied(gaussian):
    *_, X_new, Y_new = samples()
    found = gaussian.diagnose(X_new, Y_new)
    with pytest.raises(FrozenInstanceError):
        found.divergence = 0.0
    assert hash(found) == hash(copy.deepcopy(found))
    assert pickle.loads(pickle.dumps(found)) == found


def test_the_calls_are_those_of_score(gaussian):
    X, Y, X_new, Y_new = samples()
    found = gaussian.diagnose(X_new, Y_new)
    rows, _, sample_domain = stack_domains(X_new, Y_new)
    assert gaussian.diagnose(rows, sample_domain=sample_domain).divergence == pytest.approx(
        found.divergence
    )
    assert gaussian.diagnose(torch.from_numpy(X_new), torch.from_numpy(Y_new)) == found
    weights = np.linspace(0.1, 3.0, len(X_new))
    weighted = gaussian.diagnose(X_new, Y_new, weights)
    assert weighted.divergence == pytest.approx(
        -gaussian.score(X_new, Y_new, weights) * found.target_variance
    )
    loaded = pickle.loads(pickle.dumps(gaussian))
    assert loaded.diagnose(X_new, Y_new) == found
    with pytest.raises(NotFittedError):
        GaussianTransport().diagnose(X, Y)
    with pytest.raises(ValueError, match="diagnose needs source rows"):
        gaussian.diagnose(X, sample_domain=-np.ones(len(X), dtype=int))
    with pytest.raises(ValueError, match="diagnose compares halves"):
        gaussian.diagnose(X[:1], Y)
    rows, _, sample_domain = stack_domains(X, Y)
    stacked = GaussianTransport().fit(rows, sample_domain=sample_domain)
    with pytest.raises(ValueError, match="so diagnose needs to know the target"):
        stacked.diagnose(X)
    with pytest.warns(UserWarning, match="diagnose has none"):
        GaussianTransport().fit(X, Y, weights).diagnose(X_new, Y_new)


def test_a_target_without_spread_and_one_of_its_rows():
    X, *_ = samples()
    found = GaussianTransport().fit(X, np.ones((50, 3))).diagnose(X)
    assert found.target_variance == 0.0
    assert found.verdicts["spread"] == "the target has none"
    assert found.conditioning == np.inf
