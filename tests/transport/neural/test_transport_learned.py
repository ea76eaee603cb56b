"""What was learned is one frozen object, which moves whole."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from skot import (
    LagrangianMetricLearner,
    LagrangianOT,
    MetaOTRegressor,
    MetaW2GN,
    NeuralOT,
    W2GNTransport,
)
from skot.costs import HillObstacle, KineticPotential, SupportCost
from skot.losses import WeakQuadratic

RNG = np.random.RandomState(0)
X, Y = RNG.normal(size=(30, 2)), RNG.normal(size=(30, 2)) + 1.0
WEIGHTS = RNG.uniform(0.1, 1.0, size=(8, 4))
SMALL = {"max_iter": 1, "random_state": 0}
FITS = [
    (W2GNTransport(**SMALL), (X, Y), "transform"),
    (NeuralOT(WeakQuadratic(0.5), fit_inverse_transform=True, **SMALL), (X, Y), "transform"),
    (LagrangianOT(KineticPotential(HillObstacle()), **SMALL), (X, Y), "transform"),
    (LagrangianMetricLearner(**SMALL), (X, np.repeat([0, 1], 15)), "transform"),
    (
        MetaOTRegressor(SupportCost(X[:2], Y[:2]), **SMALL),
        (np.abs(X) @ np.ones((2, 4)),),
        "predict",
    ),
    (MetaW2GN(**SMALL), ([X, Y],), None),
]
each = pytest.mark.parametrize("estimator, data, method", FITS, ids=lambda v: type(v).__name__)


def tensors(value):
    """All tensors that an object holds, but those that are made where they are needed."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.state_dict().values()
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif dataclasses.is_dataclass(value) and hasattr(value, "to"):
        for field in dataclasses.fields(value):
            yield from tensors(getattr(value, field.name))


@each
def test_it_moves_whole(estimator, data, method):
    learned = estimator.fit(*data)._learned
    moved = learned.to("meta")
    assert {tensor.device.type for tensor in tensors(moved)} == {"meta"}
    assert moved.device.type == "meta"
    # The one before stays where it was.
    assert {tensor.device.type for tensor in tensors(learned)} == {"cpu"}


@each
def test_it_is_the_same_elsewhere(estimator, data, method):
    estimator.fit(*data)
    if method is None:
        pytest.skip("predicts transports, see the tests of MetaW2GN")
    before = getattr(estimator, method)(data[0])
    estimator._learned = estimator._learned.to("cpu")
    np.testing.assert_array_equal(getattr(estimator, method)(data[0]), before)


@each
def test_it_is_frozen(estimator, data, method):
    learned = estimator.fit(*data)._learned
    with pytest.raises(dataclasses.FrozenInstanceError):
        learned.modules = {}
    other = learned.with_modules(dict.fromkeys(learned.modules, nn.Linear(1, 1)))
    assert type(other) is type(learned)
    assert other.modules.keys() == learned.modules.keys() != {}
    assert all(isinstance(module, nn.Module) for module in learned.modules.values())
    assert not any(p.requires_grad for m in learned.modules.values() for p in m.parameters())
    assert torch.is_tensor(next(tensors(learned)))
