"""What Lagrangian transport solves: c-transforms, from predictions, in the frame."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from skot.numerics.action import action, curve
from skot.numerics.splines import PathBasis
from skot.numerics.tiles import NETWORK_WIDTH
from skot.solvers.c_transform import CTransformResult
from skot.transport._lagrangian.coordinates import FramedLagrangian
from skot.transport._neural.two_sample_training import some_rows

#: Distances between the rows of a batch that borrow each other's paths in training.
_BORROWED = (1, 7, 31)
#: Paths that are kept to try them out on new rows.
_BANK_SIZE = 8
#: How often rows that did not converge are given to the solver again, outside of training.
_MORE_SOLVES = 19


@dataclass(frozen=True)
class LagrangianProblem:
    """The cost, and how its c-transforms are predicted and refined.

    Attributes
    ----------
    lagrangian : FramedLagrangian
        The Lagrangian.
    basis : PathBasis
        The shapes and the quadrature of paths.
    solver : CTransformSolver
        Refines predictions.
    source_bounds, target_bounds : tuple of Tensor of shape (n_features,)
        Where the arguments of c-transforms are looked for.
    examples : Tensor of shape (n, n_features)
        Source rows whose paths the bank is chosen from.
    bank : Tensor of shape (k, n_features, n_knots) or None
        Paths that are tried out on every row beside the predicted one. Minimisation is local, and
        a network that has to decide between two sides of an obstacle wavers between them.
    """

    lagrangian: FramedLagrangian
    basis: PathBasis
    solver: Any
    source_bounds: tuple[Tensor, Tensor]
    target_bounds: tuple[Tensor, Tensor]
    examples: Tensor
    bank: Tensor | None = None

    def predicted_path(self, modules: dict[str, nn.Module], x: Tensor, y: Tensor) -> Tensor:
        """Return the coordinates of paths as the network sees them."""
        if "path" not in modules:
            return x.new_zeros(*x.shape, self.basis.n_knots)
        return modules["path"](x, y)

    def predicted_cost(self, modules: dict[str, nn.Module], x: Tensor, y: Tensor) -> Tensor:
        """Return the action of the paths that the network sees."""
        path = self.predicted_path(modules, x, y)
        return action(self.lagrangian, x, y, path, self.basis.to(x))

    def suggested_path(self, modules: dict[str, nn.Module], x: Tensor, y: Tensor) -> Tensor:
        """Return the best of the predicted path and those of the bank."""
        path = self.predicted_path(modules, x, y)
        if self.bank is None:
            return path
        bank = self.bank.to(x)
        others = (one.expand_as(path) for one in bank)
        return _least_action(self.lagrangian, x, y, [path, *others], self.basis.to(x))

    def transport(self, modules: dict[str, nn.Module], x: Tensor) -> CTransformResult:
        """Predict and solve the c-transforms of source rows, without a graph."""
        with torch.no_grad():
            y = modules["amortizer"](x)
            path = self.suggested_path(modules, x, y)
            return self._solve_patiently(modules["potential"], x, y, path, backward=False)

    def transport_batch(
        self, modules: dict[str, nn.Module], x: Tensor, annealed: tuple[float, float]
    ) -> CTransformResult:
        """Do the same for a batch of training, whose rows try the paths of each other."""
        with torch.no_grad():
            lagrangian = self.lagrangian.annealed(*annealed)
            y = modules["amortizer"](x)
            path = self.predicted_path(modules, x, y)
            if self.basis.n_knots:
                others = (path.roll(distance, 0) for distance in _BORROWED)
                path = _least_action(lagrangian, x, y, [path, *others], self.basis.to(x))
            return self._solve(lagrangian, modules["potential"], x, y, path, backward=False)

    def transport_back(self, modules: dict[str, nn.Module], y: Tensor) -> CTransformResult:
        """Predict and solve the c-transforms of target rows in the other direction."""
        with torch.no_grad():
            x = modules["inverse_amortizer"](y)
            path = self.suggested_path(modules, x, y)
            potential = modules["source_potential"]
            return self._solve_patiently(potential, y, x, path, backward=True)

    def dual_value(self, modules: dict[str, nn.Module], x: Tensor, y: Tensor) -> float:
        """Return the dual value on rows of both sides, in the units of the frame."""
        with torch.no_grad():
            found = self.transport(modules, x)
            return float(found.value.mean() + modules["potential"](y).mean())

    def curves(self, x: Tensor, y: Tensor, path: Tensor, times: Tensor) -> Tensor:
        """Return the positions of paths at given times, of shape (n, n_times, n_features)."""
        return curve(x, y, path, self.basis.to(x).at(times))[0]

    @property
    def row_width(self) -> int:
        """Numbers that a row needs while it is worked on."""
        n_features = len(self.lagrangian.mean)
        return max(NETWORK_WIDTH, n_features * len(self.basis.times))

    def widened(self, source: Tensor, target: Tensor, margin: float) -> "LagrangianProblem":
        """Return the same for more rows: bounds reach around them, examples are among them."""

        def joined(old: tuple[Tensor, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
            lower, upper = bounds_of(rows, margin)
            return torch.minimum(old[0], lower), torch.maximum(old[1], upper)

        return replace(
            self,
            source_bounds=joined(self.source_bounds, source),
            target_bounds=joined(self.target_bounds, target),
            examples=some_rows(source, len(self.examples)),
        )

    def with_bank(self, modules: dict[str, nn.Module]) -> "LagrangianProblem":
        """Return the same with the most different paths that the network sees."""
        if self.basis.n_knots == 0:
            return self
        x = self.examples.to(next(modules["path"].parameters()))
        with torch.no_grad():
            paths = self.predicted_path(modules, x, modules["amortizer"](x))
        return replace(self, bank=paths[_spread_out(paths.flatten(1), _BANK_SIZE)])

    def to(self, like: Tensor) -> "LagrangianProblem":
        """Return the same on the device of a tensor."""
        device = like.device
        (source_lower, source_upper), (lower, upper) = self.source_bounds, self.target_bounds
        return replace(
            self,
            lagrangian=replace(self.lagrangian, mean=self.lagrangian.mean.to(device)),
            source_bounds=(source_lower.to(device), source_upper.to(device)),
            target_bounds=(lower.to(device), upper.to(device)),
            examples=self.examples.to(device),
            bank=None if self.bank is None else self.bank.to(device),
        )

    def _solve_patiently(
        self, potential: Any, x: Tensor, y: Tensor, path: Tensor, *, backward: bool
    ) -> CTransformResult:
        """Solve again for rows that did not converge: training can be short of steps, users not."""
        found = self._solve(self.lagrangian, potential, x, y, path, backward=backward)
        for _ in range(_MORE_SOLVES):
            left = (~found.converged).nonzero()[:, 0]
            if not len(left):
                break
            again = self._solve(
                self.lagrangian,
                potential,
                x[left],
                found.argument[left],
                found.path[left],
                backward=backward,
                anchor=y[left],
            )
            found = CTransformResult(
                found.value.index_copy(0, left, again.value),
                found.argument.index_copy(0, left, again.argument),
                found.path.index_copy(0, left, again.path),
                found.n_iter.index_add(0, left, again.n_iter),
                found.converged.index_copy(0, left, again.converged),
            )
        return found

    def _solve(
        self,
        lagrangian: Any,
        potential: Any,
        x: Tensor,
        y: Tensor,
        path: Tensor,
        *,
        backward: bool,
        anchor: Tensor | None = None,
    ) -> CTransformResult:
        lower, upper = self.source_bounds if backward else self.target_bounds
        return self.solver.solve(
            lagrangian,
            potential,
            x,
            y,
            path,
            self.basis,
            bounds=(lower.to(x), upper.to(x)),
            backward=backward,
            anchor=anchor,
        )


def bounds_of(rows: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Return a box around rows, wider than their range by a share of it on every side."""
    lower, upper = rows.amin(0), rows.amax(0)
    room = margin * (upper - lower)
    return lower - room, upper + room


def _least_action(
    lagrangian: Any, x: Tensor, y: Tensor, paths: Iterable[Tensor], basis: PathBasis
) -> Tensor:
    """Return the best of several paths, row by row; the first one counts where they are equal."""
    first, *others = paths
    best, least = first, action(lagrangian, x, y, first, basis)
    for path in others:
        costs = action(lagrangian, x, y, path, basis)
        wins = costs < least
        least = torch.where(wins, costs, least)
        best = torch.where(wins[:, None, None], path, best)
    return best


def _spread_out(points: Tensor, n: int) -> Tensor:
    """Return the numbers of `n` points that are far from each other, greedily."""
    chosen = [0]
    distance = (points - points[0]).square().sum(1)
    for _ in range(min(n, len(points)) - 1):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1))
    return torch.tensor(chosen, device=points.device)
