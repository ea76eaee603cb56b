#!/bin/sh
# geomloss 0.3.1: SamplesLoss("hausdorff") raises KeyError: None for point clouds, with p=1 and p=2.
#
# The loss is one of the five that the docstring of SamplesLoss lists, beside "sinkhorn", "energy",
# "gaussian" and "laplacian", which all give a number for the same clouds.
#
# Why a user meets it: tables of losses name it, and the message says neither what is missing nor that
# the loss is not there.
#
# Needs the network to install the packages.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "geomloss==0.3.1" "torch==2.13.0" "numpy==2.4.6"
cat > "$folder/losses.py" <<'PYTHON'
import sys

import geomloss
import torch

generator = torch.Generator().manual_seed(0)
x, y = torch.randn(10, 2, generator=generator), torch.randn(8, 2, generator=generator)
print("geomloss", geomloss.__version__)
raised = []
for loss in ("sinkhorn", "energy", "gaussian", "laplacian", "hausdorff"):
    for p in (1, 2):
        try:
            outcome = f"{float(geomloss.SamplesLoss(loss, p=p, blur=0.5)(x, y)):.4f}"
        except KeyError as error:
            outcome = f"KeyError: {error}"
            raised.append((loss, p))
        print(f"{loss:10} p={p}  {outcome}")
sys.exit(0 if raised == [("hausdorff", 1), ("hausdorff", 2)] else 1)
PYTHON
"$folder/venv/bin/python" "$folder/losses.py"
