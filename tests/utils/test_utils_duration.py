"""A fit of minutes is announced, one of seconds is not."""

import pytest

from skot.utils._duration import expected_passes, expected_seconds, warn_of_long_fit

#: Rows a side, features, epsilon, whether the kernel was kept, seconds on one core.
MEASURED = [
    (5000, 2, 0.05, True, 0.82),
    (5000, 2, 0.002, True, 3.19),
    (5000, 64, 0.05, True, 0.89),
    (5000, 64, 0.002, True, 3.95),
    (12000, 10, 0.5, True, 1.54),
    (12000, 10, 0.05, True, 3.63),
]


@pytest.mark.parametrize("n, d, epsilon, is_kept, seconds", MEASURED)
def test_near_what_was_measured(n, d, epsilon, is_kept, seconds):
    assert 0.4 < expected_seconds(n, n, d, epsilon, is_kept=is_kept) / seconds < 2.5


def test_smaller_epsilon_more_rows_and_streaming_take_longer():
    assert expected_passes(0.01) > expected_passes(0.1)
    one = expected_seconds(1000, 2000, 10, 0.05)
    assert expected_seconds(2000, 2000, 10, 0.05) == pytest.approx(2 * one)
    assert expected_seconds(1000, 2000, 10, 0.05, is_kept=False) > one


@pytest.mark.parametrize(
    "seconds, told", [(130, "2 minutes"), (5000, "83 minutes"), (9e4, "25 hours")]
)
def test_a_long_fit_is_announced_with_what_to_do(seconds, told):
    with pytest.warns(UserWarning, match=f"SinkhornTransport is .*about {told} .*max_samples"):
        warn_of_long_fit("SinkhornTransport", seconds)


def test_a_short_fit_is_not():
    warn_of_long_fit("SinkhornTransport", 100.0)
