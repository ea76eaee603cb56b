"""How each library solves a batch of different problems.

Adapters as in :mod:`_peers`, with weights; the potentials have a row for every problem that was
solved: loops take the first of a batch only, as time is that of a problem.
"""

import functools
import math

import numpy as np


def skot_batch(x, y, a, b, epsilon, tol):
    """This library: the whole batch in one call, from arrays to potentials and dual values."""
    import torch

    from skot.solvers import sinkhorn

    torch.set_num_threads(1)
    sinkhorn(x[:2], y[:2], a[:2], b[:2], epsilon=epsilon, tol=1e-2)

    def run():
        result = sinkhorn(x, y, a, b, epsilon=epsilon, tol=tol)
        f, g, values = result.f, result.g, result.dual_value

        def read():
            log_u, log_v = (v.double().numpy() / epsilon for v in (f, g))
            info = {"n_iter": int(result.n_iter), "dual_value": float(values.double().mean())}
            return log_u + np.log(a), log_v + np.log(b), info

        return read

    return run


def skot_loop(x, y, a, b, epsilon, tol, *, n_solved=None):
    """This library, one problem after another."""
    import torch

    from skot.solvers import sinkhorn

    torch.set_num_threads(1)
    sinkhorn(x[0], y[0], a[0], b[0], epsilon=epsilon, tol=1e-2)

    def run():
        results = [
            sinkhorn(*problem, epsilon=epsilon, tol=tol)
            for problem in zip(x[:n_solved], y[:n_solved], a[:n_solved], b[:n_solved], strict=True)
        ]

        def read():
            log_u, log_v = (
                np.stack([getattr(r, name).double().numpy() for r in results]) / epsilon
                for name in ("f", "g")
            )
            return log_u + np.log(a[:n_solved]), log_v + np.log(b[:n_solved]), {}

        return read

    return run


def pot_loop(x, y, a, b, epsilon, tol, *, method="sinkhorn", dtype="float64", aim=1.0, n_solved):
    """POT's `ot.sinkhorn`, one problem after another, with `ot.dist`."""
    import ot

    x, y, a, b = (v[:n_solved].astype(dtype) for v in (x, y, a, b))
    options = {"method": method, "stopThr": aim * tol / math.sqrt(y.shape[1])}

    def run():
        logs = [
            ot.sinkhorn(
                a[k], b[k], ot.dist(x[k], y[k]), epsilon, numItermax=10**7, log=True, **options
            )[1]
            for k in range(len(x))
        ]

        def read():
            if "log_u" in logs[0]:
                log_u, log_v = (np.stack([log[k] for log in logs]) for k in ("log_u", "log_v"))
            else:
                with np.errstate(all="ignore"):
                    log_u, log_v = (np.log(np.stack([log[k] for log in logs])) for k in "uv")
            return log_u, log_v, {"n_iter": max(int(log["niter"]) for log in logs)}

        return read

    return run


def pot_batch(
    x, y, a, b, epsilon, tol, *, method="log_sinkhorn", backend="numpy", dtype="float64", aim=1.0
):
    """POT's `ot.solve_sample_batch`; it stops on the largest L2 norm of a row marginal's error."""
    import ot
    import torch

    torch.set_num_threads(1)
    arrays = [v.astype(dtype) for v in (x, y, a, b)]
    if backend == "torch":
        arrays = [torch.from_numpy(v) for v in arrays]
    x, y, a, b = arrays
    options = {"method": method, "grad": "detach", "max_iter": 10**6}
    stop = aim * tol / math.sqrt(y.shape[1])

    def run():
        result = ot.solve_sample_batch(x, y, epsilon, a=a, b=b, tol=stop, **options)

        def read():
            log_u, log_v = (np.asarray(v, np.float64) for v in result.potentials)
            if method == "sinkhorn":
                with np.errstate(all="ignore"):
                    log_u, log_v = np.log(log_u), np.log(log_v)
            return log_u, log_v, {"n_iter": int(result.log["n_iter"])}

        return read

    return run


def ott_batch(x, y, a, b, epsilon, tol, *, dtype="float64", aim=1.0, chunk=None, **variant):
    """OTT-JAX vmapped over the batch, or over chunks of it, compiled beforehand."""
    import jax

    chunk = len(x) if chunk is None else min(chunk, len(x))
    compiled = compile_ott(chunk, x.shape[1], dtype, **variant)
    points = [v.astype(dtype).reshape(-1, chunk, *v.shape[1:]) for v in (x, y, a, b)]
    parts = [[jax.numpy.asarray(v[k]) for v in points] for k in range(len(x) // chunk)]
    scalars = np.asarray([epsilon, aim * tol], dtype)

    def run():
        found = [jax.block_until_ready(compiled(*part, *scalars)) for part in parts]

        def read():
            f, g, n_iter = (np.concatenate([np.asarray(p[k]) for p in found]) for k in range(3))
            log_u, log_v = f.astype(np.float64) / epsilon, g.astype(np.float64) / epsilon
            return log_u, log_v, {"n_iter": int(n_iter.max())}

        return read

    return run


@functools.cache
def compile_ott(
    chunk, n, dtype, inner_iterations=10, momentum=1.0, momentum_start=0, lse_mode=True
):
    """Compile OTT-JAX for one size and one variant, for any epsilon and threshold."""
    import jax
    from ott.geometry import geometry, pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import acceleration, sinkhorn

    accelerations = {}
    if momentum != 1.0 or momentum_start:
        accelerations["momentum"] = acceleration.Momentum(start=momentum_start, value=momentum)

    def solve(x, y, a, b, epsilon, threshold):
        solver = sinkhorn.Sinkhorn(
            lse_mode=lse_mode,
            threshold=threshold,
            inner_iterations=inner_iterations,
            # Its buffer of errors grows with the bound, for every problem.
            max_iterations=10**4,
            **accelerations,
        )
        geom = geometry.Geometry(pointcloud.PointCloud(x, y).cost_matrix, epsilon=epsilon)
        out = solver(linear_problem.LinearProblem(geom, a=a, b=b))
        return out.f, out.g, out.n_iters

    points = jax.ShapeDtypeStruct((chunk, n, 2), dtype)
    weights = jax.ShapeDtypeStruct((chunk, n), dtype)
    scalar = jax.ShapeDtypeStruct((), dtype)
    vmapped = jax.vmap(solve, in_axes=(0, 0, 0, 0, None, None))
    shapes = (points, points, weights, weights, scalar, scalar)
    return jax.jit(vmapped).lower(*shapes).compile()


def mdot_batch(x, y, a, b, epsilon, tol, *, dtype="float64", aim=1.0):
    """mdot-tnt's batched solver, costs scaled to [0, 1]; its exponent is set as in `mdot`."""
    import torch
    from mdot_tnt.batched import _batched_mdot

    torch.set_num_threads(1)
    x, y, a, b = (torch.from_numpy(v).to(getattr(torch, dtype)) for v in (x, y, a, b))

    def run():
        cost = torch.baddbmm(
            (x * x).sum(2)[:, :, None] + (y * y).sum(2)[:, None], x, y.mT, alpha=-2.0
        )
        cost.clamp_(min=0.0)
        scale = float(cost.max())
        cost /= scale
        gamma = scale / epsilon
        entropies = torch.stack([-(w * w.log()).sum(1) for w in (a, b)]).amin(0)
        p = math.log(float(entropies.mean()) / (aim * tol)) / math.log(gamma)
        u, v, reached, n_products, _ = _batched_mdot(a, b, cost, gamma, p=p)

        def read():
            log_u, log_v = u.double().numpy(), v.double().numpy()
            if float((reached - gamma).abs().max()) > 1e-6 * gamma:  # it gave up on a problem
                log_u = log_v = np.full_like(log_v, np.nan)
            return log_u, log_v, {"n_iter": int(n_products)}

        return read

    return run


BATCH_ADAPTERS = {
    "skot-batch": skot_batch,
    "skot-loop": skot_loop,
    "pot-loop": pot_loop,
    "pot-batch": pot_batch,
    "ott-batch": ott_batch,
    "mdot-batch": mdot_batch,
}


def batch_candidates(library: str, tol: float, n_solved: int) -> list[dict]:
    """Return the settings of a library which compete for its time in a cell."""
    dtypes = ["float32", "float64"] if tol > 1e-4 else ["float64"]
    variants: list[dict]
    if library == "pot-loop":
        variants = [{"method": "sinkhorn"}, {"method": "sinkhorn_log"}]
        variants = [{**variant, "n_solved": n_solved} for variant in variants]
    elif library == "pot-batch":
        variants = [
            {"method": method, "backend": backend}
            for method in ("log_sinkhorn", "sinkhorn")
            for backend in ("torch", "numpy")
        ]
    elif library == "ott-batch":
        variants = [{"lse_mode": False}, {}, {"lse_mode": False, "chunk": 16}, {"chunk": 16}]
        variants += [{"momentum": 1.5, "chunk": 16}, {"momentum": 1.5, "lse_mode": False}]
        variants += [{"inner_iterations": 4, "lse_mode": False}]
        variants += [{"momentum_start": 20, "chunk": 16}]
    else:
        variants = [{}]
    return [{**variant, "dtype": dtype} for variant in variants for dtype in dtypes]
