"""The potential of the target side of a strong or weak cost."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skot.numerics.value_and_gradient import value_and_gradient
from skot.potentials._frame import Frame
from skot.utils._brief import brief_repr


@dataclass(frozen=True)
class KantorovichPotential:
    r"""The potential g on the target, learned in coordinates of its own.

    With the learned module :math:`\psi`, target rows :math:`\tilde{y} = Q (y - m_y)` of
    :class:`LinearFrame` and its scale k,

    .. math::

        g(y) = u \, \big( \tfrac{c}{2} |\tilde{y}|^2 - \psi(\tilde{y}) \big) + B(y), \qquad
        B(y) = \tfrac{u}{k} \big( \tfrac{1}{2} |y - m_y|^2 - \tfrac{k}{2} |\tilde{y}|^2
        + \langle m_y - m_x, y - m_y \rangle \big),

    where B is what the change of coordinates does to a quadratic cost; other costs have none.

    Parameters
    ----------
    module : torch.nn.Module
        The learned :math:`\psi`, from (n, n_features) to (n,).
    frame : Frame
        The coordinates in which it was learned.
    coefficient : float
        The coefficient c, given to the potential before training.
    unit : float
        The unit u of the cost.
    shifted : bool
        Whether the cost is quadratic, so that there is a B.

    Examples
    --------
    >>> import torch
    >>> from skot.potentials import KantorovichPotential, LinearFrame
    >>> def half_square(y):
    ...     return 0.5 * y.square().sum(dim=1)
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> frame = LinearFrame.of(x, x + 3.0, "identity")
    >>> g = KantorovichPotential(half_square, frame, 1.0, frame.scale, True)
    >>> g(torch.tensor([[3.0], [4.0]]))  # of a translation by 3, up to a constant
    tensor([0., 3.])
    """

    module: Callable[[Tensor], Tensor]
    frame: Frame
    coefficient: float
    unit: float
    shifted: bool

    __repr__ = brief_repr

    def __call__(self, y: Tensor) -> Tensor:
        """Evaluate g.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_features)
            Points of the target.

        Returns
        -------
        values : Tensor of shape (n_rows,)
            Defined up to a constant.
        """
        return self.learned(y) + self.of_the_frame(y)

    def learned(self, y: Tensor) -> Tensor:
        """Evaluate the part that is learned, g - B.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_features)
            Points of the target.

        Returns
        -------
        values : Tensor of shape (n_rows,)
            In the units of g.
        """
        rows = self.frame.target_rows(y)
        squared = rows.square().sum(dim=1)
        return self.unit * (0.5 * self.coefficient * squared - self.module(rows))

    def of_the_frame(self, y: Tensor) -> Tensor:
        """Evaluate the part that is due to the coordinates, B.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_features)
            Points of the target.

        Returns
        -------
        values : Tensor of shape (n_rows,)
            In the units of g; zero for a cost that is not quadratic.
        """
        frame = self.frame
        rows = frame.target_rows(y)
        if not self.shifted:
            return rows.new_zeros(len(rows))
        centred = y.to(rows) - frame.target_mean
        shift = frame.target_mean - frame.source_mean
        squared = centred.square().sum(dim=1) - frame.scale * rows.square().sum(dim=1)
        return self.unit / frame.scale * (0.5 * squared + centred @ shift)

    def gradient(self, y: Tensor) -> Tensor:
        """Evaluate the gradient of g.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_features)
            Points of the target.

        Returns
        -------
        gradients : Tensor of shape (n_rows, n_features)
            Without a graph.
        """
        frame, y = self.frame, y.detach()
        rows = frame.target_rows(y)
        with torch.no_grad():
            slope = self.coefficient * rows - value_and_gradient(self.module, rows)[1]
        gradients = self.unit * frame.target_gradient_back(slope)
        if not self.shifted:
            return gradients
        # The gradient of B, where (y - m_y) + (m_y - m_x) is y - m_x.
        change = y.to(rows) - frame.source_mean - frame.scale * frame.target_gradient_back(rows)
        return gradients + self.unit / frame.scale * change
