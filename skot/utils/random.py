"""Randomness without global state: a torch generator from a scikit-learn `random_state`."""

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

__all__ = ["check_generator", "draw_seed"]


def draw_seed(random_state: Any = None) -> int:
    """Draw one seed, in ``[0, 2**31 - 1)``, from a scikit-learn `random_state`.

    None takes one draw from NumPy's global state, as scikit-learn does; a `RandomState` advances by
    one draw, so that two calls with it differ.
    """
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def check_generator(
    random_state: Any = None, device: torch.device | str | None = None
) -> torch.Generator:
    """Return a torch generator with a seed from `draw_seed`; torch's global state is left alone.

    It is on the CPU where `device` is None. Draws on the CPU are the ones that repeat from one
    machine to another.
    """
    generator = torch.Generator(device="cpu" if device is None else device)
    return generator.manual_seed(draw_seed(random_state))
