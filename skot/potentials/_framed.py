"""A potential that was learned in coordinates and units of its own."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from skot.potentials._frame import Frame
from skot.utils._brief import brief_repr


@dataclass(frozen=True)
class FramedPotential:
    r"""The potential :math:`g(y) = u \, \tilde g(\tilde y)` of rows in their own units.

    Attributes
    ----------
    module : torch.nn.Module
        The learned :math:`\tilde g`, from (n, n_features) to (n,).
    frame : Frame
        The coordinates :math:`\tilde y` in which it was learned, the same for both sides.
    unit : float
        The unit u of the cost.

    Examples
    --------
    >>> import torch
    >>> from skot.potentials import FramedPotential, TranslationFrame
    >>> frame = TranslationFrame(torch.zeros(1), torch.zeros(1), 4.0)
    >>> FramedPotential(lambda y: y.sum(1), frame, 3.0)(torch.tensor([[2.0]]))
    tensor([3.])
    """

    module: Callable[[Tensor], Tensor]
    frame: Frame
    unit: float

    __repr__ = brief_repr

    def __call__(self, y: Tensor) -> Tensor:
        """Evaluate g.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_features)
            Points.

        Returns
        -------
        values : Tensor of shape (n_rows,)
            In the units of the cost, up to a constant.
        """
        return self.unit * self.module(self.frame.target_rows(y))
