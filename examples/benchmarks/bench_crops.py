"""NeuralOT on 64 x 64 colour images: memory and time of a small U-Net and a residual potential.

Run ``SKOT_DATA=... python examples/benchmarks/bench_crops.py``. The source are random crops of one
half of the Kodak photographs, the target those of the other half in sepia. It runs on CUDA where
there is one.
"""

import resource
import sys
import time

import numpy as np
import torch
from _harness import RESULTS, Store, argument_parser, pin, report
from render import render_all

from skot import NeuralOT
from skot.datasets import fetch_kodak
from skot.losses import EnergyAugmentation
from skot.metrics import sinkhorn_divergence
from skot.networks import ResNetPotential, UNet
from skot.training import Adam, CosineSchedule

SHAPE = (3, 64, 64)
N_CROPS, N_TEST = 2000, 500
#: The tones of old photographs: rows of red, green and blue from those of the photograph.
SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])


def crops(photographs: list[np.ndarray], n: int, seed: int) -> np.ndarray:
    """Return random crops as flattened rows in [0, 1], channels first."""
    rng = np.random.RandomState(seed)
    rows = np.empty((n, *SHAPE), dtype=np.float32)
    for row in rows:
        photograph = photographs[rng.randint(len(photographs))]
        i, j = (rng.randint(side - 64) for side in photograph.shape[:2])
        row[:] = photograph[i : i + 64, j : j + 64].transpose(2, 0, 1)
    return rows.reshape(n, -1)


def divergence(moved: np.ndarray, target: np.ndarray) -> float:
    """Sinkhorn divergence at a regularisation set by the target."""
    spread = 2.0 * target.var(axis=0).sum()
    return float(sinkhorn_divergence(moved, target, epsilon=0.05 * spread))


def megabytes() -> float:
    """Largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Train once and store what it took."""
    parser = argument_parser(__doc__, "crops.json")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=16)
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    photographs = [photograph.astype(np.float32) / 255.0 for photograph in fetch_kodak().images]
    sepia = [np.clip(photograph @ SEPIA.T, 0.0, 1.0) for photograph in photographs[1::2]]
    halves = photographs[::2], sepia
    X, Y = (crops(half, N_CROPS, seed) for seed, half in enumerate(halves))
    new, target = (crops(half, N_TEST, 2 + seed) for seed, half in enumerate(halves))
    transport = NeuralOT(
        transport_map=UNet(SHAPE),
        potential=ResNetPotential(SHAPE),
        augmentation=EnergyAugmentation(30.0),
        optimizer=Adam(lr=1e-3, betas=(0.5, 0.9), schedule=CosineSchedule()),
        n_map_steps=4,
        max_iter=args.iterations,
        batch_size=args.batch_size,
        random_state=0,
        device="auto",
    )
    before = megabytes()
    start = time.process_time()
    transport.fit(X, Y)
    seconds = time.process_time() - start
    moved = transport.transform(new)
    cell = {
        "device": str(transport.potential_.frame.source_mean.device),
        "n_iter": transport.n_iter_,
        "batch_size": args.batch_size,
        "seconds": seconds,
        "peak": megabytes() - before,
        "n_parameters": sum(
            parameter.numel()
            for architecture in (transport.transport_map, transport.potential)
            for parameter in architecture.build(
                new.shape[1], generator=torch.Generator()
            ).parameters()
        ),
        "divergence_before": divergence(new, target),
        "divergence": divergence(moved, target),
        "divergence_floor": divergence(Y[:N_TEST], target),
        "finite": bool(np.isfinite(moved).all()),
    }
    store.put(f"crops iterations={args.iterations} batch={args.batch_size}", **cell)
    report(str(cell))
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
