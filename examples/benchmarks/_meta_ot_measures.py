"""Passes of Sinkhorn's iteration from different starts.

A pass is g from f, then f from g; the error is that of the target marginal afterwards, in the L1
norm, looked at after every pass. Every start is a source potential, whose half step g is what the
solver is given.
"""

import time
from typing import Any

import numpy as np
import torch
from _meta_ot_problems import MetaProblem
from torch import Tensor

from skot import MetaOTRegressor
from skot.costs import GridCost
from skot.solvers import GaussianInitializer, SemiDual, sinkhorn

TOL = 1e-2
#: Passes of all problems, with acceleration and annealing where that is said.
PLAIN = {"anderson_memory": 0, "annealing": False}


def part(problem: MetaProblem, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the weights of both sides."""
    n = problem.cost.size if isinstance(problem.cost, GridCost) else len(problem.cost.matrix)
    sides = (torch.from_numpy(rows[:, :n]).double(), torch.from_numpy(rows[:, n:]).double())
    a, b = (side / side.sum(1, keepdim=True) for side in sides)
    return a, b


def start_from(
    name: str, problem: MetaProblem, rows: np.ndarray, regressor: MetaOTRegressor | None = None
) -> Tensor:
    """Return the target potentials that belong to a start.

    "mean potential" is the mean of the source potentials of solved training problems; "unchecked"
    does without the comparison with zeros.
    """
    a, b = part(problem, rows)
    if name == "Meta OT":
        return regressor.initial_target_potential(a, b)
    f = torch.zeros_like(a)
    if name == "Gaussian":
        swapped = _Swapped(problem.cost, b, a)
        f = GaussianInitializer().target_potential(swapped, problem.epsilon)
    elif name == "mean potential":
        f = f + mean_potential(problem)
    elif name == "Meta OT unchecked":
        f = torch.from_numpy(regressor.predict(rows)).double()
    return SemiDual(problem.cost, problem.epsilon).step(f, a, b).target_potential


class _Swapped:
    """The problem with its sides swapped, as an initializer sees it."""

    points = ()

    def __init__(self, cost: Any, a: Tensor, b: Tensor):
        self.cost, self.a, self.b = cost, a, b


def mean_potential(problem: MetaProblem, n: int = 20) -> Tensor:
    """Mean source potential of solved training problems, each of mean zero over all points."""
    rows = problem.draw(n, np.random.RandomState(4))
    a, b = part(problem, rows)
    potentials = [
        sinkhorn(
            a=a[k],
            b=b[k],
            cost=problem.cost,
            epsilon=problem.epsilon,
            tol=TOL,
            max_iter=problem.max_iter,
        ).f
        for k in range(n)
    ]
    f = torch.stack(potentials)
    return (f - f.mean(1, keepdim=True)).mean(0)


def solve(problem: MetaProblem, rows: np.ndarray, g: Tensor | None, **options) -> dict[str, Any]:
    """Solve the problems from given potentials; return passes and processor seconds of each."""
    a, b = part(problem, rows)
    start = time.process_time()
    result = sinkhorn(
        a=a,
        b=b,
        cost=problem.cost,
        epsilon=problem.epsilon,
        tol=TOL,
        max_iter=problem.max_iter,
        initializer=g,
        **options,
    )
    seconds = time.process_time() - start
    return {
        "passes": result.passes.numpy(),
        "seconds": seconds / len(rows),
        "error": result.marginal_error.numpy(),
        "converged": result.converged.numpy(),
    }


def solve_meta(
    problem: MetaProblem, rows: np.ndarray, regressor: MetaOTRegressor
) -> dict[str, Any]:
    """Solve by the regressor, predictions included, accelerated where it pays."""
    start = time.process_time()
    result = regressor.solve(rows, tol=TOL, max_iter=problem.max_iter)
    seconds = time.process_time() - start
    return {"passes": result.passes.numpy(), "seconds": seconds / len(rows)}


def error_after(problem: MetaProblem, rows: np.ndarray, g: Tensor, n_passes: int) -> np.ndarray:
    """Return the marginal errors after some passes of plain Sinkhorn."""
    a, b = part(problem, rows)
    result = sinkhorn(
        a=a,
        b=b,
        cost=problem.cost,
        epsilon=problem.epsilon,
        tol=1e-12,
        max_iter=n_passes,
        initializer=g,
        **PLAIN,
    )
    return result.marginal_error.numpy()
