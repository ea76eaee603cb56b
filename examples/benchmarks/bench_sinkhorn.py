"""Entropic optimal transport side by side with POT, OTT-JAX and mdot-tnt on one core.

Run ``python examples/benchmarks/bench_sinkhorn.py`` for all cells. Every result is stored as
soon as it is known, a second run goes on where the first ended, and ``render.py`` makes the
tables. Times are processor seconds of warm calls (imports and compilation are not timed), from
points to potentials or plan.

With ``--against CHECKOUT`` no peer runs: cells with 2000 points and more are timed by turns with
the skot of another checkout, and stored in a file of their own.
"""

import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path

from _against import compare
from _harness import (
    CUT_SECONDS,
    RESULTS,
    TOL_SLACK,
    Store,
    Worker,
    WorkerCut,
    WorkerFailed,
    argument_parser,
    pin,
    report,
)
from _peers import candidates
from _problems import Problem
from render import render_all

PEERS = ("mdot", "ott", "pot")
LIBRARIES = (*PEERS, "skot")
SIZES = (500, 2000, 10000)
DIMENSIONS = (2, 16, 128)
EPSILONS = (0.1, 0.01, 0.001)
TOLERANCES = (1e-3, 1e-6)

# A stopping tolerance is tuned (at most this often) only while a call is this short.
MAX_TUNING, TUNING_SECONDS = 2, 5.0

# A peer that needs more than this times the best peer so far in a cell cannot change the ratio.
PATIENCE, PATIENCE_SECONDS = 3.0, 2.0

# A variant slower than this times the best one of its library is not tried at the next size.
RACE = 1.5


def without_aim(settings: dict) -> dict:
    """Return what identifies a variant."""
    return {key: value for key, value in settings.items() if key != "aim"}


def attempts_of(cell: dict, variant: dict) -> list[dict]:
    """Return the attempts of a variant in a cell, however their stopping test was aimed."""
    return [a for a in cell["attempts"] if without_aim(a["settings"]) == variant]


def best_of(cell: dict) -> float:
    """Return the time of the fastest peer that reached the tolerance in a cell, or the cut."""
    reached = [cell[peer]["seconds"] for peer in PEERS if cell.get(peer, {}).get("status") == "ok"]
    return min(reached, default=CUT_SECONDS)


def running_order(problem: Problem, peers: list[str], store: Store) -> list[str]:
    """Return the peers, the fastest at the next smaller size first: it stops the others early."""
    for n in sorted((n for n in SIZES if n < problem.n), reverse=True):
        cell = store.cells.get(replace(problem, n=n).key)
        if cell is not None:
            return sorted(peers, key=lambda peer: cell.get(peer, {}).get("seconds", CUT_SECONDS))
    return list(peers)


class Race:
    """Finds the best time of one library in one cell, among the variants of its settings."""

    def __init__(self, library: str, problem: Problem, store: Store, workers: dict) -> None:
        self.library, self.problem, self.store, self.workers = library, problem, store, workers
        self.attempts: list[dict] = []

    def stored(self, n: int, epsilon: float, tol: float) -> dict | None:
        """Return what is known of this library in another cell of the same dimension."""
        key = Problem(n, self.problem.d, epsilon, tol).key
        return self.store.cells.get(key, {}).get(self.library)

    def easier(self) -> list[dict]:
        """Return the cells of the same clouds with a larger epsilon and a looser tolerance."""
        here = self.problem
        found = [
            self.stored(here.n, epsilon, tol)
            for epsilon in EPSILONS
            for tol in TOLERANCES
            if epsilon >= here.epsilon
            and tol >= here.tol
            and (epsilon, tol) != (here.epsilon, here.tol)
        ]
        return [cell for cell in found if cell is not None]

    def smaller(self) -> tuple[int, dict] | None:
        """Return the same cell at the next smaller size."""
        for n in sorted((n for n in SIZES if n < self.problem.n), reverse=True):
            cell = self.stored(n, self.problem.epsilon, self.problem.tol)
            if cell is not None:
                return n, cell
        return None

    def implied(self, variant: dict) -> str | None:
        """Return the outcome that other cells imply for a variant, or None: it must be run."""
        for cell in self.easier():
            outcomes = {a["status"] for a in attempts_of(cell, variant)}
            if outcomes & {"cut", "missed", "cut (implied)"} and "ok" not in outcomes:
                return "cut (implied)"
        if (below := self.smaller()) is None:
            return None
        n, cell = below
        mine = attempts_of(cell, variant)
        outcomes = {a["status"] for a in mine}
        reached = [a["seconds"] for a in mine if a["status"] == "ok"]
        # A quarter of the quadratic cost of a pass: the prediction must not be in doubt.
        growth = (self.problem.n / n) ** 2 / 4
        if reached and min(reached) * growth > CUT_SECONDS:
            return "cut (implied)"
        if outcomes and outcomes <= {"cut", "missed", "cut (implied)"}:
            return "cut (implied)"
        # Where it is cheap, everything is tried again.
        if mine and cell["status"] == "ok" and cell["seconds"] > 0.1:
            behind = not reached or min(reached) > RACE * cell["seconds"]
            return "slower (implied)" if behind else None
        return None

    def hopeless(self) -> bool:
        """Tell whether another peer was far ahead at the next smaller size."""
        if self.library == "skot" or (below := self.smaller()) is None or below[0] < 2000:
            return False
        key = replace(self.problem, n=below[0]).key
        return below[1]["seconds"] > PATIENCE * best_of(self.store.cells[key])

    def first_aim(self, variant: dict) -> float:
        """Return the tuned stopping tolerance of the same variant at a smaller size."""
        below = self.smaller()
        found = [] if below is None else attempts_of(below[1], variant)
        aims = [a["settings"]["aim"] for a in found if a["status"] == "ok"]
        # A miss costs a whole call more, a tighter test only a few passes.
        return 0.85 * max(aims) if aims else 1.0

    def run(self) -> dict:
        """Return the best result of the library, with all its attempts."""
        winners = [cell for cell in self.easier() if cell["status"] == "ok"]
        if (below := self.smaller()) is not None and below[1]["status"] == "ok":
            winners += 10 * [below[1]]
        likely = [without_aim(cell["settings"]) for cell in winners]
        # The likely winner runs first, so that the others are stopped early.
        variants = sorted(
            candidates(self.library, self.problem.epsilon, self.problem.tol),
            key=lambda v: -likely.count(v),
        )
        behind = "slower (implied)" if self.hopeless() else None
        for variant in variants:
            implied = None if self.library == "skot" else self.implied(variant) or behind
            if implied is not None:
                self.attempts.append({"settings": variant, "status": implied})
            else:
                self.tune(variant)
        reached = [a for a in self.attempts if a["status"] == "ok"]
        if reached:
            return {**min(reached, key=lambda a: a["seconds"]), "attempts": self.attempts}
        outcomes = {a["status"] for a in self.attempts}
        if "slower" in outcomes:
            # Some variant was stopped early, so 120 s is not known to be its time.
            seconds = min(a["seconds"] for a in self.attempts if a["status"] == "slower")
            return {"status": "slower", "seconds": seconds, "attempts": self.attempts}
        order = ("slower (implied)", "cut", "missed", "cut (implied)")
        status = next(status for status in order if status in outcomes)
        return {"status": status, "seconds": CUT_SECONDS, "attempts": self.attempts}

    def limit(self) -> float:
        """Return the time after which a variant can change neither its library's nor the ratio."""
        limits = [CUT_SECONDS]
        reached = [a["seconds"] for a in self.attempts if a["status"] == "ok"]
        if reached:
            limits.append(RACE * min(reached) + 0.3)
        others = {**self.store.cells.get(self.problem.key, {}), self.library: {}}
        if self.library != "skot":
            limits.append(PATIENCE * best_of(others) + PATIENCE_SECONDS)
        return min(limits)

    def tune(self, variant: dict) -> None:
        """Measure a variant, and aim its stopping test at the tolerance while that is cheap."""
        if self.library == "skot":
            self.attempt(variant)
            return
        aim, best = self.first_aim(variant), None
        for _ in range(1 + MAX_TUNING):
            result = self.attempt({**variant, "aim": aim})
            if result.get("error") is None:
                return
            ratio = result["error"] / self.problem.tol
            if result["status"] == "ok":
                best = aim
                if ratio > 0.7 or result["seconds"] > TUNING_SECONDS:
                    return
                aim = min(0.95 / ratio, 20.0) * aim
            elif ratio > 20:
                return
            elif best is None:
                aim = 0.9 / ratio * aim
            else:
                aim = math.sqrt(best * aim)

    def attempt(self, settings: dict) -> dict:
        """Measure one call and keep what came of it."""
        dtype = settings.get("dtype", "float64")
        if (self.library, dtype) not in self.workers:
            self.workers[self.library, dtype] = Worker(self.library, dtype)
        limit = self.limit()
        result = {"settings": settings}
        try:
            result.update(self.workers[self.library, dtype].call(self.problem, settings, limit))
        except WorkerCut as cut:
            status = "cut" if limit == CUT_SECONDS else "slower"
            result.update(status=status, seconds=cut.seconds)
        except WorkerFailed as failure:
            result.update(status="missed", seconds=0.0, reason=str(failure)[-300:])
        else:
            reached = (
                result["error"] is not None and result["error"] <= TOL_SLACK * self.problem.tol
            )
            result["status"] = "ok" if reached else "missed"
        self.attempts.append(result)
        return result


def main() -> None:
    """Measure the cells asked for, cheapest first."""
    parser = argument_parser(__doc__, "sinkhorn.json")
    parser.add_argument("--n", type=int, nargs="+")
    parser.add_argument("--d", type=int, nargs="+", default=DIMENSIONS)
    parser.add_argument("--epsilon", type=float, nargs="+", default=EPSILONS)
    parser.add_argument("--tol", type=float, nargs="+", default=TOLERANCES)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--only-peers", action="store_true", help="leave skot out")
    parser.add_argument("--again", nargs="*", choices=LIBRARIES, default=(), help="measure anew")
    parser.add_argument("--against", type=Path, help="checkout of another skot")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of a cell of --against")
    args = parser.parse_args()
    pin(args.core)
    if args.against is not None and args.output == RESULTS / "sinkhorn.json":
        args.output = RESULTS / "sinkhorn_against.json"
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    sizes = args.n or [n for n in SIZES if args.against is None or n >= 2000]
    grid = itertools.product(
        sorted(sizes), args.d, sorted(args.epsilon, reverse=True), sorted(args.tol, reverse=True)
    )
    if args.against is not None:
        compare((Problem(*shape) for shape in grid), args.against, store, budget=args.budget)
        return
    workers: dict = {}
    try:
        for n, d, epsilon, tol in grid:
            problem = Problem(n, d, epsilon, tol)
            libraries = running_order(problem, args.peers, store)
            for library in libraries if args.only_peers else [*libraries, "skot"]:
                if library in store.cells.get(problem.key, {}) and library not in args.again:
                    continue
                result = Race(library, problem, store, workers).run()
                store.put(problem.key, **{library: result})
                error = result.get("error")
                report(
                    f"{problem.key}  {library:5s} {result['seconds']:9.4f} s  {result['status']}"
                    + (f"  error {error:.2e}  {result['settings']}" if error is not None else "")
                )
    finally:
        for worker in workers.values():
            worker.stop()
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
