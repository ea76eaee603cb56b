"""Meta OT: passes of Sinkhorn's iteration saved by predicted potentials, on MNIST and on the globe.

Run ``python examples/benchmarks/bench_meta_ot.py`` with ``SKOT_DATA`` set. The models are trained
first (on one core; minutes, see the curves) and kept in ``.benchmark_checkpoints``; OTT-JAX, where
it is installed, solves the same pairs in a process of its own.
"""

import sys

import numpy as np
from _harness import RESULTS, Store, argument_parser, pin, report
from _meta_ot_measures import PLAIN, TOL, error_after, solve, solve_meta, start_from
from _meta_ot_peers import solve_with_ott
from _meta_ot_problems import PROBLEMS, MetaProblem, transfer_sets
from _meta_ot_training import trained
from render import render_all

#: The starts of plain Sinkhorn.
STARTS = {
    "mnist": ("zeros", "Gaussian", "Meta OT", "Meta OT unchecked"),
    "spherical": ("zeros", "mean potential", "Meta OT", "Meta OT unchecked"),
}
N_TRANSFER = 500


def summary(passes: np.ndarray, seconds: float, **more) -> dict:
    """Return what is stored of one row of a table."""
    return {
        "mean": float(passes.mean()),
        "median": float(np.median(passes)),
        "largest": int(passes.max()),
        "seconds": seconds,
        **more,
    }


def compare(problem: MetaProblem, rows: np.ndarray, regressor, key: str, store: Store) -> None:
    """Measure all starts on the same problems."""
    zeros = None
    for name in STARTS[problem.name]:
        g = start_from(name, problem, rows, regressor)
        solved = solve(problem, rows, g, **PLAIN)
        zeros = solved["passes"] if zeros is None else zeros
        errors = error_after(problem, rows, g, 2)
        row = summary(
            solved["passes"],
            solved["seconds"],
            error_after_2=float(np.median(errors)),
            converged=float(solved["converged"].mean()),
            worse=float((solved["passes"] - zeros).max()),
        )
        store.put(f"{key} plain {name}", **row)
        report(f"{key} plain {name}: {row}")
    accelerated = {
        "zeros": solve(problem, rows, None),
        "Meta OT": solve_meta(problem, rows, regressor),
    }
    for name, solved in accelerated.items():
        row = summary(solved["passes"], solved["seconds"])
        store.put(f"{key} accelerated {name}", **row)
        report(f"{key} accelerated {name}: {row}")
    seconds = prediction_seconds(problem, rows, regressor)
    store.put(f"{key} prediction", seconds=seconds)
    report(f"{key} prediction: {seconds}")


def prediction_seconds(problem: MetaProblem, rows: np.ndarray, regressor) -> float:
    """Return the processor seconds of a checked prediction, per problem."""
    import time

    start = time.process_time()
    start_from("Meta OT", problem, rows, regressor)
    return (time.process_time() - start) / len(rows)


def main() -> None:
    """Train what is not trained, and measure."""
    parser = argument_parser(__doc__, "meta_ot.json")
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for name in args.problems:
        problem = PROBLEMS[name]
        regressor = trained(problem, store)
        rows = problem.draw(problem.n_test, np.random.RandomState(5), "test")
        store.put(f"{name} problem", n_test=problem.n_test, epsilon=problem.epsilon, tol=TOL)
        compare(problem, rows, regressor, name, store)
        for peer, row in solve_with_ott(problem, rows).items():
            store.put(f"{name} {peer}", **row)
            report(f"{name} {peer}: {row}")
        if name == "mnist":
            for kind, others in transfer_sets(N_TRANSFER).items():
                compare(problem, others, regressor, f"{kind} transfer", store)
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
