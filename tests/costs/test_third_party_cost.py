"""The ground cost that the documentation shows."""

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skot import NeuralOT, SinkhornTransport
from skot.costs import Cost
from skot.utils._sklearn import InvalidParameterError

FILE = Path(__file__).parents[2] / "docs" / "extending" / "geographic_cost.py"


@pytest.fixture(scope="module")
def cost_class():
    name = "geographic_cost"
    spec = importlib.util.spec_from_file_location(name, FILE)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    yield sys.modules[name].Geographic
    del sys.modules[name]


def places(n_rows, seed, latitude=80.0, longitude=180.0):
    """Rows of latitude, longitude and one more column."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(n_rows, 3, generator=generator, dtype=torch.float64)
    return (2.0 * uniform - 1.0) * torch.tensor([latitude, longitude, 3.0], dtype=torch.float64)


def kilometres(cost_class, x, y):
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    return cost_class().paired(x[:, :2], y[:, :2]).sqrt()


def test_distances(cost_class):
    paris, new_york = torch.tensor([[48.8566, 2.3522], [40.7128, -74.0060]], dtype=torch.float64)
    cost = cost_class(km_per_unit=10.0)
    assert cost.pairwise(paris[None], new_york[None]).sqrt().item() == pytest.approx(5837, abs=1)
    pole = torch.tensor([[90.0, 0.0, 1.0]], dtype=torch.float64)
    equator = torch.tensor([[0.0, 77.0, 4.0], [0.0, -77.0, 1.0]], dtype=torch.float64)
    quarter = (0.5 * np.pi * 6371.0) ** 2
    expected = torch.tensor([[quarter + 900.0, quarter]], dtype=torch.float64)
    torch.testing.assert_close(cost.pairwise(pole, equator), expected)


def test_paired_is_the_diagonal(cost_class):
    x, y = places(20, 0), places(20, 1)
    cost = cost_class(3.0)
    torch.testing.assert_close(cost.paired(x, y), cost.pairwise(x, y).diagonal())
    torch.testing.assert_close(cost.paired(x, y), Cost.paired(cost, x, y))


def test_gradients(cost_class):
    x, y = places(6, 0).requires_grad_(), places(4, 1).requires_grad_()
    # In kilometres squared per degree: the numerical ones have few digits after the point.
    assert torch.autograd.gradcheck(cost_class(50.0).pairwise, (x, y), eps=1e-5, atol=1.0)
    same = places(5, 0).requires_grad_()
    (slope,) = torch.autograd.grad(cost_class().paired(same, same.detach()).sum(), same)
    assert (slope == 0.0).all()


@pytest.mark.parametrize("km_per_unit", [1.0, 300.0])
def test_twist_inverts_the_gradient(cost_class, km_per_unit):
    """Across the date line too."""
    cost = cost_class(km_per_unit)
    x, y = places(200, 0).requires_grad_(), places(200, 1)
    (gradient,) = torch.autograd.grad(cost.paired(x, y).sum(), x)
    reached = cost.twist(x.detach(), gradient)
    assert (x - y)[:, 1].abs().max() > 180.0
    assert kilometres(cost_class, reached, y).max() < 0.01
    torch.testing.assert_close(reached[:, 2], y[:, 2])


def test_all_mass_to_one_place(cost_class):
    X, Y = places(30, 0).numpy(), places(1, 1).repeat(2, 1).numpy()
    moved = SinkhornTransport(cost=cost_class()).fit(X, Y).transform(X)
    assert kilometres(cost_class, moved, np.repeat(Y, 15, axis=0)).max() < 0.01


def test_a_small_patch_is_flat(cost_class):
    """Near the equator the cost is the squared Euclidean one, in kilometres."""
    rng = np.random.default_rng(0)
    unit = np.array([np.pi / 180 * 6371.0] * 2 + [100.0])
    X, Y = 0.05 * rng.normal(size=(60, 3)), 0.05 * rng.normal(size=(50, 3)) + 0.1
    moved = SinkhornTransport(residual=0, cost=cost_class(100.0)).fit(X, Y)
    # That scale is taken after centring; this cost knows no centring.
    flat = SinkhornTransport(residual=0, scale_cost=moved.epsilon_ / 0.05).fit(X * unit, Y * unit)
    np.testing.assert_allclose(moved.transform(X) * unit, flat.transform(X * unit), atol=1e-2)
    np.testing.assert_allclose(moved.coupling_, flat.coupling_, atol=1e-5)


def test_the_date_line_is_a_meridian_like_any_other(cost_class):
    X, Y = places(40, 0, 20.0, 30.0).numpy(), places(50, 1, 20.0, 30.0).numpy()
    transport = SinkhornTransport(cost=cost_class())
    expected = transport.fit(X, Y).transform(X)

    def turned(rows):
        return np.column_stack([rows[:, 0], (rows[:, 1] + 360.0) % 360.0 - 180.0, rows[:, 2]])

    moved = transport.fit(turned(X), turned(Y)).transform(turned(X))
    assert kilometres(cost_class, moved, turned(expected)).max() < 0.01
    np.testing.assert_allclose(moved[:, 2], expected[:, 2], atol=1e-6)


def test_learned(cost_class):
    """What is cheap to change changes: rows keep their value where a unit is a long way."""
    rng = np.random.default_rng(0)
    value = np.repeat([-1.0, 1.0], 150)
    X = np.column_stack([rng.normal(size=300), rng.normal(size=300), value])
    Y = X + np.column_stack([rng.normal(size=300) * 0.1, 4.0 * value, 0.0 * value])
    fitted = NeuralOT(
        cost_class(1000.0), max_iter=40, n_map_steps=5, batch_size=128, random_state=0
    ).fit(X, Y)
    off = kilometres(cost_class, fitted.transform(X), Y)
    assert off.mean() < 0.3 * kilometres(cost_class, X, Y).mean()
    expected = kilometres(cost_class, X, Y).square().mean().item()
    assert fitted.cost_value_ == pytest.approx(expected, rel=0.2)


def minus_kilometres(transport, X, Y):
    moved = transport.transform(X)
    cost = transport.cost_
    return -cost.paired(*(torch.as_tensor(rows[:, :2]) for rows in (moved, Y))).sqrt().mean().item()


def test_is_a_component_like_any_other(cost_class):
    transport = SinkhornTransport(cost=cost_class(5.0))
    assert isinstance(transport.cost, Cost)
    assert clone(transport).cost.get_params() == {"km_per_unit": 5.0}
    assert clone(transport).set_params(cost__km_per_unit=7.0).cost.km_per_unit == 7.0
    X, Y = places(30, 0).numpy(), places(30, 1).numpy()
    fitted = transport.fit(X, Y)
    restored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(restored.transform(X), fitted.transform(X))
    with pytest.raises(InvalidParameterError, match="The 'km_per_unit' parameter of Geographic"):
        SinkhornTransport(cost=cost_class("far")).fit(X, Y)
    with pytest.raises(ValueError, match="must be positive"):
        SinkhornTransport(cost=cost_class(0.0)).fit(X, Y)


def test_search(cost_class):
    rng = np.random.default_rng(0)
    value = rng.permutation(np.repeat([-1.0, 1.0], 45))
    X = np.column_stack([rng.normal(size=90), rng.normal(size=90), value])
    Y = X + np.column_stack([0.0 * value, 4.0 * value, 0.0 * value])
    search = GridSearchCV(
        SinkhornTransport(epsilon=0.01, cost=cost_class()),
        {"cost__km_per_unit": [1.0, 1000.0]},
        scoring=minus_kilometres,
        cv=3,
    ).fit(X, Y)
    assert search.best_params_ == {"cost__km_per_unit": 1000.0}


def test_is_short():
    code = [line for line in FILE.read_text().splitlines() if line.strip()]
    assert len(code) <= 52
