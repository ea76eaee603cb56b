"""The debiased entropic map against the plain one, where the optimal map is known.

Run ``python examples/benchmarks/bench_debiased.py`` (20 minutes on one core). Draws 0 to 4; the
rule of ``residual="auto"`` was chosen on others.
"""

import sys

import numpy as np
from _debiased_render import lines, spread
from _harness import RESULTS, Store, argument_parser, pin, report
from render import render_all

from skot import SinkhornTransport
from skot.datasets import make_w2_benchmark

KINDS = ("linear", "shrunk", "w2")
DIMENSIONS, SIZES, SEEDS = (2, 10, 64, 256), (200, 500, 2000), range(5)
EPSILONS = (0.01, 0.05, 0.2, 1.0)
RESIDUALS = {"plain": 0.0, "auto": "auto", "full": 1.0, "half": 0.5}
N_NEW = 1000


class LinearPair:
    """Normal rows, and their images under a symmetric positive definite matrix."""

    def __init__(self, kind: str, d: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        if kind == "linear":  # far from the identity
            root = rng.normal(size=(d, d)) / np.sqrt(d)
            self._linear, self._factor = root @ root.T + 0.3 * np.eye(d), np.eye(d)
        else:  # near it, from a sample with a decaying spectrum
            turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
            self._factor = turn * np.sqrt(np.linspace(1.0, 0.05, d))
            turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
            self._linear = (turn * np.exp(rng.uniform(-0.7, 0.7, d))) @ turn.T
        self._shift = 2.0 * rng.normal(size=d)

    def sample_source(self, n: int, seed: int) -> np.ndarray:
        """Return rows of shape (n, d)."""
        rng = np.random.default_rng(1000 + seed)
        return rng.normal(size=(n, len(self._shift))) @ self._factor.T

    def sample_target(self, n: int, seed: int) -> np.ndarray:
        """Return images of other rows."""
        return self.map(self.sample_source(n, seed))

    def map(self, rows: np.ndarray) -> np.ndarray:
        """Return the images."""
        return rows @ self._linear + self._shift


def draw(kind: str, d: int, n: int, seed: int):
    """Return both samples, new rows and the map."""
    pair = make_w2_benchmark(d, random_state=seed) if kind == "w2" else LinearPair(kind, d, seed)
    X, Y = pair.sample_source(n, 3 * seed + 1), pair.sample_target(n, 3 * seed + 2)
    return X, Y, pair.sample_source(N_NEW, 3 * seed + 3), pair.map


def error(moved: np.ndarray, right: np.ndarray) -> float:
    """Return the squared error in per cent of the variance of the target."""
    return float(100 * ((moved - right) ** 2).sum(axis=1).mean() / right.var(axis=0).sum())


def errors_of(kind: str, d: int, n: int, seed: int) -> dict:
    """Return the errors of every map, by epsilon."""
    X, Y, new, right = draw(kind, d, n, seed)
    samples = {"training": (X, right(X)), "new": (new, right(new))}
    found: dict = {}
    for epsilon in EPSILONS:
        found[str(epsilon)] = of_epsilon = {}
        for name, residual in RESIDUALS.items():
            transport = SinkhornTransport(epsilon, residual=residual, max_iter=20_000).fit(X, Y)
            of_epsilon[name] = {
                where: error(transport.transform(rows), image)
                for where, (rows, image) in samples.items()
            }
    return found


def main() -> None:
    """Measure every draw of every problem that is not stored yet."""
    parser = argument_parser(__doc__, "debiased.json")
    parser.add_argument("--dims", type=int, nargs="+", default=DIMENSIONS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for n in args.sizes:
        for seed in args.seeds:
            for d in args.dims:
                for kind in KINDS:
                    key = f"{kind} d={d} n={n} seed={seed}"
                    if key not in store.cells:
                        found = errors_of(kind, d, n, seed)
                        store.put(key, kind=kind, d=d, n=n, seed=seed, errors=found)
                        gain = [e["auto"]["new"] / e["plain"]["new"] for e in found.values()]
                        report(f"{key}: {spread(gain)}")
    for line in lines(store.cells):
        report("  ".join(line))
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
