"""Training of a hyper-network on pairs of measures: the networks, batches, the loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.networks import DeepSets, ResNetEncoder
from skot.potentials import LinearFrame
from skot.transport._meta_w2gn.measures import Pairs, read_measure
from skot.transport._meta_w2gn.model import (
    LearnedHyper,
    Measure,
    PairNetwork,
    PairStack,
    pair_modules,
    predict_potentials,
)
from skot.transport._meta_w2gn.stacked import can_batch, stacked_conjugates, stacked_dual_loss
from skot.transport._neural.batches import NETWORK, BatchLoss, BatchMethod
from skot.transport._neural.fit import HOW_TO_START_ANEW, change
from skot.utils._equality import is_same


@dataclass(frozen=True)
class PairMethod(BatchMethod[LearnedHyper]):
    """How a network learns to predict the potentials of pairs.

    `potential`, `hyper_network` and `encoder` are architectures; an encoder that is None is that
    for the kind of measures there are. A measure is known by `code_size` numbers. A step takes
    `n_points` rows of each measure, and refines conjugates in `n_conjugate_steps`.
    """

    potential: Any
    encoder: Any
    hyper_network: Any
    code_size: int
    n_points: int
    n_conjugate_steps: int

    shown: ClassVar = ("potential", "hyper_network", "averaging", "optimizer")
    lasting: ClassVar = ("potential", "hyper_network", "code_size")

    def start(self, data: Pairs, generator: Generator) -> LearnedHyper:
        """Draw the networks."""
        encoder = self.encoder
        if encoder is None:
            encoder = ResNetEncoder() if data.reads_images else DeepSets()
        if getattr(encoder, "image_size", None) is not None and not data.reads_images:
            raise ValueError(
                f"{type(encoder).__name__} reads images, but X holds point clouds. Pass another "
                "encoder, for example DeepSets()."
            )
        d = data.n_features
        template = self.potential.build(d, generator=generator).float()
        reader = encoder.build(d, self.code_size, generator=generator)
        # Codes of both measures, and the upper half of a covariance.
        n_inputs = 2 * self.code_size + d * (d + 1) // 2
        hyper = self.hyper_network.build(n_inputs, template, generator=generator)
        network = PairNetwork(reader, hyper).to(data.device, torch.float32)
        return LearnedHyper(
            modules={NETWORK: network},
            potential=self.potential,
            encoder=encoder,
            template=template.requires_grad_(False),
            batched=can_batch(template, d),
            seed=int(torch.randint(2**31 - 1, (), generator=generator)),
            reads_images=data.reads_images,
        )

    def carry_on(self, learned: LearnedHyper, data: Pairs) -> LearnedHyper:
        """Raise where the encoder is another one than None stood for."""
        if self.encoder is not None and not is_same(learned.encoder, self.encoder):
            raise ValueError(
                "MetaW2GN cannot train on from the fit before: "
                f"{change('encoder', learned.encoder, self.encoder)}. {HOW_TO_START_ANEW}"
            )
        return learned

    def batches(
        self, learned: LearnedHyper, data: Pairs, generator: Generator
    ) -> tuple[BatchLoss, Tensor]:
        """Bring measures to the form that steps read, and number the pairs."""
        measures = [read_measure(s, learned.image_size, data.device) for s in data.samples]
        pairs = PairData.of(measures, data.pairs, self.potential)
        loss = PairLoss(
            pairs,
            generator,
            learned.template,
            learned.batched,
            self.n_points,
            self.n_conjugate_steps,
        )
        return loss, torch.arange(len(pairs.pairs))


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
        stack = PairStack.of(frames, (pair_modules(potential, frame) for frame in frames))
        return cls(list(points), list(views), torch.tensor(pairs), stack)

    def tensors(self) -> dict[str, Tensor]:
        """All that training depends on."""
        sizes = torch.tensor([len(points) for points in self.points])
        return {"points": torch.cat(self.points), "sizes": sizes, "pairs": self.pairs}


@dataclass(frozen=True)
class PairLoss(BatchLoss):
    """Mean dual loss of predicted potentials, over pairs that are given by their numbers.

    The `generator` draws the rows of a step, `n_points` of each measure; conjugates are refined in
    `n_conjugate_steps`. `template` is a potential like those that are predicted, and `batched`
    whether they can be evaluated together.
    """

    pairs: PairData
    generator: Generator
    template: nn.Module
    batched: bool
    n_points: int
    n_conjugate_steps: int

    def __call__(self, network: nn.Module, items: Tensor) -> Tensor:
        """Return the loss on fresh rows of the pairs."""
        return self._loss(network, items, self.generator)

    def held_out(self, network: nn.Module, items: Tensor) -> Tensor:
        """Return the loss on the same rows every time, so that losses can be compared."""
        return self._loss(network, items, Generator().manual_seed(0))

    def data(self) -> dict[str, Tensor]:
        """What measures there are."""
        return self.pairs.tensors()

    def _loss(self, network: Any, chosen: Tensor, generator: Generator) -> Tensor:
        """Mean dual loss of both directions, less that of the maps between the Gaussian fits."""
        data = self.pairs
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
