"""Entropic optimal transport on tensors: one entry point, one frozen result.

The flow of one call: read the problem, put it in well-scaled coordinates
(:meth:`skot.costs.Cost.standardize`), solve (:mod:`skot.solvers._entropic.batches`), translate
back.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skot.costs import Cost, FixedSupportCost, GridCost, SupportCost, check_cost
from skot.solvers._entropic.batches import solve_batch, solve_grid, solve_supported
from skot.solvers._entropic.clouds.batches import check_cloud_options, solve_clouds
from skot.solvers._entropic.clouds.input import is_cloud_batch, read_clouds
from skot.solvers._entropic.derivatives.adjoint import Solution
from skot.solvers._entropic.derivatives.functions import (
    DualValue,
    Potentials,
    ProblemGraph,
    SolvedOnce,
    has_tangents,
    is_differentiated,
    needs_graph,
)
from skot.solvers._entropic.iteration import Iterate, Progress
from skot.solvers._entropic.lean.kernel import is_shared
from skot.solvers._entropic.lean.problem import (
    LeanProblem,
    plain_arrays,
    read_lean,
    solve_lean_problem,
)
from skot.solvers._entropic.plan import DeferredPlan, EntropicPlan, attach_graph
from skot.solvers._entropic.problem import Problem, read_potential, read_problem
from skot.solvers._entropic.settings import Settings, check_integer
from skot.solvers.initializers import ZerosInitializer
from skot.utils._brief import brief_repr
from skot.utils._threads import SerialBlas


@dataclass(frozen=True)
class SinkhornResult:
    r"""Solution of one entropic problem, or of a batch of them.

    For a batch every attribute but `n_iter`, `errors` and `epsilon` has a leading axis of length
    n_problems, and `plan` is a tuple of plans, each of its problem's own shape.

    Attributes
    ----------
    f, g : Tensor of shape (n,), (m,)
        Potentials of source and target in float64, with ``<a, f> = <b, g>``. They are finite on
        points without mass too, where they extend the optimality conditions. For clouds of
        different sizes they are as long as the largest, and zero beyond the end of a cloud.
        Differentiable once with respect to inputs that require a gradient.
    plan : EntropicPlan
        The plan, formed only where it is asked for.
    marginal_error : float or Tensor of shape (n_problems,)
        L1 error of the target marginal; the source marginal is exact.
    converged : bool or Tensor of shape (n_problems,)
        Whether `marginal_error` is at most the tolerance, and g the soft c-transform of f at every
        target with mass, up to that share of the range of the costs.
    dual_value : Tensor of shape ()
        Dual value; differentiable twice with respect to inputs that require a gradient.
    n_iter : int
        Passes over the kernel, those at larger regularisations included.
    errors : tuple of float
        Marginal error at each check (the largest of a batch): after every pass, or every few where
        a pass takes microseconds.
    epsilon : float or Tensor of shape (n_problems,)
        The regularisation.
    passes : int or Tensor of shape (n_problems,)
        Passes until the marginal error of the problem was at most the tolerance for the first
        time, or all of them.
    """

    f: Tensor
    g: Tensor
    plan: "EntropicPlan | tuple[EntropicPlan, ...]"
    marginal_error: "float | Tensor"
    converged: "bool | Tensor"
    dual_value: Tensor
    n_iter: int
    errors: tuple[float, ...]
    epsilon: "float | Tensor"
    passes: "int | Tensor"

    __repr__ = brief_repr

    @property
    def cost_value(self) -> "float | Tensor":
        """Transport cost ``<C, P>``, without a gradient; the first call does one pass."""
        if isinstance(self.plan, tuple):
            return torch.tensor([plan.cost for plan in self.plan], dtype=torch.float64)
        return self.plan.cost

    @property
    def primal_value(self) -> "float | Tensor":
        r"""Primal value :math:`\langle C, P \rangle + \epsilon\, KL(P \| a b^\top)` of the plan.

        The plan meets its target marginal up to `marginal_error`, so this exceeds the dual value
        up to that error times the range of g. It carries no gradient: that of `dual_value` is the
        derivative of both.
        """
        if isinstance(self.plan, tuple):
            problems = zip(self.plan, self.f, self.g, strict=True)
            values = [_primal_value(plan, f, g) for plan, f, g in problems]
            return torch.tensor(values, dtype=torch.float64)
        return _primal_value(self.plan, self.f, self.g)


def _primal_value(plan: EntropicPlan, f: Tensor, g: Tensor) -> float:
    """<C, P> + epsilon KL(P | a b') = <P 1, f> + <P' 1, g> for a plan in scaling form."""
    source, target = plan.marginals()
    # Padding of a batch is beyond the plan.
    f, g = f.detach()[: len(source)], g.detach()[: len(target)]
    return float(source @ f + target @ g)


def sinkhorn(
    x: Any = None,
    y: Any = None,
    a: Any = None,
    b: Any = None,
    *,
    epsilon: Any,
    cost: Any = None,
    initializer: Any = None,
    max_iter: int = 2000,
    tol: float = 1e-4,
    anderson_memory: int = 15,
    annealing: bool = True,
    storage: str = "auto",
    dtype: torch.dtype | None = None,
    class_cost: tuple[Tensor, Tensor] | None = None,
    on_iteration: Callable[[int, dict], bool] | None = None,
) -> SinkhornResult:
    r"""Solve entropic optimal transport between two weighted point clouds.

    .. math::

        \min_{P \in \Pi(a, b)} \langle C, P \rangle + \epsilon\, KL(P \,\|\, a b^\top)
        = \max_{f, g} \langle a, f \rangle + \langle b, g \rangle
          - \epsilon \Big( \sum_{ij} a_i b_j e^{(f_i + g_j - C_{ij}) / \epsilon} - 1 \Big)

    Sinkhorn's iteration [1]_ in scaling form with absorbed potentials [2]_, run through
    decreasing regularisations with extrapolated potentials, and accelerated by Anderson's method
    [3]_ with a safeguard.

    Parameters
    ----------
    x : array-like or Tensor of shape (n, n_features) or (n_problems, n, n_features), default=None
        Source points. ``None`` when the cost has its own supports. A leading axis, here and in
        `y`, makes a batch of different clouds, and so does a list of n_problems arrays of shape
        (n_i, n_features).
    y : array-like or Tensor of shape (m, n_features) or (n_problems, m, n_features), default=None
        Target points, or a list of n_problems arrays.
    a : array-like or Tensor of shape (n,) or (n_problems, n), default=None
        Source weights, normalised here; ``None`` means equal weights. A leading axis makes a
        batch of problems; they share their cost where the points have no leading axis. For a list
        of clouds of different sizes, a list of their weights. Weights of zero are padding.
    b : array-like or Tensor of shape (m,) or (n_problems, m), default=None
        Target weights.
    epsilon : float or array-like of shape (n_problems,)
        Regularisation, in the units of the cost; one for each problem of a batch of different
        clouds.
    cost : str, Cost, PrecomputedCost, SupportCost or GridCost, default=None
        Ground cost; ``None`` means ``"sqeuclidean"``. A :class:`skot.costs.PrecomputedCost` may
        hold n_problems matrices.
    initializer : Initializer or Tensor of shape (m,) or (n_problems, m), default=None
        Initial target potential, or the component that computes one; the iteration then starts at
        `epsilon` itself. ``None`` starts at a larger regularisation, from the Gaussian closed form
        where it applies and is cheap, or from zeros without `annealing`. A batch of different
        clouds takes potentials or :class:`ZerosInitializer`.
    max_iter : int, default=2000
        Passes over the kernel.
    tol : float, default=1e-4
        L1 marginal error to reach.
    anderson_memory : int, default=15
        Differences kept by the acceleration; 0 is plain Sinkhorn.
    annealing : bool, default=True
        Whether to come from larger regularisations. With ``False`` and ``anderson_memory=0``
        this is the published algorithm, pass by pass.
    storage : {"auto", "kernel", "stream"}, default="auto"
        Keep the n x m kernel in memory, or form it tile by tile in every pass. ``"auto"`` keeps
        it when it fits scikit-learn's ``working_memory``. Different clouds are never streamed.
    dtype : torch.dtype, default=None
        Of the kernel. ``None`` takes float32 as far as the tolerance, `epsilon` and the weights
        allow (up to ``n * m = 2**20`` only for a `tol` from 1e-3 on, up to ``2**17`` never), and
        float64 otherwise and where float32 stalls.
    class_cost : tuple of (Tensor of shape (n,), Tensor of shape (n_classes, m)), default=None
        Class index of every source point and an extra cost of every class at every target.
    on_iteration : callable, default=None
        Called as ``on_iteration(i, state)`` at each check, the i-th, with a dict that holds
        ``marginal_error``, ``epsilon`` and ``n_iter``, the passes so far; a true return value stops
        the iteration. A batch that is solved in parts calls it for each of them.

    Returns
    -------
    result : SinkhornResult
        Potentials, lazy plan, values and the error achieved. Never raises for lack of
        convergence.

    Raises
    ------
    ValueError
        For inconsistent shapes, values that are not finite, negative or all-zero weights, or
        parameters out of range; for clouds of a batch without points, of different widths, dtypes
        or devices.

    See Also
    --------
    skot.SinkhornTransport : The estimator.
    skot.metrics.sinkhorn_divergence : The debiased divergence.

    Notes
    -----
    Memory is 4 n m bytes with the kernel stored in float32 (8 n m in float64), O(n + m) when
    streamed.

    `dual_value` is differentiable twice with respect to x, y, a, b, a precomputed matrix and the
    points of a `SupportCost`, for one problem and for a batch; tensors in lists get their own
    gradients. By the envelope theorem the
    gradients are averages under the plan, exact in the limit of ``tol`` to 0, from one pass. Second
    derivatives are implicit [4]_: a product with the Hessian refines the potentials by a few of
    Newton's steps and solves one linear system by conjugate gradients, on the plan kept in memory
    or streamed as the kernel is. They are correct to 1e-4 of their size at the default tolerance,
    and a `ConvergenceWarning` tells where the potentials could not be made accurate enough.

    `f`, `g` and the products and the array of `plan` are differentiable once, in the same inputs
    and in the values that are multiplied. What is not offered raises: a derivative more, forward
    mode, `torch.func.vmap`, a class cost that requires a gradient. `cost_value`, `primal_value`,
    the marginals and tiles of the plan, and the errors are plain numbers without a gradient. Where
    a weight is zero, derivatives with respect to it are those into the simplex. Where points
    coincide, a p-norm counts as having the derivative zero.

    Different clouds of up to ``n * m = 2**13`` pairs are iterated together, a chunk of problems at
    a time (on a GPU as many as fit), each until it has arrived; larger ones, and those that the
    common iteration finds hard, one by one. Their kernels are in float64. The cost per problem
    falls with the number of problems, and results do not depend on which problems are solved with
    which, but for rounding.

    References
    ----------
    .. [1] Cuturi, M. (2013). Sinkhorn distances: lightspeed computation of optimal transport.
       NeurIPS, Algorithm 1.
    .. [2] Schmitzer, B. (2019). Stabilized sparse scaling algorithms for entropy regularized
       transport problems. SIAM Journal on Scientific Computing, 41(3), Algorithm 2.
    .. [3] Walker, H. F. and Ni, P. (2011). Anderson acceleration for fixed-point iterations. SIAM
       Journal on Numerical Analysis, 49(4), Section 2.
    .. [4] Luise, G., Rudi, A., Pontil, M. and Ciliberto, C. (2018). Differential properties of
       Sinkhorn approximation for learning with Wasserstein distance. NeurIPS, Theorem 2.

    Examples
    --------
    >>> import torch
    >>> from skot.solvers import sinkhorn
    >>> x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    >>> result = sinkhorn(x, x + 3.0, epsilon=0.05, tol=1e-9)
    >>> result.converged
    True
    >>> round(result.cost_value, 3)
    9.0

    Clouds of different sizes, all at once:

    >>> clouds = [x, torch.cat([x, x + 1.0])]
    >>> result = sinkhorn(clouds, [x + 3.0, x + 2.0], epsilon=0.05, tol=1e-9)
    >>> result.cost_value.round(decimals=3)
    tensor([9.0000, 2.5000], dtype=torch.float64)
    >>> [plan.shape for plan in result.plan]
    [(2, 2), (4, 2)]
    """
    settings = Settings(epsilon, tol, anderson_memory, annealing, storage, dtype)
    check_integer("max_iter", max_iter, 1)
    if is_cloud_batch(cost, x, y):
        check_cloud_options(settings, class_cost)
        batch = read_clouds(cost, x, y, a, b, epsilon)
        solution = solve_clouds(batch, settings, initializer, max_iter, on_iteration)
        return SinkhornResult(**solution._asdict())
    settings.check()
    if initializer is None and class_cost is None and not has_tangents():
        arrays = plain_arrays(cost, x, y, a, b, settings)
        if arrays is not None:
            # What overflows here is left to the general way.
            serial = SerialBlas(is_shared(len(arrays[0]), *arrays[1].shape))
            with serial, np.errstate(all="ignore"):
                lean = read_lean(*arrays)
                if lean is not None and math.isfinite(lean.largest() / epsilon):
                    return _solve_lean(lean, settings, Progress(max_iter, on_iteration))
    if isinstance(cost, FixedSupportCost):
        cost.validate()  # cloning would cut a matrix or points from their graph
    else:
        cost = check_cost(cost, kind=(Cost, GridCost, SupportCost))
    problem = read_problem(cost, x, y, a, b, class_cost)
    progress = Progress(max_iter, on_iteration, unit=problem.unit)
    if initializer is None and not annealing:
        initializer = ZerosInitializer()

    def solve(problem: Problem) -> _Solved:
        with torch.no_grad():
            g = None if initializer is None else read_potential(initializer, problem, epsilon)
            reached = _solve(problem, g, settings, progress)
            return _translate(problem, reached, settings)

    if is_differentiated(*problem.inputs):
        result = _differentiable_result(problem, solve, settings, progress)
    else:
        solved = solve(problem)
        value = (problem.a * solved.f).sum(1) + (problem.b * solved.g).sum(1)
        result = _result(solved, value, solved.f, solved.g, None, settings, progress)
    return result if problem.batched else _single(result)


def _solve_lean(problem: LeanProblem, settings: Settings, progress: Progress) -> SinkhornResult:
    """Solve a plain small problem."""
    epsilon = settings.epsilon
    solution = solve_lean_problem(problem, settings, progress)
    f, g = problem.potentials(solution.h, solution.row_log, epsilon)
    return SinkhornResult(
        f=torch.from_numpy(f),
        g=torch.from_numpy(g),
        plan=DeferredPlan(partial(problem.plan, solution.h, epsilon)),
        marginal_error=solution.error,
        converged=solution.converged,
        dual_value=torch.from_numpy(np.asarray(problem.a @ f + problem.b @ g)),
        n_iter=progress.n_passes,
        errors=tuple(progress.errors),
        epsilon=epsilon,
        passes=progress.n_passes,
    )


def _solve(problem: Problem, g: Tensor | None, settings: Settings, progress: Progress) -> Iterate:
    """Solve in scaled units, from potentials of shape (n_problems, m) in the caller's."""
    settings = settings.in_units_of(problem.unit)
    if g is not None:
        g = (g - problem.column) / problem.unit
    a, b = problem.a.detach(), problem.b.detach()
    cost = problem.cost
    if not isinstance(cost, Cost) and cost.is_separable:
        return solve_grid(cost, a, b, g, settings, progress)
    if len(a) > 1:
        return solve_batch(problem.costs, a, b, g, settings, progress)
    return solve_supported(problem.costs, a, b, g, settings, progress)


class _Solved(NamedTuple):
    """A solved problem: what was reached, its potentials in the caller's units, and the plans."""

    reached: Iterate
    f: Tensor
    g: Tensor
    plans: tuple[EntropicPlan, ...]
    solution: Solution


def _translate(problem: Problem, reached: Iterate, settings: Settings) -> _Solved:
    """Potentials in the caller's units, and the plans."""
    epsilon, scaled_epsilon = settings.epsilon, settings.epsilon / problem.unit
    # The source potential is the half step of the target's, f = -epsilon log(row sums), so that
    # the source marginal is exact. What tiles of logits leave out of each row comes back here.
    f = problem.unit * (problem.costs.row_constant - scaled_epsilon * reached.row_log)
    g = epsilon * reached.h
    # The caller's costs are ``unit * costs + row + column``. Terms of one side alone change no plan
    # and go to the potentials as they are.
    f, g = f + problem.row, g + problem.column
    a, b = problem.a.detach(), problem.b.detach()
    # A constant may move from f to g: it is fixed by <a, f> = <b, g>.
    gauge = 0.5 * ((a * f).sum(1) - (b * g).sum(1))[:, None]
    f, g = f - gauge, g + gauge
    constant = (problem.row, problem.column)
    plans = tuple(
        EntropicPlan(problem.costs, a[i], b[i], h, scaled_epsilon, problem.unit, constant)
        for i, h in enumerate(reached.h)
    )
    solution = Solution(
        costs=problem.costs,
        cost=problem.cost,
        points=tuple(point.detach() for point in problem.points),
        a=a,
        b=b,
        f=f,
        g=g,
        h=reached.h,
        epsilon=epsilon,
        scaled_epsilon=scaled_epsilon,
        storage=settings.storage,
    )
    return _Solved(reached, f, g, plans, solution)


def _differentiable_result(
    problem: Problem, solve: Callable[[Problem], _Solved], settings: Settings, progress: Progress
) -> SinkhornResult:
    """Result whose tensors follow the inputs that require a gradient."""
    solved: list[_Solved] = []
    moves = needs_graph(*problem.points)

    def solve_plain(*inputs: Tensor) -> Solution:
        solved.append(solve(problem.plain(*inputs)))
        return replace(solved[0].solution, moves=moves)

    once = SolvedOnce(solve_plain)
    value = DualValue.apply(once, *problem.inputs)
    f, g = Potentials.apply(once, *problem.inputs)
    return _result(solved[0], value, f, g, (once, problem.inputs), settings, progress)


def _result(solved: _Solved, value, f, g, graph, settings, progress) -> SinkhornResult:
    """Result of a batch."""
    error, passes = solved.reached.error, solved.reached.passes
    if passes is None:
        passes = torch.full(error.shape, progress.n_passes, device=error.device)
    plans = solved.plans
    if graph is not None:
        for i, plan in enumerate(plans):
            once, inputs = graph
            attach_graph(plan, ProblemGraph(once, inputs, i))
    return SinkhornResult(
        f=f,
        g=g,
        plan=plans,
        marginal_error=error,
        converged=solved.reached.converged,
        dual_value=value,
        n_iter=progress.n_passes,
        errors=tuple(progress.errors),
        epsilon=settings.epsilon,
        passes=passes,
    )


def _single(result: SinkhornResult) -> SinkhornResult:
    """Result of one problem from that of a batch of one."""
    return replace(
        result,
        f=result.f[0],
        g=result.g[0],
        plan=result.plan[0],  # type: ignore[index]
        marginal_error=float(result.marginal_error[0]),  # type: ignore[index]
        converged=bool(result.converged[0]),  # type: ignore[index]
        dual_value=result.dual_value[0],
        passes=int(result.passes[0]),  # type: ignore[index]
    )
