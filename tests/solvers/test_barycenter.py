"""Barycentres of histograms: closed forms of Gaussians, fixed points, optimality, bad input."""

from functools import partial

import numpy as np
import pytest
import torch

from skot.costs import GridCost, PrecomputedCost, SquaredEuclidean, SupportCost
from skot.metrics import probability_transport
from skot.solvers import barycenter
from skot.solvers._entropic.barycenter import _iterate, _read_kernel
from skot.solvers._entropic.grid_kernel import GridKernel

solve = partial(barycenter, tol=1e-6)
#: The width of the box, squared: costs of a grid are those of the unit interval.
SQUARED_WIDTH = 324.0
LINE = torch.linspace(-9.0, 9.0, 361, dtype=torch.float64)
MEANS, VARIANCES = (-1.0, 0.0, 1.5), (0.25, 1.0, 2.25)
WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
#: Roots of the fixed-point equations of the variances; epsilon, debiased.
EXPECTED = {
    (0.2, False): 1.202821,
    (1.0, False): 1.608146,
    (2.0, False): 2.117777,
    (0.2, True): 1.102850,
    (1.0, True): 1.110457,
    (2.0, True): 1.127759,
}


def normal_histograms(means=MEANS, variances=VARIANCES, line=LINE):
    means, variances = (torch.tensor(v, dtype=torch.float64)[:, None] for v in (means, variances))
    return torch.exp(-0.5 * (line - means) ** 2 / variances)


def line_cost(kind, epsilon):
    """Return a cost on the line, and epsilon in its units."""
    if kind == "grid":
        return GridCost((len(LINE),)), epsilon / SQUARED_WIDTH
    if kind == "points":
        return SupportCost(LINE[:, None], LINE[:, None]), epsilon
    return PrecomputedCost((LINE[:, None] - LINE) ** 2), epsilon


def moments(result, line=LINE):
    mean = result.barycenter @ line
    return float(mean), float(result.barycenter @ (line - mean) ** 2)


@pytest.mark.parametrize("kind", ["grid", "points", "matrix"])
@pytest.mark.parametrize("epsilon, debiased", EXPECTED)
def test_normal_distributions_in_closed_form(kind, epsilon, debiased):
    cost, scaled = line_cost(kind, epsilon)
    result = solve(normal_histograms(), cost, epsilon=scaled, weights=WEIGHTS, debiased=debiased)
    assert result.converged
    mean, variance = moments(result)
    assert mean == pytest.approx(0.25, abs=2e-6)
    assert variance == pytest.approx(EXPECTED[epsilon, debiased], abs=5e-6)


@pytest.mark.parametrize("debiased", [False, True])
def test_the_plain_iteration_has_the_same_limit(debiased):
    cost, epsilon = line_cost("grid", 1.0)
    call = {"epsilon": epsilon, "weights": WEIGHTS, "debiased": debiased}
    accelerated = solve(normal_histograms(), cost, **call)
    plain = solve(normal_histograms(), cost, anderson_memory=0, **call)
    assert plain.converged
    assert moments(plain) == pytest.approx(moments(accelerated), abs=1e-5)
    assert accelerated.n_iter < 0.7 * plain.n_iter


@pytest.mark.parametrize("debiased, passes", [(False, 120), (True, 160)])
def test_small_epsilon_does_not_underflow(debiased, passes):
    # The largest cost is 10,800 epsilon: most entries of the kernel are no numbers.
    line = torch.linspace(-9.0, 9.0, 121, dtype=torch.float64)
    result = solve(
        normal_histograms(line=line),
        GridCost((121,)),
        epsilon=0.03 / SQUARED_WIDTH,
        weights=WEIGHTS,
        debiased=debiased,
    )
    assert result.converged
    assert result.n_iter <= passes
    assert torch.isfinite(result.f).all()
    assert torch.isfinite(result.g).all()
    # At this epsilon the blur is 0.015, but the grid is coarse.
    expected = 1.1025 + (0.015 if not debiased else 0.0)
    assert moments(result, line) == pytest.approx((0.25, expected), abs=1e-4)


@pytest.mark.parametrize(
    "debiased, expected",
    [(True, [0.613560, 0.075431, 0.936106]), (False, [1.116117, 0.073084, 1.426091])],
)
def test_normal_distributions_in_the_plane(debiased, expected):
    axis = torch.linspace(-6.0, 6.0, 73, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    covariances = torch.tensor(
        [[[1.0, 0.6], [0.6, 0.7]], [[0.5, -0.3], [-0.3, 1.2]]], dtype=torch.float64
    )
    precisions = torch.linalg.inv(covariances)
    histograms = torch.exp(-0.5 * torch.einsum("ni,kij,nj->kn", points, precisions, points))
    result = solve(
        histograms, GridCost((73, 73)), epsilon=1 / 144, weights=[0.4, 0.6], debiased=debiased
    )
    assert result.converged
    covariance = points.T @ (result.barycenter[:, None] * points)
    found = [covariance[0, 0], covariance[0, 1], covariance[1, 1]]
    assert [float(v) for v in found] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 2.0])
def test_copies_of_one_measure(epsilon):
    cost, scaled = line_cost("grid", epsilon)
    histograms = normal_histograms((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    call = {"epsilon": scaled, "weights": WEIGHTS}
    debiased = solve(histograms, cost, **call)
    assert moments(debiased) == pytest.approx((0.5, 1.0), abs=5e-6)
    blurred = solve(histograms, cost, debiased=False, **call)
    assert moments(blurred) == pytest.approx((0.5, 1.0 + epsilon / 2), abs=5e-6)
    once = solve(histograms, cost, debiased=False, max_iter=1, **call)
    assert (once.barycenter - blurred.barycenter).abs().sum() < 1e-4


def test_equal_covariances_give_the_barycentre_without_regularisation():
    cost, epsilon = line_cost("grid", 2.0)
    histograms = normal_histograms(MEANS, (0.8, 0.8, 0.8))
    result = solve(histograms, cost, epsilon=epsilon, weights=WEIGHTS)
    assert moments(result) == pytest.approx((0.25, 0.8), abs=1e-5)


@pytest.mark.parametrize("weights", [(0.8, 0.1, 0.1), (0.5, 0.0, 0.5), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("debiased", [False, True])
def test_the_mean_follows_the_weights(weights, debiased):
    cost, epsilon = line_cost("grid", 1.0)
    result = solve(normal_histograms(), cost, epsilon=epsilon, weights=weights, debiased=debiased)
    assert result.converged
    expected = sum(w * m for w, m in zip(weights, MEANS, strict=True))
    # The box cuts what is at its end.
    assert moments(result)[0] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("anderson_memory", [0, 10])
@pytest.mark.parametrize("n_passes", [1, 5, 30])
def test_scalings_of_the_blurred_barycentre_have_product_one(anderson_memory, n_passes):
    # What breaks this, as a start in the middle of a pass would, goes to another limit.
    cost, epsilon = line_cost("matrix", 1.0)
    result = solve(
        normal_histograms(),
        cost,
        epsilon=epsilon,
        weights=WEIGHTS,
        debiased=False,
        max_iter=n_passes,
        tol=1e-13,
        anderson_memory=anderson_memory,
    )
    scalings = result.g / epsilon + result.barycenter.log()
    assert (WEIGHTS @ scalings).abs().max() < 1e-12


@pytest.mark.parametrize("debiased", [False, True])
def test_the_iteration_is_that_of_the_papers(debiased):
    """Scalings instead of logarithms, and d one pass later as in Janati et al."""
    rng = np.random.default_rng(0)
    a = torch.from_numpy(rng.dirichlet(np.ones(12), size=3))
    x = torch.from_numpy(rng.normal(size=(12, 2)))
    cost, epsilon = SupportCost(x, x), 1.0
    kernel = torch.exp(-cost.matrix() / epsilon)
    v, d = torch.ones_like(a), torch.ones(12, dtype=torch.float64)
    for _ in range(4000):
        u = a / (v @ kernel)
        columns = u @ kernel
        b = d * (columns ** WEIGHTS[:, None]).prod(0)
        v = b / columns
        if debiased:
            d = torch.sqrt(d * b / (kernel @ d))
    result = solve(a, cost, epsilon=epsilon, weights=WEIGHTS, debiased=debiased, tol=1e-9)
    assert result.converged
    torch.testing.assert_close(result.barycenter, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["grid", "matrix"])
def test_no_other_measure_has_a_lower_mean_divergence(kind):
    generator = torch.Generator().manual_seed(0)
    histograms = torch.rand(3, 15, generator=generator, dtype=torch.float64)
    grid, epsilon = GridCost((3, 5)), 0.05
    cost = grid if kind == "grid" else PrecomputedCost(grid.matrix())
    result = solve(histograms, cost, epsilon=epsilon, weights=WEIGHTS, tol=1e-9)

    def objective(b):
        transport = probability_transport(
            histograms, b, cost, epsilon=epsilon, debiased=True, tol=1e-10, max_iter=20_000
        )
        return float(WEIGHTS @ transport.value)

    least = objective(result.barycenter)
    for _ in range(10):
        noise = torch.randn(15, generator=generator, dtype=torch.float64)
        assert objective(result.barycenter * torch.exp(0.05 * noise)) > least + 1e-7


@pytest.mark.parametrize("debiased", [False, True])
def test_potentials_are_those_of_the_plans(debiased):
    generator = torch.Generator().manual_seed(1)
    histograms = torch.rand(3, 20, generator=generator, dtype=torch.float64)
    histograms[:, 4] = histograms[0, 7:] = 0.0
    cost, epsilon = GridCost((4, 5)), 0.05
    result = solve(histograms, cost, epsilon=epsilon, debiased=debiased, tol=1e-8)
    a, b = histograms / histograms.sum(1, keepdim=True), result.barycenter
    exponents = result.f[:, :, None] + result.g[:, None, :] - cost.matrix()
    plans = a[:, :, None] * b * torch.exp(exponents / epsilon)
    assert (plans.sum(2) - a).abs().sum(1).max() < 1e-7
    assert (plans.sum(1) - b).abs().sum(1).max() < 1e-7
    mean = result.g.mean(0)
    if debiased:
        own = torch.exp((mean[:, None] + mean - cost.matrix()) / epsilon) * b
        torch.testing.assert_close(own.sum(1)[b > 1e-6], torch.ones(int((b > 1e-6).sum())).double())
    else:
        torch.testing.assert_close(mean, -epsilon * b.log(), rtol=0, atol=1e-12)


# The debiased barycentre is a deconvolution: marginals hold its details, but weakly.
@pytest.mark.parametrize("debiased, tol, atol", [(False, 1e-9, 1e-8), (True, 1e-7, 2e-5)])
def test_storages_agree(debiased, tol, atol):
    histograms = normal_histograms()[:, ::6]
    grid = GridCost((histograms.shape[1],))
    points = grid.points()
    for epsilon in (0.1, 0.004, 0.0015):
        found = [
            solve(histograms, cost, epsilon=epsilon, debiased=debiased, tol=tol).barycenter
            for cost in (grid, SupportCost(points, points), grid.matrix(), grid.matrix().numpy())
        ]
        for other in found[1:]:
            torch.testing.assert_close(other, found[0], rtol=0, atol=atol)


def test_sums_over_a_grid_at_any_range():
    generator = torch.Generator().manual_seed(2)
    values = 400.0 * torch.randn(2, 20, generator=generator, dtype=torch.float64)
    values[0, 5:] = -torch.inf
    cost = GridCost((4, 5))
    for epsilon in (1.0, 1 / 199, 1 / 599, 1 / 700):
        kernel = GridKernel(cost, values, values)
        kernel.absorb(values, epsilon)
        expected = torch.logsumexp(values[:, None, :] - cost.matrix() / epsilon, 2)
        torch.testing.assert_close(kernel.log_sums(values), expected, rtol=1e-12, atol=1e-11)


def test_points_of_mass_meet_in_the_middle():
    ends = np.eye(9)[[0, 8]]
    sharp = solve(ends, GridCost((9,)), epsilon=0.01)
    blurred = solve(ends, GridCost((9,)), epsilon=0.01, debiased=False)
    assert sharp.converged
    assert sharp.barycenter[4] > 1.0 - 1e-6
    assert blurred.converged
    assert blurred.barycenter[4] < 0.71


def test_masses_are_normalised_and_orders_do_not_matter():
    histograms, cost = normal_histograms()[:, ::8], GridCost((46,))
    result = solve(histograms, cost, epsilon=0.01, weights=[2.0, 5.0, 3.0])
    scaled = torch.tensor([[1e-3], [1.0], [1e5]]).double() * histograms
    other = solve(scaled.flip(0).numpy(), cost, epsilon=0.01, weights=WEIGHTS.flip(0).numpy())
    torch.testing.assert_close(other.barycenter, result.barycenter, rtol=0, atol=1e-9)
    assert result.barycenter.dtype == torch.float64
    assert float(result.barycenter.sum()) == pytest.approx(1.0, abs=1e-14)


def test_a_constant_in_the_cost_changes_no_barycentre():
    histograms, matrix = normal_histograms()[:, ::8], GridCost((46,)).matrix()
    result = solve(histograms, matrix, epsilon=0.05)
    other = solve(histograms, matrix - 3.0, epsilon=0.05)
    torch.testing.assert_close(other.barycenter, result.barycenter, rtol=0, atol=1e-7)
    torch.testing.assert_close(other.f, result.f - 3.0, rtol=0, atol=1e-4)


def test_too_few_passes_do_not_raise():
    result = solve(normal_histograms(), GridCost((361,)), epsilon=1e-3, max_iter=2)
    assert not result.converged
    assert result.n_iter == 2 == len(result.errors)
    assert result.marginal_error == result.errors[-1] > 1e-6


def test_what_is_not_a_number_has_not_converged():
    histograms = normal_histograms()[:, ::8] / normal_histograms()[:, ::8].sum(1, keepdim=True)
    kernel = _read_kernel(GridCost((46,)), histograms, 0.01, debiased=True)
    broken = kernel._replace(columns=lambda h: kernel.columns(h) * torch.nan)
    solved = _iterate(broken, histograms, WEIGHTS, True, 12, 1e-6, 10)
    assert len(solved.errors) == 12
    assert not solved.errors[-1] <= 1e-6


@pytest.mark.parametrize(
    "change, message",
    [
        ({"histograms": [[0.5, -0.5, 1.0]] * 2}, "Negative values"),
        ({"histograms": [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]}, "at least one non-zero"),
        ({"histograms": [[0.5, float("nan"), 0.5]]}, "NaN"),
        ({"histograms": [0.5, 0.5, 0.0]}, "Expected 2D array"),
        ({"histograms": torch.ones(2, 3, requires_grad=True)}, "no derivatives"),
        ({"weights": [1.0, 1.0, 1.0]}, r"weights must have shape \(2,\)"),
        ({"weights": [1.0, -1.0]}, "Negative values"),
        ({"weights": [0.0, 0.0]}, "non-zero"),
        ({"weights": [1.0, float("inf")]}, "infinity"),
        ({"epsilon": 0.0}, "epsilon must be a positive number"),
        ({"epsilon": float("nan")}, "epsilon must be a positive number"),
        ({"tol": -1.0}, "tol must be a positive number"),
        ({"max_iter": 0}, "max_iter must be an integer"),
        ({"anderson_memory": -1}, "anderson_memory must be an integer"),
        ({"cost": GridCost((4,))}, "3 bins, but the cost"),
        ({"cost": np.ones((3, 2))}, "3 bins, but the cost"),
        ({"cost": PrecomputedCost(np.ones((2, 3, 3)))}, "several problems"),
        ({"cost": np.full((3, 3), np.nan)}, "NaN"),
        ({"cost": torch.ones(3, 3, requires_grad=True)}, "no derivatives"),
        ({"cost": [[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [9.0, 1.0, 0.0]]}, "symmetric"),
        ({"cost": SupportCost([[0.0], [1.0], [2.0]], [[0.0], [1.0], [3.0]])}, "one support"),
        ({"cost": 1e300 * (1.0 - np.eye(3)), "epsilon": 1e-10}, "too large"),
        ({"cost": GridCost((3,)), "epsilon": 1e-310}, "too large"),
        ({"cost": "sqeuclidean"}, "must have a support"),
        ({"cost": SquaredEuclidean()}, "must have a support"),
    ],
)
def test_bad_input(change, message):
    call = {"histograms": [[0.5, 0.5, 0.0], [0.0, 0.1, 0.9]], "cost": GridCost((3,))}
    call = {**call, "epsilon": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        solve(call.pop("histograms"), call.pop("cost"), **call)


def test_a_cost_that_is_not_symmetric_has_a_blurred_barycentre():
    cost = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [9.0, 1.0, 0.0]]).double()
    a = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.1, 0.9]]).double()
    result = solve(a, cost, epsilon=0.5, debiased=False, tol=1e-10)
    plans = a[:, :, None] * result.barycenter
    plans = plans * torch.exp((result.f[:, :, None] + result.g[:, None, :] - cost) / 0.5)
    torch.testing.assert_close(plans.sum(2), a)
    torch.testing.assert_close(plans.sum(1), result.barycenter.expand(2, 3))


def test_agreement_with_pot():
    ot = pytest.importorskip("ot")
    histograms = normal_histograms()[:, ::6]
    histograms = histograms / histograms.sum(1, keepdim=True)
    matrix = GridCost((histograms.shape[1],)).matrix()
    call = {"M": matrix.numpy(), "reg": 0.01, "numItermax": 20_000, "stopThr": 1e-12}
    # Its iteration without debiasing is right for equal weights only.
    expected = ot.bregman.barycenter(histograms.T.numpy().copy(), **call)
    found = solve(histograms, matrix, epsilon=0.01, debiased=False, tol=1e-9)
    assert np.abs(found.barycenter.numpy() - expected).max() < 1e-7
    expected = ot.bregman.barycenter_debiased(
        histograms.T.numpy().copy(), weights=WEIGHTS.numpy(), **(call | {"stopThr": 1e-9})
    )
    found = solve(histograms, matrix, epsilon=0.01, weights=WEIGHTS, tol=1e-7)
    assert np.abs(found.barycenter.numpy() - expected).max() < 2e-5
