"""Training of the Wasserstein-2 dual: the modules, the step, and a run of steps on two samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from skot.losses import Amortization, DualBatch, dual_loss
from skot.measures import draw_reference
from skot.numerics.linalg import symmetric_power
from skot.potentials import LinearFrame
from skot.training import (
    Checkpoint,
    MinibatchSampler,
    Optimizer,
    Stopping,
    TrainingResult,
    TrainingState,
    Updater,
    WeightAverage,
    fingerprint,
    train,
)

#: The distance and the held-out loss are computed on at most this many rows a side.
VALUE_ROWS = 4096
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


def dual_value(modules: dict[str, nn.Module], x: Tensor, y: Tensor, solver: Any) -> float:
    """Return the dual loss on given rows, without a graph."""
    with torch.no_grad():
        return float(dual_loss(dual_batch(modules, x, y, solver)))


def some_rows(rows: Tensor) -> Tensor:
    """Return at most `VALUE_ROWS` rows, spread over all of them."""
    if len(rows) <= VALUE_ROWS:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, VALUE_ROWS, device=rows.device).long()]


@dataclass(frozen=True)
class DualTraining:
    """Trains the networks of a state on two samples; the target may be a reference.

    Attributes
    ----------
    state : TrainingState
        With the modules "potential" and "amortizer"; its generator draws everything.
    frame : LinearFrame
        The coordinates in which they see the rows.
    conjugate_solver, amortization : object
        The components of the step.
    batch_size, n_amortizer_steps : int
        Numbers of the step.
    """

    state: TrainingState
    frame: LinearFrame
    conjugate_solver: Any
    amortization: Amortization
    batch_size: int
    n_amortizer_steps: int

    def run(
        self,
        source: Tensor,
        target: Tensor,
        *,
        reference: str | None,
        max_iter: int,
        stopping: Stopping | None = None,
        checkpoint: Checkpoint | None = None,
        params: Any = None,
        on_iteration: Callable | None = None,
    ) -> TrainingResult:
        """Train on rows in float64; with a `reference`, `target` is a sample of it for judging.

        `params` tell a checkpoint, with the rows, which fit it belongs to.
        """
        state, frame = self.state, self.frame
        train_rows = {
            "source": frame.source_rows(source).to(torch.float32),
            "target": frame.target_rows(target).to(torch.float32),
        }
        held_out = self._hold_out(train_rows, stopping, reference)
        state.samplers = {
            name: MinibatchSampler(rows, self.batch_size, generator=self._generator)
            for name, rows in train_rows.items()
            if name == "source" or reference is None
        }
        draws = {name: sampler.sample for name, sampler in state.samplers.items()}
        if reference is not None:
            n_rows = state.samplers["source"].batch_size
            draws["target"] = self._reference_draws(reference, n_rows)
        step = DualStep(
            state,
            draws["source"],
            draws["target"],
            self.conjugate_solver,
            self.amortization,
            self.n_amortizer_steps,
        )
        result = train(
            step,
            state,
            max_iter=max_iter,
            stopping=stopping,
            validate=self._validation(held_out) if held_out else None,
            checkpoint=checkpoint,
            fingerprint="" if checkpoint is None else fingerprint(params, train_rows, held_out),
            on_iteration=on_iteration,
        )
        # They hold the training rows, which a fitted transport need not keep.
        state.samplers = {}
        return result

    @property
    def _generator(self) -> Generator:
        return cast(Generator, self.state.generator)  # states are built with one here

    def _hold_out(
        self, train_rows: dict[str, Tensor], stopping: Stopping | None, reference: str | None
    ) -> dict[str, Tensor]:
        """Take the validation rows out of the others."""
        share = None if stopping is None else stopping.validation_fraction
        if share is None:
            return {}
        held_out = {}
        for name, rows in train_rows.items():
            if name == "target" and reference is not None:
                held_out[name] = rows  # it is not trained on
                continue
            n_held_out = max(1, round(share * len(rows)))
            order = torch.randperm(len(rows), generator=self._generator).to(rows.device)
            held_out[name] = rows[order[:n_held_out][:VALUE_ROWS]]
            train_rows[name] = rows[order[n_held_out:]] if n_held_out < len(rows) else rows
        return held_out

    def _validation(self, held_out: dict[str, Tensor]) -> Callable[[TrainingState], float]:
        def dual_value_of_held_out_rows(state: TrainingState) -> float:
            modules = state.averaged_modules()
            return dual_value(
                modules, held_out["source"], held_out["target"], self.conjugate_solver
            )

        return dual_value_of_held_out_rows

    def _reference_draws(self, reference: str, n_rows: int) -> Callable[[], Tensor]:
        """Fresh draws at every step: the reference is known, there is no sample to exhaust."""
        frame = self.frame
        n_features, device = len(frame.target_mean), frame.target_mean.device

        def draw_target() -> Tensor:
            rows = draw_reference(reference, n_rows, n_features, self._generator)
            return frame.target_rows(rows.to(device)).to(torch.float32)

        return draw_target
