"""Fitted networks on disk, with what identifies the cost that they were trained for.

`save` and `load` are methods of the regressor.
"""

import math
import os
from typing import Any, cast

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skot.transport._meta_ot.coordinates import DualCoordinates
from skot.transport._meta_ot.problems import Problems
from skot.transport._neural.batches import NETWORK
from skot.utils.random import check_generator
from skot.utils.tensors import resolve_device

_FORMAT = "skot meta optimal transport 1"


def save(self: Any, path: str | os.PathLike) -> None:
    """Write the fitted network to a file, with a digest of the cost it belongs to.

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
    write(path, self.cost_, coordinates, self._learned.modules[NETWORK])


def load(self: Any, path: str | os.PathLike) -> Any:
    """Become the fitted regressor that was saved, of the same cost, epsilon and network.

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
        network, or by something else.
    """
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
