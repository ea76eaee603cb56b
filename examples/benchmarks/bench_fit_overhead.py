"""What `SinkhornTransport.fit` takes beyond its solver, beside that of another checkout.

Run ``python examples/benchmarks/bench_fit_overhead.py --baseline CHECKOUT``. Two Gaussian clouds
in the plane, the estimator's defaults; the solver gets the estimator's own tensors, its epsilon,
tolerance and precision. By turns, medians.
"""

import sys
from pathlib import Path

from _fit_overhead import FitProblem
from _fit_overhead_render import line, overhead
from _harness import RESULTS, Store, argument_parser, commit, pin, report
from _turns import Entrant, Pool, take_turns
from render import render_all

SIZES = (50, 100, 200, 500)


def measure(problem: FitProblem, pool: Pool, baseline: Path | None, rounds: int) -> dict:
    """Return the times of fit and solver of one or two builds."""
    builds = {"skot": {}} | ({} if baseline is None else {"baseline": {"checkout": baseline}})
    entrants = [
        Entrant(f"{name} {what}", pool.get(f"skot-{what}", **where), {})
        for name, where in builds.items()
        for what in ("fit", "solve")
    ]
    found = take_turns(entrants, [problem], budget=60.0, rounds=(rounds, rounds))
    pool.forget()
    commits = [commit(), None if baseline is None else commit(baseline)]
    return {**found, "n": problem.n, "commits": commits}


def main() -> None:
    """Measure every size."""
    parser = argument_parser(__doc__, "fit_overhead.json")
    parser.add_argument("--n", type=int, nargs="+", default=SIZES)
    parser.add_argument("--baseline", type=Path, help="checkout of another skot")
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    with Pool() as pool:
        for n in args.n:
            problem = FitProblem(n)
            cell = measure(problem, pool, args.baseline, 15 if args.quick else args.rounds)
            store.put(problem.key, **cell)
            report(line(cell))
    ours, before = (
        [value for cell in store.cells.values() if (value := overhead(cell, build)) is not None]
        for build in ("skot", "baseline")
    )
    report(f"largest overhead: {1e3 * max(ours):.2f} ms")
    if len(before) == len(ours):
        least = min(b / a for a, b in zip(ours, before, strict=True))
        report(f"smallest ratio: {least:.2f}")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
