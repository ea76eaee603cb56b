"""The model without adaptation, and what its predictions say about those with it."""

from typing import Any

import numpy as np

from skot.adaptation._table import frame_library, take
from skot.metrics import AdaptationGain, adaptation_gain
from skot.utils._sklearn import safe_indexing
from skot.utils._warnings import warn_user
from skot.utils.tensors import to_numpy

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
    points = _numeric_part(rows)
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


def _numeric_part(rows: Any) -> np.ndarray | None:
    """The numeric columns (n, d), None where there are none."""
    if frame_library(rows) is None:
        return np.asarray(to_numpy(rows), dtype=np.float64)
    numeric = [i for i, column in enumerate(rows.columns) if _is_numeric(rows[column].dtype)]
    if not numeric:
        return None
    points = np.asarray(safe_indexing(rows, numeric, axis=1), dtype=np.float64)
    return points[:, np.isfinite(points).all(axis=0)]


def _is_numeric(dtype: Any) -> bool:
    if hasattr(dtype, "is_numeric"):  # polars
        return bool(dtype.is_numeric())
    return getattr(dtype, "kind", "O") in "iuf"
