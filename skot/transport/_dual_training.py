"""One fit of the Wasserstein-2 dual: modules, samplers, and the step that trains them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from skot.losses import Amortization, DualBatch, dual_loss
from skot.numerics.linalg import symmetric_power
from skot.potentials import LinearFrame
from skot.training import MinibatchSampler, Optimizer, TrainingState, Updater, WeightAverage

#: Share of the mean variance below which a direction counts as flat.
_FLAT = 1e-3
#: A side with less than this, in the frame, is a point to a network in float32.
_LEAST_VARIANCE = 1e-12


def build_modules(
    potential: Any,
    amortizer: Any,
    frame: LinearFrame,
    *,
    generator: Generator,
) -> dict[str, nn.Module]:
    """Draw the two networks, on the device of the frame and in float32."""
    n_features = len(frame.source_mean)
    modules = {
        "potential": potential.build(n_features, generator=generator),
        "amortizer": amortizer.build(n_features, generator=generator),
    }
    source, target = frame.source_covariance, frame.target_covariance
    coordinates = {
        "potential": (_whitening(source), frame.scale**0.5 * frame.target_matrix),
        "amortizer": (_whitening(target), symmetric_power(source, 0.5)),
    }
    for name, module in modules.items():
        precondition = getattr(module, "precondition_", None)
        if precondition is not None:
            precondition(*(matrix.cpu() for matrix in coordinates[name]))
    device = frame.source_mean.device
    return {name: module.to(device, torch.float32) for name, module in modules.items()}


def _whitening(covariance: Tensor) -> Tensor:
    """Inverse square root, but zero where there is no spread.

    Rows do not say what a potential does beyond the plane they lie in, such as that of a constant
    feature: a network that reads how far off the plane a point is learns a slope from noise.
    """
    floor = _FLAT * covariance.diagonal().mean().clamp_min(_LEAST_VARIANCE)
    regular = covariance + floor * torch.eye(len(covariance)).to(covariance)
    return torch.linalg.solve(regular, symmetric_power(covariance, 0.5))


def build_updates(
    modules: dict[str, nn.Module],
    optimizer: Optimizer,
    averaging: Any,
    *,
    max_iter: int | None,
    n_amortizer_steps: int,
) -> tuple[dict[str, Updater], dict[str, WeightAverage]]:
    """Return what moves the weights of each network, and what averages them where asked for."""
    updates = {"potential": 1, "amortizer": n_amortizer_steps}
    updaters = {
        name: optimizer.build(module, max_iter=max_iter and max_iter * updates[name])
        for name, module in modules.items()
    }
    if averaging is None:
        return updaters, {}
    return updaters, {name: averaging.build(module) for name, module in modules.items()}


@dataclass(frozen=True)
class DualStep:
    """The step of training: predict the conjugate points, refine them, update both networks."""

    state: TrainingState
    draw_source: Callable[[], Tensor]
    draw_target: Callable[[], Tensor]
    conjugate_solver: Any
    amortization: Amortization
    n_amortizer_steps: int

    def __call__(self, i: int) -> Tensor:
        """Do one step and return the dual loss."""
        for _ in range(self.n_amortizer_steps - 1):
            batch = self._batch()
            self.state.updaters["amortizer"].update(self.amortization.amortizer_loss(batch))
        batch = self._batch()
        loss = dual_loss(batch)
        penalty = self.amortization.potential_penalty(batch)
        total = loss if penalty is None else loss + penalty
        # Both gradients are taken where the networks stand, before either of them moves.
        potential, amortizer = (self.state.updaters[key] for key in ("potential", "amortizer"))
        potential_gradients = potential.gradients(total, retain_graph=penalty is not None)
        amortizer.update(self.amortization.amortizer_loss(batch))
        potential.apply(potential_gradients)
        return loss.detach()

    def _batch(self) -> DualBatch:
        modules = self.state.modules
        return dual_batch(modules, self.draw_source(), self.draw_target(), self.conjugate_solver)


def dual_batch(modules: dict[str, nn.Module], x: Tensor, y: Tensor, solver: Any) -> DualBatch:
    """Predict and solve the conjugates of target rows."""
    prediction = modules["amortizer"](y)
    guess = prediction.detach()
    refines = getattr(solver, "refines", True)
    solution = guess
    if refines:
        solution = solver.solve(modules["potential"], y, guess).argument.detach()
    return DualBatch(
        x, y, modules["potential"], modules["amortizer"], prediction, solution, refined=refines
    )


def sampler(rows: Tensor, batch_size: int, generator: Generator) -> MinibatchSampler:
    """Return a sampler of rows with equal weights."""
    return MinibatchSampler(rows, batch_size, generator=generator)


def reference_draws(
    reference: str, n: int, frame: LinearFrame, generator: Generator
) -> Callable[[], Tensor]:
    """Fresh draws of the reference at every step: it is known, so there is no sample to exhaust."""
    n_features, device = len(frame.target_mean), frame.target_mean.device
    draw = torch.randn if reference == "normal" else torch.rand

    def draw_target() -> Tensor:
        rows = draw(n, n_features, generator=generator, dtype=torch.float64)
        return frame.target_rows(rows.to(device)).to(torch.float32)

    return draw_target
