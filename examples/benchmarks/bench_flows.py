"""Densities of planar samples: flows of W2GNTransport against mixtures and kernels.

Run ``python examples/benchmarks/bench_flows.py``. Flows are fitted to samples alone, through the
dual of optimal transport; what a short maximum-likelihood fit adds is measured too. What is
stored is not repeated; `--figure` fits again what the figure shows.
"""

import sys
from pathlib import Path

import numpy as np
from _flows_methods import (
    FLOWS,
    SEARCHES,
    fine_tune,
    fit_flow,
    judge,
    judge_samples,
    search,
    timed,
)
from _harness import RESULTS, Store, argument_parser, pin, report
from render import render_all

from skot.datasets import make_planar_sample, planar_entropy

SAMPLES = ("moons", "rings", "swiss_roll", "checkerboard")
N_ROWS, N_VALIDATION, N_TEST = 2000, 200, 10000


def measure_search(store: Store, sample: str, method: str, rows, test) -> None:
    """Measure a density estimate of scikit-learn."""
    found, seconds = timed(search, method, rows)
    parameters = {name: np.asarray(value).item() for name, value in found["parameters"].items()}
    result = {"parameters": parameters, "seconds": seconds, **judge(found["estimator"], test)}
    put(store, sample, method, result)


def measure_flow(store: Store, sample: str, method: str, rows, test, seed: int) -> None:
    """Measure a flow."""
    transport, seconds = timed(fit_flow, method, rows, seed)
    result = {"seconds": seconds, **judge(transport, test), **judge_samples(transport, test)}
    put(store, sample, method, result)


def measure_tuned(store: Store, sample: str, method: str, rows, test, seed: int) -> None:
    """Measure a flow that was fine-tuned, with rows held out from both stages."""
    (_, tuned, step), seconds = timed(fit_and_tune, method, rows, seed)
    result = {"seconds": seconds, "n_steps": step, **judge(tuned, test)}
    put(store, sample, f"{method}, fine-tuned", {**result, **judge_samples(tuned, test)})


def fit_and_tune(method: str, rows, seed: int) -> tuple:
    """Return a flow, the same flow fine-tuned, and the number of steps of that."""
    training, validation = rows[:-N_VALIDATION], rows[-N_VALIDATION:]
    transport = fit_flow(method, training, seed)
    tuned, step = fine_tune(transport, training, validation, lr=FLOWS[method][3], seed=seed)
    return transport, tuned, step


def put(store: Store, sample: str, method: str, result: dict) -> None:
    """Store a result and show it."""
    store.put(f"{sample} {method}", sample=sample, method=method, n_rows=N_ROWS, **result)
    report(
        f"{sample}, {method}: {result['log_likelihood']:.3f} nats, integral "
        f"{result['integral']:.4f}, {result['seconds']:.1f} s"
    )


def measure_sample(store: Store, sample: str, methods: list[str], seed: int) -> None:
    """Measure what is not stored yet for one distribution."""
    rows = make_planar_sample(sample, N_ROWS, random_state=seed)
    test = make_planar_sample(sample, N_TEST, random_state=seed + 1)
    truth = {"sample": sample, "method": "truth", "entropy": planar_entropy(sample)}
    store.put(f"{sample} truth", **truth)
    for method in SEARCHES:
        if f"{sample} {method}" not in store.cells:
            measure_search(store, sample, method, rows, test)
    for method in methods:
        if f"{sample} {method}" not in store.cells:
            measure_flow(store, sample, method, rows, test, seed)
        tunable = FLOWS[method][3] is not None
        if tunable and f"{sample} {method}, fine-tuned" not in store.cells:
            measure_tuned(store, sample, method, rows, test, seed)


def draw_figure(path: Path, samples: list[str], seed: int) -> None:
    """Fit the flows of the figure and draw it."""
    from _flows_figure import flows_figure

    fitted = {}
    for sample in samples:
        rows = make_planar_sample(sample, N_ROWS, random_state=seed)
        test = make_planar_sample(sample, N_TEST, random_state=seed + 1)
        fitted[sample] = (rows, test, *fit_and_tune("log-sum-exp", rows, seed)[:2])
    flows_figure(fitted).savefig(path, dpi=200)


def main() -> None:
    """Measure every distribution and method that is not stored yet."""
    parser = argument_parser(__doc__, "flows.json")
    parser.add_argument("--samples", nargs="+", choices=SAMPLES, default=list(SAMPLES))
    parser.add_argument("--methods", nargs="+", choices=list(FLOWS), default=list(FLOWS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, default=None, help="only draw this figure")
    args = parser.parse_args()
    pin(args.core)
    if args.figure is not None:
        draw_figure(args.figure, args.samples, args.seed)
        return
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for sample in args.samples:
        measure_sample(store, sample, args.methods, args.seed)
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
