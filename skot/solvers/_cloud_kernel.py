"""Half steps of many small problems at once, each with a kernel of its own."""

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


class CloudKernel:
    """Kernels ``exp(h_j - C_ij / epsilon)`` of a chunk of problems, with potentials absorbed.

    A half step is one product of every matrix with its vector. On the CPU NumPy does them, twice
    as fast as torch, on the same memory.

    Parameters
    ----------
    costs : SquaredEuclideanClouds, PointClouds or MatrixClouds
        Costs of the batch.
    index : Tensor of int, shape (k,)
        Which problems.
    epsilon : Tensor of shape (k,)
        Their regularisation in scaled units.
    h : Tensor of shape (k, m)
        Target potentials over epsilon, to be absorbed.
    """

    def __init__(self, costs, index: Tensor, epsilon: Tensor, h: Tensor):
        kernel = costs.exponents(index, epsilon)
        kernel += h[:, None, :]
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
        self._row_sums, self._column_sums = kernel.new_empty(k, n, 1), kernel.new_empty(k, 1, m)
        self._arrays = None
        if kernel.device.type == "cpu":
            self._arrays = tuple(
                t.numpy() for t in (kernel, self._row_sums, self._column_sums)
            )

    def select(self, kept: Tensor) -> None:
        """Keep only some problems.

        Parameters
        ----------
        kept : Tensor of bool, shape (k,)
            Which ones stay.
        """
        self.is_clamped, self.offset = self.is_clamped[kept], self.offset[kept]
        self._set(self._kernel[kept])

    def row_sums(self, scaling: Tensor) -> Tensor:
        """Sum rows, weighted by a scaling of the columns.

        Parameters
        ----------
        scaling : Tensor of shape (k, m)
            Contiguous.

        Returns
        -------
        sums : Tensor of shape (k, n)
            Overwritten by the next call.
        """
        if self._arrays is None:
            torch.bmm(self._kernel, scaling[:, :, None], out=self._row_sums)
        else:
            kernel, out, _ = self._arrays
            np.matmul(kernel, scaling.numpy()[:, :, None], out=out)
        return self._row_sums[:, :, 0]

    def column_sums(self, scaling: Tensor) -> Tensor:
        """Sum columns, weighted by a scaling of the rows.

        Parameters
        ----------
        scaling : Tensor of shape (k, n)
            Contiguous.

        Returns
        -------
        sums : Tensor of shape (k, m)
            Overwritten by the next call.
        """
        if self._arrays is None:
            torch.bmm(scaling[:, None, :], self._kernel, out=self._column_sums)
        else:
            kernel, _, out = self._arrays
            np.matmul(scaling.numpy()[:, None, :], kernel, out=out)
        return self._column_sums[:, 0]


def exact_half_steps(exponents: Tensor, h: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """One pass in the log domain, where nothing is cut off.

    Parameters
    ----------
    exponents : Tensor of shape (k, n, m)
        ``-C / epsilon``.
    h : Tensor of shape (k, m)
        Target potential over epsilon; only what belongs to columns with mass counts.
    a, b : Tensor of shape (k, n), (k, m)
        Weights; zeros are allowed.

    Returns
    -------
    row_log : Tensor of shape (k, n)
        Logarithm of the row sums.
    column_log : Tensor of shape (k, m)
        Logarithm of the column sums: the next potential is ``-column_log``, also of columns
        without mass.
    """
    column_bias, row_log_weights = log_weights(b) + h, log_weights(a)
    column_bias = torch.where(b > 0, column_bias, _NOTHING)
    row_log = torch.logsumexp(exponents + column_bias[:, None, :], dim=2)
    row_bias = torch.where(a > 0, row_log_weights - row_log, _NOTHING)
    return row_log, torch.logsumexp(exponents + row_bias[:, :, None], dim=1)


def log_weights(weights: Tensor) -> Tensor:
    """Logarithms of weights; zero for no mass.

    Parameters
    ----------
    weights : Tensor
        Not negative.

    Returns
    -------
    logarithms : Tensor
        Finite.
    """
    return torch.where(weights > 0, weights, 1.0).log()
