"""Where Sinkhorn's iteration starts."""

from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skot.base import Component
from skot.costs import Cost, SquaredEuclidean
from skot.numerics.linalg import gaussian_fit_potential
from skot.utils._sklearn import HasMethods, Interval


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
        """Return zeros.

        Parameters
        ----------
        problem : object
            See :meth:`Initializer.target_potential`.
        epsilon : float
            Regularisation in the units of the cost.

        Returns
        -------
        g : Tensor of shape (n_problems, m)
            Zero everywhere.
        """
        return torch.zeros_like(problem.b)


class GaussianInitializer(Initializer):
    r"""Start from the potential of the Gaussian problem with the same first two moments.

    .. math::

        g(y) = (y - m_b)^\top (I - K) (y - m_b) + 2 (y - m_b)^\top (m_b - m_a)

    where K is the linear part of the entropic map from N(m_b, B) to N(m_a, A) [1]_. For the
    squared Euclidean cost only, between points or on a grid.

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
        """Return the Gaussian potential.

        Parameters
        ----------
        problem : object
            See :meth:`Initializer.target_potential`.
        epsilon : float
            Regularisation in the units of the cost.

        Returns
        -------
        g : Tensor of shape (n_problems, m)
            In the units of the cost.

        Raises
        ------
        ValueError
            If the cost is not the squared Euclidean one, between points or on a grid.
        """
        cost = problem.cost
        if isinstance(cost, Cost):
            points = problem.points if isinstance(cost, SquaredEuclidean) else None
        else:
            points = cost.squared_euclidean_points()
        if points is None:
            raise ValueError(
                "GaussianInitializer needs the squared Euclidean cost, between points or on a "
                f"grid. Got {type(cost).__name__}."
            )
        x, y = (side.detach().to(problem.b.device) for side in points)
        return gaussian_fit_potential(x, y, problem.a.detach(), problem.b.detach(), epsilon)


class MetaInitializer(Initializer):
    """Start from the potentials that a fitted :class:`~skot.MetaOTRegressor` predicts.

    Parameters
    ----------
    estimator : FrozenEstimator
        ``FrozenEstimator(regressor)`` around the fitted regressor: a bare one would be unfitted
        whenever an estimator clones its components.
    max_start_error : float, default=0.15
        A prediction whose half step has a larger marginal error is dropped for zero potentials.
        None drops none.

    References
    ----------
    .. [1] Amos, B., Luise, G., Cohen, S. and Redko, I. (2023). Meta optimal transport. ICML,
       Section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.frozen import FrozenEstimator
    >>> from skot import MetaOTRegressor
    >>> from skot.costs import GridCost
    >>> from skot.networks import DualMLP
    >>> from skot.solvers import MetaInitializer, sinkhorn
    >>> X = np.random.RandomState(0).uniform(size=(200, 20))
    >>> cost, epsilon = GridCost((10,)), 0.02
    >>> regressor = MetaOTRegressor(
    ...     cost, epsilon=epsilon, network=DualMLP((64,)), max_iter=100, random_state=0
    ... ).fit(X)
    >>> meta = MetaInitializer(FrozenEstimator(regressor))
    >>> sinkhorn(a=X[0, :10], b=X[0, 10:], cost=cost, epsilon=epsilon, initializer=meta).converged
    True
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "estimator": [HasMethods("problem_weights")],
        "max_start_error": [Interval(Real, 0, None, closed="left"), None],
    }

    def __init__(self, estimator: Any, max_start_error: float | None = 0.15):
        self.estimator = estimator
        self.max_start_error = max_start_error

    def target_potential(self, problem: Any, epsilon: float) -> Tensor:
        """Return the prediction.

        Parameters
        ----------
        problem : object
            See :meth:`Initializer.target_potential`.
        epsilon : float
            Regularisation in the units of the cost.

        Returns
        -------
        g : Tensor of shape (n_problems, m)
            In the units of the cost.

        Raises
        ------
        ValueError
            If the regressor is not fitted, or for another cost, other supports or another
            regularisation.
        """
        try:
            check_is_fitted(self.estimator)
        except NotFittedError as error:
            raise ValueError(
                f"MetaInitializer got a {type(self.estimator).__name__} that is not fitted. "
                "Cloning an estimator unfits it: pass MetaInitializer(FrozenEstimator(regressor)) "
                "around a fitted regressor."
            ) from error
        a, b, columns = self.estimator.problem_weights(problem, epsilon)
        g = self.estimator.initial_target_potential(a, b, self.max_start_error).to(problem.b)
        return g if columns is None else g[:, columns]
