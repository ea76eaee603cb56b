"""Domain adaptation where the classes have other shares in the target than in the source.

Run ``python examples/benchmarks/bench_class_shares.py`` with ``SKOT_DATA`` set. Classes have equal
shares in the source. Measured is the accuracy of a logistic regression on the target: fitted on the
source, adapted without regard to shares, with the true shares, with ``target_shares="estimate"``,
and with each share of a path from the source's shares through the true ones, the best of which
in the mean of the draws is what weights can reach. Thresholds of the estimate were chosen at seeds
from 1000 on.
"""

import sys
import time
import warnings

import numpy as np
from _class_share_problems import Problem, problems
from _harness import RESULTS, Store, argument_parser, pin, report
from render import render_all
from sklearn.linear_model import LogisticRegression

from skot import DomainAdaptation, SinkhornTransport
from skot.utils import stack_domains

#: Steps along the path from the shares of the source (0) to the true ones (1).
PATH = (0.5, 0.75, 1.0, 1.2)
TRANSPORTS = {
    "plain": SinkhornTransport(residual=0.0),
    "debiased": SinkhornTransport(residual=1.0),
}


def adapted(pair, transport, target_shares) -> DomainAdaptation:
    """Return an adapted logistic regression."""
    X, y, Y, _ = pair
    stacked = stack_domains(X, Y, y)
    classifier = LogisticRegression(max_iter=1000)
    model = DomainAdaptation(classifier, transport, target_shares=target_shares)
    return model.fit(stacked[0], stacked[1], sample_domain=stacked[2])


def path(problem: Problem) -> list[list[float]]:
    """Return shares from those of the source through the true ones, none of them negative."""
    equal, true = np.full(len(problem.shares), 1.0 / len(problem.shares)), np.array(problem.shares)
    steps = [equal + step * (true - equal) for step in PATH]
    return [list(shares) for shares in steps if shares.min() > 0]


def measure(problem: Problem, seed: int) -> dict:
    """Return the accuracies of one draw, the estimate, and whether the warning fired."""
    pair = problem.draw(seed)
    X, y, Y, truth = pair
    cell = {"none": LogisticRegression(max_iter=1000).fit(X, y).score(Y, truth)}
    estimate = None
    for name, transport in TRANSPORTS.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start = time.process_time()
            model = adapted(pair, transport, None)
            seconds = time.process_time() - start
            cell[f"{name} source"] = model.score(Y, truth)
        if estimate is None:
            cell["warned"] = any("other shares" in str(one.message) for one in caught)
            start = time.process_time()
            adapted(pair, transport, [1.0 / len(problem.shares)] * len(problem.shares))
            cell["seconds_to_warn"] = seconds - (time.process_time() - start)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                estimate = adapted(pair, transport, "estimate")
            cell["acted"] = not any("keeps the shares" in str(one.message) for one in caught)
            cell["estimate"] = [round(share, 4) for share in estimate.target_shares_]
            cell["std"] = [round(error, 4) for error in estimate.target_shares_std_]
            cell[f"{name} estimate"] = estimate.score(Y, truth)
        elif cell["acted"]:
            model = adapted(pair, transport, estimate.target_shares_)
            cell[f"{name} estimate"] = model.score(Y, truth)
        else:
            cell[f"{name} estimate"] = cell[f"{name} source"]
        if problem.is_equal:
            cell[f"{name} true"] = cell[f"{name} source"]
            continue
        cell[f"{name} true"] = adapted(pair, transport, problem.shares).score(Y, truth)
        cell[f"{name} path"] = [
            adapted(pair, transport, shares).score(Y, truth) for shares in path(problem)
        ]
    return cell


def main() -> None:
    """Measure what is not stored yet."""
    parser = argument_parser(__doc__, "class_shares.json")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(20)))
    parser.add_argument("--groups", nargs="+", help="words, one of which is in the name")
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for problem in problems():
        if args.groups and not any(word in problem.group for word in args.groups):
            continue
        key = f"{problem.group}, {problem.name}"
        draws = store.cells.get(key, {}).get("draws", {})
        for seed in args.seeds:
            if str(seed) not in draws:
                draws[str(seed)] = measure(problem, seed)
        store.put(key, group=problem.group, name=problem.name, shares=problem.shares, draws=draws)
        means = {
            name: np.mean([draw[name] for draw in draws.values()])
            for name in ("none", "plain source", "plain true", "plain estimate", "acted", "warned")
        }
        report(f"{key}: " + ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()))
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
