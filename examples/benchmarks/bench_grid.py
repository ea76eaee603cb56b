"""A batch of 1000 pairs of MNIST digits on the 28 x 28 grid of the unit square.

Run ``python examples/benchmarks/bench_grid.py`` with ``SKOT_DATA`` set, or let it download the
digits. The ground cost is squared Euclidean, epsilon is 0.01 (absolute) and every pair must
reach an L1 error of 1e-2. POT, which takes one pair at a time, is timed on the first of them.
"""

import sys

from _harness import (
    CUT_SECONDS,
    RESULTS,
    Store,
    Worker,
    WorkerCut,
    WorkerFailed,
    argument_parser,
    pin,
    report,
)
from _problems import GridProblem
from render import render_all

PROBLEM = GridProblem(1000, 0.01, 1e-2)
POT_PAIRS = 50

# (name in the table, adapter, settings); the fastest row of a library which reaches the error
# everywhere counts.
CASES = (
    ("skot", "skot-grid", {}),
    ("OTT-JAX", "ott-grid", {"lse_mode": True, "inner_iterations": 4, "chunk": 50}),
    ("OTT-JAX", "ott-grid", {}),
    ("OTT-JAX", "ott-grid", {"chunk": 50}),
    ("OTT-JAX", "ott-grid", {"inner_iterations": 4}),
    ("OTT-JAX", "ott-grid", {"inner_iterations": 4, "chunk": 50}),
    ("OTT-JAX", "ott-grid", {"inner_iterations": 4, "chunk": 10}),
    ("OTT-JAX", "ott-grid", {"inner_iterations": 4, "chunk": 1}),
    ("OTT-JAX", "ott-grid", {"inner_iterations": 4, "momentum": 1.3, "chunk": 50}),
    ("OTT-JAX", "ott-grid", {"inner_iterations": 4, "momentum": 1.5, "chunk": 50}),
    ("OTT-JAX", "ott-grid", {"inner_iterations": 4, "momentum": 1.5, "chunk": 10}),
    ("POT loop", "pot-grid", {"n_solved": POT_PAIRS}),
    ("POT loop", "pot-grid", {"n_solved": POT_PAIRS, "aim": 1.5}),
    ("POT loop", "pot-grid", {"n_solved": POT_PAIRS, "aim": 2.0}),
    ("POT loop on the supports", "pot-grid", {"n_solved": POT_PAIRS, "support": True}),
    ("POT loop on the supports", "pot-grid", {"n_solved": POT_PAIRS, "support": True, "aim": 1.3}),
)


def main() -> None:
    """Measure the cases that are not stored yet."""
    parser = argument_parser(__doc__, "grid.json")
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for name, library, settings in CASES:
        key = f"{name} {settings}"
        if key in store.cells:
            continue
        worker = Worker(library, "float32" if library == "ott-grid" else "float64")
        try:
            result = worker.call(PROBLEM, settings)
            result["per_pair"] = result["seconds"] / settings.get("n_solved", PROBLEM.n_pairs)
        except (WorkerCut, WorkerFailed) as failure:
            result = {"seconds": CUT_SECONDS, "error": None, "reason": str(failure)[-300:]}
        finally:
            worker.stop()
        reached = result["error"] is not None and result["error"] <= PROBLEM.tol
        store.put(key, name=name, settings=settings, reached=reached, **result)
        report(f"{key}: {result.get('per_pair')} s a pair, largest error {result['error']}")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
