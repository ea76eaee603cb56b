"""How near to their predictions end points stay: chosen on training rows."""

from dataclasses import replace

from sklearn.base import clone

from skot.metrics import divergence_to
from skot.numerics.subsample import spread_rows
from skot.transport._lagrangian.model import LearnedLagrangian

#: Proximity in training, and those that are compared after it.
TRAINING_PROXIMITY = 1.0
_PROXIMITIES = (0.0, 1.0, 10.0, 100.0)
#: Rows a side of the comparison.
_ROWS = 512
#: The smallest proximity counts whose divergence is at most this many times the least one.
_SLACK = 1.25


def best_proximity(learned: LearnedLagrangian) -> float:
    """Return the proximity with which images of kept rows are distributed most like the target.

    Where the cost settles end points, the nearer to the minimum the better. Where it does not,
    minimisers pile up at the slightest bumps of the potential, and predictions are better. They
    are compared by the Sinkhorn divergence on at most 512 rows a side.
    """
    x, y = learned.rows
    source = spread_rows(learned.frame.source_rows(x).to(learned.dtype), _ROWS)
    sample = spread_rows(learned.frame.target_rows(y).to(learned.dtype), _ROWS).double()
    divergences = []
    for proximity in _PROXIMITIES:
        solver = clone(learned.solver).set_params(proximity=proximity)
        images = replace(learned, solver=solver).transport(source).argument
        divergences.append(float(divergence_to(sample, images.double()).value))
    limit = _SLACK * max(min(divergences), 0.0)
    near = [divergence <= limit or divergence == min(divergences) for divergence in divergences]
    return _PROXIMITIES[near.index(True)]
