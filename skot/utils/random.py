"""Randomness without global state: a torch generator from a scikit-learn `random_state`."""

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

__all__ = ["check_generator", "draw_seed"]


def draw_seed(random_state: Any = None) -> int:
    """Draw one seed from a scikit-learn `random_state`.

    Parameters
    ----------
    random_state : None, int or numpy.random.RandomState, default=None
        None takes one draw from NumPy's global state, as scikit-learn does; a `RandomState`
        advances by one draw, so that two calls with it differ.

    Returns
    -------
    seed : int
        In ``[0, 2**31 - 1)``.

    Examples
    --------
    >>> from skot.utils.random import draw_seed
    >>> draw_seed(0) == draw_seed(0), draw_seed(0) == draw_seed(1)
    (True, False)
    """
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def check_generator(
    random_state: Any = None, device: torch.device | str | None = None
) -> torch.Generator:
    """Return an explicit torch generator; torch's global state is neither read nor written.

    Parameters
    ----------
    random_state : None, int or numpy.random.RandomState, default=None
        Gives the seed, with one draw: see `draw_seed`.
    device : torch.device or str, default=None
        Device of the generator; None is the CPU. Draws on the CPU are the ones that repeat from
        one machine to another.

    Returns
    -------
    generator : torch.Generator
        A seeded generator.

    Examples
    --------
    >>> import torch
    >>> from skot.utils.random import check_generator
    >>> first = torch.rand(2, generator=check_generator(0))
    >>> bool((first == torch.rand(2, generator=check_generator(0))).all())
    True
    """
    generator = torch.Generator(device="cpu" if device is None else device)
    return generator.manual_seed(draw_seed(random_state))
