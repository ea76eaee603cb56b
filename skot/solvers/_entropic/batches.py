"""From calls to solves: batches in one go or in turn, grids, and points without mass."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.annealing import anneal
from skot.solvers._entropic.arrival import Arrival
from skot.solvers._entropic.grid_kernel import GridKernel
from skot.solvers._entropic.iteration import Iterate, Progress, iterate
from skot.solvers._entropic.logits import column_logsumexp, row_logsumexp
from skot.solvers._entropic.pairwise import PairwiseSolve
from skot.solvers._entropic.precision import DOUBLE_WEIGHT, SINGLE_WEIGHT
from skot.solvers._entropic.settings import Settings

#: Largest cost, in units of epsilon, for which one kernel serves problems with different
#: potentials.
_BATCH_RANGE = 250.0
#: Weights of the grid problems that are solved together.
_BATCH_ENTRIES = 2**16
#: Half steps by which points of next to no mass may settle.
_SETTLING = 200
#: Logarithm of no mass at all: finite, so that differences with it stay numbers.
_NOTHING = -1e300


def solve_grid(cost, a: Tensor, b: Tensor, g: Tensor | None, settings: Settings, progress):
    """Solve problems on one regular grid, a few at a time so that they stay in cache.

    Weights have shape (n_problems, n), zeros allowed; from given g the final epsilon comes first.
    """
    largest = sum(float(axis.max()) for axis in cost.axis_costs())
    arrival = Arrival(settings.tol, largest / settings.epsilon)

    def solve(problems: slice, own: Progress) -> Iterate:
        kernel, b_own = GridKernel(cost, a[problems], b[problems]), b[problems]
        if g is None:
            zeros = torch.zeros_like(b_own)
            start = anneal(kernel, b_own, kernel.scale(), lambda _: zeros, settings, own)
        else:
            start = g[problems]
        h = start / settings.epsilon
        epsilon = settings.epsilon
        return iterate(kernel, h, b_own, epsilon, arrival, own, memory=settings.memory)

    n_problems, n = b.shape
    return _in_turn(row_tiles(n_problems, n, _BATCH_ENTRIES), solve, progress)


def solve_batch(costs, a: Tensor, b: Tensor, g: Tensor | None, settings: Settings, progress):
    """Solve problems that share their costs: together where scalings allow it, else in turn.

    Weights have shape (n_problems, n), (n_problems, m), as g where it is given.
    """
    is_narrow = costs.magnitude() / settings.epsilon <= _BATCH_RANGE
    is_narrow &= not any(bool(((w > 0) & (w <= DOUBLE_WEIGHT)).any()) for w in (a, b))
    # Only the kernel stored in float64 takes several problems at once.
    if is_narrow and settings.storage != "stream" and settings.dtype != torch.float32:
        return PairwiseSolve(costs, a, b, settings, progress).run(g)

    def solve(problem: slice, own: Progress) -> Iterate:
        start = None if g is None else g[problem]
        return solve_supported(costs, a[problem], b[problem], start, settings, own)

    return _in_turn(row_tiles(len(b), 1, 1), solve, progress)


def _in_turn(parts: Iterable[slice], solve, progress: Progress) -> Iterate:
    """Solve parts of a batch one after the other."""
    solved = []
    for part in parts:
        own = replace(progress, errors=[], n_passes=0)
        reached = solve(part, own)
        passes = reached.passes
        if passes is None:
            passes = torch.full(reached.error.shape, own.n_passes, device=reached.h.device)
        solved.append((reached.h, reached.row_log, reached.error, reached.converged, passes))
        progress.merge(own)
    fields = zip(*solved, strict=True)
    return Iterate(*(torch.cat(field) for field in fields))


def solve_supported(costs, a: Tensor, b: Tensor, g: Tensor | None, settings: Settings, progress):
    """Solve one problem on the points that carry mass, and extend its potentials to the others.

    Weights have shape (1, n), (1, m), as g where it is given.
    """
    lightest = lightest_weight(settings.dtype)
    rows, columns = a[0] > lightest, b[0] > lightest
    if bool(rows.all()) and bool(columns.all()):
        return PairwiseSolve(costs, a, b, settings, progress).run(g)
    support = costs.select(rows, columns)
    start = None if g is None else g[:, columns]
    solve = PairwiseSolve(support, a[:, rows], b[:, columns], settings, progress)
    reached = solve.run(start)
    h = torch.full_like(b[0], _NOTHING)
    h[columns] = reached.h[0]
    arrival = Arrival(settings.tol, costs.range / settings.epsilon)
    h, row_log, is_settled = _settle(costs, a[0], b[0], h, columns, settings.epsilon, arrival)
    converged = reached.converged & is_settled
    return Iterate(h[None], row_log[None], reached.error, converged)


def lightest_weight(dtype: torch.dtype | None) -> float:
    """Weight from which on points take part in the iteration.

    Exponents are cut relative to the largest of their row, whatever the weights: what is cut has to
    be less than what the lightest point weighs.
    """
    return SINGLE_WEIGHT if dtype == torch.float32 else DOUBLE_WEIGHT


def _settle(
    costs, a: Tensor, b: Tensor, h: Tensor, known: Tensor, epsilon: float, arrival: Arrival
) -> tuple[Tensor, Tensor, bool]:
    """Extend h of shape (m,) from the columns that are known to all, by exact half steps.

    Without any mass one half step is all that is needed. Points of next to no mass on both sides
    depend on each other: half steps are repeated until their potentials belong together. Returns h,
    the logarithm of the row sums at it, of shape (n,), and whether they do.
    """
    log_a, log_b = (torch.where(w > 0, w, 1.0).log().masked_fill(w == 0, _NOTHING) for w in (a, b))
    n_steps = _SETTLING if bool(((b > 0) & ~known).any()) else 1
    solved = h
    for _ in range(n_steps):
        row_log = row_logsumexp(costs, h + log_b, epsilon)
        following = -column_logsumexp(costs, log_a - row_log, epsilon)
        # The iteration has settled the others.
        following = torch.where(known, solved, following)
        step = torch.where(b > 0, following - h, 0.0).abs().amax()
        h = following
        if bool(arrival.reached(torch.zeros_like(step), step)):
            break
    row_log = row_logsumexp(costs, h + log_b, epsilon)
    return h, row_log, n_steps == 1 or bool(arrival.reached(torch.zeros_like(step), step))
