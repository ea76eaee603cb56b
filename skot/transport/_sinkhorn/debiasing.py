"""The transports of the samples to themselves, and the maps that they correct."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from skot.costs import Cost
from skot.measures import EmpiricalMeasure
from skot.numerics.medians import distances_from_median
from skot.potentials import DebiasedMap, EntropicPotentials, SelfTransport
from skot.solvers import transport_to_others

#: Up to this many pairs of rows the kernel is in float64, whatever the tolerance.
_DOUBLE_PAIRS = 2**20


@dataclass(frozen=True)
class DebiasedMaps:
    """The maps of a plan in both directions.

    Attributes
    ----------
    there, back : DebiasedMap
        From the source to the target and back.
    residual, inverse_residual : float
        The shares of residuals in them.
    """

    there: DebiasedMap
    back: DebiasedMap
    residual: float = 0.0
    inverse_residual: float = 0.0


def debiased_maps(
    potentials: EntropicPotentials,
    source: EmpiricalMeasure,
    target: EmpiricalMeasure,
    residual: float | Literal["auto"],
    *,
    tol: float,
) -> DebiasedMaps:
    """Solve the transports of the samples to themselves, and correct the maps by them.

    Nothing is solved for `residual` 0 or a cost without a twist.
    """
    cost, epsilon = potentials.cost, potentials.epsilon
    back = potentials.swapped()
    if residual == 0 or not _has_twist(cost, source.points):
        return DebiasedMaps(DebiasedMap(potentials, None, 0.0), DebiasedMap(back, None, 0.0))
    size = _relative_size(cost, source, target)
    # Under the squared Euclidean cost, the plan to y at epsilon is the plan to y / size at
    # epsilon / size, and the same the other way round.
    power = 1.0 if cost.is_quadratic else 0.0
    own = [
        _to_itself(source, cost, epsilon / size**power, tol),
        _to_itself(target, cost, epsilon * size**power, tol),
    ]
    shares = [one.share_of_signal() if residual == "auto" else float(residual) for one in own]
    return DebiasedMaps(
        DebiasedMap(potentials, own[0], shares[0] * size),
        DebiasedMap(back, own[1], shares[1] / size),
        residual=shares[0],
        inverse_residual=shares[1],
    )


def dtype_for(x: Tensor, y: Tensor) -> torch.dtype | None:
    """Float64 for small problems, where it costs little and repeats to the last digits."""
    return torch.float64 if len(x) * len(y) <= _DOUBLE_PAIRS else None


def _has_twist(cost: Cost, x: Tensor) -> bool:
    """Whether a map follows from potentials for the cost."""
    try:
        cost.twist(x[:1], torch.zeros_like(x[:1]))
    except NotImplementedError:
        return False
    return True


def _relative_size(cost: Cost, source: EmpiricalMeasure, target: EmpiricalMeasure) -> float:
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


def _to_itself(sample: EmpiricalMeasure, cost: Cost, epsilon: float, tol: float) -> SelfTransport:
    """Transport a sample to itself, each row to the others."""
    # Repeated rows are one row of more weight, as everywhere: it leaves itself out as a whole.
    sample = sample.with_merged_rows()
    x, a = sample.points, sample.weights
    h = transport_to_others(x, a, epsilon=epsilon, cost=cost, tol=tol)
    return SelfTransport.of(EntropicPotentials(x, x, a, a, h, h, cost, epsilon))
