"""What float32 hides of the marginal error."""

import numpy as np

#: Tolerances from which float32 is tried for small problems too.
EASY_TOL = 1e-3
#: What products in float32 may hide.
FLOAT32_NOISE = 5e-7


def single_noise(scale: float, epsilon: float) -> float:
    """What kernels in float32 may hide, exponents included, of costs of a mean size."""
    # Rounding of the cost and the potentials, both of the cost's size, in units of epsilon.
    unit_roundoff = 0.5 * float(np.finfo(np.float32).eps)
    return FLOAT32_NOISE + 2.0 * unit_roundoff * scale / epsilon
