"""How each library solves a batch of problems on the 28 x 28 grid.

Adapters as in :mod:`_peers`; the potentials have one row a pair, and -inf where a histogram has
no mass.
"""

import numpy as np


def floored(histograms):
    """Return the histograms with a little mass everywhere: 1e-6 of it at most."""
    histograms = np.maximum(histograms, 1e-9)
    return histograms / histograms.sum(-1, keepdims=True)


def skot_grid(a, b, epsilon, tol):
    """This library, all pairs in one call."""
    import torch

    from skot.costs import GridCost
    from skot.solvers import sinkhorn

    torch.set_num_threads(1)
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    cost = GridCost((28, 28))
    sinkhorn(a=a[:2], b=b[:2], cost=cost, epsilon=epsilon, tol=tol)

    def run():
        result = sinkhorn(a=a, b=b, cost=cost, epsilon=epsilon, tol=tol)

        def read():
            log_u = (result.f.double() / epsilon + a.log()).numpy()
            log_v = (result.g.double() / epsilon + b.log()).numpy()
            return log_u, log_v, {"n_iter": int(result.n_iter)}

        return read

    return run


def ott_grid(a, b, epsilon, tol, *, lse_mode=False, inner_iterations=10, momentum=1.0, chunk=None):
    """OTT-JAX's Grid, vmapped over the pairs (in chunks) and compiled beforehand.

    In log-domain it diverges where weights are zero: there empty pixels get a mass of 1e-9.
    """
    import jax
    from ott.geometry import grid
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import acceleration, sinkhorn

    chunk = len(a) if chunk is None else chunk
    solver = sinkhorn.Sinkhorn(
        lse_mode=lse_mode,
        threshold=tol,
        inner_iterations=inner_iterations,
        max_iterations=10**4,
        momentum=acceleration.Momentum(value=momentum) if momentum != 1.0 else None,
    )

    def solve(a, b):
        geometry = grid.Grid(grid_size=(28, 28), epsilon=epsilon)
        out = solver(linear_problem.LinearProblem(geometry, a=a, b=b))
        return out.f, out.g, out.n_iters

    if lse_mode:
        a, b = floored(a), floored(b)
    a, b = (jax.numpy.asarray(v.astype(np.float32)).reshape(-1, chunk, 784) for v in (a, b))
    one = jax.ShapeDtypeStruct((chunk, 784), "float32")
    compiled = jax.jit(jax.vmap(solve)).lower(one, one).compile()

    def run():
        parts = [jax.block_until_ready(compiled(*pair)) for pair in zip(a, b, strict=True)]

        def read():
            f, g, n_iter = (np.concatenate([np.asarray(p[k]) for p in parts]) for k in range(3))
            log_u, log_v = f.astype(np.float64) / epsilon, g.astype(np.float64) / epsilon
            return log_u, log_v, {"n_iter": int(n_iter.max())}

        return read

    return run


def pot_grid(a, b, epsilon, tol, *, n_solved, support=False, aim=1.0):
    """POT in a loop over the first pairs, with one cost matrix for all of them.

    Its scaling iteration divides by the weights. Either empty pixels get a mass of 1e-9, or
    every pair is restricted to the pixels that carry mass (`support`).
    """
    import ot

    coordinates = np.linspace(0.0, 1.0, 28)
    points = np.stack(np.meshgrid(coordinates, coordinates, indexing="ij"), -1).reshape(-1, 2)

    def run():
        cost = ot.dist(points, points)
        logs = [
            solve(cost, source, target)
            for source, target in zip(a[:n_solved], b[:n_solved], strict=True)
        ]

        def read():
            log_u, log_v = (np.full((n_solved, 784), -np.inf) for _ in range(2))
            for k, (rows, columns, log) in enumerate(logs):
                log_u[k, rows], log_v[k, columns] = np.log(log["u"]), np.log(log["v"])
            return log_u, log_v, {"n_iter": max(log["niter"] for _, _, log in logs)}

        return read

    def solve(cost, source, target):
        rows, columns = slice(None), slice(None)
        if support:
            rows, columns = np.flatnonzero(source), np.flatnonzero(target)
            source, target, cost = source[rows], target[columns], cost[np.ix_(rows, columns)]
        else:
            source, target = floored(source), floored(target)
        stop = aim * tol / np.sqrt(len(target))
        _, log = ot.sinkhorn(source, target, cost, epsilon, stopThr=stop, log=True)
        return rows, columns, log

    return run


GRID_ADAPTERS = {"skot-grid": skot_grid, "ott-grid": ott_grid, "pot-grid": pot_grid}
