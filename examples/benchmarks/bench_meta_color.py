"""Colour transfer between Kodak photographs: predicted maps, fine-tuned, and W2GN from scratch.

Run ``SKOT_DATA=... python examples/benchmarks/bench_meta_color.py``. `MetaW2GN` trains on pairs of
18 photographs, and of rectangles cut out of them, which are palettes of their own. It is judged on
pairs of photographs that it was not trained on, and on pairs of six other photographs, by real dual
values: of pixels that nothing was fitted to, with conjugates that are solved for in float64.
"""

import itertools
import pickle
import sys
import time

import numpy as np
import torch
from _harness import CHECKPOINTS, RESULTS, Store, argument_parser, pin, report
from render import render_all

from skot import MetaW2GN, W2GNTransport
from skot.datasets import fetch_kodak
from skot.networks import ICNN, GradientMap
from skot.potentials import LinearFrame
from skot.solvers.conjugate import LBFGSConjugate
from skot.training import Adam, CosineSchedule

N_PIXELS, N_TRAINING = 10_000, 60_000
#: Rectangles of each photograph, and their pixels.
N_CUTS, N_CUT_PIXELS = 8, 20_000
#: Shares in the training pairs: of two photographs, and of rectangles of these.
WHOLE_PAIRS, CUT_PAIRS = 2, 3
HELD_OUT = tuple(range(3, 24, 4))
SEEN = tuple(k for k in range(24) if k not in HELD_OUT)
#: Fine-tuning, and training from scratch, go on for so many steps, twice.
LEG = 1000
BATCH_SIZE, LEARNING_RATE = 256, 5e-3
POTENTIAL = ICNN((32, 32))
SOLVER = LBFGSConjugate(max_iter=500, tol=1e-6)
SCRATCH = ("identity", "gaussian")


def split_pairs() -> dict[str, list[tuple[int, int]]]:
    """Return the pairs to train on, those left out of them, and those of other photographs."""
    unseen = ring(SEEN, 5)
    left_out = {frozenset(pair) for pair in unseen}
    everything = itertools.combinations(SEEN, 2)
    return {
        "training": [pair for pair in everything if frozenset(pair) not in left_out],
        "seen": unseen,
        "held out": ring(HELD_OUT, 1),
    }


def ring(numbers: tuple[int, ...], step: int) -> list[tuple[int, int]]:
    """Pair each number with the one that comes so many places later, the first after the last."""
    n = len(numbers)
    return [(numbers[k], numbers[(k + step) % n]) for k in range(n)]


class Photograph:
    """The colours of a photograph in [0, 1]: those to judge on, those to fit to, and parts."""

    def __init__(self, image: np.ndarray, seed: int) -> None:
        pixels, rng = image.reshape(-1, 3) / 255.0, np.random.RandomState(seed)
        order = rng.permutation(len(pixels))
        self.judged, self.rest = pixels[order[:N_PIXELS]], pixels[order[N_PIXELS:]]
        self.given = self.rest[:N_PIXELS]
        is_judged = np.zeros(len(pixels), dtype=bool)
        is_judged[order[:N_PIXELS]] = True
        self.cuts = [self._cut(image / 255.0, is_judged, rng) for _ in range(N_CUTS)]

    @staticmethod
    def _cut(image: np.ndarray, is_judged: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Pixels of a rectangle, but for those that are judged on, in random order."""
        rows, columns = (
            slice(start := rng.randint(side // 2), start + rng.randint(side // 4, side // 2))
            for side in image.shape[:2]
        )
        is_left = ~is_judged.reshape(image.shape[:2])[rows, columns]
        pixels = image[rows, columns][is_left]
        return pixels[rng.permutation(len(pixels))[:N_CUT_PIXELS]]


def train(photographs: list[Photograph], pairs: list[tuple[int, int]], n_iter: int) -> MetaW2GN:
    """Train on the pixels that are not used for judging."""
    rng = np.random.RandomState(0)
    whole = [photograph.rest[:N_TRAINING] for photograph in photographs]
    sources = [whole[i] for i, _ in pairs * WHOLE_PAIRS]
    targets = [whole[j] for _, j in pairs * WHOLE_PAIRS]
    for source, target in pairs * CUT_PAIRS:
        sources.append(photographs[source].cuts[rng.randint(N_CUTS)])
        targets.append(photographs[target].cuts[rng.randint(N_CUTS)])
    return MetaW2GN(POTENTIAL, max_iter=n_iter, random_state=0).fit(sources, targets)


def quadratic_value(frame: LinearFrame, x: torch.Tensor, y: torch.Tensor) -> float:
    """Dual loss of half the squared norm in a frame, which is its own conjugate."""
    rows = frame.source_rows(x), frame.target_rows(y)
    return from_frame(frame, x, y, sum(0.5 * r.square().sum(dim=1).mean() for r in rows))


def from_frame(frame: LinearFrame, x: torch.Tensor, y: torch.Tensor, loss: torch.Tensor) -> float:
    """Dual loss in the units of the data, from that in a frame."""
    shift = frame.target_mean @ x.mean(dim=0) + frame.source_mean @ (y.mean(0) - frame.target_mean)
    return float(frame.scale * loss + shift)


def dual_value(transport: W2GNTransport, x: torch.Tensor, y: torch.Tensor) -> tuple[float, int]:
    """Dual loss E f(x) + E f*(y), and for how many rows f* was not found to the tolerance."""
    modules, frame = transport._learned.modules, transport.potential_.frame
    with torch.no_grad():
        rows = frame.target_rows(y)
        conjugate = SOLVER.solve(modules["potential"], rows, modules["amortizer"](rows))
        loss = modules["potential"](frame.source_rows(x)).mean() + conjugate.value.mean()
    return from_frame(frame, x, y, loss), int((~conjugate.converged).sum())


class Pair:
    """One pair of photographs: what methods are given, and what they are judged on."""

    def __init__(self, source: Photograph, target: Photograph) -> None:
        self.X, self.Y = source.given, target.given
        self.x, self.y = torch.from_numpy(source.judged), torch.from_numpy(target.judged)

    def frame(self, preconditioning: str) -> LinearFrame:
        """Coordinates of what the methods are given."""
        X, Y = torch.from_numpy(self.X), torch.from_numpy(self.Y)
        return LinearFrame.of(X, Y, preconditioning)

    def closed_forms(self) -> dict[str, float]:
        """Dual losses without any training: smaller is better."""
        norms = (0.5 * rows.square().sum(dim=1).mean() for rows in (self.x, self.y))
        return {
            "identity": float(sum(norms)),
            "centred": quadratic_value(self.frame("identity"), self.x, self.y),
            "gaussian": quadratic_value(self.frame("gaussian"), self.x, self.y),
        }

    def curve(self, transport: W2GNTransport, start_seconds: float | None) -> dict:
        """Train in two legs; a transport that was predicted is judged before, too."""
        steps, seconds, values, unconverged = [], [], [], 0
        elapsed = start_seconds or 0.0
        for leg in range(3):
            if leg:
                start = time.process_time()
                transport.fit(self.X, self.Y)
                elapsed += time.process_time() - start
                transport.set_params(warm_start=True)
            elif start_seconds is None:
                continue
            value, n_failed = dual_value(transport, self.x, self.y)
            steps.append(transport.n_iter_)
            seconds.append(elapsed)
            values.append(value)
            unconverged += n_failed
        return {"steps": steps, "seconds": seconds, "values": values, "unconverged": unconverged}

    def predicted(self, meta: MetaW2GN) -> dict:
        """Predict, then fine-tune."""
        start = time.process_time()
        transport = meta.predict_transport(self.X, self.Y)
        seconds = time.process_time() - start
        return self.curve(transport.set_params(warm_start=True, **training_params()), seconds)

    def from_scratch(self, preconditioning: str) -> dict:
        """Train with the same networks and steps, from freshly drawn weights."""
        transport = W2GNTransport(
            POTENTIAL,
            amortizer=GradientMap(POTENTIAL),
            preconditioning=preconditioning,
            random_state=0,
            **training_params(),
        )
        return self.curve(transport, None)


def training_params() -> dict:
    """Return what fine-tuning and training from scratch share."""
    optimizer = Adam(lr=LEARNING_RATE, schedule=CosineSchedule())
    return {"max_iter": LEG, "batch_size": BATCH_SIZE, "optimizer": optimizer}


def trained(store: Store, photographs: list[Photograph], n_iter: int) -> MetaW2GN:
    """Train, or load what was trained before for the same number of steps."""
    path = CHECKPOINTS / f"meta_color_{n_iter}.pkl"
    if "training" in store.cells and path.exists():
        return pickle.loads(path.read_bytes())
    pairs = split_pairs()["training"]
    start = time.process_time()
    meta = train(photographs, pairs, n_iter)
    cell = {"n_iter": meta.n_iter_, "seconds": time.process_time() - start, "n_pairs": len(pairs)}
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(meta))
    store.put("training", kind="training", n_photographs=len(SEEN), **cell)
    report(f"trained {meta.n_iter_} steps in {cell['seconds']:.0f} s")
    return meta


def main() -> None:
    """Train once, then measure the pairs that are not stored yet."""
    parser = argument_parser(__doc__, "meta_color.json")
    parser.add_argument("--iterations", type=int, default=9000)
    parser.add_argument("--pairs", type=int, default=6, help="of each kind")
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    photographs = [Photograph(image, seed) for seed, image in enumerate(fetch_kodak().images)]
    meta = trained(store, photographs, args.iterations)
    # The first call loads modules of PyTorch, which should not count as time of a prediction.
    meta.predict_transport(photographs[0].given, photographs[1].given)
    for kind in ("seen", "held out"):
        pairs = split_pairs()[kind]
        for source, target in pairs[:: len(pairs) // args.pairs][: args.pairs]:
            key = f"{kind} {source + 1:02d} to {target + 1:02d}"
            if key in store.cells:
                continue
            pair = Pair(photographs[source], photographs[target])
            curves = {"meta": pair.predicted(meta)}
            curves.update((f"scratch, {name}", pair.from_scratch(name)) for name in SCRATCH)
            store.put(key, kind=kind, closed_forms=pair.closed_forms(), curves=curves)
            report(f"{key}: {curves['meta']['values']} {curves['scratch, identity']['values']}")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
