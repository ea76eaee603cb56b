"""Coordinates without a matrix, for rows that are images."""

from dataclasses import dataclass

from torch import Tensor

from skot.numerics.linalg import equal_weights, weighted_mean
from skot.potentials._frame import Frame
from skot.utils._brief import brief_repr


@dataclass(frozen=True)
class TranslationFrame(Frame):
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

    __repr__ = brief_repr

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
            mean = weighted_mean(rows, equal_weights(rows))
            means.append(mean)
            variances.append(float((rows - mean).square().mean()))
        # A point on either side has no spread, and any unit will do.
        return cls(means[0], means[1], 0.5 * sum(variances) or 1.0)

    def swapped(self) -> "TranslationFrame":
        return self.with_means(self.target_mean, self.source_mean)

    def source_rows(self, x: Tensor) -> Tensor:
        return (x.to(self.source_mean) - self.source_mean) / self.scale**0.5

    def source_rows_back(self, x: Tensor) -> Tensor:
        return self.scale**0.5 * x + self.source_mean

    def target_gradient_back(self, gradient: Tensor) -> Tensor:
        return gradient / self.scale**0.5
