"""Decreasing regularisations: a start for the last of them."""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from skot.solvers._entropic.arrival import Arrival
from skot.solvers._entropic.iteration import Progress, iterate
from skot.solvers._entropic.settings import Settings

#: Factor between the epsilons of the annealing.
_FACTOR = 4.0
#: Annealing starts at the largest epsilon below this fraction of the cost's scale.
_START = 0.3
#: Marginal error at which an epsilon of the annealing, but the last, is left.
ANNEALING_TOL = 1e-2


def annealing_schedule(epsilon: float, scale: float, start: float = _START) -> list[float]:
    """Decreasing regularisations from a share of a typical cost down to epsilon.

    >>> from skot.solvers._entropic.annealing import annealing_schedule
    >>> annealing_schedule(0.01, 1.0)
    [0.16, 0.04, 0.01]
    """
    epsilons = [epsilon]
    while epsilons[-1] * _FACTOR <= start * scale:
        epsilons.append(epsilons[-1] * _FACTOR)
    return epsilons[::-1]


#: An array of NumPy or of torch.
_Potential = TypeVar("_Potential", Tensor, np.ndarray)


def extrapolate(potentials: list[_Potential], epsilons: list[float], epsilon: float) -> _Potential:
    """Guess the potential at the next epsilon, linearly from the last two that were found."""
    if len(potentials) < 2:
        return potentials[-1]
    slope = (potentials[-1] - potentials[-2]) / (epsilons[-1] - epsilons[-2])
    return potentials[-1] + (epsilon - epsilons[-1]) * slope


def anneal(
    kernel, b: Tensor, scale: float, guess, settings: Settings, progress: Progress
) -> Tensor:
    """Come from larger regularisations to a start for the final one, shape (n_problems, m).

    `guess` gives the potential to start from at a regularisation, `scale` a typical cost.
    """
    epsilons = [settings.epsilon]
    if settings.annealing:
        epsilons = annealing_schedule(settings.epsilon, scale)
    # Half of the passes at most, so that the final epsilon always gets its share.
    max_passes = progress.max_iter // (2 * len(epsilons))
    found: list[Tensor] = []
    start = guess(epsilons[0] if max_passes else settings.epsilon)
    for epsilon, following in zip(epsilons[:-1], epsilons[1:], strict=True):
        if max_passes == 0 or progress.stopped:
            break
        reached = iterate(
            kernel,
            start / epsilon,
            b,
            epsilon,
            # On the way only the error counts: the next stage moves every potential again.
            Arrival(max(ANNEALING_TOL, settings.tol), torch.inf),
            progress,
            memory=settings.memory,
            max_passes=max_passes,
        )
        found.append(reached.h * epsilon)
        start = extrapolate(found, epsilons[: len(found)], following)
    return start
