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

from skot import DomainAdaptation, GaussianTransport, SinkhornTransport
from skot.utils import stack_domains

#: Steps along the path from the shares of the source (0) to the true ones (1).
PATH = (0.5, 0.75, 1.0, 1.2)
TRANSPORTS = {
    "plain": SinkhornTransport(residual=0.0),
    "debiased": SinkhornTransport(residual=1.0),
    "quarter": SinkhornTransport(0.25, residual=0.25),
    "default": None,
}


def adapted(pair, transport, target_shares) -> DomainAdaptation:
    """Return an adapted logistic regression."""
    X, y, Y, _ = pair
    stacked = stack_domains(X, Y, y)
    classifier = LogisticRegression(max_iter=1000)
    model = DomainAdaptation(classifier, transport, target_shares=target_shares, fallback=None)
    return model.fit(stacked[0], stacked[1], sample_domain=stacked[2])


def path(problem: Problem) -> list[list[float]]:
    """Return shares from those of the source through the true ones, none of them negative."""
    equal, true = np.full(len(problem.shares), 1.0 / len(problem.shares)), np.array(problem.shares)
    steps = [equal + step * (true - equal) for step in PATH]
    return [list(shares) for shares in steps if shares.min() > 0]


def measure(problem: Problem, seed: int, cell: dict) -> dict:
    """Add what is missing to the accuracies and the estimate of one draw."""
    pair = problem.draw(seed)
    if "acted" not in cell:
        cell.update(estimate(pair))
    Y, truth = pair[2:]
    k = len(problem.shares)
    known = {"source": [1.0 / k] * k, "true": problem.shares, "estimate": cell["estimate"]}
    for name, transport in TRANSPORTS.items():
        for kind, shares in known.items():
            if f"{name} {kind}" not in cell:
                cell[f"{name} {kind}"] = adapted(pair, transport, shares).score(Y, truth)
        if not problem.is_equal and f"{name} path" not in cell:
            cell[f"{name} path"] = [
                adapted(pair, transport, shares).score(Y, truth) for shares in path(problem)
            ]
    return cell


def estimate(pair) -> dict:
    """Return the estimate of one draw, whether it acted, and whether the default warned.

    Neither depends on the transport.
    """
    X, y, Y, truth = pair
    cell = {"none": LogisticRegression(max_iter=1000).fit(X, y).score(Y, truth)}
    shares = np.bincount(y) / len(y)
    transport = GaussianTransport(shrinkage=0.5)
    seconds = []
    for given in (None, shares):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start = time.process_time()
            adapted(pair, transport, given)
            seconds.append(time.process_time() - start)
        if given is None:
            cell["warned"] = any("other shares" in str(one.message) for one in caught)
    cell["seconds_to_warn"] = seconds[0] - seconds[1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = adapted(pair, transport, "estimate")
        cell["acted"] = not any("keeps the shares" in str(one.message) for one in caught)
    cell["estimate"] = [round(share, 4) for share in model.target_shares_]
    cell["std"] = [round(error, 4) for error in model.target_shares_std_]
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
            draws[str(seed)] = measure(problem, seed, draws.get(str(seed), {}))
        store.put(key, group=problem.group, name=problem.name, shares=problem.shares, draws=draws)
        means = {
            name: np.mean([draw[name] for draw in draws.values()])
            for name in (
                "none",
                "default source",
                "default true",
                "default estimate",
                "acted",
                "warned",
            )
        }
        report(f"{key}: " + ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()))
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
