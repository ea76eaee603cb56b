"""Which potentials an estimator has, and what their values are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from skot.numerics.tiles import NETWORK_WIDTH, row_tiles
from skot.plots._style import as_array
from skot.potentials import BrenierPotential


def evaluate(potential: Callable[[torch.Tensor], torch.Tensor], rows: np.ndarray) -> np.ndarray:
    """Evaluate a potential without gradients, and check what it gives."""
    x = torch.from_numpy(rows)
    with torch.no_grad():
        tiles = [as_array(potential(x[tile])) for tile in row_tiles(len(x), NETWORK_WIDTH)]
    values = np.concatenate([tile.astype(np.float64) for tile in tiles])
    if values.shape != (len(rows),) or not np.isfinite(values).all():
        raise ValueError("potential must give one finite value for each row of a tensor.")
    return values


def potentials_of(estimator: Any) -> dict[str, tuple[Callable[..., torch.Tensor], str]]:
    """Potentials by the side that they live on, and what they are."""
    if hasattr(estimator, "potentials_"):
        potentials = estimator.potentials_
        return {
            "source": (potentials.source_potential, "potential f"),
            "target": (potentials.target_potential, "potential g"),
        }
    potential = getattr(estimator, "potential_", None)
    if potential is None:
        raise TypeError(
            "estimator must have potentials: potentials_ as SinkhornTransport has, or potential_ "
            f"as W2GNTransport, NeuralOT and LagrangianOT have. {type(estimator).__name__} has "
            "neither; PotentialDisplay.from_potential draws any function."
        )
    if isinstance(potential, BrenierPotential):
        return {"source": (potential.displacement_potential, "potential less the parabola")}
    found = {"target": (potential, "potential g")}
    if hasattr(estimator, "source_potential_"):
        found = {"source": (estimator.source_potential_, "potential f"), **found}
    return found
