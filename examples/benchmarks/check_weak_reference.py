"""Check the discrete weak transport of _weak_reference.py, and print what it finds.

Run ``python check_weak_reference.py [n_samples ...]`` with POT installed. The first table holds
solutions against closed forms and other solvers, the second those of the sample problems.
"""

import sys
import time

import numpy as np
import ot
from _weak_problems import LINE, PLANAR, draw
from _weak_reference import (
    squared_gaussian,
    squared_laplace,
    squared_power,
    weak_kernel,
    weak_quadratic,
)
from scipy.stats import norm

KERNELS = {
    "|x - y|": squared_power(1.0),
    "|x - y|^1.5": squared_power(1.5),
    "Gaussian": squared_gaussian(1.0),
    "Laplace": squared_laplace(1.0),
}


def show(name: str, found: float, expected: float) -> None:
    """Print a row of the first table."""
    print(f"{name:52} {found:12.6f} {expected:12.6f} {found - expected:10.1e}")


def check_no_variance() -> None:
    """Without a reward for variance, weak transport is transport."""
    x, y = draw("swiss_roll", 200, 0)
    y = y[:150]
    a, b = np.full(200, 1.0 / 200), np.full(150, 1.0 / 150)
    half = 0.5 * squared_power(2.0)(x, y)
    show("gamma 0, quadratic: ot.emd2", weak_quadratic(x, y, 0.0).value, ot.emd2(a, b, half))
    for name, squared_distance in KERNELS.items():
        value = weak_kernel(x, y, 0.0, squared_distance).value
        half = 0.5 * squared_distance(x, y)
        show(f"gamma 0, {name}: ot.emd2", value, ot.emd2(a, b, half))


def check_pot() -> None:
    """For gamma = 1 the quadratic cost is half of POT's."""
    for name in PLANAR:
        x, y = draw(name, 200, 0)
        found = weak_quadratic(x, y, 1.0)
        plan = ot.weak_optimal_transport(x, y, numItermax=3000, stopThr=1e-9, stopThr2=1e-9)
        means = len(x) * plan @ y
        show(f"gamma 1, {name}: POT / 2", found.value, 0.5 * squared_mean(x - means))
        error = squared_mean(means - found.means) / squared_mean(x - found.means)
        show("  E|m - m POT|^2 / E|x - m|^2", error, 0.0)


def check_gaussian(s: float = 1.0, t: float = 2.0) -> None:
    """From N(0, s^2) to N(0, t^2) the conditional mean is linear, for every gamma."""
    quantiles = norm.ppf((np.arange(500) + 0.5) / 500)[:, None]
    quantiles /= quantiles.std()  # it lacks what is in the tails
    for gamma in (0.25, 0.6, 0.75, 0.9, 1.0):
        found = weak_quadratic(s * quantiles, t * quantiles, gamma)
        cost, slope = 0.5 * (t - s) ** 2, t / s
        if gamma >= s / t:
            cost = 0.5 * ((1.0 - gamma) * t**2 + (1.0 - 1.0 / gamma) * s**2)
            slope = 1.0 / gamma
        show(f"N(0, {s:g}) to N(0, {t**2:g}), gamma {gamma:g}: cost", found.value, cost)
        found_slope = np.vdot(s * quantiles, found.means) / np.vdot(s * quantiles, s * quantiles)
        show("  slope of the conditional mean", found_slope, slope)


def check_kernels() -> None:
    """The general solver agrees with the quadratic one, and with a closed form on the line."""
    x, y = draw("eight_gaussians", 200, 0)
    for gamma in (0.5, 1.0):
        found = weak_kernel(x, y, gamma, squared_power(2.0)).value
        expected = weak_quadratic(x, y, gamma).value
        show(f"kernel |x - y|^2, gamma {gamma:g}: quadratic", found, expected)
    # With the distribution functions F of mu and H of a point at x, the cost for gamma = 1 is half
    # the integral of (F - H)^2; at every t, rows with x <= t share P(Y <= t) = t / 2 equally.
    grid = (np.arange(500)[:, None] + 0.5) / 500
    found = weak_kernel(grid, 2.0 * grid, 1.0, squared_power(1.0)).value
    show("|x - y|, uniform on [0, 1] to [0, 2]", found, 5.0 / 48.0)
    for name, squared_distance in KERNELS.items():
        between = squared_distance(y, y)
        gram = -0.5 * (between - between.mean(0) - between.mean(1)[:, None] + between.mean())
        show(f"{name}: most negative eigenvalue", min(np.linalg.eigvalsh(gram)[0], 0.0), 0.0)
        found = weak_kernel(x, y, 0.5, squared_distance)
        laws = len(x) * found.plan
        reward = np.einsum("ij,jk,ik->i", laws, between, laws, optimize=True).mean()
        expected = 0.5 * np.vdot(found.plan, squared_distance(x, y)) - 0.25 * 0.5 * reward
        show(f"{name}: value from the definition", found.value, expected)


def squared_mean(vectors: np.ndarray) -> float:
    """Return the mean squared length of the rows."""
    return float((vectors**2).sum(1).mean())


def show_problem(name: str, cost: str, n_samples: int) -> None:
    """Print a row of the second table."""
    x, y = draw(name, n_samples, 0)
    start = time.perf_counter()
    if cost == "quadratic 1":
        found = weak_quadratic(x, y, 1.0, tol=1e-3)
    else:
        found = weak_kernel(x, y, float(cost.split()[1]), squared_power(1.0))
    seconds = time.perf_counter() - start
    numbers = (found.value, squared_mean(found.means - x), found.variances.mean())
    columns = " ".join(f"{number:12.5f}" for number in numbers)
    relative = found.gap / found.value
    print(f"{name:16} {cost:12} {n_samples:5} {columns} {relative:9.1e} {seconds:6.1f} s")


if __name__ == "__main__":
    print(f"{'':52} {'found':>12} {'expected':>12} {'difference':>10}")
    check_no_variance()
    check_pot()
    check_gaussian()
    check_kernels()
    header = ("value", "E|m - x|^2", "E Var(Y|x)")
    print(f"\n{'problem':16} {'cost':12} {'n':>5} " + " ".join(f"{h:>12}" for h in header), end="")
    print(f" {'gap/value':>9} {'time':>8}")
    for n_samples in map(int, sys.argv[1:] or ["500"]):
        for name in PLANAR:
            show_problem(name, "quadratic 1", n_samples)
        for name in PLANAR + LINE:
            for cost in ("kernel 1", "kernel 0.5"):
                show_problem(name, cost, n_samples)
