"""OTT-JAX's Sinkhorn on the same pairs, from zeros and, on the grid, from its Gaussian start."""

import time

import numpy as np
from _grid_peers import floored
from _meta_ot_measures import TOL, part
from _meta_ot_problems import SIDE, MetaProblem

#: Pairs compiled into one call, and how many are solved: on the globe each takes a minute.
CHUNK = {"mnist": 100, "spherical": 1}
N_SOLVED = {"mnist": 1000, "spherical": 5}


def solve_with_ott(problem: MetaProblem, rows: np.ndarray) -> dict[str, dict]:
    """Return passes and processor seconds per pair, or nothing where OTT-JAX is missing.

    Weights of empty points are 1e-9, as its iteration in the log domain needs; its error is looked
    at after every pass.
    """
    try:
        import jax
        from ott.geometry import geometry, pointcloud
        from ott.initializers.linear import initializers
        from ott.problems.linear import linear_problem
        from ott.solvers.linear import sinkhorn
    except ImportError:
        return {}
    starts = {"OTT-JAX zeros": initializers.DefaultInitializer()}
    if problem.name == "mnist":
        line = np.linspace(0.0, 1.0, SIDE)
        points = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
        points = jax.numpy.asarray(points, "float32")
        costs = pointcloud.PointCloud(points, epsilon=problem.epsilon)
        starts["OTT-JAX Gaussian"] = initializers.GaussianInitializer()
    else:
        matrix = jax.numpy.asarray(problem.cost.matrix, "float32")
        costs = geometry.Geometry(cost_matrix=matrix, epsilon=problem.epsilon)
    chunk, rows = CHUNK[problem.name], rows[: N_SOLVED[problem.name]]
    sides = (floored(side.numpy()).astype(np.float32) for side in part(problem, rows))
    a, b = (jax.numpy.asarray(side.reshape(-1, chunk, side.shape[1])) for side in sides)
    results = {}
    for name, initializer in starts.items():
        solver = sinkhorn.Sinkhorn(
            threshold=TOL,
            inner_iterations=1,
            max_iterations=problem.max_iter,
            initializer=initializer,
        )

        def solve(a, b, solver=solver):
            out = solver(linear_problem.LinearProblem(costs, a=a, b=b))
            return out.n_iters

        shapes = (jax.ShapeDtypeStruct(side.shape[1:], "float32") for side in (a, b))
        compiled = jax.jit(jax.vmap(solve)).lower(*shapes).compile()
        start = time.process_time()
        passes = np.concatenate([np.asarray(compiled(*pair)) for pair in zip(a, b, strict=True)])
        results[name] = {
            "mean": float(passes.mean()),
            "median": float(np.median(passes)),
            "largest": int(passes.max()),
            "seconds": (time.process_time() - start) / len(rows),
            "n_problems": len(rows),
        }
    return results
