import numpy as np
import pytest
import scipy.stats
import torch

from skot.measures import REFERENCES, reference_sample


def draw(reference, n=1024, d=2, seed=0):
    return reference_sample(reference, n, d, torch.Generator().manual_seed(seed)).numpy()


@pytest.mark.parametrize(
    "reference, distribution", [("normal", scipy.stats.norm), ("uniform", scipy.stats.uniform)]
)
@pytest.mark.parametrize("d", [1, 3, 8])
def test_every_coordinate_has_the_reference_distribution(reference, distribution, d):
    sample = draw(reference, d=d)
    assert sample.shape == (1024, d)
    assert sample.dtype == np.float64
    assert np.isfinite(sample).all()
    for column in sample.T:
        # A pseudo-random sample of this size is off by 0.03.
        assert scipy.stats.kstest(column, distribution.cdf).statistic < 2.5e-3
    correlation = np.corrcoef(sample.T).reshape(d, d) - np.eye(d)
    assert np.abs(correlation).max() < 0.02


def test_uniform_points_lie_in_the_unit_cube():
    sample = draw("uniform", d=5)
    assert sample.min() >= 0.0
    assert sample.max() <= 1.0


@pytest.mark.parametrize("reference", REFERENCES)
def test_the_generator_decides_and_nothing_else(reference):
    state = torch.random.get_rng_state()
    first, second, other = draw(reference), draw(reference), draw(reference, seed=1)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0.01
    assert torch.equal(torch.random.get_rng_state(), state)


def test_more_dimensions_than_sobol_sequences_have():
    sample = draw("normal", n=3, d=torch.quasirandom.SobolEngine.MAXDIM + 1)
    assert np.isfinite(sample).all()
    assert abs(sample.mean()) < 0.02
    assert abs(sample.std() - 1.0) < 0.02


def test_unknown_reference():
    with pytest.raises(ValueError, match=r"`reference` must be one of \['normal', 'uniform'\]"):
        draw("gaussian")
