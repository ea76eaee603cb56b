"""OTT-JAX's Sinkhorn on the same pairs, from zeros and from its Gaussian start."""

import time

import numpy as np
from _grid_peers import floored
from _meta_ot_measures import TOL
from _meta_ot_problems import SIDE, MetaProblem

#: Pairs compiled into one call.
CHUNK = 100


def solve_with_ott(problem: MetaProblem, rows: np.ndarray) -> dict[str, dict]:
    """Return passes and processor seconds per pair, or nothing where OTT-JAX is missing.

    Weights of empty pixels are 1e-9, as its iteration in the log domain needs; its error is looked
    at after every pass.
    """
    try:
        import jax
        from ott.geometry import pointcloud
        from ott.initializers.linear import initializers
        from ott.problems.linear import linear_problem
        from ott.solvers.linear import sinkhorn
    except ImportError:
        return {}
    line = np.linspace(0.0, 1.0, SIDE)
    points = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    geometry = pointcloud.PointCloud(jax.numpy.asarray(points, "float32"), epsilon=problem.epsilon)
    sides = (floored(rows[:, : SIDE**2]), floored(rows[:, SIDE**2 :]))
    a, b = (jax.numpy.asarray(v.astype(np.float32)).reshape(-1, CHUNK, SIDE**2) for v in sides)
    results = {}
    for name, initializer in (
        ("OTT-JAX zeros", initializers.DefaultInitializer()),
        ("OTT-JAX Gaussian", initializers.GaussianInitializer()),
    ):
        solver = sinkhorn.Sinkhorn(
            threshold=TOL, inner_iterations=1, max_iterations=1000, initializer=initializer
        )

        def solve(a, b, solver=solver):
            out = solver(linear_problem.LinearProblem(geometry, a=a, b=b))
            return out.n_iters

        one = jax.ShapeDtypeStruct((CHUNK, SIDE**2), "float32")
        compiled = jax.jit(jax.vmap(solve)).lower(one, one).compile()
        start = time.process_time()
        passes = np.concatenate([np.asarray(compiled(*pair)) for pair in zip(a, b, strict=True)])
        results[name] = {
            "mean": float(passes.mean()),
            "median": float(np.median(passes)),
            "largest": int(passes.max()),
            "seconds": (time.process_time() - start) / len(rows),
        }
    return results
