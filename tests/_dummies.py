"""A transport in ten lines, for tests of what is built around transports."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skot.utils.validation import split_domains


class MeanShift(TransformerMixin, BaseEstimator):
    """Move the mean of the source onto that of the target.

    Keeps the labels and weights it was given as `labels_` and `weights_`.
    """

    __metadata_request__fit = {"sample_domain": True}
    __metadata_request__transform = {"sample_domain": True}
    __metadata_request__score = {"sample_domain": True}

    def __init__(self, strength=1.0):
        self.strength = strength

    def fit(self, X, y=None, sample_weight=None, *, sample_domain=None):
        split = split_domains(self, X, y, sample_domain)
        self.labels_, self.weights_ = y, sample_weight
        target_mean = 0.0 if split.X_target is None else split.X_target.mean(axis=0)
        self.shift_ = self.strength * (target_mean - split.X_source.mean(axis=0))
        self.target_ = split.X_target
        return self

    def transform(self, X, *, sample_domain=None):
        check_is_fitted(self)
        split = split_domains(self, X, None, sample_domain, reset=False)
        if split.source_mask is None:
            return split.X_source + self.shift_
        moved = np.empty((len(split.source_mask), self.n_features_in_), split.dtype)
        moved[split.source_mask] = split.X_source + self.shift_
        moved[~split.source_mask] = split.X_target
        return moved

    def fit_transform(self, X, y=None, sample_weight=None, *, sample_domain=None):
        self.fit(X, y, sample_weight, sample_domain=sample_domain)
        return self.transform(X, sample_domain=sample_domain)

    def score(self, X, y=None, sample_weight=None, *, sample_domain=None):
        split = split_domains(self, X, None, sample_domain, reset=False)
        gap = split.X_source.mean(axis=0) + self.shift_ - split.X_target.mean(axis=0)
        return -float(gap @ gap)
