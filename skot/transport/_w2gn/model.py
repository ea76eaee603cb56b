"""A learned potential at work: the map, its inverse, the density, the distance."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skot.losses import DualBatch, dual_loss
from skot.measures import reference_log_density
from skot.numerics.log_determinant import hessian_log_determinant
from skot.numerics.tiles import NETWORK_WIDTH, row_tiles
from skot.potentials import BrenierPotential, LinearFrame
from skot.solvers.conjugate import ConjugateResult, check_conjugate_result
from skot.transport._neural.two_samples import LearnedTransport
from skot.utils.random import check_generator


@dataclass(frozen=True, kw_only=True)
class LearnedPotential(LearnedTransport):
    """The networks "potential" and "amortizer", whose predictions `conjugate_solver` refines."""

    frame: LinearFrame
    conjugate_solver: Any

    @property
    def potential(self) -> BrenierPotential:
        """The potential on points in the units of the data."""
        return BrenierPotential(self.modules["potential"], self.frame.to(self.dtype))

    def inverse(self, y: Tensor) -> tuple[Tensor, int]:
        """Solve for where target points come from; also the number of those not found."""
        frame, potential = self.potential.frame, self.modules["potential"]
        amortizer = self.modules["amortizer"]
        points, n_failed = torch.empty_like(y.to(frame.target_mean)), 0
        for tile in row_tiles(len(y), NETWORK_WIDTH):
            rows = frame.target_rows(y[tile])
            with torch.no_grad():
                result = _solve(self.conjugate_solver, potential, rows, amortizer(rows))
            points[tile] = frame.source_rows_back(result.argument)
            n_failed += int((~result.converged).sum())
        return points, n_failed

    def log_density(self, x: Tensor, reference: str) -> Tensor:
        """Log-density of source points under the flow to a reference, of shape (n,)."""
        potential = self.potential
        frame = potential.frame
        # The Hessian of f is k P H P, with H that of the learned potential.
        linear = frame.scale * frame.source_matrix @ frame.source_matrix
        log_determinant = hessian_log_determinant(
            self.modules["potential"], frame.source_rows(x), generator=check_generator(0)
        )
        log_reference = reference_log_density(reference, potential.gradient(x))
        return log_reference + log_determinant + torch.linalg.slogdet(linear)[1]

    def distance(self) -> float:
        """2-Wasserstein distance by the dual value on the kept rows."""
        # W2^2 = tr S_x + tr S_y + |m_x - m_y|^2 - 2 k (E phi(x) + E phi*(y)) in the frame.
        frame, (x, y) = self.frame, self.rows
        rows = (frame.source_rows(x).to(self.dtype), frame.target_rows(y).to(self.dtype))
        loss = dual_value(self.modules, *rows, self.conjugate_solver)
        squared = (x - frame.source_mean).square().sum(dim=1).mean()
        squared += (y - frame.target_mean).square().sum(dim=1).mean()
        squared += (frame.source_mean - frame.target_mean).square().sum()
        return math.sqrt(max(float(squared) - 2.0 * frame.scale * loss, 0.0))


def dual_batch(modules: dict[str, nn.Module], x: Tensor, y: Tensor, solver: Any) -> DualBatch:
    """Predict and solve the conjugates of target rows."""
    prediction = modules["amortizer"](y)
    guess = prediction.detach()
    refines = getattr(solver, "refines", True)
    solution = guess
    if refines:
        solution = _solve(solver, modules["potential"], y, guess).argument.detach()
    return DualBatch(
        x, y, modules["potential"], modules["amortizer"], prediction, solution, refined=refines
    )


def _solve(solver: Any, potential: nn.Module, y: Tensor, guess: Tensor) -> ConjugateResult:
    """Ask any object with ``solve`` for the conjugates of rows (m, n_features)."""
    result = solver.solve(potential, y, guess)
    return check_conjugate_result(result, y, f"{type(solver).__name__}.solve")


def dual_value(modules: dict[str, nn.Module], x: Tensor, y: Tensor, solver: Any) -> float:
    """Return the dual loss on given rows, without a graph."""
    with torch.no_grad():
        return float(dual_loss(dual_batch(modules, x, y, solver)))
