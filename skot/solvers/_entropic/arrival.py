"""When an iterate counts as a solution: one rule for all iterations."""

from typing import NamedTuple

#: Rounding of half steps in float64, in units of epsilon.
ROUNDING = 1e-12


class Arrival(NamedTuple):
    """When an iterate counts as a solution.

    The source potential is always the exact half step of the target potential h. Two things are
    asked of h: the target marginal, whose L1 error, `tol` at most, is blind to columns of next to
    no mass, and that every column is near its own half step: it may be off by `tol` times
    `largest`, which bounds the range of the costs in units of epsilon, or by rounding in float64.
    Half steps have the range of the costs, so such potentials do too: the dual value is a lower
    bound, and below the optimal one by no more than the error times that range (the dual is concave
    and its gradient is the marginal's error).
    """

    tol: float
    largest: float

    def reached(self, error, distance):
        """Whether both are met, for numbers or tensors; not a number never is."""
        return (error <= self.tol) & (distance <= max(self.tol * self.largest, ROUNDING))
