"""Digests of parameters and data, which say whether two fits are the same."""

import hashlib
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from torch import Tensor


def fingerprint(*parts: Any) -> str:
    """Return a digest that identifies a fit by its parameters and data.

    Parameters
    ----------
    *parts : object
        Arrays and tensors count with shape, dtype and values; estimators and components with class
        and parameters; tuples, lists and dicts with their items; anything else with its ``repr``.

    Returns
    -------
    digest : str
        The same for equal parts, in any process.

    Examples
    --------
    >>> import torch
    >>> from skot.training import Adam, fingerprint
    >>> fingerprint(Adam(), torch.ones(3)) == fingerprint(Adam(), torch.ones(3))
    True
    >>> fingerprint(Adam(), torch.ones(3)) == fingerprint(Adam(lr=0.1), torch.ones(3))
    False
    """
    digest = hashlib.sha256()
    _add(digest, parts)
    return digest.hexdigest()


def _add(digest: Any, part: Any) -> None:
    """Feed a part with its type to a digest."""
    digest.update(f"<{type(part).__module__}.{type(part).__qualname__}>".encode())
    if isinstance(part, Tensor):
        part = part.detach().cpu().numpy()
    if isinstance(part, BaseEstimator):
        part = part.get_params(deep=False)
    if isinstance(part, np.ndarray) and part.dtype != object:
        digest.update(f"{part.dtype}{part.shape}".encode())
        digest.update(part.tobytes())
    elif isinstance(part, dict):
        _add(digest, sorted(part.items()))
    elif isinstance(part, (list, tuple, np.ndarray)):
        digest.update(f"{len(part)}".encode())
        for item in part:
            _add(digest, item)
    else:
        digest.update(f"{part!r}|".encode())
