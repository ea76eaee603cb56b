"""From architectures to networks that know the coordinates of their rows."""

from typing import Any

import torch
from torch import Generator, Tensor, nn

from skot.numerics.linalg import regularized, symmetric_power
from skot.numerics.tiles import NETWORK_WIDTH
from skot.potentials import Frame, LinearFrame

#: Share of the mean variance below which a direction counts as flat.
_FLAT = 1e-3
#: A side with less than this, in the frame, is a point to a network in float32.
_LEAST_VARIANCE = 1e-12


def build_module(
    architecture: Any,
    n_features: int,
    device: torch.device,
    *,
    generator: Generator,
    coordinates: tuple[Tensor, Tensor] | None = None,
) -> nn.Module:
    """Draw a network in float32.

    `coordinates` are the covariance of the rows it reads, and what else it is told: see
    ``precondition_`` of potentials and maps. None leaves it with the rows as they are.
    """
    module = architecture.build(n_features, generator=generator)
    precondition = getattr(module, "precondition_", None)
    if precondition is not None and coordinates is not None:
        covariance, second = coordinates
        precondition(_whitening(covariance).cpu(), second.cpu())
    return module.to(device, torch.float32)


def network_coordinates(frame: Frame) -> dict[str, tuple[Tensor, Tensor] | None]:
    """What map and potential are told of their rows; nothing where rows are images."""
    if not isinstance(frame, LinearFrame):
        return {"transport_map": None, "potential": None}
    source, target = frame.source_covariance, frame.target_covariance
    original = frame.scale**0.5 * frame.source_matrix
    return {
        "transport_map": (source, symmetric_power(target, 0.5)),
        "potential": (target, original),
    }


def row_width(module: Any) -> int:
    """Numbers that a network needs per row: those of images say so, others are narrow."""
    return getattr(module, "row_width", NETWORK_WIDTH)


def _whitening(covariance: Tensor) -> Tensor:
    """Inverse square root, but zero where there is no spread.

    Rows do not say what a potential does beyond the plane they lie in, such as that of a constant
    feature: a network that reads how far off the plane a point is learns a slope from noise.
    """
    floor = _FLAT * covariance.diagonal().mean().clamp_min(_LEAST_VARIANCE)
    return torch.linalg.solve(regularized(covariance, floor), symmetric_power(covariance, 0.5))
