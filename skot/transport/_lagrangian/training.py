"""Training of Lagrangian transport: the modules, the step, and what is solved after it.

In every step end points and paths of a batch are predicted, and refined together by the
c-transform solver. The potential g follows the dual, by Danskin's theorem, at the refined points;
everything else is regression on what was found: the amortizer on the end points, the paths on the
refined paths, the potential f of the source on the values and slopes of the c-transform, and the
inverse amortizer on the pairs that were found, backwards.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.costs import check_lagrangian
from skot.losses import EnergyAugmentation
from skot.networks import StartedMap, StartedPotential
from skot.numerics.action import action
from skot.numerics.linalg import covariance
from skot.numerics.splines import path_basis
from skot.numerics.subsample import spread_rows
from skot.numerics.value_and_gradient import value_and_gradient
from skot.potentials import TranslationFrame
from skot.solvers.c_transform import CTransformResult, LBFGSCTransform
from skot.training import Annealing, TrainingState
from skot.transport._lagrangian.coordinates import FramedLagrangian, cost_unit
from skot.transport._lagrangian.model import LearnedLagrangian, bounds_of
from skot.transport._lagrangian.proximity import TRAINING_PROXIMITY
from skot.transport._lagrangian.start import GaussianStart, gaussian_start, solved_pairs
from skot.transport._neural.networks import build_module
from skot.transport._neural.two_samples import Samples, TwoSampleMethod

#: Share of a batch whose rows are paired at random, to teach paths between any two points.
_RANDOM_PAIRS = 0.25
#: Rows that the augmentation looks at together; several such parts have less noise than one.
_AUGMENTED = 128
#: Arguments of c-transforms are looked for in a box that is wider than the sample by this share
#: of its range.
_MARGIN = 0.1
#: Training rows whose predicted paths others may try out.
_BANK_ROWS = 512
#: Rows at which a Lagrangian is looked at before any work.
_CHECKED_ROWS = 512


def default_solver(proximity: float) -> LBFGSCTransform:
    """Return what solves c-transforms where the user does not say."""
    return LBFGSCTransform(max_iter=10, tol=1e-2, proximity=proximity)


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
        return covariance(rows), torch.eye(rows.shape[1]).to(rows)

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
class LagrangianMethod(TwoSampleMethod[LearnedLagrangian]):
    """How potentials, amortizers and paths are trained together.

    The Lagrangian is in the units of the data; `potential`, `amortizer` and `path` are
    architectures. A `c_transform_solver` that is None is chosen, `geodesic_solver` finds paths
    between given points, `annealing` says how barriers rise, and `augmentation` makes predicted end
    points follow the sample. Training starts where `preconditioning`, "gaussian" or "identity",
    says.
    """

    lagrangian: Any
    potential: Any
    amortizer: Any
    path: Any
    c_transform_solver: Any
    geodesic_solver: Any
    annealing: Annealing
    augmentation: EnergyAugmentation
    preconditioning: str

    shown: ClassVar = ("lagrangian", "geodesic_solver", "annealing", "augmentation", "optimizer")
    lasting: ClassVar = ("lagrangian", "potential", "amortizer", "path", "preconditioning")

    @property
    def is_straight(self) -> bool:
        """Whether straight lines are known to be optimal."""
        return getattr(self.lagrangian, "has_straight_geodesics", False)

    def draw(self, source: Tensor, target: Tensor, generator: Generator) -> LearnedLagrangian:
        """Choose frame and units, and draw the networks around the Gaussian solution."""
        self._check_lagrangian(source, target)
        both = TranslationFrame.of(source, target)
        mean = 0.5 * (both.source_mean + both.target_mean)
        spread = torch.cat([source - mean, target - mean]).square().mean()
        frame = TranslationFrame(mean, mean, float(spread) or 1.0)
        x, y = frame.source_rows(source), frame.target_rows(target)
        basis = path_basis(0) if self.is_straight else self.path.basis()
        length = frame.scale**0.5
        pairs = solved_pairs(
            FramedLagrangian(self.lagrangian, mean, length, frame.scale), x, y, basis
        )
        unit = cost_unit(*pairs)
        start = gaussian_start(x, y, (*pairs[:2], pairs[2] / unit))
        is_settled = self.is_straight or start.is_exact
        if self.preconditioning == "identity":
            start = start.at_rest()
        architectures = {name: getattr(self, name) for name in ("potential", "amortizer", "path")}
        modules = build_modules(
            architectures, start, x, y, straight=self.is_straight, generator=generator
        )
        return LearnedLagrangian(
            modules=modules,
            frame=frame,
            lagrangian=FramedLagrangian(self.lagrangian, mean, length, unit * frame.scale),
            basis=basis,
            solver=self._solver(is_settled),
            geodesic_solver=self.geodesic_solver,
            source_bounds=bounds_of(x, _MARGIN),
            target_bounds=bounds_of(y, _MARGIN),
            examples=spread_rows(x, _BANK_ROWS),
            is_settled=is_settled,
        )

    def carry_on(self, learned: LearnedLagrangian, data: Samples) -> LearnedLagrangian:
        """Take the solvers of now, and look for arguments where there are rows now."""
        self._check_lagrangian(data.source, data.target)
        frame = learned.frame
        learned = (
            super()
            .carry_on(learned, data)
            .widened(frame.source_rows(data.source), frame.target_rows(data.target), _MARGIN)
        )
        return replace(
            learned,
            lagrangian=replace(learned.lagrangian, lagrangian=self.lagrangian),
            solver=self._solver(learned.is_settled),
            geodesic_solver=self.geodesic_solver,
        )

    def finish(self, learned: LearnedLagrangian) -> LearnedLagrangian:
        """Keep some paths, to try them out on new rows."""
        return learned.with_bank()

    def _solver(self, is_settled: bool) -> Any:
        """Proximity is for costs that leave something open."""
        if self.c_transform_solver is not None:
            return self.c_transform_solver
        return default_solver(0.0 if is_settled else TRAINING_PROXIMITY)

    def _check_lagrangian(self, source: Tensor, target: Tensor) -> None:
        """Raise, before any work, where the Lagrangian is not defined."""
        n = min(_CHECKED_ROWS, max(len(source), len(target)))
        x, y = (rows[torch.arange(n, device=rows.device) % len(rows)] for rows in (source, target))
        for t in (0.0, 0.5, 1.0):
            check_lagrangian(self.lagrangian, torch.lerp(x, y, t), y - x, x.new_full((n,), t))

    def step(
        self,
        learned: LearnedLagrangian,
        state: TrainingState,
        draw_source: Callable[[], Tensor],
        draw_target: Callable[[], Tensor],
    ) -> Callable[[int], Tensor]:
        # The plan of barriers is that of the optimizers, counted from here; None has no end.
        planned, first = next(iter(state.updaters.values())).max_iter, state.iteration
        step = LagrangianStep(learned, state, self.augmentation)

        def annealed_step(i: int) -> Tensor:
            annealed = self.annealing.factors(i - first, planned)
            return step(draw_source(), draw_target(), annealed)

        return annealed_step

    def held_out_loss(
        self, learned: LearnedLagrangian, modules: dict[str, nn.Module], rows: dict[str, Tensor]
    ) -> float:
        """Return minus the dual value of the rows that are not trained on."""
        return -learned.with_modules(modules).dual_value(rows["source"], rows["target"])


@dataclass(frozen=True)
class LagrangianStep:
    """Moves all networks by what was found for a batch."""

    learned: LearnedLagrangian
    state: TrainingState
    augmentation: EnergyAugmentation

    def __call__(self, x: Tensor, y: Tensor, annealed: tuple[float, float]) -> Tensor:
        """Do one step on a batch; return minus the dual value."""
        state, modules = self.state, self.learned.modules
        found = self.learned.transport_batch(x, annealed)
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
        predicted = self.learned.modules[name](rows)
        # A solver that stays near the prediction finds only a part of the way to go.
        share = 1.0 / (1.0 + getattr(self.learned.solver, "proximity", 0.0))
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
        lagrangian, basis = self.learned.lagrangian.annealed(*annealed), self.learned.basis.to(x)
        point = x.detach().requires_grad_()
        costs = action(lagrangian, point, found.argument, found.path, basis)
        (slope,) = torch.autograd.grad(costs.sum(), point)
        return _mean_square(
            value_and_gradient(self.learned.modules["source_potential"], x)[1] - slope
        )

    def _path_loss(
        self, x: Tensor, y: Tensor, found: CTransformResult, annealed: tuple[float, float]
    ) -> Tensor:
        """Regress on the refined paths, and lower the action between points paired at random."""
        path = self.learned.modules["path"]
        residual = path(x, found.argument) - found.path
        n = max(1, round(_RANDOM_PAIRS * min(len(x), len(y))))
        lagrangian, basis = self.learned.lagrangian.annealed(*annealed), self.learned.basis.to(x)
        between = action(lagrangian, x[:n], y[:n], path(x[:n], y[:n]), basis).mean()
        return _mean_square(residual.flatten(1)) + between


def _mean_square(residual: Tensor) -> Tensor:
    return residual.square().sum(dim=1).mean()
