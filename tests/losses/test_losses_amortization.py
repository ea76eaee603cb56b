"""Losses of the amortizer: their values, their gradients, and whom they train."""

import pytest
import torch
from sklearn.base import clone

from skot.losses import (
    Amortization,
    CycleAmortization,
    DualBatch,
    ExpectileAmortization,
    ObjectiveAmortization,
    RegressionAmortization,
    dual_loss,
)

LOSSES = [
    ObjectiveAmortization(),
    RegressionAmortization(),
    CycleAmortization(),
    ExpectileAmortization(),
]


class SmoothPotential(torch.nn.Module):
    """A strictly convex function that is no quadratic."""

    def __init__(self, n_features, generator):
        super().__init__()
        weight = torch.randn(n_features, 5, generator=generator, dtype=torch.float64)
        self.weight = torch.nn.Parameter(weight)

    def forward(self, x):
        return torch.nn.functional.softplus(x @ self.weight).sum(dim=1) + 0.5 * x.square().sum(1)


class Linear(torch.nn.Module):
    def __init__(self, matrix):
        super().__init__()
        self.matrix = torch.nn.Parameter(matrix.clone())

    def forward(self, y):
        return y @ self.matrix


class Quadratic(Linear):
    def forward(self, x):
        return 0.5 * (x @ self.matrix * x).sum(dim=1)


def make_batch(potential, amortizer, *, n=6, m=6, d=3, refined=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(k, d, generator=generator, dtype=torch.float64) for k in (n, m))
    prediction = amortizer(y)
    solution = prediction.detach()
    if refined:
        solution = solution + 0.1 * torch.randn(m, d, generator=generator, dtype=torch.float64)
    return DualBatch(x, y, potential, amortizer, prediction, solution, refined)


def random_batch(**options):
    generator = torch.Generator().manual_seed(5)
    d = options.get("d", 3)
    matrix = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return make_batch(SmoothPotential(d, generator), Linear(matrix), **options)


def optimal_batch(**options):
    """A quadratic potential and the amortizer that inverts its gradient."""
    matrix = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 0.5]], dtype=torch.float64)
    return make_batch(Quadratic(matrix), Linear(torch.linalg.inv(matrix)), **options)


def gradient_of(potential, x):
    """From the definition, one row at a time."""
    rows = []
    for row in x:
        point = row[None] if row.requires_grad else row.detach()[None].requires_grad_()
        rows.append(torch.autograd.grad(potential(point).sum(), point, create_graph=True)[0][0])
    return torch.stack(rows)


def gradients(loss, module):
    return torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)


def assert_same_gradients(loss, expected, module):
    torch.testing.assert_close(gradients(loss, module), gradients(expected, module))


def test_objective_is_the_mean_of_j_and_has_its_gradient():
    batch = random_batch()
    loss = ObjectiveAmortization().amortizer_loss(batch)
    x = batch.amortizer(batch.y)
    expected = (batch.potential(x) - (x * batch.y).sum(dim=1)).mean()
    torch.testing.assert_close(loss, expected)
    assert_same_gradients(loss, expected, batch.amortizer)


def test_objective_is_not_differentiated_through_the_potential():
    batch = random_batch()
    loss = ObjectiveAmortization().amortizer_loss(batch)
    (unused,) = torch.autograd.grad(loss, batch.potential.weight, allow_unused=True)
    assert unused is None


def test_regression_is_the_mean_squared_distance():
    batch = random_batch(refined=True)
    loss = RegressionAmortization().amortizer_loss(batch)
    expected = (batch.amortizer(batch.y) - batch.solution).norm(dim=1).square().mean()
    torch.testing.assert_close(loss, expected)
    assert_same_gradients(loss, expected, batch.amortizer)


def test_one_sided_cycle():
    batch = random_batch(refined=True)
    loss = CycleAmortization().amortizer_loss(batch)
    image = gradient_of(batch.potential, batch.amortizer(batch.y))
    expected = (image - batch.y).norm(dim=1).square().mean()
    torch.testing.assert_close(loss, expected)
    assert_same_gradients(loss, expected, batch.amortizer)
    assert CycleAmortization().potential_penalty(batch) is None


@pytest.mark.parametrize("weight", [None, 0.7])
def test_two_sided_cycle_trains_both(weight):
    batch = random_batch(n=5, m=8)
    f, amortizer = batch.potential, batch.amortizer
    cycle = (gradient_of(f, amortizer(batch.y)) - batch.y).norm(dim=1).square().mean()
    cycle = cycle + (amortizer(gradient_of(f, batch.x)) - batch.x).norm(dim=1).square().mean()
    loss = CycleAmortization(weight).amortizer_loss(batch)
    torch.testing.assert_close(loss, cycle)
    assert_same_gradients(loss, cycle, amortizer)
    penalty = CycleAmortization(weight).potential_penalty(batch)
    expected = (3 if weight is None else weight) * cycle
    torch.testing.assert_close(penalty, expected)
    assert_same_gradients(penalty, expected, f)


@pytest.mark.parametrize("tau", [0.5, 0.9, 1.0])
def test_expectile_from_the_definition(tau):
    batch = random_batch(n=7, m=5)
    f = batch.potential
    penalty = ExpectileAmortization(tau, 2.0).potential_penalty(batch)
    terms = []
    for x, y, prediction in zip(batch.x, batch.y, batch.prediction, strict=False):
        z = prediction.detach()
        u = x @ y - f(x[None])[0] - (z @ y - f(z[None])[0])
        terms.append(abs(tau - (u.item() < 0)) * u**2)
    expected = 2.0 * torch.stack(terms).mean()
    assert len(terms) == 5  # the shorter of 7 and 5 rows
    torch.testing.assert_close(penalty, expected)
    assert_same_gradients(penalty, expected, f)
    assert not any(
        gradient is not None
        for gradient in torch.autograd.grad(
            penalty, list(batch.amortizer.parameters()), allow_unused=True
        )
    )


def test_expectile_sees_only_what_breaks_the_inequality_of_fenchel_and_young():
    """Exact conjugate points break nothing; wrong ones do, and a step repairs it."""
    expectile = ExpectileAmortization(tau=1.0)
    assert expectile.potential_penalty(optimal_batch(n=50, m=50)).item() == 0.0
    matrix = torch.eye(3, dtype=torch.float64)
    batch = make_batch(Quadratic(matrix), Linear(3.0 * matrix), n=50, m=50)
    penalty = expectile.potential_penalty(batch)
    assert penalty > 0.1
    (slope,) = gradients(penalty, batch.potential)
    stepped = make_batch(Quadratic(matrix - 0.01 * slope), Linear(3.0 * matrix), n=50, m=50)
    assert expectile.potential_penalty(stepped) < penalty


def test_expectile_trains_the_amortizer_on_its_objective():
    batch = random_batch()
    expected = ObjectiveAmortization().amortizer_loss(batch)
    assert_same_gradients(ExpectileAmortization().amortizer_loss(batch), expected, batch.amortizer)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("refined", [False, True])
def test_the_exact_amortizer_is_stationary(loss, refined):
    batch = optimal_batch(n=40, m=40)
    if refined:
        batch = DualBatch(
            batch.x,
            batch.y,
            batch.potential,
            batch.amortizer,
            batch.prediction,
            batch.solution,
            True,
        )
    (gradient,) = gradients(loss.amortizer_loss(batch), batch.amortizer)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradient_descent_finds_the_exact_amortizer(loss):
    """From a wrong start, with the conjugate points given where they are needed."""
    batch = optimal_batch(n=40, m=40)
    amortizer = Linear(torch.eye(3, dtype=torch.float64))
    optimizer = torch.optim.Adam(amortizer.parameters(), lr=0.05)
    refined = isinstance(loss, RegressionAmortization)
    for _ in range(400):
        prediction = amortizer(batch.y)
        solution = batch.solution if refined else prediction.detach()
        step = DualBatch(
            batch.x, batch.y, batch.potential, amortizer, prediction, solution, refined
        )
        optimizer.zero_grad()
        loss.amortizer_loss(step).backward(inputs=list(amortizer.parameters()))
        optimizer.step()
    torch.testing.assert_close(amortizer.matrix, batch.amortizer.matrix, atol=1e-2, rtol=0)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_one_backward_pass_for_the_losses_of_the_potential(loss):
    batch = random_batch()
    total = dual_loss(batch)
    penalty = loss.potential_penalty(batch)
    if penalty is not None:
        total = total + penalty
    total.backward(inputs=list(batch.potential.parameters()))
    loss.amortizer_loss(batch).backward(inputs=list(batch.amortizer.parameters()))
    assert batch.potential.weight.grad.isfinite().all()
    assert batch.amortizer.matrix.grad.isfinite().all()


def test_regression_refuses_a_solver_that_does_not_refine():
    class AsItIs:
        refines = False

    class Refining:
        refines = True

    with pytest.raises(ValueError, match="RegressionAmortization has no gradient with AsItIs"):
        RegressionAmortization().check_solver(AsItIs())
    RegressionAmortization().check_solver(Refining())
    RegressionAmortization().check_solver(object())
    for loss in LOSSES:
        if not isinstance(loss, RegressionAmortization):
            loss.check_solver(AsItIs())


@pytest.mark.parametrize(
    "loss, name",
    [
        (CycleAmortization(weight=-1.0), "weight"),
        (CycleAmortization(weight="big"), "weight"),
        (ExpectileAmortization(tau=1.1), "tau"),
        (ExpectileAmortization(tau=0.4), "tau"),
        (ExpectileAmortization(weight=-1.0), "weight"),
    ],
)
def test_parameters_are_validated(loss, name):
    with pytest.raises(ValueError, match=f"'{name}' parameter of {type(loss).__name__}"):
        loss.validate()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_they_are_components(loss):
    copy = clone(loss)
    copy.validate()
    assert copy.get_params() == loss.get_params()
    assert isinstance(copy, Amortization)
