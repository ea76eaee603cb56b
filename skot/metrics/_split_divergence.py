"""Divergence between the laws behind two samples: without the bias of the divergence of samples."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from skot.costs import check_cost
from skot.metrics._first_order import any_requires_grad
from skot.metrics._sinkhorn import default_epsilon
from skot.solvers import SinkhornResult, sinkhorn
from skot.utils._sklearn import check_weights
from skot.utils._warnings import warn_not_converged
from skot.utils.random import check_generator
from skot.utils.tensors import to_numpy, to_tensor
from skot.utils.validation import check_points

#: Blocks of the larger sample at most; past that the smaller one makes all of the error.
_MOST_BLOCKS = 16


@dataclass(frozen=True)
class SplitSinkhornDivergence:
    r"""A split Sinkhorn divergence, and how far it can be trusted.

    Attributes
    ----------
    value : float or Tensor of shape ()
        The divergence; a tensor that carries gradients if an input requires one.
    standard_error : float
        Of `value`, by which other samples of the same laws would give other values. NaN where a
        half has one row.
    marginal_error : float
        The largest marginal error of the solves.
    converged : bool
        Whether all solves converged.

    See Also
    --------
    split_sinkhorn_divergence : Returns it with ``return_result=True``.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.metrics import split_sinkhorn_divergence
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.normal(size=(200, 2)), rng.normal(size=(300, 2))
    >>> result = split_sinkhorn_divergence(X, Y, return_result=True)
    >>> result.converged, abs(result.value) < 2 * result.standard_error
    (True, True)
    """

    value: "float | Tensor"
    standard_error: float
    marginal_error: float
    converged: bool


@overload
def split_sinkhorn_divergence(
    X: Any,
    Y: Any,
    *,
    epsilon: float | None = ...,
    cost: Any = ...,
    a: Any = ...,
    b: Any = ...,
    max_iter: int = ...,
    tol: float = ...,
    random_state: Any = ...,
    return_result: Literal[False] = ...,
) -> "float | Tensor": ...


@overload
def split_sinkhorn_divergence(
    X: Any,
    Y: Any,
    *,
    epsilon: float | None = ...,
    cost: Any = ...,
    a: Any = ...,
    b: Any = ...,
    max_iter: int = ...,
    tol: float = ...,
    random_state: Any = ...,
    return_result: Literal[True],
) -> SplitSinkhornDivergence: ...


def split_sinkhorn_divergence(
    X: Any,
    Y: Any,
    *,
    epsilon: float | None = None,
    cost: Any = None,
    a: Any = None,
    b: Any = None,
    max_iter: int = 2000,
    tol: float = 1e-4,
    random_state: Any = 0,
    return_result: bool = False,
) -> "float | Tensor | SplitSinkhornDivergence":
    r"""Sinkhorn divergence between the laws of two samples, with halves of them.

    Two samples of one law are far apart where there are many features and few rows, and the
    Sinkhorn divergence of the samples says so: it prefers rows in the middle of the target to
    another draw of the target. This one is zero in expectation for two independent samples of
    one law, whatever their sizes.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, n_features)
        First sample, of independent rows.
    Y : array-like or Tensor of shape (m, n_features)
        Second sample, independent of the first.
    epsilon : float, default=None
        Regularisation, in the units of the cost. None means 0.05 times the mean cost between two
        points of the same sample, averaged over both samples.
    cost : str or Cost, default=None
        Ground cost, symmetric; None means ``"sqeuclidean"``.
    a : array-like or Tensor of shape (n,), default=None
        Weights of the rows of `X`; None means equal weights. Rows of weight zero are not there,
        and get no gradient.
    b : array-like or Tensor of shape (m,), default=None
        Weights of the rows of `Y`.
    max_iter : int, default=2000
        Passes of each solve.
    tol : float, default=1e-4
        L1 marginal error of each solve.
    random_state : int, RandomState instance or None, default=0
        Draws the halves. The default draws the same ones in every call.
    return_result : bool, default=False
        Whether to return the standard error and the convergence with the value. Nothing is
        warned of then.

    Returns
    -------
    divergence : float, Tensor of shape () or SplitSinkhornDivergence
        In the units of the cost: for the squared Euclidean cost, of a squared distance. It can be
        negative. A tensor if an input requires a gradient: differentiable twice in points and
        weights, for the halves that were drawn; a default `epsilon` counts as a constant.

    Raises
    ------
    ValueError
        For bad input, as :func:`skot.solvers.sinkhorn`, and with fewer than two rows of positive
        weight in `X` or in `Y`.

    Warns
    -----
    ConvergenceWarning
        If one of the solves did not reach its tolerance.

    See Also
    --------
    sinkhorn_divergence : Between the samples themselves; the loss to train with.
    energy_distance : A second opinion with ``unbiased=True``, without a regularisation.

    Notes
    -----
    With halves :math:`A_1, A_2` of `X` and :math:`B_1, B_2` of `Y` it is

    .. math::

        \tfrac14 \sum_{k, l} OT_\epsilon(A_k, B_l) - \tfrac12 OT_\epsilon(A_1, A_2)
        - \tfrac12 OT_\epsilon(B_1, B_2),

    six solves on half of the rows each: half as many pairs as :func:`sinkhorn_divergence` looks
    at. No half is compared with itself, so that for two samples of one law all six values have
    the same expectation. For that all blocks have the same number of rows: where the samples have
    different sizes, the larger one is parted into more blocks, at most 16, all of which are
    compared with the halves of the smaller one, and each with the next; rows that are left over are
    left out. Rows of unequal weight count as :math:`(\sum w)^2 / \sum w^2` rows in this, which
    makes the expectation zero up to terms that vanish with the number of rows; rows of about the
    same weight go to all blocks.

    The standard error comes from the derivatives of the values in the weights of the rows, which
    are their potentials [1]_: the value is about the mean over `X` of the potential towards `Y`
    minus the one towards the other half of `X`, and the same for `Y`. For two samples of one law
    that difference is noise, the value is a sum over pairs of rows, and the error is about 1.4
    times (for halves) what repeated draws show: too large rather than too small.

    Rows count as independent draws. A sample beside itself, or beside rows that were fitted to it,
    gives a negative value, and a row that occurs twice is not a row of twice the weight: its copies
    go to both halves, which are then closer to each other than two draws.

    References
    ----------
    .. [1] del Barrio, E., Gonzalez Sanz, A., Loubes, J.-M., Niles-Weed, J. (2023). An improved
       central limit theorem and fast convergence rates for entropic transportation costs. SIAM
       Journal on Mathematics of Data Science, 5(3).

    Examples
    --------
    >>> import numpy as np
    >>> from skot.metrics import sinkhorn_divergence, split_sinkhorn_divergence
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.normal(size=(100, 30)), rng.normal(size=(100, 30))
    >>> middle = np.zeros((100, 30))
    >>> sinkhorn_divergence(middle, Y) < sinkhorn_divergence(X, Y)
    True
    >>> split_sinkhorn_divergence(middle, Y) > split_sinkhorn_divergence(X, Y)
    True
    """
    cost = check_cost(cost)
    tracked = any_requires_grad((X, Y, a, b))
    if epsilon is None:
        epsilon = default_epsilon(X, Y, a, b, cost)
    device = next((Z.device for Z in (X, Y) if isinstance(Z, Tensor)), torch.device("cpu"))
    generator = check_generator(random_state)
    samples = [
        _weighted_points("X", X, a, device, generator),
        _weighted_points("Y", Y, b, device, generator),
    ]
    widths = [sample.points.shape[1] for sample in samples]
    if widths[0] != widths[1]:
        raise ValueError(f"X has {widths[0]} features, but Y has {widths[1]}.")
    sizes = _block_sizes(*samples)
    counts = [
        min(len(sample.weights) // size, _MOST_BLOCKS)
        for sample, size in zip(samples, sizes, strict=True)
    ]
    parts = (_blocks(*part) for part in zip(samples, counts, sizes, strict=True))
    blocks = [block for part in parts for block in part]
    pairs, factors = _pairs(*counts)
    first, second = zip(*pairs, strict=True)
    result = sinkhorn(
        [blocks[k].points for k in first],
        [blocks[k].points for k in second],
        [blocks[k].weights for k in first],
        [blocks[k].weights for k in second],
        epsilon=epsilon,
        cost=cost,
        max_iter=max_iter,
        tol=tol,
    )
    value = result.dual_value @ torch.tensor(factors).to(result.dual_value)
    split = SplitSinkhornDivergence(
        value if tracked else float(value.detach()),
        _standard_error(blocks, pairs, factors, result),
        float(torch.as_tensor(result.marginal_error).max()),
        # A value that is not a number is no result, whatever the solves say.
        bool(torch.as_tensor(result.converged).all()) and math.isfinite(float(value.detach())),
    )
    if not return_result and not split.converged:
        warn_not_converged(
            "split_sinkhorn_divergence did not converge: the L1 marginal error is "
            f"{split.marginal_error:.2g} after {max_iter} passes, tol={tol:g}. Increase max_iter, "
            f"epsilon (here {epsilon:.2g}) or tol."
        )
    return split if return_result else split.value


class _Rows(NamedTuple):
    """Points (k, n_features) with weights (k,): of a sample, or of a block, where they sum to 1."""

    points: Tensor
    weights: Tensor


def _weighted_points(name: str, X: Any, weights: Any, device: torch.device, generator) -> _Rows:
    """Return the rows of positive weight in a random order, in float64."""
    points = _graph_tensor(check_points(X, name=name), X, device)
    n = len(points)
    shares = np.ones(n)
    if weights is not None:
        weights = torch.as_tensor(weights) if isinstance(weights, Tensor) else np.asarray(weights)
        shares = check_weights(to_numpy(weights) if weights.ndim else float(weights), n)
    there = np.flatnonzero(shares > 0)
    if len(there) < 2:
        raise ValueError(
            f"split_sinkhorn_divergence needs at least 2 rows of positive weight in {name}, one "
            f"for each half. Got {len(there)}."
        )
    order = torch.randperm(len(there), generator=generator)
    rows = torch.from_numpy(there)[order].to(device)
    return _Rows(points[rows], _graph_tensor(shares, weights, device)[rows])


def _graph_tensor(checked: Any, given: Any, device: torch.device) -> Tensor:
    """What was checked, in float64; a tensor that requires a gradient stays in its graph."""
    if isinstance(given, Tensor) and given.requires_grad:
        return given.to(device=device, dtype=torch.float64)
    return to_tensor(checked, dtype=torch.float64, device=device)


def _block_sizes(*samples: _Rows) -> list[int]:
    """Rows of a block of each sample: half of the smaller sample, and as many of the larger one.

    Rows of unequal weight count as the number of equal ones whose mean has the same variance.
    """
    counting = [
        float(weights.sum() ** 2 / weights.square().sum())
        for weights in (sample.weights.detach() for sample in samples)
    ]
    sizes = []
    for sample, own in zip(samples, counting, strict=True):
        n = len(sample.weights)
        size = round(n * min(counting) / own / 2 - 1e-9)
        sizes.append(max(1, min(size, n // 2)))
    return sizes


def _blocks(sample: _Rows, count: int, size: int) -> list[_Rows]:
    """Part rows in a random order into blocks of one size; what is left over is left out.

    Rows of about the same weight go to all blocks, so that each has about the law of the sample.
    """
    order = torch.argsort(sample.weights.detach()[: count * size], descending=True, stable=True)
    # The first of neighbours goes to another block each time: 0 1 2, 2 1 0, 0 1 2.
    by_turns = order.reshape(size, count).clone()
    by_turns[1::2] = by_turns[1::2].flip(1)
    parts = [(sample.points[rows], sample.weights[rows]) for rows in by_turns.T]
    return [_Rows(points, weights / weights.sum()) for points, weights in parts]


def _pairs(n_first: int, n_second: int) -> tuple[list[tuple[int, int]], list[float]]:
    """Which blocks are compared, the second sample's counted on, and how often each value counts.

    Every block of one sample with every one of the other, and neighbours of the same sample.
    """
    cross = [(k, n_first + j) for k in range(n_first) for j in range(n_second)]
    pairs, factors = cross, [1.0 / len(cross)] * len(cross)
    for start, count in ((0, n_first), (n_first, n_second)):
        within = [(start + k, start + (k + 1) % count) for k in range(count if count > 2 else 1)]
        pairs, factors = pairs + within, factors + [-0.5 / len(within)] * len(within)
    return pairs, factors


def _standard_error(
    blocks: list[_Rows],
    pairs: list[tuple[int, int]],
    factors: list[float],
    result: SinkhornResult,
) -> float:
    """Standard error of the value, from its derivatives in the weights of the rows.

    The value changes with the share of a row by its potential in each solve. Potentials are known
    up to a constant, as a share only grows when others fall: they are centred in each block.
    """
    if min(len(block.weights) for block in blocks) == 1:
        return math.nan
    influences = [torch.zeros_like(block.weights) for block in blocks]
    for problem, (pair, factor) in enumerate(zip(pairs, factors, strict=True)):
        for k, potential in zip(pair, (result.f, result.g), strict=True):
            # What is longer is padding of the batch.
            own = potential[problem, : len(influences[k])].detach()
            influences[k] += factor * own.to(influences[k])
    variance = 0.0
    for block, influence in zip(blocks, influences, strict=True):
        weights = block.weights.detach()
        centred = influence - weights @ influence
        variance += float((weights * centred).square().sum() / (1.0 - weights @ weights))
    return math.sqrt(variance)
