"""The optimal map between Gaussians, in closed form."""

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from skot.measures import REFERENCES, EmpiricalMeasure
from skot.numerics.linalg import (
    bures_squared_distance,
    gaussian_map,
    weighted_covariance,
    weighted_mean,
)
from skot.transport._base import BaseTransport, FittedTarget
from skot.transport._diagnostics import Conditioning
from skot.utils._sklearn import Interval, StrOptions, fit_context
from skot.utils._warnings import warn_user
from skot.utils.tensors import to_tensor
from skot.utils.validation import split_domains

#: Rows per feature from which the map of new rows is near that between the true Gaussians. Mean
#: squared errors of new rows, in per cent of the variance of the target, between two Gaussians
#: drawn at random, with as many rows on both sides: medians of 20 draws (8 for 50 features).
#:
#: ========  ====  ====  ====  ====  ====  ====  ====  ====
#: features    .5     1   1.2   1.5     2     3     5    10
#: ========  ====  ====  ====  ====  ====  ====  ====  ====
#:        5   154   118   219    63    66    39    21     7
#:       10   115   258   190    90    57    30    18     7
#:       20    88   228   163    77    44    21    11     5
#:       50    82   279   117    63    37    21    11     5
#: ========  ====  ====  ====  ====  ====  ====  ====  ====
#:
#: The variance of new rows is 2.1 to 4.6 times that of the target at one row per feature, up to 27
#: times in single draws, and .03 to .6 times at a half. From 1.5 rows on, 50 / (rows per feature
#: - 1) is near these errors.
_ENOUGH_ROWS, _HARDLY_ANY_ROWS = 10, 1.5
#: Between covariances of as many rows as features the ratio of stretches is in the thousands, from
#: ten rows per feature on it is in the tens.
_ILL_CONDITIONED = 1e3

#: The shrinkage to try below so many rows per feature. Errors as above with the best of .1, .3,
#: .5 and .8, for 10, 20 and 50 features: 91, 51, 41 at a half (.8; with .1 they are 222, 159, 135,
#: more than without), 52, 39, 32 at 1 (.5), 29, 25, 21 at 2 (.3), 23, 16, 16 at 3 (.1). At 5 they
#: are 14, 11, 10 (.1), which is what they are without.
_BEST_SHRINKAGE = ((0.6, 0.8), (1.8, 0.5), (2.5, 0.3), (5.0, 0.1))


class GaussianTransport(BaseTransport):
    r"""Transport one sample to another by the optimal map between their Gaussian fits.

    .. math::

        T(x) = m_b + K (x - m_a), \qquad
        K = A^{-1/2} (A^{1/2} B A^{1/2})^{1/2} A^{-1/2}

    with the means :math:`m_a, m_b` and covariances A, B of source and target [1]_. Matching two
    moments is often most of what there is to gain, so it is the baseline for everything else.

    Parameters
    ----------
    shrinkage : float, default=0.0
        Between 0 and 1: share of the covariances that is replaced by a multiple of the identity
        with the same trace. Needed when there are few rows for the features: with less than ten
        rows a feature and none of it, ``fit`` warns.
    reference : {"normal", "uniform"}, default="normal"
        The target when ``fit`` is given none: the standard normal, or the uniform distribution on
        the unit cube, as a fixed quasi-random sample of 1024 points.
    random_state : int, RandomState instance or None, default=None
        Seeds the reference sample; not used with a target.
    device : str, torch.device or None, default=None
        Where to compute: ``None`` follows the input (NumPy: CPU), ``"auto"`` takes CUDA when
        there is one.

    Attributes
    ----------
    source_mean_, target_mean_ : ndarray of shape (n_features,)
        Means.
    linear_, inverse_linear_ : ndarray of shape (n_features, n_features)
        Linear parts of the map and of the map in the other direction.
    wasserstein_distance_ : float
        2-Wasserstein distance between the two Gaussians (not squared).
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has them.

    See Also
    --------
    SinkhornTransport : Matches the whole samples, not two moments.

    References
    ----------
    .. [1] Peyre, G. and Cuturi, M. (2019). Computational optimal transport. Foundations and
       Trends in Machine Learning, 11(5-6), Remark 2.31.

    Examples
    --------
    >>> import numpy as np
    >>> from skot import GaussianTransport
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(100, 2))
    >>> transport = GaussianTransport().fit(X, 2.0 * X + 1.0)
    >>> bool(np.allclose(transport.transform(X), 2.0 * X + 1.0))
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "shrinkage": [Interval(Real, 0, 1, closed="both")],
        "reference": [StrOptions(set(REFERENCES))],
        "random_state": ["random_state"],
        "device": [str, torch.device, None],
    }

    def __init__(self, *, shrinkage=0.0, reference="normal", random_state=None, device=None):
        self.shrinkage = shrinkage
        self.reference = reference
        self.random_state = random_state
        self.device = device

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, sample_domain: Any = None
    ) -> Self:
        """Fit means and covariances, and the map between them.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_target, n_features) or (n_rows,), default=None
            Two-dimensional: the target sample. One-dimensional labels are ignored. Without target
            rows the target is the reference distribution.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows of `X`, normalised on each side.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        self : GaussianTransport
            The fitted transport.

        Raises
        ------
        ValueError
            For bad input.

        Warns
        -----
        UserWarning
            If a side has fewer rows than ten times its features, and `shrinkage` is 0.
        """
        split = split_domains(self, X, y, sample_domain, sample_weight)
        source, target = self._read_samples(X, split, self.reference, self.random_state)
        mean_a, covariance_a = self._moments(source)
        mean_b, covariance_b = self._moments(target.measure)
        distance = (mean_a - mean_b).square().sum()
        distance += bures_squared_distance(covariance_a, covariance_b)
        self.source_mean_, self.target_mean_ = mean_a.cpu().numpy(), mean_b.cpu().numpy()
        self.linear_ = gaussian_map(covariance_a, covariance_b).cpu().numpy()
        self.inverse_linear_ = gaussian_map(covariance_b, covariance_a).cpu().numpy()
        self.wasserstein_distance_ = float(distance.sqrt())
        self._target = target
        self._warn_of_few_rows(source, target)
        return self

    def _warn_of_few_rows(self, source: EmpiricalMeasure, target: FittedTarget) -> None:
        """Say what becomes of new rows where covariances are estimated from few."""
        # A reference is known, however few points stand for it.
        sides = [source] if target.is_reference else [source, target.measure]
        # Of unequal weights, as many equal ones as have the same sum of squares (Kish).
        n_rows = round(min(1.0 / float(side.weights.square().sum()) for side in sides), 6)
        n_features = source.points.shape[1]
        if self.shrinkage > 0 or n_rows >= _ENOUGH_ROWS * n_features:
            return
        per_feature = n_rows / n_features
        if per_feature < _HARDLY_ANY_ROWS:
            harm = "new rows may get several times the variance of the target, or next to none"
        else:
            share = 0.5 / (per_feature - 1.0)
            harm = f"new rows are off by about {100 * share:.0f} % of the target's variance"
        best = next((share for most, share in _BEST_SHRINKAGE if per_feature < most), None)
        remedy = f"Pass shrinkage={best}, reduce" if best else "Shrinkage gains little here: reduce"
        warn_user(
            f"GaussianTransport estimates covariances of {n_features} features from {n_rows:.0f} "
            f"rows, and {harm}. {remedy} the features, or fit on {_ENOUGH_ROWS * n_features} rows "
            "a side. (Any shrinkage above 0 turns this warning off.)"
        )

    def _moments(self, measure: EmpiricalMeasure) -> tuple[Tensor, Tensor]:
        covariance = weighted_covariance(measure.points, measure.weights)
        average = covariance.diagonal().mean()
        identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        shrunk = (1.0 - self.shrinkage) * covariance + self.shrinkage * average * identity
        return weighted_mean(measure.points, measure.weights), shrunk

    def _map(self, x: Tensor, labels: np.ndarray | None) -> Tensor:
        return self._affine(x, self.source_mean_, self.linear_, self.target_mean_)

    def _conditioning(self, x: Tensor) -> Conditioning:
        stretch = np.abs(np.linalg.eigvalsh(self.linear_))
        number = float(stretch.max() / stretch.min()) if stretch.min() > 0 else np.inf
        verdict = "no direction is lost or blown up"
        if number > _ILL_CONDITIONED:
            verdict = "some directions are all but lost or blown up: raise shrinkage"
        return Conditioning(number, "times the least stretch is the largest", verdict)

    def _inverse_map(self, y: Tensor) -> Tensor:
        return self._affine(y, self.target_mean_, self.inverse_linear_, self.source_mean_)

    def _affine(self, x: Tensor, origin, linear, goal) -> Tensor:
        origin, linear, goal = (to_tensor(v, device=x.device) for v in (origin, linear, goal))
        return (x - origin) @ linear + goal
