"""Classifiers trained on wrong labels, regularised against an adversary.

Virtual adversarial training and its Wasserstein counterpart differ in one function: how far the
prediction at a neighbour is from the prediction at the point.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from skot.costs import PrecomputedCost
from skot.metrics import probability_transport
from skot.solvers import Initializer

#: Asymmetric noise: a digit, and the one it is taken for.
CONFUSIONS = ((7, 1), (2, 7), (5, 6), (6, 5), (3, 8))


def flip_labels(y: np.ndarray, noise: str, rate: float, seed: int) -> np.ndarray:
    """Return labels of which a share is wrong.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Digits from 0 to 9.
    noise : {"symmetric", "asymmetric"}
        Flips to any of the nine other classes with equal probability, or of `CONFUSIONS` only.
    rate : float
        Probability of a flip; with asymmetric noise, of the digits that have one.
    seed : int
        Of the draws.

    Returns
    -------
    noisy : ndarray of shape (n_samples,)
        The labels to train with.
    """
    rng = np.random.RandomState(seed)
    if noise == "symmetric":
        others = (y + rng.randint(1, 10, size=len(y))) % 10
    else:
        table = np.arange(10)
        for digit, other in CONFUSIONS:
            table[digit] = other
        others = table[y]
    return np.where(rng.uniform(size=len(y)) < rate, others, y)


def class_costs(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return distances between the mean images of classes, as labelled, the largest being one."""
    means = np.stack([X[y == label].mean(axis=0) for label in range(10)])
    distances = np.linalg.norm(means[:, None] - means, axis=2)
    return distances / distances.max()


def make_network(seed: int, width: int = 256) -> nn.Module:
    """Return a perceptron with two hidden layers on images of 784 pixels.

    Parameters
    ----------
    seed : int
        Of the initial weights.
    width : int, default=256
        Of the hidden layers.

    Returns
    -------
    network : Module
        From pixels to logits of ten classes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(width, 10))


def kullback_leibler(logits: Tensor, reference: Tensor) -> Tensor:
    """Return KL(reference | softmax(logits)), row by row."""
    return (reference * (reference.clamp_min(1e-30).log() - logits.log_softmax(1))).sum(1)


@dataclass
class Wasserstein:
    """Debiased transport cost between predictions; keeps what it solved, and what it took."""

    matrix: np.ndarray
    epsilon: float
    tol: float = 1e-3
    initializer: Initializer | None = None
    seconds: float = 0.0
    passes: list[Tensor] = field(default_factory=list)
    pairs: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cost = PrecomputedCost(self.matrix)

    def __call__(self, logits: Tensor, reference: Tensor) -> Tensor:
        """Return the cost between softmax(logits) and the reference, row by row."""
        probabilities = logits.softmax(1)
        start = time.process_time()
        result = probability_transport(
            probabilities,
            reference,
            self.cost,
            epsilon=self.epsilon,
            debiased=True,
            initializer=self.initializer,
            tol=self.tol,
        )
        self.seconds += time.process_time() - start
        self.passes.append(result.passes)
        self.pairs.append(torch.cat([probabilities.detach(), reference], 1))
        return result.value.float()

    def collect(self) -> tuple[Tensor, Tensor]:
        """Return the passes and the rows [a, b] of all problems so far, and forget them."""
        passes, pairs = torch.cat(self.passes), torch.cat(self.pairs)
        self.passes.clear()
        self.pairs.clear()
        return passes, pairs


def adversarial_penalty(
    network: nn.Module,
    X: Tensor,
    logits: Tensor,
    divergence,
    *,
    radius: float,
    probe: float,
    generator: torch.Generator,
) -> Tensor:
    """Return how far predictions move to the worst neighbour, to first order.

    The direction is the gradient of the divergence at a random neighbour (one step of the power
    method in Miyato et al., 2018, Algorithm 1); predictions at the points are constants.

    Parameters
    ----------
    network : Module
        From rows to logits.
    X : Tensor of shape (n_rows, n_features)
        Points.
    logits : Tensor of shape (n_rows, n_classes)
        Predictions there.
    divergence : callable
        From logits and probabilities to one value per row.
    radius : float
        Euclidean distance of the neighbour.
    probe : float
        Distance of the random neighbour.
    generator : torch.Generator
        Of the random directions.

    Returns
    -------
    penalty : Tensor of shape ()
        Mean over the rows.
    """
    reference = logits.detach().softmax(1)
    direction = torch.randn(X.shape, generator=generator)
    shift = (probe * nn.functional.normalize(direction, dim=1)).requires_grad_()
    (gradient,) = torch.autograd.grad(divergence(network(X + shift), reference).sum(), shift)
    neighbour = X + radius * nn.functional.normalize(gradient, dim=1)
    return divergence(network(neighbour), reference).mean()


@dataclass(frozen=True)
class Penalty:
    """What is added to the cross entropy: weight times the divergence from the worst neighbour."""

    divergence: Callable[[Tensor, Tensor], Tensor]
    weight: float
    radius: float
    probe: float = 1.0


def train(
    network: nn.Module,
    X: Tensor,
    y: Tensor,
    penalty: Penalty | None,
    *,
    n_epochs: int,
    seed: int,
    batch_size: int = 128,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> None:
    """Minimise cross entropy, with a penalty or without, by Adam, from a rate of 1e-3 to zero.

    Parameters
    ----------
    network : Module
        Trained in place.
    X, y : Tensor of shape (n_rows, n_features), (n_rows,)
        Rows and their labels.
    penalty : Penalty or None
        The regulariser.
    n_epochs : int
        Passes over the rows.
    seed : int
        Of the batches and of the random directions.
    batch_size : int, default=128
        Rows of a step.
    after_epoch : callable
        Called with the number of the epoch.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
    batches, directions = (torch.Generator().manual_seed(seed) for _ in range(2))
    for epoch in range(n_epochs):
        for rows in torch.randperm(len(X), generator=batches).split(batch_size):
            logits = network(X[rows])
            loss = nn.functional.cross_entropy(logits, y[rows])
            if penalty is not None:
                loss = loss + penalty.weight * adversarial_penalty(
                    network,
                    X[rows],
                    logits,
                    penalty.divergence,
                    radius=penalty.radius,
                    probe=penalty.probe,
                    generator=directions,
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        after_epoch(epoch)
