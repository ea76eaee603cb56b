"""The section and the figure of bench_meta_ot.py on the page of benchmarks."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _harness import ROOT
from _tables import number, table

from skot.plots._style import CURVE_COLORS

TITLES = {"mnist": "MNIST pairs", "spherical": "Supply and demand on the globe"}
#: Solvers and starts, in the order of the tables.
ROWS = (
    ("plain", "zeros"),
    ("plain", "Gaussian"),
    ("plain", "mean potential"),
    ("plain", "Meta OT"),
    ("plain", "Meta OT unchecked"),
    ("accelerated", "zeros"),
    ("accelerated", "Meta OT"),
    ("OTT-JAX", "zeros"),
    ("OTT-JAX", "Gaussian"),
)
TRANSFER = {
    "mnist": "test pairs of MNIST",
    "USPS transfer": "USPS, resized",
    "random sparse transfer": "random sparse histograms",
}


def meta_ot_section(cells: dict) -> str:
    """Return the tables of bench_meta_ot.py and draw its figure."""
    draw_curves(cells)
    text = f"""## Predicted potentials

Passes of Sinkhorn's iteration to a marginal error of {cells["mnist problem"]["tol"]:g} in the L1
norm, looked at after every pass; a pass is g from f, then f from g. Every start is a source
potential. *Accelerated* is skot's solver with its defaults, without and with predictions. Seconds
are those of one core per problem, in a batch of all test problems; the prediction has its own row,
and is part of the time of the accelerated solver that starts there. OTT-JAX solves the same pairs
with a dense kernel, all of them mapped over and compiled, in the log domain.

![Gain in passes against training time](images/meta_ot.png)

"""
    for name, title in TITLES.items():
        if f"{name} plain zeros" in cells:
            text += f"### {title}\n\n{_training(cells, name)}\n\n{_starts(cells, name)}\n"
    text += _small_problem(cells)
    text += f"""### Problems unlike those of training

The model of MNIST on other images of the same grid. A prediction whose half step has a marginal
error above 0.15 is dropped for zero potentials. The last column is the worst case: passes beyond
those from zeros, over all problems.

{_transfer(cells)}"""
    return text


def _training(cells: dict, name: str) -> str:
    curve = cells[f"{name} curve"]["curve"]
    last, problem = curve[-1], cells[f"{name} problem"]
    return (
        f"{problem['n_test']} test problems, epsilon {problem['epsilon']:g}; the model was trained "
        f"for {last['steps']} steps in {last['seconds'] / 60:.1f} minutes of one core."
    )


def _starts(cells: dict, name: str) -> str:
    zeros = cells[f"{name} plain zeros"]
    fast = cells.get(f"{name} accelerated zeros")
    rows = []
    for kind, start in ROWS:
        cell = cells.get(f"{name} {kind} {start}")
        if cell is None:
            continue
        reference = fast if kind == "accelerated" else zeros
        error = cell.get("error_after_2")
        rows.append(
            [
                f"{kind}, {start}{_share(cell, cells[f'{name} problem'])}",
                number(cell["mean"]),
                number(cell["median"]),
                str(cell["largest"]),
                number(reference["mean"] / cell["mean"]),
                number(reference["median"] / cell["median"]),
                "" if error is None else f"{error:.1e}",
                number(1e3 * cell["seconds"]),
            ]
        )
    seconds = cells[f"{name} prediction"]["seconds"]
    rows.append(["prediction alone", "", "", "", "", "", "", number(1e3 * seconds)])
    header = ["start", "mean passes", "median", "largest", "gain", "gain in medians"]
    return table([*header, "error after 2 passes", "ms"], rows)


def _share(cell: dict, problem: dict) -> str:
    """Say so where a row is of some of the problems only."""
    n_solved = cell.get("n_problems", problem["n_test"])
    return "" if n_solved == problem["n_test"] else f" (the first {n_solved})"


def _small_problem(cells: dict) -> str:
    """What is owed to the small problem that is solved before the network is asked."""
    cell = cells.get("spherical without network")
    if cell is None:
        return ""
    share = cell["groups"] / cell["targets"]
    small, own = cell["small_passes"], share * cell["small_passes"]
    return f"""Most of this is not the network's. It corrects the solution of a small problem, whose
{cell["targets"]} targets are gathered into {cell["groups"]} groups. That start alone takes a
median of {cell["plain"]:g} plain and {cell["accelerated"]:g} accelerated passes. Its own {small:g}
accelerated passes, over {100 * share:.0f} % of the entries, cost as much as {own:.0f} passes over
the whole and are not in the table; they are in the time of the prediction.

"""


def _transfer(cells: dict) -> str:
    rows = []
    for key, title in TRANSFER.items():
        if f"{key} plain zeros" not in cells:
            continue
        zeros = cells[f"{key} plain zeros"]["mean"]
        for start in ("Gaussian", "Meta OT", "Meta OT unchecked"):
            cell = cells[f"{key} plain {start}"]
            worst = f"{cell['worse']:+.0f}"
            rows.append([title, start, number(zeros), number(cell["mean"]), worst])
    return table(["problems", "start", "mean passes from zeros", "from the start", "worst"], rows)


def draw_curves(cells: dict) -> None:
    """Draw the gain against the time spent on training, a panel for each kind of problem."""
    shown = [name for name in TITLES if f"{name} curve" in cells]
    figure, axes = plt.subplots(
        1, len(shown), figsize=(4.2 * len(shown), 3.4), layout="constrained", squeeze=False
    )
    for ax, name in zip(axes[0], shown, strict=True):
        curve = cells[f"{name} curve"]["curve"]
        minutes = [point["seconds"] / 60 for point in curve]
        ax.plot(minutes, [point["gain"] for point in curve], "o-", color=CURVE_COLORS[0])
        ax.set(xlabel="minutes of training on one core")
        ax.set_xlim(0, 1.05 * minutes[-1])
        ax.set_ylim(0, 1.1 * max(point["gain"] for point in curve))
        ax.set_title(TITLES[name])
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="0.92")
    axes[0, 0].set_ylabel("mean passes from zeros\nover those from predictions")
    figure.savefig(ROOT / "docs" / "images" / "meta_ot.png", dpi=150)
    plt.close(figure)
