"""The sections of bench_lagrangian.py on the page of benchmarks."""

from _tables import table


def lagrangian_section(cells: dict) -> str:
    """Return the tables of bench_lagrangian.py."""
    parts: dict[str, list[dict]] = {}
    for cell in cells.values():
        parts.setdefault(cell["kind"], []).append(cell)
    text = "## Least-action costs\n"
    for names, part in PARTS.items():
        found = [parts.get(name, []) for name in names]
        if found[0]:
            text += "\n" + part(*found)
    return text


def percent(value: float, digits: int = 3) -> str:
    """Return a share in per cent."""
    return f"{100 * value:.{digits}g}"


def closed_forms_part(cells: list[dict]) -> str:
    """Return the table of costs with closed forms."""
    rows = []
    for cell in cells:
        row = [cell["problem"]]
        for pairs in ("transported", "independent"):
            for kind in ("solved", "amortized"):
                mean, largest = (cell[f"{pairs}_{kind}_{what}"] for what in ("mean", "largest"))
                row.append(f"{percent(mean, 2)} ({percent(largest, 2)})")
        rows.append([*row, f"{cell['seconds']:.0f}"])
    header = ["", "solver, (x, T x)", "networks, (x, T x)", "solver, (x, y)", "networks, (x, y)"]
    return """### Costs against closed forms

Relative error of `path_cost` in per cent, mean (largest) of 1000 pairs: of rows and their images,
and of independent rows of source and target. *Solver*: the geodesic solver; *networks*:
`amortized=True`, the path that the networks predict. Gaussians in the plane, 10000 rows a side;
Euclidean and constant metric are passed as functions, so that nothing is known about their paths.

""" + table([*header, "seconds of fit"], rows)


def maps_part(cells: list[dict]) -> str:
    """Return the table of maps between Gaussians."""
    rows = [
        [
            cell["problem"],
            f"{cell['n_features']}",
            f"{cell['l2_uvp']:.2g}",
            f"{cell['linear']:.2g}" if cell["linear"] > 1e-9 else "0",
            f"{100 * cell['cost_error']:+.2f}",
            f"{100 * cell['cost_value_error']:+.2f}",
            f"{100 * cell['dual_value_error']:+.2f}",
            percent(cell["midpoint_error"], 2) if "midpoint_error" in cell else "",
            f"{cell['seconds']:.0f}",
        ]
        for cell in cells
    ]
    header = ["Lagrangian", "D", "L2-UVP, %", "Euclidean map, %", "cost, %"]
    header += ["`cost_value_`, %", "`dual_value_`, %", "midpoints, %", "seconds"]
    return """### Maps between Gaussians

L2-UVP against the map in closed form, also that of the linear map for the Euclidean cost; the
matrix of the constant metric does not commute with the covariances. 10000 rows a side, with exactly
the means and covariances of the laws. *Cost*: mean `path_cost` between 8192 new rows and their
images beside the closed form, and so the values on the training rows. *Midpoints*: mean squared
error of `transport_at(X, 0.5)` over the variance of the midpoints.

""" + table(header, rows)


def obstacles_part(cells: list[dict], references: list[dict]) -> str:
    """Return the tables of obstacles, with discrete transport by the independent solver."""
    by_problem = {cell["problem"]: cell for cell in references}
    arrivals, costs, walls = [], [], []
    for cell in cells:
        name = cell["problem"].replace("_", " ")
        arrivals.append(
            [
                name,
                f"{cell['divergence_before']:.3g}",
                f"{cell['divergence']:.2g}",
                f"{cell['divergence_floor']:.2g}",
                percent(cell["divergence"] / cell["divergence_before"]),
                f"{cell['divergence'] / cell['divergence_floor']:.2f}",
                f"{cell['seconds']:.0f}",
            ]
        )
        reference = by_problem.get(cell["problem"])
        if reference is not None:
            discrete = reference["cost"]
            row = [name, f"{discrete:.4g}"]
            for value in (
                cell["pair_cost"],
                cell["followed_cost"],
                cell["cost_value"],
                cell["dual_value"],
                reference["euclidean_plan"],
                reference["straight_paths"],
            ):
                row.append(f"{100 * (value / discrete - 1.0):+.2f}")
            row.append(percent(reference["difference_assigned"], 1))
            costs.append(row)
        row = [name]
        for key in ("deepest", "share_deeper", "deepest_reference"):
            scale = 100 if key == "share_deeper" else 1
            row.append(f"{scale * cell[key]:.3g}" if key in cell else "")
        for key in ("geodesic_excess", "path_cost_error"):
            mean, largest = cell[f"{key}_mean"], cell[f"{key}_largest"]
            row.append(f"{percent(mean, 2)} ({percent(largest, 2)})")
        walls.append(row)
    text = """### Obstacles: where rows arrive

Fitted on 10000 rows a side. Sinkhorn divergence of 2000 transported fresh rows to as many of the
target, at a fixed epsilon (0.05 times the mean squared distance in the target), mean of 20 draws;
the floor is that between two draws of the target.

"""
    header = [
        "",
        "before",
        "after",
        "floor",
        "after / before, %",
        "after / floor",
        "seconds of fit",
    ]
    text += table(header, arrivals)
    text += """
### Obstacles: what it costs

Discrete transport between 200 points a side, with costs of an independent solver (polygons, Newton
steps, several starts), and how far in per cent other mean costs on the same 200 source rows are
from it. *Pairs*: the independent solver's cost of (x, T x), whatever path skot takes. *Paths*: the
action of `transport_paths`, by the formulas of the independent solver. `cost_value_` and
`dual_value_` are on training rows. *Euclidean plan*: the assignment for the squared distance, along
the best paths between its pairs; *straight*: also along straight lines, which is what ignoring the
Lagrangian costs. *Accuracy*: largest change of the costs of the discrete plan on four times finer
paths.

"""
    header = ["", "discrete", "pairs", "paths", "`cost_value_`", "`dual_value_`"]
    text += table([*header, "Euclidean plan", "straight", "accuracy"], costs)
    text += """
### Obstacles: paths

How deep the paths of 1000 fresh rows at 1000 times get into a wall, the share of paths deeper than
0.02 in per cent, and how deep the paths of the independent solver get between the 200 reference
rows and their images (the S-tunnel is cheaper to cross than to follow). Then 200 pairs of
independent rows: `geodesic` and `path_cost` beside the independent solver, mean (largest) in per
cent.

"""
    header = ["", "deepest", "deeper, %", "deepest, reference", "`geodesic`, %", "`path_cost`, %"]
    text += table(header, walls)
    middle = [cell for cell in cells if "box_middle" in cell]
    if middle:
        text += f"""
The box from (-1.1, 0) to (1.1, 0): `path_cost` {middle[0]["box_middle"]:.3f}, where the
independent solver has {middle[0]["box_middle_reference"]:.3f}.
"""
    return text


def circle_part(cells: list[dict]) -> str:
    """Return the table of the circle metric."""
    rows = [
        [
            f"{cell['seed']}",
            f"{percent(cell['drift'], 2)} ({percent(cell['drift_largest'], 2)})",
            percent(cell["drift_reference"], 2),
            f"{cell['discrete']:.5f}",
            *(
                f"{100 * (cell[key] / cell['discrete'] - 1.0):+.1f}"
                for key in ("cost", "followed_cost", "cost_value", "euclidean_plan")
            ),
            f"{cell['straight_paths']:.3g}",
            percent(cell["divergence"] / cell["divergence_before"], 2),
            f"{cell['seconds']:.0f}",
        ]
        for cell in cells
    ]
    header = [
        "seed",
        "drift, %",
        "discrete plan",
        "cost",
        "pairs, %",
        "paths, %",
        "`cost_value_`, %",
    ]
    header += ["Euclidean plan, %", "straight paths, cost", "divergence, % of before", "seconds"]
    return """### The circle metric

Motion along circles costs a thousandth of motion across. *Drift*: mean over 1000 rows and 1000
times (largest) of |r(t) / r(0) - 1|; for the discrete plan at the end only. *Cost*: discrete
transport between 1000 points with the closed form of the cost; the others are relative to it, as
above.

""" + table(header, rows)


PUBLISHED = {"circle": 0.997, "mass_splitting": 0.986, "x_paths": 0.957}


def metrics_part(cells: list[dict]) -> str:
    """Return the table of learned metrics."""
    rows = []
    for name, published in PUBLISHED.items():
        found = sorted((c for c in cells if c["name"] == name), key=lambda c: c["seed"])
        if found:
            scores = [f"{cell['alignment']:.4f}" for cell in found]
            seconds = max(cell["seconds"] for cell in found)
            row = [name.replace("_", " "), f"{published}", ", ".join(scores)]
            rows.append([*row, f"{found[0]['best_constant']:.3f}", f"{seconds:.0f}"])
    header = ["", "published", "`alignment_score`, by seed", "best constant", "seconds, longest"]
    return """### Metrics learned from populations in time

Mean absolute cosine between the eigenvectors of the learned and the true metric, paired in
ascending order of the eigenvalues, over a grid of 100 x 100 points, at the end of the fit; *best
constant*: that of the best metric which is the same everywhere. Processor seconds of the longest
fit.

""" + table(header, rows)


def geese_part(cells: list[dict]) -> str:
    """Return the table of the snow geese."""
    rows = [
        [
            f"{cell['seed']}",
            f"{cell['divergence']:.3g}",
            f"{cell['divergence_straight']:.3g}",
            f"{cell['seconds']:.0f}",
        ]
        for cell in sorted(cells, key=lambda cell: cell["seed"])
    ]
    header = ["seed", "learned metric", "straight lines", "seconds"]
    return """### Snow geese

Learned from the odd months; the even months between them are predicted. Mean over these months of
the Sinkhorn divergence to the birds of the month, and the same where all directions cost the same.

""" + table(header, rows)


PARTS = {
    ("closed_forms",): closed_forms_part,
    ("maps",): maps_part,
    ("obstacles", "reference"): obstacles_part,
    ("circle",): circle_part,
    ("metrics",): metrics_part,
    ("geese",): geese_part,
}
