"""Fitted networks on disk, with what identifies the cost that they were trained for."""

import math
import os
from typing import Any

import torch
from torch import Tensor, nn

from skot.transport._meta_ot.coordinates import DualCoordinates

_FORMAT = "skot meta optimal transport 1"


def write(
    path: str | os.PathLike, cost: Any, coordinates: DualCoordinates, network: nn.Module
) -> None:
    """Write a network, tensors and numbers only."""
    content = {
        "format": _FORMAT,
        "cost": cost.digest(),
        "coordinates": coordinates.to("cpu").state_dict(),
        "network": {name: value.cpu() for name, value in network.state_dict().items()},
    }
    torch.save(content, path)


def read(
    path: str | os.PathLike, cost: Any, epsilon: float
) -> tuple[DualCoordinates, dict[str, Tensor]]:
    """Read a network that was written for this cost and regularisation, or raise."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {os.fspath(path)!r}.")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(_not_ours(path)) from error
    if not isinstance(saved, dict) or saved.get("format") != _FORMAT:
        raise ValueError(_not_ours(path))
    if cost is None or saved["cost"] != cost.digest():
        raise ValueError(
            f"The model in {os.fspath(path)!r} was trained for another cost or other supports "
            f"than {cost!r}: its potentials mean nothing here."
        )
    try:
        coordinates = DualCoordinates(**saved["coordinates"])
    except TypeError as error:
        raise ValueError(_not_ours(path)) from error
    if not math.isclose(coordinates.epsilon, epsilon, rel_tol=1e-9):
        raise ValueError(
            f"The model in {os.fspath(path)!r} was trained for epsilon={coordinates.epsilon:g}, "
            f"not for epsilon={epsilon:g}."
        )
    return coordinates, saved["network"]


def fill(network: nn.Module, weights: dict[str, Tensor], path: str | os.PathLike) -> torch.dtype:
    """Load weights into a network, and return their dtype."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"The model in {os.fspath(path)!r} has another network: pass the one it was trained "
            "with."
        ) from error
    return next(value.dtype for value in weights.values() if value.is_floating_point())


def _not_ours(path: str | os.PathLike) -> str:
    return f"The file {os.fspath(path)!r} cannot be read as a model of this version."
