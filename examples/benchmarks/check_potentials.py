"""Potentials and dual values at small epsilon: many random problems against an exact solution.

Run ``python examples/benchmarks/check_potentials.py`` (``--n 200`` for fewer problems). Two bumps
on a line with tails of no mass, epsilon from 1e-2 to 1e-4, tolerances from 1e-3 to 1e-9. Printed
are counts, and the seeds of the problems that are wrong; the exit status is 1 if there are any.
"""

import argparse
import sys
import time
from pathlib import Path

# The tests have the problems, the reference and the judge: there is one of each.
sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

from _bumps import Verdict, draw, judge, reference, solve

#: Share of problems that have to converge within the default number of passes.
CONVERGED_SHARE = 0.99
#: Certainty asked of the reference, as a share of the range of costs.
CERTAIN = 1e-11


def check(seeds: range, every: int = 100) -> tuple[dict[int, Verdict], list[int]]:
    """Return the verdict on each problem, and the seeds that have no certain reference."""
    verdicts, uncertain, start = {}, [], time.perf_counter()
    for seed in seeds:
        problem = draw(seed)
        solution = reference(problem)
        if not solution.gap <= CERTAIN * problem.range:
            uncertain.append(seed)
            continue
        verdicts[seed] = judge(problem, solve(problem), solution)
        if len(verdicts) % every == 0:
            print(f"{len(verdicts)} problems, {time.perf_counter() - start:.0f} s", flush=True)
    return verdicts, uncertain


def main() -> int:
    """Check, count, and name what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000, help="number of problems")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.n)
    verdicts, uncertain = check(seeds)
    share = sum(v.converged for v in verdicts.values()) / max(len(verdicts), 1)
    print(f"seeds {seeds.start} to {seeds.stop - 1}; without a certain reference: {uncertain}")
    print(f"converged: {100 * share:.2f} % (asked: {100 * CONVERGED_SHARE:g} %)")
    print("not converged:", [seed for seed, v in verdicts.items() if not v.converged])
    kinds = {
        "converged, dual value off by more than tol x range": "wrong_value",
        "potentials vary by more than the costs": "wild",
        "converged, potentials not transforms of each other": "not_transforms",
    }
    failed = share < CONVERGED_SHARE or bool(uncertain)
    for text, name in kinds.items():
        found = [seed for seed, verdict in verdicts.items() if getattr(verdict, name)]
        failed |= bool(found)
        print(f"{text}: {len(found)} {found}")
    done = [v for v in verdicts.values() if v.converged]
    if done:
        largest = max(verdict.value_error / verdict.tol for verdict in done)
        worst = sum(verdict.transform_error_worst > verdict.tol for verdict in done)
        print(f"largest error of a converged value over tol x range: {largest:.2g}")
        print(f"converged, off by more than tol x range at a point of any mass: {worst}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
