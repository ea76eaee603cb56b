"""How barriers rise and sharpen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skot.training import Annealing


@given(i=st.integers(0, 200), strength=st.floats(0.01, 1.0), sharpness=st.floats(1.0, 100.0))
def test_barriers_rise_and_sharpen_steadily(i, strength, sharpness):
    annealing = Annealing(strength, sharpness)
    (weak, wide), (strong, narrow) = (annealing.factors(k, 200) for k in (i, i + 1))
    assert strength <= weak * (1 + 1e-12) <= strong * (1 + 1e-9) <= 1.0 + 1e-8
    assert sharpness * (1 + 1e-12) >= wide >= narrow * (1 - 1e-12) >= 1.0 - 1e-9


def test_strength_is_full_half_way_and_the_width_at_the_end():
    annealing = Annealing(0.1, 30.0, share=0.8)
    assert annealing.factors(0, 100) == pytest.approx((0.1, 30.0))
    assert annealing.factors(40, 100) == pytest.approx((1.0, 30.0**0.5))
    assert annealing.factors(80, 100) == (1.0, 1.0)
    assert annealing.factors(500, 100) == (1.0, 1.0)


def test_streams_have_no_plan():
    assert Annealing().factors(0, None) == (1.0, 1.0)
    assert Annealing(share=0.0).factors(0, 10) == (1.0, 1.0)


@pytest.mark.parametrize("params", [{"strength": 0.0}, {"sharpness": 0.5}, {"share": 1.5}])
def test_bad_parameters(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        Annealing(**params).validate()
