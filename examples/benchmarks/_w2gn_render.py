"""The sections of bench_conjugates.py, bench_gaussian.py and bench_w2_step.py on the page."""

from _tables import number, table

LOSSES = ("objective", "cycle", "regression")
SOLVERS = ("none", "Adam", "L-BFGS")


def conjugates_section(cells: dict) -> str:
    """Return the table of bench_conjugates.py: losses in rows, solvers in columns."""
    linear = cells["linear"]["l2_uvp"]
    trained = [cell for cell in cells.values() if cell["kind"] == "train"]
    groups: dict[tuple, dict] = {}
    for cell in trained:
        setting = (cell["potential"], cell["preconditioning"], cell["n_steps"], cell["lr"])
        groups.setdefault(setting, {})[cell["loss"], cell["solver"]] = cell
    text = f"""## Losses of the amortizer and conjugate solvers

L2-UVP of the forward map in per cent on the planar Mix3toMix10 pair, and processor seconds of
training in brackets; the linear map has {number(linear)}, above which a method counts as
*failed*. Potential and amortizer have two hidden layers of 64, every step takes fresh and
independent batches of 1024 rows, solvers have tolerance 0.01. Coordinates: *identity* are those
of the data, *gaussian* those in which the linear map is the identity (the default).

"""
    rows = []
    for setting in sorted(groups, key=lambda s: (s[1] != "identity", s[0] != "MLP", *s[2:])):
        potential, preconditioning, n_steps, lr = setting
        for loss in LOSSES:
            row = [potential, preconditioning, f"{n_steps}", f"{lr:g}", loss]
            found = groups[setting]
            rows.append([*row, *(outcome(found.get((loss, s)), linear) for s in SOLVERS)])
    header = ["potential", "coordinates", "steps", "learning rate", "loss"]
    return text + table([*header, *(solver_name(s) for s in SOLVERS)], rows)


def solver_name(solver: str) -> str:
    """Return the heading of a column."""
    return "no solver" if solver == "none" else solver


def outcome(cell: dict | None, linear: float) -> str:
    """Return the error at the end, or what was raised."""
    if cell is None:
        return ""
    if cell["error"]:
        return f"`{cell['error']}`"
    error = cell["curve"][-1][1]
    shown = number(error) if error < 1e4 else f"{error:.0e}"
    failed = "" if error <= linear else ", failed"
    return f"{shown} ({cell['seconds']:.0f} s{failed})"


def gaussian_section(cells: dict) -> str:
    """Return the table of bench_gaussian.py."""
    linear = {c["n_features"]: c for c in cells.values() if c["kind"] == "linear"}
    rows = []
    for cell in cells.values():
        if cell["kind"] != "train":
            continue
        d, curve = cell["n_features"], cell["curve"]
        below = next((f"{c[1]:.0f}" for c in curve if c[2] <= 0.1), "not reached")
        row = [f"{d}", cell["preconditioning"], number(curve[-1][2]), f"{curve[-1][0]}"]
        row += [f"{cell['seconds']:.0f}", below, precise(linear[d]["l2_uvp"])]
        rows.append((d, cell["preconditioning"] != "identity", row))
    n_rows = max((c["n_rows"] for c in linear.values()), default=0)
    header = ["D", "coordinates", "L2-UVP, %", "steps", "seconds", "seconds to 0.1 %"]
    return f"""## Gaussian pairs

L2-UVP against the map in closed form. `W2GNTransport` with two hidden layers of 64 in both
networks trains on fresh batches of 1024 rows, in at most 240 processor seconds (two minutes on
two cores); seconds are those of training alone. In the coordinates *gaussian*, the default, it
starts at the map between the Gaussians of its first rows; *identity* is the test of training.
`GaussianTransport` was fitted to {n_rows} rows of each side.

""" + table([*header, "`GaussianTransport`, %"], [row for *_, row in sorted(rows)])


def precise(value: float) -> str:
    """Return two significant digits of a small number."""
    return f"{value:.1e}" if value < 1e-3 else number(value)


def step_section(cells: dict) -> str:
    """Return the table of bench_w2_step.py."""
    by_dimension: dict[int, dict] = {}
    for cell in cells.values():
        by_dimension.setdefault(cell["n_features"], {})[cell["method"]] = cell
    rows = []
    for d, methods in sorted(by_dimension.items()):
        peer = methods.get("OTT-JAX")
        for name in sorted(methods, key=lambda name: (name != "OTT-JAX", name != "skot", name)):
            cell = methods[name]
            ratio = number(peer["seconds"] / cell["seconds"]) if peer else ""
            row = [f"{d}", name, number(1e3 * cell["seconds"]), ratio]
            rows.append([*row, *solves(cell)])
    header = ["D", "", "ms", "OTT-JAX / this", "evaluations or iterations", "converged"]
    return """## Time of a training step

Processor milliseconds of one step of regression with L-BFGS in float32 on one core: batch 1024,
three layers of 128 with ELU in the potential and in the amortizer, Adam with learning rate 5e-4,
solved to a gradient norm of 0.1 in at most 20 iterations. Both libraries trained for 200 steps
from their own start before, then ran by turns; medians. OTT-JAX is the compiled step of
`W2NeuralDual`, with a line search of at most five points an iteration (with OTT's own thirty it
takes more than ten times longer at D = 2); in skot an iteration is one point. The last columns
are the mean and the largest number of iterations of the rows of a batch, and the share of its
rows that reached the tolerance.

""" + table(header, rows)


def solves(cell: dict) -> list[str]:
    """Return the columns about the conjugate solves."""
    iterations = f"{cell['iterations']:.1f}, {cell['most_iterations']}"
    return [iterations, f"{100 * cell['converged']:.1f} %"]
