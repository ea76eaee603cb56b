"""Passes over the stored kernel of one small problem on the CPU, in NumPy.

With a few hundred points a pass is two matrix-vector products of microseconds, and what counts is
the number of operations around them: here three per half step, in buffers that are kept.
"""

from typing import NamedTuple

import numpy as np

from skot.solvers._entropic.arrival import Arrival
from skot.solvers._entropic.lean_logits import LeanLogits, largest_magnitude

#: OpenBLAS shares products of a matrix with a vector, or with a matrix, from so many entries or
#: multiplications on (interface/gemv.c and gemm.c of 0.3.30).
_SHARED_ENTRIES, _SHARED_PRODUCTS = 9216, 2**18


#: Without the checks of the methods of arrays, which take longer than a row of numbers.
_add, _minimum = np.add.reduce, np.minimum.reduce


class LeanPrecision(NamedTuple):
    """A dtype, and how far its range goes.

    Attributes
    ----------
    dtype : type
        Of the kernel and what is multiplied with it.
    safe_exponent : float
        Exponents up to this size need no shift: products with scalings stay in range.
    lowest_exponent : float
        Exponents are cut here, relative to the largest of their row. Lower ones would make products
        of two of them subnormal, which is slower by an order of magnitude.
    largest_scaling : float
        Scalings beyond this (in log units) are absorbed into the kernel.
    lost_column : float
        A column sum below this is made of cut exponents, and tells nothing.
    """

    dtype: type[np.floating]
    safe_exponent: float
    lowest_exponent: float
    largest_scaling: float
    lost_column: float


DOUBLE = LeanPrecision(np.float64, 270.0, -300.0, 100.0, 1e-80)
SINGLE = LeanPrecision(np.float32, 20.0, -60.0, 20.0, 1e-18)


class LeanPass(NamedTuple):
    """What a block of passes tells.

    Attributes
    ----------
    h : ndarray of shape (m,)
        Potential at the last pass.
    plain : ndarray of shape (m,)
        Its exact half step: where the next pass of a plain iteration would be.
    error : float
        L1 error of the target marginal at `h`.
    lost : bool
        Whether a column was out of reach of the exponentials.
    n_passes : int
        Passes done.
    """

    h: np.ndarray
    plain: np.ndarray
    error: float
    lost: bool
    n_passes: int

    def is_arrival(self, arrival: Arrival) -> bool:
        """Whether h counts as a solution."""
        if self.lost or not self.error <= arrival.tol:
            return False
        return bool(arrival.reached(self.error, largest_magnitude(self.plain - self.h)))


class LeanKernel:
    """Kernel kept in memory, with a potential absorbed in it. Potentials are in float64.

    Weights are positive and sum to one, in float64, of shape (n,), (m,).
    """

    def __init__(
        self,
        costs: LeanLogits,
        a: np.ndarray,
        b: np.ndarray,
        precision: LeanPrecision = DOUBLE,
    ):
        self.a, self.b, self.precision = a, b, precision
        dtype = precision.dtype
        self.costs = costs if precision is DOUBLE else costs.in_single()
        self._weights = a.astype(dtype, copy=False), b.astype(dtype, copy=False)
        n, m = costs.shape
        self.kernel = np.empty((n, m), dtype)
        self.row_sums, self._source, self._source_work = (np.empty(n, dtype) for _ in range(3))
        self.scaling, self.column_sums, self._work = (np.empty(m, dtype) for _ in range(3))
        self.absorbed = b
        self._row_offset: np.ndarray | float = 0.0
        self.epsilon = np.nan
        #: Whether the smallest entries of the kernel are larger than they should be.
        self.is_cut = False

    def absorb(self, h: np.ndarray, epsilon: float) -> None:
        """Form the kernel ``exp(h - C / epsilon)``, rows scaled where their entries are wild."""
        self.absorbed, self.epsilon = h, epsilon
        logits = self.kernel
        bound = self.costs.logits(h, epsilon, logits)
        self._row_offset, self.is_cut = 0.0, False
        # NaN must take the careful way too.
        if not bound <= self.precision.safe_exponent:
            largest = logits.max(1)
            logits -= largest[:, None]
            self._row_offset = largest.astype(np.float64, copy=False)
            lowest = self.precision.lowest_exponent
            self.is_cut = not float(logits.min()) >= lowest
            if self.is_cut:
                np.maximum(logits, lowest, out=logits)
        # Not torch.exp: its vector library shares work among threads that torch itself would not.
        np.exp(logits, out=logits)

    def in_range(self, h: np.ndarray) -> bool:
        """Whether scalings relative to the absorbed potential are safe."""
        return largest_magnitude(h - self.absorbed) <= self.precision.largest_scaling

    def passes(self, h: np.ndarray, n_passes: int, relaxed: bool = False) -> LeanPass:
        """Do some passes from h; `row_sums`, `scaling`, `column_sums` are of the last.

        The first source half step and both of the last pass are exact, so that a block is a
        function of h alone, and what it tells is measured. `relaxed` takes the steps between one
        and a half times as far: where plain ones shrink the distance by .8, these do by .5.
        """
        kernel, (a, b) = self.kernel, self._weights
        r, t, s, c, work = self.row_sums, self._source, self.scaling, self.column_sums, self._work
        np.multiply(self.b, np.exp(h - self.absorbed), out=s, casting="same_kind")
        last = n_passes - 1
        for i in range(n_passes):
            np.dot(kernel, s, out=r)
            if relaxed and 0 < i < last:
                np.divide(a, r, out=self._source_work)
                _relax(t, self._source_work)
            else:
                np.divide(a, r, out=t)
            np.dot(t, kernel, out=c)
            if i == last:
                break
            if relaxed:
                np.divide(b, c, out=work)
                _relax(s, work)
            else:
                np.divide(b, c, out=s)
        if last:
            h = self.absorbed + np.log(s / b, dtype=np.float64)
        np.multiply(s, c, out=work)
        work -= b
        error = float(_add(np.abs(work, out=work)))
        lost = not float(_minimum(c)) >= self.precision.lost_column
        plain = self.absorbed - np.log(c, dtype=np.float64)
        return LeanPass(h, plain, error, lost, n_passes)

    def row_log(self) -> np.ndarray:
        """Logarithm of the row sums of the last pass, shape (n,)."""
        return self._row_offset + np.log(self.row_sums, dtype=np.float64)

    def exact_half_step(self, row_log: np.ndarray) -> np.ndarray:
        """Target half step in the log domain, for columns that the exponentials lost."""
        logits = np.empty_like(self.kernel)
        self.costs.logits(np.zeros_like(self.b), self.epsilon, logits)
        logits = logits.astype(np.float64, copy=False)
        logits += (np.log(self.a) - row_log)[:, None]
        largest = logits.max(0)
        logits -= largest
        np.maximum(logits, DOUBLE.lowest_exponent, out=logits)
        return -(largest + np.log(np.exp(logits, out=logits).sum(0)))


def _relax(scaling: np.ndarray, step: np.ndarray) -> None:
    """Replace a scaling by ``step (step / scaling)^(1/2)``: in logarithms, 1.5 times the way."""
    np.divide(step, scaling, out=scaling)
    np.sqrt(scaling, out=scaling)
    np.multiply(scaling, step, out=scaling)


def is_shared(n: int, m: int, width: int = 1) -> bool:
    """Whether BLAS would share products of matrices of so many rows and features among threads."""
    return max(n * m, n * width, m * width) >= _SHARED_ENTRIES or n * m * width > _SHARED_PRODUCTS
