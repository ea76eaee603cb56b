"""Small neural transports, and networks and callbacks for them, that several tests share."""

import sys

import numpy as np
import torch
from _problems import numpy_samples
from sklearn.base import BaseEstimator

from skot import NeuralOT, W2GNTransport
from skot.costs import Cost
from skot.datasets import make_location_scatter_pair
from skot.losses import WeakQuadratic
from skot.networks import ConditionalMLP, MLPMap, MLPPotential
from skot.transport._neural import fit
from skot.transport._neural_ot.training import MaximinDirection
from skot.transport._w2gn.training import DualStep

X, Y = numpy_samples(64, 64)
POTENTIAL = MLPPotential((16, 16))
TRAINING = {"potential": POTENTIAL, "max_iter": 20, "batch_size": 32, "random_state": 0}


def w2gn(**params):
    """Return a transport that is fitted in no time."""
    return W2GNTransport(**{"amortizer": MLPMap((16, 16)), **TRAINING, **params})


def strong(cost=None, **params):
    """Return one of another kind."""
    networks = {"transport_map": MLPMap((16, 16)), "n_map_steps": 2}
    return NeuralOT(cost, **{**networks, **TRAINING, **params})


def weak(gamma=0.9, **params):
    """Return one that splits mass."""
    cost = params.pop("cost", WeakQuadratic(gamma=gamma))
    return strong(cost, **{"transport_map": ConditionalMLP((16, 16)), **params})


def values(transport):
    """Return the values that a fitted transport has."""
    if isinstance(transport, NeuralOT):
        return [transport.cost_value_, transport.duality_gap_]
    return [transport.wasserstein_distance_]


def numbers(transport):
    """Return what a transport gives for the samples, and what it says of itself."""
    given = [transport.transform(X), transport.loss_curve_, values(transport)]
    if isinstance(transport, NeuralOT):
        draws = transport.sample_transform(X, 2, random_state=0)
        return [*given, draws, transport.conditional_variance(X)]
    return [*given, transport.inverse_transform(Y)]


def same(one, other):
    """Whether two transports give the same numbers, bit by bit."""
    pairs = zip(numbers(one), numbers(other), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


# --- training that goes wrong ----------------------------------------------------------


def forbid_training(monkeypatch):
    """Whatever is wrong must be found before training."""

    def train(*args, **options):
        raise AssertionError("trained")

    monkeypatch.setattr(fit, "train", train)


def wrap_steps(monkeypatch, wrap):
    """Replace the steps of training; ``wrap(step, i)`` does the `i`-th and returns its loss."""

    def wrapped(step):
        return lambda self, i, *draws: wrap(lambda: step(self, i, *draws), i)

    for kind, name in ((DualStep, "__call__"), (MaximinDirection, "step")):
        monkeypatch.setattr(kind, name, wrapped(getattr(kind, name)))


def interrupt_at(monkeypatch, iteration, error):
    """Make one step of training raise."""

    def interrupted(step, i):
        if i == iteration:
            raise error
        return step()

    wrap_steps(monkeypatch, interrupted)


class Bowl(torch.nn.Module):
    """A convex potential of plain torch."""

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.nn.Parameter(weights)

    def forward(self, x):
        return torch.logsumexp(x @ self.weights, dim=1) + 0.5 * x.square().sum(dim=1)


class Bowls(BaseEstimator):
    def __init__(self, width=8):
        self.width = width

    def build(self, n_features, *, generator):
        return Bowl(0.1 * torch.randn(n_features, self.width, generator=generator))


class Broken(BaseEstimator):
    """A potential that overflows."""

    def build(self, n_features, *, generator):
        module = Bowl(torch.ones(n_features, 1))
        module.weights.data.fill_(torch.inf)
        return module


class Noisy(torch.nn.Module):
    """A map that is linear in the row and in noise of one feature."""

    n_noise_features = 1

    def __init__(self, n_features, hears=True):
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.eye(n_features))
        self.noise = torch.nn.Parameter(torch.full((1, n_features), 0.3 if hears else 0.0))
        self.noise.requires_grad_(hears)

    def forward(self, x, z):
        return (x @ self.matrix)[:, None] + z @ self.noise


class Noisies:
    takes_noise = True

    def __init__(self, hears=True):
        self.hears = hears

    def build(self, n_features, *, generator):
        return Noisy(n_features, self.hears)


class Watch:
    """A callback that scores the transport as it stands, and stops it after some steps."""

    def __init__(self, stop_after=sys.maxsize):
        self.stop_after = stop_after
        self.scores = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **data):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, **data):
        if context.task_name != "iteration":
            return False
        self.scores.append(fitted_estimator.score(X))
        return len(self.scores) >= self.stop_after

    def teardown(self, estimator, context):
        pass


# --- problems for NeuralOT -------------------------------------------------------------


def gaussian_problem(n=2000):
    """Gaussian samples, new rows of the source, and the laws with the map between them."""
    X, Y, pair = make_location_scatter_pair(n, 2, random_state=0, return_map=True)
    rng = np.random.RandomState(1)
    new = rng.multivariate_normal(pair.mean_source, pair.covariance_source, n)
    return X, Y, new, pair


class QuarterTurn(Cost):
    """Squared distance to the row turned by a right angle: asymmetric."""

    def pairwise(self, x, y):
        turned = torch.stack([-x[:, 1], x[:, 0]], dim=1)
        return (turned[:, None] - y[None]).square().sum(-1)
