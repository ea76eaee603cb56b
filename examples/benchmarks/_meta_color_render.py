"""The section of bench_meta_color.py on the page of benchmarks."""

import numpy as np
from _tables import number, table

KINDS = {
    "seen": "Pairs that were not trained on, of photographs that were",
    "held out": "Pairs of photographs that were not trained on",
}
#: Names of the zeros, by the closed form that they are.
ZEROS = {"identity": "0 at the identity", "centred": "0 at equal means"}
STEPS = (0, 1000, 2000)
METHODS = {
    "meta": "`MetaW2GN`, fine-tuned",
    "scratch, identity": "W2GN from scratch, coordinates of the data",
    "scratch, gaussian": "W2GN from scratch, coordinates of the Gaussian map",
}


def meta_color_section(cells: dict) -> str:
    """Return the tables of bench_meta_color.py: values and seconds against steps."""
    training = cells.get("training")
    text = introduction(training, cells)
    for kind, title in KINDS.items():
        pairs = [cell for cell in cells.values() if cell["kind"] == kind]
        if pairs:
            text += f"\n### {title}\n\n{len(pairs)} pairs.\n\n" + values_table(pairs)
    return text


def introduction(training: dict | None, cells: dict) -> str:
    """Say what was measured."""
    pairs = [cell for cell in cells.values() if cell["kind"] in KINDS]
    n_failed = sum(curve["unconverged"] for cell in pairs for curve in cell["curves"].values())
    trained = ""
    if training is not None:
        trained = (
            f"`MetaW2GN` was trained for {training['n_iter']} steps, in "
            f"{training['seconds'] / 60:.1f} processor minutes, on {training['n_pairs']} pairs of "
            f"{training['n_photographs']} photographs and on pairs of rectangles cut out of the "
            "same. "
        )
    return f"""## Predicted colour transfer

Kodak photographs as clouds of colours in [0, 1]. {trained}Every method is given 10000 pixels of
each photograph, and judged by the dual value on 10000 others, the conjugates solved for in
float64 ({n_failed} of all rows were not found to a tolerance of 1e-6). All train the same ICNNs of
two layers of 32 on batches of 256, so steps compare.

Values are normalised pair by pair: 1 is the best value of any method for the pair. 0 is that of
the identity, f = |x|^2 / 2 in the colours as they are, from which W2GN starts as published; in the
columns *{ZEROS["centred"]}* it is that of a mere shift, from which
`W2GNTransport(preconditioning="identity")` starts. Means over the pairs, the worst pair in
brackets; seconds are processor seconds of one core.

"""


def values_table(pairs: list[dict]) -> str:
    """Return the normalised values and the seconds at every number of steps."""
    rows = [
        ["Gaussian map, closed form", "0", *(values(pairs, zero, gaussian) for zero in ZEROS), ""]
    ]
    for method, name in METHODS.items():
        for steps in STEPS:
            found = [point(cell, method, steps) for cell in pairs]
            if None in found:
                continue
            seconds = np.mean([second for second, _ in found])
            row = [
                values(pairs, zero, lambda cell, m=method, s=steps: point(cell, m, s)[1])
                for zero in ZEROS
            ]
            rows.append([name, f"{steps}", *row, number(seconds)])
    return table(["", "steps", *ZEROS.values(), "seconds"], rows)


def gaussian(cell: dict) -> float:
    """Dual loss of the Gaussian map."""
    return cell["closed_forms"]["gaussian"]


def point(cell: dict, method: str, steps: int) -> tuple[float, float] | None:
    """Return seconds and dual loss of a method after so many steps, None if not measured."""
    curve = cell["curves"][method]
    if steps not in curve["steps"]:
        return None
    k = curve["steps"].index(steps)
    return curve["seconds"][k], curve["values"][k]


def values(pairs: list[dict], zero: str, loss_of) -> str:
    """Return mean and smallest normalised value."""
    normalised = [normalise(cell, zero, loss_of(cell)) for cell in pairs]
    return f"{np.mean(normalised):.3f} ({min(normalised):.3f})"


def normalise(cell: dict, zero: str, loss: float) -> float:
    """Put a dual loss between that of a start and the best one of the pair."""
    start = cell["closed_forms"][zero]
    best = min(value for curve in cell["curves"].values() for value in curve["values"])
    return (start - loss) / (start - best)
