"""Labels of two samples, of which some must not be seen."""

import numpy as np


def mask_labels(y: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return a copy of `y` with a mark in place of the labels that are not `known`.

    The mark is what `skot.utils.validation.known_labels` takes for unknown: -1 among integers,
    NaN among floats, None among objects. Integers become floats where -1 is a class.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.metrics._masking import mask_labels
    >>> mask_labels(np.array([3, 4]), np.array([True, False]))
    array([ 3, -1])
    >>> mask_labels(np.array(["cat", "dog"]), np.array([True, False]))
    array(['cat', None], dtype=object)
    """
    if y.dtype.kind in "iub":
        integers = y.astype(np.int64)
        if not (integers[known] == -1).any():
            return np.where(known, integers, -1)
    if y.dtype.kind in "iubf":
        return np.where(known, y, np.nan)
    masked = y.astype(object)
    masked[~known] = None
    return masked
