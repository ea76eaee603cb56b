#!/bin/sh
# torch.exp (log, sqrt, tanh, erf, ...) of 8192 numbers starts a team of OpenMP threads on an x86 CPU,
# although torch shares element-wise work among threads from 32768 numbers on only
# (at::internal::GRAIN_SIZE), and add, exp2 and sigmoid of the same tensor stay on the calling thread.
#
# These functions are handed to MKL's vector library, which has a threshold of its own, between 2048
# and 4096 numbers. Cutting a tensor into tiles below torch's grain size does not keep them serial.
#
# Why a user meets it: code that works on small tensors, in several processes or beside busy ones, gets
# threads that spin while they wait for each other: an exponential of 10 microseconds then takes
# milliseconds. torch.exp2, or numpy.exp on the same memory, does not.
#
# Needs Linux on x86-64 with two cores, and the network to install the packages.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
cat > "$folder/threads.py" <<'PYTHON'
import os
import sys

import torch

SIZE = 8192


def threads_started(operation):
    """Threads that one operation on SIZE numbers starts in a fresh process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        values = torch.full((SIZE,), 0.5, dtype=torch.float64)
        before = len(os.listdir("/proc/self/task"))
        operation(values)
        os.write(write, bytes([before, len(os.listdir("/proc/self/task"))]))
        os._exit(0)
    os.waitpid(child, 0)
    before, after = os.read(read, 2)
    return after - before


torch.set_num_threads(2)
print("torch", torch.__version__, "MKL", torch.backends.mkl.is_available())
names = ("add", "exp2", "sigmoid", "exp", "log", "tanh")
found = {}
for name in names:
    operation = (lambda v: v + 1.0) if name == "add" else getattr(torch, name)
    found[name] = threads_started(operation)
    print(f"{name:8} of {SIZE} float64: {found[name]} threads started")
serial = all(found[name] == 0 for name in ("add", "exp2", "sigmoid"))
shared = all(found[name] == 1 for name in ("exp", "log", "tanh"))
sys.exit(0 if serial and shared else 1)
PYTHON
"$folder/venv/bin/python" "$folder/threads.py"
