#!/bin/sh
# skops 0.16.0 cannot dump a torch tensor (2.13.0): skops.io.dumps(torch.zeros(3)) raises "RuntimeError:
# Cannot directly construct TensorBase; subclass it and then construct that".
#
# skops finds out what an object is by making an empty one of its class with __new__, which tensors
# refuse, instead of saying that it does not know the type. It is the same for whatever holds a tensor
# somewhere inside: a module, a fitted estimator with a network. The message names neither the object
# nor the attribute that holds it.
#
# Why a user meets it: skops is what scikit-learn's documentation recommends for models that are loaded
# from strangers. What an estimator keeps as NumPy arrays in its __getstate__ can be dumped.
#
# Needs the network to install the packages.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "skops==0.16.0" "scikit-learn==1.9.1" "torch==2.13.0" "numpy==2.4.6"
cat > "$folder/dump.py" <<'PYTHON'
import sys

import numpy as np
import skops
import skops.io
import torch

print("skops", skops.__version__, "torch", torch.__version__)
outcomes = {}
for name, value in (
    ("array", np.zeros(3)),
    ("tensor", torch.zeros(3)),
    ("dict with a tensor", {"weights": torch.zeros(3)}),
    ("module", torch.nn.Linear(2, 2)),
):
    try:
        outcomes[name] = f"{len(skops.io.dumps(value))} bytes"
    except RuntimeError as error:
        outcomes[name] = str(error)
    print(f"{name:20} {outcomes[name]}")
refused = [name for name, outcome in outcomes.items() if "construct TensorBase" in outcome]
sys.exit(0 if refused == ["tensor", "dict with a tensor", "module"] else 1)
PYTHON
"$folder/venv/bin/python" "$folder/dump.py"
