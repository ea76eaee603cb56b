"""What the benchmarks share: problems, errors, workers, the store of results.

Every library runs in a worker process of its own, with one thread, on one core. The parent
stops a worker whose call has used more than its limit of processor time, and recomputes the
marginal errors of whatever the library returned in float64, by the same code for all.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results"
CHECKPOINTS = ROOT / ".benchmark_checkpoints"

CUT_SECONDS = 120.0
CUT_GRACE = 2.0
PREPARE_SECONDS = 600.0

# Rounding in a float32 stopping test moves an error by this much at most; it is the same
# allowance for every library.
TOL_SLACK = 1.02

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}

PACKAGES = {
    "skot": "skot",
    "numpy": "numpy",
    "torch": "torch",
    "scikit-learn": "scikit-learn",
    "POT": "pot",
    "OTT-JAX": "ott-jax",
    "jax": "jax",
    "mdot-tnt": "mdot-tnt",
}


class WorkerCut(Exception):
    """The call used up its limit; ``seconds`` says how long it ran."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"cut after {seconds:.1f} s")
        self.seconds = seconds


class WorkerFailed(Exception):
    """The call raised, or the worker died."""


class Worker:
    """A process which runs one library, and is started again after it was cut.

    `checkout` is the folder whose skot it imports.
    """

    def __init__(self, library: str, dtype: str, checkout: Path = ROOT) -> None:
        self.library, self.dtype, self.checkout = library, dtype, Path(checkout).resolve()
        self._process: subprocess.Popen | None = None
        self._pending = b""

    def _start(self) -> None:
        env = {**os.environ, **ONE_THREAD, "PYTHONUNBUFFERED": "1"}
        env["JAX_ENABLE_X64"] = "1" if self.dtype == "float64" else "0"
        env["PYTHONPATH"] = os.pathsep.join([str(self.checkout), env.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "_worker.py"), self.library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            bufsize=0,
        )
        self._pending = b""

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _read(self, limit: float) -> dict:
        """Read one message, or stop the worker after `limit` seconds of its processor time."""
        process = self._process
        usage = psutil.Process(process.pid)
        cpu_start, wall_start = sum(usage.cpu_times()[:2]), time.perf_counter()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if selector.select(timeout=0.2):
                    received = os.read(process.stdout.fileno(), 65536)
                    if not received:
                        self.stop()
                        raise WorkerFailed("the worker died")
                    self._pending += received
                    continue
                used = sum(usage.cpu_times()[:2]) - cpu_start
                # The wall clock only guards against a worker that sleeps.
                if used > limit or time.perf_counter() - wall_start > 4 * limit + 60:
                    self.stop()
                    raise WorkerCut(used)
        line, self._pending = self._pending.split(b"\n", 1)
        message = json.loads(line)
        if message["event"] == "error":
            raise WorkerFailed(message["text"])
        if message["event"] == "cut":
            raise WorkerCut(message["seconds"])
        return message

    def _ask(self, request: dict, limit: float) -> dict:
        """Send a request and return the answer."""
        if self._process is None:
            self._start()
        self._process.stdin.write((json.dumps(request) + "\n").encode())
        return self._read(limit)

    def prepare(self, name: str, problem, settings: dict) -> None:
        """Get ready to solve a problem: imported, warmed up, compiled."""
        request = {"problem": asdict(problem), "kind": type(problem).__name__}
        request |= {"do": "prepare", "name": name, "settings": settings}
        self._ask({**request, "checkout": str(self.checkout)}, PREPARE_SECONDS)

    def once(self, name: str, limit: float = CUT_SECONDS) -> float:
        """Return the processor seconds of one call of what was prepared under a name.

        A call in Python ends itself at the limit; a compiled one is given some grace, because
        its process has to be ended and started again.
        """
        answer = self._ask({"do": "run", "name": name, "limit": limit}, limit + CUT_GRACE)
        return answer["seconds"]

    def potentials(self, name: str) -> tuple[np.ndarray, np.ndarray, dict]:
        """Return what the last call found: the log scalings, and what the library says."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "potentials.npz")
            answer = self._ask({"do": "read", "name": name, "path": path}, PREPARE_SECONDS)
            with np.load(path) as stored:
                return stored["log_u"], stored["log_v"], answer["info"]

    def forget(self) -> None:
        """Drop everything that was prepared."""
        if self._process is not None:
            self._ask({"do": "forget"}, PREPARE_SECONDS)

    def call(self, problem, settings: dict, limit: float = CUT_SECONDS) -> dict:
        """Time one library on one problem and recompute its errors.

        Parameters
        ----------
        problem : Problem or GridProblem
            What to solve.
        settings : dict
            Passed to the adapter of the library.
        limit : float, default=CUT_SECONDS
            Processor seconds after which the call is cut.

        Returns
        -------
        dict
            ``seconds`` (processor time, best of the repeats), ``wall``, ``error`` (the larger of
            the two marginal errors, None when it is not finite), ``peak`` (memory of the first
            call over what was held before it, in MB), ``info``.

        Raises
        ------
        WorkerCut, WorkerFailed
            The call did not end, or did not end well.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "potentials.npz")
            request = {"problem": asdict(problem), "settings": settings, "path": path}
            request |= {"do": "call", "kind": type(problem).__name__}
            self._ask(request, PREPARE_SECONDS)  # "ready": imported, warmed up, compiled
            self._read(limit)  # "timed": the first call is over
            done = self._read(PREPARE_SECONDS)
            with np.load(path) as stored:
                log_u, log_v = stored["log_u"], stored["log_v"]
        error = max(problem.marginal_errors(log_u, log_v))
        best = min(done["times"])
        return {
            "seconds": best[0],
            "wall": best[1],
            "error": error if np.isfinite(error) else None,
            "peak": done["peak"],
            "info": done["info"],
        }


class Store:
    """Results in one JSON file, written whenever a cell is ready."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = Path(path)
        self.data: dict = {"runs": [], "cells": {}}
        if self.path.exists() and not fresh:
            self.data = json.loads(self.path.read_text())

    @property
    def cells(self) -> dict:
        """The measured cells by name."""
        return self.data["cells"]

    def begin(self) -> None:
        """Note the command, the machine and the versions of a run."""
        command = " ".join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])
        # Where it is stored and which core it runs on say nothing about the result; of another
        # checkout only what it holds matters.
        command = re.sub(r" --(output|core) \S+", "", command)
        command = re.sub(
            r"( --(?:baseline|against)) (\S+)", lambda m: f"{m[1]} {commit(m[2])}", command
        )
        run = {"command": command, "date": today(), "machine": machine(), "versions": versions()}
        run["commit"] = commit()
        self.data["runs"].append(run)
        self.save()

    def put(self, key: str, **values) -> None:
        """Add values to a cell and save."""
        self.cells.setdefault(key, {}).update(values)
        self.save()

    def save(self) -> None:
        """Replace the file in one step, so that a cut run leaves a whole one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.data, indent=1, sort_keys=True) + "\n")
        partial.replace(self.path)


def today() -> str:
    """Return the date, in UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")


def commit(folder: Path | str = ROOT) -> str:
    """Return the short name of the commit in a folder, with a plus where files were changed."""
    git = ["git", "-C", str(folder)]
    options = {"capture_output": True, "text": True, "check": False}
    name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], **options).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "--", "skot"], **options).stdout
    return (name or "unknown") + ("+" if changed.strip() else "")


def machine() -> str:
    """Describe the processor, the memory and the system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for name, distribution in PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def argument_parser(description: str, default_output: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=RESULTS / default_output)
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--core", type=int, default=None, help="core to run on (default: the last)")
    return parser


def pin(core: int | None) -> None:
    """Keep this process and its children on one core and one thread."""
    os.environ.update(ONE_THREAD)
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[-1] if core is None else core})


def report(text: str) -> None:
    """Show progress at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
