"""NeuralOT on images: USPS digits translated to MNIST, and back, with strong and weak costs.

Run ``python examples/benchmarks/bench_digits.py`` with ``SKOT_DATA`` set; POT is needed for the
method "exact". What is stored is not repeated; ``--methods``, ``--pairs`` and ``--seeds`` choose
what is measured. Settings were chosen on held-out training rows; test rows are for this report.
"""

import sys
import time

import numpy as np
import torch
from _digits_judge import SIDE, Digits, Judge, load_pair
from _digits_render import REFRAMING
from _harness import RESULTS, Store, argument_parser, pin, report
from render import render_all
from sklearn.base import clone
from torch.nn.functional import affine_grid, grid_sample

from skot import GaussianTransport, NeuralOT
from skot.losses import EnergyAugmentation, WeakKernel, WeakQuadratic
from skot.networks import ResNetPotential, UNet
from skot.training import Adam, CosineSchedule, ExponentialMovingAverage

PAIRS = (("usps", "mnist"), ("mnist", "usps"))
CHANNELS = (8, 16, 32)


def neural_ot(cost=None, *, lr: float, max_iter: int, noise_channels: int = 0) -> NeuralOT:
    """Return the transport of every neural row of the table."""
    transport_map = UNet(
        (SIDE, SIDE), channels=CHANNELS, noise_channels=noise_channels, noise_size=1
    )
    return NeuralOT(
        cost,
        transport_map=transport_map,
        potential=ResNetPotential((SIDE, SIDE), channels=CHANNELS),
        augmentation=EnergyAugmentation(30.0),
        optimizer=Adam(lr=lr, betas=(0.5, 0.9), schedule=CosineSchedule()),
        averaging=ExponentialMovingAverage(0.99),
        n_map_steps=3,
        n_noise_samples=2,
        max_iter=max_iter,
        batch_size=64,
    )


WEAK = {"lr": 1e-3, "max_iter": 400, "noise_channels": 4}
# Each with whether the rows are reframed first. "exact" is discrete transport between samples.
METHODS = {
    "untranslated": (None, False),
    "reframed": (None, True),
    "exact": ("exact", False),
    "exact+reframed": ("exact", True),
    "Gaussian": (GaussianTransport(), False),
    "Gaussian+reframed": (GaussianTransport(), True),
    "strong": (neural_ot(lr=5e-4, max_iter=600), False),
    "strong+reframed": (neural_ot(lr=5e-4, max_iter=600), True),
    "weak-quadratic+reframed": (neural_ot(WeakQuadratic(0.8), **WEAK), True),
    "weak-kernel+reframed": (neural_ot(WeakKernel(0.8), **WEAK), True),
}
N_EXACT, N_VARIANCE, N_DRAWS = 3000, 500, 4


def reframe(rows: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge images about their centre."""
    images = torch.as_tensor(rows, dtype=torch.float32).view(-1, 1, SIDE, SIDE)
    grid = affine_grid(torch.eye(2, 3).expand(len(images), 2, 3) / factor, images.shape, False)
    return grid_sample(images, grid, align_corners=False).flatten(1).numpy()


def measure(method: str, source: Digits, target: Digits, factor: float, seed: int) -> dict:
    """Fit a method on training rows, and judge it on test rows."""
    judge = Judge(target)
    transport, reframed = METHODS[method]
    X_train, X_test = (
        reframe(rows, factor) if reframed else rows for rows in (source.X_train, source.X_test)
    )
    start = time.process_time()
    if transport == "exact":
        moved, labels = exact(X_train, source.y_train, target.X_train)
        return {**judge(moved, labels), "seconds": time.process_time() - start}
    if transport is None:
        return {**judge(X_test, source.y_test), **show(X_test, source, None)}
    transport = clone(transport)
    if isinstance(transport, NeuralOT):
        transport.set_params(random_state=seed)
    transport.fit(X_train, target.X_train)
    result: dict = {"seconds": time.process_time() - start}
    if isinstance(transport, NeuralOT):
        moved = transport.sample_transform(X_test, random_state=0)[:, 0]
        variance = transport.conditional_variance(X_test[:N_VARIANCE]).sum(axis=1).mean()
        result["variance"] = float(variance / target.X_test.var(axis=0).sum())
        result["settings"] = repr(transport)
    else:
        moved = transport.transform(X_test)
    return {**result, **judge(moved, source.y_test), **show(X_test, source, transport)}


def exact(X: np.ndarray, labels: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return target rows that discrete transport gives to some source rows, and these' labels."""
    import ot

    rng = np.random.default_rng(0)
    rows, columns = (rng.permutation(len(points))[:N_EXACT] for points in (X, Y))
    # The best translation comes first, as in every transport here.
    x, y = X[rows] - X.mean(axis=0), Y[columns] - Y.mean(axis=0)
    weights = np.full(N_EXACT, 1.0 / N_EXACT)
    cost = ot.dist(x.astype(float), y.astype(float))
    plan = ot.emd(weights, weights, cost, numItermax=10**7)
    return Y[columns[plan.argmax(axis=1)]], labels[rows]


def show(X_test: np.ndarray, source: Digits, transport) -> dict:
    """Return what becomes of the first test digit of each class, in hundredths, as bytes."""
    rows = [int(np.flatnonzero(source.y_test == digit)[0]) for digit in range(10)]
    images = X_test[rows, None]
    if isinstance(transport, NeuralOT):
        images = transport.sample_transform(X_test[rows], N_DRAWS, random_state=0)
        images = images if transport.cost_.splits_mass else images[:, :1]
    elif transport is not None:
        images = transport.transform(X_test[rows])[:, None]
    hundredths = np.rint(100.0 * images).clip(0, 100).astype(np.uint8)
    return {"images": [[image.tobytes().hex() for image in draws] for draws in hundredths]}


def main() -> None:
    """Measure what is not stored yet."""
    parser = argument_parser(__doc__, "digits.json")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--pairs", nargs="+", type=int, default=[0, 1], help="of " + str(PAIRS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the neural methods")
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for names in (PAIRS[number] for number in args.pairs):
        source, target = load_pair(*names)
        floor_key = f"{' to '.join(names)} floor"
        if floor_key not in store.cells:
            floor = Judge(target)(target.X_train, target.y_train)
            store.put(floor_key, pair=names, method="floor", frechet=floor["frechet"])
        for method in args.methods:
            neural = isinstance(METHODS[method][0], NeuralOT)
            for seed in args.seeds if neural else [0]:
                key = f"{' to '.join(names)} {method} seed={seed}"
                if key in store.cells:
                    continue
                result = measure(method, source, target, REFRAMING[names], seed)
                store.put(key, pair=names, method=method, seed=seed, **result)
                shown = {k: v for k, v in result.items() if k not in ("images", "settings")}
                report(f"{key}: {shown}")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
