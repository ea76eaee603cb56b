"""Training of the models of bench_meta_ot.py, with the gain against the time it took."""

import time
from pathlib import Path

import numpy as np
from _harness import CHECKPOINTS, Store, report
from _meta_ot_measures import PLAIN, TOL, part, solve, start_from
from _meta_ot_problems import MetaProblem

from skot import MetaOTRegressor
from skot.solvers import SemiDual
from skot.transport._meta_ot.aggregated import AggregatedTargets, solve_aggregated

#: Looks at the validation problems, evenly over the run, and steps between two draws of problems.
N_LOOKS, CHUNK_STEPS = 12, 20


def trained(problem: MetaProblem, store: Store) -> MetaOTRegressor:
    """Return the model, from its file or trained now."""
    path = model_path(problem)
    if path.exists():
        return problem.regressor().load(path)
    regressor, rng = problem.regressor(), np.random.RandomState(1)
    validation = problem.draw(min(problem.n_test, 200), np.random.RandomState(2), "validation")
    zeros = solve(problem, validation, start_from("zeros", problem, validation), **PLAIN)["passes"]
    seconds, curve = 0.0, []
    for n_steps in range(CHUNK_STEPS, problem.n_steps + 1, CHUNK_STEPS):
        rows = problem.draw(CHUNK_STEPS * problem.batch_size, rng)
        start = time.process_time()
        regressor.partial_fit(rows)
        seconds += time.process_time() - start
        if n_steps % (problem.n_steps // N_LOOKS) < CHUNK_STEPS:
            g = start_from("Meta OT", problem, validation, regressor)
            passes = solve(problem, validation, g, **PLAIN)["passes"]
            loss = float(np.mean(regressor.loss_curve_[-200:]))
            point = {
                "steps": n_steps,
                "seconds": seconds,
                "loss": loss,
                "gain": float(zeros.mean() / passes.mean()),
                "median_gain": float(np.median(zeros) / np.median(passes)),
            }
            curve.append(point)
            report(f"{problem.name}: {point}")
            store.put(f"{problem.name} curve", curve=curve, tol=TOL, settings=repr(regressor))
    path.parent.mkdir(exist_ok=True)
    regressor.save(path)
    store_share_of_network(problem, regressor, store)
    return regressor


def store_share_of_network(problem: MetaProblem, regressor: MetaOTRegressor, store: Store) -> None:
    """Store what is known without the network, where that is the solution of a small problem."""
    aggregated = regressor._coordinates.aggregated
    if aggregated is None:
        return
    rows = problem.draw(problem.n_test, np.random.RandomState(5), "test")
    a, b = part(problem, rows)
    start = time.process_time()
    small = solve_aggregated(AggregatedTargets(*aggregated), a, b, problem.epsilon)
    g = SemiDual(problem.cost, problem.epsilon).step(small.f, a, b).target_potential
    row = {
        "groups": aggregated[0].shape[1],
        "targets": b.shape[1],
        "small_passes": float(small.passes.median()),
        "seconds": (time.process_time() - start) / len(rows),
    }
    for name, options in (("plain", PLAIN), ("accelerated", {})):
        row[name] = float(np.median(solve(problem, rows, g, **options)["passes"]))
    store.put(f"{problem.name} without network", **row)
    report(f"{problem.name} without network: {row}")


def model_path(problem: MetaProblem) -> Path:
    """Where the trained model is kept, outside of version control."""
    return CHECKPOINTS / f"meta_ot_{problem.name}.pt"
