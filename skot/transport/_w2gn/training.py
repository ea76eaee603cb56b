"""Training of the Wasserstein-2 dual: the modules, the step, and a run of steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from skot.losses import Amortization, DualBatch, dual_loss
from skot.numerics.linalg import symmetric_power
from skot.potentials import LinearFrame
from skot.training import TrainingState
from skot.transport._neural.networks import build_module
from skot.transport._neural.two_sample_training import TwoSampleTraining


def build_modules(
    potential: Any, amortizer: Any, frame: LinearFrame, *, generator: Generator
) -> dict[str, nn.Module]:
    """Draw the two networks, on the device of the frame and in float32."""
    source, target = frame.source_covariance, frame.target_covariance
    original = frame.scale**0.5 * frame.target_matrix
    parts = {
        "potential": (potential, (source, original)),
        "amortizer": (amortizer, (target, symmetric_power(source, 0.5))),
    }
    return {
        name: build_module(
            architecture, len(source), source.device, generator=generator, coordinates=coordinates
        )
        for name, (architecture, coordinates) in parts.items()
    }


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


def dual_value(modules: dict[str, nn.Module], x: Tensor, y: Tensor, solver: Any) -> float:
    """Return the dual loss on given rows, without a graph."""
    with torch.no_grad():
        return float(dual_loss(dual_batch(modules, x, y, solver)))


@dataclass(frozen=True)
class DualTraining(TwoSampleTraining):
    """Trains the modules "potential" and "amortizer" of a state.

    Attributes
    ----------
    conjugate_solver, amortization : object
        The components of the step.
    n_amortizer_steps : int
        Updates of the amortizer in a step.
    """

    conjugate_solver: Any
    amortization: Amortization
    n_amortizer_steps: int

    def step(
        self, draw_source: Callable[[], Tensor], draw_target: Callable[[], Tensor]
    ) -> Callable[[int], Tensor]:
        """Return the step of training, given what draws batches of each side."""
        return DualStep(
            self.state,
            draw_source,
            draw_target,
            self.conjugate_solver,
            self.amortization,
            self.n_amortizer_steps,
        )

    def held_out_loss(self, modules: dict[str, nn.Module], held_out: dict[str, Tensor]) -> float:
        """Return the dual value of the rows that are not trained on."""
        return dual_value(modules, held_out["source"], held_out["target"], self.conjugate_solver)
