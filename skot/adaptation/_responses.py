"""What the estimator inside answers for rows of the target."""

from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skot.adaptation._guard import gain_of, rows_to_judge
from skot.adaptation._metadata import classifies, estimator_has
from skot.adaptation._scaling import scale, scale_sides
from skot.adaptation._table import for_estimator, read_rows
from skot.metrics import AdaptationGain
from skot.utils.validation import check_sample_domain


class TargetResponsesMixin:
    """The methods of the estimator for target rows, and what there is to see of them.

    A subclass has the attributes of a fitted `DomainAdaptation`, and writes the last two methods.
    """

    estimator_: Any
    unadapted_estimator_: Any
    source_scaler_: Any
    target_scaler_: Any

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

    @available_if(classifies)
    def compare_adaptation(self, X: Any) -> AdaptationGain:
        """Compare the predictions for target rows with those without adaptation.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Rows of the target, seen in `fit` or not; at most 1000, spread over all, are used.

        Returns
        -------
        gain : AdaptationGain
            Figures and a verdict, see `skot.metrics.adaptation_gain`.

        Raises
        ------
        ValueError
            After a fit with ``fallback=None``, which keeps no model to compare with, or with too
            few rows.
        """
        check_is_fitted(self, "estimator_")
        if self.unadapted_estimator_ is None:
            raise ValueError(
                "There is no model without adaptation to compare with: fit with "
                'fallback="warn" or "auto".'
            )
        rows = rows_to_judge(scale(self.target_scaler_, read_rows(self, X)))
        adapted = self.estimator_.predict(self._to_estimator_side(rows))
        gain = gain_of(rows, adapted, self.unadapted_estimator_.predict(for_estimator(rows)))
        if gain is None:
            raise ValueError("compare_adaptation needs 20 target rows with numeric features.")
        return gain

    def scale_domains(self, X: Any, *, sample_domain: Any) -> Any:
        """Scale rows as they are before the transport, each by the scaler of its domain.

        Parameters
        ----------
        X : array-like or tensor of shape (n_rows, n_features)
            Both samples, stacked.
        sample_domain : array-like of int, shape (n_rows,)
            Source where it is not negative, target where it is.

        Returns
        -------
        X_scaled : array or data frame of shape (n_rows, n_features)
            In the order of `X`; the rows as they are without a `domain_scaler`.
        """
        check_is_fitted(self, "estimator_")
        rows = read_rows(self, X)
        is_source = check_sample_domain(sample_domain, rows.shape[0])
        return scale_sides(self.source_scaler_, self.target_scaler_, rows, is_source)

    def _respond(self, method: str, X: Any, params: dict) -> np.ndarray:
        raise NotImplementedError

    def _to_estimator_side(self, rows: Any) -> Any:
        raise NotImplementedError
