"""The problem that is solved: which rows of the samples, in which unit, and for how long."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn import get_config
from torch import Tensor

from skot.costs import Cost
from skot.measures import EmpiricalMeasure
from skot.numerics.medians import distances_from_median
from skot.numerics.subsample import drawn_rows
from skot.utils._duration import expected_seconds, warn_of_long_fit
from skot.utils._warnings import warn_user
from skot.utils.random import check_generator

#: Rows that are more median distances than this from the median are far. Normal and exponential
#: distributions, of any dimension, have none or few: they make up less of the mean cost than what
#: raises it by 1.4 times.
_FAR, _FAR_SHARE = 10.0, 1.0 - 1.0 / 1.4
#: The median of fewer rows does not say what is far.
_FEW_ROWS = 50
#: Larger shares of a sample are no outliers but a part of it, as in two tight clusters.
_FEW_FAR = 0.1
#: With fewer pairs of rows no fit takes a minute.
_MANY_PAIRS = 10**8


@dataclass(frozen=True)
class EntropicProblem:
    """What a fit solves.

    Attributes
    ----------
    source, target : EmpiricalMeasure
        The rows in use.
    source_indices, target_indices : ndarray of int
        Their places in the samples.
    unit : float
        The cost of which regularisations are multiples.
    """

    source: EmpiricalMeasure
    target: EmpiricalMeasure
    source_indices: np.ndarray
    target_indices: np.ndarray
    unit: float


def read_problem(
    source: EmpiricalMeasure,
    target: EmpiricalMeasure,
    cost: Cost,
    *,
    scale_cost: str | float | None,
    outlier_radius: float | None,
    max_samples: int | None,
    random_state: Any,
) -> EntropicProblem:
    """Leave out what is not to be in the problem, and find the unit of its regularisation."""
    generator = None
    if max_samples is not None and max(len(source.points), len(target.points)) > max_samples:
        # Nothing is drawn from `random_state` where nothing is to be chosen.
        generator = check_generator(random_state)
    source, source_indices = _rows_in_use("source", source, outlier_radius, max_samples, generator)
    target, target_indices = _rows_in_use("target", target, outlier_radius, max_samples, generator)
    unit = _unit_of_epsilon(scale_cost, cost, source, target)
    return EntropicProblem(source, target, source_indices, target_indices, unit)


def _rows_in_use(
    name: str,
    sample: EmpiricalMeasure,
    outlier_radius: float | None,
    max_samples: int | None,
    generator: torch.Generator | None,
) -> tuple[EmpiricalMeasure, np.ndarray]:
    """Return the sample without its outliers, thinned, and the places of its rows."""
    points, weights = sample.points, sample.weights
    rows = torch.arange(len(points), device=points.device)
    if outlier_radius is not None:
        distances, typical = distances_from_median(points, weights)
        if typical == 0 and bool((distances > 0).any()):
            raise ValueError(
                "outlier_radius counts median distances, and half of a sample is one point here: "
                "its median distance is zero. Pass outlier_radius=None."
            )
        rows = rows[distances <= outlier_radius * typical]
        _warn_if_no_outliers(name, rows, weights, outlier_radius)
    if generator is not None and max_samples is not None and len(rows) > max_samples:
        rows = drawn_rows(rows[weights[rows] > 0], max_samples, generator).sort().values
    if len(rows) < len(points):
        sample = EmpiricalMeasure.from_points(points[rows], weights[rows])
    return sample, rows.cpu().numpy()


def _warn_if_no_outliers(name: str, rows: Tensor, weights: Tensor, outlier_radius: float) -> None:
    """Say that a part of a sample is left out, such as one of two clusters."""
    share = 1.0 - float(weights[rows].sum())
    if share > _FEW_FAR:
        warn_user(
            f"outlier_radius={outlier_radius:g} leaves out {len(weights) - len(rows)} of "
            f"{len(weights)} {name} rows, {share:.0%} of the mass: that is a part of the sample, a "
            "cluster or a long tail, and not a few outliers. Increase outlier_radius, pass None, "
            "or take the logarithm of features with long tails."
        )


def _unit_of_epsilon(
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


def announce_long_fit(
    name: str, cost: Cost, epsilon: float, problem: EntropicProblem, *, with_own: bool
) -> None:
    """Warn of a fit of minutes; `with_own` counts the transports of the samples to themselves."""
    source, target = problem.source, problem.target
    n, m = len(source.points), len(target.points)
    if max(n, m) ** 2 < _MANY_PAIRS:
        return
    relative = epsilon / cost.scale(source.points, target.points, source.weights, target.weights)
    sizes = [(n, m), (n, n), (m, m)] if with_own else [(n, m)]
    # In single precision at this size, where it is kept.
    kept = 2**20 * get_config()["working_memory"] / 4
    features = source.points.shape[1]
    seconds = sum(
        expected_seconds(rows, columns, features, relative, is_kept=rows * columns <= kept)
        for rows, columns in sizes
    )
    warn_of_long_fit(name, seconds)
