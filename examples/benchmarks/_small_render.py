"""Numbers and tables of bench_small.py."""

import numpy as np
from _tables import number, table

PEER_NAMES = {"pot": "POT", "ott": "OTT-JAX", "mdot": "mdot-tnt"}
#: What the library wants to be ahead by in every cell.
GOAL = 2.0


def best_peer(cell: dict) -> tuple[str, float] | None:
    """Return the fastest peer that reached the tolerance, and its time."""
    reached = [
        (result["seconds"], name)
        for name, result in cell.get("peers", {}).items()
        if result["status"] == "ok"
    ]
    return min(reached)[::-1] if reached else None


def gain(cell: dict) -> float | None:
    """Return the best peer's time over skot's; zero where skot did not arrive."""
    best = best_peer(cell)
    if best is None or "skot" not in cell:
        return None
    return best[1] / cell["skot"]["seconds"] if cell["skot"]["status"] == "ok" else 0.0


def speed_up(cell: dict) -> float | None:
    """Return the time of the other skot over that of this one."""
    other = cell.get("baseline")
    if other is None or "seconds" not in other or "seconds" not in cell["skot"]:
        return None
    return other["seconds"] / cell["skot"]["seconds"]


def mean_of(ratios: list[float]) -> float:
    """Return the geometric mean."""
    return float(np.exp(np.mean(np.log(np.maximum(ratios, 1e-3)))))


def summary_lines(cells: dict) -> list[str]:
    """Return the least and the mean ratio, and the cells below the goal."""
    ratios = {key: ratio for key, cell in cells.items() if (ratio := gain(cell)) is not None}
    if not ratios:
        return ["No cell has a peer that reached the tolerance."]
    values = list(ratios.values())
    lines = [
        f"{len(ratios)} cells of {len(cells)}: best peer / skot at least {min(values):.2f}, "
        f"geometric mean {mean_of(values):.2f}"
    ]
    faster = [ratio for cell in cells.values() if (ratio := speed_up(cell)) is not None]
    if faster:
        lines.append(f"baseline / skot: at least {min(faster):.2f}, mean {mean_of(faster):.2f}")
    below = sorted((ratio, key) for key, ratio in ratios.items() if ratio < GOAL)
    lines.append(f"below {GOAL:g}: {len(below)} cells")
    lines += [f"  {ratio:6.2f}  {key}" for ratio, key in below]
    return lines + [
        f"  {name}: {key} {cell[name]['status']} {cell[name].get('reason', '')}"
        for key, cell in cells.items()
        for name in ("skot", "baseline")
        if (cell.get(name) or {"status": "ok"})["status"] != "ok"
    ]


def peer_label(name: str) -> str:
    """Return the library of a variant."""
    return PEER_NAMES[name.split()[0]]


def small_section(cells: dict) -> str:
    """Return the section of the page: a table, ratios by size."""
    cells = {key: cell for key, cell in cells.items() if "skot" in cell}
    text = """## Small and medium clouds

The clouds of the section above with fewer points, by turns: each library has a process, one runs
at a time on the same core, in an order drawn for every round, so that caches are as the others
left them. skot gets two arrays and gives potentials and dual value, with its defaults. Each time
is the geometric mean, over three seeds, of the median of up to 15 rounds. The peers' settings
(methods, precision, acceleration, stopping test) are chosen for every cell on other seeds, and
may be tightened on the reported ones; a peer counts up to 1.5 times the tolerance, skot up to
1.02 times. Errors are those of the target marginal once every row is exact, in float64 and the
log domain. Milliseconds.

"""
    rows = []
    order = sorted(cells.values(), key=lambda c: (c["n"], c["d"], -c["epsilon"], -c["tol"]))
    with_other = any(speed_up(cell) is not None for cell in order)
    for cell in order:
        best, ratio = best_peer(cell), gain(cell)
        ours = cell["skot"]
        row = [f"{cell['n']}", f"{cell['d']}", f"{cell['epsilon']:g}", f"{cell['tol']:.0e}"]
        row.append(number(1e3 * ours["seconds"]) if ours["status"] == "ok" else ours["status"])
        row += ["", "none"] if best is None else [peer_label(best[0]), number(1e3 * best[1])]
        row.append("" if ratio is None else f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}")
        if with_other:
            faster = speed_up(cell)
            row.append("" if faster is None else f"{faster:.2g}")
        rows.append(row)
    header = ["n", "d", "epsilon", "tol", "skot", "best peer", "its time", "best peer / skot"]
    text += table(header + ["skot before / now"] * with_other, rows)
    ratios = [ratio for cell in order if (ratio := gain(cell)) is not None]
    if ratios:
        text += f"\nSmallest ratio of {len(ratios)} cells: {min(ratios):.2f}. "
        text += f"Geometric mean: {mean_of(ratios):.1f}.\n"
    return text


def small_summary(cells: dict) -> str | None:
    """Return the headline of bench_small.py."""
    ratios = [ratio for cell in cells.values() if (ratio := gain(cell)) is not None]
    if not ratios:
        return None
    sizes = sorted({cell["n"] for cell in cells.values()})
    mean, least, most = mean_of(ratios), min(ratios), max(ratios)
    first, last = sizes[0], sizes[-1]
    return f"""With {first} to {last} points: **{mean:.1f} times less time** than the fastest
tuned peer (geometric mean of {len(ratios)} problems; {least:.2g} to {most:.0f} times)."""
