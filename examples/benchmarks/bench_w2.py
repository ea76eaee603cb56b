"""The Wasserstein-2 benchmark at full length: L2-UVP of W2GNTransport against steps and time.

Run ``python examples/benchmarks/bench_w2.py`` with ``SKOT_DATA`` set. The default is the length
of the published protocol, 250000 steps, which takes hours on a CPU: a run is cut off after
``--seconds`` and goes on from its checkpoint, a pickle of the estimator, when started again, on
CUDA with ``--device cuda``. The curve is stored at powers of the square root of two.
"""

import sys
import time

import joblib
import numpy as np
import torch
from _harness import CHECKPOINTS, RESULTS, Store, argument_parser, report
from _w2_pairs import BATCH_SIZE, DIMENSIONS, SOURCE, TARGET, Pair
from _w2_skot import ROWS_A_CALL, transport
from render import render_all

from skot.training import CosineSchedule


def fresh_rows(pair: Pair, side: int, seed: int, first_step: int, n_rows: int) -> np.ndarray:
    """Return rows that depend on the step they are for only: a resumed run sees the same ones."""
    rng = np.random.default_rng([side, pair.n_features, seed, first_step])
    return (pair.source if side == SOURCE else pair.target)(n_rows, rng)


def train(store: Store, n_features: int, *, steps: int, seconds: float, seed: int, device: str):
    """Go on with one dimension until it has taken its steps or the time is over."""
    pair, key = Pair(n_features), f"skot D={n_features} steps={steps} seed={seed}"
    points, path = pair.test_points(), CHECKPOINTS / f"{key.replace(' ', '_')}.joblib"
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        estimator, curve, cpu = joblib.load(path)
    else:
        schedule = CosineSchedule(final=0.01, length=steps)
        estimator, curve, cpu = transport(n_features, schedule, seed), [], 0.0
        estimator.set_params(batch_size=BATCH_SIZE)
    if device != "cpu":
        estimator.set_params(device=device)
    done = getattr(estimator, "n_iter_", 0)
    started, saved = time.perf_counter(), time.perf_counter()
    next_look = curve[-1][0] * 2**0.5 if curve else 256.0
    while done < steps and time.perf_counter() - started < seconds:
        n_rows = min(ROWS_A_CALL, (steps - done) * BATCH_SIZE)
        x, y = (fresh_rows(pair, side, seed, done, n_rows) for side in (SOURCE, TARGET))
        before = time.process_time()
        estimator.partial_fit(x, y)
        cpu += time.process_time() - before
        done = estimator.n_iter_
        over = done >= steps or time.perf_counter() - started >= seconds
        if done >= next_look or over:
            next_look = done * 2**0.5
            error = pair.l2_uvp(estimator.transform(points), points)
            curve.append((done, cpu, error))
            store.put(key, n_features=n_features, steps=steps, device=device, curve=curve)
            report(f"{key}: {done} steps, {cpu:.0f} s, {error:.3g} %")
        if over or time.perf_counter() - saved > 300:
            saved = time.perf_counter()
            partial = path.with_suffix(".partial")
            joblib.dump((estimator, curve, cpu), partial)
            partial.replace(path)


def main() -> None:
    """Go on with every dimension that is asked for."""
    parser = argument_parser(__doc__, "w2.json")
    parser.add_argument("--dims", type=int, nargs="+", choices=DIMENSIONS, default=DIMENSIONS)
    parser.add_argument("--steps", type=int, default=250_000)
    parser.add_argument("--seconds", type=float, default=7200.0, help="for each dimension")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for d in args.dims:
        train(
            store,
            d,
            steps=args.steps,
            seconds=args.seconds,
            seed=args.seed,
            device=args.device,
        )
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
