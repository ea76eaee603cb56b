import numpy as np
import pytest

from skot.utils._labels import mask_labels
from skot.utils.validation import known_labels

KNOWN = np.array([True, True, False])


@pytest.mark.parametrize(
    "y, expected",
    [
        (np.array([3, 4, 5]), np.array([3, 4, -1])),
        (np.array([3, 4, 5], dtype=np.uint8), np.array([3, 4, -1])),
        (np.array([True, False, True]), np.array([1, 0, -1])),
        (np.array([-1, 1, 1]), np.array([-1.0, 1.0, np.nan])),
        (np.array([0.5, 1.0, 2.0]), np.array([0.5, 1.0, np.nan])),
        (np.array(["a", "b", "c"]), np.array(["a", "b", None], dtype=object)),
        (np.array(["a", "b", None], dtype=object), np.array(["a", "b", None], dtype=object)),
    ],
)
def test_marks(y, expected):
    before = y.copy()
    masked = mask_labels(y, KNOWN)
    np.testing.assert_array_equal(masked, expected)
    assert masked.dtype.kind == expected.dtype.kind
    np.testing.assert_array_equal(y, before)
    np.testing.assert_array_equal(known_labels(masked, masked[KNOWN]), KNOWN)
