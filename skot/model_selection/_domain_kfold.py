"""Folds that hold rows of both domains."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import BaseCrossValidator, KFold
from sklearn.utils import check_random_state

from skot.utils._warnings import warn_user
from skot.utils.validation import check_sample_domain

__all__ = ["DomainKFold"]


class DomainKFold(BaseCrossValidator):
    """K-fold cross-validation whose folds hold source and target rows in proportion.

    The source rows and the target rows are cut into `n_splits` folds each, as
    `sklearn.model_selection.KFold` does, and joined: every training set and every test set has
    both, whatever the order of the rows.

    It requests `sample_domain`: scikit-learn's searches hand it over with
    ``sklearn.set_config(enable_metadata_routing=True)``.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Whether to shuffle the rows of each side first. Rows that are sorted, by class for
        instance, need it.
    random_state : int, RandomState instance or None, default=None
        Order of the shuffled rows. An int gives the same folds in every call.

    Raises
    ------
    ValueError, TypeError
        For bad parameters, when the object is made, as scikit-learn's splitters do.

    See Also
    --------
    skot.utils.stack_domains : Stacks two samples such that ``cv=5`` gives such folds too.
    skot.DomainAdaptation : The estimator to tune with it.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.model_selection import DomainKFold
    >>> X, sample_domain = np.zeros((6, 1)), [1, 1, 1, 1, -1, -1]
    >>> folds = DomainKFold(n_splits=2).split(X, sample_domain=sample_domain)
    >>> [(train.tolist(), test.tolist()) for train, test in folds]
    [([2, 3, 5], [0, 1, 4]), ([0, 1, 4], [2, 3, 5])]
    """

    __metadata_request__split = {"sample_domain": True}

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ):
        KFold(n_splits, shuffle=shuffle, random_state=random_state)  # raises for bad parameters
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def split(
        self, X: Any, y: Any = None, groups: Any = None, *, sample_domain: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Generate the indices of the training rows and of the test rows of each fold.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Both samples, stacked.
        y : object, default=None
            Ignored.
        groups : object, default=None
            Ignored; scikit-learn passes it when metadata routing is off.
        sample_domain : array-like of int, shape (n_rows,)
            Source where it is not negative, target where it is.

        Yields
        ------
        train, test : ndarray of int
            Sorted indices.

        Raises
        ------
        ValueError
            If `sample_domain` is missing or bad, or if a side has fewer rows than folds.
        """
        if groups is not None:
            warn_user(f"The groups parameter is ignored by {type(self).__name__}")
        source_rows, target_rows = self._rows_by_side(X, sample_domain)
        # One random state, so that the two sides are shuffled independently.
        random_state = check_random_state(self.random_state) if self.shuffle else None
        folds = KFold(self.n_splits, shuffle=self.shuffle, random_state=random_state)
        for source, target in zip(folds.split(source_rows), folds.split(target_rows), strict=True):
            train, test = (
                np.sort(np.concatenate([source_rows[of_source], target_rows[of_target]]))
                for of_source, of_target in zip(source, target, strict=True)
            )
            yield train, test

    def _rows_by_side(self, X: Any, sample_domain: Any) -> tuple[np.ndarray, np.ndarray]:
        if sample_domain is None:
            raise ValueError(
                f"{type(self).__name__} needs sample_domain. For cross_validate, GridSearchCV and "
                "the like, call sklearn.set_config(enable_metadata_routing=True) and pass "
                "sample_domain to fit, or in params."
            )
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        is_source = check_sample_domain(sample_domain, n_rows, require_both=True)
        source_rows, target_rows = np.flatnonzero(is_source), np.flatnonzero(~is_source)
        for side, rows in (("source", source_rows), ("target", target_rows)):
            if len(rows) < self.n_splits:
                raise ValueError(
                    f"Cannot have number of splits n_splits={self.n_splits} greater than the "
                    f"number of {side} rows in sample_domain: {len(rows)}."
                )
        return source_rows, target_rows

    def get_n_splits(
        self, X: Any = None, y: Any = None, groups: Any = None, *, sample_domain: Any = None
    ) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups, sample_domain : object, default=None
            Ignored.

        Returns
        -------
        n_splits : int
            The number of folds.
        """
        return self.n_splits
