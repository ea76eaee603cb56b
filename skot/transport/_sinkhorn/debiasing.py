"""The transport of a sample to itself, and the map that it corrects."""

import torch
from torch import Tensor

from skot.costs import Cost
from skot.measures import EmpiricalMeasure
from skot.numerics.medians import distances_from_median
from skot.potentials import EntropicPotentials, SelfTransport
from skot.solvers import SinkhornResult, sinkhorn

#: Up to this many pairs of rows the kernel is in float64, whatever the tolerance.
_DOUBLE_PAIRS = 2**20


def dtype_for(x: Tensor, y: Tensor) -> torch.dtype | None:
    """Float64 for small problems, where it costs little and repeats to the last digits."""
    return torch.float64 if len(x) * len(y) <= _DOUBLE_PAIRS else None


def has_twist(cost: Cost, x: Tensor) -> bool:
    """Whether a map follows from potentials for the cost."""
    try:
        cost.twist(x[:1], torch.zeros_like(x[:1]))
    except NotImplementedError:
        return False
    return True


def relative_size(cost: Cost, source: EmpiricalMeasure, target: EmpiricalMeasure) -> float:
    """Return by what residuals of the source are to be multiplied to be of the target's size.

    For other costs than the squared Euclidean one it is not more than one: gradients do not grow
    like distances, but residuals that are too large for a small target would swamp it.
    """
    if not cost.translation_invariant:
        return 1.0
    sizes = [distances_from_median(s.points, s.weights)[1] for s in (source, target)]
    if min(sizes) == 0:
        return 1.0
    ratio = float(sizes[1] / sizes[0])
    return ratio if cost.is_quadratic else min(1.0, ratio)


def own_epsilons(cost: Cost, epsilon: float, size: float) -> tuple[float, float]:
    """Return the regularisations of source and target with themselves.

    Under the squared Euclidean cost, the plan to y at epsilon is the plan to y / size at epsilon /
    size, and the same the other way round.
    """
    return (epsilon / size, epsilon * size) if cost.is_quadratic else (epsilon, epsilon)


def solve_to_itself(
    sample: EmpiricalMeasure, *, epsilon: float, cost: Cost, max_iter: int, tol: float
) -> tuple[SelfTransport, SinkhornResult]:
    """Transport a sample to itself."""
    # Repeated rows are one row of more weight, as everywhere: it leaves itself out as a whole.
    sample = sample.with_merged_rows()
    x, a = sample.points, sample.weights
    result = sinkhorn(
        x, x, a, a, epsilon=epsilon, cost=cost, max_iter=max_iter, tol=tol, dtype=dtype_for(x, x)
    )
    # The two potentials are equal at the solution.
    h = 0.5 * (result.f + result.g)
    potentials = EntropicPotentials(x, x, a, a, h, h, cost, epsilon)
    return SelfTransport(potentials, cost.scale(x, x, a, a)), result
