"""What coordinates of two samples are: where networks see source and target rows."""

from abc import ABC, abstractmethod
from dataclasses import fields, replace
from typing import Any, Self

import torch
from torch import Tensor


class Frame(ABC):
    """Base class of coordinates: dataclasses of tensors and of the number `scale`.

    A subclass says how source rows enter and leave the frame, and what the frame of the transport
    from the target to the source is; the rest follows.

    Attributes
    ----------
    source_mean, target_mean : Tensor of shape (n_features,)
        Means.
    scale : float
        In squared units of the data.
    """

    source_mean: Tensor
    target_mean: Tensor
    scale: float

    @abstractmethod
    def swapped(self) -> Self:
        """Return the frame of the transport from the target to the source.

        Returns
        -------
        frame : Frame
            The same coordinates.
        """

    @abstractmethod
    def source_rows(self, x: Tensor) -> Tensor:
        """Bring source rows into the frame.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Points.

        Returns
        -------
        rows : Tensor of shape (n_rows, n_features)
            The same points in the other coordinates.
        """

    @abstractmethod
    def source_rows_back(self, x: Tensor) -> Tensor:
        """Bring points of the source out of the frame.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Points.

        Returns
        -------
        rows : Tensor of shape (n_rows, n_features)
            The same points in the other coordinates.
        """

    @abstractmethod
    def target_gradient_back(self, gradient: Tensor) -> Tensor:
        """Bring gradients in target rows out of the frame.

        Parameters
        ----------
        gradient : Tensor of shape (n_rows, n_features)
            Gradients of a function of target rows in the frame.

        Returns
        -------
        gradient : Tensor of shape (n_rows, n_features)
            Of the function of target rows that it is with the frame.
        """

    def target_rows(self, y: Tensor) -> Tensor:
        """Bring target rows into the frame.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_features)
            Points.

        Returns
        -------
        rows : Tensor of shape (n_rows, n_features)
            The same points in the other coordinates.
        """
        return self.swapped().source_rows(y)

    def target_rows_back(self, y: Tensor) -> Tensor:
        """Bring points of the target out of the frame.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_features)
            Points.

        Returns
        -------
        rows : Tensor of shape (n_rows, n_features)
            The same points in the other coordinates.
        """
        return self.swapped().source_rows_back(y)

    def cpu(self) -> Self:
        """Return the same frame on the CPU.

        Returns
        -------
        frame : Frame
            A copy.
        """
        return self._moved(torch.device("cpu"))

    def to(self, dtype: torch.dtype) -> Self:
        """Return the same frame in another precision.

        Parameters
        ----------
        dtype : torch.dtype
            Of the tensors.

        Returns
        -------
        frame : Frame
            A copy.
        """
        return self._moved(dtype)

    def with_means(self, source_mean: Tensor, target_mean: Tensor) -> Self:
        """Return the same frame about other points.

        Parameters
        ----------
        source_mean, target_mean : Tensor of shape (n_features,)
            What is subtracted from rows of either side.

        Returns
        -------
        frame : Frame
            A copy.
        """
        this: Any = self
        return replace(this, source_mean=source_mean, target_mean=target_mean)

    def _moved(self, where: Any) -> Self:
        this: Any = self  # a dataclass, as all subclasses are
        values = {field.name: getattr(this, field.name) for field in fields(this)}
        tensors = {name: v.to(where) for name, v in values.items() if isinstance(v, Tensor)}
        return replace(this, **tensors)
