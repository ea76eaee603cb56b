"""Domain adaptation on Office-Caltech10 (SURF): no transport, POT, skot, before 1-NN.

Run ``python examples/benchmarks/bench_office_caltech.py`` with ``SKOT_DATA`` set. The protocol
is that of Courty et al. (2017): 20 labelled source images per class (8 for dslr), all images of
the target, a nearest-neighbour classifier on the transported source, the mean of 10 draws. Rows
are divided by their sum, features are standardised within each domain, for every method alike.

Epsilon, and the class strength, are one number per method for all 12 pairs: the one of a common
grid with the best mean accuracy. Both libraries get the same values, relative to the mean cost
between the centred samples.
"""

import itertools
import sys
import warnings

import numpy as np
from _harness import RESULTS, Store, argument_parser, pin, report
from render import render_all
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

from skot import SinkhornTransport
from skot.datasets import fetch_office_caltech
from skot.utils import stack_domains

DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
PER_CLASS = {"amazon": 20, "caltech10": 20, "dslr": 8, "webcam": 20}
EPSILONS = (0.05, 0.1, 0.2, 0.5)
# The class strength is searched around the best epsilons of the plain transports.
CLASS_EPSILONS = (0.1, 0.2)
STRENGTHS = (0.03, 0.1, 0.3, 1.0)


def load(domain: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the prepared rows of a domain and their labels."""
    X, y = fetch_office_caltech(domain, return_X_y=True)
    return StandardScaler().fit_transform(normalize(X, norm="l1")), y


def draw(y: np.ndarray, n_per_class: int, seed: int) -> np.ndarray:
    """Return the rows of one draw, the same number from every class."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(y == label))[:n_per_class] for label in np.unique(y)]
    return np.concatenate(rows)


def mean_cost(X: np.ndarray, Y: np.ndarray) -> float:
    """Return the mean squared Euclidean cost between the centred samples."""
    return float(X.var(0).sum() + Y.var(0).sum())


def pot_plain(X, y, Y, epsilon):
    """Return the source moved by POT."""
    from ot.da import SinkhornTransport as PotTransport

    # The scaling form is as exact as the log-domain one wherever it stays finite, and faster.
    for method in ("sinkhorn", "sinkhorn_log"):
        transport = PotTransport(
            reg_e=epsilon * mean_cost(X, Y), method=method, max_iter=2000, tol=1e-7
        )
        moved = transport.fit_transform(Xs=X, Xt=Y)
        errors = np.abs(transport.coupling_.sum(0) - 1 / len(Y)).sum()
        if np.isfinite(moved).all() and errors < 1e-2:
            return moved
    return moved


def pot_class_reg(X, y, Y, epsilon, strength):
    """Return the source moved by POT with its class regularisation."""
    from ot.da import SinkhornLpl1Transport

    unit = mean_cost(X, Y)
    transport = SinkhornLpl1Transport(reg_e=epsilon * unit, reg_cl=strength * unit, tol=1e-7)
    return transport.fit_transform(Xs=X, ys=y, Xt=Y)


def skot_plain(X, y, Y, epsilon):
    """Return the source moved by skot."""
    return SinkhornTransport(epsilon=epsilon).fit(X, Y).transform(X)


def skot_class_reg(X, y, Y, epsilon, strength):
    """Return the source moved by skot with its class regularisation."""
    X_all, y_all, sample_domain = stack_domains(X, Y, y, np.full(len(Y), -1))
    transport = SinkhornTransport(epsilon=epsilon, class_reg=strength)
    moved = transport.fit_transform(X_all, y_all, sample_domain=sample_domain)
    return moved[sample_domain >= 0]


METHODS = {
    "none": (lambda X, y, Y: X, [()]),
    "POT SinkhornTransport": (pot_plain, [(e,) for e in EPSILONS]),
    "skot SinkhornTransport": (skot_plain, [(e,) for e in EPSILONS]),
    "POT SinkhornLpl1Transport": (
        pot_class_reg,
        list(itertools.product(CLASS_EPSILONS, STRENGTHS)),
    ),
    "skot SinkhornTransport, class_reg": (
        skot_class_reg,
        list(itertools.product(CLASS_EPSILONS, STRENGTHS)),
    ),
}


def accuracies(move, parameters, source, target, n_per_class, n_draws) -> list[float]:
    """Return the accuracy on the whole target, for each draw of the source."""
    (X, y), (Y, y_target) = source, target
    found = []
    for seed in range(n_draws):
        rows = draw(y, n_per_class, seed)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            moved = move(X[rows], y[rows], Y, *parameters)
        # A transport that fails leaves rows that are not finite: they count as not moved.
        moved = np.where(np.isfinite(moved).all(1, keepdims=True), moved, X[rows])
        found.append(KNeighborsClassifier(1).fit(moved, y[rows]).score(Y, y_target))
    return found


def main() -> None:
    """Measure every method, parameter and pair that is not stored yet."""
    parser = argument_parser(__doc__, "office_caltech.json")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    data = {domain: load(domain) for domain in DOMAINS}
    for method in args.methods:
        move, grid = METHODS[method]
        for parameters in grid:
            key = " ".join([method, *map(str, parameters)])
            known = store.cells.get(key, {}).get("pairs", {})
            for source, target in itertools.permutations(DOMAINS, 2):
                pair = f"{source} > {target}"
                if len(known.get(pair, [])) == args.draws:
                    continue
                known[pair] = accuracies(
                    move, parameters, data[source], data[target], PER_CLASS[source], args.draws
                )
                store.put(key, method=method, parameters=list(parameters), pairs=known)
            mean = np.mean([np.mean(values) for values in known.values()])
            report(f"{key}: {100 * mean:.2f} %")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
