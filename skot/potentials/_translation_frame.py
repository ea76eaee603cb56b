"""Coordinates without a matrix, for rows that are images."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skot.numerics.linalg import weighted_mean


@dataclass(frozen=True)
class TranslationFrame:
    r"""Each sample centred, both scaled by one number.

    Source rows become :math:`(x - m_x) / \sqrt{k}` and target rows :math:`(y - m_y) / \sqrt{k}`:
    the "identity" of :class:`LinearFrame`, without its matrices. For images, whose pixels a
    matrix would mix, and whose number of features squared does not fit into memory.

    Attributes
    ----------
    source_mean, target_mean : Tensor of shape (n_features,)
        Means.
    scale : float
        k, in squared units of the data.

    Examples
    --------
    >>> import torch
    >>> from skot.potentials import TranslationFrame
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> frame = TranslationFrame.of(x, x + 3.0)
    >>> frame.target_rows_back(frame.source_rows(x)).flatten()
    tensor([2., 4.])
    """

    source_mean: Tensor
    target_mean: Tensor
    scale: float

    @classmethod
    def of(cls, source: Tensor, target: Tensor) -> "TranslationFrame":
        """Return the frame of two samples.

        Parameters
        ----------
        source, target : Tensor of shape (n, n_features), (m, n_features)
            The samples.

        Returns
        -------
        frame : TranslationFrame
            In which the mean variance of a feature is 1 on average over both sides.
        """
        means, variances = [], []
        for rows in (source, target):
            mean = weighted_mean(rows, rows.new_full((len(rows),), 1.0 / len(rows)))
            means.append(mean)
            variances.append(float((rows - mean).square().mean()))
        # A point on either side has no spread, and any unit will do.
        return cls(means[0], means[1], 0.5 * sum(variances) or 1.0)

    def cpu(self) -> "TranslationFrame":
        """Return the same frame on the CPU.

        Returns
        -------
        frame : TranslationFrame
            A copy.
        """
        return replace(self, source_mean=self.source_mean.cpu(), target_mean=self.target_mean.cpu())

    def to(self, dtype: torch.dtype) -> "TranslationFrame":
        """Return the same frame in another precision.

        Parameters
        ----------
        dtype : torch.dtype
            Of the means.

        Returns
        -------
        frame : TranslationFrame
            A copy.
        """
        return replace(
            self,
            source_mean=self.source_mean.to(dtype),
            target_mean=self.target_mean.to(dtype),
        )

    def swapped(self) -> "TranslationFrame":
        """Return the frame of the transport from the target to the source.

        Returns
        -------
        frame : TranslationFrame
            The same coordinates.
        """
        return replace(self, source_mean=self.target_mean, target_mean=self.source_mean)

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
        return (x.to(self.source_mean) - self.source_mean) / self.scale**0.5

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
        return self.scale**0.5 * x + self.source_mean

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
        return gradient / self.scale**0.5
