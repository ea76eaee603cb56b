"""A fitted regressor of potentials at work: predictions, in the units of the cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skot.costs import PrecomputedCost, cost_matrix
from skot.numerics.tiles import NETWORK_WIDTH, row_tiles
from skot.solvers import SemiDual
from skot.transport._meta_ot.coordinates import DualCoordinates, PlainCoordinates, centred
from skot.transport._meta_ot.warm_start import trusted_start
from skot.transport._neural.batches import NETWORK
from skot.transport._neural.fit import Learned


@dataclass(frozen=True, kw_only=True)
class LearnedRegression(Learned):
    """The network, with the problem it belongs to.

    The `cost` is one between fixed supports (`PrecomputedCost`, `SupportCost`, `GridCost`) or None,
    and `epsilon` is in its units. The `coordinates` say what the network reads and how its outputs
    are meant, and `output_ndim` counts the dimensions of the outputs that it was trained on without
    a cost.
    """

    cost: Any
    epsilon: float
    coordinates: DualCoordinates | PlainCoordinates
    output_ndim: int

    def potential(self, a: Tensor, b: Tensor) -> Tensor:
        """Source potentials of problems, of shape (n_problems, n)."""
        return self._in_tiles(predict_potential, a, b)

    def target_potential(self, a: Tensor, b: Tensor) -> Tensor:
        """Half steps from the source potentials, of shape (n_problems, m)."""
        return self.semi_dual().step(self.potential(a, b), a, b).target_potential

    def trusted_start(
        self, a: Tensor, b: Tensor, max_start_error: float | None
    ) -> tuple[Tensor, Tensor]:
        """Half steps of the predictions, and which of them are good enough to start at."""
        return trusted_start(self.semi_dual(), self.potential(a, b), a, b, max_start_error)

    def half_steps(self, a: Tensor, b: Tensor, max_start_error: float | None) -> Tensor:
        """Half steps of the predictions, or of zeros where those are not good enough."""
        a, b = a.to(self.device), b.to(self.device)
        g, trusted = self.trusted_start(a, b, max_start_error)
        if not bool(trusted.all()):
            dropped = ~trusted
            zeros = torch.zeros_like(a[dropped])
            g[dropped] = self.semi_dual().step(zeros, a[dropped], b[dropped]).target_potential
        return g

    def dual_value(self, a: Tensor, b: Tensor) -> Tensor:
        """Dual value of the predictions, of shape (n_problems,)."""
        return self.semi_dual().value(self.potential(a, b), a, b)

    def couplings(self, a: Tensor, b: Tensor) -> Tensor:
        """Plans of the predictions and their half steps, of shape (n_problems, n, m)."""
        f = self.potential(a, b)
        g = self.semi_dual().step(f, a, b).target_potential
        couplings = f[:, :, None] + g[:, None, :] - cost_matrix(self.cost).to(f)
        couplings.div_(self.epsilon).clamp_(max=700.0).exp_()
        return couplings.mul_(a[:, :, None]).mul_(b[:, None, :])

    @property
    def n_outputs(self) -> int:
        """Width of what the network writes."""
        if isinstance(self.coordinates, PlainCoordinates):
            return len(self.coordinates.target_mean)
        return self.cost.support_sizes[0]

    def outputs(self, rows: Tensor) -> Tensor:
        """Outputs of a regression without a cost, of the dimensions of those it learned."""
        outputs = self._in_tiles(predict_plain, rows)
        return outputs[:, 0] if self.output_ndim == 1 else outputs

    def semi_dual(self, dtype: torch.dtype = torch.float64) -> SemiDual:
        """Return the dual value as a function of source potentials."""
        return SemiDual(self.cost, self.epsilon, dtype=dtype, device=self.device)

    def cost_on_device(self) -> Any:
        """The cost where the network is: the solver works where its matrix is."""
        if self.cost.is_separable or self.device.type == "cpu":
            return self.cost
        return PrecomputedCost(cost_matrix(self.cost).to(self.device))

    def _in_tiles(self, predict: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        network, coordinates = self.modules[NETWORK], self.coordinates.to(self.device)
        width = NETWORK_WIDTH
        if isinstance(coordinates, DualCoordinates) and coordinates.points is not None:
            width = max(width, coordinates.points[0].numel())
        with torch.inference_mode():
            tiles = row_tiles(len(rows[0]), width)
            parts = [predict(network, coordinates, *(r[tile] for r in rows)) for tile in tiles]
        return torch.cat(parts).clone()  # an ordinary tensor, which callers may differentiate at


def predict_potential(
    network: nn.Module, coordinates: DualCoordinates, a: Tensor, b: Tensor
) -> Tensor:
    """Predict source potentials of mean zero under a, in float64."""
    known = coordinates.known(a, b)
    inputs = coordinates.inputs(a, b, known).to(network_dtype(network))
    return centred(known + coordinates.unit * network(inputs).double(), a)


def predict_plain(network: nn.Module, coordinates: PlainCoordinates, x: Tensor) -> Tensor:
    """Predict outputs in their own units, in float64."""
    inputs = ((x - coordinates.mean) / coordinates.scale).to(network_dtype(network))
    return coordinates.target_mean + coordinates.target_scale * network(inputs).double()


def network_dtype(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype
