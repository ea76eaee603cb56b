"""Seeds: one draw from NumPy, none from torch."""

import numpy as np
import pytest
import torch

from skot.utils.random import check_generator, draw_seed


def test_same_seed_same_draws():
    first, second = (torch.randn(5, generator=check_generator(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.randn(5, generator=check_generator(4)))


def test_random_state_advances_by_one_draw():
    state, twin = np.random.RandomState(0), np.random.RandomState(0)
    first, second = draw_seed(state), draw_seed(state)
    assert first != second
    twin.randint(np.iinfo(np.int32).max, size=2)
    assert state.randint(1000) == twin.randint(1000)


def test_none_takes_one_draw_from_the_global_state():
    saved = np.random.get_state()
    try:
        np.random.seed(0)
        seed = draw_seed(None)
        after = np.random.random_sample()
    finally:
        np.random.set_state(saved)
    twin = np.random.RandomState(0)
    assert seed == twin.randint(np.iinfo(np.int32).max)
    assert after == twin.random_sample()


def test_torch_global_state_is_untouched():
    before = torch.random.get_rng_state()
    torch.randn(3, generator=check_generator(0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_device_of_the_generator():
    assert check_generator(0).device == torch.device("cpu")
    assert check_generator(0, torch.device("cpu")).device == torch.device("cpu")


@pytest.mark.parametrize("random_state", ["seed", 1.5, -1])
def test_bad_random_state(random_state):
    with pytest.raises(ValueError, match="seed|Seed"):
        check_generator(random_state)


@pytest.mark.gpu
def test_generator_on_cuda():
    generator = check_generator(0, "cuda")
    assert torch.rand(2, generator=generator, device="cuda").is_cuda
