"""The Wasserstein-2 benchmark with a budget: skot and the neural duals of OTT-JAX.

Run ``python examples/benchmarks/bench_w2_budget.py`` with ``SKOT_DATA`` set. Each method trains
in a new process with the same processor seconds and threads, on fresh batches; drawing them and
judging the map are not counted. What is stored for the same budget and threads is not repeated.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _harness import ONE_THREAD, RESULTS, ROOT, Store, argument_parser, report
from _w2_pairs import DIMENSIONS, Pair
from _w2_worker import TRAINERS
from render import render_all

BUDGET = 720.0  # six minutes of two cores


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a worker."""
    env = {**os.environ, **ONE_THREAD, "TQDM_DISABLE": "1"}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        env[name] = str(threads)
    env["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return env


def pin(core: int | None, threads: int) -> None:
    """Keep this process and its children on as many cores as there are threads."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        cores = allowed[-threads:] if core is None else range(core, core + threads)
        os.sched_setaffinity(0, set(cores))


def call(method: str, arguments: list, threads: int) -> dict | None:
    """Train in a new process; return its curve in a dict, or None if it failed."""
    worker = str(Path(__file__).with_name("_w2_worker.py"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        command = [sys.executable, worker, method, json.dumps(arguments), str(output)]
        done = subprocess.run(
            command, env=environment(threads), stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            report(f"{method} failed: {done.stderr[-500:]}")
            return None
        return json.loads(output.read_text())


def measure(store: Store, **setting: Any) -> None:
    """Measure a cell, unless it is stored with the same setting."""
    key = f"{setting['method']} D={setting['n_features']} seed={setting['seed']}"
    cell = store.cells.get(key, {})
    if all(cell.get(name) == value for name, value in setting.items()):
        return
    arguments = [setting[name] for name in ("n_features", "budget", "seed")]
    result = call(setting["method"], arguments, setting["threads"])
    if result is not None:
        store.cells.pop(key, None)
        store.put(key, kind="train", **setting, **result)
        report(f"{key}: {result['curve'][-1][3]:.3g} %")


def main() -> None:
    """Measure every method and dimension that is not stored yet."""
    parser = argument_parser(__doc__, "w2_budget.json")
    parser.add_argument("--dims", type=int, nargs="+", choices=DIMENSIONS, default=DIMENSIONS)
    parser.add_argument("--methods", nargs="+", choices=TRAINERS, default=list(TRAINERS))
    parser.add_argument("--budget", type=float, default=BUDGET, help="processor seconds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pin(args.core, args.threads)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for d in args.dims:
        if f"linear D={d}" not in store.cells:
            store.put(f"linear D={d}", kind="linear", n_features=d, l2_uvp=Pair(d).linear_l2_uvp())
        for method in args.methods:
            measure(
                store,
                method=method,
                n_features=d,
                threads=args.threads,
                budget=args.budget,
                seed=args.seed,
            )
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
