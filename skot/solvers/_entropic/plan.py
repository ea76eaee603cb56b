"""The entropic plan, known by its potentials and formed only where it is asked for."""

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from skot.numerics.softmax import softmax_tile
from skot.numerics.tiles import row_tiles
from skot.solvers._entropic.derivatives.functions import (
    PlanEntries,
    PlanGraph,
    PlanProduct,
    needs_graph,
)
from skot.solvers._entropic.sparse_plan import SparsePlan, sparse_plan


class EntropicPlan:
    r"""Plan of one entropic problem, evaluated tile by tile.

    .. math:: P_{ij} = a_i b_j \exp\big((f_i + g_j - C_{ij}) / \epsilon\big)

    The source potential is always the exact half step of the target potential, so the source
    marginal holds to rounding; the target marginal holds to the marginal error of the solve.

    Products and the array follow the inputs of the solve that require a gradient; tiles, marginals
    and the cost are plain numbers without one.

    Parameters
    ----------
    costs : PointLogits or MatrixLogits
        The costs.
    a, b : Tensor of shape (n,), (m,)
        Weights.
    h : Tensor of shape (m,)
        Target potential over epsilon, in the units of `costs`.
    epsilon : float
        Regularisation in the units of `costs`.
    unit : float
        Cost in the caller's units per unit of `costs`.
    constant : tuple of (Tensor of shape (n,), Tensor of shape (m,))
        Row and column terms of the caller's costs which `costs` leaves out.
    """

    def __init__(self, costs, a: Tensor, b: Tensor, h: Tensor, epsilon: float, unit, constant):
        self._graph: PlanGraph | None = None
        self._costs = costs
        self._a, self._b = a, b
        self._h, self._epsilon = h, epsilon
        self._unit, self._constant = unit, constant

    @property
    def shape(self) -> tuple[int, int]:
        """Number of source and target points."""
        return self._costs.shape

    def tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Form the plan a few rows at a time.

        Yields
        ------
        rows : slice
            Which rows.
        tile : Tensor of shape (len(rows), m)
            Their entries, in float64.
        """
        # Exponents are cut where they would cost time: no mass is said once more.
        empty = self._b == 0
        has_empty = bool(empty.any())
        log_b = torch.where(empty, -1e300, self._b.log())
        tile = self._costs.logit_tiles(self._h + log_b, self._epsilon, torch.float64)
        for rows in row_tiles(*self.shape):
            plan = softmax_tile(tile(rows))[0].mul_(self._a[rows, None])
            yield rows, plan.masked_fill_(empty, 0.0) if has_empty else plan

    def apply(self, values: Tensor) -> Tensor:
        """Plan times values given on the targets.

        Parameters
        ----------
        values : Tensor of shape (m,) or (m, k)
            One or several columns.

        Returns
        -------
        product : Tensor of shape (n,) or (n, k)
            ``P @ values``. Memory O(n k + m k). Differentiable once in the inputs of the solve.
        """
        return self._differentiable_product(values, transposed=False)

    def apply_transpose(self, values: Tensor) -> Tensor:
        """Transposed plan times values given on the sources.

        Parameters
        ----------
        values : Tensor of shape (n,) or (n, k)
            One or several columns.

        Returns
        -------
        product : Tensor of shape (m,) or (m, k)
            ``P.T @ values``. Memory O(n k + m k). Differentiable once in the inputs of the solve.
        """
        return self._differentiable_product(values, transposed=True)

    def _differentiable_product(self, values: Tensor, *, transposed: bool) -> Tensor:
        values = values.to(self._a)
        if self._graph is not None:
            inputs = self._graph.inputs()
            if needs_graph(values, *inputs):
                return PlanProduct.apply(
                    self._multiply, self._graph.solve, transposed, values, *inputs
                )
        elif needs_graph(values):
            inputs = self._a, self._b
            return PlanProduct.apply(self._multiply, None, transposed, values, *inputs)
        return self._multiply(values, transposed)

    def _multiply(self, values: Tensor, transposed: bool) -> Tensor:
        """Plan, or its transpose, times values of shape (m, ...) or (n, ...), without a graph."""
        values = values.detach()
        if not transposed:
            return torch.cat([tile @ values for _, tile in self.tiles()])
        product = values.new_zeros(self.shape[1], *values.shape[1:])
        for rows, tile in self.tiles():
            product += tile.T @ values[rows]
        return product

    def toarray(self) -> Tensor:
        """Form the plan.

        Returns
        -------
        plan : Tensor of shape (n, m)
            In float64. Memory O(n m). Differentiable once in the inputs of the solve.
        """
        if self._graph is not None:
            inputs = self._graph.inputs()
            if needs_graph(*inputs):
                return PlanEntries.apply(self._form, self._graph.solve, *inputs)
        return self._form()

    def _form(self) -> Tensor:
        """Plan without a graph, shape (n, m)."""
        return torch.cat([tile for _, tile in self.tiles()])

    def tosparse(self, mass: float = 0.99, max_per_row: int | None = None) -> SparsePlan:
        """Keep, of every row, the fewest entries that hold a share of its mass.

        A share of every row, and not of the whole plan: so no row is left without its partners,
        however little it weighs, and what rows are averaged to is right for each of them. Columns
        have no such bound; ``plan.sum(axis=0)`` of the result says what is left of them.

        Parameters
        ----------
        mass : float, default=0.99
            Share of each row that is kept at least, in (0, 1]. 1 keeps all that is not zero,
            which is the whole of most entropic plans.
        max_per_row : int, default=None
            Most entries of a row. Rows that need more for their share lose mass, which
            ``lost_mass`` counts.

        Returns
        -------
        result : SparsePlan
            The array in float64, plain numbers without a gradient, and the mass of what is left
            out. Memory: 12 bytes an entry that is kept, and a few tiles; time: that of forming the
            plan and of sorting its rows, once.

        Raises
        ------
        TypeError
            If `mass` is not a number or `max_per_row` not an integer.
        ValueError
            If they are out of range, and for a plan with entries that are not numbers.

        Examples
        --------
        >>> import torch
        >>> from skot.solvers import sinkhorn
        >>> x = torch.linspace(0.0, 1.0, 200, dtype=torch.float64)[:, None]
        >>> sparse = sinkhorn(x, x + 0.5, epsilon=0.001).plan.tosparse(mass=0.9)
        >>> sparse.plan.shape, sparse.plan.nnz < 4000, sparse.lost_mass < 0.1
        ((200, 200), True, True)
        """
        return sparse_plan(self.tiles(), self.shape, mass=mass, max_per_row=max_per_row)

    def marginals(self) -> tuple[Tensor, Tensor]:
        """Return the sums of the plan along its rows and its columns.

        Returns
        -------
        source, target : Tensor of shape (n,), (m,)
            The marginals that the plan has, as plain numbers: multiply by ones for a gradient.
        """
        source, target = torch.zeros_like(self._a), torch.zeros_like(self._b)
        for rows, tile in self.tiles():
            source[rows] = tile.sum(1)
            target += tile.sum(0)
        return source, target

    @cached_property
    def cost(self) -> float:
        """Transport cost ``<C, P>`` of the plan, from one pass over the tiles."""
        scaled = self._costs.logit_tiles(torch.zeros_like(self._h), 1.0, torch.float64)
        total = 0.0
        target = torch.zeros_like(self._b)
        for rows, tile in self.tiles():
            total -= float((tile * scaled(rows)).sum())
            target += tile.sum(0)
        total += float(self._a @ self._costs.row_constant)
        row, column = self._constant
        return self._unit * total + float(self._a @ row) + float(target @ column)


def attach_graph(plan: EntropicPlan, graph: PlanGraph) -> None:
    """Make the products and the array of a plan differentiable."""
    plan._graph = graph


class DeferredPlan(EntropicPlan):
    """A plan that is made when something is first asked of it: most are not."""

    def __init__(self, make: Callable[[], EntropicPlan]):
        self._make = make

    def __getattr__(self, name: str):
        # Only called for what is not there: nothing is, before the first call.
        make = self.__dict__.pop("_make", None)
        if make is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.__dict__.update(make().__dict__)
        return getattr(self, name)
