"""Entropic transport between small and medium clouds, by turns with tuned peers, on one core.

Run ``python examples/benchmarks/bench_small.py`` (``--quick`` for some cells only). skot gets two
arrays and its defaults, and gives potentials and dual value. Settings of the peers are chosen for
each cell on other seeds. ``--baseline`` adds the skot of another checkout. Every cell is stored
as soon as it is known, and a second run goes on where the first ended.
"""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

from _harness import RESULTS, Store, argument_parser, commit, pin, report
from _peers import small_candidates
from _problems import Problem
from _small_render import best_peer, gain, speed_up, summary_lines
from _tuning import Tuning, peers_of, tune_cell
from _turns import Entrant, Pool, take_turns
from render import render_all

# The one that always arrives runs first: it stops the others.
PEERS = ("mdot", "ott", "pot")
SIZES = (32, 64, 128, 256, 500)
DIMENSIONS = (2, 16, 128)
EPSILONS = (0.1, 0.01, 0.001)
TOLERANCES = (1e-3, 1e-6)
SEEDS, TUNING_SEEDS = (0, 1, 2), (100, 101)
QUICK = {"n": (32, 128), "d": (2,), "epsilon": (0.1, 0.01), "tol": (1e-3, 1e-6)}


def tune(problem: Problem, pool: Pool, store: Store) -> list[dict]:
    """Return the attempts of the peers in a cell."""
    variants = [
        (library, settings)
        for library in PEERS
        for settings in small_candidates(library, problem.epsilon, problem.tol)
    ]
    near = [replace(problem, n=n) for n in sorted(SIZES, reverse=True) if n < problem.n]
    race = Tuning(pool, [replace(problem, seed=seed) for seed in TUNING_SEEDS])
    labels = {"n": problem.n, "d": problem.d, "epsilon": problem.epsilon, "tol": problem.tol}
    return tune_cell(store, problem, near, race, variants, **labels)


def entrants(attempts: list[dict], pool: Pool, baseline: Path | None) -> list[Entrant]:
    """Return who takes turns in a cell."""
    found = [Entrant("skot", pool.get("skot-arrays"), {})]
    if baseline is not None:
        found.append(Entrant("baseline", pool.get("skot-arrays", checkout=baseline), {}))
    return found + peers_of(attempts, pool)


def measure(problem: Problem, pool: Pool, store: Store, args) -> None:
    """Tune, take turns, and store the cell."""
    attempts = tune(problem, pool, store)
    problems = [replace(problem, seed=seed) for seed in SEEDS]
    found = take_turns(
        entrants(attempts, pool, args.baseline), problems, budget=args.budget, rounds=args.rounds
    )
    pool.forget()
    peers = {name: result for name, result in found.items() if name not in ("skot", "baseline")}
    store.put(
        problem.key,
        skot=found["skot"],
        baseline=found.get("baseline"),
        peers=peers,
        commits=[commit(), None if args.baseline is None else commit(args.baseline)],
    )


def line(key: str, cell: dict) -> str:
    """Return the row of a cell for the terminal."""
    name, seconds = best_peer(cell) or ("no peer", float("nan"))
    ours, ratio, faster = cell["skot"], gain(cell), speed_up(cell)
    text = f"{key:34s} skot {1e3 * ours.get('seconds', float('nan')):9.3f} ms {ours['status']:6s}"
    text += f"  {1e3 * seconds:9.3f} ms {name[:56]:56s}"
    text += "" if ratio is None else f"  ratio {ratio:6.2f}"
    return text + ("" if faster is None else f"  baseline / skot {faster:6.2f}")


def main() -> None:
    """Measure the cells asked for, cheapest first."""
    parser = argument_parser(__doc__, "small.json")
    parser.add_argument("--n", type=int, nargs="+", default=SIZES)
    parser.add_argument("--d", type=int, nargs="+", default=DIMENSIONS)
    parser.add_argument("--epsilon", type=float, nargs="+", default=EPSILONS)
    parser.add_argument("--tol", type=float, nargs="+", default=TOLERANCES)
    parser.add_argument("--quick", action="store_true", help="some cells only, in fewer rounds")
    parser.add_argument("--baseline", type=Path, help="checkout of another skot")
    parser.add_argument("--budget", type=float, default=6.0, help="seconds of the turns of a cell")
    parser.add_argument("--again", action="store_true", help="take turns anew; keep the tuning")
    args = parser.parse_args()
    args.rounds = (3, 15)
    if args.quick:
        vars(args).update(QUICK, rounds=(3, 5), budget=2.0)
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    grid = itertools.product(
        sorted(args.n), args.d, sorted(args.epsilon, reverse=True), sorted(args.tol, reverse=True)
    )
    keys = []
    with Pool() as pool:
        for shape in grid:
            problem = Problem(*shape)
            keys.append(problem.key)
            cell = store.cells.get(problem.key, {})
            if args.again or "skot" not in cell or (args.baseline and not cell["baseline"]):
                measure(problem, pool, store, args)
            report(line(problem.key, store.cells[problem.key]))
    report("\n".join(summary_lines({key: store.cells[key] for key in keys})))
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
