"""What there is to judge a learned plan by, beside what holds for every transport."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skot.losses import WeakCost
from skot.numerics.tiles import row_tiles
from skot.potentials import KantorovichPotential
from skot.transport._diagnostics import TransportDiagnostics
from skot.transport._neural.networks import row_width

#: A conditional variance below this share of the target's means that noise is not used, which
#: many maps go through in the first iterations.
_COLLAPSED, _SETTLED = 1e-3, 100
#: A duality gap above this many units of the cost means that the potential ran away.
_RAN_AWAY = 3.0


class PlanValues(NamedTuple):
    """What a learned plan costs and is worth, on some rows."""

    cost_value: float
    duality_gap: float
    #: The gap without what is due to the coordinates: where samples are far apart, the slightest
    #: difference of the means of images and target is worth a lot.
    learned_gap: float
    conditional_variance: float
    target_variance: float


def plan_values(
    cost: WeakCost,
    potential: KantorovichPotential,
    x: Tensor,
    y: Tensor,
    images: Tensor,
) -> PlanValues:
    """Evaluate independent images, (n, n_samples, n_features), of source rows."""
    rows = images.flatten(0, 1)
    with torch.no_grad():
        learned_gap = _mean_learned(potential, rows) - _mean_learned(potential, y)
        frame_gap = potential.of_the_frame(rows).mean() - potential.of_the_frame(y).mean()
        return PlanValues(
            cost_value=float(cost.evaluate(x, images).mean()),
            duality_gap=learned_gap + float(frame_gap),
            learned_gap=learned_gap,
            conditional_variance=float(images.var(dim=1, correction=0).sum(dim=1).mean()),
            target_variance=float(y.var(dim=0, correction=0).sum()),
        )


def _mean_learned(potential: KantorovichPotential, rows: Tensor) -> float:
    width = row_width(potential.module)
    return sum(
        float(potential.learned(rows[tile]).sum()) for tile in row_tiles(len(rows), width)
    ) / len(rows)


def convergence_messages(
    values: PlanValues, unit: float, n_iter: int, *, splits_mass: bool, advice: str
) -> list[str]:
    """What speaks against a plan; `unit` is that of the cost, over all features."""
    messages = []
    if not abs(values.learned_gap) <= _RAN_AWAY * unit:
        messages.append(
            f"the duality gap is {values.duality_gap:.3g}, far above the unit of the cost, "
            f"{unit:.3g}: the potential ran away from the map. {advice}"
        )
    collapsed = values.conditional_variance < _COLLAPSED * values.target_variance
    if splits_mass and collapsed and n_iter >= _SETTLED:
        messages.append(
            "the map does not use its noise: the conditional variance is zero. Either no mass "
            "is to be split at this gamma, or training collapsed; increase gamma of the cost, "
            "or let it grow by its warmup."
        )
    return messages


@dataclass(frozen=True)
class PlanDiagnostics(TransportDiagnostics):
    """How well a learned map or plan does on some rows.

    Beside what holds for every transport it says what only a method with a cost and a potential can
    say. The divergence is that of one image a row.

    Attributes
    ----------
    divergence, divergence_error, divergence_before : float
        Of one image a row to the target, the standard error, and that of the rows as they are.
    spread, target_variance : float
        Total variances of the images and of the target.
    outside : float
        Share of the source rows outside the rows of the fit.
    converged : bool
        `converged_` of the transport.
    conditioning : None
        There is no such number.
    conditioning_of : str
        Empty.
    verdicts : dict of str to str
        What the numbers say.
    cost_value : float
        Mean cost of the plan.
    dual_value : float
        Value of the maximin objective.
    duality_gap : float
        Their difference, zero at the solution.
    conditional_variance : float
        Mean variance of the images of a row, summed over features; zero for a deterministic map.

    See Also
    --------
    TransportDiagnostics : What every transport gives.
    """

    cost_value: float
    dual_value: float
    duality_gap: float
    conditional_variance: float

    def _lines(self) -> dict[str, str]:
        return {
            **super()._lines(),
            "cost": f"{self.cost_value:.4g}, dual value {self.dual_value:.4g}, "
            f"duality gap {self.duality_gap:.3g}",
            "noise": f"conditional variance {self.conditional_variance:.3g}",
        }


def of_plan(common: dict[str, Any], values: PlanValues) -> PlanDiagnostics:
    """Add what a plan costs to what holds for every transport."""
    return PlanDiagnostics(
        **common,
        cost_value=values.cost_value,
        dual_value=values.cost_value - values.duality_gap,
        duality_gap=values.duality_gap,
        conditional_variance=values.conditional_variance,
    )
