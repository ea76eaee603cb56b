"""A worker of the harness: reads requests from stdin, times one library, writes messages."""

import contextlib
import ctypes
import gc
import json
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
from _batch_peers import BATCH_ADAPTERS
from _batch_problems import BatchProblem
from _estimator_fits import ESTIMATOR_ADAPTERS, EstimatorProblem
from _fit_overhead import FIT_ADAPTERS, FitProblem
from _grid_peers import GRID_ADAPTERS
from _peers import ADAPTERS
from _problems import GridProblem, Problem

PROBLEMS = {
    kind.__name__: kind
    for kind in (Problem, GridProblem, BatchProblem, FitProblem, EstimatorProblem)
}

# Short calls are repeated and the best is kept; long ones are measured once.
REPEATS = ((0.1, 9), (1.0, 4), (4.0, 1))


def main(library: str) -> None:
    """Serve requests until stdin closes."""
    # Nothing but messages may reach the pipe: some libraries print.
    messages, sys.stdout = sys.stdout, sys.stderr

    def emit(event: str, **values) -> None:
        messages.write(json.dumps({"event": event, **values}) + "\n")
        messages.flush()

    warnings.simplefilter("ignore")
    kinds = (ADAPTERS, GRID_ADAPTERS, BATCH_ADAPTERS, FIT_ADAPTERS, ESTIMATOR_ADAPTERS)
    adapter = next(kind[library] for kind in kinds if library in kind)
    turns = Turns(adapter, emit)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "call":
                serve(adapter, request, emit)
                gc.collect()
            else:
                getattr(turns, request["do"])(request)
        except Exception:
            emit("error", text=traceback.format_exc(limit=-3))


class Cut(BaseException):
    """A call used up its limit. Not an `Exception`: libraries must not swallow it."""


@contextlib.contextmanager
def cut_after(limit: float):
    """End a call in Python after its limit of processor time.

    The alarm is that of the wall clock: one of the processor's makes Linux count processor time
    in ticks of milliseconds.
    """
    start = time.process_time()

    def look(signum, frame):
        left = limit - (time.process_time() - start)
        if left <= 0:
            raise Cut
        signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3))

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


class Turns:
    """Calls that are prepared once and made one at a time, by turns with other processes."""

    def __init__(self, adapter, emit) -> None:
        self.adapter, self.emit = adapter, emit
        self.calls: dict = {}
        self.readers: dict = {}

    def prepare(self, request: dict) -> None:
        """Import, warm up, compile."""
        problem = PROBLEMS[request["kind"]](**request["problem"])
        self.calls[request["name"]] = self.adapter(*problem.arguments(), **request["settings"])
        # The wrong skot would give plausible numbers.
        if "skot" in sys.modules:
            found = Path(sys.modules["skot"].__file__).resolve()
            if Path(request["checkout"]) not in found.parents:
                raise ImportError(f"skot is that of {found}")
        gc.collect()
        gc.freeze()
        self.emit("ready")

    def run(self, request: dict) -> None:
        """Time one call. Nothing is cleaned up before it, as in a program that calls it once."""
        call = self.calls[request["name"]]
        self.readers.pop(request["name"], None)
        try:
            with cut_after(request["limit"]):
                start = time.process_time()
                result = call()
                seconds = time.process_time() - start
        except Cut:
            self.emit("cut", seconds=time.process_time() - start)
            return
        self.readers[request["name"]] = result
        self.emit("timed", seconds=seconds)

    def read(self, request: dict) -> None:
        """Store the potentials of the last call."""
        log_u, log_v, info = self.readers[request["name"]]()
        np.savez(request["path"], log_u=log_u, log_v=log_v)
        self.emit("done", info=info)

    def forget(self, request: dict) -> None:
        """Drop everything that was prepared."""
        self.calls.clear()
        self.readers.clear()
        gc.unfreeze()
        gc.collect()
        self.emit("done")


def serve(adapter, request: dict, emit) -> None:
    """Prepare, time, and store the potentials of one call."""
    problem = PROBLEMS[request["kind"]](**request["problem"])
    run = adapter(*problem.arguments(), **request["settings"])
    emit("ready")
    held = reset_peak()
    clock, read = timed(run)
    clocks, peak = [clock], (status("VmHWM") - held) / 1e6
    emit("timed")
    for _ in range(next((k for bound, k in REPEATS if clock[0] < bound), 0)):
        read = None  # one result at a time: some of them hold a plan
        clock, read = timed(run)
        clocks.append(clock)
    log_u, log_v, info = read()
    np.savez(request["path"], log_u=log_u, log_v=log_v)
    emit("done", times=clocks, peak=peak, info=info)


def timed(run):
    """Return processor and wall seconds of a call, and the reader of its result."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return (time.process_time() - cpu, time.perf_counter() - wall), result


def reset_peak() -> float:
    """Give freed memory back, forget the peak so far, return the resident bytes (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(field: str) -> float:
    """Return a field of the memory status of this process, in bytes (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024.0 * float(line.split()[1])
    raise RuntimeError(f"No {field} on this system.")


if __name__ == "__main__":
    main(sys.argv[1])
