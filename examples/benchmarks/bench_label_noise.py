"""Digits with wrong labels: cross entropy, adversarial regularisation, and Wasserstein's, in turns.

Run ``python examples/benchmarks/bench_label_noise.py`` with ``SKOT_DATA`` set. What is stored is
not repeated; ``--methods``, ``--noises`` and ``--seeds`` choose what is measured. Weights and
radii were chosen on 5000 training images that no run of the table sees, with another seed.
"""

import sys
import time

import numpy as np
import torch
from _harness import RESULTS, Store, argument_parser, pin, report
from _label_noise import (
    Penalty,
    Wasserstein,
    class_costs,
    flip_labels,
    kullback_leibler,
    make_network,
    train,
)
from render import render_all
from sklearn.frozen import FrozenEstimator

from skot import MetaOTRegressor
from skot.datasets import fetch_mnist
from skot.metrics import probability_transport
from skot.networks import DualMLP
from skot.solvers import MetaInitializer

NOISES = ("symmetric", "asymmetric")
METHODS = ("cross entropy", "VAT", "WAR", "WAR, Meta OT")
RATE, EPSILON, TOL = 0.4, 0.2, 1e-4
N_TRAIN, N_HELD_OUT, N_EPOCHS, N_LAST = 10_000, 5_000, 30, 5


def load(seed: int) -> tuple[np.ndarray, ...]:
    """Return training rows drawn with a seed, none of which tuned anything, and the test rows."""
    X, y = fetch_mnist(subset="train", return_X_y=True)
    held_out = np.random.RandomState(100).permutation(len(X))[-N_HELD_OUT:]
    left = np.setdiff1d(np.arange(len(X)), held_out)
    rows = np.random.RandomState(seed).permutation(left)[:N_TRAIN]
    X_test, y_test = fetch_mnist(subset="test", return_X_y=True)
    return X[rows], y[rows].astype(int), X_test, y_test.astype(int)


def make_penalty(method: str, costs: np.ndarray) -> Penalty | None:
    """Return the regulariser of a method."""
    if method == "cross entropy":
        return None
    if method == "VAT":
        return Penalty(kullback_leibler, weight=10.0, radius=2.0)
    return Penalty(Wasserstein(costs, EPSILON, TOL), weight=40.0, radius=1.0)


def measure(method: str, noise: str, seed: int) -> dict:
    """Train a network on noisy labels, and follow its accuracy on clean ones."""
    X, y, X_test, y_test = load(seed)
    labels = flip_labels(y, noise, RATE, seed)
    penalty = make_penalty(method, class_costs(X, labels))
    network = make_network(seed)
    test_rows, truth = torch.as_tensor(X_test), torch.as_tensor(y_test)
    observer = Observer(penalty, with_meta="Meta" in method, seed=seed)
    accuracies: list[float] = []

    def after_epoch(epoch: int) -> None:
        with torch.no_grad():
            accuracies.append(float((network(test_rows).argmax(1) == truth).double().mean()))
        observer.look(last=epoch == N_EPOCHS - 1)

    start = time.process_time()
    rows = torch.as_tensor(X), torch.as_tensor(labels)
    train(network, *rows, penalty, n_epochs=N_EPOCHS, seed=seed, after_epoch=after_epoch)
    return {
        "accuracies": accuracies,
        "accuracy": float(np.mean(accuracies[-N_LAST:])),
        "wrong": float((labels != y).mean()),
        "seconds": time.process_time() - start,
        **observer.summary(),
    }


class Observer:
    """Counts what transport takes in every epoch, and trains the model that predicts it."""

    def __init__(self, penalty: Penalty | None, *, with_meta: bool, seed: int) -> None:
        self.transport = penalty.divergence if penalty is not None else None
        if not isinstance(self.transport, Wasserstein):
            self.transport = None
        self.passes: list[float] = []
        self.seconds_meta, self.same_problems = 0.0, {}
        self.meta = None
        if with_meta:
            network = DualMLP((128, 128))
            options = {"epsilon": EPSILON, "network": network, "random_state": seed}
            self.meta = MetaOTRegressor(self.transport.cost, **options)

    def look(self, *, last: bool) -> None:
        """Note the passes of an epoch, then learn from its problems."""
        if self.transport is None:
            return
        passes, pairs = self.transport.collect()
        self.passes.append(float(passes.double().mean()))
        if self.meta is None:
            return
        if last:
            zeros = self._from_zeros(pairs)
            self.same_problems = {"passes_last": self.passes[-1], "passes_last_from_zeros": zeros}
            return
        start = time.process_time()
        self.meta.partial_fit(pairs)
        self.seconds_meta += time.process_time() - start
        self.transport.initializer = MetaInitializer(FrozenEstimator(self.meta))

    def _from_zeros(self, pairs: torch.Tensor) -> float:
        a, b = pairs.split(10, dim=1)
        cost = self.transport.cost
        passes = probability_transport(a, b, cost, epsilon=EPSILON, tol=TOL).passes
        return float(passes.double().mean())

    def summary(self) -> dict:
        """Return what is stored of it."""
        if self.transport is None:
            return {}
        return {
            "passes": self.passes,
            "mean_passes": float(np.mean(self.passes)),
            "seconds_transport": self.transport.seconds,
            "seconds_meta": self.seconds_meta,
            **self.same_problems,
        }


def main() -> None:
    """Measure what is not stored yet."""
    parser = argument_parser(__doc__, "label_noise.json")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--noises", nargs="+", default=list(NOISES), choices=NOISES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for seed in args.seeds:
        for noise in args.noises:
            for method in args.methods:
                key = f"{noise} {method} seed={seed}"
                if key in store.cells:
                    continue
                cell = measure(method, noise, seed)
                store.put(key, noise=noise, method=method, seed=seed, **cell)
                passes = f", {cell['mean_passes']:.2f} passes" if "passes" in cell else ""
                accuracy, seconds = 100 * cell["accuracy"], cell["seconds"]
                report(f"{key}: {accuracy:.2f} %{passes}, {seconds:.0f} s")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
