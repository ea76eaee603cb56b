"""The predictions that an adapted estimator borrows from the estimator inside."""

from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if

from skot.adaptation._metadata import estimator_has


class ResponsesMixin:
    """The response methods that the estimator has; `_respond` calls them."""

    def _respond(self, method: str, X: Any, params: dict[str, Any]) -> np.ndarray:
        raise NotImplementedError

    @available_if(estimator_has("predict"))
    def predict(self, X: Any, **params: Any) -> np.ndarray:
        """Predict target rows.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Rows of the target.
        **params : dict
            Metadata for the estimator.

        Returns
        -------
        y : ndarray of shape (n_rows,)
            Predictions of the estimator.
        """
        return self._respond("predict", X, params)

    @available_if(estimator_has("predict_proba"))
    def predict_proba(self, X: Any, **params: Any) -> np.ndarray:
        """Predict the probability of each class for target rows.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Rows of the target.
        **params : dict
            Metadata for the estimator.

        Returns
        -------
        probabilities : ndarray of shape (n_rows, n_classes)
            In the order of `classes_`.
        """
        return self._respond("predict_proba", X, params)

    @available_if(estimator_has("predict_log_proba"))
    def predict_log_proba(self, X: Any, **params: Any) -> np.ndarray:
        """Predict the logarithm of the probability of each class for target rows.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Rows of the target.
        **params : dict
            Metadata for the estimator.

        Returns
        -------
        log_probabilities : ndarray of shape (n_rows, n_classes)
            In the order of `classes_`.
        """
        return self._respond("predict_log_proba", X, params)

    @available_if(estimator_has("decision_function"))
    def decision_function(self, X: Any, **params: Any) -> np.ndarray:
        """Decision function of the estimator for target rows.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Rows of the target.
        **params : dict
            Metadata for the estimator.

        Returns
        -------
        decision : ndarray of shape (n_rows,) or (n_rows, n_classes)
            As the estimator gives it.
        """
        return self._respond("decision_function", X, params)
