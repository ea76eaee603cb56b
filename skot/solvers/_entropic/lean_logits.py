"""The cost matrix of one small problem, seen only through logits, in NumPy."""

from typing import NamedTuple

import numpy as np

#: Without the checks of the methods of arrays, which take longer than a row of numbers.
_minimum, _maximum = np.minimum.reduce, np.maximum.reduce


class LeanLogits(NamedTuple):
    """Costs ``column - factor * left @ right`` up to row constants, or all in ``column``.

    Attributes
    ----------
    left, right : ndarray of shape (n, k), (k, m), or None
        Factors.
    column : ndarray of shape (m,) or (n, m)
        Terms of the columns; the whole matrix where there are no factors.
    factor : float
        Of the product.
    product_bound : float
        Bound on its absolute entries, the factor included.
    """

    left: np.ndarray | None
    right: np.ndarray | None
    column: np.ndarray
    factor: float
    product_bound: float

    @classmethod
    def of_factors(cls, left: np.ndarray, right: np.ndarray, column: np.ndarray) -> "LeanLogits":
        """From features of shape (n, k), (m, k) and terms of shape (m,)."""
        squares = (
            np.einsum("ij,ij->i", left, left).max() * np.einsum("ij,ij->i", right, right).max()
        )
        return cls(left, np.ascontiguousarray(right.T), column, 1.0, float(squares) ** 0.5)

    @classmethod
    def of_matrix(cls, matrix: np.ndarray) -> "LeanLogits":
        """From the costs themselves, of shape (n, m)."""
        return cls(None, None, matrix, 0.0, 0.0)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of source and target points."""
        if self.left is None or self.right is None:
            return self.column.shape[0], self.column.shape[1]
        return self.left.shape[0], self.right.shape[1]

    def logits(self, h: np.ndarray, epsilon: float, out: np.ndarray) -> float:
        """Write ``h - C / epsilon`` up to row constants to `out`; return a bound on its entries."""
        if self.left is None or self.right is None:
            np.multiply(self.column, self.column.dtype.type(-1.0 / epsilon), out=out)
            out += h.astype(out.dtype, copy=False)
            return largest_magnitude(out)
        bias = h - self.column / epsilon
        factor = self.left.dtype.type(self.factor / epsilon)
        np.dot(self.left * factor, self.right, out=out)
        out += bias.astype(out.dtype, copy=False)
        return self.product_bound / epsilon + largest_magnitude(bias)

    def in_single(self) -> "LeanLogits":
        """The same in float32, but for the terms of columns that stand beside factors."""
        if self.left is None or self.right is None:
            return self._replace(column=self.column.astype(np.float32))
        left, right = self.left.astype(np.float32), self.right.astype(np.float32)
        return self._replace(left=left, right=right)


def largest_magnitude(values: np.ndarray) -> float:
    """Largest absolute value; not a number where one is not."""
    flat = values.reshape(-1)
    return float(max(_maximum(flat), -_minimum(flat)))
