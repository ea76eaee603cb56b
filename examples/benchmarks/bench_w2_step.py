"""Time of a training step, regression with L-BFGS: skot and OTT-JAX by turns.

Run ``python examples/benchmarks/bench_w2_step.py`` with ``SKOT_DATA`` set. Each library keeps a
process of one thread; all are trained for some steps first, then timed in turns.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from _harness import ONE_THREAD, RESULTS, ROOT, Store, argument_parser, pin, report
from render import render_all

DIMENSIONS = (2, 16, 64)
TOL, MAX_ITER = 0.1, 20
# Name in the table: library and what it needs beyond the problem.
METHODS: dict[str, tuple[str, list]] = {
    "OTT-JAX": ("jax", []),
    "skot, same coordinates": ("skot", ["identity"]),
    "skot, its defaults": ("skot", ["gaussian"]),
}


class Stepper:
    """A process that trains step by step."""

    def __init__(self, library: str, arguments: list) -> None:
        env = {**os.environ, **ONE_THREAD, "PYTHONUNBUFFERED": "1"}
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
        worker = str(Path(__file__).with_name("_w2_step_worker.py"))
        self._process = subprocess.Popen(
            [sys.executable, worker, library, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            text=True,
        )

    def ask(self, command: str) -> dict:
        """Send a command and return the answer."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def measure(n_features: int, warm_up: int, repeats: int, n_steps: int) -> dict[str, dict]:
    """Return the median processor seconds of a step of every method, and its solves."""
    problem = [n_features, TOL, MAX_ITER]
    steppers = {name: Stepper(library, problem + more) for name, (library, more) in METHODS.items()}
    try:
        for stepper in steppers.values():
            stepper.ask(f"run {warm_up}")
        seconds: dict[str, list[float]] = {name: [] for name in steppers}
        for _ in range(repeats):
            for name, stepper in steppers.items():
                seconds[name].append(stepper.ask(f"run {n_steps}")["seconds"])
        return {
            name: {
                "seconds": statistics.median(seconds[name]),
                "fastest": min(seconds[name]),
                **stepper.ask("quality 0"),
            }
            for name, stepper in steppers.items()
        }
    finally:
        for stepper in steppers.values():
            stepper.stop()


def main() -> None:
    """Time the step in every dimension."""
    parser = argument_parser(__doc__, "w2_step.json")
    parser.add_argument("--dims", type=int, nargs="+", default=DIMENSIONS)
    parser.add_argument("--warm-up", type=int, default=200, help="steps before the first timing")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=5, help="steps of a timing")
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for d in args.dims:
        for name, values in measure(d, args.warm_up, args.repeats, args.steps).items():
            store.put(f"{name} D={d}", method=name, n_features=d, warm_up=args.warm_up, **values)
            report(f"D={d} {name}: {values}")
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
