"""Training on two samples: both read, held out and drawn from; the target may be a reference."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self, TypeVar, cast

import torch
from torch import Generator, Tensor, nn

from skot.measures import REFERENCES, draw_reference
from skot.numerics.subsample import spread_rows
from skot.potentials import Frame
from skot.training import MinibatchSampler, Stopping, TrainingState, fingerprint
from skot.transport._base import BaseTransport
from skot.transport._neural.fit import Learned, Loop, Method, NeuralFit
from skot.utils._callbacks import with_callbacks
from skot.utils._sklearn import StrOptions, fit_context
from skot.utils.tensors import resolve_dtype
from skot.utils.validation import split_domains

#: Values and held-out losses are computed on at most this many rows a side.
VALUE_ROWS = 4096
#: Rows are far outside when they are this many times as far from the centre of the coordinates as
#: those that the coordinates were chosen for.
_FAR = 3.0
#: Distance from the centre, in the units of the coordinates, below which nothing is far.
_LEAST_REACH = 0.1


@dataclass(frozen=True)
class Samples:
    """Both samples of a fit.

    Attributes
    ----------
    source, target : Tensor of shape (n, n_features), (m, n_features)
        In float64; the target may be a sample of the reference.
    reference : str or None
        From which batches of the target are drawn; None where it is a sample.
    dtype : dtype
        Of the rows as they were given.
    n_items : int
        Rows of the larger sample.
    attributes : dict of str to object
        What a fitted estimator keeps.
    """

    source: Tensor
    target: Tensor
    reference: str | None
    dtype: torch.dtype
    n_items: int
    attributes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LearnedTransport(Learned):
    """Networks that see two samples in coordinates of their own.

    Attributes
    ----------
    rows : tuple of Tensor of shape (n, n_features), (m, n_features)
        Training rows of both sides, in the units of the data and float64, to compute values on.
    reach : tuple of float
        Median distance from the centre, for each feature, of the rows of both sides that the
        coordinates were chosen for.
    """

    frame: Frame
    rows: tuple[Tensor, ...] = ()
    reach: tuple[float, ...] = ()

    @property
    def dtype(self) -> torch.dtype:
        """Of the networks."""
        return next(p.dtype for module in self.modules.values() for p in module.parameters())


LearnedT = TypeVar("LearnedT", bound=LearnedTransport)


@dataclass(frozen=True)
class TwoSampleMethod(Method[LearnedT]):
    """Trains networks on batches of two samples."""

    @abstractmethod
    def step(
        self,
        learned: LearnedT,
        state: TrainingState,
        draw_source: Callable[[], Tensor],
        draw_target: Callable[[], Tensor],
    ) -> Callable[[int], Tensor]:
        """Return the step of training, given what draws batches of each side."""

    @abstractmethod
    def held_out_loss(
        self, learned: LearnedT, modules: dict[str, nn.Module], rows: dict[str, Tensor]
    ) -> float:
        """Return the loss of networks on rows that are not trained on."""

    @abstractmethod
    def draw(self, source: Tensor, target: Tensor, generator: Generator) -> LearnedT:
        """Choose the coordinates and draw the networks, in float32."""

    def start(self, data: Samples, generator: Generator) -> LearnedT:
        """Draw the networks, and keep some rows."""
        return self.at_rows(self.draw(data.source, data.target, generator), data)

    def at_rows(self, learned: LearnedT, data: Samples) -> LearnedT:
        """Return networks that were drawn, or predicted, with the rows they are for."""
        reach = _reach(learned.frame, data)
        return replace(learned, rows=_kept(data), reach=reach)

    def carry_on(self, learned: LearnedT, data: Samples) -> LearnedT:
        """Return the same with the new rows."""
        return replace(learned, rows=_kept(data))

    def strangeness(self, learned: LearnedT, data: Samples) -> str:
        """Say which side is far outside of the coordinates."""
        found = _reach(learned.frame, data)
        far = [
            f"the {name} rows are more than {_FAR:g} times as far from their centre as those were"
            for name, now, before in zip(("source", "target"), found, learned.reach, strict=True)
            if now > _FAR * max(before, _LEAST_REACH)
        ]
        return " and ".join(far)

    def loop(
        self, learned: LearnedT, state: TrainingState, data: Samples, stopping: Stopping | None
    ) -> Loop:
        """Bring rows into the frame, hold some out, and draw batches from the others."""
        frame = learned.frame
        generator = cast(Generator, state.generator)  # states are built with one here
        rows = {
            "source": frame.source_rows(data.source).to(torch.float32),
            "target": frame.target_rows(data.target).to(torch.float32),
        }
        held_out = _held_out(rows, stopping, data.reference, generator)
        state.samplers = {
            name: MinibatchSampler(side, self.batch_size, generator=generator)
            for name, side in rows.items()
            if name == "source" or data.reference is None
        }
        draws = {name: sampler.sample for name, sampler in state.samplers.items()}
        if data.reference is not None:
            n_rows = state.samplers["source"].batch_size
            draws["target"] = _reference_draws(data.reference, frame, n_rows, generator)
        return Loop(
            self.step(learned, state, draws["source"], draws["target"]),
            (lambda modules: self.held_out_loss(learned, modules, held_out)) if held_out else None,
            lambda params: fingerprint(params, rows, held_out),
        )


def _kept(data: Samples) -> tuple[Tensor, Tensor]:
    """Rows of both sides that a fitted transport keeps."""
    return spread_rows(data.source, VALUE_ROWS), spread_rows(data.target, VALUE_ROWS)


def _reach(frame: Frame, data: Samples) -> tuple[float, ...]:
    """Median distance of both samples from the centre of their coordinates, for each feature.

    The median: a few rows far away say nothing about the others.
    """
    sides = frame.source_rows(data.source), frame.target_rows(data.target)
    return tuple(float(rows.square().mean(1).sqrt().median()) for rows in sides)


def _held_out(
    rows: dict[str, Tensor],
    stopping: Stopping | None,
    reference: str | None,
    generator: Generator,
) -> dict[str, Tensor]:
    """Take the validation rows out of the others."""
    share = None if stopping is None else stopping.validation_fraction
    if share is None:
        return {}
    held_out = {}
    for name, side in rows.items():
        if name == "target" and reference is not None:
            held_out[name] = side  # it is not trained on
            continue
        n_held_out = max(1, round(share * len(side)))
        order = torch.randperm(len(side), generator=generator).to(side.device)
        held_out[name] = side[order[:n_held_out][:VALUE_ROWS]]
        rows[name] = side[order[n_held_out:]] if n_held_out < len(side) else side
    return held_out


def _reference_draws(
    reference: str, frame: Frame, n_rows: int, generator: Generator
) -> Callable[[], Tensor]:
    """Fresh draws at every step: the reference is known, there is no sample to exhaust."""
    n_features, device = len(frame.target_mean), frame.target_mean.device

    def draw_target() -> Tensor:
        rows = draw_reference(reference, n_rows, n_features, generator)
        return frame.target_rows(rows.to(device)).to(torch.float32)

    return draw_target


class BaseNeuralTransport(NeuralFit, BaseTransport):
    """Base class of transports that train networks on batches of two samples."""

    __metadata_request__partial_fit: ClassVar[dict] = {"sample_domain": True}

    _training_constraints: ClassVar[dict] = {
        **NeuralFit._fit_constraints,
        "preconditioning": [StrOptions({"gaussian", "identity"})],
        "reference": [StrOptions(set(REFERENCES))],
    }

    reference: str
    warm_start: bool

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> Self:
        """Train the networks.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_target, n_features) or (n_rows,), default=None
            Two-dimensional: the target sample. One-dimensional labels are ignored. Without target
            rows the target is the reference distribution.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        self : object
            The fitted transport.

        Raises
        ------
        ValueError
            For bad input, and for components that do not fit together.
        FloatingPointError
            If the loss is not finite from the first step on.

        Warns
        -----
        ConvergenceWarning
            If `stopping` waits for convergence in vain, or if the loss ceases to be finite; the
            last finite state is kept then.
        """
        return self._fit(partial(self._read, X, y, sample_domain), X, y)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> Self:
        """Train on one pass over the given rows, from where training stands.

        For streams: every call may bring fresh rows. The first call fixes the centring and the
        scale. The schedule of the optimizer has no planned end here; a
        :class:`~skot.training.CosineSchedule` decays in a stream if it has a length of its own.
        `stopping` and `checkpoint` are not used: a pickle of the estimator goes on where it was.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_target, n_features) or (n_rows,), default=None
            Two-dimensional: target rows. Without target rows the target is the reference.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        self : object
            The transport, usable after every call.

        Raises
        ------
        ValueError
            For bad input, and for components that do not fit together.
        """
        return self._partial_fit(partial(self._read, X, y, sample_domain))

    def _read(
        self,
        X: Any,
        y: Any,
        sample_domain: Any,
        method: Method,
        generator: Generator,
        *,
        reset: bool,
    ) -> Samples:
        """Check both samples, and bring them to tensors."""
        split = split_domains(self, X, y, sample_domain, reset=reset, training=True)
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        source, target = self._read_samples(X, split, self.reference, seed)
        rows = source.points, target.measure.points
        n_items = len(rows[0]) if target.is_reference else max(map(len, rows))
        return Samples(
            *rows,
            self.reference if target.is_reference else None,
            resolve_dtype(split.X_source),
            n_items,
            {"_target": target},
        )

    @property
    def _device(self) -> torch.device:
        return self._learned.device
