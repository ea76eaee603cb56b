"""A worker of the harness: reads requests from stdin, times one library, writes messages."""

import ctypes
import gc
import json
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
from _grid_peers import GRID_ADAPTERS
from _peers import ADAPTERS
from _problems import PROBLEMS

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
    adapter = {**ADAPTERS, **GRID_ADAPTERS}[library]
    for line in sys.stdin:
        request = json.loads(line)
        try:
            serve(adapter, request, emit)
        except Exception:
            emit("error", text=traceback.format_exc(limit=-3))
        gc.collect()


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
