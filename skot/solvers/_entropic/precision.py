"""What float32 hides of the marginal error, and when it hides too much."""

import numpy as np

#: Tolerances from which float32 is tried for small problems too.
EASY_TOL = 1e-3
#: What products in float32 may hide.
FLOAT32_NOISE = 5e-7


#: Weights that products in float32 and in float64 can hold beside those of order one.
SINGLE_WEIGHT, DOUBLE_WEIGHT = 1e-20, 1e-60


def reach(tol: float, largest: float, epsilon: float) -> float:
    """What rounding in units of epsilon has to stay below, at costs of a range `largest`.

    Errors of the marginal are relative to one, those of potentials relative to the range of the
    costs: where epsilon is larger than that, rounding of an exponent counts for more.
    """
    return tol * min(1.0, largest / epsilon)


def single_noise(scale: float, epsilon: float) -> float:
    """What kernels in float32 may hide, exponents included, of costs of a mean size."""
    # Rounding of the cost and the potentials, both of the cost's size, in units of epsilon.
    unit_roundoff = 0.5 * float(np.finfo(np.float32).eps)
    return FLOAT32_NOISE + 2.0 * unit_roundoff * scale / epsilon
