"""Parameters as plain data and back, so that a file of networks need not be unpickled.

Only classes of this package are made from a description: a file can name nothing else.
"""

from collections.abc import Mapping
from importlib import import_module
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from skot.base import Component, public_module

#: Rooms whose components occur in the parameters of a regressor.
_ROOMS = ("skot.costs", "skot.networks", "skot.training")


def described(value: Any) -> Any:
    """Return plain data for a parameter, or raise a `TypeError` if it has none."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, (list, tuple)):
        return {"kind": type(value).__name__, "items": [described(item) for item in value]}
    if isinstance(value, (np.ndarray, torch.Tensor)):
        if isinstance(value, np.ndarray):
            return {"kind": "array", "values": torch.from_numpy(np.array(value))}
        return {"kind": "tensor", "values": value.detach().cpu()}
    room = public_module(type(value)) if isinstance(value, Component) else None
    if room not in _ROOMS:
        raise TypeError(f"{type(value).__name__} has no description.")
    params = value.get_params(deep=False).items()
    return {
        "kind": f"{room}.{type(value).__name__}",
        "params": {name: described(item) for name, item in params},
    }


def described_params(estimator: Any) -> dict[str, Any]:
    """Return the parameters of an estimator that have a description."""
    found = {}
    for name, value in estimator.get_params(deep=False).items():
        try:
            found[name] = described(value)
        except TypeError:
            continue
    return found


def restored(value: Any) -> Any:
    """Return what was described, or raise a `ValueError`."""
    if not isinstance(value, Mapping):
        return value
    kind = value.get("kind", "")
    if kind in ("list", "tuple"):
        items = map(restored, value["items"])
        return tuple(items) if kind == "tuple" else list(items)
    if kind in ("array", "tensor"):
        return value["values"].numpy() if kind == "array" else value["values"]
    room, _, name = kind.rpartition(".")
    made = getattr(import_module(room), name, None) if room in _ROOMS else None
    if not (isinstance(made, type) and issubclass(made, Component)):
        raise ValueError(f"{kind!r} is no component of this package.")
    return made(**{key: restored(item) for key, item in value["params"].items()})
