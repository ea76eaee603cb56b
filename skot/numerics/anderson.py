"""Anderson acceleration of a batch of fixed-point iterations."""

import torch
from torch import Tensor


class AndersonAcceleration:
    r"""Type-II Anderson acceleration in a norm with weights (n_problems, n), one problem per row.

    For iterates :math:`h_k` with residuals :math:`r_k = G(h_k) - h_k`, the next iterate is

    .. math::

        h_{k+1} = h_k + r_k - (\Delta H + \Delta R) \gamma, \qquad
        \gamma = \arg\min_\gamma \|r_k - \Delta R \gamma\|_w

    where the columns of :math:`\Delta H, \Delta R` are the last `memory` differences; with none of
    them it is the plain iteration. See Section 2 of Walker and Ni (2011), Anderson acceleration for
    fixed-point iterations, SIAM Journal on Numerical Analysis, 49(4). Weighting the norm by the
    mass of each coordinate makes the iteration blind to whether a point is given twice or once with
    twice the weight.
    """

    #: Relative ridge on the normal equations: keeps nearly parallel differences harmless.
    _RIDGE = 1e-10

    def __init__(self, weights: Tensor, memory: int):
        n_problems, n = weights.shape
        self._memory = memory
        self._root = weights.sqrt()
        self._steps = weights.new_zeros(n_problems, memory, n)
        self._differences = torch.zeros_like(self._steps)
        self._gram = weights.new_zeros(n_problems, memory, memory)
        self._count = 0
        self._previous: tuple[Tensor, Tensor] | None = None
        self._restarted: Tensor | None = None

    def restart(self, rows: Tensor | None = None) -> None:
        """Forget the past of the problems in a mask (n_problems,); of all of them for None."""
        if rows is None:
            self._count = 0
            self._previous = self._restarted = None
            return
        # A difference of zero gets a coefficient of zero, so clearing is enough.
        self._steps[rows] = 0.0
        self._differences[rows] = 0.0
        self._gram[rows] = 0.0
        self._restarted = rows if self._restarted is None else rows | self._restarted

    def select(self, rows: Tensor) -> None:
        """Keep only the problems in a mask (n_problems,)."""
        self._root, self._gram = self._root[rows], self._gram[rows]
        self._steps, self._differences = self._steps[rows], self._differences[rows]
        if self._previous is not None:
            self._previous = (self._previous[0][rows], self._previous[1][rows])
        if self._restarted is not None:
            self._restarted = self._restarted[rows]

    def step(self, h: Tensor, residual: Tensor) -> Tensor:
        """Return the next iterate, from this one and its residual, all (n_problems, n)."""
        if self._memory == 0:
            return h + residual
        self._remember(h, residual)
        used = min(self._count, self._memory)
        if used == 0:
            return h + residual
        gram, differences = self._gram[:, :used, :used], self._differences[:, :used]
        # The normal equations for gamma, in differences of unit length: residuals shrink from step
        # to step, and the ridge, relative to a diagonal of ones, is then the same for all of them.
        # Differences of zero, which were forgotten, get no coefficient.
        diagonal = gram.diagonal(dim1=1, dim2=2)
        scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
        system = gram * scale[:, :, None] * scale[:, None, :]
        system.diagonal(dim1=1, dim2=2).fill_(1.0 + self._RIDGE)
        right = torch.bmm(differences, (residual * self._root)[:, :, None]) * scale[:, :, None]
        solution, _ = torch.linalg.solve_ex(system, right)
        coefficients = (solution * scale[:, :, None]).transpose(1, 2)
        return h + residual - torch.bmm(coefficients, self._steps[:, :used])[:, 0]

    def _remember(self, h: Tensor, residual: Tensor) -> None:
        """Store the last difference; the products with the older ones are kept, not redone."""
        previous, self._previous = self._previous, (h, residual)
        if previous is None:
            return
        slot = self._count % self._memory
        difference = residual - previous[1]
        # A column of Delta H + Delta R, the change of the image G(h): what the next iterate takes.
        step = h - previous[0] + difference
        if self._restarted is not None:
            kept = (~self._restarted)[:, None]
            # Not a product: what was forgotten need not have been a number.
            step, difference = (torch.where(kept, v, 0.0) for v in (step, difference))
            self._restarted = None
        self._steps[:, slot] = step
        self._differences[:, slot] = difference * self._root
        self._count += 1
        used = min(self._count, self._memory)
        kept_differences = self._differences[:, :used]
        products = torch.bmm(kept_differences, kept_differences[:, slot, :, None])[:, :, 0]
        self._gram[:, slot, :used] = products
        self._gram[:, :used, slot] = products
