"""Results say what they are in a few lines."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from skot import GaussianTransport, SinkhornTransport, W2GNTransport
from skot.costs import SquaredEuclidean
from skot.measures import EmpiricalMeasure
from skot.metrics import probability_transport, sinkhorn_divergence
from skot.networks import MLPMap, MLPPotential
from skot.solvers import sinkhorn, sinkhorn_class_regularized
from skot.solvers.conjugate import LBFGSConjugate
from skot.training import TrainingResult
from skot.utils import split_domains
from skot.utils._brief import brief, brief_repr, named
from skot.utils._pickling import packed, unpacked

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(40, 3)), rng.normal(size=(30, 3))
x, y = torch.from_numpy(X), torch.from_numpy(Y)


def w2gn_potential():
    networks = {"potential": MLPPotential((8,)), "amortizer": MLPMap((8,))}
    return W2GNTransport(**networks, max_iter=1, random_state=0).fit(X, Y).potential_


RESULTS = {
    "SinkhornResult": lambda: sinkhorn(x, y, epsilon=1.0),
    "SparsePlan": lambda: sinkhorn(x, y, epsilon=1.0).plan.tosparse(),
    "ClassRegularizedResult": lambda: sinkhorn_class_regularized(
        x, y, np.arange(40) % 2, epsilon=1.0, class_reg=0.1
    ),
    "SinkhornDivergence": lambda: sinkhorn_divergence(X, Y, return_result=True),
    "ProbabilityTransport": lambda: probability_transport(
        [0.5, 0.5], [0.2, 0.8], [[0.0, 1.0], [1.0, 0.0]], epsilon=0.1
    ),
    "EntropicPotentials": lambda: SinkhornTransport().fit(X, Y).potentials_,
    "TrainingResult": lambda: TrainingResult(500, True, "converged", (1.0,) * 500, 0.25),
    "ConjugateResult": lambda: LBFGSConjugate().solve(lambda z: z.square().sum(1), y),
    "EmpiricalMeasure": lambda: EmpiricalMeasure.from_points(X),
    "FactorizedCost": lambda: SquaredEuclidean().factorize(x, y),
    "DomainSplit": lambda: split_domains(GaussianTransport(), X, Y),
    "BrenierPotential": w2gn_potential,
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_in_a_few_lines(name):
    text = repr(RESULTS[name]())
    lines = text.splitlines()
    assert text.startswith(f"{name}(")
    assert text.endswith(")")
    assert len(lines) <= 6
    assert max(map(len, lines)) <= 100
    assert "0x" not in text


def test_shapes_and_figures():
    result = sinkhorn(x, y, epsilon=1.0)
    text = repr(result)
    assert "f=<tensor (40,), float64>" in text
    assert f"dual_value={float(result.dual_value):.6g}" in text
    assert "converged=True" in text
    assert f"errors={brief(result.errors)}" in text


@pytest.mark.parametrize(
    "value, expected",
    [
        (np.zeros((2, 3), np.float32), "<array (2, 3), float32>"),
        (torch.zeros(5, dtype=torch.bool), "<tensor (5,), bool>"),
        (torch.tensor(0.5), "0.5"),
        (np.float64(1e-3), "0.001"),
        (np.array([7]), "7"),
        ((1, 2.0), "(1, 2)"),
        ((1,), "(1,)"),
        ([1, 2, 3, 4], "<list of 4>"),
        ({}, "{}"),
        (csr_array(np.eye(3)), "<csr_array (3, 3), float64, 3 stored>"),
        (object(), "<object>"),
        ("a" * 80, "<str>"),
        (None, "None"),
    ],
)
def test_brief(value, expected):
    assert brief(value) == expected


def test_named():
    assert named(SinkhornTransport()) == "SinkhornTransport()"
    assert named(SinkhornTransport(), "epsilon") == "SinkhornTransport(epsilon=0.05)"
    changed = SinkhornTransport(epsilon=1e-3, cost=SquaredEuclidean(), verbose=True, random_state=3)
    assert named(changed) == "SinkhornTransport(epsilon=0.001, cost=SquaredEuclidean())"


def test_packed_tensors_come_back():
    state = {"a": x, "b": (1, y.bool()), "c": [np.ones(2), "text"], "d": torch.ones(1).bfloat16()}
    back = unpacked(pickle.loads(pickle.dumps(packed(state))))
    assert torch.equal(back["a"], x)
    assert torch.equal(back["b"][1], y.bool())
    assert isinstance(back["c"][0], np.ndarray)
    assert back["d"].dtype is torch.bfloat16
    assert packed(x.clone().requires_grad_()).requires_grad


def test_equal_tensors_have_the_same_hash():
    assert joblib.hash(packed(x)) == joblib.hash(packed(x.clone()))
    measure = EmpiricalMeasure.from_points(X)
    twin = copy.deepcopy(measure)
    assert joblib.hash(measure) == joblib.hash(twin)
    twin.points[0] += 1.0
    assert not torch.equal(measure.points, twin.points)
    assert joblib.hash(measure) != joblib.hash(twin)


def test_brief_repr_takes_named_tuples():
    assert brief_repr(SquaredEuclidean().standardize(x, y, x[:, 0], y[:, 0])).count("<tensor") == 4
