"""One build of skot against another on the cells of bench_sinkhorn.py, by turns."""

from collections.abc import Iterable
from pathlib import Path

from _harness import CUT_SECONDS, Store, commit, report
from _problems import Problem
from _small_render import mean_of
from _turns import Entrant, Pool, take_turns


def ratio(cell: dict) -> float | None:
    """Return the time of the other build over that of this one."""
    ours, other = cell["skot"], cell["against"]
    both = "seconds" in ours and "seconds" in other
    return other["seconds"] / ours["seconds"] if both else None


def compare(problems: Iterable[Problem], other: Path, store: Store, *, budget: float) -> None:
    """Time both builds in every cell that is not stored yet, and report the ratios.

    Parameters
    ----------
    problems : iterable of Problem
        The cells.
    other : Path
        Checkout of the other build.
    store : Store
        Where results go.
    budget : float
        Processor seconds of a cell; slow cells take two rounds at least.
    """
    ratios = {}
    with Pool() as pool:
        for problem in problems:
            if problem.key not in store.cells:
                entrants = [
                    Entrant("skot", pool.get("skot"), {}),
                    Entrant("against", pool.get("skot", checkout=other), {}),
                ]
                options = {"budget": budget, "rounds": (2, 15), "limit": 2 * CUT_SECONDS}
                found = take_turns(entrants, [problem], **options)
                pool.forget()
                store.put(problem.key, **found, commits=[commit(), commit(other)])
            cell = store.cells[problem.key]
            text = f"{problem.key:36s}"
            for name in ("skot", "against"):
                result = cell[name]
                text += f"  {name} {result.get('seconds', float('nan')):9.4f} s {result['status']}"
            if ratio(cell) is not None:
                ratios[problem.key] = ratio(cell)
                text += f"  ratio {ratio(cell):.2f}"
            report(text)
    if ratios:
        values = list(ratios.values())
        report(f"{len(values)} cells: at least {min(values):.2f}, mean {mean_of(values):.2f}")
