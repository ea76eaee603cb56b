"""Ways to judge a transport, by how they order maps whose error is known.

Run ``python examples/benchmarks/bench_judging.py`` with ``SKOT_DATA`` set. What is stored is not
repeated; ``--draws`` chooses the seeds. The statistic and its regularisation were chosen with
the seeds 900 to 902, which are in no table.
"""

import sys
import warnings

import numpy as np
from _harness import RESULTS, Store, argument_parser, pin, report
from _judging_candidates import PLAIN, candidates, fitted_maps
from _judging_problems import Problem, generated_problem, halves_problem
from render import render_all
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline

from skot import SinkhornTransport
from skot.metrics import (
    HeldOutDualScorer,
    energy_distance,
    sinkhorn_divergence,
    split_sinkhorn_divergence,
)

GENERATED = (("w2", 2), ("w2", 10), ("w2", 64), ("w2", 256), ("linear", 64))
SIZES = (200, 500)
HALVES = (("amazon", 200), ("mnist", 200), ("mnist", 500))
N_FOLDS, N_SEARCHED = 5, 2


def statistics(moved: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return distances of moved rows to the target, the standard error of one of them with it."""
    spread = cdist(y, y, "sqeuclidean").mean()
    split = split_sinkhorn_divergence(moved, y, epsilon=0.02 * spread, return_result=True)
    plain = sinkhorn_divergence(moved, y, epsilon=0.05 * spread, return_result=True)
    return {
        "split": split.value,
        "standard_error": split.standard_error,
        "sinkhorn": plain.value,
        "energy": energy_distance(moved, y, unbiased=True),
    }


def old_score(pipeline, X, Y) -> float:
    """Minus the Sinkhorn divergence of the samples."""
    epsilon = 0.05 * cdist(Y, Y, "sqeuclidean").mean()
    return -sinkhorn_divergence(pipeline.transform(X), Y, epsilon=epsilon, return_result=True).value


def measure(problem: Problem) -> dict:
    """Judge all candidates on as many held-out rows, and on five folds."""
    maps = fitted_maps(problem.x, problem.y, problem.true_map)
    names = list(maps)
    folds = []
    for train, test in KFold(N_FOLDS).split(problem.x):
        fitted = fitted_maps(problem.x[train], problem.y[train], problem.true_map)
        y = problem.y[test]
        folds.append({name: statistics(fitted[name](problem.x[test]), y) for name in names})
    held_out = {name: statistics(maps[name](problem.x_new), problem.y_new) for name in names}
    return {
        "errors": {name: problem.error(maps[name](problem.x_error)) for name in names},
        "held_out": held_out,
        "folds": {
            name: {key: float(np.mean([fold[name][key] for fold in folds])) for key in values}
            for name, values in held_out.items()
        },
        "dual": dual_values(problem),
    }


def dual_values(problem: Problem) -> dict[str, dict[str, float]]:
    """Return minus the scores of the plain family by potentials on held-out rows, and on folds."""
    scorer, found = HeldOutDualScorer(), {"held_out": {}, "folds": {}}
    for epsilon in PLAIN:
        name, transport = f"plain {epsilon:g}", SinkhornTransport(epsilon, residual=0)
        fitted = clone(transport).fit(problem.x, problem.y)
        found["held_out"][name] = -scorer(fitted, problem.x_new, problem.y_new)
        on_folds = [
            scorer(
                clone(transport).fit(problem.x[train], problem.y[train]),
                problem.x[test],
                problem.y[test],
            )
            for train, test in KFold(N_FOLDS).split(problem.x)
        ]
        found["folds"][name] = -float(np.mean(on_folds))
    return found


def search(problem: Problem, scoring) -> str:
    """Return the name of what GridSearchCV chooses."""
    transports = candidates()
    pipeline = Pipeline([("transport", SinkhornTransport())])
    grid = {"transport": list(transports.values())}
    found = GridSearchCV(pipeline, grid, scoring=scoring, cv=KFold(N_FOLDS), error_score="raise")
    return list(transports)[found.fit(problem.x, problem.y).best_index_]


def main() -> None:
    """Judge on every problem that is not stored yet."""
    parser = argument_parser(__doc__, "judging.json")
    parser.add_argument("--draws", type=int, nargs="+", default=range(5))
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    # Of a candidate of the least regularisation, and of solves that are compared by their value.
    warnings.simplefilter("ignore", ConvergenceWarning)
    for draw in args.draws:
        problems = [(generated_problem, (*kind, n)) for kind in GENERATED for n in SIZES]
        problems += [(halves_problem, setting) for setting in HALVES]
        for make, setting in problems:
            key = " ".join(map(str, (*setting, draw)))
            if key in store.cells:
                continue
            problem = make(*setting, draw)
            cell = measure(problem)
            if make is generated_problem and draw < N_SEARCHED:
                cell["searched"] = {
                    "split": search(problem, None),
                    "sinkhorn": search(problem, old_score),
                }
            store.put(key, name=problem.name, n_features=problem.x.shape[1], draw=draw, **cell)
            report(key)
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
