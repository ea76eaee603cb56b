"""Gaussian pairs, whose map is known in closed form: a network against the linear map.

Run ``python examples/benchmarks/bench_gaussian.py``. The network trains by ``partial_fit`` on
fresh batches until its processor seconds are used up; drawing rows and judging are not counted.
"""

import sys
import time

import torch
from _harness import RESULTS, Store, argument_parser, pin, report
from render import render_all

from skot import GaussianTransport, W2GNTransport
from skot.datasets import make_location_scatter_pair
from skot.metrics import l2_uvp
from skot.networks import MLPMap, MLPPotential
from skot.training import Adam, CosineSchedule

DIMENSIONS = (2, 8, 32)
PRECONDITIONINGS = ("identity", "gaussian")
BATCH_SIZE, CHUNK, N_TEST, N_LINEAR = 1024, 50, 2**14, 10**5
WIDTHS = (64, 64)


def rows(pair, n: int, generators: list[torch.Generator]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return fresh independent rows of both sides."""
    source, target = generators
    return pair.sample_source_tensor(n, source), pair.sample_target_tensor(n, target)


def judge(transport, pair) -> float:
    """Return the error on rows that no transport has seen."""
    generator = torch.Generator().manual_seed(2)
    points = pair.sample_source_tensor(N_TEST, generator, dtype=torch.float64).numpy()
    return l2_uvp(pair.map(points), transport.transform(points), variance=pair.output_variance)


def train(pair, preconditioning: str, n_steps: int, budget: float, lr: float) -> dict:
    """Train for `n_steps`, or until `budget` processor seconds are used up."""
    transport = W2GNTransport(
        MLPPotential(WIDTHS),
        amortizer=MLPMap(WIDTHS),
        optimizer=Adam(lr=lr, schedule=CosineSchedule(length=n_steps)),
        preconditioning=preconditioning,
        batch_size=BATCH_SIZE,
        random_state=0,
    )
    generators = [torch.Generator().manual_seed(side) for side in range(2)]
    curve, seconds = [], 0.0
    for step in range(CHUNK, n_steps + CHUNK, CHUNK):
        x, y = rows(pair, CHUNK * BATCH_SIZE, generators)
        start = time.process_time()
        transport.partial_fit(x, y)
        seconds += time.process_time() - start
        curve.append((step, round(seconds, 2), judge(transport, pair)))
        if seconds >= budget:
            break
    return {"curve": curve, "seconds": seconds, "n_rows": curve[-1][0] * BATCH_SIZE}


def main() -> None:
    """Fit both transports to every pair that is not stored yet."""
    parser = argument_parser(__doc__, "gaussian.json")
    parser.add_argument("--dims", type=int, nargs="+", default=DIMENSIONS)
    parser.add_argument("--budget", type=float, default=240.0, help="processor seconds")
    parser.add_argument("--steps", type=int, default=400, help="length of the schedule")
    parser.add_argument("--lr", type=float, default=5e-3)
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for d in args.dims:
        _, _, pair = make_location_scatter_pair(1, d, random_state=d, return_map=True)
        if f"linear D={d}" not in store.cells:
            generators = [torch.Generator().manual_seed(side) for side in range(2)]
            transport = GaussianTransport().fit(*rows(pair, N_LINEAR, generators))
            store.put(
                f"linear D={d}",
                kind="linear",
                n_features=d,
                n_rows=N_LINEAR,
                l2_uvp=judge(transport, pair),
            )
        for preconditioning in PRECONDITIONINGS:
            setting = {
                "n_features": d,
                "preconditioning": preconditioning,
                "n_steps": args.steps,
                "budget": args.budget,
                "lr": args.lr,
            }
            key = " ".join(f"{name}={value}" for name, value in setting.items())
            if key in store.cells:
                continue
            result = train(pair, preconditioning, args.steps, args.budget, args.lr)
            store.put(key, kind="train", **setting, **result)
            report(f"{key}: {result['curve'][-1][2]:.3g} % ({result['seconds']:.1f} s)")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
