"""Numbers and the table of bench_fit_overhead.py."""

from _tables import number, table


def seconds(cell: dict, build: str, what: str) -> float | None:
    """Return the time of ``"fit"`` or of ``"solve"``."""
    return cell.get(f"{build} {what}", {}).get("seconds")


def overhead(cell: dict, build: str) -> float | None:
    """Return what fit takes beyond the solver."""
    fit, solve = (seconds(cell, build, what) for what in ("fit", "solve"))
    return None if fit is None or solve is None else fit - solve


def ratio(cell: dict) -> float | None:
    """Return the overhead of the other build over that of this one."""
    ours, before = (overhead(cell, build) for build in ("skot", "baseline"))
    return None if ours is None or before is None else before / ours


def line(cell: dict) -> str:
    """Return the row of a size for the terminal."""
    text = f"n={cell['n']:4d}"
    for build in ("skot", "baseline"):
        above = overhead(cell, build)
        if above is not None:
            fit, solve = (seconds(cell, build, what) for what in ("fit", "solve"))
            text += f"  {build}: fit {1e3 * fit:.2f} ms, solver {1e3 * solve:.2f} ms, "
            text += f"overhead {1e3 * above:.2f} ms"
        elif (failed := cell.get(f"{build} fit")) is not None:
            text += f"  {build}: {failed.get('reason', '')}"
    return text + ("" if ratio(cell) is None else f"  ratio {ratio(cell):.2f}")


def fit_overhead_section(cells: dict) -> str:
    """Return the section of the page."""
    order = sorted(cells.values(), key=lambda cell: cell["n"])
    rows = []
    for cell in order:
        row = [f"{cell['n']}"]
        for value in (
            seconds(cell, "skot", "fit"),
            seconds(cell, "skot", "solve"),
            overhead(cell, "skot"),
            overhead(cell, "baseline"),
        ):
            row.append("" if value is None else number(1e3 * value))
        rows.append([*row, "" if ratio(cell) is None else f"{ratio(cell):.2g}"])
    header = ["n", "fit", "its solver", "overhead", "overhead before", "before / now"]
    return """## What an estimator adds to its solver

`SinkhornTransport().fit(X, Y)` with its defaults for two Gaussian clouds of n points in the plane,
and `sinkhorn` alone on the estimator's own tensors, with its epsilon, tolerance and precision; by
turns, also with an earlier version where one was measured. Medians, milliseconds.

""" + table(header, rows)
