"""NeuralOT against closed forms, discrete solutions, the W2 benchmark and a plain loop.

Run ``python examples/benchmarks/bench_neural_ot.py [--parts strong weak discrete w2 speed]``
(w2 with ``SKOT_DATA`` set). Cells that are stored are not measured again.
"""

import statistics
import sys
import time

import numpy as np
from _harness import RESULTS, Store, argument_parser, pin, report
from _neural_ot_cells import discrete_cell, strong_cell, w2_cell, weak_cell
from _plain_maximin import plain_seconds
from render import render_all

from skot import NeuralOT
from skot.losses import EnergyAugmentation, WeakQuadratic

SEEDS = (0, 1, 2)
GAMMAS = (0.25, 0.6, 0.75, 0.9, 1.0)
DISCRETE = (
    ("quadratic", "swiss_roll", 1.0),
    ("quadratic", "eight_gaussians", 1.0),
    ("kernel", "two_modes", 0.5),
    ("kernel", "wide_uniform", 0.5),
    ("kernel", "swiss_roll", 0.5),
    ("kernel", "eight_gaussians", 0.5),
)


def strong_cells():
    """Yield name, function and arguments of the strong quadratic cells."""
    for d in (2, 16, 64):
        for preconditioning in ("gaussian", "identity"):
            yield f"strong D={d} {preconditioning}", strong_cell, (d, preconditioning)


def weak_cells():
    """Yield those of the weak quadratic cells."""
    for seed in SEEDS:
        for d in (1, 2, 8):
            for gamma in GAMMAS:
                yield f"weak gamma={gamma:g} D={d} seed={seed}", weak_cell, (gamma, d, seed)


def discrete_cells():
    """Yield those of the cells beside discrete solutions; the kernel cost with three seeds."""
    for kind, problem, gamma in DISCRETE:
        for seed in SEEDS if kind == "kernel" else SEEDS[:1]:
            key = f"discrete {kind} {problem} gamma={gamma:g} seed={seed}"
            yield key, discrete_cell, (kind, problem, gamma, seed)


def w2_cells():
    """Yield those of the pairs of the Wasserstein-2 benchmark."""
    for d in (2, 4, 16):
        yield f"w2 D={d} seconds=240", w2_cell, (d, 240.0, 0)


def speed_cells():
    """Yield those of the comparison with a plain loop."""
    for gamma in (0.0, 0.75):
        for d in (2, 64):
            yield f"speed gamma={gamma:g} D={d}", speed_cell, (gamma, d)


def speed_cell(gamma: float, n_features: int, n_iter: int = 60, repeats: int = 5) -> dict:
    """Processor seconds of an iteration by turns, the fit of the library with all it does."""
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(4096, n_features)), 2.0 * rng.normal(size=(4096, n_features))
    n_samples = 4 if gamma else 1
    times: dict[str, list[float]] = {"plain": [], "skot": [], "augmented": []}
    for _ in range(repeats):
        times["plain"].append(plain_seconds(X, Y, gamma, n_iter, 10, 256, n_samples))
        for name, weight in (("skot", 0.0), ("augmented", 1.0)):
            transport = NeuralOT(
                WeakQuadratic(gamma),
                augmentation=EnergyAugmentation(weight),
                n_noise_samples=n_samples,
                max_iter=n_iter,
                random_state=0,
            )
            start = time.process_time()
            transport.fit(X, Y)
            times[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) / n_iter for name, values in times.items()}
    return {"gamma": gamma, "n_features": n_features, **medians}


PARTS = {
    "strong": strong_cells,
    "weak": weak_cells,
    "discrete": discrete_cells,
    "w2": w2_cells,
    "speed": speed_cells,
}


def main() -> None:
    """Measure every cell that is not stored yet."""
    parser = argument_parser(__doc__, "neural_ot.json")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for part in args.parts:
        for key, measure, arguments in PARTS[part]():
            if key in store.cells:
                continue
            cell = measure(*arguments)
            store.put(key, kind=part, **cell)
            numbers = {k: v for k, v in cell.items() if isinstance(v, float)}
            report(f"{key}: " + ", ".join(f"{k} {v:.4g}" for k, v in numbers.items()))
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
