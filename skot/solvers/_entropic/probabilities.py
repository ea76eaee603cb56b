"""Entropic transport between many pairs of small histograms, with derivatives."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skot.costs import as_fixed_support_cost, cost_matrix
from skot.solvers._entropic.derivatives.adjoint import Solution
from skot.solvers._entropic.derivatives.functions import (
    DualValue,
    Potentials,
    SolvedOnce,
    needs_graph,
)
from skot.solvers._entropic.histograms import (
    HistogramIterates,
    solve_histograms,
    solve_self_transport,
)
from skot.solvers._entropic.problem import Problem, read_potential, read_problem
from skot.solvers._entropic.settings import Settings, check_integer
from skot.solvers.initializers import ZerosInitializer
from skot.utils._brief import brief_repr


@dataclass(frozen=True)
class ProbabilityTransport:
    r"""Solutions of a batch of small entropic problems; of one problem without the leading axis.

    Attributes
    ----------
    value : Tensor of shape (n_rows,)
        Dual values in float64, lower bounds of the cost whether converged or not but for what
        `debiased` takes away; differentiable twice in the histograms and in a cost that requires
        a gradient.
    f, g : Tensor of shape (n_rows, n), (n_rows, m)
        Potentials of the two sides in float64, with ``<a, f> = <b, g>``, finite where
        a probability is zero. Up to constants they are the gradients of `value`, but for what
        `debiased` takes away; they are differentiable once.
    passes : Tensor of shape (n_rows,)
        Sinkhorn passes of each problem until it had converged, those of the cost of
        a side with itself not included.
    marginal_error : Tensor of shape (n_rows,)
        L1 error of the second marginal; the first is exact. With `debiased` the largest of the
        three solves.
    converged : Tensor of shape (n_rows,)
        Whether `marginal_error` is at most the tolerance, and where there is mass no entry of `g`
        is further from its own update than this share of the range of the cost. With `debiased`,
        whether this holds for all three solves.
    """

    value: Tensor
    f: Tensor
    g: Tensor
    passes: Tensor
    marginal_error: Tensor
    converged: Tensor

    __repr__ = brief_repr


def probability_transport(
    a: Any,
    b: Any,
    cost: Any,
    *,
    epsilon: float,
    debiased: bool = False,
    initializer: Any = None,
    max_iter: int = 1000,
    tol: float = 1e-4,
) -> ProbabilityTransport:
    r"""Solve entropic transport between many pairs of small histograms.

    Plain Sinkhorn iterations [1]_ on all problems at once, each of which leaves when it has
    converged. It is meant for thousands of problems with ten to a few hundred classes, where a
    pass costs less than any acceleration of it.

    Parameters
    ----------
    a : array-like or Tensor of shape (n_rows, n) or (n,)
        Histograms, one a row, normalised here; zeros are allowed.
    b : array-like or Tensor of shape (n_rows, m) or (m,)
        Histograms to compare with, row by row. One row on either side is compared with all.
    cost : array-like of shape (n, m), PrecomputedCost, SupportCost or GridCost
        Cost between the classes.
    epsilon : float
        Regularisation, in the units of the cost.
    debiased : bool, default=False
        Whether `value` is that of :func:`probability_transport_loss` with ``debiased=True``.
    initializer : Initializer or Tensor of shape (n_rows, m), default=None
        Initial target potential, or the component that computes one. ``None`` means zeros. It is
        cut to the range that a solution can have.
    max_iter : int, default=1000
        Passes of each problem.
    tol : float, default=1e-4
        L1 marginal error to reach; also how far potentials may be from their updates, as a share
        of the range of the cost.

    Returns
    -------
    result : ProbabilityTransport
        Values with gradients, potentials, and per problem the passes and the error. Never raises
        for lack of convergence.

    Raises
    ------
    ValueError
        For inconsistent shapes, probabilities that are negative, not finite or all zero, or
        parameters out of range.

    See Also
    --------
    probability_transport_loss : The values only, with the bias removed on request.
    skot.solvers.sinkhorn : Larger problems, points, acceleration.

    Notes
    -----
    A pass updates the source potential, measures the L1 error of the target marginal, and
    updates the target potential. The unknowns are :math:`u = e^{f / \epsilon}` and
    :math:`v = e^{g / \epsilon}` with the weights outside of the kernel,

    .. math:: u = 1 / K (b \odot v), \qquad v = 1 / K^\top (a \odot u),
              \qquad K = e^{-C / \epsilon},

    so that probabilities of zero need no care. Where the cost exceeds 250 epsilon the same is
    done in the log-domain, which takes two to four times as long for ten classes.

    References
    ----------
    .. [1] Cuturi, M. (2013). Sinkhorn distances: lightspeed computation of optimal transport.
       NeurIPS, Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import GridCost
    >>> from skot.metrics import probability_transport
    >>> grades = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.0, 1.0]])
    >>> result = probability_transport(grades, torch.tensor([0.0, 1.0, 0.0]), GridCost((3,)),
    ...                                epsilon=0.01)
    >>> result.value
    tensor([0.2250, 0.2500], dtype=torch.float64)
    >>> result.passes
    tensor([1, 1])
    """
    Settings(epsilon, tol, 0, False, "auto", None).check()
    check_integer("max_iter", max_iter, 1)
    cost = as_fixed_support_cost(cost)
    problem = read_problem(cost, None, None, a, b)
    if debiased:
        _check_symmetric(cost_matrix(cost))
    if initializer is None:
        initializer = ZerosInitializer()
    solver = _Solver(epsilon, initializer, max_iter, tol)
    if needs_graph(*problem.inputs):
        value, f, g, solves = solver.differentiable(problem, debiased=debiased)
    else:
        kernel = solver.kernel(problem)
        reached, f, g = solver.solve(problem, kernel)
        solves = [reached]
        value = (problem.a * f).sum(1) + (problem.b * g).sum(1)
        if debiased:
            for side in (problem.a, problem.b):
                own, half = solver.solve_with_itself(side, kernel)
                solves.append(own)
                value = value - (side * half).sum(1)
    passes, error, converged = solves[0].passes, solves[0].error, solves[0].converged
    for own in solves[1:]:
        error, converged = torch.maximum(error, own.error), converged & own.converged
    parts = (value, f, g, passes, error, converged)
    return ProbabilityTransport(*(parts if problem.batched else (part[0] for part in parts)))


class _Kernel(NamedTuple):
    """Minus the costs in units of epsilon, the largest being zero, and the lowest cost."""

    exponents: Tensor
    lowest: Tensor


@dataclass(frozen=True)
class _Solver:
    """How problems with one small cost are solved: parameters of :func:`probability_transport`."""

    epsilon: float
    initializer: Any
    max_iter: int
    tol: float

    def kernel(self, problem: Problem) -> _Kernel:
        """What all iterations of the problem share."""
        with torch.no_grad():
            if len(problem.points) == 1:
                matrix = problem.points[0]
            elif problem.points:
                matrix = problem.cost.pairwise(*problem.points)
            else:
                matrix = problem.cost.matrix().to(problem.a.device)
            lowest = matrix.min()
            return _Kernel((lowest - matrix) / self.epsilon, lowest)

    def solve(self, problem: Problem, kernel: _Kernel) -> tuple[HistogramIterates, Tensor, Tensor]:
        """Solve, and return potentials in the units of the cost with equal means."""
        with torch.no_grad():
            g = read_potential(self.initializer, problem, self.epsilon)
            h = g / self.epsilon
            a, b = problem.a, problem.b
            reached = solve_histograms(kernel.exponents, a, b, h, self.max_iter, self.tol)
            f, g = self.epsilon * reached.log_u + kernel.lowest, self.epsilon * reached.log_v
            gauge = 0.5 * ((a * f).sum(1) - (b * g).sum(1))[:, None]
            return reached, f - gauge, g + gauge

    def solve_with_itself(self, side: Tensor, kernel: _Kernel) -> tuple[HistogramIterates, Tensor]:
        """Solve one side with itself, and return the mean of its two potentials."""
        with torch.no_grad():
            own = solve_self_transport(kernel.exponents, side, self.max_iter, self.tol)
            return own, 0.5 * (self.epsilon * (own.log_u + own.log_v) + kernel.lowest)

    def differentiable(
        self, problem: Problem, *, debiased: bool
    ) -> tuple[Tensor, Tensor, Tensor, list[HistogramIterates]]:
        """Solve for a value and potentials that follow the inputs of the problem."""
        moves = needs_graph(*problem.points)
        solves: list[HistogramIterates] = []
        found: list[tuple[Problem, _Kernel]] = []

        def solve(*inputs: Tensor) -> Solution:
            plain = problem.plain(*inputs)
            kernel = self.kernel(plain)
            reached, f, g = self.solve(plain, kernel)
            found.append((plain, kernel))
            solves.append(reached)
            return self._solution(plain, plain.a, plain.b, f, g, moves=moves)

        def solve_with_itself(side: Tensor, *_: Tensor) -> Solution:
            plain, kernel = found[0]
            own, half = self.solve_with_itself(side, kernel)
            solves.append(own)
            return self._solution(plain, side, side, half, half, moves=moves)

        once = SolvedOnce(solve)
        value = DualValue.apply(once, *problem.inputs)
        f, g = Potentials.apply(once, *problem.inputs)
        if debiased:
            for side in (problem.a, problem.b):
                own = DualValue.apply(SolvedOnce(solve_with_itself), side, side, *problem.points)
                value = value - 0.5 * own
        return value, f, g, solves

    def _solution(self, problem: Problem, a, b, f, g, *, moves: bool) -> Solution:
        return Solution(
            costs=problem.costs,
            cost=problem.cost,
            points=tuple(point.detach() for point in problem.points),
            a=a.detach(),
            b=b.detach(),
            f=f,
            g=g,
            h=(g - problem.column) / self.epsilon,
            epsilon=self.epsilon,
            scaled_epsilon=self.epsilon / problem.unit,
            moves=moves,
        )


def _check_symmetric(matrix: Tensor) -> None:
    if len(matrix) != len(matrix.T) or not torch.allclose(matrix, matrix.T):
        raise ValueError("The debiased loss needs a symmetric cost.")
