"""Peak memory and time of large problems: the kernel kept and streamed, and sparse plans.

Run ``python examples/benchmarks/bench_memory.py``. Each call runs in a new process; memory is
the peak of its resident set over what it held before the call, points included (Linux only).
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
from _problems import Problem
from render import render_all

LARGE = Problem(10000, 16, 0.01, 1e-3)
HUGE = Problem(50000, 16, 0.01, 1e-3)

# (name in the table, adapter, precision of the worker, settings, problem, limit in seconds)
CASES = (
    ("skot, kept kernel", "skot", "float64", {"storage": "kernel"}, LARGE, CUT_SECONDS),
    ("skot, streamed", "skot", "float64", {"storage": "stream"}, LARGE, CUT_SECONDS),
    (
        "POT sinkhorn, float64",
        "pot",
        "float64",
        {"method": "sinkhorn", "dtype": "float64", "aim": 2.0},
        LARGE,
        CUT_SECONDS,
    ),
    (
        "OTT-JAX, float32",
        "ott",
        "float32",
        {"momentum": 1.5, "dtype": "float32"},
        LARGE,
        CUT_SECONDS,
    ),
    ("mdot-tnt, float32", "mdot", "float32", {"dtype": "float32", "aim": 2.0}, LARGE, CUT_SECONDS),
    ("skot, streamed", "skot", "float64", {"storage": "stream"}, HUGE, 600.0),
)
# Of sparse plans: dimension, relative epsilon, and their arguments.
SPARSE = (
    (16, 0.01, {"mass": 0.99}),
    (2, 0.01, {"mass": 0.9}),
    (2, 0.01, {"mass": 0.99}),
    (2, 0.01, {"mass": 0.99, "max_per_row": 500}),
    (2, 0.05, {"mass": 0.99, "max_per_row": 500}),
)


def sparse_cases() -> list[tuple]:
    """Return the cases of sparse plans: streamed, so that memory is that of the plan."""
    cases = []
    for d, epsilon, arguments in SPARSE:
        name = ", ".join(["skot, sparse plan", *(f"{k}={v}" for k, v in arguments.items())])
        settings = {"storage": "stream", "sparse": arguments}
        problem = Problem(20000, d, epsilon, 1e-3)
        cases.append((name, "skot", "float64", settings, problem, CUT_SECONDS))
    return cases


def main() -> None:
    """Measure the cases that are not stored yet."""
    parser = argument_parser(__doc__, "memory.json")
    parser.add_argument("--only-skot", action="store_true", help="leave the peers out")
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for name, library, dtype, settings, problem, limit in (*CASES, *sparse_cases()):
        key = f"{name}; {problem.key}"
        if key in store.cells or (args.only_skot and library != "skot"):
            continue
        worker = Worker(library, dtype)
        try:
            result = worker.call(problem, settings, limit)
        except WorkerCut as cut:
            result = {"seconds": cut.seconds, "error": None, "peak": None, "status": "cut"}
        except WorkerFailed as failure:
            result = {"seconds": None, "error": None, "peak": None, "status": str(failure)[-300:]}
        finally:
            worker.stop()
        store.put(key, name=name, n=problem.n, d=problem.d, epsilon=problem.epsilon, **result)
        report(f"{key}: {result['seconds']} s, {result['peak']} MB, error {result['error']}")
        report(f"    {result.get('info')}")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
