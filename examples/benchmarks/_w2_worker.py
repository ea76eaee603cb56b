"""Trains with one library in a process of its own: see bench_w2_budget.py."""

import importlib
import json
import sys
import warnings
from pathlib import Path

# What is called, by the name of the method. A trainer takes (n_features, budget in processor
# seconds, seed) and returns a dict with the curve of (steps, processor s, wall s, L2-UVP).
TRAINERS = {
    "skot": ("_w2_skot", "train_skot"),
    "W2NeuralDual": ("_w2_peers", "train_regression"),
    "ExpectileNeuralDual": ("_w2_peers", "train_expectile"),
}


def main(method: str, arguments: str, output: str) -> None:
    """Train and write the curve."""
    # Nothing but errors is shown: OTT's loop prints a progress bar for every step.
    warnings.simplefilter("ignore")
    module, name = TRAINERS[method]
    train = getattr(importlib.import_module(module), name)
    Path(output).write_text(json.dumps(train(*json.loads(arguments))))


if __name__ == "__main__":
    main(*sys.argv[1:])
