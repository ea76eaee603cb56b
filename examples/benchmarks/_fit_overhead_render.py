"""Numbers and the table of bench_fit_overhead.py."""

from _tables import number, table


def overhead(cell: dict, build: str) -> float | None:
    """Return what fit takes beyond the solver."""
    return cell.get(build, {}).get("overhead")


def ratio(cell: dict) -> float | None:
    """Return the overhead of the other build over that of this one."""
    ours, before = (overhead(cell, build) for build in ("skot", "baseline"))
    return None if ours is None or before is None else before / ours


def line(cell: dict) -> str:
    """Return the row of a size for the terminal."""
    text = f"n={cell['n']:4d}"
    for build in ("skot", "baseline"):
        found = cell.get(build, {})
        if "overhead" in found:
            values = (f"{what} {1e3 * found[what]:.2f} ms" for what in ("fit", "solve", "overhead"))
            text += f"  {build}: " + ", ".join(values)
        elif found:
            text += f"  {build}: {found['reason']}"
    return text + ("" if ratio(cell) is None else f"  ratio {ratio(cell):.2f}")


def fit_overhead_section(cells: dict) -> str:
    """Return the section of the page."""
    order = sorted(cells.values(), key=lambda cell: cell["n"])
    rows = []
    for cell in order:
        row = [f"{cell['n']}"]
        for value in (
            cell["skot"].get("fit"),
            cell["skot"].get("solve"),
            overhead(cell, "skot"),
            overhead(cell, "baseline"),
        ):
            row.append("" if value is None else number(1e3 * value))
        rows.append([*row, "" if ratio(cell) is None else f"{ratio(cell):.2g}"])
    header = ["n", "fit", "its solver", "overhead", "overhead before", "before / now"]
    return """## What an estimator adds to its solver

`SinkhornTransport().fit(X, Y)` with its defaults for two Gaussian clouds of n points in the plane,
and `sinkhorn` alone on the estimator's own tensors, with its epsilon, tolerance and precision; by
turns, also with an earlier version where one was measured. Medians (of the differences of the
rounds, for the overhead); milliseconds.

""" + table(header, rows)
