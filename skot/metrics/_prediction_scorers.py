"""Scorers that look at the predicted probabilities of target rows and nothing else."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.special import entr, log_softmax

from skot.metrics._scorer_base import DomainScorer
from skot.numerics.tiles import row_tiles
from skot.utils._sklearn import Interval

__all__ = ["PredictionEntropyScorer", "SoftNeighborhoodDensityScorer"]


def _target_probabilities(estimator: Any, X: Any, is_source: np.ndarray, scorer: Any) -> np.ndarray:
    if not hasattr(estimator, "predict_proba"):
        raise AttributeError(
            f"{type(scorer).__name__} needs predict_proba, which {type(estimator).__name__} does "
            "not have."
        )
    # All rows go in, so that a data frame stays one.
    return np.asarray(estimator.predict_proba(X))[~is_source]


class PredictionEntropyScorer(DomainScorer):
    r"""Minus the mean entropy of the predicted probabilities of target rows.

    A classifier that is sure of its predictions scores high, whether they are right or not: it
    tells good regularisations apart, and is blind to a target moved onto the wrong class.

    See Also
    --------
    SoftNeighborhoodDensityScorer : Whether alike predictions form dense groups.
    CircularValidationScorer : Also sees predictions that are sure and wrong.

    Notes
    -----
    :math:`\frac{1}{n} \sum_{i \in \text{target}} \sum_k p_{ik} \log p_{ik}`, in nats: 0 at best,
    minus the logarithm of the number of classes at worst.

    References
    ----------
    .. [1] Morerio, P., Cavazza, J., Murino, V. (2018). Minimal-Entropy Correlation Alignment for
       Unsupervised Deep Domain Adaptation. ICLR.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from skot.metrics import PredictionEntropyScorer
    >>> X, y, sample_domain = [[0.0], [1.0], [2.0]], [0, 1, -1], [1, 1, -1]
    >>> guess = DummyClassifier(strategy="prior").fit(X[:2], y[:2])
    >>> PredictionEntropyScorer()(guess, X, sample_domain=sample_domain)  # -log(2)
    -0.69...
    """

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        probabilities = _target_probabilities(estimator, X, is_source, self)
        return -entr(probabilities).sum(axis=1).mean()


class SoftNeighborhoodDensityScorer(DomainScorer):
    r"""Soft neighbourhood density of the predicted probabilities of target rows.

    It is high when every target row has many others with the same prediction. Predictions that
    are all alike score highest: do not use it where a class may swallow the others.

    Parameters
    ----------
    temperature : float, default=0.05
        Below which difference of cosine similarity two predictions count as alike.

    See Also
    --------
    PredictionEntropyScorer : Simpler, and in need of one target row only.

    Notes
    -----
    With the probabilities :math:`p_i` of the target rows scaled to length one, it is the mean
    entropy of the distributions :math:`P_{ij} \propto \exp(p_i^\top p_j / \tau)`,
    :math:`j \neq i`. Time is proportional to the square of the number of target rows, memory a
    few MiB.

    References
    ----------
    .. [1] Saito, K., Kim, D., Teterwak, P., Sclaroff, S., Darrell, T., Saenko, K. (2021). Tune it
       the Right Way: Unsupervised Validation of Domain Adaptation via Soft Neighborhood Density.
       ICCV, equations 1 to 3.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from skot.metrics import SoftNeighborhoodDensityScorer
    >>> X, y, sample_domain = [[0.0], [1.0], [2.0], [3.0]], [0, 1, -1, -1], [1, 1, -1, -1]
    >>> guess = DummyClassifier().fit(X[:2], y[:2])
    >>> SoftNeighborhoodDensityScorer()(guess, X, sample_domain=sample_domain)  # one neighbour
    0.0
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "temperature": [Interval(Real, 0, None, closed="neither")]
    }

    def __init__(self, temperature: float = 0.05):
        self.temperature = temperature

    def _score(self, estimator: Any, X: Any, y: Any, is_source: np.ndarray) -> float:
        p = _target_probabilities(estimator, X, is_source, self)
        n_rows = len(p)
        if n_rows < 2:
            raise ValueError(f"{type(self).__name__} needs at least 2 target rows. Got {n_rows}.")
        p = p / np.linalg.norm(p, axis=1, keepdims=True)
        total = 0.0
        for rows in row_tiles(n_rows, n_rows):
            similarity = p[rows] @ p.T / self.temperature
            index = np.arange(rows.start, rows.stop)
            similarity[index - rows.start, index] = -np.inf  # a row is not its own neighbour
            total += entr(np.exp(log_softmax(similarity, axis=1))).sum()
        return total / n_rows
