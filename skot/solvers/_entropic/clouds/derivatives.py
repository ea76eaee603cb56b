"""What the derivatives of a batch of different clouds are made of.

Values and potentials of a whole batch are differentiated together, those of a plan as the ones of a
single problem, in the coordinates of the batch.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from skot.solvers._entropic.clouds.input import CloudBatch
from skot.solvers._entropic.clouds.rounds import CloudState
from skot.solvers._entropic.derivatives.adjoint import Solution
from skot.solvers._entropic.derivatives.functions import SolvedOnce

#: Rows in the estimate of the scale of the costs.
_SCALE_ROWS = 128


class CloudTiles:
    """Logits of some problems of a batch, an index of shape (k,), a few rows at a time."""

    def __init__(self, clouds, index: Tensor, shape: tuple[int, int]):
        self._clouds, self._index, self.shape = clouds, index, shape

    @property
    def scale(self) -> Tensor:
        """Mean cost above the least of its row, over some rows, shape (k,)."""
        ones = self._clouds.unit[self._index].new_ones(len(self._index))
        zeros = ones[:, None].expand(-1, self.shape[1]) - 1.0
        rows = slice(0, None, -(-self.shape[0] // _SCALE_ROWS))
        exponents = self._clouds.exponents(self._index, ones, zeros, rows=rows)
        return (exponents.amax(2, keepdim=True) - exponents).mean((1, 2))

    def select_problems(self, problems: slice) -> "CloudTiles":
        """Some of these problems."""
        return CloudTiles(self._clouds, self._index[problems], self.shape)

    def logit_tiles(self, h: Tensor, epsilon: Tensor, dtype: torch.dtype) -> Callable[..., Tensor]:
        """Return a function from rows to a new tile of logits, shape (k, len(rows), m).

        Of potentials over epsilon with all that belongs to columns, (k, m).
        """
        clouds, index = self._clouds, self._index
        return lambda rows: clouds.exponents(index, epsilon, h, given=True, rows=rows).to(dtype)


def cloud_solution(state: CloudState, batch: CloudBatch, f: Tensor, g: Tensor) -> Solution:
    """Solution of a batch, as the adjoint takes it, with points of each problem.

    Potentials have shape (n_problems, n), (n_problems, m) and are in the caller's units.
    """
    index = torch.arange(batch.n_problems, device=f.device)
    # Padding repeats the first point, and so its potential.
    h = torch.where(batch.inside[1], state.h, state.h[:, :1])
    return Solution(
        costs=CloudTiles(state.costs, index, batch.shape),
        cost=batch.cost,
        points=batch.points,
        a=state.a,
        b=state.b,
        f=f,
        g=g,
        h=h,
        epsilon=batch.epsilons,
        scaled_epsilon=state.epsilon,
    )


class CloudPlanGraph:
    """What the plan of one problem of a batch depends on, padding cut off."""

    def __init__(self, state: CloudState, once: SolvedOnce, batch: CloudBatch, problem: int):
        self._batch, self._state, self._once = batch, state, once
        self._problem, self._size = problem, tuple(sizes[problem] for sizes in batch.sizes)
        self.solve = SolvedOnce(self._single)

    def inputs(self) -> tuple[Tensor, ...]:
        """Weights of shape (1, n_i) and (1, m_i), and the points of the problem."""
        (n, m), chosen = self._size, slice(self._problem, self._problem + 1)
        a, b = self._batch.a[chosen, :n], self._batch.b[chosen, :m]
        return a, b, *self._points(self._batch.points)

    def _points(self, points: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Points, or the matrix, of the problem."""
        i, (n, m) = self._problem, self._size
        if len(points) == 1:
            return (points[0][i, :n, :m],)
        return points[0][i, :n], points[1][i, :m]

    def _single(self, *_) -> Solution:
        solution = self._once().select(self._problem)
        n, m = self._size
        return replace(
            solution,
            costs=self._state.costs.single(self._problem).costs,
            points=self._points(self._once().points),
            a=solution.a[:, :n],
            b=solution.b[:, :m],
            f=solution.f[:, :n],
            g=solution.g[:, :m],
            h=solution.h[:, :m],
            epsilon=float(solution.epsilon),
            scaled_epsilon=float(solution.scaled_epsilon),
            _linearized=None,
            _parts=None,
        )
