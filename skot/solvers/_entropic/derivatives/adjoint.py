"""Sums under plans, and the transposed derivative of everything that follows the potentials."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from skot.numerics.tiles import TILE_ENTRIES, row_tiles
from skot.solvers._entropic.derivatives.cost_derivatives import cost_derivatives
from skot.solvers._entropic.derivatives.linearization import LinearizedPlan
from skot.solvers._entropic.derivatives.plan_entries import plan_tiles

#: Entries of the problems of a batch that are worked on together; fewer where each problem has
#: points of its own, so that a tile holds whole problems.
_CHUNK_ENTRIES, _OWN_CHUNK_ENTRIES = 2**22, TILE_ENTRIES


@dataclass
class Solution:
    """One solved problem, or several that share their costs, as plain tensors.

    Attributes
    ----------
    costs : PointLogits, MatrixLogits or GridLogits
        Costs in scaled units, without a graph.
    cost : object
        Ground cost.
    points : tuple of Tensor
        The points or the matrix, in the caller's units; with an axis of problems in front where
        each has its own. `costs` then has a method ``select_problems(slice)``, and its tiles of
        logits have shape (n_problems, r, m).
    a, b : Tensor of shape (n_problems, n), (n_problems, m)
        Weights.
    f, g : Tensor of shape (n_problems, n), (n_problems, m)
        Potentials in the caller's units, with ``<a, f> = <b, g>``.
    h : Tensor of shape (n_problems, m)
        Target potentials over epsilon, in the units of `costs`.
    epsilon, scaled_epsilon : float or Tensor of shape (n_problems,)
        Regularisation in the caller's units and in those of `costs`.
    storage : {"auto", "kernel", "stream"}
        Whether plans are kept.
    moves : bool
        Whether gradients of the points are asked for.
    """

    costs: Any
    cost: Any
    points: tuple[Tensor, ...]
    a: Tensor
    b: Tensor
    f: Tensor
    g: Tensor
    h: Tensor
    epsilon: float | Tensor
    scaled_epsilon: float | Tensor
    storage: str = "auto"
    moves: bool = False
    _linearized: LinearizedPlan | None = field(default=None, repr=False)
    _parts: "list[tuple[slice, Solution]] | None" = field(default=None, repr=False)

    def select(self, problem: int) -> "Solution":
        """One problem of a batch, as a batch of one."""
        if len(self.a) == 1:
            return self
        return self._part(slice(problem, problem + 1))

    def parts(self) -> "list[tuple[slice, Solution]]":
        """Problems that are worked on together: which they are, and their solutions."""
        n_problems, entries = len(self.a), self.costs.shape[0] * self.costs.shape[1]
        if self._parts is not None:
            return self._parts
        chunk = _CHUNK_ENTRIES
        if self.has_own_points:
            chunk = min(chunk, _OWN_CHUNK_ENTRIES)
        slices = list(row_tiles(n_problems, entries, chunk))
        if len(slices) == 1:
            return [(slices[0], self)]
        parts = [(problems, self._part(problems)) for problems in slices]
        if n_problems * entries <= _CHUNK_ENTRIES:
            # With their linear systems, as one part would be.
            self._parts = parts
        return parts

    @property
    def has_own_points(self) -> bool:
        """Whether every problem has clouds, or a matrix, of its own."""
        return bool(self.points) and self.points[0].ndim == 3

    def _part(self, problems: slice) -> "Solution":
        fields = {name: getattr(self, name)[problems] for name in ("a", "b", "f", "g", "h")}
        for name in ("epsilon", "scaled_epsilon"):
            value = getattr(self, name)
            fields[name] = value[problems] if isinstance(value, Tensor) else value
        if self.has_own_points:
            fields["points"] = tuple(points[problems] for points in self.points)
            fields["costs"] = self.costs.select_problems(problems)
        return replace(self, **fields, _linearized=None, _parts=None)

    def linearized(self) -> LinearizedPlan:
        """Linear system of the potentials; kept, as further products with it will be asked for."""
        if self._linearized is None:
            self._linearized = LinearizedPlan(
                self.costs, self.a, self.b, self.h, self.scaled_epsilon, self.storage
            )
        return self._linearized


def plan_averages(solution: Solution, scale: Tensor) -> tuple[Tensor, ...]:
    """Gradients of ``sum_k scale_k <P_k, C>`` with respect to the points, for fixed plans.

    There is one factor a problem, and one gradient for each of the points.
    """
    shared = None if solution.has_own_points else cost_derivatives(solution.cost, solution.points)
    slopes = []
    for problems, part in solution.parts():
        derivatives = shared or cost_derivatives(part.cost, part.points)
        weights = (scale[problems, None] * part.a)[:, :, None]
        plan = plan_tiles(part.costs, part.b, part.h, part.scaled_epsilon)
        for rows, tile in plan:
            weighted = weights[:, rows] * tile
            derivatives.accumulate(rows, weighted.sum(0) if shared else weighted)
        if not shared:
            slopes.append(derivatives.gradients())
    if shared:
        return shared.gradients()
    return tuple(torch.cat(one) for one in zip(*slopes, strict=True))


def pull_back(
    solution: Solution, problems: slice, kind: str | None, on_f, on_g, scale, first, second
):
    """Transpose of the derivative of potentials, and of ``<P, D>``, by one solve of the system.

    `solution` has the problems `problems` of a batch, whose upstream gradients of the potentials
    are `on_f`, `on_g`, of shape (n_all, n), (n_all, m), None for zero. `first` and `second` are
    what D is made of, by `kind`: the derivative of the cost along "tangents" of the points, a
    product of "factors", a matrix of "entries", or None for nothing; `scale`, (n_all,), are its
    factors.

    Returns ``<P, D>`` of shape (n_problems,), and the gradients of the weights and the points.
    """
    plan, epsilon = solution.linearized(), solution.epsilon
    if isinstance(epsilon, Tensor):
        epsilon = epsilon[:, None]
    if solution.has_own_points and kind == "tangents":
        first, second = (None if t is None else t[problems] for t in (first, second))
    on_f = torch.zeros_like(solution.f) if on_f is None else on_f[problems]
    on_g = torch.zeros_like(solution.g) if on_g is None else on_g[problems]
    scale = torch.ones_like(on_f[:, 0]) if scale is None else scale[problems]
    tangents = (first, second)[: len(solution.points)] if kind == "tangents" else None
    derivatives = cost_derivatives(solution.cost, solution.points, tangents)
    direction = _direction(kind, derivatives, first, second)
    # P = a b exp((f + g - C) / epsilon): with f and g, <P, D> changes by the row and column sums
    # of P * D over epsilon, which join what comes from above.
    along_rows, along_columns = torch.zeros_like(on_f), torch.zeros_like(on_g)
    if direction is not None:
        for rows, tile in plan.tiles():
            weighted = tile * direction(rows)
            along_rows[:, rows] = (weighted @ plan.has_target[:, :, None])[:, :, 0]
            along_columns += (plan.has_source[:, None, rows] @ weighted)[:, 0]
    inner = (plan.has_source * along_rows).sum(1)
    along_rows, along_columns = scale[:, None] * along_rows, scale[:, None] * along_columns
    on_f = on_f + plan.has_source * along_rows / epsilon
    on_g = on_g + plan.has_target * along_columns / epsilon
    # The potentials are fixed by <a, f> = <b, g>, which changes with the weights.
    excess = 0.5 * (on_f.sum(1) - on_g.sum(1))[:, None]
    # Weights count three times: as factors of P, in that condition, and in the half steps that
    # define the potentials (f sums over targets with b, g over sources with a).
    on_a = along_rows / plan.source - excess * solution.f
    on_b = along_columns / plan.target + excess * solution.g
    row, column = _solve_transposed(plan, on_f - excess * solution.a, on_g + excess * solution.b)
    on_a = on_a - epsilon * plan.product(column) / plan.source
    on_b = on_b - epsilon * plan.transposed_product(row) / plan.target
    if not solution.moves:
        return inner, on_a, on_b, ()
    # Along tangents D changes with the points too.
    moves = kind == "tangents" and direction is not None
    slopes = _slopes(solution, derivatives, direction, moves, scale, row, column)
    return inner, on_a, on_b, slopes


def _slopes(
    solution: Solution,
    derivatives,
    direction: Callable[[slice], Tensor] | None,
    moves: bool,
    scale: Tensor,
    row: Tensor,
    column: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of the points from multipliers (n_problems, n), (n_problems, m) of the half steps.

    `moves` tells whether D of `direction` changes with the points.
    """
    plan, epsilon = solution.linearized(), solution.epsilon
    if isinstance(epsilon, Tensor):
        epsilon = epsilon[:, None, None]
    # An entry of the cost stands in both half steps, which pass on the multipliers of its row and
    # its column times the plan, and in P itself.
    carried_row, carried_column = plan.has_source, plan.has_target
    column = column[:, None]
    for rows, tile in plan.tiles():
        here = carried_row[:, rows, None]
        weights = tile * (row[:, rows, None] * carried_column[:, None] + column * here)
        plans = None
        if direction is not None:
            plans = tile * (here * scale[:, None, None]) * carried_column[:, None]
            weights -= plans * direction(rows) / epsilon
        if not moves:
            plans = None
        if not solution.has_own_points:
            weights, plans = weights.sum(0), None if plans is None else plans.sum(0)
        derivatives.accumulate(rows, weights, plans)
    return derivatives.gradients()


def _direction(kind, derivatives, first, second) -> Callable[[slice], Tensor] | None:
    """From a slice of rows to these rows of D, shape (r, m); None where all are zero."""
    if kind == "entries":
        entries = first.double()
        return lambda rows: entries[rows]
    if kind == "factors":
        left, right = (t.double().reshape(len(t), -1) for t in (first, second))
        return lambda rows: left[rows] @ right.T
    return derivatives.directional if derivatives.has_tangents else None


def _solve_transposed(plan: LinearizedPlan, on_f: Tensor, on_g: Tensor) -> tuple[Tensor, Tensor]:
    """Solve the system: multipliers of the two softmin equations over the sums of the plan."""
    has_source, has_target = plan.has_source, plan.has_target
    # Points without mass follow the others, which do not follow them.
    row = on_f * (1.0 - has_source)
    column = on_g * (1.0 - has_target) / plan.column_sums
    on_row = on_f
    if not bool(has_target.all()):
        on_row = on_row - plan.product(column)
    # The equations of the rows are diagonal in the rows: eliminated, they leave the system over
    # targets that the plan solves, and its solution gives the rows.
    eliminated = row + has_source * on_row / plan.source
    column = column + plan.solve(on_g, plan.transposed_product(eliminated))
    row = row + has_source * (on_f - plan.product(column)) / plan.source
    return row, column
