"""Training of a hyper-network on pairs of measures: batches, the step, a run of steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from skot.losses._meta_w2gn import stacked_conjugates, stacked_dual_loss
from skot.potentials import LinearFrame
from skot.training import (
    Checkpoint,
    MinibatchSampler,
    Stopping,
    TrainingResult,
    TrainingState,
    fingerprint,
    train,
)
from skot.transport._meta_pairs import (
    Measure,
    PairNetwork,
    PairStack,
    pair_modules,
    predict_potentials,
)

#: Name of the network in the state.
NETWORK = "network"


@dataclass(frozen=True)
class PairData:
    """Measures, and which of them make pairs.

    Attributes
    ----------
    points : list of Tensor
        Centred rows of each measure.
    views : list of Tensor or None
        What the encoder reads of each; None for a sample of the points.
    pairs : Tensor of int64, shape (n_pairs, 2)
        Source and target.
    stack : PairStack
        What is fixed of the pairs.
    """

    points: list[Tensor]
    views: list[Tensor | None]
    pairs: Tensor
    stack: PairStack

    @classmethod
    def of(
        cls, measures: Sequence[Measure], pairs: Sequence[tuple[int, int]], potential: Any
    ) -> "PairData":
        """Bring measures to the form in which steps read them."""
        frames = [
            LinearFrame.of(measures[i].points, measures[j].points, "gaussian") for i, j in pairs
        ]
        points, views = zip(*(measure.centred() for measure in measures), strict=True)
        stack = PairStack.of(frames, [pair_modules(potential, frame) for frame in frames])
        return cls(list(points), list(views), torch.tensor(pairs), stack)

    def tensors(self) -> dict[str, Tensor]:
        """All that training depends on, for a checkpoint to recognise."""
        sizes = torch.tensor([len(points) for points in self.points])
        return {"points": torch.cat(self.points), "sizes": sizes, "pairs": self.pairs}


@dataclass(frozen=True)
class MetaTraining:
    """Trains the network of a state on pairs of measures.

    Attributes
    ----------
    state : TrainingState
        Its generator draws everything.
    template : Module
        A potential like those that are predicted.
    batched : bool
        Whether potentials can be evaluated together.
    batch_size : int
        Pairs in a step.
    n_points : int
        Rows of each measure in a step.
    n_conjugate_steps : int
        Steps by which conjugates are refined.
    """

    state: TrainingState
    template: nn.Module
    batched: bool
    batch_size: int
    n_points: int
    n_conjugate_steps: int

    def run(
        self,
        data: PairData,
        *,
        max_iter: int,
        stopping: Stopping | None = None,
        checkpoint: Checkpoint | None = None,
        params: Any = None,
        on_iteration: Callable | None = None,
    ) -> TrainingResult:
        """Train; `params` tell a checkpoint, with the data, which fit it belongs to."""
        state, share = self.state, None if stopping is None else stopping.validation_fraction
        chosen = torch.arange(len(data.pairs))
        held_out = chosen[:0]
        if share is not None and len(chosen) > 1:
            order = torch.randperm(len(chosen), generator=self._generator)
            n_held_out = max(1, round(share * len(order)))
            held_out, chosen = order[:n_held_out], order[n_held_out:]
        sampler = MinibatchSampler(chosen, self.batch_size, generator=self._generator)
        state.samplers = {NETWORK: sampler}
        updater, network = state.updaters[NETWORK], cast(PairNetwork, state.modules[NETWORK])

        def step(i: int) -> Tensor:
            loss = self._loss(network, data, sampler.sample(), self._generator)
            updater.update(loss)
            return loss.detach()

        def validate(state: TrainingState) -> float:
            averaged = cast(PairNetwork, state.averaged_modules()[NETWORK])
            # The same rows every time: losses are compared with each other.
            return float(self._loss(averaged, data, held_out, Generator().manual_seed(0)))

        result = train(
            step,
            state,
            max_iter=max_iter,
            stopping=stopping,
            validate=validate if len(held_out) else None,
            checkpoint=checkpoint,
            fingerprint="" if checkpoint is None else fingerprint(params, data.tensors(), {}),
            on_iteration=on_iteration,
        )
        state.samplers = {}
        return result

    @property
    def _generator(self) -> Generator:
        return cast(Generator, self.state.generator)  # states are built with one here

    def _loss(
        self, network: PairNetwork, data: PairData, chosen: Tensor, generator: Generator
    ) -> Tensor:
        """Mean dual loss of both directions, less that of the maps between the Gaussian fits."""
        device = data.points[0].device
        stack = data.stack.select(chosen.to(device))
        x, y = (self._draw(data, chosen, stack, side, generator) for side in (0, 1))
        views = (x, y)
        if data.views[0] is not None:
            views = (self._views(data, chosen, stack, 0), self._views(data, chosen, stack, 1))
        ahead, back = predict_potentials(network, self.template, stack, views, batched=self.batched)
        with torch.no_grad():
            predicted_x, predicted_y = back.value_and_gradient(y)[1], ahead.value_and_gradient(x)[1]
        n_steps = self.n_conjugate_steps
        x_of_y = stacked_conjugates(ahead, x, y, predicted_x, n_steps=n_steps)
        y_of_x = stacked_conjugates(back, y, x, predicted_y, n_steps=n_steps)
        loss = stacked_dual_loss(ahead, x, y, x_of_y) + stacked_dual_loss(back, y, x, y_of_x)
        start = 0.5 * (x.square().sum(dim=2).mean() + y.square().sum(dim=2).mean())
        return 0.5 * loss - start

    def _draw(
        self, data: PairData, chosen: Tensor, stack: PairStack, side: int, generator: Generator
    ) -> Tensor:
        """Draw rows of one side of each pair, in its frame."""
        drawn = []
        for measure in data.pairs[chosen, side].tolist():
            points = data.points[measure]
            rows = torch.randint(len(points), (self.n_points,), generator=generator)
            drawn.append(points.index_select(0, rows.to(points.device)))
        return torch.bmm(torch.stack(drawn), stack.rows[:, side])

    def _views(self, data: PairData, chosen: Tensor, stack: PairStack, side: int) -> Tensor:
        views: list[Any] = [data.views[k] for k in data.pairs[chosen, side].tolist()]
        return torch.bmm(torch.stack(views), stack.rows[:, side])
