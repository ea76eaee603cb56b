"""A fit of minutes is announced before it begins."""

from sklearn import get_config

from skot.costs import Cost
from skot.measures import EmpiricalMeasure
from skot.utils._duration import expected_seconds, warn_of_long_fit

#: With fewer pairs no fit takes a minute.
_MANY_PAIRS = 10**8


def announce_long_fit(
    name: str,
    cost: Cost,
    epsilon: float,
    source: EmpiricalMeasure,
    target: EmpiricalMeasure,
    *,
    with_own: bool,
) -> None:
    """Warn of a fit of minutes; `with_own` counts the transports of the samples to themselves."""
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
