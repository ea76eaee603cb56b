"""What the page on losses says is not differentiable behaves as it says."""

import re
import warnings
from pathlib import Path

import pytest
import torch

from skot.metrics import (
    energy_distance,
    maximum_mean_discrepancy,
    probability_transport_loss,
    sinkhorn_divergence,
    wasserstein_distance,
)
from skot.solvers import sinkhorn

PAGE = Path(__file__).resolve().parents[1] / "docs" / "user_guide" / "losses.md"
SECTION = PAGE.read_text(encoding="utf-8").partition("## What is not differentiable")[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in re.findall(r"^\|.*\|$", SECTION, re.M)
][2:]

GENERATOR = torch.Generator().manual_seed(0)
X, Y = (torch.randn(n, 2, generator=GENERATOR, dtype=torch.float64) for n in (5, 4))
ROWS_OF_THREE = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], dtype=torch.float64)
MATRIX = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]], dtype=torch.float64)
FIRST_ORDER = (wasserstein_distance, energy_distance, maximum_mean_discrepancy)


def leaf(values=X):
    return values.clone().requires_grad_(True)


def solve(x=X, y=Y, **options):
    return sinkhorn(x, y, **{"epsilon": 0.5, **options})


def value(x):
    return solve(x).dual_value


def differentiate(function, times, at=X):
    at = result = leaf(at)
    result = function(at)
    for _ in range(times):
        (result,) = torch.autograd.grad(result.square().sum(), at, create_graph=True)
    return result


def divergence(x):
    return sinkhorn_divergence(x, Y, epsilon=0.5)


def loss(a):
    return probability_transport_loss(a, ROWS_OF_THREE.flip(0), MATRIX, epsilon=0.5)


def transforms(*functions):
    calls = [
        lambda f: torch.func.vmap(f)(X[None]),
        lambda f: torch.func.jacrev(f)(X),
        lambda f: torch.func.jacfwd(f)(X),
        lambda f: torch.func.hessian(f)(X),
    ]
    return [lambda f=f, call=call: call(f) for f in functions for call in calls]


PARTS = (
    lambda r: r.f,
    lambda r: r.g,
    lambda r: r.plan.apply(Y),
    lambda r: r.plan.toarray(),
)
#: What every row of the table that raises asks for, by the beginning of its first cell.
RAISES = {
    "a third derivative": [
        *(lambda f=f: differentiate(f, 3) for f in (value, divergence)),
        lambda: differentiate(loss, 3, ROWS_OF_THREE),
    ],
    "a second derivative of `f`": [
        lambda part=part: differentiate(lambda x: part(solve(x)), 2) for part in PARTS
    ],
    "`torch.func.jvp`": [lambda: torch.func.jvp(value, (X,), (X,))],
    "`torch.func.vmap`": transforms(value),
    "`torch.autograd.functional.hvp`": [lambda: torch.autograd.functional.hvp(value, X, X)],
    "`torch.autograd.functional.hessian`": [
        lambda: torch.autograd.functional.hessian(value, X, vectorize=True)
    ],
    "`epsilon`": [lambda: solve(epsilon=torch.tensor(0.5, requires_grad=True))],
    "the table": [lambda: solve(class_cost=(torch.zeros(5, dtype=torch.int64), leaf(Y.T[:1])))],
    "`maximum_mean_discrepancy`": [
        lambda: maximum_mean_discrepancy(leaf(), Y, kernel=lambda X, Y: X @ Y.T)
    ],
    "a second derivative of `wasserstein_distance`": [
        lambda f=f: differentiate(lambda x: f(x, Y), 2) for f in FIRST_ORDER
    ],
    "any transform": [
        *transforms(*(lambda x, f=f: f(x, Y) for f in FIRST_ORDER)),
        *(lambda f=f: torch.func.grad(lambda x: f(x, Y))(X) for f in FIRST_ORDER),
    ],
    "a batch": [lambda f=f: f(X[None], Y[None]) for f in FIRST_ORDER],
}


def without_graph():
    result = solve(leaf())
    return {
        "`cost_value`": [result.cost_value, result.primal_value, result.marginal_error],
        "`plan.tiles`": [*result.plan.marginals(), *(tile for _, tile in result.plan.tiles())],
        "an `initializer`": [solve(initializer=leaf(Y[:, 0])).dual_value],
    }


@pytest.mark.parametrize("begins", RAISES)
def test_raises_as_it_says(begins):
    ((_, said),) = [row for row in ROWS if row[0].startswith(begins)]
    error = {"RuntimeError": RuntimeError, "ValueError": ValueError}[said.split("`")[1]]
    for ask in RAISES[begins]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about its own functions
            with pytest.raises(error):
                ask()


@pytest.mark.parametrize("begins", without_graph())
def test_has_no_graph(begins):
    ((_, said),) = [row for row in ROWS if row[0].startswith(begins)]
    assert "graph" in said
    for part in without_graph()[begins]:
        assert not getattr(part, "requires_grad", False)


def test_defaults_are_constants():
    epsilon = sinkhorn_divergence(X, Y, return_result=True).cross.epsilon
    Z = torch.cat([X, Y])
    gamma = float(0.5 / torch.pdist(Z).square().quantile(0.5))
    for function, default in (
        (sinkhorn_divergence, {"epsilon": epsilon}),
        (maximum_mean_discrepancy, {"gamma": gamma}),
    ):
        found = differentiate(lambda x, f=function: f(x, Y), 1)
        expected = differentiate(lambda x, f=function, d=default: f(x, Y, **d), 1)
        torch.testing.assert_close(found, expected)


def test_every_row_is_checked():
    known = (*RAISES, *without_graph(), "the default `epsilon`")
    for asked, _ in ROWS:
        assert sum(asked.startswith(begins) for begins in known) == 1, asked
    assert len(ROWS) == len(known)


def test_what_is_to_be_taken_instead_works():
    hessian = torch.autograd.functional.hessian(value, X).reshape(10, 10)
    product = torch.autograd.functional.vhp(value, X, X)[1]
    torch.testing.assert_close(product.flatten(), hessian @ X.flatten())
    assert solve(leaf()).plan.apply_transpose(torch.ones(5, dtype=torch.float64)).requires_grad
