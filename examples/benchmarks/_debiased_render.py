"""The tables of bench_debiased.py."""

from collections import defaultdict

import numpy as np
from _tables import number, table


def ratios(cells: dict, method: str, rows: str) -> dict[tuple, float]:
    """Return the error of a map over that of the plain one, by (kind, d, n, epsilon).

    Errors are averaged over the draws of a cell first.
    """
    errors = defaultdict(list)
    for cell in cells.values():
        for epsilon, found in cell["errors"].items():
            key = (cell["kind"], cell["d"], cell["n"], float(epsilon))
            errors[key].append((found[method][rows], found["plain"][rows]))
    return {key: np.divide(*np.mean(pairs, axis=0)) for key, pairs in errors.items()}


def agreement(cells: dict) -> list[float]:
    """Return the error on training rows over that on new ones, of every map with "auto"."""
    errors = defaultdict(list)
    for cell in cells.values():
        for epsilon, found in cell["errors"].items():
            key = (cell["kind"], cell["d"], cell["n"], float(epsilon))
            errors[key].append((found["auto"]["training"], found["auto"]["new"]))
    return [float(np.divide(*np.mean(pairs, axis=0))) for pairs in errors.values()]


def spread(values: list[float]) -> str:
    """Return the geometric mean with the least and the largest."""
    mean = np.exp(np.mean(np.log(values)))
    return f"{number(mean)} ({number(min(values))} to {number(max(values))})"


def lines(cells: dict) -> list[list[str]]:
    """Return the rows of the table."""
    found = {
        (method, rows): ratios(cells, method, rows)
        for method in ("auto", "full", "half")
        for rows in ("new", "training")
    }
    epsilons = sorted({key[-1] for key in found["auto", "new"]})
    order = [("auto", "new"), ("auto", "training"), ("full", "new"), ("half", "new")]
    return [
        [f"{epsilon:g}"]
        + [
            spread([v for key, v in found[column].items() if key[-1] == epsilon])
            for column in order
        ]
        for epsilon in epsilons
    ]


def debiased_section(cells: dict) -> str:
    """Return the section of the page."""
    header = [
        "epsilon",
        '`residual="auto"`, new rows',
        "the same, training rows",
        "`residual=1`",
        "`residual=0.5`",
    ]
    shares = agreement(cells)
    draws = len({cell["seed"] for cell in cells.values()})
    problems = len({(cell["kind"], cell["d"], cell["n"]) for cell in cells.values()})
    return f"""## The debiased entropic map

Mean squared error of `SinkhornTransport` over that with `residual=0`, the plain entropic map, at
the same epsilon: geometric mean over {problems} problems (least to largest), errors averaged over
{draws} draws each. Linear maps and maps of the kind of the Wasserstein-2 benchmark in 2, 10, 64
and 256 dimensions, 200, 500 and 2000 rows a side, 1000 new rows. Draws of other seeds chose the
rule for `"auto"`. Errors on training rows are {min(shares):.2f} to {max(shares):.2f} times those on
new rows.

""" + table(header, lines(cells))
