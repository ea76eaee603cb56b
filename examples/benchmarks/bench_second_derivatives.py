"""What a Hessian-vector product of the dual value costs, and how accurate it is.

Run ``python examples/benchmarks/bench_second_derivatives.py``. Times and peaks of memory are those
of 2000 points in 16 dimensions, each in a new process; errors are relative, against central
differences of the exact gradient with 30 points.
"""

import multiprocessing
import resource
import statistics
import sys
import time

import torch
from _harness import RESULTS, Store, argument_parser, pin, report
from _problems import Problem
from _second_derivatives_render import times_the_value
from render import render_all

from skot.costs import PrecomputedCost, SquaredEuclidean
from skot.solvers import sinkhorn

#: Relative epsilon and tolerance of the large problem, and the repetitions.
LARGE, REPEATS = Problem(2000, 16, 0.05, 1e-4), 9
#: What is measured, and whether nothing of the size of the plan may be held.
CALLS = ("value", "gradient", "product", "streamed value", "streamed product")
#: Relative epsilons, and tolerance, of the comparison with differences.
EPSILONS, TOL, STEP = (1.0, 0.1, 0.01), 1e-12, 1e-5


def clouds(problem: Problem) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return the points of a problem and its epsilon."""
    x, y, epsilon, _ = problem.arguments()
    return torch.from_numpy(x), torch.from_numpy(y), epsilon


def large_times(what: str, answers: multiprocessing.SimpleQueue, core: int | None) -> None:
    """Time one kind of call on the large problem, and its memory over what was held before."""
    pin(core)
    torch.set_num_threads(1)
    x, y, epsilon = clouds(LARGE)
    direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))

    storage = "stream" if what.startswith("streamed") else "auto"

    def value(points):
        options = {"epsilon": epsilon, "tol": LARGE.tol, "storage": storage}
        return sinkhorn(points, y, **options).dual_value

    def gradient():
        points = x.clone().requires_grad_(True)
        return points, torch.autograd.grad(value(points), points, create_graph=what != "gradient")[
            0
        ]

    def call():
        """Return the processor time of what is asked for."""
        start = time.process_time()
        if what.endswith("value"):
            value(x)
        elif what == "gradient":
            gradient()
        else:
            points, slope = gradient()
            start = time.process_time()
            torch.autograd.grad(slope, points, direction)
        return time.process_time() - start

    small = sinkhorn(x[:50], y[:50], epsilon=epsilon).dual_value  # imports and pools are there
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    times = [call() for _ in range(REPEATS)]
    answers.put((statistics.median(times), peak, float(small)))


def errors(epsilon: float) -> dict[str, float]:
    """Return the relative errors of products with the Hessian in points, weights and costs."""
    x, y, absolute = clouds(Problem(30, 2, epsilon, TOL))
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(30, dtype=x.dtype, generator=generator) + 0.5
    matrix = SquaredEuclidean().pairwise(x, y)

    def of_points(points):
        return sinkhorn(points, y, epsilon=absolute, tol=TOL, max_iter=20_000).dual_value

    def of_weights(a):
        return sinkhorn(x, y, a, epsilon=absolute, tol=TOL, max_iter=20_000).dual_value

    def of_costs(costs):
        cost = PrecomputedCost(costs)
        return sinkhorn(cost=cost, epsilon=absolute, tol=TOL, max_iter=20_000).dual_value

    def gradient(function, at):
        at = at.detach().requires_grad_(True)
        return torch.autograd.grad(function(at), at)[0]

    found = {}
    cases = {
        "points": (of_points, x),
        "weights": (of_weights, weights),
        "costs": (of_costs, matrix),
    }
    for name, (function, at) in cases.items():
        direction = torch.randn(at.shape, dtype=at.dtype, generator=generator)
        step = STEP * float(at.abs().mean())
        moved = [gradient(function, at + sign * step * direction) for sign in (1, -1)]
        expected = (moved[0] - moved[1]) / (2 * step)
        leaf = at.clone().requires_grad_(True)
        slope = torch.autograd.grad(function(leaf), leaf, create_graph=True)[0]
        product = torch.autograd.grad(slope, leaf, direction)[0]
        found[name] = float((product - expected).norm() / expected.norm())
    return found


def main() -> None:
    """Measure both."""
    args = argument_parser(__doc__, "second_derivatives.json").parse_args()
    store = Store(args.output, fresh=args.fresh)
    store.begin()
    context = multiprocessing.get_context("spawn")
    for what in CALLS:
        answers = context.SimpleQueue()
        process = context.Process(target=large_times, args=(what, answers, args.core))
        process.start()
        seconds, peak, _ = answers.get()
        process.join()
        store.put(what, seconds=seconds, peak=peak, n=LARGE.n, d=LARGE.d)
    for what in CALLS:
        cell = store.cells[what]
        ratio = times_the_value(store.cells, what)
        text = f"{what:16s} {1e3 * cell['seconds']:8.1f} ms, {ratio:5.2f} times the value"
        report(f"{text}; {cell['peak']:6.1f} MB")
    for epsilon in EPSILONS:
        store.put(f"epsilon={epsilon}", epsilon=epsilon, **errors(epsilon))
        cell = store.cells[f"epsilon={epsilon}"]
        parts = (f"{name} {cell[name]:.1e}" for name in ("points", "weights", "costs"))
        report(f"epsilon {epsilon:4}: relative error " + ", ".join(parts))
    if args.output.parent == RESULTS:
        render_all()


if __name__ == "__main__":
    sys.exit(main())
