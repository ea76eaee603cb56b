"""Lists of measures: point clouds, or images as clouds of pixels; validated and paired."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from skot.transport._meta_w2gn.model import Measure
from skot.utils._points import check_points
from skot.utils.tensors import to_tensor

#: Pairs that are trained on where X is paired with itself: each takes milliseconds before the first
#: step, and tens of kilobytes.
_MOST_PAIRS = 4096
#: Number of dimensions of a sample, and what it is then.
_KINDS = {2: "a point cloud", 3: "an image"}


@dataclass(frozen=True)
class Pairs:
    """Different samples, and which of them make pairs.

    Attributes
    ----------
    samples : list of array or tensor
        Clouds of shape (n, n_features), or images of shape (height, width, n_channels).
    pairs : list of (int, int)
        Source and target, by their places.
    """

    samples: list[Any]
    pairs: list[tuple[int, int]]
    device: torch.device
    #: Networks stay in the precision that they were trained in.
    dtype: torch.dtype = torch.float32
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def n_items(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @property
    def n_features(self) -> int:
        """Width of all samples."""
        return self.samples[0].shape[-1]

    @property
    def reads_images(self) -> bool:
        """Whether they are images."""
        return self.samples[0].ndim == 3


def check_pairs(X: Any, y: Any, *, owner: str) -> tuple[list[Any], list[tuple[int, int]]]:
    """Validate lists of measures; return the different samples, and the pairs by their places."""
    seen: dict[int, tuple[Any, Any]] = {}
    samples = check_measures(X, owner=owner, seen=seen)
    if y is None:
        if len(samples) < 2:
            raise ValueError(
                f"{owner} pairs the measures of X with each other: it needs at least two, "
                "or their targets in y."
            )
        return samples, some_pairs(len(samples))
    targets = check_measures(y, owner=owner, name="y", seen=seen)
    if len(targets) != len(samples):
        raise ValueError(f"X has {len(samples)} measures, but y has {len(targets)}.")
    check_alike([samples[0], targets[0]], name="[X[0], y[0]]")
    samples, places = _without_copies([*samples, *targets])
    return samples, list(zip(places[: len(targets)], places[len(targets) :], strict=True))


def some_pairs(n: int) -> list[tuple[int, int]]:
    """Return all pairs of n measures, or as many as can be held of them, always the same."""
    pairs = list(itertools.combinations(range(n), 2))
    if len(pairs) <= _MOST_PAIRS:
        return pairs
    order = torch.randperm(len(pairs), generator=Generator().manual_seed(0))
    return [pairs[k] for k in order[:_MOST_PAIRS].tolist()]


def _without_copies(samples: list[Any]) -> tuple[list[Any], list[int]]:
    """Return the different objects of a list, and the place of each entry among them."""
    different = {id(sample): sample for sample in samples}
    places = {key: place for place, key in enumerate(different)}
    return list(different.values()), [places[id(sample)] for sample in samples]


def check_measures(
    X: Any, *, owner: str, name: str = "X", seen: dict[int, tuple[Any, Any]] | None = None
) -> list[Any]:
    """Validate a list of measures that all are clouds, or all are images, of the same width.

    Clouds have shape (n, n_features), images (height, width, n_channels). What objects became is
    written to `seen` by their id: objects that are given twice stay the same object. It raises a
    `ValueError`, with the class `owner` that asks and the `name` of the list, if it is no such
    list, is empty, or holds something that is not finite.
    """
    is_stack = isinstance(X, (np.ndarray, Tensor)) and X.ndim >= 3
    if not (is_stack or isinstance(X, (list, tuple))):
        raise ValueError(
            f"{name} must be a list of point clouds of shape (n, n_features), or of images of "
            f"shape (height, width, n_channels). Got {type(X).__name__} instead."
        )
    if len(X) == 0:
        raise ValueError(f"{name} is an empty list: {owner} needs at least one measure.")
    seen = {} if seen is None else seen
    samples = []
    for k, sample in enumerate(X):
        if id(sample) not in seen:
            # The object is kept too: its id could be given to another one otherwise.
            checked = check_measure(sample, owner=owner, name=f"{name}[{k}]")
            seen[id(sample)] = (sample, checked)
        samples.append(seen[id(sample)][1])
    check_alike(samples, name=name)
    return samples


def check_measure(sample: Any, *, owner: str, name: str) -> Any:
    """Validate a cloud or an image; see `check_measures`."""
    if not isinstance(sample, Tensor):
        sample = np.asarray(sample)
    if sample.ndim not in _KINDS:
        raise ValueError(
            f"{name} must be a point cloud of shape (n, n_features) or an image of shape "
            f"(height, width, n_channels). Got shape {tuple(sample.shape)} instead."
        )
    rows = check_points(
        sample.reshape(-1, sample.shape[-1]) if sample.ndim == 3 else sample,
        estimator=owner,
        name=name,
        min_rows=2,
    )
    return rows.reshape(*sample.shape)


def check_alike(samples: Sequence[Any], *, name: str) -> None:
    """Raise unless all samples are of one kind and width."""
    first = samples[0]
    for k, sample in enumerate(samples):
        if sample.ndim != first.ndim:
            raise ValueError(
                f"{name} mixes point clouds and images: {name}[0] is {_KINDS[first.ndim]}, "
                f"{name}[{k}] is {_KINDS[sample.ndim]}."
            )
        if sample.shape[-1] != first.shape[-1]:
            raise ValueError(
                f"All measures must have the same number of features. {name}[0] has "
                f"{first.shape[-1]}, {name}[{k}] has {sample.shape[-1]}."
            )


def rows_of(sample: Any) -> Any:
    """Return the points of a cloud, or the pixels of an image, as rows."""
    return sample.reshape(-1, sample.shape[-1])


def read_measure(sample: Any, image_size: int | None, device: torch.device) -> Measure:
    """Bring a validated sample to tensors; `image_size` is the side of thumbnails to be made."""
    sample = to_tensor(sample, dtype=torch.float64, device=device)
    view = None if image_size is None else rows_of(thumbnail(sample, image_size))
    return Measure(rows_of(sample), view)


def thumbnail(image: Tensor, size: int) -> Tensor:
    """Pick the pixels at the centres of `size` x `size` equal cells.

    Averages over the cells would be colours that the image does not have.
    """
    picked = [
        ((torch.arange(size) + 0.5) * side / size).long().to(image.device)
        for side in image.shape[:2]
    ]
    return image.index_select(0, picked[0]).index_select(1, picked[1])
