"""Batches of different clouds, by turns with other libraries' loops and batches, on one core.

Run ``python examples/benchmarks/bench_batches.py`` (``--quick`` for some cells only). skot takes
the whole batch in one call. A loop is timed on the first problems of a batch: every time is that
of a problem. A cell counts by its worst problem. Settings of the peers are chosen for each cell
on other seeds. Every cell is stored as soon as it is known.
"""

import sys
from dataclasses import replace

from _batch_peers import batch_candidates
from _batch_problems import BatchProblem
from _batches_render import line, per_problem
from _harness import RESULTS, Store, argument_parser, commit, pin, report
from _small_render import summary_lines
from _tuning import Tuning, peers_of, tune_cell
from _turns import Entrant, Pool, take_turns
from render import render_all

PEERS = ("mdot-batch", "pot-batch", "ott-batch", "pot-loop")
COUNTS = (16, 256)
SIZES = (32, 64, 256)
EPSILONS = (0.1, 0.05, 0.01)
TOL, FINE = 1e-3, (0.05, 1e-6, 64)
SEEDS, TUNING_SEED = (0, 1), 100
#: Problems of a batch that a loop solves.
LOOP = 16


def cells(counts, sizes) -> list[BatchProblem]:
    """Return the cells, cheapest first."""
    epsilon, tol, largest = FINE
    return [
        BatchProblem(count, n, *what)
        for n in sorted(sizes)
        for count in sorted(counts)
        for what in [*((e, TOL) for e in EPSILONS), *[(epsilon, tol)] * (n <= largest)]
    ]


def tune(problem: BatchProblem, pool: Pool, store: Store) -> list[dict]:
    """Return the attempts of the peers in a cell."""
    variants = [
        (library, settings)
        for library in PEERS
        for settings in batch_candidates(library, problem.tol, LOOP)
    ]
    near = [replace(problem, n_problems=c) for c in COUNTS if c < problem.n_problems]
    near += [replace(problem, n=n) for n in sorted(SIZES, reverse=True) if n < problem.n]
    race = Tuning(pool, [replace(problem, seed=TUNING_SEED)], per_problem)
    labels = {"n": problem.n, "n_problems": problem.n_problems}
    labels |= {"epsilon": problem.epsilon, "tol": problem.tol}
    return tune_cell(store, problem, near, race, variants, **labels)


def measure(problem: BatchProblem, pool: Pool, store: Store, args) -> None:
    """Tune, take turns, and store the cell."""
    entrants = [
        Entrant("skot", pool.get("skot-batch"), {}),
        Entrant("skot loop", pool.get("skot-loop"), {"n_solved": LOOP}),
        *peers_of(tune(problem, pool, store), pool),
    ]
    problems = [replace(problem, seed=seed) for seed in SEEDS]
    found = take_turns(entrants, problems, budget=args.budget, rounds=args.rounds)
    pool.forget()
    for result in found.values():
        if "seconds" in result:
            result["seconds"] = per_problem(problem, result["settings"], result["seconds"])
    ours = {"skot": found.pop("skot"), "loop": found.pop("skot loop")}
    store.put(problem.key, **ours, peers=found, commits=[commit()])


def main() -> None:
    """Measure the cells asked for, cheapest first."""
    parser = argument_parser(__doc__, "batches.json")
    parser.add_argument("--batches", type=int, nargs="+", default=COUNTS, help="sizes of a batch")
    parser.add_argument("--n", type=int, nargs="+", default=SIZES)
    parser.add_argument("--quick", action="store_true", help="some cells only, in fewer rounds")
    parser.add_argument("--budget", type=float, default=8.0, help="seconds of the turns of a cell")
    parser.add_argument("--again", action="store_true", help="take turns anew; keep the tuning")
    args = parser.parse_args()
    args.rounds = (3, 15)
    if args.quick:
        vars(args).update(batches=(16,), n=(32,), rounds=(3, 5), budget=2.0)
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    problems = cells(args.batches, args.n)
    with Pool() as pool:
        for problem in problems:
            if args.again or "skot" not in store.cells.get(problem.key, {}):
                measure(problem, pool, store, args)
            report(line(problem.key, store.cells[problem.key]))
    report("\n".join(summary_lines({p.key: store.cells[p.key] for p in problems})))
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
