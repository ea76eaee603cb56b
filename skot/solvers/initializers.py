"""Where Sinkhorn's iteration starts."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from skot.base import Component
from skot.costs import SquaredEuclidean
from skot.numerics.linalg import gaussian_potential, weighted_covariance, weighted_mean


class Initializer(Component, ABC):
    """Base class of initializers: components that guess the target potential.

    A subclass implements :meth:`target_potential`.
    """

    @abstractmethod
    def target_potential(self, problem: Any, epsilon: float) -> Tensor:
        """Guess the target potential.

        Parameters
        ----------
        problem : object
            With attributes ``points`` (the tuple x, y for a cost between points), ``a`` and ``b``
            of shape (n_problems, n) and (n_problems, m), and ``cost``.
        epsilon : float
            Regularisation in the units of the cost.

        Returns
        -------
        g : Tensor of shape (n_problems, m)
            In the units of the cost.
        """


class ZerosInitializer(Initializer):
    """Start from zero potentials, at the requested regularisation.

    Passing no initializer starts at a larger regularisation instead, which takes fewer passes.

    Examples
    --------
    >>> from skot.solvers import ZerosInitializer
    >>> ZerosInitializer()
    ZerosInitializer()
    """

    def target_potential(self, problem: Any, epsilon: float) -> Tensor:
        """Return zeros; see :meth:`Initializer.target_potential`."""
        return torch.zeros_like(problem.b)


class GaussianInitializer(Initializer):
    r"""Start from the potential of the Gaussian problem with the same first two moments.

    .. math::

        g(y) = (y - m_b)^\top (I - K) (y - m_b) + 2 (y - m_b)^\top (m_b - m_a)

    where K is the linear part of the entropic map from N(m_b, B) to N(m_a, A) [1]_. For the
    squared Euclidean cost only.

    References
    ----------
    .. [1] Janati, H., Muzellec, B., Peyre, G. and Cuturi, M. (2020). Entropic optimal transport
       between unbalanced Gaussian measures has a closed form. NeurIPS, Theorem 1.

    Examples
    --------
    >>> import torch
    >>> from skot.solvers import GaussianInitializer, sinkhorn
    >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> sinkhorn(x, 2 * x + 1, epsilon=1.0, initializer=GaussianInitializer()).converged
    True
    """

    def target_potential(self, problem: Any, epsilon: float) -> Tensor:
        """Return the Gaussian potential; see :meth:`Initializer.target_potential`."""
        if not isinstance(problem.cost, SquaredEuclidean):
            raise ValueError(
                "GaussianInitializer needs the squared Euclidean cost. "
                f"Got {type(problem.cost).__name__}."
            )
        x, y = (points.detach() for points in problem.points)
        guesses = []
        for a, b in zip(problem.a.detach(), problem.b.detach(), strict=True):
            mean_a, mean_b = weighted_mean(x, a), weighted_mean(y, b)
            centred = y - mean_b
            covariances = weighted_covariance(x, a), weighted_covariance(y, b)
            quadratic = gaussian_potential(centred, *covariances, epsilon)
            guesses.append(quadratic + 2.0 * centred @ (mean_b - mean_a))
        return torch.stack(guesses)
