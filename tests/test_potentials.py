"""Potentials that can be evaluated anywhere, against the formulas on dense matrices."""

import pickle

import pytest
import torch
from _problems import random_pair, squared_distances

from skot.costs import Cost, Euclidean, PNorm, SquaredEuclidean
from skot.numerics import tiles
from skot.numerics.linalg import gaussian_map
from skot.potentials import (
    BrenierPotential,
    EntropicPotentials,
    KantorovichPotential,
    LinearFrame,
    TranslationFrame,
)
from skot.solvers import sinkhorn

EPSILON = 0.3
CLOSE = {"rtol": 1e-9, "atol": 1e-10}


def solved(cost=None, seed=0, shift=0.7):
    x, y, a, b = random_pair(seed=seed, shift=shift)
    cost = SquaredEuclidean() if cost is None else cost
    result = sinkhorn(x, y, a, b, epsilon=EPSILON, cost=cost, tol=1e-12, max_iter=20_000)
    return EntropicPotentials(x, y, a, b, result.f, result.g, cost, EPSILON)


@pytest.fixture(scope="module")
def potentials():
    return solved()


@pytest.fixture(scope="module")
def rows():
    generator = torch.Generator().manual_seed(5)
    return 2.0 * torch.randn(9, 3, generator=generator, dtype=torch.float64)


def dense_weights(potentials, rows):
    logits = (potentials.g - potentials.cost.pairwise(rows, potentials.y)) / EPSILON
    return torch.softmax(logits + potentials.b.log(), 1)


def test_extensions_agree_with_the_potentials_on_their_points(potentials):
    torch.testing.assert_close(potentials.source_potential(potentials.x), potentials.f, **CLOSE)
    torch.testing.assert_close(potentials.target_potential(potentials.y), potentials.g, **CLOSE)


def test_extensions_are_soft_minima(potentials, rows):
    cost = squared_distances(rows, potentials.y)
    logits = (potentials.g - cost) / EPSILON + potentials.b.log()
    expected = -EPSILON * torch.logsumexp(logits, 1)
    torch.testing.assert_close(potentials.source_potential(rows), expected, **CLOSE)
    cost = squared_distances(rows, potentials.x)
    logits = (potentials.f - cost) / EPSILON + potentials.a.log()
    expected = -EPSILON * torch.logsumexp(logits, 1)
    torch.testing.assert_close(potentials.target_potential(rows), expected, **CLOSE)


def test_map_averages_the_targets(potentials, rows):
    expected = dense_weights(potentials, rows) @ potentials.y
    torch.testing.assert_close(potentials.transport(rows), expected, **CLOSE)


def test_map_is_the_displacement_by_the_gradient(potentials, rows):
    """T(x) = x - grad f(x) / 2 for the squared Euclidean cost, by finite differences."""
    step = 1e-5
    gradient = torch.empty_like(rows)
    for k in range(rows.shape[1]):
        shift = torch.zeros(rows.shape[1], dtype=rows.dtype)
        shift[k] = step
        ahead, behind = (potentials.source_potential(rows + sign * shift) for sign in (1, -1))
        gradient[:, k] = (ahead - behind) / (2.0 * step)
    torch.testing.assert_close(potentials.transport(rows), rows - 0.5 * gradient, rtol=0, atol=1e-7)


def test_inverse_swaps_the_roles(potentials, rows):
    p = potentials
    swapped = EntropicPotentials(p.y, p.x, p.b, p.a, p.g, p.f, p.cost, EPSILON)
    torch.testing.assert_close(p.inverse(rows), swapped.transport(rows), rtol=0, atol=0)


def test_map_with_a_twist(rows):
    """A power of the Euclidean distance, against the twist of the averaged gradient."""
    potentials = solved(PNorm(p=2.0, power=1.5))
    weights = dense_weights(potentials, rows)
    difference = rows[:, None] - potentials.y[None]
    norm = difference.norm(dim=-1, keepdim=True)
    mean_gradient = (weights[:, :, None] * 1.5 * norm**-0.5 * difference).sum(1)
    # grad of |z|^1.5 is 1.5 |z|^-0.5 z: its norm is 1.5 |z|^0.5.
    length = mean_gradient.norm(dim=1, keepdim=True)
    expected = rows - (length / 1.5) ** 2 * mean_gradient / length
    torch.testing.assert_close(potentials.transport(rows), expected, rtol=1e-7, atol=1e-8)


def test_cost_without_a_twist():
    potentials = solved(Euclidean())
    with pytest.raises(NotImplementedError, match="Euclidean has no twist"):
        potentials.transport(potentials.x)
    with pytest.raises(NotImplementedError, match="Euclidean has no twist"):
        potentials.inverse(potentials.y)


def test_plan(potentials):
    p = potentials
    blocks = list(p.plan_tiles())
    assert sum(block.stop - block.start for block, _ in blocks) == len(p.x)
    plan = torch.cat([tile for _, tile in blocks])
    logits = (p.f[:, None] + p.g - squared_distances(p.x, p.y)) / EPSILON
    torch.testing.assert_close(plan, p.a[:, None] * p.b * logits.exp(), **CLOSE)
    torch.testing.assert_close(plan.sum(1), p.a, rtol=1e-12, atol=0)


def test_class_cost(potentials, rows):
    table = torch.tensor([[0.0], [3.0]], dtype=torch.float64) * torch.linspace(
        -1, 1, len(potentials.y), dtype=torch.float64
    )
    labels = torch.arange(len(rows)) % 2
    logits = (potentials.g - squared_distances(rows, potentials.y) - table[labels]) / EPSILON
    expected = torch.softmax(logits + potentials.b.log(), 1) @ potentials.y
    moved = potentials.transport(rows, (labels, table))
    torch.testing.assert_close(moved, expected, **CLOSE)
    torch.testing.assert_close(moved[::2], potentials.transport(rows)[::2], **CLOSE)
    assert (moved - potentials.transport(rows))[1::2].abs().max() > 0.1


def test_any_number_of_rows_at_a_time(potentials, rows, monkeypatch):
    whole = potentials.transport(rows), potentials.source_potential(rows)
    monkeypatch.setattr(tiles.row_tiles, "__defaults__", (2 * len(potentials.y),))
    assert len(list(potentials.plan_tiles())) == len(potentials.x) // 2
    torch.testing.assert_close(potentials.transport(rows), whole[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(potentials.source_potential(rows), whole[1], rtol=1e-12, atol=1e-12)


def test_clouds_far_from_the_origin(rows):
    near = solved()
    p = near
    offset = 1e6
    far = EntropicPotentials(p.x + offset, p.y + offset, p.a, p.b, p.f, p.g, p.cost, EPSILON)
    torch.testing.assert_close(
        far.transport(rows + offset) - offset, near.transport(rows), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("size", [1e20, 1e154, 1e200, 1.7e308])
def test_far_rows_are_finite(potentials, size):
    far = torch.tensor([[size, 0.0, 0.0], [-size, size, 0.0]], dtype=torch.float64)
    directions = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 1.0, 0.0]], dtype=torch.float64)
    expected = potentials.y[(directions @ potentials.y.T).argmax(1)]
    torch.testing.assert_close(potentials.transport(far), expected, **CLOSE)


def test_points_without_mass_are_not_targets(potentials, rows):
    p = potentials
    extra = torch.cat([p.y, p.y[:1] + 0.1])
    b, g = torch.cat([p.b, p.b.new_zeros(1)]), torch.cat([p.g, p.g.new_zeros(1)])
    padded = EntropicPotentials(p.x, extra, p.a, b, p.f, g, p.cost, EPSILON)
    torch.testing.assert_close(padded.transport(rows), p.transport(rows), **CLOSE)
    assert torch.isfinite(padded.target_potential(extra)).all()


def test_values(potentials):
    expected = sinkhorn(
        potentials.x, potentials.y, potentials.a, potentials.b, epsilon=EPSILON, tol=1e-10
    )
    assert potentials.dual_value == pytest.approx(float(expected.dual_value), rel=1e-9)


def test_pickle(potentials, rows):
    twin = pickle.loads(pickle.dumps(potentials))
    torch.testing.assert_close(twin.transport(rows), potentials.transport(rows), rtol=0, atol=0)


def test_move_to_a_device(potentials):
    moved = potentials.to("meta")
    tensors = (moved.x, moved.y, moved.a, moved.b, moved.f, moved.g)
    assert {str(tensor.device) for tensor in tensors} == {"meta"}
    assert potentials.to("cpu").x is potentials.x


class Chebyshev(Cost):
    def pairwise(self, x, y):
        return (x[:, None] - y[None]).abs().amax(-1)


def test_a_cost_of_one_method_has_potentials(rows):
    potentials = solved(Chebyshev())
    cost = (rows[:, None] - potentials.y[None]).abs().amax(-1)
    logits = (potentials.g - cost) / EPSILON + potentials.b.log()
    expected = -EPSILON * torch.logsumexp(logits, 1)
    torch.testing.assert_close(potentials.source_potential(rows), expected, **CLOSE)


# --- the potential of the target, and its coordinates ----------------------------------


def gaussian_samples(offset=0.0, n=400):
    """Two samples, neither round nor alike, in float64."""
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64}
    x = torch.randn(n, 2, **options) @ torch.tensor([[2.0, 0.3], [0.0, 0.5]]).double()
    y = torch.randn(n, 2, **options) @ torch.tensor([[0.4, -0.2], [0.6, 1.5]]).double()
    return x + offset, y + 3.0 - offset


def covariance(rows):
    return torch.cov(rows.T, correction=0)


def half_square(y):
    return 0.5 * y.square().sum(dim=1)


def differences(values):
    """Values up to a constant."""
    return values - values.mean()


def frame_of(preconditioning, offset=0.0):
    x, y = gaussian_samples(offset)
    return LinearFrame.of(x, y, preconditioning), x, y


def of_the_gaussian_map(x, y):
    """g(y) = |y|^2/2 - psi(y), with psi the potential of the linear map from y back to x."""
    back = gaussian_map(covariance(y), covariance(x))
    centred = y - y.mean(dim=0)
    psi = 0.5 * (centred @ back * centred).sum(dim=1) + y @ x.mean(dim=0)
    gradient = y - centred @ back - x.mean(dim=0)
    return 0.5 * y.square().sum(dim=1) - psi, gradient


@pytest.mark.parametrize("preconditioning", ["identity", "gaussian"])
def test_kantorovich_potential_of_a_translation(preconditioning):
    x, _ = gaussian_samples()
    shift = torch.tensor([3.0, -1.0], dtype=torch.float64)
    frame = LinearFrame.of(x, x + shift, preconditioning)
    g = KantorovichPotential(half_square, frame, 1.0, frame.scale, True)
    y = x + shift
    torch.testing.assert_close(differences(g(y)), differences(y @ shift), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(g.gradient(y), shift.expand(len(y), -1), rtol=1e-9, atol=1e-9)


def in_frame(matrix):
    def psi(y):
        return 0.5 * (y @ matrix * y).sum(dim=1)

    return psi


@pytest.mark.parametrize("preconditioning", ["identity", "gaussian"])
@pytest.mark.parametrize("multiple", [1.0, 2.0])
def test_kantorovich_potential_of_a_gaussian_map(preconditioning, multiple):
    """Of the cost |x - y|^2 / 2, and of twice that, whose unit is twice as large."""
    frame, x, y = frame_of(preconditioning)
    # In the coordinates of the networks psi is the potential of what is left of the linear map.
    back = gaussian_map(covariance(y), covariance(x))
    left = frame.scale * frame.source_matrix @ back @ frame.source_matrix
    if preconditioning == "gaussian":
        # All but the little that is added to the covariances is in the coordinates.
        torch.testing.assert_close(left, torch.eye(2, dtype=torch.float64), rtol=0, atol=2e-2)
    g = KantorovichPotential(in_frame(left), frame, 1.0, multiple * frame.scale, True)
    values, gradients = of_the_gaussian_map(x, y)
    torch.testing.assert_close(
        differences(g(y)), multiple * differences(values), rtol=1e-9, atol=1e-8
    )
    torch.testing.assert_close(g.gradient(y), multiple * gradients, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("coefficient", [1.0, 0.25])
@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("preconditioning", ["identity", "gaussian"])
def test_kantorovich_gradient_is_that_of_autograd(preconditioning, shifted, coefficient):
    frame, _, y = frame_of(preconditioning)

    def psi(y):
        return torch.log(torch.cosh(y)).sum(dim=1)

    g = KantorovichPotential(psi, frame, coefficient, 0.7 * frame.scale, shifted)
    points = y.clone().requires_grad_()
    (expected,) = torch.autograd.grad(g(points).sum(), points)
    torch.testing.assert_close(g.gradient(y), expected, rtol=1e-9, atol=1e-9)
    assert not g.gradient(points).requires_grad
    torch.testing.assert_close(g(y), g.learned(y) + g.of_the_frame(y))
    assert bool(g.of_the_frame(y).any()) == shifted


@pytest.mark.parametrize("preconditioning", ["identity", "gaussian"])
def test_kantorovich_potential_far_from_the_origin(preconditioning):
    """Samples on either side of it, 2e8 apart: the common slope dwarfs what is learned."""
    offset = 2.0**27
    far_frame, x, far = frame_of(preconditioning, offset)
    # The same points, with the digits that are left of them.
    near = far + offset
    near_frame = LinearFrame.of(x - offset, near, preconditioning)
    close, distant = (
        KantorovichPotential(half_square, frame, 1.0, frame.scale, True)
        for frame in (near_frame, far_frame)
    )
    torch.testing.assert_close(distant.learned(far), close.learned(near), rtol=1e-6, atol=1e-6)
    expected = close.gradient(near) - 2.0 * offset
    torch.testing.assert_close(distant.gradient(far), expected, rtol=0, atol=1e-6)
    slope = -2.0 * offset * near.sum(dim=1)
    torch.testing.assert_close(
        differences(distant(far)) - differences(slope),
        differences(close(near)),
        rtol=0,
        # The last digits of numbers of the size of 1e9.
        atol=2e-6 * float(near.abs().max()),
    )


def soft(x):
    """A convex potential that is no parabola."""
    return torch.log(torch.cosh(x)).sum(dim=1)


@pytest.mark.parametrize("preconditioning", ["identity", "gaussian"])
def test_displacement_potential_is_what_the_parabola_leaves(preconditioning):
    frame, x, _ = frame_of(preconditioning)
    f = BrenierPotential(soft, frame)
    expected = f(x) - half_square(x)
    torch.testing.assert_close(
        differences(f.displacement_potential(x)), differences(expected), rtol=0, atol=1e-12
    )
    points = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(f.displacement_potential(points).sum(), points)
    torch.testing.assert_close(slope, f.gradient(x) - x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 100.0, 1000.0, 10000.0])
def test_displacement_potential_of_single_precision_far_from_the_origin(offset):
    """It has the digits of what was learned, not those that the squared offset leaves."""
    frame, x, _ = frame_of("identity")
    # Of so few digits that no offset rounds them.
    means = [(64.0 * mean).round() / 64.0 for mean in (frame.source_mean, frame.target_mean)]
    near, far = (
        frame.with_means(*(mean + move for mean in means)).to(torch.float32)
        for move in (0.0, offset)
    )
    values = BrenierPotential(soft, far).displacement_potential(x + offset)
    expected = BrenierPotential(soft, near).displacement_potential(x)
    assert values.dtype is torch.float64
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("preconditioning", ["identity", "gaussian"])
def test_a_frame_swapped_is_that_of_the_samples_swapped(preconditioning):
    frame, x, y = frame_of(preconditioning)
    swapped = frame.swapped()
    torch.testing.assert_close(swapped.source_rows(y), frame.target_rows(y), rtol=0, atol=0)
    torch.testing.assert_close(swapped.target_rows(x), frame.source_rows(x), rtol=0, atol=0)
    torch.testing.assert_close(swapped.source_rows_back(swapped.source_rows(y)), y)
    torch.testing.assert_close(swapped.target_rows_back(swapped.target_rows(x)), x)
    other = LinearFrame.of(y, x, preconditioning)
    assert swapped.scale == pytest.approx(other.scale, rel=1e-12)
    for one, two in zip(vars(swapped.swapped()).values(), vars(frame).values(), strict=True):
        assert one is two
    names = ("source_covariance", "target_covariance", "source_mean", "target_matrix")
    for name in names:
        torch.testing.assert_close(
            getattr(swapped, name), getattr(other, name), rtol=1e-8, atol=1e-10
        )


def test_translations_are_the_identity_without_its_matrices():
    linear, x, y = frame_of("identity", offset=7.0)
    frame = TranslationFrame.of(x, y)
    for one, other in ((frame, linear), (frame.swapped(), linear.swapped())):
        # What is added to the covariances of the other frame changes its scale a little.
        ratio = (other.scale / one.scale) ** 0.5
        assert ratio == pytest.approx(1.0, rel=1e-3)
        torch.testing.assert_close(one.source_rows(x), ratio * other.source_rows(x))
        torch.testing.assert_close(one.target_rows(y), ratio * other.target_rows(y))
        torch.testing.assert_close(one.source_rows_back(one.source_rows(x)), x)
        torch.testing.assert_close(one.target_rows_back(one.target_rows(y)), y)
    assert frame.to(torch.float32).source_rows(x).dtype == torch.float32
    # Both sides a point: any unit will do.
    assert TranslationFrame.of(x[:1], y[:1]).scale == 1.0


def test_kantorovich_gradient_in_a_frame_of_translations():
    _, x, y = frame_of("identity", offset=3.0)
    frame = TranslationFrame.of(x, y)
    module = lambda rows: torch.logsumexp(rows, dim=1)  # noqa: E731
    potential = KantorovichPotential(module, frame, 0.4, 1.7 * frame.scale, True)
    y = y.clone().requires_grad_()
    (expected,) = torch.autograd.grad(potential(y).sum(), y)
    torch.testing.assert_close(potential.gradient(y), expected)
