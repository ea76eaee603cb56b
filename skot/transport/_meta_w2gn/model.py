"""Pairs of measures as a hyper-network sees them, and what it predicts for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from skot.networks import GradientMap, HyperModule
from skot.numerics.linalg import regularized, symmetric_power
from skot.potentials import LinearFrame
from skot.transport._meta_w2gn.stacked import StackedPotentials
from skot.transport._neural.batches import NETWORK
from skot.transport._neural.fit import Learned
from skot.transport._w2gn.training import build_modules

#: The encoder of clouds reads at most this many points when it predicts.
_VIEW_ROWS = 2048
#: Share of the mean variance that is added to the covariances by which codes are whitened.
_SHRINKAGE = 1e-3


@dataclass(frozen=True)
class Measure:
    """A sample of a measure.

    Attributes
    ----------
    points : Tensor of shape (n, n_features)
        In float64.
    view : Tensor of shape (m, n_features) or None
        The rows that the encoder reads, where these are not just any of the points: the pixels
        of a thumbnail.
    """

    points: Tensor
    view: Tensor | None

    @property
    def centre(self) -> Tensor:
        """Mean of the points."""
        return self.points.mean(dim=0)

    def centred(self) -> tuple[Tensor, Tensor | None]:
        """Points and view about the mean, in float32."""
        view = None if self.view is None else (self.view - self.centre).float()
        return (self.points - self.centre).float(), view


@dataclass(frozen=True)
class PairStack:
    """What is fixed of several pairs, stacked along the first dimension of all tensors.

    The second dimension of `rows` and `codes` is the side: 0 is the source, 1 the target.

    Attributes
    ----------
    rows : Tensor of shape (n_pairs, 2, n_features, n_features)
        Centred rows times these are in the frame of the pair.
    codes : Tensor of shape (n_pairs, n_features, n_features)
        Rows in the frame times these are white: what encoders read.
    moments : Tensor of shape (n_pairs, n_features * (n_features + 1) / 2)
        Covariance in the frame.
    buffers : tuple of two dicts of str to Tensor
        Of the potential from source to target, and of the one back.
    """

    rows: Tensor
    codes: Tensor
    moments: Tensor
    buffers: tuple[dict[str, Tensor], dict[str, Tensor]]

    @classmethod
    def of(
        cls, frames: Sequence[LinearFrame], modules: Iterable[dict[str, nn.Module]]
    ) -> "PairStack":
        """Gather what is fixed of pairs, given their frames and networks: see `pair_modules`."""
        n_features = len(frames[0].source_mean)
        upper = torch.triu_indices(n_features, n_features)
        rows, codes, moments = [], [], []
        ahead, back = [], []
        for frame, networks in zip(frames, modules, strict=True):
            covariance = 0.5 * (frame.source_covariance + frame.target_covariance)
            share = _SHRINKAGE * covariance.diagonal().mean()
            rows.append(torch.stack([frame.source_matrix, frame.target_matrix]))
            codes.append(symmetric_power(regularized(covariance, share), -0.5))
            moments.append(covariance[upper[0], upper[1]])
            potentials = potentials_of(networks)
            ahead.append(dict(potentials[0].named_buffers()))
            back.append(dict(potentials[1].named_buffers()))
        return cls(
            torch.stack(rows).float(),
            torch.stack(codes).float(),
            torch.stack(moments).float(),
            (_stack_dicts(ahead), _stack_dicts(back)),
        )

    def select(self, pairs: Tensor) -> "PairStack":
        """Return some of the pairs."""
        ahead, back = (
            {name: buffer.index_select(0, pairs) for name, buffer in buffers.items()}
            for buffers in self.buffers
        )
        return PairStack(
            self.rows.index_select(0, pairs),
            self.codes.index_select(0, pairs),
            self.moments.index_select(0, pairs),
            (ahead, back),
        )


class PairNetwork(nn.Module):
    """From two samples in the frame of their pair to the weights of its potentials.

    The `encoder` makes codes (n_pairs, code_size) of rows (n_pairs, n, n_features), and `hyper`
    makes weights of the codes of both sides and moments. The potential from the target to the
    source is predicted by the same network with the samples in the other order.
    """

    def __init__(self, encoder: nn.Module, hyper: HyperModule) -> None:
        super().__init__()
        self.encoder = encoder
        self.hyper: HyperModule = hyper

    def forward(self, x: Tensor, y: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of the potential from source to target, and of the one back."""
        source, target = self.encoder(x), self.encoder(y)
        ahead = torch.cat([source, target, moments], dim=1)
        back = torch.cat([target, source, moments], dim=1)
        weights = self.hyper(torch.cat([ahead, back]))
        return weights[: len(x)], weights[len(x) :]


def pair_modules(potential: Any, frame: LinearFrame) -> dict[str, nn.Module]:
    """Return the networks of a transport in a frame, with weights that are to be replaced."""
    generator = Generator().manual_seed(0)
    return build_modules(potential, GradientMap(potential), frame, generator=generator)


def potentials_of(modules: dict[str, nn.Module]) -> tuple[nn.Module, nn.Module]:
    """Return the potentials of the networks of a transport: from source to target, and back."""
    return modules["potential"], cast(nn.Module, modules["amortizer"].potential)


def predict_potentials(
    network: PairNetwork,
    template: nn.Module,
    stack: PairStack,
    views: tuple[Tensor, Tensor],
    *,
    batched: bool,
) -> tuple[StackedPotentials, StackedPotentials]:
    """Predict the potentials of pairs, from source to target and back.

    `views` are what the encoder reads of both sides, in the frame.
    """
    x, y = (torch.bmm(view, stack.codes) for view in views)
    both = network(x, y, stack.moments)
    ahead, back = (
        StackedPotentials(
            template, {**network.hyper.unflatten(weights), **buffers}, batched=batched
        )
        for weights, buffers in zip(both, stack.buffers, strict=True)
    )
    return ahead, back


@dataclass(frozen=True, kw_only=True)
class LearnedHyper(Learned):
    """The network that predicts potentials.

    `potential` and `encoder` are architectures of what is predicted, and of what reads measures;
    `template` is a potential like those that are predicted, and `batched` whether several can be
    evaluated together. The `seed` is that of predicted transports: they can be fine-tuned, with
    batches that repeat. It `reads_images` if it was trained on them, or else clouds.
    """

    potential: Any
    encoder: Any
    template: nn.Module
    batched: bool
    seed: int
    reads_images: bool

    @property
    def image_size(self) -> int | None:
        """Side of the thumbnails that the encoder reads; None for one that reads clouds."""
        return getattr(self.encoder, "image_size", None)

    def predict(
        self, frame: LinearFrame, points: tuple[Tensor, Tensor], views: Sequence[Tensor | None]
    ) -> dict[str, nn.Module]:
        """Predict the networks of the transport between two samples.

        `views` are what the encoder reads of images; None for clouds, of which it reads rows.
        """
        read = [
            _sample(rows) if view is None else view
            for rows, view in zip(points, views, strict=True)
        ]
        in_frame = (
            frame.source_rows(read[0]).float()[None],
            frame.target_rows(read[1]).float()[None],
        )
        modules = pair_modules(self.potential, frame)
        stack = PairStack.of([frame], [modules])
        network = cast(PairNetwork, self.modules[NETWORK])
        with torch.no_grad():
            predicted = predict_potentials(network, self.template, stack, in_frame, batched=False)
            for module, stacked in zip(potentials_of(modules), predicted, strict=True):
                for name, weights in module.named_parameters():
                    weights.copy_(stacked.weights[name][0])
        return modules


def _sample(rows: Tensor) -> Tensor:
    """Return some rows, always the same; evenly spaced ones could be a column of an image."""
    if len(rows) <= _VIEW_ROWS:
        return rows
    chosen = torch.randint(len(rows), (_VIEW_ROWS,), generator=Generator().manual_seed(0))
    return rows.index_select(0, chosen.to(rows.device))


def _stack_dicts(dicts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([one[name] for one in dicts]).float() for name in dicts[0]}
