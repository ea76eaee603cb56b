"""Timings by turns: every entrant solves once, then again, in an order that is drawn each time.

Each library keeps a process of its own, and only one of them runs at a time, all on one core: a
call finds caches as the others left them, as in a program that does something else too, and what
slows the machine down slows everybody down.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _harness import CUT_SECONDS, ROOT, TOL_SLACK, Worker, WorkerCut, WorkerFailed

#: A peer counts up to this multiple of the tolerance. Its stopping test was aimed on other
#: problems, and must not fail for a bit of luck.
PEER_SLACK = 1.5


class Pool:
    """The processes, one for each library, precision and checkout."""

    def __init__(self) -> None:
        self.workers: dict[tuple, Worker] = {}

    def get(self, library: str, dtype: str = "float64", checkout: Path = ROOT) -> Worker:
        """Return a process, started when it is asked for the first time."""
        key = (library, dtype, Path(checkout).resolve())
        if key not in self.workers:
            self.workers[key] = Worker(*key)
        return self.workers[key]

    def forget(self) -> None:
        """Drop what was prepared in all processes."""
        for worker in self.workers.values():
            worker.forget()

    def stop(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.stop()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exception) -> None:
        self.stop()


@dataclass
class Entrant:
    """One library with its settings.

    Attributes
    ----------
    name : str
        In the table.
    worker : Worker
        Its process.
    settings : dict
        Of the adapter; with an ``aim``, the stopping test may be tightened.
    slack : float
        Multiple of the tolerance up to which its error counts.
    """

    name: str
    worker: Worker
    settings: dict
    slack: float = TOL_SLACK
    times: list[list[float]] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    info: list[dict] = field(default_factory=list)
    failure: str | None = None

    def slot(self, k: int) -> str:
        """Name of a prepared problem."""
        return f"{self.name} {k}"

    def prepare(self, problems: list, limit: float) -> None:
        """Prepare and solve every problem once, and note the errors; nothing is timed yet.

        An entrant whose error is too large gets two chances with a tighter stopping test.
        """
        for _ in range(3):
            try:
                self._solve_all(problems, limit)
            except WorkerCut as cut:
                self.failure = f"cut after {cut.seconds:.1f} s"
                return
            except WorkerFailed as failure:
                self.failure = str(failure).strip().splitlines()[-1][-300:]
                return
            ratios = [e / p.tol for e, p in zip(self.errors, problems, strict=True) if e]
            worst = max(ratios, default=0.0)
            if worst <= self.slack or "aim" not in self.settings or not math.isfinite(worst):
                return
            self.settings = {**self.settings, "aim": 0.9 * self.settings["aim"] / worst}

    def _solve_all(self, problems: list, limit: float) -> None:
        self.errors, self.info = [], []
        for k, problem in enumerate(problems):
            self.worker.prepare(self.slot(k), problem, self.settings)
            self.worker.once(self.slot(k), limit)
            _, log_v, info = self.worker.potentials(self.slot(k))
            judge = getattr(problem, "target_error", None)
            self.errors.append(0.0 if judge is None else judge(log_v))
            self.info.append(info)
        self.times = [[] for _ in problems]

    def result(self, problems: list) -> dict:
        """Return what came of it, for the store."""
        if self.failure is not None:
            return {"settings": self.settings, "status": "failed", "reason": self.failure}
        tolerances = [getattr(problem, "tol", 0.0) for problem in problems]
        reached = all(e <= self.slack * t for e, t in zip(self.errors, tolerances, strict=True))
        finite = [e if np.isfinite(e) else None for e in self.errors]
        medians = [statistics.median(times) for times in self.times]
        return {
            "settings": self.settings,
            "status": "ok" if reached else "missed",
            "seconds": float(np.exp(np.mean(np.log(medians)))),
            "medians": medians,
            "rounds": len(self.times[0]),
            "errors": finite,
            "info": self.info,
        }


def take_turns(
    entrants: Iterable[Entrant],
    problems: list,
    *,
    budget: float = 5.0,
    rounds: tuple[int, int] = (3, 15),
    limit: float = CUT_SECONDS,
) -> dict[str, dict]:
    """Return the result of every entrant: medians of each problem, their geometric mean.

    Parameters
    ----------
    entrants : iterable of Entrant
        Who takes part. One that fails drops out, with its reason in the result.
    problems : list
        All entrants solve each of them in every round.
    budget : float, default=5.0
        Processor seconds that the rounds should take; their number is adapted to it.
    rounds : tuple of int, default=(3, 15)
        Bounds of the number of rounds.
    limit : float, default=CUT_SECONDS
        Processor seconds after which a call is cut, and its entrant drops out.
    """
    entrants = list(entrants)
    for entrant in entrants:
        entrant.prepare(problems, limit)
    # Fixed, so that a second run takes the same turns.
    rng = np.random.default_rng(0)
    turns, spent, done = [(e, k) for e in entrants for k in range(len(problems))], 0.0, 0
    while done < rounds[0] or (done < rounds[1] and spent * (1 + 1 / done) < budget):
        for position in rng.permutation(len(turns)):
            entrant, k = turns[position]
            if entrant.failure is None:
                spent += _one_turn(entrant, k, limit)
        done += 1
    return {entrant.name: entrant.result(problems) for entrant in entrants}


def _one_turn(entrant: Entrant, k: int, limit: float) -> float:
    try:
        seconds = entrant.worker.once(entrant.slot(k), limit)
    except (WorkerCut, WorkerFailed) as failure:
        entrant.failure = str(failure).strip().splitlines()[-1][-300:]
        return 0.0
    entrant.times[k].append(seconds)
    return seconds
