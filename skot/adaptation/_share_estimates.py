"""Estimate the class shares of a target without labels, from the classes of a source.

Two estimates that use different things, both blind to affine maps of the target:

*by shape*: the shares with which the source, reweighted and carried onto the mean and covariance of
the target by their Gaussian map, is nearest to the target in the Sinkhorn divergence. What a class
looks like is taken from the source, and nothing is assumed of the target but its law.

*by mixture*: the weights of a Gaussian mixture fitted to the target alone, a component for each
class. Of the source it knows only where to start, and which component is which class.

Everything happens in the span of the class means of the source, of n_classes - 1 dimensions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.linalg import solve_continuous_lyapunov
from scipy.optimize import minimize
from scipy.special import softmax
from torch import Tensor

from skot.numerics.linalg import gaussian_map
from skot.solvers import sinkhorn

#: More rows a side would cost time, and shares are not known to more than a few percent anyway.
MAX_ROWS = 300
#: Regularisation relative to the mean cost. Large: the divergence has no entropic bias to first
#: order, and less noise the larger it is.
_EPSILON = 0.2
_TOL = 1e-3
#: Shares are kept above about the exponential of minus this.
_LARGEST_LOGIT = 3.5
_MAX_DESCENT = 15
_MAX_EM = 100

# When an estimate is believed. Chosen on Gaussian classes, digits and Office images at seeds from
# 1000 on.
#: Disagreement of the estimates relative to the change of shares.
LARGEST_DISAGREEMENT = 0.4
#: How much of the misfit at the shares of the source has to go with the estimated ones.
SMALLEST_GAIN = 0.7
#: Changes below are noise, or change little: in the L1 norm, and in binomial standard deviations.
SMALLEST_CHANGE, _SMALLEST_DEVIATION = 0.3, 3.0


@dataclass(frozen=True)
class Sample:
    """Rows of source and target in the span of the class means.

    Attributes
    ----------
    x : ndarray of shape (n, r)
        Source rows.
    weights : ndarray of shape (n,)
        Their weights, which sum to one.
    codes : ndarray of shape (n,)
        Their classes, 0 to k - 1.
    y : ndarray of shape (m, r)
        Target rows, of equal weight.
    """

    x: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    y: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Class shares (k,) of the source."""
        return np.bincount(self.codes, self.weights)

    @property
    def within(self) -> np.ndarray:
        """Weights (n,) of the source rows within their class."""
        return self.weights / self.shares[self.codes]

    def resample(self, rng: np.random.Generator) -> "Sample":
        """Draw rows with replacement, as many of every class as there are."""
        parts = [np.flatnonzero(self.codes == code) for code in range(len(self.shares))]
        rows = np.concatenate([rng.choice(part, len(part)) for part in parts])
        weights, codes = self.weights[rows], self.codes[rows]
        # Every class keeps its mass.
        weights = weights * (self.shares / np.bincount(codes, weights))[codes]
        return Sample(
            self.x[rows], weights, codes, self.y[rng.integers(len(self.y), size=len(self.y))]
        )


@dataclass(frozen=True)
class ShareEstimate:
    """What the rows say of the class shares of the target.

    Attributes
    ----------
    source, by_shape, by_mixture : ndarray of shape (k,)
        Shares of the source, and the two estimates of those of the target.
    gain : float
        Share of the misfit at the source's shares that goes with the estimate by shape.
    n_rows : int
        Of the smaller side.
    std : ndarray of shape (k,)
        Standard error of `shares`; NaN if it was not asked for.
    """

    source: np.ndarray
    by_shape: np.ndarray
    by_mixture: np.ndarray
    gain: float
    n_rows: int
    std: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The mean of the two estimates, of shape (k,)."""
        return (self.by_shape + self.by_mixture) / 2.0

    @property
    def is_change(self) -> bool:
        """Whether the shares differ from those of the source by more than chance."""
        change = np.abs(self.shares - self.source)
        deviations = np.sqrt(self.source * (1.0 - self.source) / self.n_rows)
        is_large = change.sum() > SMALLEST_CHANGE
        return bool(is_large and (change > _SMALLEST_DEVIATION * deviations).any())

    @property
    def disagreement(self) -> float:
        """L1 distance of the two estimates relative to that of their mean from the source."""
        change = np.abs(self.shares - self.source).sum()
        between = np.abs(self.by_shape - self.by_mixture).sum()
        return float(between / change) if change > 0 else float("inf")

    @property
    def is_reliable(self) -> bool:
        """Whether to act on it: there is a change, both estimates see it, and it explains."""
        agree = self.disagreement < LARGEST_DISAGREEMENT
        return self.is_change and agree and self.gain > SMALLEST_GAIN


def estimate_shares(
    X: np.ndarray,
    weights: np.ndarray,
    codes: np.ndarray,
    Y: np.ndarray,
    *,
    n_resamples: int = 0,
    seed: int = 0,
) -> ShareEstimate:
    """Estimate the class shares of `Y` (m, d) from the classes `codes` (n,) of `X` (n, d).

    `weights` (n,) of the rows of `X` sum to one, and every class has some. With `n_resamples` the
    estimate gets a standard error, by bootstrap, with what the two estimates differ in added.
    """
    rng = np.random.default_rng(seed)
    sample = _project(X, weights, codes, Y, rng)
    source = sample.shares
    mixture = _best_mixture(sample)
    misfit = _Misfit(sample)
    # Its minimum is not unique, and a good guess is welcome from anyone: the least misfit decides.
    fits = [misfit.descend(start) for start in (source, mixture.shares)]
    by_shape, value = min(fits, key=lambda fit: fit[1])
    at_source = misfit.value_and_gradient(source)[0]
    gain = 1.0 - value / at_source if at_source > 0 else 0.0
    std = np.full(len(source), np.nan)
    if n_resamples:
        drawn = [
            _estimate_again(sample.resample(rng), by_shape, mixture) for _ in range(n_resamples)
        ]
        spread = np.std(drawn, axis=0, ddof=1)
        std = np.hypot(spread, (by_shape - mixture.shares) / 2.0)
    n_rows = min(len(sample.x), len(sample.y))
    return ShareEstimate(source, by_shape, mixture.shares, float(gain), n_rows, std)


def _estimate_again(sample: Sample, by_shape: np.ndarray, mixture: "_Mixture") -> np.ndarray:
    """Shares (k,) of resampled rows, from the estimates of the rows they were drawn from."""
    again = _Misfit(sample).descend(by_shape)[0]
    return (again + _fit_mixture(sample.y, mixture).shares) / 2.0


def _project(X, weights, codes, Y, rng: np.random.Generator) -> Sample:
    """Some rows of both sides in an orthonormal basis of the span of the class means."""
    n_classes = codes.max() + 1
    parts = [np.flatnonzero(codes == code) for code in range(n_classes)]
    keep = min(1.0, MAX_ROWS / len(X))
    rows = np.concatenate(
        [rng.permutation(part)[: max(2, round(keep * len(part)))] for part in parts]
    )
    targets = rng.permutation(len(Y))[:MAX_ROWS]
    shares = np.bincount(codes, weights)
    means = np.stack([weights[part] @ X[part] / weights[part].sum() for part in parts])
    centre = shares @ means
    _, sizes, directions = np.linalg.svd(means - centre, full_matrices=False)
    basis = directions[: n_classes - 1][sizes[: n_classes - 1] > 1e-8 * sizes[0]].T
    kept, kept_codes = weights[rows], codes[rows]
    # A class keeps its mass when only some of its rows are used.
    kept = kept * (shares / np.bincount(kept_codes, kept))[kept_codes]
    return Sample((X[rows] - centre) @ basis, kept, kept_codes, (Y[targets] - centre) @ basis)


class _Misfit:
    """Sinkhorn divergence between target and reweighted source, after the Gaussian map.

    In units of the target's variance.
    """

    def __init__(self, sample: Sample, tol: float = _TOL):
        self.tol = tol
        self._sample, self._within = sample, sample.within
        self._y = torch.from_numpy(sample.y - sample.y.mean(0))
        self._covariance = self._y.T @ self._y / len(self._y)
        self._unit = float(self._covariance.trace())
        self._of_target = float(self._transport(self._y, self._y))
        classes = [sample.codes == code for code in range(len(sample.shares))]
        x, within = sample.x, self._within
        self._means = np.stack([within[rows] @ x[rows] for rows in classes])
        self._squares = np.stack([(x[r] * within[r, None]).T @ x[r] for r in classes])

    def _transport(self, x: Tensor, y: Tensor, a: Any = None, b: Any = None) -> Tensor:
        """Entropic value between points (n, r) and (m, r) with weights (n,), (m,) or equal ones."""
        epsilon = 2.0 * _EPSILON * self._unit
        return sinkhorn(x, y, a, b, epsilon=epsilon, tol=self.tol).dual_value

    def value_and_gradient(self, shares: np.ndarray) -> tuple[float, np.ndarray]:
        """Value at shares (k,) that sum to one, and derivatives (k,) up to a constant."""
        mean = shares @ self._means
        covariance = np.tensordot(shares, self._squares, 1) - np.outer(mean, mean)
        linear = gaussian_map(torch.from_numpy(covariance), self._covariance).numpy()
        centred = self._sample.x - mean
        x = torch.from_numpy(centred @ linear).requires_grad_()
        a = torch.from_numpy(shares[self._sample.codes] * self._within).requires_grad_()
        between, within = self._transport(x, self._y, a), self._transport(x, x, a, a)
        value = (between - 0.5 * within - 0.5 * self._of_target) / self._unit
        by_points, by_weights = (part.numpy() for part in torch.autograd.grad(value, (x, a)))
        gradient = np.bincount(self._sample.codes, by_weights * self._within)
        gradient -= self._means @ linear @ by_points.sum(0)
        sensitivity = centred.T @ by_points
        for code, (own_mean, square) in enumerate(zip(self._means, self._squares, strict=True)):
            cross = np.outer(own_mean, mean)
            turned = _map_derivative(linear, covariance, square - cross - cross.T)
            gradient[code] += (sensitivity * turned).sum()
        return float(value.detach()), gradient

    def descend(self, start: np.ndarray) -> tuple[np.ndarray, float]:
        """Shares (k,) of a local minimum, and its value."""

        def by_logits(free: np.ndarray) -> tuple[float, np.ndarray]:
            shares = softmax(np.append(0.0, free))
            value, gradient = self.value_and_gradient(shares)
            return value, (shares * (gradient - shares @ gradient))[1:]

        logits = np.log(np.maximum(start, 1e-3))
        free = np.clip(logits[1:] - logits[0], -_LARGEST_LOGIT, _LARGEST_LOGIT)
        found = minimize(
            by_logits,
            free,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-_LARGEST_LOGIT, _LARGEST_LOGIT)] * len(free),
            options={"maxiter": _MAX_DESCENT, "ftol": 1e-5, "gtol": 1e-4},
        )
        return softmax(np.append(0.0, found.x)), float(found.fun)


def _map_derivative(linear: np.ndarray, covariance: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Derivative (r, r) of the Gaussian map K in a change of the covariance A, from K A K = B."""
    moved = covariance @ linear
    return solve_continuous_lyapunov(moved.T, -linear @ change @ linear)


@dataclass(frozen=True)
class _Mixture:
    """Gaussians of one covariance: shares (k,), means (k, r), covariance (r, r)."""

    shares: np.ndarray
    means: np.ndarray
    covariance: np.ndarray
    log_likelihood: float = -np.inf


def _best_mixture(sample: Sample) -> _Mixture:
    """The likeliest mixture of the target, from the source at several shares as starts."""
    shares, within = sample.shares, sample.within
    k = len(shares)
    codes = [sample.codes == code for code in range(k)]
    means = np.stack([within[rows] @ sample.x[rows] for rows in codes])
    deviations = sample.x - means[sample.codes]
    scatter = deviations.T @ (sample.weights[:, None] * deviations)
    target = torch.from_numpy(np.cov(sample.y.T, bias=True).reshape(scatter.shape))
    goal = sample.y.mean(0)
    # Equal shares, and each class with three quarters: from equal ones EM does not get there.
    rest = 0.25 / (k - 1)
    starts = [np.full(k, 1.0 / k), *(rest + (0.75 - rest) * np.eye(k))]
    fits = []
    for start in starts:
        centred = means - start @ means
        total = scatter + centred.T @ (start[:, None] * centred)
        linear = gaussian_map(torch.from_numpy(total), target).numpy()
        guess = _Mixture(start, centred @ linear + goal, linear @ scatter @ linear)
        fits.append(_fit_mixture(sample.y, guess))
    return max(fits, key=lambda fit: fit.log_likelihood)


def _fit_mixture(y: np.ndarray, start: _Mixture) -> _Mixture:
    """Expectation maximisation on rows (m, r) from a start."""
    shares, means, covariance = start.shares, start.means, start.covariance
    total = y.T @ y / len(y)
    jitter = 1e-6 * np.trace(np.cov(y.T, bias=True).reshape(total.shape)) / len(total)
    before = -np.inf
    for _ in range(_MAX_EM):
        root = np.linalg.cholesky(covariance + jitter * np.eye(len(total)))
        rows, centres = np.linalg.solve(root, y.T).T, np.linalg.solve(root, means.T).T
        squares = (rows**2).sum(1)[:, None] - 2.0 * rows @ centres.T + (centres**2).sum(1)
        joint = np.log(shares) - 0.5 * squares
        largest = joint.max(1, keepdims=True)
        member = np.exp(joint - largest)
        mass = member.sum(1, keepdims=True)
        # Up to a constant.
        likelihood = (largest + np.log(mass)).mean() - np.log(np.diag(root)).sum()
        if likelihood - before < 1e-5:
            break
        before = likelihood
        member /= mass
        counts = member.sum(0) + 1e-9
        shares, means = counts / counts.sum(), member.T @ y / counts[:, None]
        covariance = total - means.T @ (counts[:, None] * means) / len(y)
    return _Mixture(shares, means, covariance, likelihood)
