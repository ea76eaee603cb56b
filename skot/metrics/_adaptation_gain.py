"""Whether the predictions of an adapted model fit the target better than those without."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from skot.metrics._scorer_base import DomainScorer, take_rows
from skot.utils.validation import check_points

__all__ = ["AdaptationGain", "AdaptationGainScorer", "adaptation_gain"]

#: Both ratios above the first: adapting helps. Both below the second: it does harm.
HELPS, DOUBTFUL = 1.1, 0.9


@dataclass(frozen=True)
class AdaptationGain:
    """How two sets of predicted classes fit the rows they were predicted for.

    Attributes
    ----------
    separation, unadapted_separation : float
        Share of the rows' variance that lies between the predicted classes, in [0, 1]: of the
        adapted predictions and of those without adaptation.
    agreement, unadapted_agreement : float
        Share of a row's nearest neighbours that have its predicted class, less the share that
        chance would give; 0 where all rows are predicted to be of one class.
    n_rows : int
        Number of rows they were computed on.

    See Also
    --------
    adaptation_gain : Computes it.
    """

    separation: float
    unadapted_separation: float
    agreement: float
    unadapted_agreement: float
    n_rows: int

    @property
    def separation_ratio(self) -> float:
        """Separation over the one without adaptation."""
        return _ratio(self.separation, self.unadapted_separation)

    @property
    def agreement_ratio(self) -> float:
        """Agreement over the one without adaptation."""
        return _ratio(self.agreement, self.unadapted_agreement)

    @property
    def ratio(self) -> float:
        """The lesser of the two ratios."""
        return min(self.separation_ratio, self.agreement_ratio)

    @property
    def helps(self) -> bool:
        """Whether both ratios exceed 1.1."""
        return self.ratio > HELPS

    @property
    def is_doubtful(self) -> bool:
        """Whether both ratios are below 0.9."""
        return max(self.separation_ratio, self.agreement_ratio) < DOUBTFUL

    def __str__(self) -> str:
        lines = [
            f"Predictions for {self.n_rows} target rows    adapted  unadapted  ratio",
            self._line("variance between classes", "separation"),
            self._line("agreement of neighbours", "agreement"),
        ]
        verdict = "adapting and not adapting fit the target about as well"
        if self.helps:
            verdict = "adapting helps"
        if self.is_doubtful:
            verdict = "adapting is doubtful"
        return "\n".join([*lines, f"Verdict: {verdict}."])

    def _line(self, title: str, name: str) -> str:
        adapted, unadapted = getattr(self, name), getattr(self, f"unadapted_{name}")
        ratio = getattr(self, f"{name}_ratio")
        return f"{title:<34} {adapted:9.3f} {unadapted:10.3f} {ratio:6.2f}"


def adaptation_gain(
    X: Any, adapted: Any, unadapted: Any, *, n_neighbors: int = 5
) -> AdaptationGain:
    r"""Compare the classes that two models predict for the same rows, without labels.

    Classes are clusters in most data. Predictions that follow the clusters of the target separate
    its rows, and give neighbours the same class; an adaptation that mixed classes up, or sent all
    to one, does less of both than no adaptation.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Target rows where they are: not moved, and scaled if the model scales them.
    adapted : array-like of shape (n_rows,)
        Predictions of the adapted model.
    unadapted : array-like of shape (n_rows,)
        Predictions of the model that was fitted to the source as it is.
    n_neighbors : int, default=5
        Number of neighbours of each row.

    Returns
    -------
    gain : AdaptationGain
        The figures of both, their ratios, and a verdict.

    Raises
    ------
    ValueError
        For bad input, or if there are not more rows than `n_neighbors`.

    See Also
    --------
    AdaptationGainScorer : The lesser ratio as a score.
    skot.DomainAdaptation : Computes it in ``fit``, and with ``fallback="auto"`` acts on it.

    Notes
    -----
    With the rows of predicted class k, their share :math:`q_k` and mean :math:`m_k`, the mean m of
    all rows, and the neighbours :math:`N(i)` of row i, the separation and the agreement are

    .. math::

        \frac{\sum_k q_k |m_k - m|^2}{\frac1n \sum_i |y_i - m|^2}, \qquad
        \frac1n \sum_i \frac{|\{j \in N(i) : k_j = k_i\}|}{|N(i)|} - \sum_k q_k^2 .

    The first is the correlation ratio [1]_. Time and memory are O(n_rows²) at worst.

    References
    ----------
    .. [1] Pearson, K. (1905). On the general theory of skew correlation and non-linear regression.
       Drapers' Company Research Memoirs.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.metrics import adaptation_gain
    >>> X = np.random.default_rng(0).normal(size=(60, 2))
    >>> X[30:] += 8.0
    >>> print(adaptation_gain(X, X[:, 0] > 4.0, X[:, 0] > 0.0))
    Predictions for 60 target rows    adapted  unadapted  ratio
    variance between classes               0.947      0.465   2.04
    agreement of neighbours                0.500      0.339   1.47
    Verdict: adapting helps.
    """
    rows = np.asarray(check_points(X), dtype=np.float64)
    predictions = [column_or_1d(labels) for labels in (adapted, unadapted)]
    check_consistent_length(rows, *predictions)
    if len(rows) <= n_neighbors:
        raise ValueError(
            f"adaptation_gain needs more rows than neighbours. Got {len(rows)} rows for "
            f"n_neighbors={n_neighbors}."
        )
    # Not at the top: it would be a good part of the time of `import skot`.
    from sklearn.neighbors import NearestNeighbors

    neighbours = NearestNeighbors(n_neighbors=n_neighbors).fit(rows).kneighbors()[1]
    codes = [np.unique(labels, return_inverse=True)[1] for labels in predictions]
    return AdaptationGain(
        separation=_separation(rows, codes[0]),
        unadapted_separation=_separation(rows, codes[1]),
        agreement=_agreement(neighbours, codes[0]),
        unadapted_agreement=_agreement(neighbours, codes[1]),
        n_rows=len(rows),
    )


#: The largest score: searches take means, and warn of what is not finite.
_MOST = 100.0


class AdaptationGainScorer(DomainScorer):
    """Whether an adaptation predicts classes that fit the target better than without it.

    The lesser of the two ratios of `adaptation_gain`, on the target rows of the call: 1 without
    adaptation, as with ``transport="passthrough"``. It is a guard against making things worse: of
    several adaptations that beat "passthrough" the best score need not be the most accurate. Where
    the model without adaptation predicts a single class, the score is 100.

    It takes no fit: `skot.DomainAdaptation` has kept the model without adaptation, unless
    ``fallback=None``. For classifiers only.

    See Also
    --------
    CircularValidationScorer : Ranks adaptations by the way back.
    adaptation_gain : The figures.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skot import DomainAdaptation, SinkhornTransport
    >>> from skot.datasets import make_rotated_moons
    >>> from skot.metrics import AdaptationGainScorer
    >>> from skot.utils import stack_domains
    >>> X_source, y_source, X_target, _ = make_rotated_moons(angle=20, random_state=0)
    >>> X, y, sample_domain = stack_domains(X_source, X_target, y_source)
    >>> scorer = AdaptationGainScorer()
    >>> for transport in ("passthrough", SinkhornTransport()):
    ...     model = DomainAdaptation(LogisticRegression(), transport)
    ...     model = model.fit(X, y, sample_domain=sample_domain)
    ...     print(round(scorer(model, X, sample_domain=sample_domain), 2))
    1.0
    1.09
    """

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        from sklearn.pipeline import Pipeline

        if isinstance(estimator, Pipeline):
            X = estimator[:-1].transform(X) if len(estimator) > 1 else X
            estimator = estimator[-1]
        if not hasattr(estimator, "compare_adaptation"):
            raise ValueError(
                f"{type(self).__name__} needs a DomainAdaptation of a classifier, or a pipeline "
                f"that ends with one. Got {estimator!r}."
            )
        gain = estimator.compare_adaptation(take_rows(X, np.flatnonzero(~is_source)))
        return min(gain.ratio, _MOST)


def _separation(rows: np.ndarray, codes: np.ndarray) -> float:
    """Share of the variance of rows (n, d) between the classes of `codes` (n,)."""
    centred = rows - rows.mean(axis=0)
    total = np.square(centred).sum()
    counts = np.bincount(codes)
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, codes, centred)
    between = (np.square(sums).sum(axis=1) / counts).sum()
    # One class separates nothing, where the sum is what rounding leaves of zero.
    return float(between / total) if total > 0 and len(counts) > 1 else 0.0


def _agreement(neighbours: np.ndarray, codes: np.ndarray) -> float:
    """Share of neighbours (n, k) of the same class, less that by chance."""
    shares = np.bincount(codes) / len(codes)
    return float((codes[neighbours] == codes[:, None]).mean() - np.square(shares).sum())


def _ratio(value: float, reference: float) -> float:
    """`value` over `reference`, where less than nothing is nothing, and 1 for two nothings."""
    value, reference = max(value, 0.0), max(reference, 0.0)
    if reference == 0.0:
        return 1.0 if value == 0.0 else float("inf")
    return value / reference
