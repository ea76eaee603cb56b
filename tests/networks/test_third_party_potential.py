"""The architecture of potentials that the documentation shows."""

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skot import NeuralOT, W2GNTransport
from skot.metrics import l2_uvp
from skot.networks import ICNN, Potential
from skot.training import Adam, CosineSchedule
from skot.utils._sklearn import InvalidParameterError

FILE = Path(__file__).parents[2] / "docs" / "extending" / "convex_ridges.py"
FAST = Adam(lr=0.03, schedule=CosineSchedule())

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(2000, 2)), rng.normal(size=(2000, 2))


@pytest.fixture(scope="module")
def potential_class():
    name = "convex_ridges"
    spec = importlib.util.spec_from_file_location(name, FILE)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    yield sys.modules[name].ConvexRidges
    del sys.modules[name]


def drawn(potential, n_features=3, seed=0):
    return potential.build(n_features, generator=torch.Generator().manual_seed(seed))


def roughened(module):
    """The same with jumps of all sizes, none of them negative."""
    with torch.no_grad():
        module.jumps.uniform_(0.0, 1.0, generator=torch.Generator().manual_seed(1))
    return module


def test_starts_near_half_a_square(potential_class):
    module = drawn(potential_class(), n_features=8)
    x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    values, gradients = module.value_and_gradient(x)
    assert values.dtype == torch.float32
    assert (gradients - x).square().mean() < 0.05
    assert not any(buffer.requires_grad for buffer in module.buffers())


def test_gradient_is_that_of_the_value(potential_class):
    module = roughened(drawn(potential_class(8, n_knots=5))).double()
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(module(x).sum(), x)
    torch.testing.assert_close(module.value_and_gradient(x)[1], expected)
    assert torch.autograd.gradcheck(module, x)


def test_convex_after_projection(potential_class):
    module = drawn(potential_class(8, n_knots=5)).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        module.jumps.normal_(generator=generator)
        module.curvature.fill_(-1.0)
    x, y = torch.randn(2, 500, 3, generator=generator, dtype=torch.float64)

    def gap():
        return 0.5 * (module(x) + module(y)) - module(0.5 * (x + y))

    assert gap().min() < -0.01
    module.project_()
    # Strongly convex, with the curvature that is left.
    assert (gap() - 0.01 / 8.0 * (x - y).square().sum(1)).min() > -1e-10


def test_draws_come_from_the_generator_alone(potential_class):
    state = torch.get_rng_state()
    first, second = drawn(potential_class()), drawn(potential_class())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.directions, second.directions)
    assert not torch.equal(first.directions, drawn(potential_class(), seed=1).directions)


def test_finds_a_map_that_is_a_sum_of_ridges(potential_class):
    """In rotated axes each coordinate is sent to two groups, by a monotone function."""
    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])

    def split(z):
        return 0.5 * z + 1.5 * np.tanh(3.0 * z)

    transport = W2GNTransport(
        potential_class(), optimizer=FAST, max_iter=150, batch_size=256, random_state=0
    ).fit(X @ turn, split(Y) @ turn)
    new = np.random.default_rng(1).normal(size=(1000, 2))
    assert l2_uvp(split(new) @ turn, transport.transform(new @ turn)) < 2.0
    back = transport.inverse_transform(transport.transform(new @ turn))
    np.testing.assert_allclose(back, new @ turn, atol=0.02)


def test_potential_of_neural_ot(potential_class):
    potential = potential_class(16)
    assert potential.has_quadratic_term
    fitted = NeuralOT(potential=potential, max_iter=50, batch_size=128, random_state=0)
    assert l2_uvp(2.0 * X + 1.0, fitted.fit(X, 2.0 * Y + 1.0).transform(X)) < 2.0


def test_is_a_component_like_any_other(potential_class):
    potential = potential_class(8)
    assert isinstance(potential, Potential)
    assert clone(potential).get_params() == {"n_directions": 8, "n_knots": 12}
    transport = W2GNTransport(potential, max_iter=5, random_state=0)
    assert clone(transport).set_params(potential__n_knots=5).potential.n_knots == 5
    fitted = transport.fit(X, Y)
    restored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(restored.transform(X), fitted.transform(X))
    again = clone(transport).fit(X, Y)
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
    with pytest.raises(InvalidParameterError, match="The 'n_knots' parameter of ConvexRidges"):
        W2GNTransport(potential_class(n_knots="many")).fit(X, Y)


def test_search(potential_class):
    search = GridSearchCV(
        W2GNTransport(max_iter=2, batch_size=64, random_state=0),
        {"potential": [ICNN((8,)), potential_class(8)]},
        cv=2,
    ).fit(X[:200], Y[:200])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_is_short():
    code = [line for line in FILE.read_text().splitlines() if line.strip()]
    assert len(code) <= 42
