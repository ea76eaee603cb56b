"""Settings of the peers, chosen for each cell on problems that are not reported.

Every variant's stopping test is aimed so that the error of the problem it was aimed on is just
below the tolerance; variants which are far slower than the fastest one are stopped early.
"""

import math
import statistics

from _harness import Store, Worker, WorkerCut, WorkerFailed
from _turns import PEER_SLACK, Entrant, Pool

#: A variant slower than this times the fastest so far is stopped: it cannot win.
PATIENCE, PATIENCE_SECONDS = 4.0, 0.05
#: Times the aim of a variant may change, and the share of the tolerance that is close enough.
MAX_AIMS, CLOSE = 4, 0.6
#: A variant that was this much behind at the next smaller size is not tried again.
FAR_BEHIND = 10.0
CUT = 30.0


def name_of(library: str, settings: dict) -> str:
    """Return the name of a variant, however its stopping test was aimed."""
    chosen = {k: v for k, v in sorted(settings.items()) if k not in ("aim", "n_solved")}
    return " ".join([library, *(f"{key}={value}" for key, value in chosen.items())])


class Tuning:
    """The race of the variants in one cell.

    Parameters
    ----------
    pool : Pool
        The processes.
    problems : list
        What to tune on; the stopping test is aimed on the first and checked on the others.
    unit : callable, default=None
        ``unit(problem, settings, seconds)`` is what variants compete by, less than `seconds` if
        they solve only some of the problem.
    """

    def __init__(self, pool: Pool, problems: list, unit=None) -> None:
        self.unit = unit or (lambda problem, settings, seconds: seconds)
        self.pool, self.problems = pool, problems
        self.tol = problems[0].tol
        self.hints: dict[str, dict] = {}
        self.attempts: list[dict] = []

    def take_hints(self, attempts: list[dict]) -> None:
        """Learn from a cell that is like this one: who runs first, who need not, where to aim."""
        self.hints = {name_of(a["library"], a["settings"]): a for a in attempts}

    def run(self, variants: list[tuple[str, dict]]) -> list[dict]:
        """Return an attempt for every variant, the fastest that arrived first."""
        known = [a["seconds"] for a in self.hints.values() if a["status"] == "ok"]
        fastest = min(known, default=math.inf)
        order = sorted(variants, key=lambda v: self._expected(v))
        for library, settings in order:
            hint = self.hints.get(name_of(library, settings))
            if hint is not None and (
                hint["status"] != "ok" or hint["seconds"] > FAR_BEHIND * fastest
            ):
                attempt = {"settings": settings, "status": "implied"}
            else:
                attempt = self._tune(library, settings, hint)
            self.attempts.append({"library": library, **attempt})
        return sorted(self.attempts, key=lambda a: a.get("seconds", math.inf))

    def _expected(self, variant: tuple[str, dict]) -> float:
        hint = self.hints.get(name_of(*variant))
        return math.inf if hint is None else hint.get("seconds", math.inf)

    def _limit(self, settings: dict) -> float:
        reached = [a["seconds"] for a in self.attempts if a["status"] == "ok"]
        share = self.unit(self.problems[0], settings, 1.0)
        return min([CUT, *(PATIENCE * seconds / share + PATIENCE_SECONDS for seconds in reached)])

    def _tune(self, library: str, settings: dict, hint: dict | None) -> dict:
        worker = self.pool.get(library, settings.get("dtype", "float64"))
        aim = 1.0 if hint is None else hint["settings"]["aim"]
        try:
            aim = self._aim(worker, settings, aim)
            if aim is None:
                return {"settings": settings, "status": "missed"}
            settings = {**settings, "aim": aim}
            return {"settings": settings, "status": "ok", "seconds": self._time(worker, settings)}
        except WorkerCut as cut:
            return {"settings": settings, "status": "slower", "stopped": cut.seconds}
        except WorkerFailed as failure:
            reason = str(failure).strip().splitlines()[-1][-200:]
            return {"settings": settings, "status": "failed", "reason": reason}

    def _aim(self, worker: Worker, settings: dict, aim: float) -> float | None:
        """Return the loosest aim found with which all problems reach the tolerance."""
        best = None
        for _ in range(MAX_AIMS):
            ratio = self._ratio(worker, {**settings, "aim": aim}, self.problems[0])
            if not math.isfinite(ratio) or (ratio > 50 and aim <= 1.0):
                return best
            if ratio <= 1.0:
                best = aim
                if ratio >= CLOSE:
                    break
                aim = aim * min(0.9 / max(ratio, 1e-9), 20.0)
            else:
                aim = math.sqrt(best * aim) if best is not None else 0.9 * aim / ratio
        if best is None:
            return None
        for problem in self.problems[1:]:
            for _ in range(2):
                ratio = self._ratio(worker, {**settings, "aim": best}, problem)
                if ratio <= 1.0:
                    break
                if not math.isfinite(ratio):
                    return None
                best = 0.9 * best / ratio
        return best

    def _ratio(self, worker: Worker, settings: dict, problem) -> float:
        worker.prepare("tuning", problem, settings)
        worker.once("tuning", self._limit(settings))
        _, log_v, _ = worker.potentials("tuning")
        return problem.target_error(log_v) / self.tol

    def _time(self, worker: Worker, settings: dict) -> float:
        worker.prepare("tuning", self.problems[0], settings)
        first = worker.once("tuning", self._limit(settings))
        repeats = 5 if first < 0.1 else 1 if first < 1.0 else 0
        times = [first, *(worker.once("tuning") for _ in range(repeats))]
        return self.unit(self.problems[0], settings, statistics.median(times))


def tune_cell(
    store: Store, problem, near: list, race: Tuning, variants: list, **labels
) -> list[dict]:
    """Return the attempts of the peers in a cell, from the store or measured now.

    The first cell of `near` that was tuned gives the hints; `labels` are stored beside.
    """
    if "tuning" not in store.cells.get(problem.key, {}):
        tuned = (store.cells.get(other.key, {}).get("tuning") for other in near)
        hints = next((attempts for attempts in tuned if attempts is not None), [])
        race.take_hints([a for a in hints if a["status"] != "implied"])
        store.put(problem.key, tuning=race.run(variants), **labels)
    return store.cells[problem.key]["tuning"]


def peers_of(attempts: list[dict], pool: Pool) -> list[Entrant]:
    """Return the entrants of a cell, but for skot."""
    found = []
    for attempt in finalists(attempts):
        library, settings = attempt["library"], attempt["settings"]
        worker = pool.get(library, settings["dtype"])
        found.append(Entrant(name_of(library, settings), worker, settings, PEER_SLACK))
    return found


def finalists(attempts: list[dict], *, close: float = 1.5) -> list[dict]:
    """Return who runs by turns: the best of each library, and the next one if it is close.

    Libraries further behind the fastest than the patience of the race are left out.
    """
    reached = sorted((a for a in attempts if a["status"] == "ok"), key=lambda a: a["seconds"])
    chosen: list[dict] = []
    for attempt in reached:
        same = [a for a in chosen if a["library"] == attempt["library"]]
        near = attempt["seconds"] <= PATIENCE * reached[0]["seconds"]
        if near and (
            not same or (len(same) == 1 and attempt["seconds"] <= close * same[0]["seconds"])
        ):
            chosen.append(attempt)
    return chosen
