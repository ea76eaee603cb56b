"""How each library is called, and which of its settings compete.

An adapter ``adapter(x, y, epsilon, tol, **settings)`` returns a function to be timed, which
takes nothing and returns a reader; the reader gives ``(log_u, log_v, info)`` of the plan
``exp(log_u_i + log_v_j - |x_i - y_j|^2 / epsilon)``. Compiling happens in the adapter, so it is
never timed; building a cost matrix from the points is always timed.
"""

import functools
import math
import time

import numpy as np


def mean_cost(x, y) -> float:
    """Return the mean squared Euclidean cost between the centred clouds."""
    return float(x.var(0).sum() + y.var(0).sum())


def pot(x, y, epsilon, tol, *, method, dtype="float64", aim=1.0):
    """POT with its own cost matrix; it stops on the L2 norm of one marginal.

    ``aim=1`` is certain to reach the L1 error asked, as the L1 norm is at most sqrt(n) times
    the L2 norm; a larger one wastes fewer iterations.
    """
    import ot

    options = {"method": method, "stopThr": aim * tol / math.sqrt(len(y))}
    if method == "sinkhorn_epsilon_scaling":
        options["epsilon0"] = mean_cost(x, y)
    x, y = x.astype(dtype), y.astype(dtype)
    a, b = ot.unif(len(x), type_as=x), ot.unif(len(y), type_as=y)
    warm_up = np.random.default_rng(0).random((50, 2)).astype(dtype)
    ot.sinkhorn(a[:0], b[:0], ot.dist(warm_up, warm_up), 1.0, method=method)

    def run():
        cost = ot.dist(x, y)
        _, log = ot.sinkhorn(a, b, cost, epsilon, numItermax=10**7, log=True, **options)

        def read():
            if "logu" in log:
                log_u, log_v = log["logu"], log["logv"]
            elif "log_u" in log:
                log_u, log_v = log["log_u"], log["log_v"]
            elif "alpha" in log:
                log_u, log_v = log["alpha"] / epsilon, log["beta"] / epsilon
            else:
                with np.errstate(all="ignore"):
                    log_u, log_v = np.log(log["u"]), np.log(log["v"])
            n_iter = log.get("niter", log.get("n_iter"))
            return log_u, log_v, {"n_iter": None if n_iter is None else int(n_iter)}

        return read

    return run


def ott(
    x,
    y,
    epsilon,
    tol,
    *,
    dtype="float64",
    aim=1.0,
    inner_iterations=10,
    momentum=1.0,
    momentum_start=0,
    anderson=0,
    decay=1.0,
    lse_mode=True,
    max_iterations=10**6,
):
    """OTT-JAX compiled beforehand; it stops on the L1 norm of one marginal."""
    import jax

    # The schedule starts at the mean cost; OTT takes the start as a multiple of the target, and
    # as a constant of the compiled code.
    init = round(mean_cost(x, y) / epsilon, 3) if decay < 1.0 else 1.0
    compiled = compile_ott(
        *x.shape,
        dtype,
        inner_iterations,
        momentum,
        momentum_start,
        anderson,
        decay,
        init,
        lse_mode,
        max_iterations,
    )
    x, y = jax.numpy.asarray(x.astype(dtype)), jax.numpy.asarray(y.astype(dtype))
    weights = jax.numpy.full(len(x), 1.0 / len(x), dtype=dtype)
    scalars = np.asarray([epsilon, aim * tol], dtype)

    def run():
        f, g, n_iter = jax.block_until_ready(compiled(x, y, weights, *scalars))

        def read():
            log_u, log_v = np.asarray(f, np.float64), np.asarray(g, np.float64)
            return log_u / epsilon, log_v / epsilon, {"n_iter": int(n_iter)}

        return read

    return run


@functools.cache
def compile_ott(
    n,
    d,
    dtype,
    inner_iterations,
    momentum,
    momentum_start,
    anderson,
    decay,
    init,
    lse_mode,
    max_iterations,
):
    """Compile OTT-JAX for one size and one variant, for any epsilon and threshold."""
    import jax
    from ott.geometry import epsilon_scheduler, geometry, pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import acceleration, sinkhorn

    accelerations = {}
    if anderson:
        accelerations["anderson"] = acceleration.AndersonAcceleration(memory=anderson)
    elif momentum != 1.0 or momentum_start:
        accelerations["momentum"] = acceleration.Momentum(start=momentum_start, value=momentum)

    def solve(x, y, weights, epsilon, threshold):
        solver = sinkhorn.Sinkhorn(
            lse_mode=lse_mode,
            threshold=threshold,
            inner_iterations=inner_iterations,
            max_iterations=max_iterations,
            **accelerations,
        )
        cost = pointcloud.PointCloud(x, y).cost_matrix
        schedule = epsilon_scheduler.Epsilon(epsilon, init=init, decay=decay)
        geom = geometry.Geometry(cost_matrix=cost, epsilon=schedule)
        out = solver(linear_problem.LinearProblem(geom, a=weights, b=weights))
        return out.f, out.g, out.n_iters

    points = jax.ShapeDtypeStruct((n, d), dtype)
    weights = jax.ShapeDtypeStruct((n,), dtype)
    scalar = jax.ShapeDtypeStruct((), dtype)
    return jax.jit(solve).lower(points, points, weights, scalar, scalar).compile()


def mdot(x, y, epsilon, tol, *, dtype="float64", aim=1.0):
    """mdot-tnt with its cost matrix scaled to [0, 1], as its documentation asks.

    Its tolerance is H / gamma^p, with H the entropy of the weights: p is set such that this is
    `aim` times the error asked.
    """
    import torch
    from mdot_tnt.mdot import mdot as solve

    torch.set_num_threads(1)
    x, y = (torch.from_numpy(v).to(getattr(torch, dtype)) for v in (x, y))
    weights = torch.full((len(x),), 1.0 / len(x), dtype=x.dtype)
    entropy = math.log(len(x))

    def run():
        cost = torch.addmm((x * x).sum(1)[:, None] + (y * y).sum(1), x, y.T, alpha=-2.0)
        cost.clamp_(min=0.0)
        scale = float(cost.max())
        cost /= scale
        gamma = scale / epsilon
        p = math.log(entropy / (aim * tol)) / math.log(gamma)
        u, v, reached, n_products, _ = solve(weights, weights, cost, gamma, p=p)

        def read():
            log_u, log_v = u.double().numpy(), v.double().numpy()
            if abs(reached - gamma) > 1e-6 * gamma:  # it gave up at a larger epsilon
                log_u = np.full_like(log_u, np.nan)
            return log_u, log_v, {"n_iter": int(n_products)}

        return read

    return run


def skot(x, y, epsilon, tol, *, storage="auto", sparse=None):
    """This library: points in, potentials out, precision and storage of its own choice.

    `sparse` are the arguments of the sparse plan that is made of them, None for none.
    """
    import torch

    from skot.solvers import sinkhorn

    torch.set_num_threads(1)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    sinkhorn(x[:50], y[:50], epsilon=epsilon, tol=1e-2).plan.tosparse()

    def run():
        result = sinkhorn(x, y, epsilon=epsilon, tol=tol, max_iter=20000, storage=storage)
        start = time.process_time()
        kept = None if sparse is None else result.plan.tosparse(**sparse)
        seconds = time.process_time() - start

        def read():
            f, g = result.f.double().numpy(), result.g.double().numpy()
            info = {"n_iter": int(result.n_iter), "marginal_error": float(result.marginal_error)}
            if kept is not None:
                info |= {"entries": kept.plan.nnz, "lost_mass": kept.lost_mass}
                info |= {"mass": float(kept.plan.sum()), "sparse_seconds": seconds}
            return f / epsilon - math.log(len(x)), g / epsilon - math.log(len(y)), info

        return read

    return run


def skot_arrays(x, y, epsilon, tol):
    """This library as a caller with two arrays meets it: potentials and dual value, defaults."""
    import torch

    from skot.solvers import sinkhorn

    torch.set_num_threads(1)
    sinkhorn(x[:20], y[:20], epsilon=epsilon, tol=1e-2)

    def run():
        result = sinkhorn(x, y, epsilon=epsilon, tol=tol)
        f, g, value = result.f, result.g, float(result.dual_value)

        def read():
            info = {"n_iter": int(result.n_iter), "marginal_error": float(result.marginal_error)}
            log_u, log_v = (v.double().numpy() / epsilon - math.log(len(v)) for v in (f, g))
            return log_u, log_v, {**info, "dual_value": value}

        return read

    return run


ADAPTERS = {"pot": pot, "ott": ott, "mdot": mdot, "skot": skot, "skot-arrays": skot_arrays}


def candidates(library: str, epsilon: float, tol: float) -> list[dict]:
    """Return the settings of a library which compete for its time in a cell.

    Each peer gets the best of its variants and of both precisions where both can reach the
    tolerance. skot has one call and no settings.
    """
    loose = tol > 1e-4
    dtypes = ["float32", "float64"] if loose else ["float64"]
    if library == "pot":
        methods = ["sinkhorn", "sinkhorn_stabilized", "sinkhorn_epsilon_scaling", "sinkhorn_log"]
        variants = [{"method": method, "dtype": "float64"} for method in methods]
        return [{"method": "sinkhorn", "dtype": "float32"}, *variants] if loose else variants
    if library == "ott":
        adaptive = {"momentum_start": 20}
        annealed = [
            {"decay": 0.9, "momentum_start": 80},
            {"decay": 0.8, "momentum_start": 40},
        ]
        if epsilon >= 0.05:
            variants = [{"inner_iterations": 4}, adaptive, {"momentum": 1.5}]
        elif epsilon >= 0.005:
            variants = [adaptive, {"momentum": 1.5}, {"anderson": 5}, *annealed]
        else:
            variants = [annealed[0], annealed[1], adaptive]
        return [{**variant, "dtype": dtypes[0]} for variant in variants]
    if library == "mdot":
        return [{"dtype": dtype} for dtype in dtypes]
    return [{}]


def small_candidates(library: str, epsilon: float, tol: float) -> list[dict]:
    """Return the settings which compete where overheads matter: more of them, as they are cheap."""
    variants = candidates(library, epsilon, tol)
    if library == "pot":
        return [*variants, {"method": "greenkhorn", "dtype": "float64"}]
    if library == "ott":
        dtypes = ["float32", "float64"] if tol > 1e-4 else ["float64"]
        named = [{k: v for k, v in variant.items() if k != "dtype"} for variant in variants]
        if epsilon >= 0.005:
            named += [{}, {"lse_mode": False}, {"lse_mode": False, "inner_iterations": 4}]
            named += [{"lse_mode": False, "momentum": 1.5}]
        named = [dict(pairs) for pairs in dict.fromkeys(tuple(v.items()) for v in named)]
        # Its buffer of errors grows with the bound; more iterations than this never compete.
        bound = {"max_iterations": 10**4}
        return [{**variant, **bound, "dtype": dtype} for variant in named for dtype in dtypes]
    return variants
