"""Half steps of many small problems at once, each with a kernel of its own."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

#: Exponents are cut off here: products of smaller entries with scalings and weights would be
#: subnormal, which is slower by an order of magnitude.
_LOWEST = -300.0
#: Up to this bound of all exponents a kernel is formed without looking for the maxima of its rows.
_NARROW = 250.0
#: Logarithm of no mass at all: finite, so that differences with it stay numbers.
_NOTHING = -1e300


class Passes(NamedTuple):
    """What the last of some passes tells.

    Attributes
    ----------
    e : Tensor of shape (k, m)
        Exponentials of the potentials with which it began.
    row_sums, column_sums : Tensor of shape (k, n), (k, m)
        Its sums; where there is mass, a column has ``column_sums e`` times its weight.
    """

    e: Tensor
    row_sums: Tensor
    column_sums: Tensor


class CloudKernel:
    """Kernels ``exp(h_j - C_ij / epsilon)`` of a chunk of problems, with potentials absorbed.

    Of problems (k,) with regularisations (k,) in scaled units and potentials over epsilon (k, m). A
    half step is one product of every matrix with its vector.
    """

    def __init__(self, costs, index: Tensor, epsilon: Tensor, h: Tensor):
        kernel = costs.exponents(index, epsilon, h)
        bound = costs.range[index] / epsilon + h.amax(1) - h.amin(1)
        #: Which kernels may have entries that were cut off.
        self.is_clamped = ~(bound <= -_LOWEST)
        if bool((bound + h.abs().amax(1) <= _NARROW).all()):
            self.offset = kernel.new_zeros(kernel.shape[:2])
        else:
            largest = kernel.amax(2, keepdim=True)
            kernel.sub_(largest).clamp_(min=_LOWEST)
            self.offset = largest[:, :, 0]
        self._set(kernel.exp_())

    def _set(self, kernel: Tensor) -> None:
        k, n, m = kernel.shape
        self._kernel = kernel
        self._e = kernel.new_empty(k, m)
        # Row and column sums, and what stands beside them.
        self._sums = kernel.new_empty(k, n), kernel.new_empty(k, m)
        self._work = [kernel.new_empty(k, size) for size in (n, n, n, m, m)]

    def select(self, kept: Tensor) -> None:
        """Keep only some problems, an index of shape (k_kept,)."""
        self.is_clamped, self.offset = self.is_clamped[kept], self.offset[kept]
        self._set(self._kernel[kept])

    def passes(
        self, a: Tensor, b: Tensor, e: Tensor, n_passes: int, relaxed: bool = False
    ) -> Passes:
        """Do some passes ``r = K (b e), c = K' (a / r), e <- 1 / c``.

        Weights and e have shape (k, n), (k, m), (k, m); e is overwritten, and so are the tensors
        that are returned, by the next call. `relaxed` takes steps between the exact ones of the
        ends one and a half times as far, as
        :meth:`skot.solvers._entropic.lean.kernel.LeanKernel.passes` does.
        """
        tensors: Any = (self._kernel, a, b, e, self._e, *self._sums, *self._work)
        xp = _array_module(e)
        if xp is np:
            tensors = tuple(t.numpy() for t in tensors)
        kernel, a_, b_, e_, before, r, c, t, u, u_step, s, e_step = tensors
        columns, rows = s[:, :, None], r[:, :, None]
        rows_t, columns_t = t[:, None, :], c[:, None, :]
        last = n_passes - 1
        for i in range(n_passes):
            xp.multiply(b_, e_, out=s)
            xp.matmul(kernel, columns, out=rows)
            if relaxed and 0 < i < last:
                xp.reciprocal(r, out=u_step)
                _relax(xp, u, u_step)
            else:
                xp.reciprocal(r, out=u)
            xp.multiply(a_, u, out=t)
            xp.matmul(rows_t, kernel, out=columns_t)
            if i == last:
                before[...] = e_
                xp.reciprocal(c, out=e_)
            elif relaxed:
                xp.reciprocal(c, out=e_step)
                _relax(xp, e_, e_step)
            else:
                xp.reciprocal(c, out=e_)
        return Passes(self._e, *self._sums)


def _relax(xp: Any, scaling: Any, step: Any) -> None:
    """Replace a scaling by ``step (step / scaling)^(1/2)``."""
    xp.divide(step, scaling, out=scaling)
    xp.sqrt(scaling, out=scaling)
    xp.multiply(scaling, step, out=scaling)


def _array_module(tensor: Tensor) -> Any:
    """What does the products: functions of the same names, and on a CPU NumPy's are faster."""
    return np if tensor.device.type == "cpu" else torch


def exact_half_steps(exponents: Tensor, h: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """One pass in the log domain, where nothing is cut off: logarithms of row and column sums.

    Of ``-C / epsilon``, (k, n, m), with potentials over epsilon, (k, m), that are not in it; only
    those of columns with mass count. The next potential is minus the second, without mass too.
    """
    column_bias, row_log_weights = log_weights(b) + h, log_weights(a)
    column_bias = torch.where(b > 0, column_bias, _NOTHING)
    row_log = torch.logsumexp(exponents + column_bias[:, None, :], dim=2)
    row_bias = torch.where(a > 0, row_log_weights - row_log, _NOTHING)
    return row_log, torch.logsumexp(exponents + row_bias[:, :, None], dim=1)


def log_weights(weights: Tensor) -> Tensor:
    """Logarithms of weights, finite: zero for no mass."""
    return torch.where(weights > 0, weights, 1.0).log()
