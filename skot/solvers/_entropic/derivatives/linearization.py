r"""The linear system that says how potentials follow the problem, solved without a ridge.

At the optimum of :math:`P_{ij} = a_i b_j e^{(f_i + g_j - C_{ij}) / \epsilon}`, a change of the
problem and the change of its potentials satisfy

.. math::

    \begin{pmatrix} \mathrm{diag}(P 1) & P \\ P^\top & \mathrm{diag}(P^\top 1) \end{pmatrix}
    \begin{pmatrix} df \\ dg \end{pmatrix} = r,

a symmetric system that is singular along (1, -1) only. Eliminating df and scaling by the column
sums leaves a matrix with eigenvalues in [0, 1], most of them near 1, which conjugate gradients
solve in a few dozen products. The sums of the plan itself stand on the diagonal, not the weights:
between them is the error of the solve, which would be multiplied.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from sklearn import get_config
from torch import Tensor

from skot.solvers._entropic.derivatives.plan_entries import plan_entries
from skot.utils._warnings import warn_not_converged

#: Relative residuals of the system, and of one round of products in float32.
_SOLVED, _SOLVED_FLOAT32, _ROUND_FLOAT32 = 1e-10, 1e-8, 1e-4
#: What is left of terms that cancel, as a share of them.
_ROUNDING = 1e-14
_MAX_ROUNDS, _MAX_ITERATIONS = 5, 2000
#: Products after which a factorisation is taken to help: at least so many, and this share of its
#: size, where it costs about as much as that many products more.
_PATIENCE, _PATIENCE_SHARE = 60, 20
#: What keeps a factorisation from failing where groups of points exchange nothing at all: the first
#: that does. It is a preconditioner only, no part of the system.
_RIDGES = (1e-14, 1e-13, 1e-12, 1e-10)
#: L1 marginal error of the plan that is linearised, per unit of the smaller of 1 and ten relative
#: epsilons: what is reached by Newton's steps, and what is too much for four digits.
_REFINED, _TOO_LOOSE = 1e-6, 5e-5
_MAX_STEPS, _STEP_TOL, _LONGEST_STEP, _SLOW = 8, 1e-3, 5.0, 0.7


class LinearizedPlan:
    """Plans of problems that share their costs, as the matrix of the system.

    Rows and columns without mass are kept: their entries are those of a source (or a target) of
    weight one that has no influence on the others, so that they say how a potential there follows.

    Weights have shape (n_problems, n), (n_problems, m), potentials over epsilon that of the second.
    Costs with a method ``select_problems`` have tiles of logits with an axis of problems in front,
    and may have a regularisation for each. ``"auto"`` keeps the plan where it fits scikit-learn's
    ``working_memory``.

    Attributes
    ----------
    has_source, has_target : Tensor of shape (n_problems, n), (n_problems, m)
        One where there is mass, else zero.
    source, target : Tensor of shape (n_problems, n), (n_problems, m)
        The weights, and one where there is no mass.
    """

    def __init__(
        self, costs, a: Tensor, b: Tensor, h: Tensor, epsilon: float | Tensor, storage: str
    ):
        self.has_source, self.has_target = (a > 0).to(a), (b > 0).to(b)
        self.source, self.target = torch.where(a > 0, a, 1.0), torch.where(b > 0, b, 1.0)
        self._b = b
        self._entries = plan_entries(costs, self.source, self.target, b > 0, h, epsilon, storage)
        scale = torch.as_tensor(costs.scale, dtype=a.dtype, device=a.device)
        relative = 10.0 * epsilon / scale
        self._relative = torch.nan_to_num(relative, nan=1.0).clamp_max(1.0)
        self._preconditioner: Callable[[Tensor], Tensor] | None = None
        self._is_factored = False
        self._measure()
        self._refine()

    def tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Go through the entries a few rows at a time: slices, and tiles (n_problems, r, m)."""
        for rows, tile in self._entries.tiles():
            yield rows, tile * self.source[:, rows, None]

    def product(self, values: Tensor) -> Tensor:
        """Entries times values of shape (n_problems, m), shape (n_problems, n)."""
        return self.source * self._entries.product(values)

    def transposed_product(self, values: Tensor) -> Tensor:
        """Transposed entries times values of shape (n_problems, n), shape (n_problems, m)."""
        return self._entries.transposed_product(self.source * values)

    @property
    def column_sums(self) -> Tensor:
        """Sums of the entries over sources with mass, shape (n_problems, m)."""
        return self._sums

    def solve(self, left: Tensor, right: Tensor) -> Tensor:
        """Solve the system with df eliminated, for ``left - right``, all of shape (n_problems, m).

        What that has along the null vector is left out. Where the two cancel it is rounding, and
        not worth solving for. The solution is zero where there is no mass.
        """
        left, right = self._inverse_root * left, self._inverse_root * right
        scaled = left - right
        scaled = scaled - self._null * (self._null * scaled).sum(1, keepdim=True)
        rounding = _ROUNDING * (left.norm(dim=1) + right.norm(dim=1))
        tol = _SOLVED if self._entries.dtype == torch.float64 else _SOLVED_FLOAT32
        enough = torch.maximum(tol * scaled.norm(dim=1), rounding)
        solution, arrived = self._solve_scaled(scaled, enough)
        if not arrived:
            warn_not_converged(
                "The linear system of the derivatives was not solved to full accuracy."
            )
        return self._inverse_root * solution

    def _solve_scaled(self, scaled: Tensor, enough: Tensor) -> tuple[Tensor, bool]:
        """Solve the scaled system to residuals of these norms, and say whether that was reached."""
        solution, residual = torch.zeros_like(scaled), scaled
        is_exact = self._entries.dtype == torch.float64
        for _ in range(_MAX_ROUNDS):
            step = enough
            if not (is_exact or self._preconditioner):
                step = torch.maximum(enough, _ROUND_FLOAT32 * residual.norm(dim=1))
            if self._preconditioner is None:
                patience = max(_PATIENCE, scaled.shape[1] // _PATIENCE_SHARE)
                if not self._is_factorable:
                    patience = _MAX_ITERATIONS
                part, arrived = conjugate_gradients(self._apply, residual, step, patience)
            else:
                apply = partial(self._apply, precise=True)
                factor = self._preconditioner
                part, arrived = conjugate_gradients(apply, residual, step, _PATIENCE, factor)
            if not arrived and self._is_factorable and not self._is_factored:
                # For the first time, or anew where the potentials have moved since.
                self._preconditioner, self._is_factored = self._factorize(), True
            solution = solution + part
            residual = scaled - self._apply(solution, precise=True)
            allowed = torch.maximum(10.0 * enough, _ROUNDING * solution.norm(dim=1))
            if bool((residual.norm(dim=1) <= allowed).all()):
                return solution, True
        return solution, False

    @property
    def _is_factorable(self) -> bool:
        """Whether a matrix over pairs of targets fits into memory."""
        size = self._b.shape[0] * self._b.shape[1] ** 2
        return 2 * size * torch.float64.itemsize <= get_config()["working_memory"] * 2**20

    def _factorize(self) -> Callable[[Tensor], Tensor]:
        """Return the inverse of the scaled system, up to the precision in which it is kept."""
        n_problems, m = self._b.shape
        dtype = self._entries.dtype
        right, left = self._inverse_root[:, None], (self.source * self.has_source).sqrt()
        matrix = torch.zeros(n_problems, m, m, dtype=dtype, device=self._b.device)
        for rows, tile in self._entries.tiles():
            scaled = (left[:, rows, None] * tile * right).to(dtype)
            matrix.baddbmm_(scaled.transpose(1, 2), scaled, alpha=-1.0)
        matrix = matrix.double()
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        diagonal.zero_()
        # What is left of the masses after the products is what groups of points exchange: as a
        # sum of the other entries of the row it comes without cancellation, however little it is.
        kept = -(matrix @ self._null[:, :, None])[:, :, 0] / self._null
        diagonal.copy_(torch.where(self._null > 0, kept, 1.0))
        matrix += self._null[:, :, None] * self._null[:, None]
        for ridge in _RIDGES:
            diagonal += ridge
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if not bool(failed.any()):
                return lambda values: torch.cholesky_solve(values[:, :, None], factor)[:, :, 0]
        return lambda values: values

    def _apply(self, values: Tensor, *, precise: bool = False) -> Tensor:
        """Scaled Schur complement, with one in place of zero along the null vector."""
        product = self._entries.normal(
            self._inverse_root * values, self.source * self.has_source, precise=precise
        )
        along = self._null * (self._null * values).sum(1, keepdim=True)
        return values - self._inverse_root * product + along

    def _shift(self, step: Tensor) -> None:
        """Move the potentials over epsilon."""
        self._entries.shift(step)
        self._is_factored = False
        self._measure()

    def _measure(self) -> None:
        self._sums = self._entries.transposed_product(self.source * self.has_source)
        root = self._sums.sqrt()
        # A column whose entries are all below the range of floats has no influence.
        self._inverse_root = torch.where(root > 0, self.has_target / root, 0.0)
        null = root * self.has_target
        self._null = null / null.norm(dim=1, keepdim=True)

    @property
    def _error(self) -> Tensor:
        return ((self._b - self._sums).abs() * self.has_target).sum(1)

    def _refine(self) -> None:
        """Newton's steps to the accuracy that derivatives take, which they cost little beside."""
        error = self._error
        enough = _REFINED * self._relative
        left = error > enough
        for _ in range(_MAX_STEPS):
            if not bool(left.any()):
                break
            gap = self._inverse_root * (self._b - self._sums)
            step, _ = self._solve_scaled(gap, _STEP_TOL * gap.norm(dim=1))
            step = self._inverse_root * step
            # Potentials of groups that exchange next to nothing would go far beyond what the
            # linear model knows of.
            step = step * (_LONGEST_STEP / step.abs().amax(1, keepdim=True)).clamp_max(1.0)
            step = torch.where(left[:, None], step, 0.0)
            self._shift(step)
            following = self._error
            worse = left & (following > error)
            if bool(worse.any()):
                # The linear model does not hold so far from the solution: the problem stays.
                self._shift(torch.where(worse[:, None], -step, 0.0))
                following = torch.where(worse, error, following)
            left = left & (following > enough) & (following <= _SLOW * error)
            error = following
        if not bool(self.has_target.all()):
            # A potential without mass is the softmin of the others.
            extension = torch.where(self.has_target > 0, 0.0, -self._sums.log())
            self._shift(extension)
        if bool((self._error > _TOO_LOOSE * self._relative).any()):
            warn_not_converged(
                "The potentials are not accurate enough for their derivatives, which may be wrong "
                f"by more than 1e-4 of their size (marginal error {float(error.max()):.1e}). "
                "Lower tol or increase max_iter."
            )


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    values: Tensor,
    tol: Tensor,
    max_iter: int,
    precondition: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, bool]:
    """Solve symmetric positive definite systems, one a row, shape (n_problems, m).

    `apply` multiplies with the matrices, `precondition` with what is close to their inverses; norms
    of residuals to reach have shape (n_problems,). Also tells whether all systems have arrived.
    """
    solution, residual = torch.zeros_like(values), values
    moved = residual if precondition is None else precondition(residual)
    direction, inner = moved, (residual * moved).sum(1)
    for _ in range(max_iter):
        # Systems that have arrived stand still. A group of points that exchanges next to no mass
        # with the others moves a lot for what little pulls at it, and products round in proportion.
        enough = torch.maximum(tol, _ROUNDING * solution.norm(dim=1))
        moves = residual.norm(dim=1) > enough
        if not bool(moves.any()):
            return solution, True
        product = apply(direction)
        curvature = (direction * product).sum(1)
        moves &= (curvature > 0) & (inner > 0)
        length = torch.where(moves, inner / curvature, 0.0)[:, None]
        solution = solution + length * direction
        residual = residual - length * product
        moved = residual if precondition is None else precondition(residual)
        following = (residual * moved).sum(1)
        share = torch.where(moves, following / inner, 0.0)[:, None]
        direction, inner = moved + share * direction, following
    return solution, not bool((residual.norm(dim=1) > tol).any())
