"""Pairs of distributions between which the optimal map is known."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skot.utils.random import check_generator
from skot.utils.tensors import to_numpy, to_tensor
from skot.utils.validation import check_points

# Rows that are mapped at once: their activations stay in the cache.
_CHUNK = 4096


class TensorTable:
    """Named float64 tensors, and their copies in other types and on other devices."""

    def __init__(self, **tensors: Tensor) -> None:
        self.reference = tensors
        self._copies: dict[tuple[torch.dtype, torch.device], dict[str, Tensor]] = {}

    def like(self, x: Tensor) -> dict[str, Tensor]:
        """Return the tensors in the type and on the device of `x`."""
        key = (x.dtype, x.device)
        if key not in self._copies:
            self._copies[key] = {
                name: tensor.to(dtype=x.dtype, device=x.device)
                for name, tensor in self.reference.items()
            }
        return self._copies[key]

    def __getstate__(self) -> dict[str, Any]:
        return {"reference": self.reference, "_copies": {}}


class TransportPair(ABC):
    """A source and a target with a known optimal map, from which fresh samples are drawn.

    Both have `n_features`. Total variances, sums over the features: `input_variance` of the source,
    `output_variance` of the target.
    """

    n_features: int
    input_variance: float
    output_variance: float

    def sample_source(self, n_samples: int, random_state: Any = None) -> np.ndarray:
        """Draw from the source.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            The seed, or the generator that is drawn from.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows of float64.
        """
        generator = check_generator(random_state)
        return to_numpy(self.sample_source_tensor(n_samples, generator, dtype=torch.float64))

    def sample_target(self, n_samples: int, random_state: Any = None) -> np.ndarray:
        """Draw from the target: images of rows that are drawn for the purpose.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            The seed, or the generator that is drawn from. With the seed that was given to
            `sample_source`, the rows are the images of the rows drawn there: pass another.

        Returns
        -------
        Y : ndarray of shape (n_samples, n_features)
            Rows of float64.
        """
        generator = check_generator(random_state)
        return to_numpy(self.sample_target_tensor(n_samples, generator, dtype=torch.float64))

    @abstractmethod
    def sample_source_tensor(
        self,
        n_samples: int,
        generator: torch.Generator,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw from the source, on the device of a generator.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        generator : torch.Generator
            Drawn from, and so advanced.
        dtype : torch.dtype, default=torch.float32
            The type of the rows.

        Returns
        -------
        x : Tensor of shape (n_samples, n_features)
            Source rows.
        """

    def sample_target_tensor(
        self,
        n_samples: int,
        generator: torch.Generator,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw from the target, on the device of a generator.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        generator : torch.Generator
            Drawn from, and so advanced: a second call with it gives independent rows.
        dtype : torch.dtype, default=torch.float32
            The type of the rows.

        Returns
        -------
        y : Tensor of shape (n_samples, n_features)
            Target rows.
        """
        return self.map_tensor(self.sample_source_tensor(n_samples, generator, dtype=dtype))

    def map(self, X: Any) -> np.ndarray:
        """Apply the optimal map, from the source to the target.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.

        Returns
        -------
        Y : ndarray of shape (n_samples, n_features)
            Their images, computed in float64.

        Raises
        ------
        ValueError
            If `X` is no sample of `n_features` features.
        """
        return to_numpy(self.map_tensor(self._check_rows(X)))

    @abstractmethod
    def map_tensor(self, x: Tensor) -> Tensor:
        """Apply the optimal map to a tensor.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Source rows.

        Returns
        -------
        y : Tensor of shape (n_samples, n_features)
            Their images, of the type and on the device of `x`, without a graph.
        """

    def _check_rows(self, X: Any) -> Tensor:
        X = check_points(X)
        if X.shape[1] != self.n_features:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting"
                f" {self.n_features} features as input."
            )
        return to_tensor(X, dtype=torch.float64)


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function of rows to some thousand rows at a time."""
    if len(x) <= _CHUNK:
        return function(x)
    return torch.cat([function(rows) for rows in x.split(_CHUNK)])
