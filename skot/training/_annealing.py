"""Annealing: how barriers rise and sharpen over the steps of training."""

from numbers import Real
from typing import ClassVar

from skot.base import Component
from skot.utils._sklearn import Interval


class Annealing(Component):
    r"""Raise the strength of barriers, then sharpen their edges, over the first part of training.

    At the share p of the planned steps, with :math:`q = \min(p / s, 1)`,

    .. math::

        \text{strength} = \sigma_0^{1 - \min(2 q, 1)}, \qquad
        \text{sharpness} = \omega_0^{1 - q}

    are the factors of the strength and of the width of the edges: barriers have their full
    strength half-way and their final width at the end. Without a planned number of steps, as in
    streams, both factors are 1.

    Parameters
    ----------
    strength : float, default=0.1
        First factor of the strength, :math:`\sigma_0`.
    sharpness : float, default=30.0
        First factor of the width of the edges, :math:`\omega_0`.
    share : float, default=0.6
        Share s of the training after which barriers are as they are.

    References
    ----------
    .. [1] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI, Section 5.1.

    Examples
    --------
    >>> from skot.training import Annealing
    >>> Annealing(share=0.5).factors(0, 100)
    (0.1, 30.0)
    >>> Annealing(share=0.5).factors(50, 100)
    (1.0, 1.0)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "strength": [Interval(Real, 0, 1, closed="right")],
        "sharpness": [Interval(Real, 1, None, closed="left")],
        "share": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, strength: float = 0.1, sharpness: float = 30.0, share: float = 0.6):
        self.strength = strength
        self.sharpness = sharpness
        self.share = share

    def factors(self, i: int, max_iter: int | None) -> tuple[float, float]:
        """Return the factors of a step.

        Parameters
        ----------
        i : int
            Index of the step, from 0.
        max_iter : int or None
            Planned number of steps; None when there is no plan.

        Returns
        -------
        strength, sharpness : float
            What the strength and the width of the edges are multiplied by.
        """
        if max_iter is None or i >= self.share * max_iter:
            return 1.0, 1.0
        q = i / (self.share * max_iter)
        return self.strength ** (1.0 - min(2.0 * q, 1.0)), self.sharpness ** (1.0 - q)
