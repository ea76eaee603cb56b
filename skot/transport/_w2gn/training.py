"""Training of the Wasserstein-2 dual: the networks, and the step."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from skot.losses import Amortization, DualBatch, dual_loss
from skot.numerics.linalg import symmetric_power
from skot.potentials import LinearFrame
from skot.training import TrainingState
from skot.transport._neural.networks import build_module
from skot.transport._neural.two_samples import Samples, TwoSampleMethod
from skot.transport._w2gn.model import LearnedPotential, dual_batch, dual_value


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
class DualMethod(TwoSampleMethod[LearnedPotential]):
    """How the potential and its amortizer are trained.

    `potential` and `amortizer` are architectures; `conjugate_solver` and `amortization` are the
    components of a step, which updates the amortizer `n_amortizer_steps` times. The coordinates are
    `preconditioning`, "gaussian" or "identity".
    """

    potential: Any
    amortizer: Any
    preconditioning: str
    conjugate_solver: Any
    amortization: Amortization
    n_amortizer_steps: int

    shown: ClassVar = ("conjugate_solver", "amortization", "optimizer")
    lasting: ClassVar = ("potential", "amortizer", "preconditioning")

    def n_updates(self, names: Iterable[str]) -> dict[str, int]:
        """The amortizer may move several times."""
        return {"potential": 1, "amortizer": self.n_amortizer_steps}

    def draw(self, source: Tensor, target: Tensor, generator: Generator) -> LearnedPotential:
        """Choose the frame, and draw both networks in it."""
        frame = LinearFrame.of(source, target, self.preconditioning)
        modules = build_modules(self.potential, self.amortizer, frame, generator=generator)
        return LearnedPotential(
            modules=modules, frame=frame, conjugate_solver=self.conjugate_solver
        )

    def carry_on(self, learned: LearnedPotential, data: Samples) -> LearnedPotential:
        """Take the solver of now, and the new rows."""
        return replace(super().carry_on(learned, data), conjugate_solver=self.conjugate_solver)

    def step(
        self,
        learned: LearnedPotential,
        state: TrainingState,
        draw_source: Callable[[], Tensor],
        draw_target: Callable[[], Tensor],
    ) -> Callable[[int], Tensor]:
        return DualStep(
            state,
            draw_source,
            draw_target,
            self.conjugate_solver,
            self.amortization,
            self.n_amortizer_steps,
        )

    def held_out_loss(
        self, learned: LearnedPotential, modules: dict[str, nn.Module], rows: dict[str, Tensor]
    ) -> float:
        """Return the dual value of the rows that are not trained on."""
        return dual_value(modules, rows["source"], rows["target"], self.conjugate_solver)


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
