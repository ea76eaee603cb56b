"""Which rows of a sample make up the problem that is solved."""

import numpy as np
import torch

from skot.measures import EmpiricalMeasure
from skot.numerics.medians import distances_from_median
from skot.numerics.subsample import drawn_rows


def rows_in_use(
    sample: EmpiricalMeasure,
    *,
    outlier_radius: float | None,
    max_samples: int | None,
    generator: torch.Generator | None,
) -> tuple[EmpiricalMeasure, np.ndarray]:
    """Return the sample without its outliers, thinned, and the places of its rows.

    The generator is needed where there are more rows than `max_samples`.
    """
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
    if generator is not None and max_samples is not None and len(rows) > max_samples:
        rows = drawn_rows(rows[weights[rows] > 0], max_samples, generator).sort().values
    if len(rows) < len(points):
        sample = EmpiricalMeasure.from_points(points[rows], weights[rows])
    return sample, rows.cpu().numpy()
