"""The sections of bench_w2_budget.py and bench_w2.py on the page of benchmarks."""

import numpy as np
from _tables import number, table

NAMES = {
    "W2NeuralDual": "OTT-JAX `W2NeuralDual`",
    "ExpectileNeuralDual": "OTT-JAX `ExpectileNeuralDual`",
    "skot": "skot",
}
# L2-UVP of the forward map with the full protocol, up to 250000 steps of 1024 samples.
PUBLISHED = {
    "Amos (2023)": {2: 0.03, 4: 0.22, 16: 0.77, 64: 2.08},
    "ENOT (reported)": {2: 0.02, 4: 0.03, 16: 0.24, 64: 0.56},
}
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)


def w2_budget_section(cells: dict) -> str:
    """Return the tables of bench_w2_budget.py: final errors and curves."""
    kinds: dict[str, list[dict]] = {"linear": [], "train": []}
    for cell in cells.values():
        kinds[cell["kind"]].append(cell)
    text = introduction(kinds["train"]) + final_table(kinds["linear"], kinds["train"])
    if kinds["train"]:
        text += "\n### On the way\n\nL2-UVP after a share of the budget.\n\n"
        text += curve_table(kinds["train"])
    return text


def w2_budget_summary(cells: dict) -> str | None:
    """Return the summary of the final errors: skot beside the better of the peers."""
    best: dict[int, dict[str, float]] = {}
    for cell in cells.values():
        if cell["kind"] == "train":
            side = "skot" if cell["method"] == "skot" else "peer"
            errors, error = best.setdefault(cell["n_features"], {}), cell["curve"][-1][3]
            errors[side] = min(error, errors.get(side, np.inf))
    both = {d: errors for d, errors in sorted(best.items()) if len(errors) == 2}
    if not both:
        return None
    budget = max(cell["budget"] for cell in cells.values() if cell["kind"] == "train")
    gains = [errors["peer"] / errors["skot"] for errors in both.values()]
    dimensions = ", ".join(map(str, both))
    spread = f"{min(gains):.1f} to {max(gains):.1f}"
    return f"""Learned maps on the Wasserstein-2 benchmark in {dimensions} dimensions: after
{budget:g} processor seconds each the mean squared error is **{spread} times smaller** than
that of the better neural dual of OTT-JAX."""


def introduction(trained: list[dict]) -> str:
    """Return what the tables mean."""
    budgets = sorted({(cell["budget"], cell["threads"]) for cell in trained})
    budget = " and ".join(
        f"{b:g} processor seconds on {t} thread{'s' if t > 1 else ''}" for b, t in budgets
    )
    return f"""## Wasserstein-2 maps with a budget

L2-UVP of the forward map in per cent (smaller is better) on the Mix3toMix10 pairs of Korotin et
al. (2021), on 16384 fresh source samples. Every method trains for {budget or "the same time"},
compilation included, on fresh batches of 1024; drawing them and judging the map are not counted.
The peers are tuned: `W2NeuralDual` with a multilayer potential, an amortizer fitted by
regression and L-BFGS with a line search of five steps (with OTT's own thirty a step takes more
than ten times longer at D = 2), `ExpectileNeuralDual` with its authors' settings for this
benchmark; all with a cosine schedule that ends with the budget. skot's settings were chosen on
runs of 40 seconds on the same pairs, the peers' on as short ones; where `W2NeuralDual` diverged, a
smaller learning rate was not tried, and `preconditioning="gaussian"` is part of what skot does.
skot's runs, of 240 processor seconds each, used its code before the last speed-up of its solver.
Published values are those of the full protocol, up to 250000 steps.

"""


def final_table(linear: list[dict], trained: list[dict]) -> str:
    """Return the error at the end of the budget, beside the linear map and published values."""
    baseline = {cell["n_features"]: cell["l2_uvp"] for cell in linear}
    methods = [name for name in NAMES if any(cell["method"] == name for cell in trained)]
    rows = []
    for d in sorted(baseline):
        row = [f"{d}", number(baseline[d])]
        for name in methods:
            found = [
                cell["curve"][-1][3]
                for cell in trained
                if cell["method"] == name and cell["n_features"] == d
            ]
            row.append(outcome(float(np.mean(found))) if found else "not run")
        rows.append([*row, *(f"{values[d]:g}" for values in PUBLISHED.values())])
    return table(["D", "linear map", *(NAMES[name] for name in methods), *PUBLISHED], rows)


def outcome(error: float) -> str:
    """Return the error, or that there is no map to speak of: a constant has 100 %."""
    return number(error) if error < 1000 else "diverged"


def curve_table(trained: list[dict]) -> str:
    """Return the last error found within each share of the budget, and the number of steps."""
    rows = []
    for cell in sorted(trained, key=lambda cell: (cell["n_features"], cell["method"])):
        curve = cell["curve"]
        row = [f"{cell['n_features']}", NAMES[cell["method"]]]
        for share in SHARES[:-1]:
            known = [point[3] for point in curve if point[1] <= share * cell["budget"]]
            row.append(outcome(known[-1]) if known else "")
        rows.append([*row, outcome(curve[-1][3]), f"{curve[-1][0]}"])
    return table(["D", "", *(f"{share:g}" for share in SHARES), "steps"], rows)


LENGTH_TEXT = """## Wasserstein-2 maps at full length

L2-UVP of skot's forward map in per cent on the same pairs, after so many steps of 1024 fresh
samples; the learning rate decays over the length that was planned. The published protocol has
250000 steps: a run that stops before its planned length was cut off, and is not comparable with
the published values {published}.

"""


def w2_section(cells: dict) -> str:
    """Return the curves of bench_w2.py: error and processor time against steps."""
    published = "; ".join(
        f"{name} {', '.join(f'{value:g} (D = {d})' for d, value in values.items())}"
        for name, values in PUBLISHED.items()
    )
    rows = []
    for cell in sorted(cells.values(), key=lambda cell: (cell["n_features"], cell["steps"])):
        last = cell["curve"][-1]
        for share in (1 / 8, 1 / 2, 1):
            steps, cpu, error = next(p for p in cell["curve"] if p[0] >= share * last[0])
            rows.append(
                [
                    f"{cell['n_features']}",
                    f"{cell['steps']}",
                    f"{steps}",
                    number(cpu),
                    number(error),
                    cell["device"],
                ]
            )
    header = ["D", "planned steps", "steps", "processor s", "L2-UVP %", "device"]
    return LENGTH_TEXT.format(published=published) + table(header, rows)
