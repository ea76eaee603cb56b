"""Fitted networks on disk, with what identifies the cost that they were trained for.

`save` and `load` are methods of the regressor.
"""

import math
import os
from collections.abc import Callable
from types import MethodType
from typing import Any, cast

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skot.transport._meta_ot.coordinates import DualCoordinates
from skot.transport._meta_ot.described import described_params, restored
from skot.transport._meta_ot.problems import Problems
from skot.transport._neural.batches import NETWORK
from skot.utils.random import check_generator
from skot.utils.tensors import resolve_device

_FORMAT = "skot meta optimal transport 1"


def save(self: Any, path: str | os.PathLike) -> None:
    """Write the fitted network to a file, with its parameters and a digest of the cost.

    Parameters
    ----------
    path : str or path-like
        The file; it is read back by :meth:`load`, without unpickling anything.

    Raises
    ------
    ValueError
        Without a cost: pickle the estimator instead.
    """
    check_is_fitted(self)
    if self.cost_ is None:
        raise ValueError("save needs a cost; a MetaOTRegressor without one can be pickled.")
    coordinates = cast(DualCoordinates, self._learned.coordinates)
    network = self._learned.modules[NETWORK]
    write(path, self.cost_, coordinates, network, described_params(self))


def load(self: Any, path: str | os.PathLike) -> Any:
    """Return the fitted regressor that was saved.

    ``MetaOTRegressor.load(path)`` makes one with the parameters in the file. Called on a regressor,
    of the same cost, epsilon and network, it loads into that one: so it has to be where those
    are classes from outside skot, which a file cannot make.

    Parameters
    ----------
    path : str or path-like
        A file written by :meth:`save`.

    Returns
    -------
    self : object
        Fitted; ``partial_fit`` goes on with a new optimizer.

    Raises
    ------
    ValueError
        If the file was made for another cost, other supports, another epsilon or another
        network, or by something else. Called on the class, also if the file does not hold the cost
        or the network: those of 0.1 do not.
    """
    if isinstance(self, type):
        self = self(**_params_in(path))
    method = self._method(self._training_components())
    coordinates, weights = read(path, method.cost, method.epsilon)
    n_source, n_target = method.cost.support_sizes
    generator = check_generator(self.random_state)
    network = method.network.build(coordinates.n_inputs, n_source, generator=generator)
    dtype = fill(network, weights, path)
    modules = {NETWORK: network.to(resolve_device(self.device), torch.float32)}
    learned = method.learned(modules, coordinates, 0)
    no_rows = torch.empty(0, n_source + n_target)
    data = Problems(no_rows, n_source + n_target, 0, n_source, 0, dtype)
    self._adopt(method, learned, data, generator)
    self.n_features_in_ = n_source + n_target
    # Names of columns belong to another fit.
    self.__dict__.pop("feature_names_in_", None)
    return self


class OfClassOrObject:
    """A method that is bound to the object it is called on, or to the class."""

    def __init__(self, function: Callable):
        self.function = function

    def __get__(self, found: Any, owner: type) -> MethodType:
        """Bind to the object, or to the class."""
        return MethodType(self.function, owner if found is None else found)


def write(
    path: str | os.PathLike,
    cost: Any,
    coordinates: DualCoordinates,
    network: nn.Module,
    params: dict[str, Any],
) -> None:
    """Write a network, tensors and numbers only."""
    content = {
        "format": _FORMAT,
        "cost": cost.digest(),
        "coordinates": coordinates.to("cpu").state_dict(),
        "network": {name: value.cpu() for name, value in network.state_dict().items()},
        "params": params,
    }
    torch.save(content, path)


def read(
    path: str | os.PathLike, cost: Any, epsilon: float
) -> tuple[DualCoordinates, dict[str, Tensor]]:
    """Read a network that was written for this cost and regularisation, or raise."""
    saved = _content(path)
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


def _params_in(path: str | os.PathLike) -> dict[str, Any]:
    """Parameters of the regressor that was saved."""
    saved = _content(path).get("params", {})
    lacking = [name for name in ("cost", "epsilon", "network") if name not in saved]
    if lacking:
        raise ValueError(
            f"The model in {os.fspath(path)!r} does not hold the {' and '.join(lacking)} it was "
            "trained with. Load it into a regressor that has them: "
            "MetaOTRegressor(cost, epsilon=..., network=...).load(path)."
        )
    try:
        return {name: restored(value) for name, value in saved.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(_not_ours(path)) from error


def _content(path: str | os.PathLike) -> dict[str, Any]:
    """Read a file that `write` has written, or raise."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {os.fspath(path)!r}.")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(_not_ours(path)) from error
    if not isinstance(saved, dict) or saved.get("format") != _FORMAT:
        raise ValueError(_not_ours(path))
    return saved


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
