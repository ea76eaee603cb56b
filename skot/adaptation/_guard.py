"""The model without adaptation, and what its predictions say about those with it."""

from typing import Any

import numpy as np

from skot.adaptation._metadata import classifies
from skot.adaptation._table import numeric_part, take
from skot.metrics import AdaptationGain, adaptation_gain
from skot.utils._warnings import warn_user

#: Neighbours are searched among that many rows, spread over all of them.
_MOST_ROWS = 1000
#: With fewer rows than that the ratios are noise.
_FEWEST_ROWS = 20


def rows_to_judge(rows: Any) -> Any:
    """Return up to 1000 rows, or fewer, spread over all."""
    n_rows = rows.shape[0]
    if n_rows <= _MOST_ROWS:
        return rows
    chosen = np.zeros(n_rows, dtype=bool)
    chosen[np.linspace(0, n_rows - 1, _MOST_ROWS).astype(int)] = True
    return take(rows, chosen)


def gain_of(rows: Any, adapted: np.ndarray, unadapted: np.ndarray) -> AdaptationGain | None:
    """Compare predictions (n,) for rows (n, n_features); None where there is too little to see."""
    points = numeric_part(rows)
    if len(rows) < _FEWEST_ROWS or points is None:
        return None
    return adaptation_gain(points, adapted, unadapted)


def warn_of_doubt(gain: AdaptationGain | None) -> None:
    """Warn if the predictions of the adapted model fit the target worse."""
    if gain is None or not gain.is_doubtful:
        return
    warn_user(
        "Adapting is doubtful here: the classes predicted for the target hold "
        f"{gain.separation_ratio:.2f} times the share of its variance, and its nearest neighbours "
        f"agree {gain.agreement_ratio:.2f} times as much, as without adaptation. Scale the "
        "domains (domain_scaler=StandardScaler()), try another transport, or pass "
        'fallback="auto" to keep the unadapted model in such cases (fallback=None: no check).'
    )


def warn_of_blindness() -> None:
    """Warn that ``fallback="auto"`` could not compare."""
    warn_user(
        f'fallback="auto" keeps the unadapted model: it needs {_FEWEST_ROWS} target rows with '
        "numeric features to tell whether adapting helps."
    )


def check_fallback(adaptation: Any) -> None:
    """Raise where there are no predicted classes to compare."""
    if adaptation.fallback == "auto" and not classifies(adaptation):
        raise ValueError(
            'fallback="auto" compares predicted classes, so that it needs a classifier. Got '
            f"{adaptation.estimator!r}."
        )
