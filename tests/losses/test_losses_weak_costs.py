"""Weak costs: exact expectations over small measures, closed forms, claims of invariance."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skot.costs import Cosine, Cost, Euclidean, PNorm, SquaredEuclidean
from skot.losses import (
    DistanceKernel,
    GaussianKernel,
    LaplacianKernel,
    StrongCost,
    WeakCost,
    WeakKernel,
    WeakQuadratic,
)
from skot.networks import ICNN, MLPPotential, ResNetPotential
from skot.utils._sklearn import InvalidParameterError

KERNELS = [
    DistanceKernel(),
    DistanceKernel(power=0.5),
    DistanceKernel(power=1.5),
    GaussianKernel(bandwidth=1.3),
    LaplacianKernel(bandwidth=0.7),
]
WEAK_COSTS = [
    WeakQuadratic(gamma=0.0),
    WeakQuadratic(gamma=0.6),
    WeakQuadratic(gamma=1.5),
    *(WeakKernel(gamma=0.8, kernel=kernel) for kernel in KERNELS),
    WeakKernel(gamma=0.0),
]


class TripledSquare(Cost):
    """Another multiple of the squared distance, as a user may write one."""

    is_quadratic = True

    def pairwise(self, x, y):
        return 3.0 * (x[:, None] - y[None]).square().sum(-1)


class Uphill(Cost):
    """What is not symmetric: going up costs twice as much as going down."""

    translation_invariant = True

    def pairwise(self, x, y):
        rise = (y[None] - x[:, None]).sum(-1)
        return 2.0 * rise.clamp_min(0.0) - rise.clamp_max(0.0)


STRONG_COSTS = [
    StrongCost(SquaredEuclidean()),
    StrongCost(Euclidean()),
    StrongCost(PNorm(p=1.5, power=1.7)),
    StrongCost(Cosine()),
    StrongCost(TripledSquare()),
    StrongCost(Uphill()),
]
EVERY_COST = [*WEAK_COSTS, *STRONG_COSTS]


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def expectation(cost, x, atoms, n_samples):
    """Mean of the estimate over all samples of a measure of equal atoms: no chance involved."""
    chosen = list(itertools.product(range(len(atoms)), repeat=n_samples))
    samples = atoms[torch.tensor(chosen)]
    return float(cost.evaluate(x.expand(len(samples), -1), samples).mean())


def feature_distance(kernel, distance):
    if isinstance(kernel, DistanceKernel):
        return distance**kernel.power
    ratio = distance / kernel.bandwidth
    if isinstance(kernel, GaussianKernel):
        return 2.0 - 2.0 * np.exp(-0.5 * ratio**2)
    return 2.0 - 2.0 * np.exp(-ratio)


def population_value(cost, x, atoms):
    """The definition, written out for a measure of equal atoms."""
    x, atoms = x.numpy(), atoms.numpy()
    to_atoms = np.linalg.norm(atoms - x, axis=1)
    if isinstance(cost, WeakQuadratic):
        variance = atoms.var(axis=0).sum()
        return 0.5 * np.square(to_atoms).mean() - 0.5 * cost.gamma * variance
    kernel = cost.kernel or DistanceKernel()
    between = np.linalg.norm(atoms[:, None] - atoms, axis=2)
    spread = feature_distance(kernel, between).mean()
    return 0.5 * feature_distance(kernel, to_atoms).mean() - 0.25 * cost.gamma * spread


# --- values ----------------------------------------------------------------------------


@pytest.mark.parametrize("cost", WEAK_COSTS, ids=repr)
@pytest.mark.parametrize("n_samples", [2, 3])
def test_estimates_are_unbiased(cost, n_samples):
    x, atoms = normal(2), normal(4, 2, seed=1)
    expected = population_value(cost, x, atoms)
    assert expectation(cost, x, atoms, n_samples) == pytest.approx(expected, rel=1e-12)
    if cost.gamma > 0:
        # What an estimate would miss that divides by the number of samples.
        strong = clone(cost).set_params(gamma=0.0)
        assert abs(population_value(strong, x, atoms) - expected) / n_samples > 0.01


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_weak_quadratic_is_what_its_formula_says(gamma):
    """gamma/2 |m|^2 - <x, m> + |x|^2 / 2 + (1 - gamma)/2 E|y|^2."""
    x, atoms = normal(3), normal(5, 3, seed=2) + 1.0
    mean = atoms.mean(dim=0)
    expected = 0.5 * gamma * mean @ mean - x @ mean + 0.5 * x @ x
    expected = expected + 0.5 * (1.0 - gamma) * atoms.square().sum(dim=1).mean()
    got = expectation(WeakQuadratic(gamma=gamma), x, atoms, 2)
    assert got == pytest.approx(float(expected), rel=1e-12)


def test_weak_quadratic_of_a_gaussian():
    x, mean = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 1.0])
    spread = torch.tensor([1.5, 0.3])
    samples = mean + spread * normal(100_000, 4, 2)
    values = WeakQuadratic(gamma=0.75).evaluate(x.double().expand(100_000, -1), samples)
    variance = float(spread.square().sum())
    expected = 0.5 * float((x - mean).square().sum()) + 0.5 * (1.0 - 0.75) * variance
    standard_error = float(values.std()) / math.sqrt(len(values))
    assert abs(float(values.mean()) - expected) < 4.0 * standard_error
    assert standard_error < 0.01 * expected


def folded_normal_mean(mean, sd):
    density = sd * math.sqrt(2.0 / math.pi) * math.exp(-0.5 * (mean / sd) ** 2)
    return density + mean * math.erf(mean / (sd * math.sqrt(2.0)))


@pytest.mark.parametrize("kernel", [DistanceKernel(), GaussianKernel(bandwidth=0.8)], ids=repr)
def test_weak_kernel_of_a_gaussian(kernel):
    """E|x - y| of a folded normal; Gaussian kernels of Gaussians are Gaussian integrals."""
    x, mean, sd, gamma = 0.4, 1.2, 0.7, 0.9
    if isinstance(kernel, DistanceKernel):
        away, spread = folded_normal_mean(mean - x, sd), 2.0 * sd / math.sqrt(math.pi)
    else:
        h2 = kernel.bandwidth**2
        near = math.sqrt(h2 / (h2 + sd**2)) * math.exp(-0.5 * (x - mean) ** 2 / (h2 + sd**2))
        away, spread = 2.0 - 2.0 * near, 2.0 - 2.0 * math.sqrt(h2 / (h2 + 2.0 * sd**2))
    samples = mean + sd * normal(100_000, 3, 1)
    cost = WeakKernel(gamma=gamma, kernel=kernel)
    values = cost.evaluate(torch.full((100_000, 1), x, dtype=torch.float64), samples)
    standard_error = float(values.std()) / math.sqrt(len(values))
    expected = 0.5 * away - 0.25 * gamma * spread
    assert abs(float(values.mean()) - expected) < 4.0 * standard_error
    assert standard_error < 0.02 * expected


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_two_points(kernel):
    """Half of the mass at each of two points that are 2 apart, seen from the middle."""
    x, atoms = torch.zeros(1, dtype=torch.float64), torch.tensor([[-1.0], [1.0]]).double()
    one, two = (float(feature_distance(kernel, length)) for length in (1.0, 2.0))
    got = expectation(WeakKernel(gamma=0.7, kernel=kernel), x, atoms, 2)
    assert got == pytest.approx(0.5 * one - 0.25 * 0.7 * 0.5 * two, rel=1e-12)


def test_no_kernel_is_the_distance():
    x, y = normal(5, 2), normal(5, 3, 2, seed=1)
    named = WeakKernel(gamma=0.4, kernel=DistanceKernel()).evaluate(x, y)
    assert torch.equal(WeakKernel(gamma=0.4).evaluate(x, y), named)


@pytest.mark.parametrize("cost", EVERY_COST, ids=repr)
def test_rows_do_not_influence_each_other(cost):
    x, y = normal(6, 2), normal(6, 3, 2, seed=1)
    values = cost.evaluate(x, y)
    assert values.shape == (6,)
    torch.testing.assert_close(cost.evaluate(x[2:3], y[2:3]), values[2:3])


@pytest.mark.parametrize("cost", STRONG_COSTS, ids=repr)
def test_strong_costs_are_means(cost):
    x, y = normal(4, 2), normal(4, 3, 2, seed=1)
    expected = torch.stack(
        [cost.cost.pairwise(row[None], samples).mean() for row, samples in zip(x, y, strict=True)]
    )
    torch.testing.assert_close(cost.evaluate(x, y), expected)
    one = cost.evaluate(x, y[:, :1])
    torch.testing.assert_close(one, cost.cost.pairwise(x, y[:, 0]).diagonal())
    assert not cost.splits_mass


def test_reversed():
    x, y = normal(4, 2), normal(4, 1, 2, seed=1)
    there = StrongCost(Uphill())
    back = there.reversed()
    torch.testing.assert_close(back.evaluate(y[:, 0], x[:, None]), there.evaluate(x, y))
    assert (back.evaluate(x, y) - there.evaluate(x, y)).abs().max() > 0.1
    torch.testing.assert_close(back.reversed().evaluate(x, y), there.evaluate(x, y))
    for symmetric in (WeakQuadratic(), WeakKernel()):
        assert symmetric.reversed() is symmetric


# --- gamma -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [WeakQuadratic, WeakKernel])
def test_warmup(kind):
    cost = kind(gamma=0.8, warmup=10)
    assert [cost.at(i).gamma for i in (0, 5)] == [0.0, pytest.approx(0.4)]
    assert cost.at(10) is cost
    assert cost.at(99) is cost
    assert kind(gamma=0.8).at(0).gamma == 0.8
    x, y = normal(4, 2), normal(4, 3, 2, seed=1)
    start, strong = cost.at(0), kind(gamma=0.0)
    assert torch.equal(start.evaluate(x, y), strong.evaluate(x, y))
    assert cost.splits_mass
    assert not strong.splits_mass


def test_warmup_keeps_the_kernel():
    kernel = GaussianKernel(bandwidth=3.0)
    assert WeakKernel(gamma=0.8, kernel=kernel, warmup=4).at(1).kernel is kernel


@pytest.mark.parametrize(
    "cost, name",
    [
        (WeakQuadratic(gamma=-0.1), "gamma"),
        (WeakQuadratic(gamma=float("nan")), "gamma"),
        (WeakQuadratic(gamma="1"), "gamma"),
        (WeakQuadratic(warmup=-1), "warmup"),
        (WeakQuadratic(warmup=0.5), "warmup"),
        (WeakKernel(gamma=-1.0), "gamma"),
        (WeakKernel(kernel="gaussian"), "kernel"),
        (WeakKernel(kernel=GaussianKernel), "kernel"),
        (WeakKernel(kernel=DistanceKernel(power=2.0)), "power"),
        (WeakKernel(kernel=DistanceKernel(power=0.0)), "power"),
        (WeakKernel(kernel=GaussianKernel(bandwidth=0.0)), "bandwidth"),
        (WeakKernel(kernel=LaplacianKernel(bandwidth=-1.0)), "bandwidth"),
        (StrongCost("euclidean"), "cost"),
        (StrongCost(Euclidean), "cost"),
        (StrongCost(PNorm(p=0.5)), "p"),
        (StrongCost(Euclidean(), reverse="yes"), "reverse"),
    ],
    ids=str,
)
def test_bad_parameters(cost, name):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        cost.validate()


def test_more_spread_than_a_potential_can_hold():
    cost = WeakQuadratic(gamma=1.2)
    without = ResNetPotential(quadratic="none")
    with pytest.raises(ValueError, match="ResNetPotential has no quadratic term"):
        cost.check_potential(without)
    with pytest.raises(ValueError, match=r"WeakQuadratic\(gamma=1.2\) rewards spread"):
        cost.check_potential(object())
    for potential in (MLPPotential(), ICNN(), ResNetPotential()):
        cost.check_potential(potential)
    WeakQuadratic(gamma=1.0).check_potential(without)
    WeakKernel(gamma=1.2).check_potential(without)


# --- what a cost says about itself -----------------------------------------------------


def plans(n=6, n_samples=3):
    """Plans of the same two marginals: the same points, given to other rows."""
    x, points = normal(n, 2), normal(n * n_samples, 2, seed=1)
    for seed in range(4):
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
        yield x, points[order].view(n, n_samples, 2)


def changes_by_a_constant(cost, move_x, move_y):
    """Whether a change of coordinates changes the costs of all plans by the same amount."""
    changes = [
        float(cost.evaluate(move_x(x), move_y(y)).sum() - cost.evaluate(x, y).sum())
        for x, y in plans()
    ]
    return np.ptp(changes) < 1e-9


SHIFT = torch.tensor([3.0, -1.0], dtype=torch.float64)
MATRIX = torch.tensor([[2.0, 0.5], [0.3, 0.7]], dtype=torch.float64)


@pytest.mark.parametrize("cost", EVERY_COST, ids=repr)
def test_claims_of_invariance(cost):
    kinds = ("none", "common", "separate", "linear")
    rank = kinds.index(cost.invariance)

    def common(z):
        return z + SHIFT

    assert changes_by_a_constant(cost, common, common) == (rank >= 1)
    assert changes_by_a_constant(cost, common, lambda y: y) == (rank >= 2)
    inverse = torch.linalg.inv(MATRIX).T
    mixed = changes_by_a_constant(cost, lambda x: x @ MATRIX, lambda y: y @ inverse)
    assert mixed == (rank >= 3)
    for x, y in plans():
        if rank >= 2:  # homogeneous of degree two
            torch.testing.assert_close(cost.evaluate(3.0 * x, 3.0 * y), 9.0 * cost.evaluate(x, y))


@pytest.mark.parametrize("cost", EVERY_COST, ids=repr)
def test_the_quadratic_coefficient(cost):
    """Without that term a cost does not see the spread of the samples, if it is quadratic."""
    if cost.invariance in ("none", "common"):
        assert cost.quadratic_coefficient == 0.0
        return
    x, atoms = normal(2), normal(4, 2, seed=1)
    mean = atoms.mean(dim=0)

    def rest(points):
        squared = float(points.square().sum(dim=1).mean())
        return expectation(cost, x, points, 2) - 0.5 * cost.quadratic_coefficient * squared

    assert rest(mean + 3.0 * (atoms - mean)) == pytest.approx(rest(atoms), rel=1e-9)


# --- gradients -------------------------------------------------------------------------


@pytest.mark.parametrize("cost", EVERY_COST, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_that_coincide(cost, dtype):
    x = torch.ones(3, 2, dtype=dtype)
    y = torch.ones(3, 4, 2, dtype=dtype)
    y[1] += 0.5  # all in one place, away from the row
    y[2, 0] += 0.5  # some of them
    y.requires_grad_()
    values = cost.evaluate(x, y)
    (gradient,) = torch.autograd.grad(values.sum(), y)
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()
    assert float(values[0].detach()) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("cost", EVERY_COST, ids=repr)
def test_gradients(cost):
    x, y = normal(3, 2), normal(3, 3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: cost.evaluate(x, y), y)


# --- kernels ---------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_kernels_have_a_feature_map(kernel):
    points = normal(12, 2)
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    squared = kernel.squared_feature_distance(distance)
    expected = feature_distance(kernel, distance.numpy())
    np.testing.assert_allclose(squared, expected, rtol=1e-12)
    assert (squared.diagonal() == 0).all()
    # Squared distances of vectors, by Schoenberg's criterion, and of different ones.
    centring = torch.eye(12, dtype=torch.float64) - 1.0 / 12
    gram = torch.linalg.eigvalsh(-0.5 * centring @ squared @ centring)
    assert gram.min() > -1e-12
    assert gram[1] > 1e-4


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_powers_of_distances_have_no_scale(power, unit):
    x, y = normal(3, 2).float(), normal(3, 3, 2, seed=1).float()
    cost = WeakKernel(gamma=0.5, kernel=DistanceKernel(power=power))
    torch.testing.assert_close(cost.evaluate(unit * x, unit * y), unit**power * cost.evaluate(x, y))


# --- a user's own ----------------------------------------------------------------------


class NearReflection(WeakCost):
    """The least that a user has to write."""

    def __init__(self, strength=1.0):
        self.strength = strength

    def evaluate(self, x, y):
        return self.strength * (y + x[:, None]).square().sum(dim=2).mean(dim=1)


def test_a_users_own_cost():
    cost = NearReflection(strength=2.0)
    cost.validate()
    assert (cost.splits_mass, cost.invariance, cost.quadratic_coefficient) == (True, "none", 0.0)
    assert cost.at(7) is cost
    assert cost.reversed() is cost
    cost.check_potential(ResNetPotential(quadratic="none"))
    assert clone(cost).strength == 2.0
    with pytest.raises(TypeError, match="abstract"):
        WeakCost()
