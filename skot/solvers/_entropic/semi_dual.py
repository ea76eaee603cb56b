"""The entropic dual as a function of one potential, for many problems that share their cost.

Meta Optimal Transport needs three things of a predicted source potential: the target potential
that belongs to it, the dual value, and the gradient of that value. One pass over the kernel gives
all of them, and nothing is differentiated through it.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from skot.costs import GridCost, cost_matrix
from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.grid_kernel import GridKernel
from skot.utils._brief import brief_repr

#: Costs up to this many epsilons leave products of kernel and scalings in the range of float64.
_SCALING_RANGE = 200.0
#: Exponents of scalings are cut here, far from where those of an optimal potential are.
_LARGEST_EXPONENT = 300.0
#: The logarithm of no mass: finite, so that differences with it stay numbers.
_NOTHING = -1e30


class SemiDualPass(NamedTuple):
    """What one pass over the kernel tells about source potentials.

    Attributes
    ----------
    target_potential : Tensor of shape (n_problems, m)
        The half step g of f.
    source_marginal : Tensor of shape (n_problems, n)
        Row sums of the plan of f and g, whose column sums are b.
    """

    target_potential: Tensor
    source_marginal: Tensor

    def __repr__(self) -> str:
        return brief_repr(self)


class SemiDual:
    r"""Entropic dual value as a function of the source potential alone.

    .. math::

        J(f) = \langle a, f \rangle + \langle b, g(f) \rangle, \qquad
        g_j(f) = -\epsilon \log \sum_i a_i \exp\big((f_i - C_{ij}) / \epsilon\big),

    the semi-dual of [1]_ and, negated, the loss of Meta Optimal Transport [2]_: the plan of f and
    g(f) has the column sums b, so its mass is one and the third term of the dual is constant.
    The gradient is :math:`a - P 1`.

    Parameters
    ----------
    cost : PrecomputedCost, SupportCost or GridCost
        Cost between two fixed supports.
    epsilon : float
        Regularisation, in the units of the cost.
    dtype : torch.dtype, default=torch.float64
        Of passes over a kernel that does not fit the range of scalings; all others are in
        float64, which costs them nothing.
    device : torch.device, default=None
        Where to compute.

    Notes
    -----
    Memory is O(n m) for the cost matrix, but for grids, and O(n_problems (n + m)) per call. On
    kernels out of the range of scalings a pass takes n m exponentials a problem.

    References
    ----------
    .. [1] Cuturi, M. and Peyre, G. (2018). Semidual regularized optimal transport. SIAM Review,
       60(4), Section 3.
    .. [2] Amos, B., Luise, G., Cohen, S. and Redko, I. (2023). Meta optimal transport. ICML,
       equation 7.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import GridCost
    >>> from skot.solvers import SemiDual
    >>> semi_dual = SemiDual(GridCost((2, 2)), epsilon=0.1)
    >>> a = b = torch.full((1, 4), 0.25, dtype=torch.float64)
    >>> f = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    >>> value = semi_dual.value(f, a, b)
    >>> value.sum().backward()
    >>> bool(f.grad.abs().max() < 1e-9)  # by symmetry a constant is optimal
    True
    """

    def __init__(
        self,
        cost: Any,
        epsilon: float,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | None = None,
    ):
        self._epsilon, self._grid = float(epsilon), None
        if cost.is_separable:
            self._grid = cost
            largest = sum(float(axis.max()) for axis in cost.axis_costs())
            self._in_scaling_range = largest / self._epsilon <= _SCALING_RANGE
            return
        matrix = cost_matrix(cost).to(device)
        # The cost of each target from the cheapest source on, which g takes back.
        self._offset = matrix.amin(0)
        logits = (self._offset - matrix) / self._epsilon
        self._in_scaling_range = float(-logits.min()) <= _SCALING_RANGE
        self._kernel = logits.exp() if self._in_scaling_range else logits.T.contiguous().to(dtype)

    def step(self, f: Tensor, a: Tensor, b: Tensor) -> SemiDualPass:
        """Do the target half step of given source potentials.

        Parameters
        ----------
        f : Tensor of shape (n_problems, n)
            Source potentials, in the units of the cost.
        a, b : Tensor of shape (n_problems, n), (n_problems, m)
            Weights that sum to one; zeros are allowed.

        Returns
        -------
        semi_dual_pass : SemiDualPass
            In float64, without a graph.
        """
        with torch.no_grad():
            h = f.detach().double() / self._epsilon
            h = h - (h * a).sum(1, keepdim=True)
            if self._grid is not None:
                log_sums, marginal = self._grid_step(self._grid, h, a, b)
            elif self._in_scaling_range:
                log_sums, marginal = self._scaling_step(h, a, b)
            else:
                log_sums, marginal = self._logarithmic_step(h, a, b)
            shift = (f.detach() * a).sum(1, keepdim=True)
            return SemiDualPass(-self._epsilon * log_sums - shift, marginal)

    def value(self, f: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Compute J.

        Parameters
        ----------
        f : Tensor of shape (n_problems, n)
            Source potentials; the value can be differentiated with respect to them, once.
        a, b : Tensor of shape (n_problems, n), (n_problems, m)
            Weights that sum to one.

        Returns
        -------
        value : Tensor of shape (n_problems,)
            In float64.
        """
        g, marginal = self.step(f, a, b)
        # The envelope theorem: g is optimal for f, so its change does not count.
        linear = ((a - marginal) * f).sum(1)
        value = (a * f.detach()).sum(1) + (b * g).sum(1)
        return value + (linear - linear.detach())

    def _grid_step(self, grid: GridCost, h: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        # With the sides swapped, the solver's pass starts from the source potential.
        kernel = GridKernel(grid, b, a)
        if self._in_scaling_range:
            h = h.clamp(-_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        kernel.absorb(h, self._epsilon)
        half = kernel.half_steps(h)
        marginal = torch.where(a > 0, a * half.residual.neg().exp(), 0.0)
        return half.row_log, marginal

    def _scaling_step(self, h: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        scaled = a * h.clamp(-_LARGEST_EXPONENT, _LARGEST_EXPONENT).exp()
        sums = scaled @ self._kernel
        marginal = scaled * ((b / sums) @ self._kernel.T)
        return sums.log() - self._offset / self._epsilon, marginal

    def _logarithmic_step(self, h: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        m, n = self._kernel.shape
        bias = torch.where(a > 0, torch.where(a > 0, a, 1.0).log() + h, _NOTHING)
        bias, weights = bias.to(self._kernel), b.to(self._kernel)
        log_sums, marginal = torch.empty_like(b), torch.empty_like(a)
        for tile in row_tiles(len(h), n * m):
            logits = self._kernel + bias[tile, None, :]
            largest = logits.amax(2, keepdim=True)
            plan = logits.sub_(largest).clamp_(min=-80.0).exp_()
            sums = plan.sum(2)
            log_sums[tile] = (largest[:, :, 0] + sums.log()).to(log_sums)
            marginal[tile] = torch.bmm((weights[tile] / sums)[:, None], plan)[:, 0].to(marginal)
        return log_sums - self._offset / self._epsilon, marginal
