"""Digests of what every estimator computes, to compare two checkouts bit by bit.

A change of structure alone leaves all of them as they are::

    python tests/fit_digests.py --against ../other-checkout

fits here and there, on this machine, and prints what differs; the exit status is 1 if anything
does. It also resumes checkpoints and loads networks that the other checkout has written. Without
``--against`` the digests are printed. ``--only w2gn`` looks at some of the names.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skot import (
    DomainAdaptation,
    GaussianTransport,
    LagrangianMetricLearner,
    LagrangianOT,
    MetaOTRegressor,
    MetaW2GN,
    NeuralOT,
    SinkhornTransport,
    W2GNTransport,
)
from skot.costs import GridCost, HillObstacle, KineticPotential, PrecomputedCost, SupportCost
from skot.losses import WeakQuadratic
from skot.networks import ICNN, MLPMap, MLPPotential, UNet
from skot.training import Checkpoint, EarlyStopping, ExponentialMovingAverage

RNG = np.random.RandomState(0)
X, Y = RNG.normal(size=(60, 2)), RNG.normal(size=(50, 2)) ** 3 + 1.0
NEW = RNG.normal(size=(7, 2))
LABELS = RNG.randint(3, size=60)
WEIGHTS = RNG.uniform(0.1, 1.0, size=(12, 18))
SUPPORT = RNG.normal(size=(10, 2)), RNG.normal(size=(8, 2))
TIMES = np.repeat([0.0, 1.0, 2.5], 20)
SMALL = {"max_iter": 6, "random_state": 0}
NETWORKS = {"potential": MLPPotential((16, 16)), "amortizer": MLPMap((16, 16))}


def digest(values: Any) -> str:
    """Hash numbers and arrays, with their dtypes and shapes."""
    found = hashlib.sha256()
    for value in values if isinstance(values, (list, tuple)) else [values]:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().numpy()
        array = np.ascontiguousarray(value)
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


def of_transport(transport: Any, *, x: Any = NEW, y: Any = NEW, score: bool = True) -> dict:
    """Everything that a fitted transport says of a few rows."""
    found = {"transform": transport.transform(x)}
    if getattr(transport, "fit_inverse_transform", True):
        found["inverse_transform"] = transport.inverse_transform(y)
    if score:
        found["score"] = transport.score(X.astype(x.dtype), Y.astype(x.dtype))
    for name in ("wasserstein_distance_", "cost_value_", "dual_value_", "loss_curve_", "n_iter_"):
        if hasattr(transport, name):
            found[name] = getattr(transport, name)
    return found


def staged(transport: Any, x: Any, y: Any) -> Iterator[tuple[str, dict]]:
    """A fit, one that goes on from it, and streams before and after a fit."""
    first = transport.fit(x, y)
    yield "fit", of_transport(first, x=NEW.astype(x.dtype))
    again = first.set_params(warm_start=True).fit(x[:40], y)
    yield "warm_start", of_transport(again)
    yield "partial_fit after fit", of_transport(again.partial_fit(x, y))
    stream = type(transport)(**transport.get_params(deep=False))
    for rows in (x[:30], x[30:]):
        stream.partial_fit(rows, y)
    yield "partial_fit", of_transport(stream)


def cases() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names, and what yields or returns named values."""
    sinkhorn = {"epsilon": 0.1, "random_state": 0}
    yield "sinkhorn", lambda: of_transport(SinkhornTransport(**sinkhorn).fit(X, Y))
    yield (
        "sinkhorn float32",
        lambda: of_transport(
            SinkhornTransport(**sinkhorn).fit(X.astype("f4"), Y.astype("f4")), x=NEW.astype("f4")
        ),
    )
    yield "sinkhorn reference", lambda: of_transport(SinkhornTransport(**sinkhorn).fit(X))
    stacked = np.concatenate([X, Y])
    domain = np.repeat([1, -1], [60, 50])
    labels = np.concatenate([LABELS, np.full(50, -1)])
    yield (
        "sinkhorn class_reg",
        lambda: {
            "moved": SinkhornTransport(class_reg=0.5, **sinkhorn).fit_transform(
                stacked, labels, sample_domain=domain
            )
        },
    )
    yield "gaussian", lambda: of_transport(GaussianTransport().fit(X, Y))

    yield "w2gn", lambda: staged(W2GNTransport(**NETWORKS, **SMALL), X, Y)
    yield (
        "w2gn float32",
        lambda: staged(W2GNTransport(**NETWORKS, **SMALL), X.astype("f4"), Y.astype("f4")),
    )
    yield (
        "w2gn identity",
        lambda: of_transport(
            W2GNTransport(
                ICNN((8, 8)), preconditioning="identity", n_amortizer_steps=2, **SMALL
            ).fit(X, Y)
        ),
    )

    def flow() -> dict:
        transport = W2GNTransport(**NETWORKS, averaging=ExponentialMovingAverage(0.9), **SMALL)
        transport.set_params(stopping=EarlyStopping(check_every=2)).fit(X)
        drawn = {"density": transport.score_samples(NEW), "sample": transport.sample(5, 0)}
        return {**of_transport(transport), **drawn}

    yield "w2gn flow", flow

    maps = {"potential": MLPPotential((16, 16)), "n_map_steps": 2, "batch_size": 32}
    yield "neural_ot", lambda: staged(NeuralOT(transport_map=MLPMap((16,)), **maps, **SMALL), X, Y)
    yield (
        "neural_ot float32",
        lambda: staged(
            NeuralOT(transport_map=MLPMap((16,)), **maps, **SMALL), X.astype("f4"), Y.astype("f4")
        ),
    )

    def weak() -> dict:
        transport = NeuralOT(WeakQuadratic(0.5), fit_inverse_transform=True, **maps, **SMALL)
        transport.fit(X, Y)
        return {
            **of_transport(transport),
            "draws": transport.sample_transform(NEW, 3, random_state=0),
            "variance": transport.conditional_variance(NEW),
            "diagnose": str(transport.diagnose(X, Y)).encode().hex(),
        }

    yield "neural_ot weak", weak
    yield (
        "neural_ot cost",
        lambda: of_transport(
            NeuralOT("euclidean", stopping=EarlyStopping(check_every=2), **maps, **SMALL).fit(X, Y)
        ),
    )
    yield (
        "neural_ot reference",
        lambda: of_transport(NeuralOT(fit_inverse_transform=True, **maps, **SMALL).fit(X)),
    )
    images = RNG.uniform(size=(20, 64)), RNG.uniform(size=(20, 64))
    yield (
        "neural_ot images",
        lambda: {
            "moved": NeuralOT(transport_map=UNet((8, 8, 1), channels=(4, 8)), **maps, **SMALL)
            .fit(*images)
            .transform(images[0][:3])
        },
    )

    paths = {**NETWORKS, "batch_size": 32, "max_iter": 3, "random_state": 0}

    def along_paths(lagrangian: Any, dtype: str) -> Iterator[tuple[str, dict]]:
        yield from staged(LagrangianOT(lagrangian, **paths), X.astype(dtype), Y.astype(dtype))
        transport = LagrangianOT(lagrangian, **paths).fit(X, Y)
        yield (
            "paths",
            {
                "paths": transport.transport_paths(NEW, n_times=5),
                "at": transport.transport_at(NEW, 0.3),
                "geodesic": transport.geodesic(NEW, NEW[::-1].copy(), n_times=5),
                "path_cost": transport.path_cost(NEW, NEW[::-1].copy()),
                "amortized": transport.path_cost(NEW, NEW[::-1].copy(), amortized=True),
            },
        )

    hill = KineticPotential(HillObstacle(strength=2.0))
    yield "lagrangian", lambda: along_paths(None, "f8")
    yield "lagrangian obstacle", lambda: along_paths(hill, "f8")
    yield "lagrangian float32", lambda: along_paths(hill, "f4")

    def metric(dtype: str) -> dict:
        learner = LagrangianMetricLearner(n_alternations=2, **SMALL)
        rows = X.astype(dtype)
        learner.fit(rows, TIMES)
        return {
            "transform": learner.transform(rows[:5]),
            "trajectories": learner.predict_trajectories(rows[:5], n_times=6),
            "population": learner.predict_population(1.7),
            "score": learner.score(rows, TIMES),
            "metric": learner.metric_(torch.from_numpy(rows[:5])),
            "loss_curve_": learner.loss_curve_,
        }

    yield "metric", lambda: metric("f8")
    yield "metric float32", lambda: metric("f4")

    rows, wanted = WEIGHTS, RNG.normal(size=(12, 10))

    def meta_ot(cost: Any, x: Any, y: Any = None) -> Iterator[tuple[str, dict]]:
        def said(regressor: Any) -> dict:
            found = {"predict": regressor.predict(x), "loss_curve_": regressor.loss_curve_}
            if cost is not None:
                result = regressor.solve(x)
                found |= {"f": result.f, "g": result.g, "passes": result.passes}
                found |= {"coupling": regressor.predict_coupling(x)}
                found |= {"score": regressor.score(x)}
            return found

        regressor = MetaOTRegressor(cost, epsilon=0.5, batch_size=4, **SMALL).fit(x, y)
        yield "fit", said(regressor)
        yield "warm_start", said(regressor.set_params(warm_start=True).fit(x, y))
        yield "partial_fit after fit", said(regressor.partial_fit(x, y))
        stream = MetaOTRegressor(cost, epsilon=0.5, batch_size=4, random_state=0)
        yield "partial_fit", said(stream.partial_fit(x, y))

    matrix = np.abs(SUPPORT[0][:, None] - SUPPORT[1]).sum(2)
    grid = RNG.uniform(0.1, 1.0, size=(8, 128))
    yield "meta_ot matrix", lambda: meta_ot(PrecomputedCost(matrix), rows)
    yield "meta_ot potentials", lambda: meta_ot(PrecomputedCost(matrix), rows, wanted)
    yield "meta_ot float32", lambda: meta_ot(SupportCost(*SUPPORT), rows.astype("f4"))
    yield "meta_ot grid", lambda: meta_ot(GridCost((8, 8)), grid)
    yield "meta_ot plain", lambda: meta_ot(None, rows, wanted)

    clouds = [RNG.normal(size=(40, 2)) ** power for power in (1, 2, 3)]
    pictures = [RNG.uniform(size=(16, 16, 3)) for _ in range(3)]

    def meta_w2gn(samples: list) -> Iterator[tuple[str, dict]]:
        meta = MetaW2GN(n_points=16, code_size=8, max_iter=3, random_state=0).fit(samples)
        source, target = (sample.reshape(-1, sample.shape[-1]) for sample in samples[:2])

        def said(meta: Any) -> dict:
            transport = meta.predict_transport(samples[0], samples[1])
            found = {
                "transform": transport.transform(source[:5]),
                "inverse": transport.inverse_transform(target[:5]),
                "distance": transport.wasserstein_distance_,
                "loss_curve_": meta.loss_curve_,
            }
            transport.set_params(warm_start=True, max_iter=3).fit(source, target)
            return {**found, "tuned": transport.transform(source[:5])}

        yield "fit", said(meta)
        yield "warm_start", said(meta.set_params(warm_start=True).fit(samples))
        yield "partial_fit", said(meta.partial_fit(samples))

    yield "meta_w2gn clouds", lambda: meta_w2gn(clouds)
    yield "meta_w2gn float32", lambda: meta_w2gn([cloud.astype("f4") for cloud in clouds])
    yield "meta_w2gn images", lambda: meta_w2gn(pictures)

    def adapted() -> dict:
        from sklearn.linear_model import LogisticRegression

        pipeline = DomainAdaptation(LogisticRegression(), W2GNTransport(**NETWORKS, **SMALL))
        pipeline.fit(stacked, labels, sample_domain=domain)
        return {"probabilities": pipeline.predict_proba(Y)}

    yield "domain adaptation", adapted


def of_files(folder: Path) -> dict[str, Any]:
    """Write checkpoints and a network where there are none, and read those that are there."""
    found = {}
    small = {"max_iter": 4, "random_state": 0}
    fits = {
        "w2gn": lambda **file: W2GNTransport(**NETWORKS, **small, **file).fit(X, Y).transform(NEW),
        "neural_ot": lambda **file: NeuralOT(**small, **file).fit(X, Y).transform(NEW),
        "lagrangian": lambda **file: (
            LagrangianOT(**NETWORKS, **small, **file).fit(X, Y).transform(NEW)
        ),
        "meta_ot": lambda **file: (
            MetaOTRegressor(SupportCost(*SUPPORT), **small, **file).fit(WEIGHTS).predict(WEIGHTS)
        ),
        "meta_w2gn": lambda **file: (
            MetaW2GN(n_points=16, code_size=8, **small, **file).fit([X, Y]).loss_curve_
        ),
    }
    for name, fit in fits.items():
        # A file of another fit would warn, and warnings of checkpoints are errors here.
        found[name] = fit(checkpoint=Checkpoint(folder / f"{name}.pt"))
    regressor = MetaOTRegressor(SupportCost(*SUPPORT), **small)
    path = folder / "network.pt"
    if not path.exists():
        regressor.fit(WEIGHTS).save(path)
    found["network"] = regressor.load(path).predict(WEIGHTS)
    return found


def values(only: str, folder: Path) -> dict[str, str]:
    """Digests by name."""
    found = {}
    for name, compute in (*cases(), ("files", lambda: of_files(folder))):
        if only not in name:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", "The checkpoint")
            said = compute()
            stages = [("", said)] if isinstance(said, dict) else list(said)
        for stage, numbers in stages:
            for key, value in numbers.items():
                if isinstance(value, str):
                    value = np.frombuffer(value.encode(), dtype=np.uint8)
                found[" / ".join(part for part in (name, stage, key) if part)] = digest(value)
    return found


def main() -> int:
    """Print or compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--write", type=Path, help="write the digests, and files, to a folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.write:
        found = values(args.only, args.write)
        (args.write / "digests.json").write_text(json.dumps(found, indent=1))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.against is None:
            for key, value in values(args.only, folder).items():
                print(value, key)
            return 0
        # The other one first: its files are read here.
        command = [sys.executable, str(Path(__file__).resolve()), "--write", name]
        environment = {**os.environ, "PYTHONPATH": str(args.against.resolve())}
        subprocess.run([*command, "--only", args.only], check=True, env=environment)
        there = json.loads((folder / "digests.json").read_text())
        here = values(args.only, folder)
    names = sorted(here.keys() | there.keys())
    other = [name for name in names if here.get(name) != there.get(name)]
    for name in other:
        print(f"differs: {name}")
    print(f"{len(names) - len(other)} of {len(names)} values are equal bit by bit")
    return bool(other) or not names


if __name__ == "__main__":
    sys.exit(main())
