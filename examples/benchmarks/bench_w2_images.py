"""W2GNTransport on images: colours of photographs, and potentials of 16 x 16 digits.

Run ``python examples/benchmarks/bench_w2_images.py`` with ``SKOT_DATA`` set. Colours: the map
between the pixels of two photographs of the Kodak suite, judged on pixels that were not trained
on. Digits: a pair whose optimal map is known, made of the USPS digits, and three potentials that
train on fresh independent rows with the same processor seconds. What is stored is not repeated.
"""

import math
import sys
import time

import numpy as np
import torch
from _harness import RESULTS, ROOT, Store, argument_parser, pin, report
from _w2_images_render import draw_colors
from render import render_all

from skot import GaussianTransport, W2GNTransport
from skot.datasets import fetch_kodak, fetch_usps, make_w2_benchmark
from skot.metrics import l2_uvp, wasserstein_distance
from skot.networks import ICNN, ConvPotential, MLPMap, MLPPotential
from skot.solvers.conjugate import LBFGSConjugate
from skot.training import Adam, CosineSchedule, ExponentialMovingAverage, Schedule

sys.path.insert(0, str(ROOT / "examples"))
from _colors import divergence, recolor

# Source and target, by their numbers in the suite.
PHOTOGRAPHS = ((16, 20), (21, 12))
N_HELD_OUT, N_DRAWS, N_DISCRETE = 60_000, 20, 2000
SAMPLE_SIZES = (2000, 10_000)

# The convolution's settings were chosen on runs of its own kind; those of the dense potentials on
# short regressions, where three learning rates made no difference.
POTENTIALS = {
    "conv": (
        ConvPotential(
            (16, 16),
            channels=(24,),
            hidden_layer_sizes=(32,),
            activation="silu",
            quadratic="diagonal",
        ),
        4e-2,
    ),
    "MLP": (MLPPotential((128, 128, 128), activation="silu"), 1e-2),
    "ICNN": (ICNN((128, 128)), 1e-2),
}
N_TEST, N_LINEAR, BATCH_SIZE, ROWS_A_CALL, N_SHOWN = 4096, 2**15, 256, 2**15, 8


def photograph_pixels(image: np.ndarray, seed: int) -> np.ndarray:
    """Return the pixels of a photograph in random order, in [0, 1]."""
    pixels = image.reshape(-1, 3) / 255.0
    return np.random.default_rng(seed).permutation(pixels).astype(np.float32)


def transfer_colors(source: int, target: int, max_iter: int) -> dict:
    """Fit the map from the colours of one photograph to those of another, and judge it."""
    images = fetch_kodak().images
    photographs = [images[number - 1] for number in (source, target)]
    pixels = [photograph_pixels(image, seed) for seed, image in enumerate(photographs)]
    fitted_on = [rows[N_HELD_OUT:] for rows in pixels]
    held_out = [rows[:N_HELD_OUT] for rows in pixels]
    transport = W2GNTransport(max_iter=max_iter, random_state=0)
    start = time.process_time()
    transport.fit(*fitted_on)
    seconds = time.process_time() - start
    result = {"seconds": seconds, **judge_colors(transport, *held_out)}
    linear = GaussianTransport().fit(*fitted_on)
    result["linear"] = draw_divergences(linear.transform(held_out[0]), held_out[1], 2000)[0]
    moved = recolor(transport, (photographs[0] / 255.0).astype(np.float32))
    # Not into the documentation: the photographs are not part of the project.
    folder = ROOT / "demo_output"
    folder.mkdir(exist_ok=True)
    draw_colors(photographs, moved, folder / f"w2_colors_{source}_{target}.jpg")
    return result


def judge_colors(transport: W2GNTransport, source: np.ndarray, target: np.ndarray) -> dict:
    """Return divergences before and after, their floor, and the cost beside that of discrete OT."""
    moved = transport.transform(source)
    result: dict = {"before": draw_divergences(source, target, SAMPLE_SIZES[0], 2)[0]}
    for n in SAMPLE_SIZES:
        result[f"after, n={n}"], result[f"floor, n={n}"] = draw_divergences(moved, target, n)
    displacement = np.square(moved.astype(float) - source).sum(axis=1).mean()
    discrete = wasserstein_distance(source[:N_DISCRETE], target[:N_DISCRETE]) ** 2
    return {**result, "cost": float(displacement), "discrete cost": float(discrete)}


def draw_divergences(
    moved: np.ndarray, target: np.ndarray, n: int, n_draws: int = N_DRAWS
) -> list[float]:
    """Return mean divergences to target pixels: of moved ones, and of other target pixels."""
    rng = np.random.default_rng(0)
    # Set by the target alone, so that the values can be compared.
    epsilon = 0.05 * 2.0 * target.astype(float).var(axis=0).sum()
    found = []
    for _ in range(n_draws):
        first, second = np.split(target[rng.choice(len(target), 2 * n, replace=False)], 2)
        sample = moved[rng.choice(len(moved), n, replace=False)]
        pairs = ((sample.astype(float), first), (second.astype(float), first))
        found.append([divergence(a, b.astype(float), epsilon) for a, b in pairs])
    return np.mean(found, axis=0).tolist()


class ProcessorCosine(Schedule):
    """Half a cosine between two readings of the processor's clock, down to 1 %."""

    def __init__(self, start: float, end: float) -> None:
        self.start = start
        self.end = end

    def factor(self, i: int, max_iter: int | None) -> float:
        """Return the factor; see :meth:`Schedule.factor`."""
        spent = min((time.process_time() - self.start) / (self.end - self.start), 1.0)
        # A few short steps first: the curvatures that Adam divides by are not known yet.
        rise = CosineSchedule(warmup=20).factor(i, None)
        return rise * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * spent)))


class Digits:
    """The pair, its test rows, and an endless supply of training rows."""

    def __init__(self) -> None:
        images = fetch_usps().data.reshape(-1, 16, 16)
        self.pair = make_w2_benchmark(images=images, random_state=0)
        self.points = self.pair.sample_source(N_TEST, 2)
        self.true_images = self.pair.map(self.points)
        self._generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]

    def rows(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return fresh rows of both sides, independent of each other."""
        source, target = self._generators
        return self.pair.sample_source_tensor(n, source), self.pair.sample_target_tensor(n, target)

    def error(self, images: np.ndarray) -> float:
        """Return the L2-UVP of the images of the test rows."""
        return l2_uvp(self.true_images, images, variance=self.pair.output_variance)


def train_potential(name: str, budget: float) -> dict:
    """Train until the processor seconds are used up, with those of drawing and judging."""
    digits = Digits()
    architecture, lr = POTENTIALS[name]
    start = time.process_time()
    transport = W2GNTransport(
        architecture,
        amortizer=MLPMap((128, 128)),
        conjugate_solver=LBFGSConjugate(max_iter=15, tol=0.05),
        optimizer=Adam(lr=lr, schedule=ProcessorCosine(start, start + budget)),
        averaging=ExponentialMovingAverage(0.99),
        batch_size=BATCH_SIZE,
        random_state=0,
    )
    curve = []
    while not curve or curve[-1][1] < budget:
        transport.partial_fit(*digits.rows(ROWS_A_CALL))
        images = transport.transform(digits.points)
        seconds = time.process_time() - start
        curve.append((transport.n_iter_, round(seconds, 1), digits.error(images)))
    shown = encode(images[:N_SHOWN])
    return {"curve": curve, "images": shown, "lr": lr, "architecture": repr(architecture)}


def linear_map() -> dict:
    """Return the error of the linear map, and the digits that the figure shows."""
    digits = Digits()
    transport = GaussianTransport().fit(*(rows.numpy() for rows in digits.rows(N_LINEAR)))
    images = transport.transform(digits.points)
    return {
        "l2_uvp": digits.error(images),
        "images": encode(images[:N_SHOWN]),
        "source": encode(digits.points[:N_SHOWN]),
        "true": encode(digits.true_images[:N_SHOWN]),
    }


def encode(images: np.ndarray) -> list[list[int]]:
    """Return pixels in hundredths."""
    return np.rint(100.0 * images).astype(int).tolist()


def main() -> None:
    """Measure what is not stored yet."""
    parser = argument_parser(__doc__, "w2_images.json")
    parser.add_argument("--parts", nargs="+", default=["colors", *POTENTIALS])
    parser.add_argument("--pairs", type=int, default=len(PHOTOGRAPHS), help="of photographs")
    parser.add_argument("--max-iter", type=int, default=1000, help="steps on colours")
    parser.add_argument("--budget", type=float, default=120.0, help="processor seconds a potential")
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for source, target in PHOTOGRAPHS[: args.pairs if "colors" in args.parts else 0]:
        key = f"colors {source} {target} max_iter={args.max_iter}"
        if key not in store.cells:
            result = transfer_colors(source, target, args.max_iter)
            store.put(key, kind="colors", source=source, target=target, **result)
            report(f"{key}: {result}")
    if "linear" not in store.cells:
        store.put("linear", kind="linear", **linear_map())
    for name in (part for part in args.parts if part in POTENTIALS):
        key = f"{name} budget={args.budget:g}"
        if key not in store.cells:
            result = train_potential(name, args.budget)
            store.put(key, kind="potential", name=name, budget=args.budget, **result)
            report(f"{key}: {result['curve'][-1]}")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
