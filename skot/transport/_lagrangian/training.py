"""Training of Lagrangian transport: the modules, the step, and what is solved after it.

In every step end points and paths of a batch are predicted, and refined together by the
c-transform solver. The potential g follows the dual, by Danskin's theorem, at the refined points;
everything else is regression on what was found: the amortizer on the end points, the paths on the
refined paths, the potential f of the source on the values and slopes of the c-transform, and the
inverse amortizer on the pairs that were found, backwards.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from skot.losses import EnergyAugmentation
from skot.networks import StartedMap, StartedPotential
from skot.numerics.action import action
from skot.numerics.linalg import weighted_covariance
from skot.numerics.value_and_gradient import value_and_gradient
from skot.solvers.c_transform import CTransformResult
from skot.training import Annealing
from skot.transport._lagrangian.coordinates import GaussianStart
from skot.transport._lagrangian.model import LagrangianProblem
from skot.transport._neural.networks import build_module
from skot.transport._neural.two_sample_training import TwoSampleTraining

#: Share of a batch whose rows are paired at random, to teach paths between any two points.
_RANDOM_PAIRS = 0.25
#: Rows that the augmentation looks at together; several such parts have less noise than one.
_AUGMENTED = 128


def build_modules(
    architectures: dict[str, Any],
    start: GaussianStart,
    source: Tensor,
    target: Tensor,
    *,
    straight: bool,
    generator: Generator,
) -> dict[str, nn.Module]:
    """Draw the networks, in float32; rows are in the frame."""

    def coordinates(rows: Tensor) -> tuple[Tensor, Tensor]:
        weights = rows.new_full((len(rows),), 1.0 / len(rows))
        return weighted_covariance(rows, weights), torch.eye(rows.shape[1]).to(rows)

    def drawn(name: str, rows: Tensor) -> nn.Module:
        return build_module(
            architectures[name],
            rows.shape[1],
            rows.device,
            generator=generator,
            coordinates=coordinates(rows),
        )

    modules: dict[str, nn.Module] = {
        "potential": StartedPotential(
            drawn("potential", target), start.target_hessian, start.target_slope
        ),
        "amortizer": StartedMap(drawn("amortizer", target), start.matrix, start.shift),
        "source_potential": StartedPotential(
            drawn("potential", source), start.source_hessian, start.source_slope
        ),
        "inverse_amortizer": StartedMap(
            drawn("amortizer", source), start.inverse_matrix, start.inverse_shift
        ),
    }
    if not straight:
        path = architectures["path"].build(source.shape[1], generator=generator)
        modules["path"] = path.to(source.device)
    return {name: module.to(torch.float32) for name, module in modules.items()}


@dataclass(frozen=True)
class LagrangianTraining(TwoSampleTraining):
    """Trains the networks of a state.

    Attributes
    ----------
    problem : LagrangianProblem
        What is solved in every step.
    annealing : Annealing
        How barriers rise.
    augmentation : EnergyAugmentation
        Makes predicted end points follow the sample.
    max_iter : int or None
        Planned number of steps, counted from `first`; None when there is no plan.
    first : int
        Number of the first step.
    """

    problem: LagrangianProblem
    annealing: Annealing
    augmentation: EnergyAugmentation
    max_iter: int | None
    first: int

    def step(
        self, draw_source: Callable[[], Tensor], draw_target: Callable[[], Tensor]
    ) -> Callable[[int], Tensor]:
        """Return the step of training, given what draws batches of each side."""

        def step(i: int) -> Tensor:
            annealed = self.annealing.factors(i - self.first, self.max_iter)
            return self._update(draw_source(), draw_target(), annealed)

        return step

    def held_out_loss(self, modules: dict[str, nn.Module], held_out: dict[str, Tensor]) -> float:
        """Return minus the dual value of the rows that are not trained on."""
        return -self.problem.dual_value(modules, held_out["source"], held_out["target"])

    def _update(self, x: Tensor, y: Tensor, annealed: tuple[float, float]) -> Tensor:
        """Move all networks; return minus the dual value."""
        state, modules = self.state, self.state.modules
        found = self.problem.transport_batch(modules, x, annealed)
        image = found.argument
        on_images, on_target = modules["potential"](torch.cat([image, y])).split(
            [len(image), len(y)]
        )
        losses = {
            "potential": on_images.mean() - on_target.mean(),
            "amortizer": self._map_loss("amortizer", x, image, y),
            "inverse_amortizer": self._map_loss("inverse_amortizer", image, x, x),
            "source_potential": self._slope_loss(x, found, annealed),
        }
        if "path" in modules:
            losses["path"] = self._path_loss(x, y, found, annealed)
        dual = found.value.mean() + on_target.detach().mean()
        for name, loss in losses.items():
            state.updaters[name].update(loss)
        return -dual

    def _map_loss(self, name: str, rows: Tensor, images: Tensor, sample: Tensor) -> Tensor:
        """Regress on what was found, and follow the sample on the other side."""
        predicted = self.state.modules[name](rows)
        # A solver that stays near the prediction finds only a part of the way to go.
        share = 1.0 / (1.0 + getattr(self.problem.solver, "proximity", 0.0))
        loss = _mean_square(predicted - images) / share
        if self.augmentation.weight > 0:
            n_parts = max(1, math.ceil(min(len(predicted), len(sample)) / _AUGMENTED))
            parts = list(
                zip(*(rows.tensor_split(n_parts) for rows in (predicted, sample)), strict=True)
            )
            loss = loss + sum(self.augmentation.evaluate(*part) for part in parts) / len(parts)
        return loss

    def _slope_loss(
        self, x: Tensor, found: CTransformResult, annealed: tuple[float, float]
    ) -> Tensor:
        """Regress the slope of f on that of the c-transform, which the envelope theorem gives."""
        lagrangian, basis = self.problem.lagrangian.annealed(*annealed), self.problem.basis.to(x)
        point = x.detach().requires_grad_()
        costs = action(lagrangian, point, found.argument, found.path, basis)
        (slope,) = torch.autograd.grad(costs.sum(), point)
        return _mean_square(
            value_and_gradient(self.state.modules["source_potential"], x)[1] - slope
        )

    def _path_loss(
        self, x: Tensor, y: Tensor, found: CTransformResult, annealed: tuple[float, float]
    ) -> Tensor:
        """Regress on the refined paths, and lower the action between points paired at random."""
        path = self.state.modules["path"]
        residual = path(x, found.argument) - found.path
        n = max(1, round(_RANDOM_PAIRS * min(len(x), len(y))))
        lagrangian, basis = self.problem.lagrangian.annealed(*annealed), self.problem.basis.to(x)
        between = action(lagrangian, x[:n], y[:n], path(x[:n], y[:n]), basis).mean()
        return _mean_square(residual.flatten(1)) + between


def _mean_square(residual: Tensor) -> Tensor:
    return residual.square().sum(dim=1).mean()
