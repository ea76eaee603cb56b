"""Batches of different clouds: many small problems in one iteration, the rest one by one.

What is small and narrow is iterated together (:mod:`skot.solvers._entropic.clouds.rounds`). What is
left then, and what the exponentials cannot hold, is given to the solver of one problem.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, linalg

from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.batches import solve_supported
from skot.solvers._entropic.clouds.costs import cloud_costs
from skot.solvers._entropic.clouds.derivatives import CloudPlanGraph, cloud_solution
from skot.solvers._entropic.clouds.input import CloudBatch
from skot.solvers._entropic.clouds.rounds import ChunkRound, CloudState, Record
from skot.solvers._entropic.derivatives.adjoint import Solution
from skot.solvers._entropic.derivatives.functions import (
    DualValue,
    PlanGraph,
    Potentials,
    SolvedOnce,
    is_differentiated,
    needs_graph,
)
from skot.solvers._entropic.iteration import Progress
from skot.solvers._entropic.lean.kernel import is_shared
from skot.solvers._entropic.lean.problem import plain_arrays, read_lean, solve_lean_problem
from skot.solvers._entropic.plan import DeferredPlan, EntropicPlan, attach_graph
from skot.solvers._entropic.settings import Settings
from skot.solvers.initializers import Initializer, ZerosInitializer
from skot.utils._threads import SerialBlas
from skot.utils.tensors import to_tensor

#: Entries of the kernels of a chunk: on a CPU they stay in its second cache. Beyond so many entries
#: of one problem, problems are as fast one by one.
_CHUNK_ENTRIES, _LARGE = 2**17, 2**13
#: The same where the memory of the device is the limit.
_DEVICE_CHUNK_ENTRIES, _DEVICE_LARGE = 2**27, 2**22
#: Range of the costs, in units of epsilon, from which annealing pays; and that from which Newton's
#: method does, on a CPU and below the tolerance. Only the solver of one problem has them.
_WIDE, _WIDE_TIGHT, _TIGHT_TOL = 3000.0, 500.0, 1e-4
#: Passes after which what has not arrived is put into new chunks, on a CPU and elsewhere, and how
#: few problems are then better off one by one.
_ROUNDS, _DEVICE_ROUNDS, _FEW = (72, 120), (72, 120, 240, 480), 4


class CloudSolution(NamedTuple):
    """The fields of a :class:`skot.solvers.SinkhornResult`, for a batch of clouds."""

    f: Tensor
    g: Tensor
    plan: tuple[EntropicPlan, ...]
    marginal_error: Tensor
    converged: Tensor
    dual_value: Tensor
    n_iter: int
    errors: tuple[float, ...]
    epsilon: "float | Tensor"
    passes: Tensor


def cut_out(state: CloudState, i: int, graph: PlanGraph | None = None) -> EntropicPlan:
    """Plan of one problem of a solved batch, and what it depends on."""
    single = state.costs.single(i)
    n, m = single.costs.shape
    weights, h = (state.a[i, :n], state.b[i, :m]), state.h[i, :m]
    constant = single.row, single.column
    epsilon = float(state.epsilon[i])
    plan = EntropicPlan(single.costs, *weights, h, epsilon, single.unit, constant)
    if graph is not None:
        attach_graph(plan, graph)
    return plan


class CloudSolve:
    """The solve of one batch of different clouds; the epsilon of `settings` is not looked at."""

    def __init__(self, batch: CloudBatch, settings: Settings, record: Record):
        self.batch, self._settings, self._record = batch, settings, record
        self.costs = cloud_costs(batch)
        self.epsilon = batch.epsilons / self.costs.unit
        self.state = CloudState(self.costs, batch, self.epsilon, settings.tol)

    def run(self, g: Tensor | None) -> CloudSolution:
        """Solve in the caller's units, from g of shape (n_problems, m) where it is given."""
        state, record = self.state, self._record
        start = None
        if g is not None:
            start = (g - self.costs.column) / (self.costs.unit * self.epsilon)[:, None]
            state.h = start.clone()
        n, m = self.batch.shape
        is_small = n * m <= (_LARGE if state.h.device.type == "cpu" else _DEVICE_LARGE)
        if is_small and self._settings.dtype != torch.float32:
            self._iterate_together(is_warm=start is not None)
        state.measure(state.arrived, record)
        solved = state.arrived.clone()
        left = state.lost | (state.passes == 0)
        if not record.stopped:
            left |= state.passes < record.max_iter
        for i in torch.nonzero(left & ~solved)[:, 0].tolist():
            self._solve_single(i, start)
            state.is_clamped[i] = is_small  # the same is asked of every small problem
        state.measure(~solved, record)
        return self._translate()

    def _iterate_together(self, *, is_warm: bool) -> None:
        """Rounds of growing length, until few passes are left or every problem has arrived."""
        state, record = self.state, self._record
        n, m = self.batch.shape
        memory = self._settings.memory
        on_cpu = state.h.device.type == "cpu"
        budgets: tuple[int, ...] = _DEVICE_ROUNDS
        entries, widest = _DEVICE_CHUNK_ENTRIES, _WIDE
        if on_cpu:
            budgets, entries = _ROUNDS, _CHUNK_ENTRIES
            if memory > 0 and self._settings.tol < _TIGHT_TOL:
                widest = _WIDE_TIGHT
        if memory == 0:
            budgets = (record.max_iter,)
        todo = self.costs.range / self.epsilon <= widest
        n_passes = 0
        for budget in budgets:
            budget = min(budget, record.max_iter - n_passes)
            index = torch.nonzero(todo)[:, 0]
            for rows in row_tiles(len(index), n * m, entries):
                chunk = ChunkRound(state, record, index[rows], n_passes, memory, is_warm)
                chunk.run(budget)
            n_passes, is_warm = n_passes + budget, False
            todo &= ~(state.arrived | state.lost | state.slow)
            n_left = int(todo.sum())
            if n_left == 0 or record.is_over(n_passes) or (memory > 0 and n_left < _FEW):
                return

    def _solve_plain(self, i: int) -> bool:
        """Give one fresh problem straight to the core in NumPy, if it is plain."""
        state, record, batch = self.state, self._record, self.batch
        if record.on_iteration is not None or not self._settings.annealing:
            return False
        n, m = batch.sizes[0][i], batch.sizes[1][i]
        if len(batch.points) != 2:
            return False
        x, y = batch.points[0][i, :n], batch.points[1][i, :m]
        a, b = state.a[i, :n], state.b[i, :m]
        arrays = plain_arrays(batch.cost, x, y, a, b, self._settings)
        if arrays is None:
            return False
        own = Progress(record.max_iter)
        epsilon = float(batch.epsilons[i])
        with SerialBlas(is_shared(n, m, arrays[0].shape[1])), np.errstate(all="ignore"):
            problem = read_lean(*arrays)
            if problem is None:
                return False
            solution = solve_lean_problem(problem, replace(self._settings, epsilon=epsilon), own)
        # Both centre the clouds, so their coordinates agree up to rounding and the unit.
        state.h[i, :m] = torch.from_numpy(solution.h)
        state.row_log[i, :n] = torch.from_numpy(solution.row_log)
        record.note(own.n_passes, solution.error)
        state.error[i], state.passes[i] = solution.error, own.n_passes
        state.arrived[i] = solution.converged
        return True

    def _solve_single(self, i: int, start: Tensor | None) -> None:
        """Give one problem to the solver of one problem."""
        state, record = self.state, self._record
        if start is None and int(state.passes[i]) == 0 and self._solve_plain(i):
            return
        single = self.costs.single(i)
        n, m = single.costs.shape
        # A pass more where none is left: a potential that was lost is no result.
        used = min(int(state.passes[i]), record.max_iter - 1)
        h = state.h[i] if used > 0 and not bool(state.lost[i]) else None
        if h is None and start is not None:
            h = start[i]
        epsilon = float(self.epsilon[i])
        own = Progress(1 if record.stopped else record.max_iter - used, unit=single.unit)
        if record.on_iteration is not None:
            own.on_iteration = partial(record.tell_of_one, used)
        g = None if h is None else epsilon * h[None, :m]
        settings = replace(self._settings, epsilon=epsilon)
        a, b = state.a[i : i + 1, :n], state.b[i : i + 1, :m]
        reached = solve_supported(single.costs, a, b, g, settings, own)
        record.note(used + own.n_passes, float(reached.error[0]))
        constant = (self.costs.row_constant[i, :n] - single.costs.row_constant) / epsilon
        state.h[i, :m], state.row_log[i, :n] = reached.h[0], reached.row_log[0] + constant
        state.error[i], state.passes[i] = reached.error[0], used + own.n_passes
        state.arrived[i] = reached.converged[0]

    def _translate(self) -> CloudSolution:
        """Potentials in the caller's units, and the plans."""
        state, costs, batch = self.state, self.costs, self.batch
        unit, epsilon = costs.unit[:, None], self.epsilon[:, None]
        # As for one problem (`_translate` in `sinkhorn.py`): half step, units, terms of one side,
        # and the gauge.
        f = unit * (costs.row_constant - epsilon * state.row_log) + costs.row
        g = unit * epsilon * state.h + costs.column
        gauge = 0.5 * (linalg.vecdot(state.a, f) - linalg.vecdot(state.b, g))[:, None]
        inside_x, inside_y = batch.inside
        f, g = torch.where(inside_x, f - gauge, 0.0), torch.where(inside_y, g + gauge, 0.0)
        return CloudSolution(
            f=f,
            g=g,
            plan=tuple(DeferredPlan(partial(cut_out, state, i)) for i in range(len(f))),
            marginal_error=state.error,
            converged=state.arrived,
            dual_value=linalg.vecdot(state.a, f) + linalg.vecdot(state.b, g),
            n_iter=self._record.n_passes,
            errors=self._record.errors,
            epsilon=batch.reported_epsilon,
            passes=state.passes,
        )


def check_cloud_options(settings: Settings, class_cost) -> None:
    """Raise a ValueError for what is out of range, or what batches of clouds do not take."""
    replace(settings, epsilon=1.0).check()
    if class_cost is not None:
        raise ValueError("class_cost is not available for a batch of clouds: solve one at a time.")
    if settings.storage == "stream":
        raise ValueError("storage must be 'auto' or 'kernel' for a batch of clouds. Got 'stream'.")


def solve_clouds(
    batch: CloudBatch, settings: Settings, initializer, max_iter: int, on_iteration
) -> CloudSolution:
    """Solve a batch of different clouds, whose regularisations are its own.

    Potentials to start from have shape (n_problems, m); each problem has `max_iter` passes.
    """
    record = Record(max_iter, on_iteration, batch.reported_epsilon)
    groups = batch.groups()

    def solve_group(index: list[int]) -> CloudSolution:
        part = batch if len(groups) == 1 else batch.select(index)

        def solve(*inputs: Tensor) -> tuple[CloudSolve, CloudSolution]:
            plain = part.plain(*inputs)
            with torch.no_grad():
                # Made here for the sake of transforms of `torch.func`, which wrap all new tensors.
                g = _initial_potentials(initializer, batch, settings.annealing, plain.a.device)
                start = g if g is None or part is batch else g[index, : part.shape[1]]
                solver = CloudSolve(plain, settings, record)
                return solver, solver.run(start)

        if is_differentiated(*part.inputs):
            return _differentiable(part, solve, settings)
        return solve(*part.inputs)[1]

    parts = [solve_group(index) for index in groups]
    return parts[0] if len(parts) == 1 else _join(batch, groups, parts)


def _differentiable(batch: CloudBatch, solve, settings: Settings) -> CloudSolution:
    """Solution whose tensors follow the inputs that require a gradient."""
    solved: list[tuple[CloudSolve, CloudSolution]] = []
    moves = needs_graph(*batch.points)

    def solve_plain(*inputs: Tensor) -> Solution:
        solver, reached = solve(*inputs)
        solved.append((solver, reached))
        solution = cloud_solution(solver.state, solver.batch, reached.f, reached.g)
        return replace(solution, storage=settings.storage, moves=moves)

    once = SolvedOnce(solve_plain)
    value = DualValue.apply(once, *batch.inputs)
    f, g = Potentials.apply(once, *batch.inputs)
    solver, reached = solved[0]
    inside_x, inside_y = batch.inside
    plans = (
        DeferredPlan(
            partial(cut_out, solver.state, i, CloudPlanGraph(solver.state, once, batch, i))
        )
        for i in range(batch.n_problems)
    )
    return reached._replace(
        dual_value=value,
        f=torch.where(inside_x, f, 0.0),
        g=torch.where(inside_y, g, 0.0),
        plan=tuple(plans),
    )


def _join(batch: CloudBatch, groups: list[list[int]], parts: list[CloudSolution]) -> CloudSolution:
    """Put the solutions of groups of problems back in order, padded to one shape."""
    order = torch.tensor([i for index in groups for i in index]).argsort()
    widths = {"f": batch.shape[0], "g": batch.shape[1]}
    joined = {}
    for name in ("f", "g", "dual_value", "marginal_error", "converged", "passes"):
        fields = [getattr(part, name) for part in parts]
        if name in widths:
            fields = [torch.nn.functional.pad(v, (0, widths[name] - v.shape[1])) for v in fields]
        joined[name] = torch.cat(fields)[order]
    plans = [plan for part in parts for plan in part.plan]
    # Each part has seen the errors of all before it.
    last = parts[-1]
    return CloudSolution(
        plan=tuple(plans[i] for i in order.tolist()),
        n_iter=last.n_iter,
        errors=last.errors,
        epsilon=batch.reported_epsilon,
        **joined,
    )


def _initial_potentials(
    initializer, batch: CloudBatch, annealing: bool, device: torch.device
) -> Tensor | None:
    shape = batch.b.shape
    if initializer is None and annealing:
        return None
    if initializer is None or isinstance(initializer, ZerosInitializer):
        return torch.zeros(shape, dtype=torch.float64, device=device)
    if isinstance(initializer, (Initializer, str, type)):
        raise ValueError(
            "initializer must be None, ZerosInitializer() or potentials of shape (n_problems, m) "
            f"for a batch of clouds. Got {initializer!r}."
        )
    g = to_tensor(initializer, dtype=torch.float64, device=device)
    if g.shape != shape:
        raise ValueError(
            f"initializer must hold potentials of shape {tuple(shape)}. Got shape {tuple(g.shape)}."
        )
    if not bool(torch.isfinite(g).all()):
        raise ValueError("The initial potential contains NaN or infinity.")
    return g
