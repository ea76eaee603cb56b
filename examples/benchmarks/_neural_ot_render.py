"""The sections of bench_neural_ot.py on the page of benchmarks."""

import json

import numpy as np
from _harness import RESULTS
from _tables import number, table

#: What the criteria ask for: slope and cost within 5 %, or 0.02, the variance within 10 %.
_SLOPE, _VARIANCE, _COST, _LEAST = 0.05, 0.1, 0.05, 0.02


def neural_ot_section(cells: dict) -> str:
    """Return the tables of bench_neural_ot.py."""
    parts: dict[str, list[dict]] = {}
    for cell in cells.values():
        parts.setdefault(cell["kind"], []).append(cell)
    text = "## Neural optimal transport, strong and weak\n"
    for name, part in PARTS.items():
        if name in parts:
            text += "\n" + part(parts[name])
    return text


def strong_part(cells: list[dict]) -> str:
    """Return the table of Gaussian pairs."""
    rows = [
        [
            f"{cell['n_features']}",
            cell["preconditioning"],
            f"{cell['l2_uvp']:.2g}",
            f"{cell['linear']:.2g}",
            f"{cell['seconds']:.0f}",
        ]
        for cell in sorted(cells, key=lambda c: (c["n_features"], c["preconditioning"]))
    ]
    header = ["D", "coordinates", "L2-UVP, %", "GaussianTransport, %", "seconds"]
    return """### Strong quadratic cost between Gaussians

L2-UVP against the map in closed form, from 20000 rows a side: `NeuralOT(max_iter=500)`, otherwise
with its defaults.

""" + table(header, rows)


def is_met(cell: dict, expected: str = "expected") -> bool:
    """Whether slope, variance and cost are as near to the closed form as they should be."""
    slope, variance, cost = cell[expected]
    met = abs(cell["slope"] - slope) <= _SLOPE * slope
    met &= abs(cell["cost"] - cost) <= max(_COST * abs(cost), _LEAST)
    if cell["gamma"] == 1.0:  # plans are determined only in their means
        return met
    return met and abs(cell["variance"] - variance) <= max(_VARIANCE * variance, _LEAST)


def weak_part(cells: list[dict]) -> str:
    """Return the table of the closed form of the weak quadratic cost."""
    groups: dict[tuple, list[dict]] = {}
    for cell in cells:
        groups.setdefault((cell["gamma"], cell["n_features"]), []).append(cell)
    rows = []
    for (gamma, d), found in sorted(groups.items()):
        expected = found[0]["expected"]
        row = [f"{gamma:g}", f"{d}"]
        for name, value in zip(("slope", "variance", "cost"), expected, strict=True):
            numbers = [cell[name] for cell in found]
            row.append(f"{value:.3f}")
            row.append(f"{min(numbers):.3f} to {max(numbers):.3f}")
        for name in ("expected", "expected_of_samples"):
            row.append(f"{sum(is_met(cell, name) for cell in found)} of {len(found)}")
        rows.append([*row, f"{np.mean([cell['seconds'] for cell in found]):.0f}"])
    header = ["gamma", "D", "slope", "learned", "variance", "learned", "cost", "learned"]
    header += ["met", "of the samples"]
    return """### Weak quadratic cost between Gaussians

N(0, I) to N(0, 4 I), per coordinate: slope of the conditional mean, conditional variance and
cost, each beside the range over the seeds. *Met*: slope and cost within 5 % (or 0.02), variance
within 10 % (or 0.02; at gamma = 1 the plan is not unique, and the variance is not asked for). *Of
the samples*: the same beside the closed form for the standard deviations of the 20000 training rows
a side, which differ from 1 and 2 by up to 1.5 %.
Networks of two hidden layers of 64, 2000 iterations with `n_map_steps=4`.

""" + table([*header, "seconds"], rows)


def discrete_part(cells: list[dict]) -> str:
    """Return the table beside the discrete solutions."""
    rows = [
        [
            cell["cost_kind"],
            cell["problem"].replace("_", " "),
            f"{cell['gamma']:g}",
            f"{cell['seed']}",
            f"{cell['reference']:.4f}",
            f"{cell['cost']:.4f}",
            f"{100 * (cell['cost'] / cell['reference'] - 1):+.1f}",
            f"{100 * cell['mean_error']:.1f}",
            f"{cell['correlation']:.3f}",
            f"{cell['reference_variance']:.3f}",
            f"{cell['variance']:.3f}",
            f"{cell['seconds']:.0f}",
        ]
        for cell in cells
    ]
    header = ["cost", "target", "gamma", "seed", "discrete", "learned", "%", "means, %"]
    header += ["correlation", "spread, discrete", "learned", "seconds"]
    return """### Beside discrete weak transport

500 points a side, centred, targets of unit mean variance. The discrete problem on the same points
is solved to a relative gap of 1e-3 (for the quadratic cost it is the problem of POT's
`weak_optimal_transport`, whose value is twice ours). *Means*: mean squared distance of the
conditional means to the discrete ones, in per cent of that of the points to them. *Spread*: mean
conditional variance. Networks of three hidden layers of 64, a learning rate of 2e-3, 700 iterations
for the kernel costs and 1500 for the quadratic one.

""" + table(header, rows)


def w2_part(cells: list[dict]) -> str:
    """Return the table of the Wasserstein-2 benchmark, with what others reach in the same time."""
    others = w2_budget_errors()
    rows = [
        [
            f"{cell['n_features']}",
            f"{cell['l2_uvp']:.3g}",
            f"{cell['seconds']:.0f}",
            *(others.get((m, cell["n_features"]), "") for m in W2_METHODS),
        ]
        for cell in sorted(cells, key=lambda c: c["n_features"])
    ]
    header = ["D", "NeuralOT", "seconds", *W2_METHODS.values()]
    return """### The maximin objective on the Wasserstein-2 benchmark

L2-UVP in per cent after about 240 processor seconds on one thread, one seed, fresh rows; the
others as in the section on a fixed budget, from runs of their own.

""" + table(header, rows)


W2_METHODS = {
    "skot": "W2GNTransport",
    "W2NeuralDual": "OTT-JAX W2NeuralDual",
    "ExpectileNeuralDual": "OTT-JAX ExpectileNeuralDual",
}


def w2_budget_errors() -> dict[tuple, str]:
    """Return the errors at the end of the runs of bench_w2_budget.py, where they are stored."""
    path = RESULTS / "w2_budget.json"
    if not path.exists():
        return {}
    errors = {}
    for cell in json.loads(path.read_text())["cells"].values():
        if not cell.get("curve"):
            continue
        error = cell["curve"][-1][-1]
        diverged = error is None or not error < 1e3
        errors[cell["method"], cell["n_features"]] = "diverged" if diverged else number(error)
    return errors


def speed_part(cells: list[dict]) -> str:
    """Return the table of the time of an iteration."""
    rows = [
        [
            f"{cell['gamma']:g}",
            f"{cell['n_features']}",
            f"{1e3 * cell['plain']:.0f}",
            f"{1e3 * cell['skot']:.0f}",
            f"{cell['plain'] / cell['skot']:.2f}",
            f"{1e3 * cell['augmented']:.0f}",
            f"{cell['plain'] / cell['augmented']:.2f}",
        ]
        for cell in sorted(cells, key=lambda c: (c["gamma"], c["n_features"]))
    ]
    header = ["gamma", "D", "plain, ms", "published, ms", "speed", "augmented, ms", "speed"]
    return """### Time of an iteration

Ten steps of the map and one of the potential, batches of 256 rows, three hidden layers of 128,
four draws of noise a row where gamma > 0: `fit` with all it does, beside the same loop written
plainly in torch, by turns. *Published*: `EnergyAugmentation(weight=0)`; *augmented*: the default.
*Speed*: iterations per second over those of the plain loop.

""" + table(header, rows)


def crops_section(cells: dict) -> str:
    """Return the table of bench_crops.py."""
    rows = [
        [
            cell["device"],
            f"{cell['n_iter']}",
            f"{cell['batch_size']}",
            f"{cell['n_parameters']}",
            f"{cell['seconds'] / cell['n_iter']:.2f}",
            f"{cell['peak']:.0f}",
            f"{cell['divergence_before']:.1f}",
            f"{cell['divergence']:.1f}",
            f"{cell['divergence_floor']:.1f}",
        ]
        for cell in cells.values()
    ]
    header = ["device", "iterations", "batch", "weights", "seconds an iteration", "memory, MB"]
    return """## Colour images of 64 x 64

Random crops of one half of the Kodak photographs to crops of the other in sepia: `UNet` and
`ResNetPotential` with three resolutions of 16, 32 and 64 channels, four steps of the map an
iteration. A run to see that it trains and what it takes, far from the end of training. *Memory*:
peak resident set during the fit over what the process held before. *Divergence*: Sinkhorn
divergence of 500 unseen crops to as many of the target, before and after; the floor is that of 500
other crops of the target.

""" + table([*header, "divergence before", "after", "floor"], rows)


PARTS = {
    "strong": strong_part,
    "weak": weak_part,
    "discrete": discrete_part,
    "w2": w2_part,
    "speed": speed_part,
}
