"""Every loss of the amortizer with every conjugate solver, on the planar benchmark pair.

Run ``python examples/benchmarks/bench_conjugates.py`` with ``SKOT_DATA`` set. All cells train for
the same number of steps, on fresh and independent batches of both sides, by ``partial_fit``.
"""

import sys
import time
import warnings

import torch
from _harness import RESULTS, Store, argument_parser, pin, report
from render import render_all

from skot import GaussianTransport, W2GNTransport
from skot.datasets import fetch_w2_benchmark
from skot.losses import CycleAmortization, ObjectiveAmortization, RegressionAmortization
from skot.metrics import l2_uvp
from skot.networks import ICNN, MLPMap, MLPPotential
from skot.solvers.conjugate import AdamConjugate, LBFGSConjugate, NoConjugate
from skot.training import Adam, CosineSchedule

N_FEATURES, BATCH_SIZE, CHUNK = 2, 1024, 50
N_TEST, N_MOMENTS = 2**14, 2**17
WIDTHS, TOL = (64, 64), 1e-2

AMORTIZATIONS = {
    "objective": ObjectiveAmortization,
    "cycle": CycleAmortization,
    "regression": RegressionAmortization,
}
SOLVERS = {
    "none": NoConjugate,
    "Adam": lambda: AdamConjugate(tol=TOL),
    "L-BFGS": lambda: LBFGSConjugate(tol=TOL),
}
POTENTIALS = {"MLP": MLPPotential, "ICNN": ICNN}
PRECONDITIONINGS = ("identity", "gaussian")


def estimator(cell: dict, n_steps: int, lr: float, seed: int) -> W2GNTransport:
    """Return the transport of a cell, not fitted."""
    return W2GNTransport(
        POTENTIALS[cell["potential"]](WIDTHS),
        amortizer=MLPMap(WIDTHS),
        amortization=AMORTIZATIONS[cell["loss"]](),
        conjugate_solver=SOLVERS[cell["solver"]](),
        optimizer=Adam(lr=lr, schedule=CosineSchedule(length=n_steps)),
        preconditioning=cell["preconditioning"],
        batch_size=BATCH_SIZE,
        random_state=seed,
    )


def train(transport: W2GNTransport, pair, n_steps: int, seed: int) -> dict:
    """Train on fresh rows; return the error on the way and at the end, or what was raised."""
    draws = [torch.Generator().manual_seed(1000 * seed + side) for side in range(3)]
    points = pair.sample_source_tensor(N_TEST, draws[2], dtype=torch.float64).numpy()
    images = pair.map(points)
    curve, seconds = [], 0.0
    for step in range(CHUNK, n_steps + CHUNK, CHUNK):
        x = pair.sample_source_tensor(CHUNK * BATCH_SIZE, draws[0])
        y = pair.sample_target_tensor(CHUNK * BATCH_SIZE, draws[1])
        start = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a loss that is no longer finite: see the error
                transport.partial_fit(x, y)
        except (ValueError, FloatingPointError) as error:
            return {"curve": curve, "seconds": seconds, "error": type(error).__name__}
        seconds += time.process_time() - start
        moved = transport.transform(points)
        curve.append((step, l2_uvp(images, moved, variance=pair.output_variance)))
    return {"curve": curve, "seconds": seconds, "error": None}


def linear_l2_uvp(pair) -> float:
    """Return the error of the best linear map, from many samples."""
    draws = [torch.Generator().manual_seed(seed) for seed in range(3)]
    x = pair.sample_source_tensor(N_MOMENTS, draws[0], dtype=torch.float64)
    y = pair.sample_target_tensor(N_MOMENTS, draws[1], dtype=torch.float64)
    points = pair.sample_source_tensor(N_TEST, draws[2], dtype=torch.float64).numpy()
    moved = GaussianTransport().fit(x, y).transform(points)
    return l2_uvp(pair.map(points), moved, variance=pair.output_variance)


def main() -> None:
    """Train every cell that is not stored yet."""
    parser = argument_parser(__doc__, "conjugates.json")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--potentials", nargs="+", choices=POTENTIALS, default=list(POTENTIALS))
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument(
        "--preconditionings", nargs="+", choices=PRECONDITIONINGS, default=PRECONDITIONINGS
    )
    args = parser.parse_args()
    pin(args.core)
    pair = fetch_w2_benchmark(N_FEATURES)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    store.put("linear", kind="linear", l2_uvp=linear_l2_uvp(pair))
    training = {"n_steps": args.steps, "lr": args.lr, "seed": args.seed}
    names = [
        {"potential": potential, "loss": loss, "solver": solver, "preconditioning": preconditioning}
        for preconditioning in args.preconditionings
        for potential in args.potentials
        for loss in AMORTIZATIONS
        for solver in args.solvers
    ]
    for cell in names:
        cell |= training
        key = " ".join(f"{name}={value}" for name, value in cell.items())
        if key in store.cells:
            continue
        transport = estimator(cell, args.steps, args.lr, args.seed)
        result = train(transport, pair, args.steps, args.seed)
        store.put(key, kind="train", **cell, **result)
        reached = f"{result['curve'][-1][1]:.3g} %" if result["curve"] else ""
        report(f"{key}: {result['error'] or reached} ({result['seconds']:.1f} s)")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
