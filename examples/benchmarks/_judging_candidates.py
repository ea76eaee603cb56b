"""The transports that are judged: good, bad, collapsed, and the true map."""

from collections.abc import Callable
from typing import Self

import numpy as np
from sklearn.base import clone
from torch import Tensor

from skot import GaussianTransport, SinkhornTransport
from skot.transport import BaseTransport
from skot.utils import split_domains

PLAIN = (0.01, 0.02, 0.05, 0.1, 0.2, 1.0)
DEBIASED = (0.01, 0.05, 0.2, 0.5, 1.0)
SHRINKAGES = (0.1, 0.5, 0.9)


class Simple(BaseTransport):
    """A transport that knows the means only: it shifts, does nothing, or collapses."""

    def __init__(self, kind: str = "shift"):
        self.kind = kind

    def fit(self, X, y=None, *, sample_domain=None) -> Self:
        """Keep the means."""
        split = split_domains(self, X, y, sample_domain)
        source, self._target = self._read_samples(X, split, "normal", 0)
        self._means = source.points.mean(0), self._target.measure.points.mean(0)
        return self

    def _map(self, x: Tensor, labels) -> Tensor:
        source, target = self._means
        if self.kind == "shift":
            return x + (target - source)
        return x.clone() if self.kind == "identity" else target.repeat(len(x), 1)


def candidates() -> dict[str, BaseTransport]:
    """Return what a search chooses among, by name."""
    found: dict[str, BaseTransport] = {}
    for epsilon in PLAIN:
        found[f"plain {epsilon:g}"] = SinkhornTransport(epsilon, residual=0)
    for epsilon in DEBIASED:
        found[f"debiased {epsilon:g}"] = SinkhornTransport(epsilon, residual=1)
    for shrinkage in SHRINKAGES:
        found[f"Gaussian {shrinkage:g}"] = GaussianTransport(shrinkage=shrinkage)
    return {**found, "shift": Simple("shift"), "identity": Simple("identity")}


def fitted_maps(x: np.ndarray, y: np.ndarray, true_map) -> dict[str, Callable]:
    """Return all candidates fitted, the collapsed map and the true one."""
    transports = {**candidates(), "collapsed": Simple("collapsed")}
    maps = {name: clone(each).fit(x, y).transform for name, each in transports.items()}
    return {**maps, "true": true_map}
