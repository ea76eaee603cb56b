"""What `SinkhornTransport.fit` takes beyond its solver, beside that of another checkout.

Run ``python examples/benchmarks/bench_fit_overhead.py --baseline CHECKOUT``. Two Gaussian clouds
in the plane, the estimator's defaults; the solver gets the estimator's own tensors, its epsilon,
tolerance and precision. By turns, medians.
"""

import statistics
import sys
from pathlib import Path

from _fit_overhead import FitProblem
from _fit_overhead_render import line, overhead
from _harness import RESULTS, Store, argument_parser, commit, pin, report
from _turns import Entrant, Pool, take_turns
from render import render_all

SIZES = (50, 100, 200, 500)
#: Pairs of processes, one after another: where memory lies is worth some per cent.
PROCESSES = 3


def measure(problem: FitProblem, baseline: Path | None, rounds: int) -> dict:
    """Return the times of fit and solver of one or two builds, and their differences."""
    runs = [measure_once(problem, baseline, rounds) for _ in range(PROCESSES)]
    found: dict = {"n": problem.n, "commits": [commit()]}
    if baseline is not None:
        found["commits"].append(commit(baseline))
    for build in runs[0]:
        failed = [run[build]["reason"] for run in runs if "reason" in run[build]]
        found[build] = {"reason": failed[0]} if failed else {}
        for what in () if failed else ("fit", "solve", "overhead"):
            found[build][what] = statistics.median(run[build][what] for run in runs)
    return found


def measure_once(problem: FitProblem, baseline: Path | None, rounds: int) -> dict[str, dict]:
    """Return the medians of one process for each build.

    The overhead is the median of the differences of a round: what slows the machine down for
    longer than that slows both down.
    """
    builds = {"skot": {}} | ({} if baseline is None else {"baseline": {"checkout": baseline}})
    with Pool() as pool:
        entrants = {
            (build, what): Entrant(f"{build} {what}", pool.get("skot-fit", **where), {"what": what})
            for build, where in builds.items()
            for what in ("fit", "solve")
        }
        take_turns(entrants.values(), [problem], budget=60.0, rounds=(rounds, rounds))
    found = {}
    for build in builds:
        pair = [entrants[build, what] for what in ("fit", "solve")]
        failed = [entrant.failure for entrant in pair if entrant.failure is not None]
        if failed:
            found[build] = {"reason": failed[0]}
            continue
        fits, solves = (entrant.times[0] for entrant in pair)
        differences = [fit - solve for fit, solve in zip(fits, solves, strict=True)]
        medians = (statistics.median(values) for values in (fits, solves, differences))
        found[build] = dict(zip(("fit", "solve", "overhead"), medians, strict=True))
    return found


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
    for n in args.n:
        problem = FitProblem(n)
        cell = measure(problem, args.baseline, 15 if args.quick else args.rounds)
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
