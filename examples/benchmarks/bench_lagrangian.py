"""LagrangianOT against closed forms and an independent solver, and learned metrics.

Run ``python examples/benchmarks/bench_lagrangian.py [--parts closed_forms maps reference obstacles
circle metrics geese]`` (metrics and geese with ``SKOT_DATA`` set). Cells that are stored are not
measured again. The independent solver is checked by ``check_geodesic_reference.py``.
"""

import sys

from _harness import RESULTS, Store, argument_parser, pin, report
from _lagrangian_cells import (
    CLOSED_FORMS,
    circle_cell,
    closed_form_cell,
    map_cell,
    obstacle_cell,
    reference_cell,
)
from _metric_learning import geese_cell, metric_cell
from render import render_all

SEEDS = (0, 1, 2)
OBSTACLES = ("box", "slit", "hill", "well", "gaussian_mixture", "v_neck", "s_tunnel", "maze")
MAPS = (("Kinetic", 2), ("Kinetic", 8), ("ConstantMetric", 2), ("ConstantMetric", 8), ("well", 2))
METRICS = ("circle", "mass_splitting", "x_paths")


def closed_form_cells():
    """Yield name, function and arguments of the costs with closed forms."""
    for name in CLOSED_FORMS:
        yield f"closed form {name}", closed_form_cell, (name, 0)


def map_cells():
    """Yield those of the maps between Gaussians."""
    for name, n_features in MAPS:
        yield f"map {name} D={n_features}", map_cell, (name, n_features, 0)


def reference_cells():
    """Yield those of discrete transport with costs of the independent solver."""
    for problem in OBSTACLES:
        yield f"reference {problem}", reference_cell, (problem,)


def obstacle_cells():
    """Yield those of the obstacles."""
    for problem in OBSTACLES:
        yield f"obstacle {problem}", obstacle_cell, (problem, 0)


def circle_cells():
    """Yield those of the circle metric."""
    for seed in SEEDS:
        yield f"circle seed={seed}", circle_cell, (seed,)


def metric_cells():
    """Yield those of metrics learned from populations in time."""
    for name in METRICS:
        for seed in SEEDS:
            yield f"metric {name} seed={seed}", learned_cell, (name, seed)


def geese_cells():
    """Yield those of the snow geese."""
    for seed in SEEDS:
        yield f"geese seed={seed}", flight_cell, (seed,)


def learned_cell(name: str, seed: int) -> dict:
    """The cell of a learned metric, with what tells it from the others."""
    return {"name": name, "seed": seed, **metric_cell(name, seed)}


def flight_cell(seed: int) -> dict:
    """The cell of the geese, with its seed."""
    return {"seed": seed, **geese_cell(seed)}


PARTS = {
    "closed_forms": closed_form_cells,
    "maps": map_cells,
    "reference": reference_cells,
    "obstacles": obstacle_cells,
    "circle": circle_cells,
    "metrics": metric_cells,
    "geese": geese_cells,
}


def main() -> None:
    """Measure every cell that is not stored yet."""
    parser = argument_parser(__doc__, "lagrangian.json")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--only", default="", help="measure cells with this in their name")
    args = parser.parse_args()
    pin(args.core)
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    for part in args.parts:
        for key, measure, arguments in PARTS[part]():
            if key in store.cells or args.only not in key:
                continue
            cell = measure(*arguments)
            store.put(key, kind=part, **cell)
            numbers = {k: v for k, v in cell.items() if isinstance(v, float)}
            report(f"{key}: " + ", ".join(f"{k} {v:.4g}" for k, v in numbers.items()))
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
