"""Debiased entropic transport cost between two samples."""

from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from skot.costs import check_cost
from skot.measures import EmpiricalMeasure
from skot.solvers import SinkhornResult, cloud_spreads, is_cloud_batch, sinkhorn
from skot.utils._brief import brief_repr
from skot.utils._warnings import warn_not_converged
from skot.utils.tensors import to_numpy
from skot.utils.validation import check_points

#: Share of the mean pairwise cost that is the default regularisation.
_DEFAULT_SHARE = 0.05


@dataclass(frozen=True)
class SinkhornDivergence:
    r"""A Sinkhorn divergence and the three solves that it is made of.

    Attributes
    ----------
    value : float or Tensor of shape () or (n_problems,)
        The divergence; a tensor that carries gradients if an input requires one, and for a batch.
    cross : SinkhornResult
        Between the two samples.
    first, second : SinkhornResult
        Of each sample with itself.

    See Also
    --------
    sinkhorn_divergence : Returns it with ``return_result=True``.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.metrics import sinkhorn_divergence
    >>> X = np.array([[0.0], [1.0]])
    >>> result = sinkhorn_divergence(X, X + 2.0, return_result=True)
    >>> result.converged
    True
    >>> round(result.value, 3), round(float(result.cross.dual_value), 3)
    (4.0, 4.017)
    """

    value: "float | Tensor"
    cross: SinkhornResult
    first: SinkhornResult
    second: SinkhornResult

    __repr__ = brief_repr

    @property
    def converged(self) -> "bool | Tensor":
        """Whether all three solves converged."""
        return self.cross.converged & self.first.converged & self.second.converged

    @property
    def marginal_error(self) -> "float | Tensor":
        """The largest marginal error of the three solves."""
        errors = (torch.as_tensor(part.marginal_error, dtype=torch.float64) for part in self._parts)
        largest = reduce(torch.maximum, errors)
        return float(largest) if largest.ndim == 0 else largest

    @property
    def _parts(self) -> tuple[SinkhornResult, ...]:
        return self.cross, self.first, self.second


@overload
def sinkhorn_divergence(
    X: Any,
    Y: Any,
    *,
    epsilon: Any = ...,
    cost: Any = ...,
    a: Any = ...,
    b: Any = ...,
    max_iter: int = ...,
    tol: float = ...,
    return_result: Literal[False] = ...,
) -> "float | Tensor": ...


@overload
def sinkhorn_divergence(
    X: Any,
    Y: Any,
    *,
    epsilon: Any = ...,
    cost: Any = ...,
    a: Any = ...,
    b: Any = ...,
    max_iter: int = ...,
    tol: float = ...,
    return_result: Literal[True],
) -> SinkhornDivergence: ...


def sinkhorn_divergence(
    X: Any,
    Y: Any,
    *,
    epsilon: Any = None,
    cost: Any = None,
    a: Any = None,
    b: Any = None,
    max_iter: int = 2000,
    tol: float = 1e-4,
    return_result: bool = False,
) -> "float | Tensor | SinkhornDivergence":
    r"""Sinkhorn divergence between two samples.

    .. math::

        S_\epsilon(X, Y) = OT_\epsilon(X, Y) - \tfrac12 OT_\epsilon(X, X)
                           - \tfrac12 OT_\epsilon(Y, Y)

    It is zero for equal samples and positive otherwise, for costs such as the squared Euclidean
    one [1]_.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, n_features) or (n_problems, n, n_features)
        First sample. A leading axis, here and in `Y`, or lists of samples, make a batch of pairs.
    Y : array-like or Tensor of shape (m, n_features) or (n_problems, m, n_features)
        Second sample.
    epsilon : float or array-like of shape (n_problems,), default=None
        Regularisation, in the units of the cost. ``None`` means 0.05 times the mean cost between
        two points of the same sample, averaged over both samples; of each pair of a batch.
    cost : str or Cost, default=None
        Ground cost, symmetric; ``None`` means ``"sqeuclidean"``.
    a, b : array-like or Tensor of shape (n,), (m,), default=None
        Weights; ``None`` means equal weights. For a batch as :func:`skot.solvers.sinkhorn` takes
        them.
    max_iter : int, default=2000
        Passes of each of the three solves.
    tol : float, default=1e-4
        L1 marginal error of each solve.
    return_result : bool, default=False
        Whether to return the three solves with the value. Nothing is warned of then.

    Returns
    -------
    divergence : float, Tensor of shape () or (n_problems,), or SinkhornDivergence
        A tensor for a batch, and if an input requires a gradient: differentiable twice in points
        and weights; a default `epsilon` counts as a constant. In the units of the
        cost: for the squared Euclidean cost, of a squared distance.

    Raises
    ------
    ValueError
        For bad input, as :func:`skot.solvers.sinkhorn`.

    Warns
    -----
    ConvergenceWarning
        If one of the three solves did not reach its tolerance.

    See Also
    --------
    wasserstein_distance : Exact, for small samples.

    References
    ----------
    .. [1] Feydy, J. et al. (2019). Interpolating between optimal transport and MMD using Sinkhorn
       divergences. AISTATS, Theorem 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.metrics import sinkhorn_divergence
    >>> X = np.array([[0.0], [1.0]])
    >>> sinkhorn_divergence(X, X)
    0.0
    >>> round(sinkhorn_divergence(X, X + 2.0), 3)
    4.0
    >>> sinkhorn_divergence(np.stack([X, X]), np.stack([X, X + 2.0])).round(decimals=3)
    tensor([0., 4.], dtype=torch.float64)
    """
    cost = check_cost(cost)
    if epsilon is None and is_cloud_batch(cost, X, Y):
        spreads = _DEFAULT_SHARE * 0.5 * np.sum(cloud_spreads(cost, X, Y, a, b), axis=0)
        epsilon = np.where(spreads > 0, spreads, 1.0)
    elif epsilon is None:
        epsilon = default_epsilon(X, Y, a, b, cost)
    options = {"epsilon": epsilon, "cost": cost, "max_iter": max_iter, "tol": tol}
    cross = sinkhorn(X, Y, a, b, **options)
    first = sinkhorn(X, X, a, a, **options)
    second = sinkhorn(Y, Y, b, b, **options)
    value = cross.dual_value - 0.5 * first.dual_value - 0.5 * second.dual_value
    result = SinkhornDivergence(
        value if value.requires_grad or value.ndim else float(value), cross, first, second
    )
    if return_result:
        return result
    if not bool(torch.as_tensor(result.converged).all()):
        error = torch.as_tensor(result.marginal_error).max()
        smallest = np.min(to_numpy(epsilon))
        warn_not_converged(
            f"sinkhorn_divergence did not converge: the L1 marginal error is "
            f"{float(error):.2g} after {max_iter} passes, tol={tol:g}. Increase max_iter, "
            f"epsilon (here {float(smallest):.2g}) or tol."
        )
    return result.value


def default_epsilon(X, Y, a, b, cost) -> float:
    """Regularisation of divergences of two samples (n, d), (m, d) where the caller has none."""
    return _DEFAULT_SHARE * 0.5 * (_spread(X, a, cost) + _spread(Y, b, cost)) or 1.0


def _spread(X, weights, cost) -> float:
    """Mean cost between two independent points of a sample."""
    measure = EmpiricalMeasure.from_points(
        check_points(X), None if weights is None else torch.as_tensor(weights), dtype=torch.float64
    )
    points, weights = measure.points, measure.weights
    return cost.scale(points, points, weights, weights)
