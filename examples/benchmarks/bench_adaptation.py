"""Does adapting help: 12 pairs of Office-Caltech10, MNIST to USPS and back, three classifiers.

Run ``python examples/benchmarks/bench_adaptation.py`` with ``SKOT_DATA`` set. A draw takes 325 rows
of each domain (all, where there are fewer), labels of the source, none of the target; the accuracy
is that on the target rows of the draw. Office features are divided by their sum and standardised
within each domain (``--rows z``), digits are pixels on a 16 x 16 grid; with ``--rows l2`` all rows
are divided by their length instead. No adaptation has the same rows.

The transport that ``transport=None`` stands for, and the ratios of the guard, were chosen on draws
with seeds from 1000 on.
"""

import itertools
import sys
import warnings

import numpy as np
from _adaptation_render import lines
from _harness import RESULTS, Store, argument_parser, pin, report
from render import render_all
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC

from skot import DomainAdaptation, SinkhornTransport
from skot.datasets import fetch_mnist, fetch_office_caltech, fetch_usps
from skot.utils import stack_domains

DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
N_ROWS = 325
SEEDS = (0, 1, 2, 3, 4)
CLASSIFIERS = {
    "1-NN": KNeighborsClassifier(1),
    "SVC": SVC(),
    "logistic": LogisticRegression(max_iter=1000),
}
#: By the name of the transport; the recipe is what None stands for.
TRANSPORTS = {
    "recipe": None,
    "debiased": SinkhornTransport(),
    "plain": SinkhornTransport(residual=0),
}


def pairs():
    """Return the rows and labels of source and target, by the name of the pair."""
    office = {name: fetch_office_caltech(name, return_X_y=True) for name in DOMAINS}
    options = {"image_size": 16, "download_if_missing": False, "return_X_y": True}
    digits = {"MNIST": fetch_mnist(**options), "USPS": fetch_usps(**options)}
    found = {}
    for domains in (office, digits):
        for source, target in itertools.permutations(domains, 2):
            found[f"{source} > {target}"] = domains[source], domains[target]
    return found


def prepared(X: np.ndarray, rows: str, *, is_office: bool) -> np.ndarray:
    """Return rows as they are handed over."""
    if rows == "l2":
        return normalize(X)
    return normalize(X, norm="l1") if is_office else X


def results_of(source, target, classifier, seed: int, rows: str, *, is_office: bool) -> dict:
    """Return accuracies on the target and what the guard says, by transport."""
    rng = np.random.default_rng(seed)
    (X, y), (Y, truth) = (
        (prepared(np.asarray(Z)[drawn], rows, is_office=is_office), np.asarray(labels)[drawn])
        for Z, labels in (source, target)
        for drawn in [rng.permutation(len(labels))[:N_ROWS]]
    )
    stacked, labels, sample_domain = stack_domains(X, Y, y)
    scaler = StandardScaler() if is_office and rows == "z" else None
    found: dict = {}
    for name, transport in TRANSPORTS.items():
        model = DomainAdaptation(classifier, transport, domain_scaler=scaler)
        model.fit(stacked, labels, sample_domain=sample_domain)
        gain, scaled = model.adaptation_gain_, model.scale_domains(Y, sample_domain=[-1] * len(Y))
        found["none"] = float(np.mean(model.unadapted_estimator_.predict(scaled) == truth))
        found[name] = {
            "accuracy": model.score(Y, truth),
            "helps": gain.helps,
            "doubtful": gain.is_doubtful,
            "ratios": [gain.separation_ratio, gain.agreement_ratio],
        }
    return found


def main() -> None:
    """Measure every draw of every pair and classifier that is not stored yet."""
    parser = argument_parser(__doc__, "adaptation.json")
    parser.add_argument("--rows", choices=["z", "l2"], default="z")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for (pair, (source, target)), seed in itertools.product(pairs().items(), args.seeds):
        for name, classifier in CLASSIFIERS.items():
            key = f"{args.rows}: {pair}, {name}, seed {seed}"
            if key in store.cells:
                continue
            is_office = pair.split(" ")[0] in DOMAINS
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=UserWarning)  # they are counted
                found = results_of(source, target, classifier, seed, args.rows, is_office=is_office)
            store.put(key, rows=args.rows, pair=pair, classifier=name, seed=seed, results=found)
        report(f"{args.rows}: {pair}, seed {seed}")
    for line in lines(store.cells, args.rows):
        report("  ".join(line))
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
