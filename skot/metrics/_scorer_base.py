"""What all scorers of domain adaptation share."""

from typing import Any

import numpy as np
from sklearn.utils.metadata_routing import MetadataRequest

from skot.base import Component
from skot.utils.validation import check_sample_domain


class RequestsSampleDomain(Component):
    """What a search hands `sample_domain` to."""

    def get_metadata_routing(self) -> MetadataRequest:
        """Return the request for `sample_domain`.

        Returns
        -------
        routing : MetadataRequest
            What scikit-learn's searches read.
        """
        request = MetadataRequest(owner=self)
        request.score.add_request(param="sample_domain", alias=True)
        return request


class DomainScorer(RequestsSampleDomain):
    """An object for ``scoring=`` that requests `sample_domain`.

    The estimator is one whose `predict` takes every row as target, such as `DomainAdaptation` or
    a pipeline that ends with one. A subclass implements ``_score(estimator, X, y, is_source)``.
    """

    def __call__(
        self, estimator: Any, X: Any, y: Any = None, *, sample_domain: Any = None
    ) -> float:
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted; its predictions are those for target rows.
        X : array-like of shape (n_rows, n_features)
            Both samples, stacked.
        y : array-like of shape (n_rows,), default=None
            Labels.
        sample_domain : array-like of int, shape (n_rows,)
            Source where it is not negative, target where it is.

        Returns
        -------
        score : float
            Higher is better.

        Raises
        ------
        ValueError
            If `sample_domain` is missing, bad, or without target rows.
        """
        self.validate()
        if sample_domain is None:
            raise ValueError(
                f"{type(self).__name__} needs sample_domain. For cross_validate, GridSearchCV and "
                "the like, call sklearn.set_config(enable_metadata_routing=True) and pass "
                "sample_domain to fit, or in params."
            )
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        is_source = check_sample_domain(sample_domain, n_rows)
        if is_source.all():
            raise ValueError(
                f"{type(self).__name__} scores target rows (sample_domain < 0). There are none."
            )
        return float(self._score(estimator, X, y, is_source))

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        raise NotImplementedError(f"{type(self).__name__} does not implement _score.")


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """Take rows of an array, a tensor or a data frame, which stays one."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return X[rows] if hasattr(X, "shape") else np.asarray(X)[rows]
