"""How long an entropic fit is going to take, to say so before it is waited for."""

import math

from skot.utils._warnings import warn_user

#: Nanoseconds on one core of a server of 2024: forming the cost of a pair, a pass over a pair that
#: is kept, and one that is formed anew; each beside the share that a feature adds. Twenty fits of
#: Gaussian mixtures, 2000 to 12,000 rows a side, 2 to 64 features and relative epsilon .002 to .5,
#: took .4 to 1.2 times what these numbers say.
_FORM, _KEPT_PASS, _STREAMED_PASS = (10.0, 0.3), (2.0, 0.0), (4.0, 0.07)
#: Seconds from which a fit is announced.
_LONG = 120.0


def expected_passes(epsilon: float) -> float:
    """Passes that a solve to an error of 1e-4 takes, by the relative regularisation.

    In the fits above: 3 at .5, 5 to 13 at .05, 15 to 27 at .01, 47 to 54 at .002.
    """
    return 1.0 + 2.5 / math.sqrt(epsilon)


def expected_seconds(
    n_source: int, n_target: int, n_features: int, epsilon: float, *, is_kept: bool = True
) -> float:
    """Seconds that one solve is going to take on one core; `is_kept` says where the kernel is."""
    each_pass = _KEPT_PASS if is_kept else _STREAMED_PASS
    nanoseconds = _per_pair(_FORM, n_features)
    nanoseconds += expected_passes(epsilon) * _per_pair(each_pass, n_features)
    return 1e-9 * n_source * n_target * nanoseconds


def warn_of_long_fit(name: str, seconds: float) -> None:
    """Say once, before a fit of minutes, how long it may take and how it is made shorter."""
    if seconds < _LONG:
        return
    told = f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"
    warn_user(
        f"{name} is going to take about {told} on one core, give or take a factor of two. Pass "
        "max_samples to solve on some of the rows (all are transported), a larger epsilon, or "
        "equal rows once, with their numbers as sample_weight."
    )


def _per_pair(cost: tuple[float, float], n_features: int) -> float:
    return cost[0] + cost[1] * n_features
