"""Whether two parameters mean the same: by what they hold and do, not by who they are."""

import copy
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.preprocessing import StandardScaler

from skot.costs import GridCost, HillObstacle, KineticPotential, PrecomputedCost
from skot.losses import WeakQuadratic
from skot.networks import MLPPotential
from skot.utils._equality import is_same


class Holder:
    """An object without an equality of its own."""

    def __init__(self, value):
        self.value = value

    def method(self, x):
        return self.value * x


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


@dataclass
class Record:
    value: object


def power(p):
    return lambda x: x**p


def scaled(x, s):
    return s * x


def holds_itself(value):
    holder = Holder(value)
    holder.me = holder
    return holder


SAME = [
    (MLPPotential((8, 8)), MLPPotential([np.int64(8), 8])),
    (WeakQuadratic(1), WeakQuadratic(np.float64(1.0))),
    (KineticPotential(HillObstacle(strength=5)), KineticPotential(HillObstacle(strength=5.0))),
    (GridCost((6,)), GridCost([6])),
    (PrecomputedCost([[1, 2]]), PrecomputedCost(torch.tensor([[1.0, 2.0]]))),
    (np.array([1.0, np.nan]), np.array([1.0, np.nan])),
    (np.nan, float("nan")),
    (power(2), power(2)),
    (partial(scaled, s=2.0), partial(scaled, s=2)),
    (Holder(3).method, Holder(3).method),
    (Holder(torch.ones(2, requires_grad=True)), Holder(torch.ones(2))),
    (Holder(torch.ones(2, dtype=torch.bfloat16)), Holder(torch.ones(2, dtype=torch.bfloat16))),
    (Slotted([1]), Slotted((1,))),
    (Record(torch.ones(2)), Record(torch.ones(2))),
    (holds_itself(1), holds_itself(1)),
    ({"a": [1, {"b": np.ones(2)}]}, {"a": (1, {"b": torch.ones(2)})}),
    # What cannot be compared is not held against anybody.
    (Holder(pd.DataFrame({"a": [1]})), Holder(pd.DataFrame({"a": [1]}))),
    (Holder(scipy.sparse.eye_array(2)), Holder(scipy.sparse.eye_array(2))),
    (Holder(torch.eye(2).to_sparse()), Holder(torch.eye(2).to_sparse())),
    (np.random.RandomState(0), np.random.RandomState(0)),
    (torch.Generator(), torch.Generator()),
]
OTHER = [
    (MLPPotential((8, 8)), MLPPotential((8,))),
    (WeakQuadratic(1.0), WeakQuadratic(0.5)),
    (GridCost((6,)), None),
    (GridCost((6,)), GridCost((6,), power=1.0)),
    (PrecomputedCost([[1, 2]]), PrecomputedCost([[1, 3]])),
    ("gaussian", "identity"),
    ("1", 1),
    (power(2), power(3)),
    (lambda x: x**2, lambda x: x**3),
    (np.sin, np.cos),
    (partial(scaled, s=2.0), partial(scaled, s=3.0)),
    (Holder(3).method, Holder(4).method),
    (Holder(power(2)), Holder(power(3))),
    (Holder(np.ones(2)), Holder(np.zeros(2))),
    (Slotted(1), Slotted(2)),
    (Record(torch.ones(2)), Record(torch.zeros(2))),
    (holds_itself(1), holds_itself(2)),
    (torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)),
    (StandardScaler().fit([[0.0]]), StandardScaler().fit([[0.0], [1.0]])),
]


def of_kinds(value):
    return type(value).__name__ if not isinstance(value, str) else value


@pytest.mark.parametrize("one, other", SAME, ids=of_kinds)
def test_same(one, other):
    assert is_same(one, other)
    assert is_same(other, one)


@pytest.mark.parametrize("one, other", OTHER, ids=of_kinds)
def test_other(one, other):
    assert not is_same(one, other)
    assert not is_same(other, one)


@pytest.mark.parametrize("value", [pair[0] for pair in OTHER if pair[0] is not None], ids=of_kinds)
def test_copies_are_the_same(value):
    assert is_same(value, copy.deepcopy(value))
