"""Check the least-action costs of _geodesic_reference.py, and print what it finds.

Run ``python check_geodesic_reference.py [problem ...]``. The first table holds costs against closed
forms, the second against shortest paths in a graph, the third what finer paths and more starts
change.
"""

import sys

import numpy as np
from _geodesic_graph import GridGraph
from _geodesic_problems import PROBLEMS
from _geodesic_reference import (
    LEVELS,
    MATRIX_LEVELS,
    circle_cost,
    geodesic_cost,
    half_plane_cost,
    sphere_cost,
    well_cost,
)

OBSTACLES = ("box", "slit", "hill", "well", "gaussian_mixture", "v_neck", "s_tunnel", "maze")
FINER = (*LEVELS, (800, 2))


def pairs(problem: str, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return end points where the benchmark has its own, more widely spread."""
    rng = np.random.RandomState(seed)
    if problem in ("half_plane", "sphere", "circle", "well"):
        x, y = rng.uniform(-1.0, 1.0, (2, n, 2))
        raised = np.array([0.0, 1.2 if problem == "half_plane" else 0.0])
        return x + raised, y + raised
    if problem == "gaussian_mixture":
        angle = rng.uniform(0.0, 2.0 * np.pi, n)
        return rng.normal(size=(n, 2)), 16.0 * np.c_[np.cos(angle), np.sin(angle)]
    if problem in ("v_neck", "s_tunnel"):
        far, low = (7.0, 0.0) if problem == "v_neck" else (11.0, -1.0)
        return rng.normal((-far, low), 0.3, (n, 2)), rng.normal((far, low), 0.3, (n, 2))
    return rng.uniform((-1.25, -1.0), (-1.0, 1.0), (n, 2)), rng.uniform(
        (1.0, -1.0), (1.25, 1.0), (n, 2)
    )


def check_closed_forms() -> None:
    """Largest relative error over 100 pairs, by the number of segments."""
    forms = {"well": well_cost, "half_plane": half_plane_cost, "sphere": sphere_cost}
    forms["circle"] = circle_cost
    print(f"{'largest relative error':24}" + "".join(f"{n:>12}" for n, _ in LEVELS))
    for problem, closed_form in forms.items():
        x, y = pairs(problem, 100)
        if problem == "circle":  # paths at different sides of the origin: a start of each
            x, y = x + (1.5, 0.0), y + (1.5, 0.0)
        expected = closed_form(x, y)
        errors = [
            np.abs(geodesic_cost(problem, x, y, levels=LEVELS[: k + 1])[0] / expected - 1.0).max()
            for k in range(len(LEVELS))
        ]
        print(f"{problem:24}" + "".join(f"{error:12.1e}" for error in errors))


def check_box() -> None:
    """Through the box at constant speed, at the best speed, and around it."""
    x = np.array([[-1.1, 0.0]])
    through, _ = geodesic_cost("box", x, -x, heights=(0.0,), energies=())
    around, _ = geodesic_cost("box", x, -x)
    constant = 0.5 * 2.2**2 + 3.6 / 2.2
    print("\nbox, (-1.1, 0) to (1.1, 0)")
    print(
        f"straight, constant speed {constant:.4f}; straight {through[0]:.4f}; best {around[0]:.4f}"
    )


def check_global(problem: str, n: int = 8) -> None:
    """No pair has a much better path than the one found: compare with a bound by a graph.

    The bound is loose for paths of negative energy, which rest on the way: those of the well.
    """
    x, y = pairs(problem, n, seed=1)
    graph = GridGraph(PROBLEMS[problem], np.concatenate([x, y]), 200)
    x, y = (graph.positions(graph.nearest(points)) for points in (x, y))
    bound = np.full(n, -np.inf)
    for energy in 0.5 * ((x - y) ** 2).sum(1).mean() * np.geomspace(0.05, 5.0, 16):
        bound = np.maximum(bound, graph.distances(energy, x, y) - energy)
    found, _ = geodesic_cost(problem, x, y)
    ratio = 100 * (found / bound - 1.0)
    print(f"{problem:18}" + "".join(f"{v:12.2f}" for v in (ratio.min(), ratio.mean(), ratio.max())))


def check_refinement(problem: str, n: int = 60) -> None:
    """What finer paths and more starts change."""
    x, y = pairs(problem, n, seed=2)
    best, _ = geodesic_cost(problem, x, y)
    finer, _ = geodesic_cost(problem, x, y, levels=FINER)
    matrix, _ = geodesic_cost(problem, x, y, levels=MATRIX_LEVELS)
    coarse, _ = geodesic_cost(problem, x, y, levels=LEVELS[:1])
    straight, _ = geodesic_cost(problem, x, y, heights=(0.0,), energies=())
    bumps = (0.0, 0.15, -0.15, 0.3, -0.3, 0.6, -0.6)
    more, _ = geodesic_cost(problem, x, y, heights=bumps, energies=(0.1, 0.3, 1.0, 3.0))
    columns = [np.abs(other / best - 1.0).max() for other in (coarse, matrix, finer)]
    columns += [(straight / best - 1.0).mean(), (more / best - 1.0).min()]
    print(f"{problem:18}" + "".join(f"{100 * column:12.3f}" for column in columns))


if __name__ == "__main__":
    problems = sys.argv[1:] or OBSTACLES
    check_closed_forms()
    check_box()
    print("\nper cent above paths in a graph\n" + " " * 18, end="")
    print("".join(f"{name:>13}" for name in ("least", "mean", "most")))
    for name in problems:
        if name != "well":
            check_global(name)
    print(
        "\nper cent of the cost of 400 segments: largest change, mean of the straight start alone,"
    )
    print("largest gain of more starts\n" + " " * 18, end="")
    print("".join(f"{name:>12}" for name in ("24", "96", "800", "straight", "more starts")))
    for name in problems:
        check_refinement(name)
