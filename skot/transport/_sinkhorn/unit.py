"""The cost of which regularisations are multiples."""

from skot.costs import Cost
from skot.measures import EmpiricalMeasure
from skot.numerics.medians import distances_from_median
from skot.utils._warnings import warn_user

#: Rows that are more median distances than this from the median are far. Normal and exponential
#: distributions, of any dimension, have none or few: they make up less of the mean cost than what
#: raises it by 1.4 times.
_FAR, _FAR_SHARE = 10.0, 1.0 - 1.0 / 1.4
#: The median of fewer rows does not say what is far.
_FEW_ROWS = 50
#: Larger shares of a sample are no outliers but a part of it, as in two tight clusters.
_FEW_FAR = 0.1


def unit_of_epsilon(
    scale_cost: str | float | None, cost: Cost, source: EmpiricalMeasure, target: EmpiricalMeasure
) -> float:
    """Return the unit that `scale_cost` names; a few far rows that set it are warned of."""
    if scale_cost is None:
        return 1.0
    if not isinstance(scale_cost, str):
        return float(scale_cost)
    clouds = (source.points, target.points, source.weights, target.weights)
    if scale_cost == "median":
        scale = cost.median_scale(*clouds)
    else:
        scale = cost.scale(*clouds)
        if cost.translation_invariant:
            _warn_if_few_rows_set_it(source, target)
    # Two single points have no spread: any unit will do.
    return scale if scale > 0 else 1.0


def _warn_if_few_rows_set_it(*samples: EmpiricalMeasure) -> None:
    n_far, far, total = 0, 0.0, 0.0
    for sample in samples:
        distances, typical = distances_from_median(sample.points, sample.weights)
        squares = sample.weights * distances.square()
        total += float(squares.sum())
        if len(distances) >= _FEW_ROWS and typical > 0:
            is_far = distances > _FAR * typical
            if float(sample.weights[is_far].sum()) > _FEW_FAR:
                continue
            n_far, far = n_far + int(is_far.sum()), far + float(squares[is_far].sum())
    if far > _FAR_SHARE * total:
        warn_user(
            f"{n_far} row(s) more than {_FAR:g} times as far away as half of their sample make up "
            f"{far / total:.0%} of the mean cost, the unit of epsilon: the map will be too smooth "
            "for the other rows. scale_cost='median' takes a unit that they do not move, "
            "and outlier_radius=5 leaves them out of the fit."
        )
