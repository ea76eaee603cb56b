"""Newton's method on the semi-dual, for small problems that the fixed-point iteration crawls on.

At small epsilon some groups of points exchange next to no mass. Their relative potential is then
almost free, and every first-order iteration needs as many passes as the inverse of that mass to
settle it. Newton's method divides by it.
"""

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

from skot.solvers._entropic.acceleration import LARGEST_STEP
from skot.solvers._entropic.arrival import Arrival
from skot.solvers._entropic.iteration import Progress
from skot.solvers._entropic.lean.kernel import LeanKernel, LeanPass

#: Ridge on the unit diagonal of the scaled system: what lies below it is rounding.
_RIDGE = 1e-14
#: Largest number of halvings of a step, and the share of the predicted increase that is asked.
_MAX_HALVINGS, _ARMIJO = 40, 1e-4


def newton(kernel: LeanKernel, h: np.ndarray, arrival: Arrival, progress: Progress) -> LeanPass:
    r"""Maximise the semi-dual from a good start h of shape (m,), in memory O(n m + m^2).

    .. math::

        D(h) = \langle b, h \rangle - \sum_i a_i \log \sum_j b_j e^{h_j - C_{ij} / \epsilon},
        \qquad \nabla D = b - q, \quad q = Q^\top a, \qquad
        -\nabla^2 D = \mathrm{diag}(q) - Q^\top \mathrm{diag}(a)\, Q

    with Q the conditional probabilities of the targets given the sources (Brauer et al., 2017, A
    Sinkhorn-Newton method for entropic optimal transport, arXiv:1710.06635, Section 2). A half step
    comes before each of Newton's: it gives every column, however small, a mass near its own, and
    the quadratic model holds only there.

    Returns where it ended, which the kernel's sums belong to: at the arrival, out of passes, which
    are evaluations of the kernel, or where rounding ends the ascent.
    """
    point = _evaluate(kernel, h, progress)
    while not (point.is_arrival(arrival) or progress.exhausted):
        if point.lost:
            return point
        point = _evaluate(kernel, point.plain, progress)
        if point.is_arrival(arrival) or progress.exhausted or point.lost:
            return point
        following = _ascend(kernel, point, progress)
        if following is None:
            # The kernel's sums are to be those of the point that is returned.
            return _evaluate(kernel, point.h)
        point = following
    return point


def _evaluate(kernel: LeanKernel, h: np.ndarray, progress: Progress | None = None) -> LeanPass:
    """One pass at h, in range of the kernel, counted by the progress that is given."""
    h = h - h @ kernel.b
    if not kernel.in_range(h):
        kernel.absorb(h, kernel.epsilon)
    point = kernel.passes(h, 1)
    if progress is not None:
        progress.record(point.error, kernel.epsilon)
    return point


def _ascend(kernel: LeanKernel, point: LeanPass, progress: Progress) -> LeanPass | None:
    """Newton's step with halvings; None where no length increases the semi-dual."""
    value = _value(kernel, point)
    step, slope = _direction(kernel)
    length = 1.0
    for _ in range(_MAX_HALVINGS):
        following = _evaluate(kernel, point.h + length * step, progress)
        gained = _value(kernel, following) - value
        # Near the top the value is flat to rounding, and the error tells more.
        if gained >= _ARMIJO * length * slope or following.error < 0.5 * point.error:
            return following
        if progress.exhausted:
            return None
        length *= 0.5
    return None


def _value(kernel: LeanKernel, point: LeanPass) -> float:
    return float(kernel.b @ point.h - kernel.a @ kernel.row_log())


def _direction(kernel: LeanKernel) -> tuple[np.ndarray, float]:
    """Newton's step, of shape (m,), and the slope of the semi-dual along it."""
    masses = kernel.scaling * kernel.column_sums
    gradient = kernel.b - masses
    # The Hessian is the Laplacian of a graph. Scaled by the masses to a unit diagonal, its factor
    # is accurate however many orders of magnitude the masses span.
    root = np.sqrt(masses)
    conditional = kernel.kernel * (np.sqrt(kernel.a) / kernel.row_sums)[:, None]
    conditional *= kernel.scaling / root
    system = conditional.T @ conditional
    np.negative(system, out=system)
    # Rows of a Laplacian sum to zero, which gives the diagonal without cancellation: one minus
    # the diagonal of the product would lose what separates the groups.
    np.fill_diagonal(system, 0.0)
    np.fill_diagonal(system, -(system @ root) / root + _RIDGE)
    factor, failed = dpotrf(system, lower=1)
    scaled = gradient / root
    step = scaled / root if failed else dpotrs(factor, scaled, lower=1)[0] / root
    step -= kernel.b @ step
    largest = float(np.abs(step).max())
    if largest > LARGEST_STEP:
        step *= LARGEST_STEP / largest
    return step, float(gradient @ step)
