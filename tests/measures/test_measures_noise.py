"""Noise: what is drawn in training, and the bank of inference."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from skot.measures import Noise
from skot.utils._sklearn import InvalidParameterError

WIDTH = math.sqrt(3.0)
LAWS = {
    "normal": scipy.stats.norm,
    "uniform": scipy.stats.uniform(loc=-WIDTH, scale=2.0 * WIDTH),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=LAWS)
def law(request):
    return request.param


def test_draws_are_independent_and_of_unit_variance(law):
    z = Noise(law).draw(500, 8, 3, seeded())
    assert z.shape == (500, 8, 3)
    assert z.dtype == torch.float32
    flat = z.numpy().ravel().astype(float)
    # Of 12000 independent draws one in a hundred is further off.
    assert scipy.stats.kstest(flat, LAWS[law].cdf).pvalue > 0.01
    assert np.abs(flat.mean()) < 4.0 / math.sqrt(len(flat))
    correlation = np.corrcoef(z.flatten(1).T.numpy()) - np.eye(24)
    assert np.abs(correlation).max() < 5.0 / math.sqrt(500)


def test_draws_go_on(law):
    generator, noise = seeded(), Noise(law)
    first, second = (noise.draw(3, 2, 2, generator) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(noise.draw(3, 2, 2, seeded()), first)
    assert not torch.equal(noise.draw(3, 2, 2, seeded(1)), first)


@pytest.mark.parametrize("n_features", [1, 2, 16])
@pytest.mark.parametrize("bank_size, rows", [(64, 64), (2, 2), (7, 8)])
def test_the_bank_is_symmetric(law, bank_size, rows, n_features):
    bank = Noise(law, bank_size=bank_size).bank(n_features, seeded())
    assert bank.shape == (rows, n_features)
    assert bank.dtype == torch.float64
    assert torch.isfinite(bank).all()
    half = rows // 2
    assert torch.equal(bank[:half], -bank[half:])
    assert bank.sum(dim=0).abs().max() < 1e-12


def test_the_bank_is_a_good_sample(law):
    """Closer to the law than independent draws, whose statistic is about 0.04 at this size."""
    bank = Noise(law, bank_size=512).bank(2, seeded()).numpy()
    for column in bank.T:
        assert scipy.stats.kstest(column, LAWS[law].cdf).statistic < 0.01
        assert column.var() == pytest.approx(1.0, abs=0.02)
    assert abs((bank[:, 0] * bank[:, 1]).mean()) < 0.02


def test_the_generator_decides_and_nothing_else(law):
    state = torch.random.get_rng_state()
    noise = Noise(law)
    first = noise.bank(2, seeded())
    assert torch.equal(noise.bank(2, seeded()), first)
    assert (noise.bank(2, seeded(1)) - first).abs().max() > 0.01
    noise.draw(3, 2, 2, seeded())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    "params, name",
    [
        ({"distribution": "cauchy"}, "distribution"),
        ({"bank_size": 1}, "bank_size"),
        ({"bank_size": 8.0}, "bank_size"),
    ],
)
def test_bad_parameters(params, name):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of Noise"):
        Noise(**params).validate()
