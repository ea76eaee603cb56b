"""The transport that moves nothing: what no adaptation is."""

from typing import Any, Self

from sklearn.base import BaseEstimator
from torch import Tensor

from skot.transport import BaseTransport
from skot.utils.validation import split_domains


class Passthrough(BaseEstimator):
    """Leaves rows of any kind where they are; for ``transport="passthrough"``."""

    def fit_transform(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> Any:
        """Return the rows."""
        return X

    def transform(self, X: Any) -> Any:
        """Return the rows."""
        return X

    def score(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> float:
        """Return the score that a transport would have that moves nothing."""
        identity = _Identity().fit(X, sample_domain=sample_domain)
        return identity.score(X, sample_domain=sample_domain)

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _Identity(BaseTransport):
    """A transport of points that moves nothing."""

    def fit(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> Self:
        split = split_domains(self, X, y, sample_domain)
        _, self._target = self._read_samples(X, split, "normal", random_state=0)
        return self

    def _map(self, x: Tensor, labels: Any) -> Tensor:
        return x

    def _inverse_map(self, y: Tensor) -> Tensor:
        return y
