"""Numbers and tables of bench_batches.py."""

from _small_render import best_peer, gain, mean_of
from _tables import number, table

LABELS = {
    "pot-loop": "POT, loop",
    "pot-batch": "POT, batch",
    "ott-batch": "OTT-JAX, vmapped",
    "mdot-batch": "mdot-tnt, batch",
}


def per_problem(problem, settings: dict, seconds: float) -> float:
    """Return the time of one problem: loops solve only some of a batch."""
    return seconds / min(settings.get("n_solved", problem.n_problems), problem.n_problems)


def microseconds(result: dict | None) -> str:
    """Return the time of a problem, or what became of it."""
    if result is None:
        return ""
    return number(1e6 * result["seconds"]) if result["status"] == "ok" else result["status"]


def fastest(cell: dict, library: str) -> dict | None:
    """Return the best result of one library."""
    found = [r for name, r in cell["peers"].items() if name.split()[0] == library]
    return min(found, key=lambda r: (r["status"] != "ok", r.get("seconds", 0.0)), default=None)


def line(key: str, cell: dict) -> str:
    """Return the row of a cell for the terminal."""
    name, seconds = best_peer(cell) or ("no peer", float("nan"))
    ratio = gain(cell)
    text = (
        f"{key:36s} skot {microseconds(cell['skot']):>8s} us, loop {microseconds(cell['loop']):>8s}"
    )
    text += f"  {1e6 * seconds:10.1f} us {name[:60]:60s}"
    return text + ("" if ratio is None else f"  ratio {ratio:6.2f}")


def batches_section(cells: dict) -> str:
    """Return the section of the page."""
    cells = {key: cell for key, cell in cells.items() if "skot" in cell}
    text = """## Batches of different clouds

Pairs of clouds in the plane, each with a scale, a shift and random weights of its own; epsilon
relative to the mean cost. skot takes the batch in one call, with its defaults, and gives
potentials and dual values; *loop* calls it once a problem. The peers: `ot.sinkhorn` in a loop,
`ot.solve_sample_batch` (NumPy and PyTorch, both methods), OTT-JAX vmapped over the batch or over
chunks of it (log-domain and scaling form), mdot-tnt's batched solver; float32 and float64 at
1e-3. By turns and tuned as for single problems; a cell counts by its worst problem, for peers up
to 1.5 times the tolerance. Microseconds a problem; an empty cell was more than four times the
best peer when its settings were chosen.

"""
    order = sorted(
        cells.values(), key=lambda c: (c["n"], c["n_problems"], -c["epsilon"], -c["tol"])
    )
    rows = []
    for cell in order:
        ratio = gain(cell)
        row = [f"{cell['n_problems']}", f"{cell['n']}", f"{cell['epsilon']:g}"]
        row += [f"{cell['tol']:.0e}", microseconds(cell["skot"]), microseconds(cell["loop"])]
        row += [microseconds(fastest(cell, library)) for library in LABELS]
        row.append("" if ratio is None else f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}")
        rows.append(row)
    header = ["problems", "n", "epsilon", "tol", "skot", "skot, loop", *LABELS.values()]
    text += table([*header, "best peer / skot"], rows)
    ratios = [ratio for cell in order if (ratio := gain(cell)) is not None]
    if ratios:
        text += f"\nSmallest ratio of {len(ratios)} cells: {min(ratios):.2f}. "
        text += f"Geometric mean: {mean_of(ratios):.1f}.\n"
    return text


def batches_summary(cells: dict) -> str | None:
    """Return the headline of bench_batches.py."""
    ratios = [ratio for cell in cells.values() if (ratio := gain(cell)) is not None]
    if not ratios:
        return None
    mean, least, most = mean_of(ratios), min(ratios), max(ratios)
    return f"""Batches of 16 or 256 different small problems, each in one call: **{mean:.1f} times
less time** than the fastest of the peers' loops and batches ({least:.2g} to {most:.0f}
times)."""
