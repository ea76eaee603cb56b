"""Runs one function of one library in a process of its own: see bench_w2_budget.py."""

import importlib
import json
import sys
import warnings
from pathlib import Path

# What is called, by the name of the method. A trainer takes (n_features, budget in processor
# seconds, seed) and returns a curve of (steps, processor s, wall s, L2-UVP), alone or in a dict.
TRAINERS = {
    "skot": ("_w2_skot", "train_skot"),
    "W2NeuralDual": ("_w2_peers", "train_regression"),
    "ExpectileNeuralDual": ("_w2_peers", "train_expectile"),
}
# The same step, timed: takes n_features, returns {"cpu": seconds, "wall": seconds}.
STEPS = {
    "skot": ("_w2_skot", "step_seconds"),
    "W2NeuralDual": ("_w2_peers", "regression_step_seconds"),
}


def main(kind: str, method: str, arguments: str, output: str) -> None:
    """Call the function and write what it returns."""
    # Nothing but errors is shown: OTT's loop prints a progress bar for every step.
    warnings.simplefilter("ignore")
    module, name = {"train": TRAINERS, "step": STEPS}[kind][method]
    function = getattr(importlib.import_module(module), name)
    result = function(*json.loads(arguments))
    Path(output).write_text(json.dumps(result if isinstance(result, dict) else {"curve": result}))


if __name__ == "__main__":
    main(*sys.argv[1:])
