"""The weak cost that the documentation shows."""

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skot import NeuralOT
from skot.losses import WeakCost, WeakQuadratic
from skot.metrics import l2_uvp
from skot.networks import ConditionalMLP, MLPMap, MLPPotential
from skot.training import ExponentialMovingAverage
from skot.utils._sklearn import InvalidParameterError

FILE = Path(__file__).parents[2] / "docs" / "extending" / "guided_weak_cost.py"

rng = np.random.RandomState(0)
X, NEW = rng.normal(size=(2000, 2)), rng.normal(size=(2000, 2))
# A quarter turn, then wider in one direction and narrower in the other.
TURN, STRETCH = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([2.0, 0.5])
Y = rng.normal(size=(2000, 2)) * STRETCH + [3.0, 0.0]


def turned(x):
    return x @ torch.as_tensor(TURN, dtype=x.dtype)


def turned_back(y):
    return y @ torch.as_tensor(TURN.T, dtype=y.dtype)


@pytest.fixture(scope="module")
def cost_class():
    name = "guided_weak_cost"
    spec = importlib.util.spec_from_file_location(name, FILE)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    yield sys.modules[name].GuidedQuadratic
    del sys.modules[name]


def transport(cost, transport_map, **params):
    settings = {
        "averaging": ExponentialMovingAverage(0.95),
        "max_iter": 150,
        "n_map_steps": 5,
        "batch_size": 128,
        "random_state": 0,
    }
    return NeuralOT(
        cost,
        transport_map=transport_map,
        potential=MLPPotential((32, 32)),
        **{**settings, **params},
    )


def test_images_are_those_of_the_guess_moved_as_little_as_possible(cost_class):
    """The optimal map for the cost is that for half the squared distance, after the guess."""
    fitted = transport(cost_class(turned), MLPMap((32, 32))).fit(X, Y)
    expected = NEW @ TURN * STRETCH + [3.0, 0.0]
    assert l2_uvp(expected, fitted.transform(NEW)) < 5.0
    # Without the guess the cost would be the same, but the map another one, far off.
    assert fitted.cost_value_ == pytest.approx((1.0 + 0.25 + 9.0) / 2.0, rel=0.1)
    assert l2_uvp(NEW * STRETCH + [3.0, 0.0], fitted.transform(NEW)) > 50.0


def test_splits_mass(cost_class):
    """Means near the guess, and where the target is wider noise."""
    cost = cost_class(turned, gamma=0.8)
    fitted = transport(cost, ConditionalMLP((32, 32))).fit(X, Y)
    means = fitted.sample_transform(NEW, 32, random_state=0).mean(axis=1)
    slope = np.linalg.lstsq(NEW @ TURN, means, rcond=None)[0]
    # By features: 1 / gamma where that is below the ratio of the widths, else the ratio.
    np.testing.assert_allclose(slope, np.diag([1.25, 0.5]), atol=0.15)
    variance = fitted.conditional_variance(NEW).mean(axis=0)
    np.testing.assert_allclose(variance, [4.0 - 1.25**2, 0.0], atol=0.6)


def test_the_way_back(cost_class):
    cost = cost_class(turned, inverse_guess=turned_back)
    fitted = transport(cost, MLPMap((32, 32)), fit_inverse_transform=True).fit(X, Y)
    expected = ((Y - [3.0, 0.0]) / STRETCH) @ TURN.T
    assert l2_uvp(expected, fitted.inverse_transform(Y)) < 5.0


def test_the_estimate_has_no_bias(cost_class):
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(100000, 2, dtype=torch.float64)
    y = torch.randn(100000, 2, 2, generator=generator, dtype=torch.float64)
    # Half the expected squared distance is 1, the variance 2.
    assert cost_class(turned, 0.5).evaluate(x, y).mean().item() == pytest.approx(0.5, abs=0.02)
    y = torch.randn(50, 3, 2, generator=generator, dtype=torch.float64)
    x = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    for gamma in (0.0, 0.7):
        torch.testing.assert_close(
            cost_class(turned, gamma).evaluate(x, y), WeakQuadratic(gamma).evaluate(turned(x), y)
        )


def test_is_a_component_like_any_other(cost_class):
    cost = cost_class(turned, gamma=0.5)
    assert isinstance(cost, WeakCost)
    assert cost.splits_mass
    assert not cost_class(turned).splits_mass
    expected = {"guess": turned, "gamma": 0.5, "inverse_guess": None}
    assert clone(cost).get_params() == expected
    nested = clone(NeuralOT(cost)).set_params(cost__gamma=0.9)
    assert nested.cost.gamma == 0.9
    assert pickle.loads(pickle.dumps(nested)).cost.guess is turned
    with pytest.raises(InvalidParameterError, match="The 'guess' parameter of GuidedQuadratic"):
        NeuralOT(cost_class("rough")).fit(X, Y)
    with pytest.raises(ValueError, match="at least two images"):
        NeuralOT(cost, n_noise_samples=1).fit(X, Y)


def test_is_short():
    code = [line for line in FILE.read_text().splitlines() if line.strip()]
    assert len(code) <= 32
