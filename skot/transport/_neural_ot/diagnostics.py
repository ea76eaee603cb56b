"""What there is to judge a neural transport by."""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from skot.losses import WeakCost
from skot.metrics import divergence_epsilon, divergence_to, warn_if_not_solved
from skot.numerics.subsample import spread_rows
from skot.numerics.tiles import row_tiles
from skot.potentials import KantorovichPotential
from skot.transport._neural.networks import row_width

#: Rows a side of the divergences.
_DIVERGENCE_ROWS = 2000
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
class TransportDiagnostics:
    """How well a learned map or plan does on rows it has not seen.

    Attributes
    ----------
    cost_value : float
        Mean cost of the plan.
    dual_value : float
        Value of the maximin objective.
    duality_gap : float
        Their difference, zero at the solution.
    divergence : float
        Debiased Sinkhorn divergence of the images to the target rows, one image a row, for the
        squared Euclidean cost at 0.05 times the mean squared distance of target rows. At most
        2000 rows a side.
    divergence_before : float
        The same for the source rows as they are.
    divergence_floor : float
        The same for one half of the target rows and the other: what sampling alone gives.
    conditional_variance : float
        Mean variance of the images of a row, summed over features; zero for a deterministic map.
    target_variance : float
        Variance of the target rows, summed over features.
    """

    cost_value: float
    dual_value: float
    duality_gap: float
    divergence: float
    divergence_before: float
    divergence_floor: float
    conditional_variance: float
    target_variance: float

    @classmethod
    def of(cls, values: PlanValues, x: Tensor, y: Tensor, images: Tensor) -> "TransportDiagnostics":
        """Add how far images are from the target to what they cost.

        Parameters
        ----------
        values : PlanValues
            On the same rows.
        x : Tensor of shape (n, n_features)
            Source rows.
        y : Tensor of shape (m, n_features)
            Target rows.
        images : Tensor of shape (n, n_features)
            One image of each source row.

        Returns
        -------
        diagnostics : TransportDiagnostics
            In the units of the data.
        """
        epsilon = divergence_epsilon(y)
        found = [
            divergence_to(
                spread_rows(b, _DIVERGENCE_ROWS), spread_rows(a, _DIVERGENCE_ROWS), epsilon=epsilon
            )
            for a, b in ((images, y), (x, y), (y[::2], y[1::2]))
        ]
        warn_if_not_solved("diagnose", found)
        divergence, before, floor = (float(result.value) for result in found)
        return cls(
            cost_value=values.cost_value,
            dual_value=values.cost_value - values.duality_gap,
            duality_gap=values.duality_gap,
            divergence=divergence,
            divergence_before=before,
            divergence_floor=floor,
            conditional_variance=values.conditional_variance,
            target_variance=values.target_variance,
        )

    def __str__(self) -> str:
        """Return one line for each number."""
        numbers = asdict(self)
        width = max(map(len, numbers))
        return "\n".join(f"{name:<{width}}  {value: .4g}" for name, value in numbers.items())
