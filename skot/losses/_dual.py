"""The Kantorovich dual of the quadratic cost, and the batch that its losses look at."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from skot.utils._brief import brief_repr


@dataclass(frozen=True)
class DualBatch:
    r"""One batch of a step of training, with what the networks said about it.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Source rows.
    y : Tensor of shape (m, n_features)
        Target rows, drawn independently of `x`.
    potential : Module
        The potential :math:`f`, from (n, n_features) to (n,).
    amortizer : Module
        The map :math:`y \mapsto \tilde{x}(y) \approx \nabla f^*(y)`.
    prediction : Tensor of shape (m, n_features)
        :math:`\tilde{x}(y)`, with its graph to the amortizer.
    solution : Tensor of shape (m, n_features)
        The conjugate points :math:`x^*(y)`, without a graph: what the conjugate solver made of
        the prediction, or the prediction itself.
    refined : bool
        Whether a conjugate solver worked on the prediction.

    Examples
    --------
    >>> import torch
    >>> from skot.losses import DualBatch, dual_loss
    >>> def half_square(x):  # its own conjugate, and its gradient is the identity
    ...     return 0.5 * x.square().sum(dim=1)
    >>> x, y = torch.ones(1, 2), 2.0 * torch.ones(1, 2)
    >>> batch = DualBatch(x, y, half_square, torch.nn.Identity(), y, y, refined=False)
    >>> dual_loss(batch)  # |x|^2 / 2 + |y|^2 / 2
    tensor(5.)
    """

    x: Tensor
    y: Tensor
    potential: nn.Module
    amortizer: nn.Module
    prediction: Tensor
    solution: Tensor
    refined: bool

    __repr__ = brief_repr

    @cached_property
    def potential_values(self) -> tuple[Tensor, Tensor]:
        r"""The values :math:`f(x)` and :math:`f(x^*)`, from one forward pass that all losses share.

        The graph is shared too: differentiate the sum of the losses of the potential at once.
        """
        values = self.potential(torch.cat([self.x, self.solution]))
        return values[: len(self.x)], values[len(self.x) :]


def dual_loss(batch: DualBatch) -> Tensor:
    r"""Dual objective of the quadratic cost, to be minimised over the potential.

    .. math::

        \frac{1}{n} \sum_i f(x_i)
        + \frac{1}{m} \sum_j \bigl( \langle x^*_j, y_j \rangle - f(x^*_j) \bigr).

    Parameters
    ----------
    batch : DualBatch
        The rows, the potential and the conjugate points.

    Returns
    -------
    loss : Tensor
        A number.

    Notes
    -----
    With :math:`x^*_j = \nabla f^*(y_j)` the second mean is that of :math:`f^*(y_j)`, and by
    Danskin's theorem the gradient needs no derivative of :math:`x^*`. At the optimum,

    .. math::

        \tfrac{1}{2} W_2^2 = \tfrac{1}{2} E \lVert x \rVert^2 + \tfrac{1}{2} E \lVert y \rVert^2
        - \min_f \bigl( E f(x) + E f^*(y) \bigr).

    References
    ----------
    .. [1] Makkuva, A., Taghvaei, A., Oh, S., Lee, J. (2020). Optimal transport mapping via input
       convex neural networks. ICML, equation 6.
    .. [2] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR,
       equations 3 and 6.

    Examples
    --------
    See `DualBatch`.
    """
    source, target = batch.potential_values
    return source.mean() + ((batch.solution * batch.y).sum(dim=1) - target).mean()
