"""Entropic transport that keeps the classes of the source apart at every target."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skot.solvers._entropic.sinkhorn import SinkhornResult, sinkhorn
from skot.utils._brief import brief_repr
from skot.utils.tensors import to_numpy, to_tensor

#: The exponent of the penalty, and what is added to a class mass to keep its slope finite.
_POWER, _SMOOTHING = 0.5, 1e-3
#: Largest number of majorisations, and the relative decrease of the objective below which they
#: end. The objective is concave in the class masses, so a few linearisations settle it.
_MAX_MAJORIZATIONS, _SETTLED = 20, 1e-4


@dataclass(frozen=True)
class ClassRegularizedResult:
    """Solution of a class-regularised problem.

    Attributes
    ----------
    sinkhorn : SinkhornResult
        Solution of the last linearised problem.
    class_cost : Tensor of shape (n_classes, m)
        Extra cost of each class at each target in that problem.
    objectives : tuple of float
        Objective after each linearised problem; it decreases.
    n_iter : int
        Passes over the kernel of all linearised problems.
    errors : tuple of float
        Marginal error at each check, as of :class:`SinkhornResult`.
    """

    sinkhorn: SinkhornResult
    class_cost: Tensor
    objectives: tuple[float, ...]
    n_iter: int
    errors: tuple[float, ...]

    __repr__ = brief_repr


def sinkhorn_class_regularized(
    x: Any,
    y: Any,
    labels: Any,
    a: Any = None,
    b: Any = None,
    *,
    epsilon: float,
    class_reg: float,
    target_labels: Any = None,
    smoothing: float = _SMOOTHING,
    cost: Any = None,
    initializer: Any = None,
    max_iter: int = 2000,
    tol: float = 1e-4,
    on_iteration: Callable[[int, dict], bool] | None = None,
) -> ClassRegularizedResult:
    r"""Solve entropic transport with a group-sparse penalty on the classes.

    .. math::

        \min_{P \in \Pi(a, b)} \langle C, P \rangle + \epsilon\, KL(P \,\|\, a b^\top)
        + \lambda \sum_j b_j \sum_c \sqrt{q_{cj} + \delta}, \qquad
        q_{cj} = \frac{1}{b_j} \sum_{i : y_i = c} P_{ij}

    The penalty is smallest where every target receives from one class only. It is concave, so
    each step solves an entropic problem with the penalty linearised at the last plan, which adds
    the cost :math:`\lambda W_{y_i j}`, :math:`W_{cj} = (q_{cj} + \delta)^{-1/2} / 2`, and never
    increases the objective. This is the penalty of [1]_ with the masses taken relative to the
    target's: the solution does not change when all rows are duplicated.

    Parameters
    ----------
    x, y : array-like of shape (n, n_features), (m, n_features)
        Source and target points.
    labels : array-like of int, shape (n,)
        Class index of each source point, from 0 to n_classes - 1.
    a, b : array-like of shape (n,), (m,), default=None
        Weights; ``None`` means equal weights.
    epsilon : float
        Regularisation, in the units of the cost.
    class_reg : float
        The factor :math:`\lambda`, in the units of the cost.
    target_labels : array-like of int, shape (m,), default=None
        Class index of each target point, -1 where it is unknown. A known class fixes the masses
        of its target: all from that class.
    smoothing : float, default=1e-3
        The constant :math:`\delta`.
    cost : str or Cost, default=None
        Ground cost; ``None`` means ``"sqeuclidean"``.
    initializer : Initializer or Tensor of shape (m,), default=None
        Initial target potential of the first problem; the next ones start from the last.
    max_iter : int, default=2000
        Passes over the kernel of each linearised problem.
    tol : float, default=1e-4
        L1 marginal error to reach.
    on_iteration : callable, default=None
        As for :func:`sinkhorn`, with a count that runs through all problems.

    Returns
    -------
    result : ClassRegularizedResult
        The last plan and the class costs it belongs to.

    Raises
    ------
    ValueError
        As for :func:`sinkhorn`; for labels that are not one index per point; for a negative
        `class_reg`; for a `smoothing` that is not positive.

    See Also
    --------
    skot.SinkhornTransport : The estimator, with ``class_reg > 0``.

    References
    ----------
    .. [1] Courty, N., Flamary, R., Tuia, D. and Rakotomamonjy, A. (2017). Optimal transport for
       domain adaptation. IEEE TPAMI, 39(9), Section 4.2 and Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from skot.solvers import sinkhorn_class_regularized
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> result = sinkhorn_class_regularized(
    ...     x, x + 0.5, [0, 0, 1, 1], epsilon=0.5, class_reg=2.0
    ... )
    >>> all(later <= earlier for earlier, later in zip(result.objectives, result.objectives[1:]))
    True
    """
    x, y = to_tensor(x, dtype=torch.float64), to_tensor(y, dtype=torch.float64)
    if not (0 <= class_reg < float("inf") and 0 < smoothing < float("inf")):
        raise ValueError(
            "class_reg must be a number of at least 0, and smoothing a positive number. "
            f"Got {class_reg!r} and {smoothing!r}."
        )
    class_reg = float(class_reg)
    labels = _class_indices(labels, len(x), "labels").to(x.device)
    if bool((labels < 0).any()):
        raise ValueError("labels must not be negative: every source point has a class.")
    n_classes = int(labels.max()) + 1
    fixed = _FixedTargets.read(target_labels, n_classes, len(y), smoothing, x.device)
    # No mass is known yet: all classes cost the same everywhere.
    slopes = fixed.overwrite(torch.zeros(n_classes, len(y), dtype=torch.float64, device=x.device))
    start = initializer
    errors: list[float] = []
    n_iter = 0
    objectives: list[float] = []
    hook = None if on_iteration is None else _SharedHook(on_iteration)
    for _ in range(_MAX_MAJORIZATIONS):
        class_cost = class_reg * slopes
        result = sinkhorn(
            x,
            y,
            a,
            b,
            epsilon=epsilon,
            cost=cost,
            initializer=start,
            max_iter=max_iter,
            tol=tol,
            class_cost=(labels, class_cost),
            on_iteration=None if hook is None else hook.after(len(errors)),
        )
        errors.extend(result.errors)
        n_iter += result.n_iter
        masses, target = _class_masses(result.plan, labels, n_classes)
        shares = masses / target
        penalty = class_reg * float((fixed.penalty(shares, smoothing) * target).sum())
        linear = float((class_cost * masses).sum())
        objectives.append(float(result.primal_value) - linear + penalty)
        if (len(objectives) > 1 and _has_settled(objectives)) or (hook and hook.stopped):
            break
        slopes = fixed.overwrite(_POWER * (shares + smoothing) ** (_POWER - 1.0))
        start = result.g
    return ClassRegularizedResult(result, class_cost, tuple(objectives), n_iter, tuple(errors))


@dataclass(frozen=True)
class _FixedTargets:
    """Targets whose class is known, and the slopes that this fixes."""

    known: Tensor
    slopes: Tensor

    @classmethod
    def read(cls, target_labels, n_classes: int, m: int, smoothing: float, device):
        if target_labels is None:
            target_labels = torch.full((m,), -1)
        target_labels = _class_indices(target_labels, m, "target_labels").to(device)
        known = (target_labels >= 0) & (target_labels < n_classes)
        # The slopes of a column whose mass comes from its own class alone.
        own = torch.nn.functional.one_hot(target_labels[known], n_classes).double().T
        return cls(known, _POWER * (own + smoothing) ** (_POWER - 1.0))

    def overwrite(self, slopes: Tensor) -> Tensor:
        slopes[:, self.known] = self.slopes
        return slopes

    def penalty(self, shares: Tensor, smoothing: float) -> Tensor:
        """Penalty of each class at each target: concave where free, linear where known."""
        penalty = (shares + smoothing) ** _POWER
        penalty[:, self.known] = self.slopes * shares[:, self.known]
        return penalty


def _class_masses(plan, labels: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Mass that each target receives from each class, and in total."""
    masses = torch.zeros(n_classes, plan.shape[1], dtype=torch.float64, device=labels.device)
    for rows, tile in plan.tiles():
        masses.index_add_(0, labels[rows], tile)
    return masses, masses.sum(0).clamp_min(torch.finfo(torch.float64).tiny)


def _has_settled(objectives: list[float]) -> bool:
    decrease = objectives[-2] - objectives[-1]
    return decrease <= _SETTLED * max(abs(objectives[-1]), torch.finfo(torch.float64).tiny)


def _class_indices(labels, size: int, name: str) -> Tensor:
    """Class indices as a tensor, one per point."""
    indices = torch.from_numpy(np.array(to_numpy(labels)))
    if indices.shape != (size,) or indices.is_floating_point() or indices.is_complex():
        raise ValueError(
            f"{name} must hold {size} integers, one class index per point. "
            f"Got shape {tuple(indices.shape)} and dtype {indices.dtype}."
        )
    return indices.long()


@dataclass
class _SharedHook:
    """One hook for several solves, which counts through and remembers a request to stop."""

    on_iteration: Callable[[int, dict], bool]
    stopped: bool = False

    def after(self, offset: int) -> Callable[[int, dict], bool]:
        """Return the hook of the solve that begins after so many passes."""

        def on_iteration(i: int, state: dict) -> bool:
            self.stopped = bool(self.on_iteration(offset + i, state))
            return self.stopped

        return on_iteration
