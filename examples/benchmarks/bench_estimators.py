"""Short fits of every estimator, by turns with another checkout.

Run ``python examples/benchmarks/bench_estimators.py --baseline CHECKOUT``. Medians of the rounds of
several pairs of processes, on one core.
"""

import statistics
import sys
from pathlib import Path

from _estimator_fits import ESTIMATORS, EstimatorProblem
from _estimators_render import line, ratio
from _harness import RESULTS, Store, argument_parser, commit, pin, report
from _turns import Entrant, Pool, take_turns
from render import render_all

#: Pairs of processes, one after another: where memory lies is worth some per cent.
PROCESSES = 3


def measure(name: str, baseline: Path, budget: float) -> dict:
    """Return the times of both builds."""
    problem, runs = EstimatorProblem(name), []
    for _ in range(PROCESSES):
        with Pool() as pool:
            entrants = [
                Entrant(build, pool.get("skot-estimator", **where), {})
                for build, where in (("skot", {}), ("baseline", {"checkout": baseline}))
            ]
            runs.append(take_turns(entrants, [problem], budget=budget, rounds=(7, 101)))
    found: dict = {"name": name, "commits": [commit(), commit(baseline)]}
    for build in ("skot", "baseline"):
        failed = [run[build]["reason"] for run in runs if "reason" in run[build]]
        if failed:
            raise RuntimeError(f"{name} of {build} failed: {failed[0]}")
        found[build] = {"seconds": statistics.median(run[build]["seconds"] for run in runs)}
    return found


def main() -> None:
    """Measure every estimator."""
    parser = argument_parser(__doc__, "estimators.json")
    parser.add_argument("--baseline", type=Path, required=True, help="checkout of another skot")
    parser.add_argument("--estimators", nargs="+", default=ESTIMATORS, choices=ESTIMATORS)
    parser.add_argument("--budget", type=float, default=6.0, help="seconds of a pair of processes")
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for name in args.estimators:
        cell = measure(name, args.baseline, args.budget)
        store.put(name, **cell)
        report(line(cell))
    report(f"smallest ratio: {min(map(ratio, store.cells.values())):.3f}")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
