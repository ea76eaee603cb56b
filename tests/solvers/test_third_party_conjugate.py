"""The conjugate solver that the documentation shows."""

import importlib.util
from pathlib import Path

import pytest
import torch
from sklearn.base import clone

from skot.base import check_component
from skot.solvers.conjugate import BestSoFar, ConjugateSolver, LBFGSConjugate
from skot.utils._sklearn import InvalidParameterError

FILE = Path(__file__).parents[2] / "docs" / "extending" / "gradient_descent_conjugate.py"


@pytest.fixture(scope="module")
def solver_class():
    spec = importlib.util.spec_from_file_location("gradient_descent_conjugate", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NesterovConjugate


def potential(x):
    return torch.logaddexp(x, -2.0 * x).sum(1) + 0.5 * x.square().sum(1)


def test_agrees_with_lbfgs(solver_class):
    y = 2.0 * torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = solver_class(step=0.25, tol=1e-7).solve(potential, y)
    expected = LBFGSConjugate(tol=1e-9).solve(potential, y)
    assert result.converged.all()
    assert result.n_iter.min() > 1
    torch.testing.assert_close(result.argument, expected.argument, rtol=0, atol=1e-6)
    torch.testing.assert_close(result.value, expected.value, rtol=0, atol=1e-9)


def test_rows_that_run_out_of_iterations_are_not_converged(solver_class):
    y = torch.tensor([[0.0, 0.0], [50.0, 50.0]])
    start = LBFGSConjugate(tol=1e-4).solve(potential, y).argument
    start[1] += 1.0
    result = solver_class(max_iter=1).solve(potential, y, start)
    assert result.converged.tolist() == [True, False]
    assert result.n_iter.tolist() == [0, 1]


def test_is_a_component_like_any_other(solver_class):
    solver = solver_class(step=0.2)
    assert isinstance(solver, ConjugateSolver)
    assert clone(solver).get_params() == {"step": 0.2, "max_iter": 200, "tol": 1e-3}
    nested = BestSoFar(solver).set_params(solver__step=0.3)
    assert check_component(nested, default=None, kind="solve", name="solver").solver.step == 0.3
    with pytest.raises(InvalidParameterError, match="The 'step' parameter of NesterovConjugate"):
        check_component(solver_class(step="big"), default=None, kind="solve", name="solver")


def test_is_short():
    code = [line for line in FILE.read_text().splitlines() if line.strip()]
    assert len(code) <= 32
