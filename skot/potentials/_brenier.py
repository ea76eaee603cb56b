"""Brenier's potential: its gradient is the map."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skot.numerics.tiles import NETWORK_WIDTH, row_tiles
from skot.numerics.value_and_gradient import value_and_gradient
from skot.potentials._linear_frame import LinearFrame
from skot.utils._brief import brief_repr


@dataclass(frozen=True)
class BrenierPotential:
    r"""A potential whose gradient is the map, learned in coordinates of its own.

    With the learned potential :math:`\varphi` and the frame of :class:`LinearFrame`,

    .. math::

        f(x) = k \, \varphi(P (x - m_x)) + \langle m_y, x \rangle, \qquad
        \nabla f(x) = k P \, \nabla \varphi(P (x - m_x)) + m_y.

    Parameters
    ----------
    module : torch.nn.Module
        The learned potential, from (n, n_features) to (n,).
    frame : LinearFrame
        The coordinates in which it was learned.

    Examples
    --------
    >>> import torch
    >>> from skot.potentials import BrenierPotential, LinearFrame
    >>> def half_square(x):
    ...     return 0.5 * x.square().sum(dim=1)
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> frame = LinearFrame.of(x, 3.0 * x + 1.0, "gaussian")
    >>> BrenierPotential(half_square, frame).gradient(x)
    tensor([[-2.],
            [ 4.]])
    """

    module: Callable[[Tensor], Tensor]
    frame: LinearFrame

    __repr__ = brief_repr

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate f.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Points of the source.

        Returns
        -------
        values : Tensor of shape (n_rows,)
            Defined up to a constant.
        """
        frame = self.frame
        x = x.to(frame.source_mean)
        return frame.scale * self.module(frame.source_rows(x)) + x @ frame.target_mean

    def displacement_potential(self, x: Tensor) -> Tensor:
        r"""Evaluate :math:`f(x) - |x|^2 / 2`, whose gradient is the displacement.

        Far from the origin f and the parabola are large, and nearly the same. This subtracts what
        is left of both about the mean of the source, in double precision, so that no digits are
        lost but those of the learned potential.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Points of the source.

        Returns
        -------
        values : Tensor of shape (n_rows,)
            In float64, defined up to a constant.
        """
        frame = self.frame.to(torch.float64)
        centred = x.to(frame.source_mean) - frame.source_mean
        rows = (centred @ frame.source_matrix).to(self.frame.source_mean)
        learned = frame.scale * self.module(rows).double()
        shift = frame.target_mean - frame.source_mean
        return learned - 0.5 * centred.square().sum(dim=1) + centred @ shift

    def gradient(self, x: Tensor) -> Tensor:
        """Evaluate the map.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Points of the source.

        Returns
        -------
        moved : Tensor of shape (n_rows, n_features)
            Their images; computed by tiles of rows, without a graph.
        """
        x = x.to(self.frame.source_mean)
        moved = torch.empty_like(x)
        with torch.no_grad():
            for rows in row_tiles(len(x), NETWORK_WIDTH):
                points = self.frame.source_rows(x[rows])
                gradients = value_and_gradient(self.module, points)[1]
                moved[rows] = self.frame.target_rows_back(gradients)
        return moved
