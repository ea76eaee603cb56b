"""Numbers and the table of bench_estimators.py."""

from _tables import number, table


def ratio(cell: dict) -> float:
    """Return the time of the other build over that of this one."""
    return cell["baseline"]["seconds"] / cell["skot"]["seconds"]


def line(cell: dict) -> str:
    """Return the row of an estimator for the terminal."""
    ours, before = (1e3 * cell[build]["seconds"] for build in ("skot", "baseline"))
    return f"{cell['name']:26} {ours:8.2f} ms  baseline {before:8.2f} ms  ratio {ratio(cell):.3f}"


def estimators_section(cells: dict) -> str:
    """Return the section of the page."""
    rows = [
        [
            f"`{cell['name']}`",
            *(number(1e3 * cell[build]["seconds"]) for build in ("skot", "baseline")),
            f"{ratio(cell):.2f}",
        ]
        for cell in cells.values()
    ]
    header = ["estimator", "fit", "fit before", "before / now"]
    return """## Short fits, beside an earlier version

Each estimator with its defaults but a few iterations, 512 points a side in the plane, by turns with
an earlier version: medians, milliseconds of processor time. What a change of structure may not
slow down.

""" + table(header, rows)
