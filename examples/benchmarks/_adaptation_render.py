"""The tables of bench_adaptation.py."""

from collections import defaultdict

import numpy as np
from _tables import table

NAMES = {
    "recipe": "`DomainAdaptation(classifier)`",
    "debiased": "`SinkhornTransport()`",
    "plain": "`SinkhornTransport(residual=0)`, the default of 0.1",
}
#: A loss of more points than this counts.
_LOSS = 0.02


def gains(cells: dict, rows: str, method: str, *, auto: bool) -> dict[tuple, list[float]]:
    """Return accuracy minus that without adaptation of every draw, by (pair, classifier)."""
    found = defaultdict(list)
    for cell in cells.values():
        if cell["rows"] == rows:
            of_method, none = cell["results"][method], cell["results"]["none"]
            is_kept = auto and not of_method["helps"]
            gain = 0.0 if is_kept else of_method["accuracy"] - none
            found[cell["pair"], cell["classifier"]].append(gain)
    return found


def lines(cells: dict, rows: str) -> list[list[str]]:
    """Return the rows of the table of one preparation."""
    found = []
    for method, name in NAMES.items():
        for auto in (False, True):
            by_cell = gains(cells, rows, method, auto=auto)
            means = np.array([np.mean(values) for values in by_cell.values()])
            worst = np.array([min(values) for values in by_cell.values()])
            by_classifier = defaultdict(list)
            for (_, classifier), values in by_cell.items():
                by_classifier[classifier] += values
            found.append(
                [
                    name + (', `fallback="auto"`' if auto else ""),
                    points(means.mean()),
                    *(points(np.mean(values)) for values in by_classifier.values()),
                    points(means.min()),
                    f"{int((means < -_LOSS).sum())} of {len(means)}",
                    points(worst.min()),
                    f"{int((worst < -_LOSS).sum())} of {len(worst)}",
                ]
            )
    return found


def warned(cells: dict, rows: str, method: str) -> tuple[int, int, int, int]:
    """Return draws, those with a warning, those of them that lost, and those that gained."""
    n_draws = n_warned = n_lost = n_gained = 0
    for cell in cells.values():
        if cell["rows"] != rows:
            continue
        of_method = cell["results"][method]
        gain = of_method["accuracy"] - cell["results"]["none"]
        n_draws += 1
        n_warned += of_method["doubtful"]
        n_lost += of_method["doubtful"] and gain < 0
        n_gained += of_method["doubtful"] and gain > _LOSS
    return n_draws, n_warned, n_lost, n_gained


def points(value: float) -> str:
    """Return a share in signed points."""
    return f"{100 * value:+.1f}"


def per_cell(cells: dict, rows: str) -> list[list[str]]:
    """Return the accuracies by pair and classifier: without adaptation, and what is gained."""
    none = defaultdict(list)
    for cell in cells.values():
        if cell["rows"] == rows:
            none[cell["pair"], cell["classifier"]].append(cell["results"]["none"])
    gained = {
        (method, auto): gains(cells, rows, method, auto=auto)
        for method in ("recipe", "plain")
        for auto in (False, True)
    }
    columns = [("recipe", False), ("recipe", True), ("plain", False)]
    return [
        [
            f"{key[0]}, {key[1]}",
            f"{100 * np.mean(values):.1f}",
            *(points(np.mean(gained[column][key])) for column in columns),
        ]
        for key, values in none.items()
    ]


def adaptation_summary(cells: dict) -> str | None:
    """Return the headline of the README."""
    by_cell = gains(cells, "z", "recipe", auto=False)
    if not by_cell:
        return None
    means = np.array([np.mean(values) for values in by_cell.values()])
    losing = int((means < -_LOSS).sum())
    return f"""Domain adaptation between 14 pairs of image collections with three classifiers:
**{points(means.mean())} points** of accuracy over the same classifier on the same features
({points(means.min())} to {points(means.max())}; {losing} of {len(means)} lose more than 2)."""


def adaptation_section(cells: dict) -> str:
    """Return the section of the page."""
    classifiers = list(dict.fromkeys(cell["classifier"] for cell in cells.values()))
    n_draws = len({cell["seed"] for cell in cells.values()})
    header = [
        "transport", "mean", *classifiers,
        "worst cell", "cells that lose > 2", "worst draw", "cells with a draw that loses > 2",
    ]  # fmt: skip
    prepared = {
        "z": "Office rows divided by their sum, features standardised within each domain; pixels",
        "l2": "All rows divided by their length",
    }
    text = f"""## Does adapting help?

Points of accuracy on the target that adapting gains over the same classifier without it, on the
same rows: the 12 pairs of Office-Caltech10 (SURF features) and MNIST to USPS and back, 325 rows of
each domain, {n_draws} draws. A cell is a pair and a classifier. The transport of the first lines,
and the ratios by which `fallback="auto"` decides, were chosen on other draws.
"""
    for rows, title in prepared.items():
        if any(cell["rows"] == rows for cell in cells.values()):
            text += f"\n{title}:\n\n" + table(header, lines(cells, rows))
            text += "\nThe warning that adapting is doubtful: "
            said = []
            for method, name in NAMES.items():
                n, n_warned, n_lost, n_gained = warned(cells, rows, method)
                said.append(
                    f"{name} in {n_warned} of {n} draws, of which {n_lost} lost and {n_gained} "
                    "gained more than 2 points"
                )
            text += "; ".join(said) + ".\n"
    header = ["cell", "without", "recipe", 'recipe, `"auto"`', "default of 0.1"]
    text += "\nAccuracy without adaptation in percent, and the gains, by cell, with features "
    text += "standardised:\n\n"
    return text + table(header, per_cell(cells, "z"))
